#include "rescue/secret/esp.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "rescue/base/unique_fd.h"

namespace rescue::secret {
namespace {

// systemd-stub(7): 4 bytes of attributes, then UTF-16 text.
constexpr const char* kVariable =
    "/sys/firmware/efi/efivars/LoaderDevicePartUUID-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
constexpr std::size_t kAttributes = 4;
constexpr std::size_t kUuidLength = 36;

tl::unexpected<Error> FailEsp(std::string_view what, int error) {
  if (error == EROFS || error == EACCES) {
    return Fail(ErrorKind::kRefused, "read-only",
                fmt::format("{} the ESP: the boot disk cannot be written", what),
                "attach the boot disk writable, or seal to nv or console");
  }
  return Fail(ErrorKind::kOther, "esp", fmt::format("{} the ESP: {}", what, std::strerror(error)));
}

// The partition, mounted where nobody else looks.
class Mounted {
 public:
  static Result<Mounted> Mount(const std::string& device, bool writable) {
    Mounted mounted;
    std::string name = "/run/etcd-rescue-esp-XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) return FailEsp("mount", errno);
    mounted.directory_ = name;
    const unsigned long flags =
        MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOSYMFOLLOW | (writable ? 0 : MS_RDONLY);
    if (::mount(device.c_str(), name.c_str(), "vfat", flags, "umask=0077") != 0) {
      return FailEsp("mount", errno);
    }
    mounted.is_mounted_ = true;
    return mounted;
  }
  Mounted(Mounted&& other) noexcept
      : directory_(std::exchange(other.directory_, {})),
        is_mounted_(std::exchange(other.is_mounted_, false)) {}
  Mounted& operator=(Mounted&&) = delete;
  ~Mounted() {
    if (is_mounted_) (void)::umount2(directory_.c_str(), UMOUNT_NOFOLLOW);
    if (!directory_.empty()) (void)::rmdir(directory_.c_str());
  }
  std::string Path(std::string_view name) const { return directory_ + "/" + std::string(name); }
  // Success means that everything is on the disk.
  Status Unmount() {
    is_mounted_ = false;
    if (::umount2(directory_.c_str(), UMOUNT_NOFOLLOW) != 0) return FailEsp("unmount", errno);
    return {};
  }

 private:
  Mounted() = default;
  std::string directory_;
  bool is_mounted_ = false;
};

Result<Bytes> ReadAll(int fd, std::size_t limit) {
  Bytes content(limit + 1);
  std::size_t have = 0;
  while (have < content.size()) {
    const ssize_t got = ::read(fd, content.data() + have, content.size() - have);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return FailEsp("read", errno);
    if (got == 0) break;
    have += static_cast<std::size_t>(got);
  }
  if (have > limit) return FailEsp("read", EFBIG);
  content.resize(have);
  return content;
}

// Beside it first, then over it: a boot in between finds the old file or the new one.
Status WriteBeside(const Mounted& esp, ByteView content) {
  const std::string path = esp.Path(kBlobOnEsp);
  const std::string fresh = path + ".new";
  const UniqueFd fd(::open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!fd) return FailEsp("write to", errno);
  if (::write(fd.get(), content.data(), content.size()) != static_cast<ssize_t>(content.size()) ||
      ::fsync(fd.get()) != 0 || ::rename(fresh.c_str(), path.c_str()) != 0) {
    return FailEsp("write to", errno);
  }
  return {};
}

}  // namespace

std::optional<std::string> FindEsp() {
  const UniqueFd fd(::open(kVariable, O_RDONLY | O_CLOEXEC));
  if (!fd) return std::nullopt;
  const auto content = ReadAll(fd.get(), 256);
  if (!content || content->size() < kAttributes + 2 * kUuidLength) return std::nullopt;
  std::string uuid;
  for (std::size_t i = 0; i < kUuidLength; ++i) {
    const auto low = std::to_integer<unsigned char>((*content)[kAttributes + 2 * i]);
    const bool fits = (std::isxdigit(low) != 0 || low == '-') &&
                      (*content)[kAttributes + 2 * i + 1] == std::byte{0};
    if (!fits) return std::nullopt;
    uuid += static_cast<char>(std::tolower(low));
  }
  std::string device = "/dev/disk/by-partuuid/" + uuid;
  if (::access(device.c_str(), F_OK) != 0) return std::nullopt;
  return device;
}

Result<std::optional<Bytes>> ReadFromEsp(const std::string& device, const char* name,
                                         std::size_t limit) {
  ASSIGN_OR_RETURN(const Mounted esp, Mounted::Mount(device, /*writable=*/false));
  const UniqueFd fd(::open(esp.Path(name).c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd && errno == ENOENT) return std::nullopt;
  if (!fd) return FailEsp("read", errno);
  ASSIGN_OR_RETURN(auto content, ReadAll(fd.get(), limit));
  return std::optional<Bytes>(std::move(content));
}

Status WriteToEsp(const std::string& device, ByteView content, bool replace) {
  ASSIGN_OR_RETURN(Mounted esp, Mounted::Mount(device, /*writable=*/true));
  const std::string path = esp.Path(kBlobOnEsp);
  if (!replace && ::access(path.c_str(), F_OK) == 0) {
    return Fail(ErrorKind::kRefused, "exists",
                fmt::format("write {} on the ESP: there is one already", kBlobOnEsp),
                "replace it with --replace (in a job: \"replace\": true)");
  }
  const std::string folder = path.substr(0, path.rfind('/'));
  if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) return FailEsp("write to", errno);
  RETURN_IF_ERROR(WriteBeside(esp, content));
  return esp.Unmount();
}

}  // namespace rescue::secret
