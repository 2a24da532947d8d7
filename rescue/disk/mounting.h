// Mounting the volume's file system in a private place.
#pragma once

#include <string>

#include "rescue/base/result.h"

namespace rescue::disk {

// The file system on a device: "ext4" or, where that is allowed, "xfs". Errors: kVolumeRefused
// "no-file-system" (none, or one that such a disk does not have), "file-system-bounds" (it claims
// to be larger than the device).
Result<std::string> FileSystemOn(const std::string& device, bool allow_xfs);

// Creates /run/etcd-rescue/`name` (0700) and mounts there with nosuid, nodev, noexec, noatime. A
// dirty journal is replayed by the kernel, also with `read_only`. Errors: kVolumeRefused
// "mount-failed".
Result<std::string> MountPrivately(const std::string& device, const std::string& file_system,
                                   const std::string& name, bool read_only);
// The same for a disk that must stay as it is to the last bit, a backup's: read-only, and a dirty
// journal is not replayed, so that what was written last before a crash may be missing. Takes
// "ext4", "xfs", "btrfs", "vfat" and "iso9660"; others are refused (kUsage "no-backup-disk").
Result<std::string> MountUntouched(const std::string& device, const std::string& file_system,
                                   const std::string& name);
// Flushes what was written there. Errors: kOther "flush-failed".
Status Flush(const std::string& mount_point);
// Unmounts and removes the folder. Errors: kOther "not-sealed", with who keeps it busy.
Status Unmount(const std::string& mount_point);
// Whether anything is mounted there, as the kernel says.
Result<bool> IsMounted(const std::string& mount_point);

}  // namespace rescue::disk
