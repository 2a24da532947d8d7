#include "rescue/disk/header.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <span>

#include "rescue/base/unique_fd.h"
#include "rescue/disk/luks2.h"

namespace rescue::disk {
namespace {

constexpr std::string_view kWhereNext =
    "check that this is the state disk; a header backup can be restored with cryptsetup "
    "luksHeaderRestore";

// The copies lie in the first 8 MiB, whatever their size.
constexpr std::uint64_t kMetadataReach = 2 * kMetadataSizes.back();

struct Copy {
  BinaryHeader binary;
  ByteView whole;  // metadata_size bytes
};

// A copy as it was found: whole, or why not.
struct Found {
  std::optional<Copy> copy;
  bool has_magic = false;
  bool is_cut = false;
  std::string damage;
};

std::string Text(const char* field, std::size_t size) { return {field, ::strnlen(field, size)}; }

bool IsMetadataSize(std::uint64_t size) {
  return std::find(kMetadataSizes.begin(), kMetadataSizes.end(), size) != kMetadataSizes.end();
}

Sha256Digest ChecksumOf(ByteView whole) {
  static constexpr std::array<std::byte, sizeof(BinaryHeader::checksum)> kZero{};
  Sha256Hasher hasher;
  hasher.Update(whole.first(kChecksumOffset));
  hasher.Update(kZero);
  hasher.Update(whole.subspan(kChecksumOffset + kZero.size()));
  return hasher.Finish();
}

Found LookAt(ByteView area, std::uint64_t offset, const Magic& magic) {
  Found found;
  const auto start = Slice(area, offset, kBinaryHeaderSize);
  if (!start) {
    found.is_cut = true;
    found.damage = "it lies behind the end";
    return found;
  }
  BinaryHeader binary;
  std::memcpy(&binary, start->data(), sizeof(binary));
  if (binary.magic != magic) {
    found.damage = "its first bytes are not LUKS2's";
    return found;
  }
  found.has_magic = true;
  if (binary.version != 2) {
    found.damage = fmt::format("its version is {}, not 2", binary.version.Get());
    return found;
  }
  if (!IsMetadataSize(binary.metadata_size) || binary.offset != offset ||
      (offset != 0 && binary.metadata_size != offset)) {
    found.damage = "its size or position is impossible";
    return found;
  }
  const auto whole = Slice(area, offset, binary.metadata_size);
  if (!whole) {
    found.is_cut = true;
    found.damage = "it goes on behind the end";
    return found;
  }
  if (Text(binary.checksum_alg, sizeof(binary.checksum_alg)) != "sha256") {
    found.damage = "its checksum is not sha256";
    return found;
  }
  const Sha256Digest checksum = ChecksumOf(*whole);
  if (std::memcmp(checksum.data(), binary.checksum, checksum.size()) != 0) {
    found.damage = "its checksum is wrong";
    return found;
  }
  found.copy = Copy{binary, *whole};
  return found;
}

// The second copy starts where the first one ends, and with a broken first copy that can be at any
// of the sizes.
Found LookForSecondary(ByteView area, const Found& primary) {
  if (primary.copy) return LookAt(area, primary.copy->binary.metadata_size, kSecondaryMagic);
  Found best;
  best.damage = "it was not found";
  for (const std::uint64_t offset : kMetadataSizes) {
    Found found = LookAt(area, offset, kSecondaryMagic);
    if (found.copy) return found;
    if (found.has_magic) best = std::move(found);
  }
  return best;
}

tl::unexpected<Error> Refuse(std::string code, std::string message) {
  return Fail(ErrorKind::kVolumeRefused, std::move(code), std::move(message),
              std::string(kWhereNext));
}

tl::unexpected<Error> NeitherCopy(ByteView area, const Found& primary, const Found& secondary) {
  BinaryHeader start{};
  if (!area.empty()) std::memcpy(&start, area.data(), std::min(area.size(), sizeof(start)));
  if (area.size() >= 8 && start.magic == kPrimaryMagic && start.version == 1) {
    return Fail(ErrorKind::kVolumeRefused, "luks1",
                "read the header: this is LUKS1, which has no tokens and no integrity",
                "Constellation's state disks are LUKS2: attach the state disk itself; for another "
                "node's disk open it with cryptsetup and name the mapping with --disk");
  }
  if (!primary.has_magic && !secondary.has_magic) {
    return Refuse("not-luks", "read the header: there is no LUKS2 header");
  }
  if (primary.is_cut || (!primary.has_magic && secondary.is_cut)) {
    return Refuse("header-truncated",
                  fmt::format("read the header: only {} of it are there", FormatSize(area.size())));
  }
  return Refuse(
      "header-damaged",
      fmt::format("read the header: both copies are damaged; first copy: {}; second copy: {}",
                  primary.damage, secondary.damage));
}

HeaderCopy Facts(const Found& found) {
  HeaderCopy copy;
  copy.damage = found.damage;
  if (!found.copy) return copy;
  const BinaryHeader& binary = found.copy->binary;
  copy.state = CopyState::kValid;
  copy.sequence = binary.sequence;
  copy.uuid = Printable(Text(binary.uuid, sizeof(binary.uuid)));
  copy.label = Printable(Text(binary.label, sizeof(binary.label)));
  copy.subsystem = Printable(Text(binary.subsystem, sizeof(binary.subsystem)));
  copy.checksum = ToHex(std::as_bytes(std::span(binary.checksum, sizeof(Sha256Digest))));
  return copy;
}

void NoteDamage(Header& header) {
  const auto note = [&](const HeaderCopy& copy, std::string_view which, std::string_view other) {
    if (copy.state == CopyState::kValid) return;
    header.findings.push_back(
        {"copy-damaged", fmt::format("the {} copy of the LUKS2 header is damaged ({}); the {} one "
                                     "is used",
                                     which, copy.damage, other)});
  };
  note(header.primary, "first", "second");
  note(header.secondary, "second", "first");
}

constexpr std::size_t kMaxDifferences = 6;

// The fields that differ between two whole copies, but for sequence, salt and checksum.
std::string Differences(const Header& header, const Copy& primary, const Copy& secondary) {
  std::vector<std::string> fields;
  const auto compare = [&](std::string_view name, const std::string& a, const std::string& b) {
    if (a != b) fields.push_back(fmt::format("{} (\"{}\", \"{}\")", name, a, b));
  };
  compare("UUID", header.primary.uuid, header.secondary.uuid);
  compare("label", header.primary.label, header.secondary.label);
  compare("subsystem", header.primary.subsystem, header.secondary.subsystem);
  const ByteView first = primary.whole.subspan(kBinaryHeaderSize);
  const ByteView second = secondary.whole.subspan(kBinaryHeaderSize);
  if (!Equal(first, second)) {
    const auto differing =
        DifferingFields(AsText(first).substr(0, AsText(first).find('\0')),
                        AsText(second).substr(0, AsText(second).find('\0')), kMaxDifferences);
    for (const auto& field : differing) fields.push_back(Printable(field, 80));
    if (differing.empty()) fields.emplace_back("the JSON text");
  }
  return fmt::format("{}", fmt::join(fields, ", "));
}

// Both copies are whole. cryptsetup writes the first one, then the second, with the same sequence
// number (lib/luks2/luks2_disk_metadata.c, LUKS2_disk_hdr_write): after an interruption the first
// one is ahead by one. No other difference comes about by itself, and whoever makes one wants two
// programs to see two different disks.
void NoteDisagreement(Header& header, const Copy& primary, const Copy& secondary) {
  const std::uint64_t first = primary.binary.sequence;
  const std::uint64_t second = secondary.binary.sequence;
  const std::string differences = Differences(header, primary, secondary);
  const std::string content = differences.empty() ? "they say the same" : "differs: " + differences;
  if (first == second) {
    if (differences.empty()) return;
    header.findings.push_back(
        {"copies-differ",
         fmt::format("the two copies of the LUKS2 header say different things with the same "
                     "sequence number {}: somebody edited it; the first one is used, as the node "
                     "does; {}",
                     first, content)});
  } else if (first > second && first - second == 1) {
    header.findings.push_back(
        {"interrupted-write",
         fmt::format("the two copies of the LUKS2 header have the sequence numbers {} and {}: a "
                     "change was interrupted; the newer first one is used; {}",
                     first, second, content)});
  } else {
    header.findings.push_back(
        {"epoch-game",
         fmt::format("the two copies of the LUKS2 header have the sequence numbers {} and {}, "
                     "which no interrupted change leaves: somebody edited it so that the {} one "
                     "wins, and it does, as on the node; {}",
                     first, second, first > second ? "first" : "second", content)});
  }
}

bool IsZero(ByteView bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; });
}

// What a partition table or another format's magic would need: places that are zero on every disk.
bool HasStrayBytes(const BinaryHeader& binary) {
  return !IsZero(std::as_bytes(std::span(binary.padding))) ||
         !IsZero(std::as_bytes(std::span(binary.checksum)).subspan(sizeof(Sha256Digest))) ||
         !IsZero(std::as_bytes(std::span(binary.padding4096)));
}

Result<std::string> JsonText(const Copy& copy) {
  const std::string_view area = AsText(copy.whole.subspan(kBinaryHeaderSize));
  const std::size_t end = area.find('\0');
  // As lib/luks2/luks2_json_metadata.c demands: the text ends with a zero byte and only zeros
  // follow.
  if (end == std::string_view::npos ||
      area.find_first_not_of('\0', end) != std::string_view::npos) {
    return Refuse("header-json", "read the header: there is something behind the JSON text");
  }
  return std::string(area.substr(0, end));
}

// Fills `into` from the start of the file; short only at its end.
Status ReadFromStart(int fd, const std::string& device, Bytes& into, std::uint64_t size) {
  std::size_t have = into.size();
  into.resize(size);
  while (have < size) {
    const ssize_t got = ::pread(fd, into.data() + have, size - have, static_cast<off_t>(have));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return FailErrno("read the header of", device, errno);
    if (got == 0) break;
    have += static_cast<std::size_t>(got);
  }
  into.resize(have);
  return {};
}

}  // namespace

Result<Header> ParseMetadata(ByteView area) {
  const Found primary = LookAt(area, 0, kPrimaryMagic);
  const Found secondary = LookForSecondary(area, primary);
  if (!primary.copy && !secondary.copy) return NeitherCopy(area, primary, secondary);

  Header header;
  header.primary = Facts(primary);
  header.secondary = Facts(secondary);
  NoteDamage(header);
  if (primary.copy && secondary.copy) NoteDisagreement(header, *primary.copy, *secondary.copy);
  header.uses_secondary = !primary.copy || (secondary.copy && secondary.copy->binary.sequence >
                                                                  primary.copy->binary.sequence);
  const Copy& chosen = header.uses_secondary ? *secondary.copy : *primary.copy;
  const BinaryHeader& binary = chosen.binary;
  const HeaderCopy& facts = header.uses_secondary ? header.secondary : header.primary;
  header.uuid = facts.uuid;
  header.label = facts.label;
  header.subsystem = facts.subsystem;
  header.has_stray_bytes = HasStrayBytes(binary);
  header.sequence = binary.sequence;
  header.metadata_size = binary.metadata_size;
  ASSIGN_OR_RETURN(header.json, JsonText(chosen));
  RETURN_IF_ERROR(DecodeMetadata(header.json, header));
  return header;
}

Result<Header> ParseHeader(ByteView area) {
  ASSIGN_OR_RETURN(Header header, ParseMetadata(area));
  header.area = ToBytes(area);
  header.area_digest = Sha256(area);
  return header;
}

Result<Header> ReadHeader(const std::string& device) {
  const UniqueFd fd(::open(device.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return FailErrno("open", device, errno);
  Bytes area;
  RETURN_IF_ERROR(ReadFromStart(fd.get(), device, area, kMetadataReach));
  auto header = ParseMetadata(area);
  if (!header) return Fail(header.error().Within(device));
  if (header->key_slots_size > kMaxKeySlotsSize) {
    return Refuse("header-bounds",
                  fmt::format("{}: read the header: {} of key slots, more than LUKS2 allows",
                              device, FormatSize(header->key_slots_size)));
  }
  // The metadata stays as it was judged; only what lies behind the bytes above is read now.
  const std::uint64_t wanted = HeaderAreaSize(*header);
  if (wanted > area.size()) RETURN_IF_ERROR(ReadFromStart(fd.get(), device, area, wanted));
  if (area.size() < wanted) {
    return Refuse("header-truncated",
                  fmt::format("{}: read the header: it takes {}, the disk ends after {}", device,
                              FormatSize(wanted), FormatSize(area.size())));
  }
  area.resize(wanted);
  header->area_digest = Sha256(area);
  header->area = std::move(area);
  return header;
}

Bytes CheckedArea(const Header& header) {
  Bytes area = header.area;
  const std::uint64_t size = header.metadata_size;
  const ByteView chosen = ByteView(header.area).subspan(header.uses_secondary ? size : 0, size);
  for (const bool second : {false, true}) {
    Bytes copy = ToBytes(chosen);
    BinaryHeader binary;
    std::memcpy(&binary, copy.data(), sizeof(binary));
    binary.magic = second ? kSecondaryMagic : kPrimaryMagic;
    binary.offset = second ? size : 0;
    std::memset(binary.checksum, 0, sizeof(binary.checksum));
    std::memcpy(copy.data(), &binary, sizeof(binary));
    const Sha256Digest checksum = ChecksumOf(copy);
    std::memcpy(copy.data() + kChecksumOffset, checksum.data(), checksum.size());
    std::copy(copy.begin(), copy.end(),
              area.begin() + static_cast<std::ptrdiff_t>(second ? size : 0));
  }
  return area;
}

}  // namespace rescue::disk
