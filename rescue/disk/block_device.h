// What the running system says about a disk: size, whether it can be written, who uses it.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "rescue/base/result.h"
#include "rescue/base/unique_fd.h"

namespace rescue::disk {

// Where the kernel shows itself; tests give their own folders.
struct SystemPaths {
  std::string class_block = "/sys/class/block";
  std::string dev = "/dev";
  std::string mountinfo = "/proc/self/mountinfo";
  std::string swaps = "/proc/swaps";
};

struct DiskState {
  bool is_image_file = false;
  std::uint64_t size = 0;  // bytes
  bool read_only = false;
  dev_t device = 0;    // the block device, or the file system that holds the image file
  ino_t inode = 0;     // of an image file
  std::string in_use;  // who uses it: "mounted on /boot", "held by dm-0 (vg-root)"; "" when nobody
};

// Opens nothing for writing. Errors: kNoStateDisk "no-such-disk" (missing, or neither a block
// device nor a regular file), kOther "io".
Result<DiskState> LookAtDisk(const std::string& path, const SystemPaths& system = {});

// Opens a disk and makes sure that nobody else uses it: exclusively for a moment (block devices),
// by a lock that lasts as long as the descriptor (image files). Errors: kRefused "disk-in-use",
// "disk-read-only".
Result<UniqueFd> OpenUnused(const std::string& path, bool writable);

}  // namespace rescue::disk
