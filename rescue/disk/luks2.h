// The LUKS2 header's layout on disk; FORMAT.md explains it. Source: cryptsetup's LUKS2 On-Disk
// Format Specification 1.1.1 and lib/luks2/luks2.h (struct luks2_hdr_disk), cryptsetup 2.6.1.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "rescue/base/bytes.h"
#include "rescue/base/endian.h"
#include "rescue/base/units.h"
#include "rescue/disk/header.h"

namespace rescue::disk {

using Magic = std::array<std::uint8_t, 6>;
inline constexpr Magic kPrimaryMagic = {'L', 'U', 'K', 'S', 0xba, 0xbe};
inline constexpr Magic kSecondaryMagic = {'S', 'K', 'U', 'L', 0xba, 0xbe};

// The fixed first 4096 bytes of each copy; the JSON text fills the rest of metadata_size. All
// integers are big-endian.
struct BinaryHeader {
  Magic magic;
  ub16 version;           // 2
  ub64 metadata_size;     // bytes of this copy, this structure included
  ub64 sequence;          // grows with every write
  char label[48];         // text fields end with a zero byte
  char checksum_alg[32];  // "sha256"
  std::uint8_t salt[64];  // random, new with every write
  char uuid[40];
  char subsystem[48];
  ub64 offset;  // of this copy from the start of the device
  std::uint8_t padding[184];
  std::uint8_t checksum[64];  // of the whole copy with this field zero
  std::uint8_t padding4096[7 * 512];
};
inline constexpr std::size_t kBinaryHeaderSize = 4096;
static_assert(sizeof(BinaryHeader) == kBinaryHeaderSize && alignof(BinaryHeader) == 1);
inline constexpr std::size_t kChecksumOffset = offsetof(BinaryHeader, checksum);
static_assert(kChecksumOffset == 448);

// Sizes that a copy may have; the second copy starts at the same number.
inline constexpr std::array<std::uint64_t, 9> kMetadataSizes = {
    16 * kKiB, 32 * kKiB, 64 * kKiB, 128 * kKiB, 256 * kKiB, 512 * kKiB, kMiB, 2 * kMiB, 4 * kMiB};
// lib/luks2/luks2.h, LUKS2_MAX_KEYSLOTS_SIZE.
inline constexpr std::uint64_t kMaxKeySlotsSize = 128 * kMiB;

// What lies in one area of the device: both copies of the metadata, then the key slots.
inline std::uint64_t HeaderAreaSize(const Header& header) {
  return 2 * header.metadata_size + header.key_slots_size;
}

// ParseHeader without area and area_digest: nothing is copied, and only the metadata is hashed.
Result<Header> ParseMetadata(ByteView area);

// Fills everything of `header` that comes from the JSON text. Errors: "header-json".
Status DecodeMetadata(std::string_view json, Header& header);

// Where two JSON texts differ: "tokens.0.diskIsInitialized", at most `limit` names.
std::vector<std::string> DifferingFields(std::string_view a, std::string_view b, std::size_t limit);

// The digest that confirms the volume key of segment 0; nothing when it is not exactly one.
const Digest* SegmentDigest(const Header& header);
// The key slots that give this volume key, in the order of trying: higher priority first.
std::vector<const KeySlot*> UsableKeySlots(const Header& header);

// The area with both copies rewritten from the chosen one (same JSON, new checksums): whatever a
// library does with it, it can only see what was checked.
Bytes CheckedArea(const Header& header);

}  // namespace rescue::disk
