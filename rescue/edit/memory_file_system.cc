#include "rescue/edit/memory_file_system.h"

#include <algorithm>
#include <cerrno>
#include <random>

namespace rescue::testing {
namespace {

constexpr std::uint64_t kRoot = 0;
constexpr std::size_t kSector = 512;  // what a disk writes or does not write as a whole

tl::unexpected<Error> Errno(std::string_view operation, std::string_view path, int value) {
  return FailErrno(operation, path.empty() ? "." : Printable(path), value);
}

class MemoryFile final : public ReadableFile {
 public:
  explicit MemoryFile(Bytes content) : content_(std::move(content)) {}
  std::uint64_t size() const override { return content_.size(); }
  Result<std::size_t> ReadAt(std::uint64_t offset, std::span<std::byte> into) const override {
    if (offset >= content_.size()) return std::size_t{0};
    const std::size_t count =
        std::min<std::size_t>(into.size(), content_.size() - static_cast<std::size_t>(offset));
    std::copy_n(content_.begin() + static_cast<std::ptrdiff_t>(offset), count, into.begin());
    return count;
  }

 private:
  Bytes content_;
};

}  // namespace

MemoryFileSystem::MemoryFileSystem() {
  Inode root;
  root.status.type = FileType::kDirectory;
  root.status.attributes.mode = 0755;
  root.status.modified = clock_;
  now_[kRoot] = root;
  durable_ = now_;
}

MemoryFileSystem::~MemoryFileSystem() = default;

void MemoryFileSystem::SyncAll() {
  durable_ = now_;
  pending_.clear();
}

void MemoryFileSystem::Crash(Unsynced unsynced, std::uint32_t seed) {
  std::mt19937 random(seed);
  for (const Change& change : pending_) {
    const bool keep =
        unsynced == Unsynced::kKept || (unsynced == Unsynced::kRandomSubset && random() % 2 == 0);
    if (keep) change.apply(durable_);
  }
  pending_.clear();
  now_ = durable_;
}

void MemoryFileSystem::AddFile(std::string_view path, ByteView content,
                               const Attributes& attributes) {
  for (std::size_t slash = path.find('/'); slash != std::string_view::npos;
       slash = path.find('/', slash + 1)) {
    Attributes directory;
    directory.mode = 0700;
    (void)MakeDirectory(path.substr(0, slash), directory);
  }
  (void)CreateFile(path, attributes);
  (void)WriteAt(path, 0, content);
}

Result<MemoryFileSystem::Id> MemoryFileSystem::Find(std::string_view path) const {
  if (!IsCleanPath(path)) {
    return Fail(ErrorKind::kRefused, "bad-path", "use " + Printable(path) + ": not a clean path");
  }
  Id id = kRoot;
  while (!path.empty()) {
    const Inode& directory = now_.at(id);
    const std::size_t slash = path.find('/');
    const auto it = directory.entries.find(std::string(path.substr(0, slash)));
    if (it == directory.entries.end()) return Errno("find", path, ENOENT);
    id = it->second;
    path = slash == std::string_view::npos ? std::string_view{} : path.substr(slash + 1);
  }
  return id;
}

Result<MemoryFileSystem::Id> MemoryFileSystem::FindRegular(std::string_view operation,
                                                           std::string_view path) const {
  ASSIGN_OR_RETURN(const Id id, Find(path));
  if (now_.at(id).status.type != FileType::kRegular) return Errno(operation, path, EISDIR);
  return id;
}

Result<std::pair<MemoryFileSystem::Id, std::string>> MemoryFileSystem::FindParent(
    std::string_view path) const {
  if (path.empty() || !IsCleanPath(path)) {
    return Fail(ErrorKind::kRefused, "bad-path",
                "change " + Printable(path) + ": not a clean path");
  }
  const std::string directory = ParentPath(path);
  ASSIGN_OR_RETURN(const Id id, Find(directory));
  if (now_.at(id).status.type != FileType::kDirectory) return Errno("open", directory, ENOTDIR);
  return std::pair{id, std::string(path.substr(directory.empty() ? 0 : directory.size() + 1))};
}

Status MemoryFileSystem::Writable(std::string_view operation, std::string_view path) const {
  if (read_only_) return Errno(operation, path, EROFS);
  return {};
}

void MemoryFileSystem::Do(Change change) {
  change.apply(now_);
  pending_.push_back(std::move(change));
}

Result<std::unique_ptr<ReadableFile>> MemoryFileSystem::Open(std::string_view path) const {
  ASSIGN_OR_RETURN(const Id id, FindRegular("open", path));
  return std::make_unique<MemoryFile>(now_.at(id).content);
}

Result<FileStatus> MemoryFileSystem::Stat(std::string_view path) const {
  ASSIGN_OR_RETURN(const Id id, Find(path));
  const Inode& inode = now_.at(id);
  FileStatus status = inode.status;
  status.size = inode.content.size();
  return status;
}

Result<std::vector<DirectoryEntry>> MemoryFileSystem::List(std::string_view path) const {
  ASSIGN_OR_RETURN(const Id id, Find(path));
  if (now_.at(id).status.type != FileType::kDirectory) return Errno("list", path, ENOTDIR);
  std::vector<DirectoryEntry> entries;
  for (const auto& [name, entry] : now_.at(id).entries) {
    entries.push_back({name, now_.at(entry).status.type});
  }
  return entries;
}

Status MemoryFileSystem::WriteAt(std::string_view path, std::uint64_t offset, ByteView bytes) {
  RETURN_IF_ERROR(Writable("write", path));
  ASSIGN_OR_RETURN(const Id id, FindRegular("write", path));
  constexpr std::uint64_t kMost = std::uint64_t{1} << 32;  // a test that wants more is broken
  if (offset > kMost || bytes.size() > kMost - offset) return Errno("write", path, EFBIG);
  const TimeNs time = ++clock_;
  while (!bytes.empty()) {
    const std::size_t count = std::min(bytes.size(), kSector - offset % kSector);
    Do({{id}, [id, offset, time, piece = ToBytes(bytes.first(count))](Image& image) {
          Inode& inode = image.at(id);
          if (inode.content.size() < offset + piece.size()) {
            inode.content.resize(static_cast<std::size_t>(offset) + piece.size());
          }
          std::copy(piece.begin(), piece.end(),
                    inode.content.begin() + static_cast<std::ptrdiff_t>(offset));
          inode.status.modified = time;
        }});
    bytes = bytes.subspan(count);
    offset += count;
  }
  return {};
}

Status MemoryFileSystem::Add(std::string_view path, FileType type, const Attributes& attributes) {
  RETURN_IF_ERROR(Writable("create", path));
  ASSIGN_OR_RETURN(const auto parent, FindParent(path));
  const auto& [directory, name] = parent;
  if (now_.at(directory).entries.contains(name)) return Errno("create", path, EEXIST);
  const Id id = next_++;
  const TimeNs time = ++clock_;
  Inode inode;
  inode.status.type = type;
  inode.status.modified = time;
  // Without a durable name it cannot be reached, so the inode itself may be there early.
  now_[id] = inode;
  durable_[id] = inode;
  Do({{directory}, [directory = directory, name = name, id, time](Image& image) {
        image.at(directory).entries[name] = id;
        image.at(directory).status.modified = time;
      }});
  return SetAttributes(path, attributes);
}

Status MemoryFileSystem::CreateFile(std::string_view path, const Attributes& attributes) {
  return Add(path, FileType::kRegular, attributes);
}

Status MemoryFileSystem::MakeDirectory(std::string_view path, const Attributes& attributes) {
  return Add(path, FileType::kDirectory, attributes);
}

Status MemoryFileSystem::Truncate(std::string_view path, std::uint64_t size) {
  RETURN_IF_ERROR(Writable("truncate", path));
  ASSIGN_OR_RETURN(const Id id, FindRegular("truncate", path));
  if (size > std::uint64_t{1} << 32) return Errno("truncate", path, EFBIG);
  const TimeNs time = ++clock_;
  Do({{id}, [id, size, time](Image& image) {
        image.at(id).content.resize(static_cast<std::size_t>(size));
        image.at(id).status.modified = time;
      }});
  return {};
}

Status MemoryFileSystem::Rename(std::string_view from, std::string_view to) {
  RETURN_IF_ERROR(Writable("rename", from));
  ASSIGN_OR_RETURN(const Id id, Find(from));
  ASSIGN_OR_RETURN(const auto source, FindParent(from));
  ASSIGN_OR_RETURN(const auto target, FindParent(to));
  if (now_.at(target.first).entries.contains(target.second)) return Errno("rename", to, EEXIST);
  if (to.starts_with(std::string(from) + "/")) return Errno("rename", from, EINVAL);
  const TimeNs time = ++clock_;
  Do({{source.first, target.first}, [id, source = source, target = target, time](Image& image) {
        image.at(source.first).entries.erase(source.second);
        image.at(source.first).status.modified = time;
        image.at(target.first).entries[target.second] = id;
        image.at(target.first).status.modified = time;
      }});
  return {};
}

Status MemoryFileSystem::Exchange(std::string_view first, std::string_view second) {
  RETURN_IF_ERROR(Writable("exchange", first));
  ASSIGN_OR_RETURN(const Id one, Find(first));
  ASSIGN_OR_RETURN(const Id other, Find(second));
  ASSIGN_OR_RETURN(const auto source, FindParent(first));
  ASSIGN_OR_RETURN(const auto target, FindParent(second));
  const TimeNs time = ++clock_;
  Do({{source.first, target.first},
      [one, other, source = source, target = target, time](Image& image) {
        image.at(source.first).entries[source.second] = other;
        image.at(source.first).status.modified = time;
        image.at(target.first).entries[target.second] = one;
        image.at(target.first).status.modified = time;
      }});
  return {};
}

Status MemoryFileSystem::Remove(std::string_view path) {
  RETURN_IF_ERROR(Writable("remove", path));
  ASSIGN_OR_RETURN(const Id id, Find(path));
  ASSIGN_OR_RETURN(const auto parent, FindParent(path));
  if (!now_.at(id).entries.empty()) return Errno("remove", path, ENOTEMPTY);
  const TimeNs time = ++clock_;
  Do({{parent.first}, [parent = parent, time](Image& image) {
        image.at(parent.first).entries.erase(parent.second);
        image.at(parent.first).status.modified = time;
      }});
  return {};
}

Status MemoryFileSystem::SetAttributes(std::string_view path, const Attributes& attributes) {
  RETURN_IF_ERROR(Writable("set attributes of", path));
  ASSIGN_OR_RETURN(const Id id, Find(path));
  Do({{id}, [id, attributes](Image& image) { image.at(id).status.attributes = attributes; }});
  return {};
}

Status MemoryFileSystem::SetModified(std::string_view path, TimeNs modified) {
  RETURN_IF_ERROR(Writable("set modification time of", path));
  ASSIGN_OR_RETURN(const Id id, Find(path));
  Do({{id}, [id, modified](Image& image) { image.at(id).status.modified = modified; }});
  return {};
}

void MemoryFileSystem::Sync(Id id) {
  std::vector<Change> left;
  for (Change& change : pending_) {
    if (change.synced_by.contains(id)) {
      change.apply(durable_);
    } else {
      left.push_back(std::move(change));
    }
  }
  pending_ = std::move(left);
}

Status MemoryFileSystem::SyncFile(std::string_view path) {
  RETURN_IF_ERROR(Writable("sync", path));
  ASSIGN_OR_RETURN(const Id id, FindRegular("sync", path));
  Sync(id);
  return {};
}

Status MemoryFileSystem::SyncDirectory(std::string_view path) {
  RETURN_IF_ERROR(Writable("sync", path));
  ASSIGN_OR_RETURN(const Id id, Find(path));
  if (now_.at(id).status.type != FileType::kDirectory) return Errno("sync", path, ENOTDIR);
  Sync(id);
  return {};
}

}  // namespace rescue::testing
