// Headers for tests: a real one, and the same with changed text and valid checksums.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <nlohmann/json.hpp>

#include "rescue/disk/luks2.h"
#include "tests/support/fixtures.h"

namespace rescue::disk::testing {

using Json = nlohmann::json;

inline constexpr std::uint64_t kDeviceSize = 512 * kMiB;
inline constexpr std::uint64_t kMetadataSize = 16 * kKiB;

// The first 32 KiB, that is both metadata copies, of a disk that cryptsetup 2.6.1 made with
// integrity and Constellation's token.
inline const Bytes& RealMetadata() {
  static const Bytes bytes =
      rescue::testing::ReadFileBytes(rescue::testing::FixturePath("disk/luks2-header.bin"));
  return bytes;
}

inline Json RealJson() { return Json::parse(ParseHeader(RealMetadata())->json); }

inline void WriteChecksum(Bytes& area, std::size_t at) {
  if (area.size() < at + kMetadataSize) return;
  const auto copy = std::span(area).subspan(at, kMetadataSize);
  const auto field = copy.subspan(kChecksumOffset, sizeof(BinaryHeader::checksum));
  std::fill(field.begin(), field.end(), std::byte{0});
  const Sha256Digest checksum = Sha256(copy);
  std::copy(checksum.begin(), checksum.end(), field.begin());
}

inline void RepairChecksums(Bytes& area) {
  WriteChecksum(area, 0);
  WriteChecksum(area, kMetadataSize);
}

// Both copies with this text; `sequence_step` is added to the first copy's sequence number.
inline Bytes MetadataWithText(std::string_view json, std::uint64_t sequence_step = 0) {
  Bytes area = RealMetadata();
  for (const std::size_t at : {std::size_t{0}, std::size_t{kMetadataSize}}) {
    const auto text =
        std::span(area).subspan(at + kBinaryHeaderSize, kMetadataSize - kBinaryHeaderSize);
    std::fill(text.begin(), text.end(), std::byte{0});
    std::copy_n(AsBytes(json).begin(), std::min(json.size(), text.size()), text.begin());
  }
  BinaryHeader binary;
  std::memcpy(&binary, area.data(), sizeof(binary));
  binary.sequence = binary.sequence + sequence_step;
  std::memcpy(area.data(), &binary, sizeof(binary));
  RepairChecksums(area);
  return area;
}

inline Bytes MetadataWith(const Json& json) { return MetadataWithText(json.dump()); }

}  // namespace rescue::disk::testing
