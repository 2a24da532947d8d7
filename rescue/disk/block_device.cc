#include "rescue/disk/block_device.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "rescue/base/bytes.h"
#include "rescue/disk/loop.h"

namespace rescue::disk {
namespace fs = std::filesystem;
namespace {

tl::unexpected<Error> InUse(const std::string& path, const std::string& by) {
  return Fail(
      ErrorKind::kRefused, "disk-in-use", fmt::format("open {}: it is in use: {}", path, by),
      "unmount and close what is on it (umount, cryptsetup close, dmsetup remove), then try "
      "again");
}

std::string FirstLine(const fs::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// "36 35 98:0 /mnt1 /mnt2 rw ...": device numbers are the third word, the mount point is the fifth.
std::string MountPointOf(dev_t device, const SystemPaths& system) {
  const std::string wanted = fmt::format("{}:{}", ::major(device), ::minor(device));
  std::ifstream file(system.mountinfo);
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string id;
    std::string parent;
    std::string number;
    std::string root;
    std::string mount_point;
    if (words >> id >> parent >> number >> root >> mount_point && number == wanted) {
      return mount_point;
    }
  }
  return {};
}

bool IsSwap(dev_t device, const SystemPaths& system) {
  std::ifstream file(system.swaps);
  for (std::string line; std::getline(file, line);) {
    struct stat st {};
    const std::string name = line.substr(0, line.find_first_of(" \t"));
    if (::stat(name.c_str(), &st) == 0 && S_ISBLK(st.st_mode) && st.st_rdev == device) return true;
  }
  return false;
}

std::string WhoUses(const std::string& name, dev_t device, const SystemPaths& system) {
  const std::string mount_point = MountPointOf(device, system);
  if (!mount_point.empty()) return "mounted on " + Printable(mount_point);
  if (IsSwap(device, system)) return "used as swap";
  std::error_code error;
  for (const auto& entry :
       fs::directory_iterator(fs::path(system.class_block) / name / "holders", error)) {
    const std::string holder = entry.path().filename();
    const std::string mapping = FirstLine(fs::path(system.class_block) / holder / "dm" / "name");
    return mapping.empty() ? "held by " + holder
                           : fmt::format("held by {} ({})", holder, Printable(mapping));
  }
  return {};
}

Status LookAtBlockDevice(int fd, const std::string& path, const SystemPaths& system,
                         DiskState& state) {
  if (::ioctl(fd, BLKGETSIZE64, &state.size) != 0) {
    return FailErrno("ask the size of", path, errno);
  }
  int read_only = 0;
  if (::ioctl(fd, BLKROGET, &read_only) != 0) return FailErrno("look at", path, errno);
  state.read_only = read_only != 0;
  std::error_code error;
  // /dev/disk/by-id/... leads to the name that the kernel uses.
  const fs::path name = fs::canonical(path, error).filename();
  state.in_use = WhoUses(name, state.device, system);
  return {};
}

// As QEMU does for its image files, and respected by it; also keeps a second run of this program
// away.
bool Lock(int fd, bool writable) {
  struct flock lock {};
  lock.l_type = writable ? F_WRLCK : F_RDLCK;
  lock.l_whence = SEEK_SET;
  return ::fcntl(fd, F_OFD_SETLK, &lock) == 0;
}

Result<UniqueFd> OpenImage(const std::string& path, const DiskState& state, bool writable) {
  ASSIGN_OR_RETURN(const std::string loop, LoopDeviceOver(state.device, state.inode));
  if (!loop.empty()) return InUse(path, "bound to " + loop);
  UniqueFd fd(::open(path.c_str(), (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC));
  if (!fd) return FailErrno("open", path, errno);
  if (!Lock(fd.get(), writable)) return InUse(path, "another program has locked it");
  return fd;
}

}  // namespace

Result<DiskState> LookAtDisk(const std::string& path, const SystemPaths& system) {
  // O_NONBLOCK: a FIFO must not hang us, an empty drive must not be waited for.
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  struct stat st {};
  if (!fd || ::fstat(fd.get(), &st) != 0) {
    return Fail(ErrorKind::kNoStateDisk, "no-such-disk",
                fmt::format("open {}: {}", path, std::strerror(errno)),
                "etcd-rescue disks lists what is there");
  }
  DiskState state;
  if (S_ISBLK(st.st_mode)) {
    state.device = st.st_rdev;
    RETURN_IF_ERROR(LookAtBlockDevice(fd.get(), path, system, state));
    return state;
  }
  if (!S_ISREG(st.st_mode)) {
    return Fail(ErrorKind::kNoStateDisk, "no-such-disk",
                fmt::format("open {}: neither a block device nor an image file", path),
                "etcd-rescue disks lists what is there");
  }
  state.is_image_file = true;
  state.device = st.st_dev;
  state.inode = st.st_ino;
  state.size = static_cast<std::uint64_t>(st.st_size);
  state.read_only = ::access(path.c_str(), W_OK) != 0;
  return state;
}

Result<UniqueFd> OpenUnused(const std::string& path, bool writable) {
  ASSIGN_OR_RETURN(const DiskState state, LookAtDisk(path));
  if (!state.in_use.empty()) return InUse(path, state.in_use);
  if (writable && state.read_only) {
    return Fail(ErrorKind::kRefused, "disk-read-only",
                fmt::format("open {} for writing: it is read-only", path),
                "attach the disk writable (and check blockdev --getro); inspect and plan also work "
                "read-only");
  }
  if (state.is_image_file) return OpenImage(path, state, writable);
  const int flags = (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC;
  const UniqueFd exclusive(::open(path.c_str(), flags | O_EXCL));
  if (!exclusive) {
    if (errno == EBUSY) return InUse(path, "another program has it open exclusively");
    return FailErrno("open", path, errno);
  }
  // The mapping needs to claim the device itself, so the claim ends here.
  UniqueFd fd(::open(path.c_str(), flags));
  if (!fd) return FailErrno("open", path, errno);
  return fd;
}

}  // namespace rescue::disk
