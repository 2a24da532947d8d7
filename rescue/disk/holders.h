// Who keeps a mounted file system or a block device busy, so that a disk that cannot be closed
// names its holder.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace rescue::disk {

// One line each: "process 812 (sleep) has /run/.../db open", "loop3 lies over /run/.../file".
// Best effort: empty when nobody was found (another kernel user, or gone meanwhile).
std::vector<std::string> HoldersOfMount(const std::string& mount_point);

// The same for a block device: open descriptors, mounts in any namespace, mappings and loop devices
// above it, swap.
std::vector<std::string> HoldersOfDevice(dev_t device);

// "process 812 (sleep) has ... open; ..." or "nobody that could be found".
std::string HoldersText(const std::vector<std::string>& holders);

}  // namespace rescue::disk
