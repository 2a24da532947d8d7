// A first look at a file system's superblock, before the kernel is asked to mount it.
//
// Sources: Linux fs/ext4/ext4.h (struct ext4_super_block), fs/xfs/libxfs/xfs_format.h (struct
// xfs_dsb). Only what bounds the file system is read.
#pragma once

#include <cstdint>
#include <string>

#include "rescue/base/bytes.h"
#include "rescue/base/result.h"

namespace rescue::disk {

struct FileSystemSize {
  std::string type;              // "ext4" or "xfs"
  std::uint64_t block_size = 0;  // bytes
  std::uint64_t blocks = 0;
  std::uint64_t bytes = 0;

  bool operator==(const FileSystemSize&) const = default;
};

// From the volume's first bytes (2 KiB are enough). Errors: kVolumeRefused "no-file-system"
// (neither of the two), "file-system-bounds" (impossible numbers).
Result<FileSystemSize> ReadFileSystemSize(ByteView start);

// `volume_size` in bytes. Errors: kVolumeRefused "file-system-bounds": the file system claims more
// than there is, because the volume was cut off or the superblock was edited.
Status CheckFileSystemSize(const FileSystemSize& size, std::uint64_t volume_size);

}  // namespace rescue::disk
