// What the first bytes of a disk say that it is, and what to do with what cannot be opened.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "rescue/base/result.h"
#include "rescue/disk/header.h"

namespace rescue::disk {

enum class ContentKind {
  kUnknown,      // nothing that is known
  kLuks2,        // also with a header that is damaged beyond use
  kFileSystem,   // ext4 or xfs without encryption
  kContainer,    // LVM, RAID, LUKS1, BitLocker, ...: something else has to be opened first
  kPartitioned,  // a partition table: the partitions are what is looked at
  kOther,        // known, but never with a data directory on it (swap, another file system)
};

struct Content {
  ContentKind kind = ContentKind::kUnknown;
  std::string word;   // "LUKS2", "LUKS1", else libblkid's: "ext4", "LVM2_member", "gpt"; ""
  std::string uuid;   // of the LUKS header or the file system
  std::string label;  // likewise
  std::optional<Header> header;  // LUKS2, without its area; nothing when both copies are damaged
  std::string why;               // one line: what it is; "" for a LUKS2 header that can be read

  bool operator==(const Content&) const = default;
};

// `size` bytes long. Reads only.
Content LookInside(int fd, std::uint64_t size);

// Errors kVolumeRefused, by name, with what to do first: "lvm", "raid", "luks1", "bitlocker",
// "zfs", "bcache", "partition-table", "file-system-unsupported", "not-luks".
Status CheckOpenable(const std::string& path, const Content& content);

}  // namespace rescue::disk
