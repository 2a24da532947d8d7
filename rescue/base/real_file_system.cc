#include "rescue/base/real_file_system.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/openat2.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/xattr.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstring>
#include <optional>

#include "rescue/base/exchange.h"

namespace rescue {
namespace {

constexpr std::uint32_t kPermissionBits = 07777;
constexpr TimeNs kNsPerSecond = 1'000'000'000;
constexpr std::size_t kMaxXattrs = 65536;  // XATTR_LIST_MAX, XATTR_SIZE_MAX (linux/limits.h)
constexpr std::uint64_t kStatBlock = 512;  // of st_blocks, stat(3type)
constexpr std::string_view kSelinuxLabel = "security.selinux";

tl::unexpected<Error> Errno(std::string_view operation, std::string_view path) {
  return FailErrno(operation, path.empty() ? "." : Printable(path), errno);
}

Status CheckPath(std::string_view path) {
  if (IsCleanPath(path)) return {};
  return Fail(ErrorKind::kRefused, "bad-path",
              fmt::format("use {}: not a path below the directory", Printable(path)));
}

UniqueFd OpenAt(int root, std::string_view path, int flags, mode_t mode = 0,
                std::uint64_t resolve = RESOLVE_BENEATH) {
  const std::string name(path.empty() ? "." : path);
  open_how how{};
  how.flags = static_cast<std::uint64_t>(flags | O_CLOEXEC);
  how.mode = mode;
  how.resolve = resolve | RESOLVE_NO_MAGICLINKS;
  while (true) {
    const long fd = ::syscall(SYS_openat2, root, name.c_str(), &how, sizeof(how));
    // EAGAIN: a rename raced with the kernel's check that the path stays below.
    if (fd >= 0 || (errno != EAGAIN && errno != EINTR)) return UniqueFd(static_cast<int>(fd));
  }
}

FileType TypeOf(mode_t mode) {
  if (S_ISREG(mode)) return FileType::kRegular;
  if (S_ISDIR(mode)) return FileType::kDirectory;
  if (S_ISLNK(mode)) return FileType::kSymlink;
  return FileType::kOther;
}

class RealFile final : public ReadableFile, public DescribedFile {
 public:
  RealFile(UniqueFd fd, const struct stat& status, std::string name)
      : fd_(std::move(fd)),
        size_(static_cast<std::uint64_t>(status.st_size)),
        allocated_(static_cast<std::uint64_t>(status.st_blocks) * kStatBlock),
        name_(std::move(name)) {}

  int descriptor() const override { return fd_.get(); }
  std::uint64_t size() const override { return size_; }
  std::uint64_t allocated() const override { return allocated_; }
  std::uint64_t unallocated(std::uint64_t offset, std::uint64_t length) const override;

  Result<std::size_t> ReadAt(std::uint64_t offset, std::span<std::byte> into) const override {
    std::size_t done = 0;
    while (done < into.size()) {
      const ssize_t got = ::pread(fd_.get(), into.data() + done, into.size() - done,
                                  static_cast<off_t>(offset + done));
      if (got < 0) {
        if (errno == EINTR) continue;
        return Errno("read", name_);
      }
      if (got == 0) break;
      done += static_cast<std::size_t>(got);
    }
    return done;
  }

 private:
  UniqueFd fd_;
  std::uint64_t size_;
  std::uint64_t allocated_;
  std::string name_;
};

// The first piece of the kernel's map of a file that reaches into a range; of length 0 when there
// is none. Nothing when the file system keeps no such map. Preallocated blocks, and those that wait
// for their place, are in the map, holes are not (SEEK_HOLE takes preallocated ones for holes).
// Documentation/filesystems/fiemap.rst
std::optional<fiemap_extent> FirstExtent(int fd, std::uint64_t offset, std::uint64_t length) {
  alignas(fiemap) std::array<std::byte, sizeof(fiemap) + sizeof(fiemap_extent)> request{};
  fiemap head{};
  head.fm_start = offset;
  head.fm_length = length;
  head.fm_extent_count = 1;
  std::memcpy(request.data(), &head, sizeof(head));
  if (::ioctl(fd, FS_IOC_FIEMAP, request.data()) != 0) return std::nullopt;
  std::memcpy(&head, request.data(), sizeof(head));
  fiemap_extent extent{};
  if (head.fm_mapped_extents > 0) {
    std::memcpy(&extent, request.data() + sizeof(head), sizeof(extent));
  }
  return extent;
}

std::uint64_t RealFile::unallocated(std::uint64_t offset, std::uint64_t length) const {
  std::uint64_t missing = 0;
  const std::uint64_t end = offset + length;
  for (std::uint64_t at = offset; at < end;) {
    const auto extent = FirstExtent(fd_.get(), at, end - at);
    if (!extent) return 0;
    const std::uint64_t first = std::clamp<std::uint64_t>(extent->fe_logical, at, end);
    const std::uint64_t last =
        std::clamp<std::uint64_t>(extent->fe_logical + extent->fe_length, first, end);
    if (last == first) return missing + (end - at);
    missing += first - at;
    if ((extent->fe_flags & FIEMAP_EXTENT_SHARED) != 0) missing += last - first;
    at = last;
  }
  return missing;
}

// An O_PATH descriptor has no xattr calls of its own; its /proc name does, and for a symbolic link
// that name would be followed, so links have none here (etcd makes none).
Result<std::map<std::string, Bytes>> ReadXattrs(int path_fd, FileType type, std::string_view path) {
  std::map<std::string, Bytes> xattrs;
  if (type != FileType::kRegular && type != FileType::kDirectory) return xattrs;
  const std::string name = fmt::format("/proc/self/fd/{}", path_fd);
  std::string names(kMaxXattrs, '\0');
  const ssize_t length = ::listxattr(name.c_str(), names.data(), names.size());
  if (length < 0) {
    if (errno == ENOTSUP) return xattrs;
    return Errno("list extended attributes of", path);
  }
  names.resize(static_cast<std::size_t>(length));
  Bytes value(kMaxXattrs);
  for (std::size_t at = 0; at < names.size();) {
    const std::string key(names.c_str() + at);
    at += key.size() + 1;
    const ssize_t size = ::getxattr(name.c_str(), key.c_str(), value.data(), value.size());
    if (size < 0) {
      if (errno == ENODATA) continue;
      return Errno("read extended attribute of", path);
    }
    xattrs[key] = Bytes(value.begin(), value.begin() + size);
  }
  return xattrs;
}

Status SetXattrs(int path_fd, const std::map<std::string, Bytes>& wanted, std::string_view path) {
  ASSIGN_OR_RETURN(const auto present, ReadXattrs(path_fd, FileType::kRegular, path));
  const std::string name = fmt::format("/proc/self/fd/{}", path_fd);
  for (const auto& [key, value] : present) {
    if (wanted.contains(key) || ::removexattr(name.c_str(), key.c_str()) == 0) continue;
    // Where SELinux is active, the kernel labels every new file and lets nobody take a label away.
    if (key == kSelinuxLabel && (errno == EACCES || errno == EPERM)) continue;
    return Errno("remove extended attribute of", path);
  }
  for (const auto& [key, value] : wanted) {
    const auto it = present.find(key);
    if (it != present.end() && it->second == value) continue;
    if (::setxattr(name.c_str(), key.c_str(), value.data(), value.size(), 0) != 0) {
      return Errno("set extended attribute of", path);
    }
  }
  return {};
}

struct Parent {
  UniqueFd fd;
  std::string name;
};

Result<Parent> OpenParent(int root, std::string_view path) {
  RETURN_IF_ERROR(CheckPath(path));
  if (path.empty()) {
    return Fail(ErrorKind::kRefused, "bad-path", "change the root of a directory view");
  }
  const std::string directory = ParentPath(path);
  Parent parent{OpenAt(root, directory, O_PATH | O_DIRECTORY), {}};
  if (!parent.fd) return Errno("open", directory);
  parent.name = std::string(path.substr(directory.empty() ? 0 : directory.size() + 1));
  return parent;
}

Status Sync(int root, std::string_view path, int flags) {
  RETURN_IF_ERROR(CheckPath(path));
  const UniqueFd fd = OpenAt(root, path, O_RDONLY | flags);
  if (!fd) return Errno("open", path);
  if (::fsync(fd.get()) != 0) return Errno("sync", path);
  return {};
}

}  // namespace

Result<std::unique_ptr<RealFileSystem>> RealFileSystem::OpenRoot(const std::string& directory) {
  UniqueFd fd(::open(directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return Errno("open", directory);
  return std::unique_ptr<RealFileSystem>(new RealFileSystem(std::move(fd)));
}

Result<std::unique_ptr<RealFileSystem>> RealFileSystem::OpenBelow(std::string_view path) const {
  RETURN_IF_ERROR(CheckPath(path));
  UniqueFd fd = OpenAt(root_.get(), path, O_PATH | O_DIRECTORY);
  if (!fd) return Errno("open", path);
  return std::unique_ptr<RealFileSystem>(new RealFileSystem(std::move(fd)));
}

Result<std::unique_ptr<RealFileSystem>> RealFileSystem::OpenAsRoot(std::string_view path) const {
  RETURN_IF_ERROR(CheckPath(path));
  UniqueFd fd =
      OpenAt(root_.get(), path, O_PATH | O_DIRECTORY, 0, RESOLVE_IN_ROOT | RESOLVE_NO_XDEV);
  if (!fd) return Errno("open", path);
  return std::unique_ptr<RealFileSystem>(new RealFileSystem(std::move(fd)));
}

Result<std::string> RealFileSystem::ReadLink(std::string_view path) const {
  RETURN_IF_ERROR(CheckPath(path));
  const UniqueFd fd = OpenAt(root_.get(), path, O_PATH | O_NOFOLLOW);
  if (!fd) return Errno("open", path);
  std::string text(PATH_MAX, '\0');
  const ssize_t length = ::readlinkat(fd.get(), "", text.data(), text.size());
  if (length < 0) return Errno("read link", path);
  text.resize(static_cast<std::size_t>(length));
  return text;
}

Result<RealFileSystem::Identity> RealFileSystem::IdentityOf(std::string_view path) const {
  RETURN_IF_ERROR(CheckPath(path));
  const UniqueFd fd = OpenAt(root_.get(), path, O_PATH | O_NOFOLLOW);
  struct stat st {};
  if (!fd || ::fstatat(fd.get(), "", &st, AT_EMPTY_PATH) != 0) return Errno("stat", path);
  return Identity{st.st_dev, st.st_ino};
}

Result<UniqueFd> RealFileSystem::OpenDescriptor(std::string_view path, int flags) const {
  RETURN_IF_ERROR(CheckPath(path));
  UniqueFd fd = OpenAt(root_.get(), path, flags);
  if (!fd) return Errno("open", path);
  return fd;
}

Result<std::unique_ptr<ReadableFile>> RealFileSystem::Open(std::string_view path) const {
  RETURN_IF_ERROR(CheckPath(path));
  // O_NONBLOCK: a FIFO in place of a file must not hang us.
  UniqueFd fd = OpenAt(root_.get(), path, O_RDONLY | O_NONBLOCK);
  if (!fd) return Errno("open", path);
  struct stat st {};
  if (::fstat(fd.get(), &st) != 0) return Errno("stat", path);
  if (!S_ISREG(st.st_mode)) {
    return Fail(ErrorKind::kDataDamaged, "not-a-file",
                fmt::format("open {}: not a regular file", Printable(path)));
  }
  return std::make_unique<RealFile>(std::move(fd), st, std::string(path));
}

Result<FileStatus> RealFileSystem::Stat(std::string_view path) const {
  RETURN_IF_ERROR(CheckPath(path));
  const UniqueFd fd = OpenAt(root_.get(), path, O_PATH | O_NOFOLLOW);
  if (!fd) return Errno("stat", path);
  struct stat st {};
  if (::fstatat(fd.get(), "", &st, AT_EMPTY_PATH) != 0) return Errno("stat", path);
  FileStatus status;
  status.type = TypeOf(st.st_mode);
  if (status.type == FileType::kRegular) status.size = static_cast<std::uint64_t>(st.st_size);
  status.attributes.mode = st.st_mode & kPermissionBits;
  status.attributes.uid = st.st_uid;
  status.attributes.gid = st.st_gid;
  status.modified = TimeNs{st.st_mtim.tv_sec} * kNsPerSecond + st.st_mtim.tv_nsec;
  ASSIGN_OR_RETURN(status.attributes.xattrs, ReadXattrs(fd.get(), status.type, path));
  return status;
}

Result<std::vector<DirectoryEntry>> RealFileSystem::List(std::string_view path) const {
  RETURN_IF_ERROR(CheckPath(path));
  UniqueFd fd = OpenAt(root_.get(), path, O_RDONLY | O_DIRECTORY);
  if (!fd) return Errno("list", path);
  const int raw = ::dup(fd.get());
  if (raw < 0) return Errno("list", path);
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(::fdopendir(raw), ::closedir);
  if (!dir) {
    (void)::close(raw);
    return Errno("list", path);
  }
  std::vector<DirectoryEntry> entries;
  while (true) {
    errno = 0;
    const dirent* entry = ::readdir(dir.get());
    if (entry == nullptr) {
      if (errno != 0) return Errno("list", path);
      break;
    }
    const std::string name = entry->d_name;
    if (name == "." || name == "..") continue;
    struct stat st {};
    if (::fstatat(fd.get(), name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) {
      if (errno == ENOENT) continue;
      return Errno("stat", JoinPath(path, name));
    }
    entries.push_back({name, TypeOf(st.st_mode)});
  }
  std::sort(entries.begin(), entries.end(),
            [](const auto& a, const auto& b) { return a.name < b.name; });
  return entries;
}

Status RealFileSystem::WriteAt(std::string_view path, std::uint64_t offset, ByteView bytes) {
  RETURN_IF_ERROR(CheckPath(path));
  const UniqueFd fd = OpenAt(root_.get(), path, O_WRONLY | O_NONBLOCK);
  if (!fd) return Errno("open", path);
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t put = ::pwrite(fd.get(), bytes.data() + done, bytes.size() - done,
                                 static_cast<off_t>(offset + done));
    if (put < 0 && errno == EINTR) continue;
    if (put == 0) errno = EIO;  // no progress would mean no end
    if (put <= 0) return Errno("write", path);
    done += static_cast<std::size_t>(put);
  }
  return {};
}

Status RealFileSystem::CreateFile(std::string_view path, const Attributes& attributes) {
  RETURN_IF_ERROR(CheckPath(path));
  const UniqueFd fd = OpenAt(root_.get(), path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
  if (!fd) return Errno("create", path);
  return SetAttributes(path, attributes);
}

Status RealFileSystem::MakeDirectory(std::string_view path, const Attributes& attributes) {
  ASSIGN_OR_RETURN(const Parent parent, OpenParent(root_.get(), path));
  if (::mkdirat(parent.fd.get(), parent.name.c_str(), 0700) != 0) return Errno("create", path);
  return SetAttributes(path, attributes);
}

Status RealFileSystem::Truncate(std::string_view path, std::uint64_t size) {
  RETURN_IF_ERROR(CheckPath(path));
  const UniqueFd fd = OpenAt(root_.get(), path, O_WRONLY | O_NONBLOCK);
  if (!fd) return Errno("open", path);
  if (::ftruncate(fd.get(), static_cast<off_t>(size)) != 0) return Errno("truncate", path);
  return {};
}

Status RealFileSystem::Rename(std::string_view from, std::string_view to) {
  ASSIGN_OR_RETURN(const Parent source, OpenParent(root_.get(), from));
  ASSIGN_OR_RETURN(const Parent target, OpenParent(root_.get(), to));
  if (::renameat2(source.fd.get(), source.name.c_str(), target.fd.get(), target.name.c_str(),
                  RENAME_NOREPLACE) != 0) {
    return Errno("rename", from);
  }
  return {};
}

Status RealFileSystem::Remove(std::string_view path) {
  ASSIGN_OR_RETURN(const Parent parent, OpenParent(root_.get(), path));
  if (::unlinkat(parent.fd.get(), parent.name.c_str(), 0) == 0) return {};
  if (errno == EISDIR && ::unlinkat(parent.fd.get(), parent.name.c_str(), AT_REMOVEDIR) == 0) {
    return {};
  }
  return Errno("remove", path);
}

Status RealFileSystem::SetAttributes(std::string_view path, const Attributes& attributes) {
  RETURN_IF_ERROR(CheckPath(path));
  const UniqueFd fd = OpenAt(root_.get(), path, O_PATH | O_NOFOLLOW);
  if (!fd) return Errno("open", path);
  // Owner before mode: chown clears the set-id bits.
  if (::fchownat(fd.get(), "", attributes.uid, attributes.gid, AT_EMPTY_PATH) != 0) {
    return Errno("set owner of", path);
  }
  const std::string name = fmt::format("/proc/self/fd/{}", fd.get());
  if (::chmod(name.c_str(), attributes.mode & kPermissionBits) != 0) {
    return Errno("set mode of", path);
  }
  return SetXattrs(fd.get(), attributes.xattrs, path);
}

Status RealFileSystem::SetModified(std::string_view path, TimeNs modified) {
  RETURN_IF_ERROR(CheckPath(path));
  const UniqueFd fd = OpenAt(root_.get(), path, O_PATH | O_NOFOLLOW);
  if (!fd) return Errno("open", path);
  TimeNs nanoseconds = modified % kNsPerSecond;
  TimeNs seconds = modified / kNsPerSecond;
  if (nanoseconds < 0) {
    nanoseconds += kNsPerSecond;
    --seconds;
  }
  const struct timespec times[2] = {{0, UTIME_OMIT}, {seconds, nanoseconds}};
  if (::utimensat(fd.get(), "", times, AT_EMPTY_PATH) != 0) {
    return Errno("set modification time of", path);
  }
  return {};
}

Status RealFileSystem::SyncFile(std::string_view path) { return Sync(root_.get(), path, 0); }

Status RealFileSystem::SyncDirectory(std::string_view path) {
  return Sync(root_.get(), path, O_DIRECTORY);
}

std::uint64_t RealFileSystem::StorageOf(std::string_view /*path*/) const {
  const auto identity = IdentityOf("");
  return identity ? identity->device : 0;
}

Result<std::uint64_t> RealFileSystem::FreeSpace() const {
  const UniqueFd fd = OpenAt(root_.get(), "", O_RDONLY | O_DIRECTORY);
  struct statvfs st {};
  if (!fd || ::fstatvfs(fd.get(), &st) != 0) return Errno("ask the free space of", "");
  return std::uint64_t{st.f_bavail} * st.f_frsize;
}

}  // namespace rescue
