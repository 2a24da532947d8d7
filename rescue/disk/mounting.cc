#include "rescue/disk/mounting.h"

#include <blkid/blkid.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <libmount/libmount.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <memory>
#include <sstream>
#include <utility>

#include "rescue/base/bytes.h"
#include "rescue/base/unique_fd.h"
#include "rescue/disk/file_system.h"
#include "rescue/disk/holders.h"

namespace rescue::disk {
namespace {

constexpr const char* kRuntime = "/run/etcd-rescue";
constexpr std::size_t kSuperblockReach = 4096;  // the superblocks of ext4 and xfs end before

tl::unexpected<Error> MountFailed(const std::string& what, const std::string& why) {
  return Fail(ErrorKind::kVolumeRefused, "mount-failed", fmt::format("mount {}: {}", what, why),
              "the kernel's log (dmesg) says more; e2fsck -n on a copy shows what is damaged");
}

Status MakeFolder(const std::string& path) {
  if (::mkdir(path.c_str(), 0700) == 0 || errno == EEXIST) return {};
  return FailErrno("create", path, errno);
}

// ext4: whatever the superblock asks for, a damaged file system must not panic us. xfs: two
// survivors that were cloned from one image have the same UUID.
const char* OptionsFor(const std::string& file_system) {
  return file_system == "xfs" ? "nouuid" : "errors=remount-ro";
}

struct FreeContext {
  void operator()(libmnt_context* context) const { mnt_free_context(context); }
};

}  // namespace

namespace {

// ext4 is the only file system that a Constellation node puts on its state disk
// (image/base/mkosi.skeleton/etc/fstab); other nodes may have xfs. Fewer parsers in the kernel,
// less for a hostile disk to try.
bool IsRecognised(int fd, bool allow_xfs, std::string& type) {
  const std::unique_ptr<blkid_struct_probe, void (*)(blkid_probe)> probe(blkid_new_probe(),
                                                                         blkid_free_probe);
  // Only these: libblkid gives up at the first unreadable sector, and other formats make it look at
  // places of an integrity volume that may never have been written.
  std::string ext4 = "ext4";
  std::string xfs = "xfs";
  char* names[] = {ext4.data(), allow_xfs ? xfs.data() : nullptr, nullptr};
  const char* word = nullptr;
  if (!probe || blkid_probe_set_device(probe.get(), fd, 0, 0) != 0 ||
      blkid_probe_enable_superblocks(probe.get(), 1) != 0 ||
      blkid_probe_set_superblocks_flags(probe.get(), BLKID_SUBLKS_TYPE) != 0 ||
      blkid_probe_filter_superblocks_type(probe.get(), BLKID_FLTR_ONLYIN, names) != 0 ||
      blkid_do_safeprobe(probe.get()) != 0 ||
      blkid_probe_lookup_value(probe.get(), "TYPE", &word, nullptr) != 0) {
    return false;
  }
  type = word;
  return true;
}

}  // namespace

Result<std::string> FileSystemOn(const std::string& device, bool allow_xfs) {
  const UniqueFd fd(::open(device.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return FailErrno("open", device, errno);
  Bytes start(kSuperblockReach);
  const ssize_t got = ::pread(fd.get(), start.data(), start.size(), 0);
  std::uint64_t size = 0;
  if (got < 0 || ::ioctl(fd.get(), BLKGETSIZE64, &size) != 0) {
    return FailErrno("read", "the volume's first bytes", errno);
  }
  start.resize(static_cast<std::size_t>(got));
  std::string type;
  if (!IsRecognised(fd.get(), allow_xfs, type)) {
    return Fail(ErrorKind::kVolumeRefused, "no-file-system",
                fmt::format("look into the volume: there is no ext4{} file system on it",
                            allow_xfs ? " or xfs" : ""),
                "do not boot the node with this disk: it would make a new file system; check that "
                "the header belongs to this disk");
  }
  ASSIGN_OR_RETURN(const FileSystemSize claimed, ReadFileSystemSize(start));
  RETURN_IF_ERROR(CheckFileSystemSize(claimed, size));
  return type;
}

namespace {

Result<std::string> Mount(const std::string& device, const std::string& file_system,
                          const std::string& name, bool read_only, const char* options) {
  const std::string target = fmt::format("{}/{}", kRuntime, name);
  RETURN_IF_ERROR(MakeFolder(kRuntime));
  RETURN_IF_ERROR(MakeFolder(target));
  const std::unique_ptr<libmnt_context, FreeContext> context(mnt_new_context());
  unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME;
  if (read_only) flags |= MS_RDONLY;
  const bool ready = context && mnt_context_set_source(context.get(), device.c_str()) == 0 &&
                     mnt_context_set_target(context.get(), target.c_str()) == 0 &&
                     mnt_context_set_fstype(context.get(), file_system.c_str()) == 0 &&
                     mnt_context_set_mflags(context.get(), flags) == 0 &&
                     mnt_context_set_options(context.get(), options) == 0 &&
                     mnt_context_disable_mtab(context.get(), 1) == 0 &&
                     mnt_context_disable_helpers(context.get(), 1) == 0;
  int code = ready ? mnt_context_mount(context.get()) : -ENOMEM;
  if (code == 0 && mnt_context_get_status(context.get()) == 1) return target;
  if (ready && mnt_context_syscall_called(context.get()) == 1) {
    code = mnt_context_get_syscall_errno(context.get());
  }
  (void)::rmdir(target.c_str());
  return MountFailed(fmt::format("the volume's {}", file_system), std::strerror(std::abs(code)));
}

// Options under which the kernel writes nothing, also to a file system that was not unmounted.
constexpr std::pair<const char*, const char*> kUntouched[] = {
    {"ext4", "noload"}, {"xfs", "norecovery,nouuid"}, {"btrfs", "rescue=nologreplay"}, {"vfat", ""},
    {"iso9660", ""},
};

}  // namespace

Result<std::string> MountPrivately(const std::string& device, const std::string& file_system,
                                   const std::string& name, bool read_only) {
  return Mount(device, file_system, name, read_only, OptionsFor(file_system));
}

Result<std::string> MountUntouched(const std::string& device, const std::string& file_system,
                                   const std::string& name) {
  for (const auto& [known, options] : kUntouched) {
    if (file_system == known) return Mount(device, file_system, name, /*read_only=*/true, options);
  }
  return Fail(ErrorKind::kUsage, "no-backup-disk",
              fmt::format("mount {}: it holds {}", device,
                          file_system.empty() ? "no file system" : file_system),
              "bring the backups on ext4, xfs, btrfs, vfat or iso9660");
}

Status Flush(const std::string& mount_point) {
  const UniqueFd fd(::open(mount_point.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd && ::syncfs(fd.get()) == 0) return {};
  return Fail(
      ErrorKind::kOther, "flush-failed",
      fmt::format("flush {}: {}", mount_point, std::strerror(errno)),
      "the disk may have lost the last writes: check the kernel's log, then run verify again");
}

Status Unmount(const std::string& mount_point) {
  if (::umount2(mount_point.c_str(), UMOUNT_NOFOLLOW) != 0) {
    const std::string reason = std::strerror(errno);
    return Fail(ErrorKind::kOther, "not-sealed",
                fmt::format("unmount {}: {}: {}", mount_point, reason,
                            HoldersText(HoldersOfMount(mount_point))),
                fmt::format("end what holds it, then umount {} and remove its mappings (dmsetup "
                            "remove {}...) before the disk is detached",
                            mount_point, mount_point.substr(mount_point.rfind('/') + 1)));
  }
  if (::rmdir(mount_point.c_str()) != 0) return FailErrno("remove", mount_point, errno);
  return {};
}

Result<bool> IsMounted(const std::string& mount_point) {
  std::ifstream file("/proc/self/mountinfo");
  if (!file) return FailErrno("read", "/proc/self/mountinfo", errno);
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string word;
    for (int i = 0; i < 5; ++i) words >> word;
    if (word == mount_point) return true;
  }
  return false;
}

}  // namespace rescue::disk
