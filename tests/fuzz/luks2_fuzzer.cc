// The start of a LUKS2 disk: both copies of the header. The mutator computes their checksums anew.
//
// Promises: what the allow-list lets through is encrypted with a cipher that it names, lies inside
// the device and over nothing else, and can be opened by a key slot that is bound to the segment's
// digest; and the copy in memory that the volume is opened from reads back as what was checked.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "rescue/disk/luks2.h"
#include "rescue/disk/unlock_cost.h"
#include "tests/fuzz/fuzz.h"

namespace rescue::disk {
namespace {

using fuzz::Pick;
using fuzz::Random;

constexpr std::uint64_t kDevice = 64 * kMiB;
constexpr std::uint64_t kCopy = 16 * kKiB;

bool IsOneLine(const std::string& text) { return text.find('\n') == std::string::npos; }

void CheckFinding(const HeaderFinding& finding) {
  PROMISE(!finding.code.empty() && !finding.text.empty() && IsOneLine(finding.text));
}

void CheckTaken(const Header& header, Profile profile) {
  PROMISE(header.segments.size() == 1);
  const Segment& segment = header.segments.front();
  PROMISE(segment.cipher.find("null") == std::string::npos);
  PROMISE(segment.cipher == "aes-xts-plain64" ||
          (profile == Profile::kLuks2 && segment.cipher == "aes-cbc-essiv:sha256"));
  PROMISE(segment.offset >= HeaderAreaSize(header) && segment.offset < kDevice);
  PROMISE(segment.size.value_or(0) <= kDevice - segment.offset);
  const auto slots = UsableKeySlots(header);
  PROMISE(!slots.empty() && SegmentDigest(header) != nullptr);
  for (const KeySlot* slot : slots) {
    PROMISE(slot->area_cipher.find("null") == std::string::npos);
    PROMISE(slot->area_offset >= 2 * header.metadata_size);
    PROMISE(slot->area_offset + slot->area_size <= HeaderAreaSize(header));
    PROMISE(slot->key_size > 0 && slot->key_size <= 96);
    PROMISE(MemoryFor(*slot) <= 5 * kGiB);
    for (const KeySlot* other : slots) {
      PROMISE(slot == other || slot->area_offset + slot->area_size <= other->area_offset ||
              other->area_offset + other->area_size <= slot->area_offset);
    }
  }
  PROMISE(EstimateUnlock(header, {1e6, 1e6, 2}).seconds >= 0);
}

void CheckCopyInMemory(const Header& header) {
  if (header.area.size() < 2 * header.metadata_size) return;
  const auto again = ParseHeader(CheckedArea(header));
  PROMISE(again && again->findings.empty() && again->json == header.json);
  PROMISE(again->uuid == header.uuid && again->sequence == header.sequence);
  PROMISE(again->key_slots == header.key_slots && again->segments == header.segments);
  PROMISE(SecurityDigest(*again) == SecurityDigest(header));
}

void Check(ByteView area) {
  const auto header = ParseHeader(area);
  if (!header) {
    PROMISE(header.error().kind == ErrorKind::kVolumeRefused);
    PROMISE(IsOneLine(header.error().message) && !header.error().hint.empty());
    return;
  }
  for (const auto& finding : header->findings) CheckFinding(finding);
  for (const auto& objection : NodeObjections(*header)) PROMISE(IsOneLine(objection));
  PROMISE(NodeObjections(*header).empty() ? IsInitialized(*header) : true);
  for (const Profile profile : {Profile::kConstellation, Profile::kLuks2}) {
    const auto taken = CheckHeader(*header, kDevice, {profile, {}});
    if (taken) {
      CheckTaken(*header, profile);
      for (const auto& finding : *taken) CheckFinding(finding);
    } else {
      PROMISE(!taken.error().code.empty() && IsOneLine(taken.error().message));
    }
  }
  CheckCopyInMemory(*header);
}

// -- the mutator

void Seal(Bytes& area, std::size_t at) {
  if (area.size() < at + kCopy) return;
  const auto copy = std::span(area).subspan(at, kCopy);
  const auto field = copy.subspan(kChecksumOffset, sizeof(BinaryHeader::checksum));
  std::fill(field.begin(), field.end(), std::byte{0});
  const Sha256Digest checksum = Sha256(copy);
  std::copy(checksum.begin(), checksum.end(), field.begin());
}

// The text of one copy; the other may get the same.
void MutateText(Bytes& area, std::size_t at, Random& random) {
  const auto place = std::span(area).subspan(at + kBinaryHeaderSize, kCopy - kBinaryHeaderSize);
  const auto end = std::find(place.begin(), place.end(), std::byte{0});
  Bytes text(place.begin(), end);
  fuzz::Mutate(text, 256);
  if (text.size() >= place.size()) text.resize(place.size() - 1);
  // Bytes that no JSON text has end at the first check; most of the time they are mended.
  if (Pick(random, 8) != 0) {
    for (std::byte& byte : text) {
      const auto c = std::to_integer<unsigned char>(byte);
      if (c < ' ' || c > '~') byte = static_cast<std::byte>(' ' + c % 95);
    }
  }
  std::fill(place.begin(), place.end(), std::byte{0});
  std::copy(text.begin(), text.end(), place.begin());
}

void MutateBinary(Bytes& area, std::size_t at, Random& random) {
  BinaryHeader binary;
  std::memcpy(&binary, area.data() + at, sizeof(binary));
  switch (Pick(random, 6)) {
    case 0:
      binary.sequence = binary.sequence + Pick(random, 5) - 2;
      break;
    case 1:
      binary.sequence = ~std::uint64_t{0} - Pick(random, 2);
      break;
    case 2:
      binary.uuid[Pick(random, sizeof(binary.uuid))] = static_cast<char>(Pick(random, 256));
      break;
    case 3:
      binary.metadata_size = kMetadataSizes[Pick(random, kMetadataSizes.size())];
      break;
    case 4:
      binary.padding4096[Pick(random, sizeof(binary.padding4096))] = 1;
      break;
    default:
      binary.label[Pick(random, sizeof(binary.label))] = static_cast<char>(Pick(random, 256));
  }
  std::memcpy(area.data() + at, &binary, sizeof(binary));
}

Bytes MutateArea(ByteView input, Random& random) {
  Bytes area = ToBytes(input);
  area.resize(2 * kCopy);
  const std::size_t at = Pick(random, 2) * kCopy;
  if (Pick(random, 3) == 0) {
    MutateBinary(area, at, random);
  } else {
    MutateText(area, at, random);
    // Both copies alike, as an editor that knows the format leaves them.
    if (Pick(random, 2) == 0) {
      std::copy_n(area.begin() + static_cast<std::ptrdiff_t>(at + kBinaryHeaderSize),
                  kCopy - kBinaryHeaderSize,
                  area.begin() + static_cast<std::ptrdiff_t>(kCopy - at + kBinaryHeaderSize));
    }
  }
  Seal(area, 0);
  Seal(area, kCopy);
  return area;
}

}  // namespace
}  // namespace rescue::disk

using namespace rescue;  // NOLINT(google-build-using-namespace): the hooks are global

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  disk::Check(fuzz::Input(data, size));
  return 0;
}

std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max_size,
                                    unsigned int seed) {
  fuzz::Random random(seed);
  if (fuzz::Pick(random, 16) == 0) return LLVMFuzzerMutate(data, size, max_size);
  return fuzz::Output(disk::MutateArea(fuzz::Input(data, size), random), data, max_size);
}
