#include "rescue/disk/file_system.h"

#include <fmt/format.h>

#include <cstring>
#include <optional>

#include "rescue/base/endian.h"
#include "rescue/base/units.h"

namespace rescue::disk {
namespace {

constexpr std::string_view kNext =
    "nothing was mounted: compare the volume's size with the node's, look for a newer snapshot of "
    "the disk; e2fsck -n or xfs_repair -n on a copy shows more";

template <typename T>
std::optional<std::uint64_t> NumberAt(ByteView bytes, std::uint64_t offset) {
  const auto field = Slice(bytes, offset, sizeof(T));
  if (!field) return std::nullopt;
  T value;
  std::memcpy(&value, field->data(), sizeof(value));
  return value.Get();
}

// The superblock of ext4 lies at 1024; numbers are little-endian.
constexpr std::uint64_t kExt4 = 1024;
constexpr std::uint64_t kExt4Magic = 0xef53;
constexpr std::uint64_t kExt4WideNumbers = 0x80;  // INCOMPAT_64BIT
constexpr std::uint64_t kXfsMagic = 0x58465342;   // "XFSB", big-endian, at 0

Result<FileSystemSize> Checked(FileSystemSize size, std::uint64_t smallest, std::uint64_t largest) {
  const bool possible = size.block_size >= smallest && size.block_size <= largest &&
                        (size.block_size & (size.block_size - 1)) == 0 && size.blocks > 0 &&
                        size.blocks <= ~std::uint64_t{0} / size.block_size;
  if (possible) {
    size.bytes = size.blocks * size.block_size;
    return size;
  }
  return Fail(ErrorKind::kVolumeRefused, "file-system-bounds",
              fmt::format("look at the {} superblock: {} blocks of {} bytes are impossible",
                          size.type, size.blocks, size.block_size),
              std::string(kNext));
}

}  // namespace

Result<FileSystemSize> ReadFileSystemSize(ByteView start) {
  FileSystemSize size;
  if (NumberAt<ub32>(start, 0) == kXfsMagic) {
    size.type = "xfs";
    size.block_size = NumberAt<ub32>(start, 4).value_or(0);
    size.blocks = NumberAt<ub64>(start, 8).value_or(0);
    return Checked(std::move(size), 512, 64 * kKiB);
  }
  if (NumberAt<ul16>(start, kExt4 + 56) == kExt4Magic) {
    size.type = "ext4";
    const std::uint64_t log = NumberAt<ul32>(start, kExt4 + 24).value_or(64);
    size.block_size = log <= 6 ? std::uint64_t{1024} << log : 0;
    size.blocks = NumberAt<ul32>(start, kExt4 + 4).value_or(0);
    if ((NumberAt<ul32>(start, kExt4 + 96).value_or(0) & kExt4WideNumbers) != 0) {
      size.blocks |= NumberAt<ul32>(start, kExt4 + 336).value_or(0) << 32;
    }
    return Checked(std::move(size), 1024, 64 * kKiB);
  }
  return Fail(
      ErrorKind::kVolumeRefused, "no-file-system",
      "look into the volume: there is neither an ext4 nor an xfs superblock",
      "do not boot the node with this disk: it would make a new file system; check that the "
      "header belongs to this disk");
}

Status CheckFileSystemSize(const FileSystemSize& size, std::uint64_t volume_size) {
  if (size.bytes <= volume_size) return {};
  return Fail(
      ErrorKind::kVolumeRefused, "file-system-bounds",
      fmt::format("look at the {} superblock: it claims {} bytes, the volume has {}: it was "
                  "cut off, or the superblock was edited",
                  size.type, size.bytes, volume_size),
      std::string(kNext));
}

}  // namespace rescue::disk
