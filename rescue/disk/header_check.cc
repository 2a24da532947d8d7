// The allow-list: what a state disk's header may say. Its core is Constellation's own check
// (internal/cryptsetup/cryptsetup_cgo.go, verifyLUKS2Header, v2.24.0); what that leaves open
// (several segments, any offset, any cost, flags, requirements) is closed here.
#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "rescue/disk/luks2.h"

namespace rescue::disk {
namespace {

constexpr std::string_view kCipher = "aes-xts-plain64";
constexpr std::uint64_t kCipherKeySize = 64;     // bytes, two AES-256 keys
constexpr std::uint64_t kIntegrityKeySize = 32;  // bytes, HMAC-SHA256
constexpr std::uint64_t kSectorSize = 4096;
constexpr std::uint64_t kStripes = 4000;

// Argon2's own lower limit is 8 KiB a thread; cryptsetup never writes more than 4 GiB and 4 threads
// (lib/crypto_backend/pbkdf_check.c).
constexpr std::uint64_t kMinMemoryKib = 32;
constexpr std::uint64_t kMaxMemoryKib = 4 * kMiB;
constexpr std::uint64_t kMaxThreads = 4;
// Passes times memory. cryptsetup aims at two seconds, which is 10 GiB on a fast core; 256 GiB is a
// minute or two, and what asks for more was not made by a node.
constexpr std::uint64_t kMaxWorkKib = 256 * kMiB;
constexpr std::uint64_t kMaxDigestIterations = 100'000'000;  // about 30 s

constexpr std::string_view kTampered =
    "nothing was opened: compare with a header backup; somebody who can write to the disk may have "
    "changed its header";

tl::unexpected<Error> Refuse(std::string_view code, std::string what) {
  return Fail(ErrorKind::kVolumeRefused, std::string(code),
              "check the LUKS2 header: " + std::move(what), std::string(kTampered));
}

struct Wanted {
  std::string_view field;
  std::string actual;
  std::string allowed;
};

// The first field that differs.
Status CheckAll(std::string_view code, const std::string& object,
                std::initializer_list<Wanted> fields) {
  for (const Wanted& wanted : fields) {
    if (wanted.actual == wanted.allowed) continue;
    return Refuse(code, fmt::format("{} has {} \"{}\", expected \"{}\"", object, wanted.field,
                                    Printable(wanted.actual, 60), wanted.allowed));
  }
  return {};
}

bool IsNull(std::string_view cipher) { return cipher.find("null") != std::string_view::npos; }

bool IsInside(std::uint64_t offset, std::uint64_t size, std::uint64_t from, std::uint64_t to) {
  return offset >= from && offset <= to && size <= to - offset;
}

Status CheckDerivation(const std::string& name, const KeyDerivation& derivation) {
  RETURN_IF_ERROR(CheckAll("foreign-keyslot", name, {{"kdf", derivation.type, "argon2id"}}));
  const auto salt = ParseBase64(derivation.salt);
  if (!salt || salt->empty()) {
    return Refuse("foreign-keyslot", fmt::format("{} has no argon2id salt", name));
  }
  const bool sane = derivation.memory_kib >= kMinMemoryKib &&
                    derivation.memory_kib <= kMaxMemoryKib && derivation.iterations >= 1 &&
                    derivation.iterations <= kMaxWorkKib / derivation.memory_kib &&
                    derivation.threads >= 1 && derivation.threads <= kMaxThreads;
  if (sane) return {};
  return Refuse(
      "kdf-cost",
      fmt::format("{} asks for argon2id with {} KiB, {} passes, {} threads, beyond what "
                  "any node writes",
                  name, derivation.memory_kib, derivation.iterations, derivation.threads));
}

Status CheckKeySlot(const Header& header, const KeySlot& slot, std::uint64_t volume_key_size) {
  const std::string name = fmt::format("key slot {}", slot.number);
  // First, so that the attack is called by its name: cryptsetup 2.6 opens such a slot with any
  // passphrase (CVE-2025-59054).
  if (IsNull(slot.area_cipher)) {
    return Refuse(
        "null-cipher-keyslot",
        fmt::format("{} is not encrypted (cipher {}): it would open with any secret, on an "
                    "attacker's volume key",
                    name, Printable(slot.area_cipher, 60)));
  }
  RETURN_IF_ERROR(CheckAll(
      "foreign-keyslot", name,
      {{"type", slot.type, "luks2"},
       {"key size", std::to_string(slot.key_size), std::to_string(volume_key_size)},
       {"splitter", slot.splitter, "luks1"},
       {"splitter hash", slot.splitter_hash, "sha256"},
       {"stripes", std::to_string(slot.stripes), std::to_string(kStripes)},
       {"area", slot.area_type, "raw"},
       {"cipher", slot.area_cipher, std::string(kCipher)},
       {"cipher key size", std::to_string(slot.area_key_size), std::to_string(kCipherKeySize)}}));
  RETURN_IF_ERROR(CheckDerivation(name, slot.derivation));
  const std::uint64_t start = 2 * header.metadata_size;
  if (slot.area_size < slot.key_size * kStripes ||
      !IsInside(slot.area_offset, slot.area_size, start, start + header.key_slots_size)) {
    return Refuse("header-bounds", fmt::format("{} lies at {}+{}, outside the key slot area", name,
                                               slot.area_offset, slot.area_size));
  }
  return {};
}

Status CheckOverlap(const std::vector<KeySlot>& slots) {
  for (const KeySlot& a : slots) {
    for (const KeySlot& b : slots) {
      if (a.number >= b.number) continue;
      if (a.area_offset < b.area_offset + b.area_size &&
          b.area_offset < a.area_offset + a.area_size) {
        return Refuse("header-bounds",
                      fmt::format("key slots {} and {} overlap", a.number, b.number));
      }
    }
  }
  return {};
}

Status CheckSegment(const Header& header, const Segment& segment, std::uint64_t device_size) {
  const std::string name = fmt::format("segment {}", segment.number);
  if (IsNull(segment.cipher)) {
    return Refuse("null-cipher-segment",
                  fmt::format("{} is not encrypted (cipher {}): the disk's content would be read "
                              "from, and written to, plain sectors",
                              name, Printable(segment.cipher, 60)));
  }
  const std::string journal = segment.integrity.empty() ? "" : "none";
  RETURN_IF_ERROR(
      CheckAll("foreign-segment", name,
               {{"number", std::to_string(segment.number), "0"},
                {"type", segment.type, "crypt"},
                {"cipher", segment.cipher, std::string(kCipher)},
                {"sector size", std::to_string(segment.sector_size), std::to_string(kSectorSize)},
                {"iv_tweak", segment.iv_tweak, "0"},
                {"integrity", segment.integrity, segment.integrity.empty() ? "" : "hmac(sha256)"},
                {"journal encryption", segment.journal_encryption, journal},
                {"journal integrity", segment.journal_integrity, journal}}));
  if (!segment.flags.empty()) {
    return Refuse("foreign-segment",
                  fmt::format("{} has the flag {}", name, Printable(segment.flags.front(), 60)));
  }
  const std::uint64_t size =
      segment.size.value_or(device_size > segment.offset ? device_size - segment.offset : 0);
  if (segment.offset < HeaderAreaSize(header) || segment.offset % kSectorSize != 0 ||
      size < kSectorSize || segment.size.value_or(0) % 512 != 0 ||
      !IsInside(segment.offset, size, 0, device_size)) {
    return Refuse(
        "header-bounds",
        fmt::format("{} lies at {}+{}, the disk has {} bytes: it was cut off or the header "
                    "was edited",
                    name, segment.offset, size, device_size));
  }
  return {};
}

bool Contains(const std::vector<int>& numbers, int number) {
  return std::find(numbers.begin(), numbers.end(), number) != numbers.end();
}

Status CheckDigest(const Digest& digest) {
  const std::string name = fmt::format("digest {}", digest.number);
  RETURN_IF_ERROR(CheckAll("foreign-digest", name,
                           {{"type", digest.type, "pbkdf2"}, {"hash", digest.hash, "sha256"}}));
  const auto salt = ParseBase64(digest.salt);
  const auto value = ParseBase64(digest.digest);
  if (!salt || salt->empty() || !value || value->size() != sizeof(Sha256Digest)) {
    return Refuse("foreign-digest", fmt::format("{} has no salt or no SHA-256 value", name));
  }
  if (digest.iterations < 1 || digest.iterations > kMaxDigestIterations) {
    return Refuse("kdf-cost", fmt::format("{} asks for {} iterations", name, digest.iterations));
  }
  return {};
}

// Every key slot and the segment hang on one digest: the volume key that a slot gives is the one
// that the digest confirms for the segment.
Status CheckBinding(const Header& header) {
  if (header.digests.size() != 1) {
    return Refuse(
        "foreign-digest",
        fmt::format("it has {} digests, expected one for the volume key", header.digests.size()));
  }
  const Digest& digest = header.digests.front();
  RETURN_IF_ERROR(CheckDigest(digest));
  if (digest.segments != std::vector<int>{0}) {
    return Refuse("foreign-digest", "its digest is not bound to segment 0 alone");
  }
  for (const KeySlot& slot : header.key_slots) {
    if (!Contains(digest.key_slots, slot.number)) {
      return Refuse(
          "foreign-keyslot",
          fmt::format("key slot {} is not bound to the volume key's digest", slot.number));
    }
  }
  return {};
}

Status CheckConfiguration(const Header& header) {
  if (!header.requirements.empty()) {
    return Refuse("foreign-requirement",
                  fmt::format("it demands \"{}\": an unfinished re-encryption, or an attack that "
                              "looks like one (CVE-2021-4122)",
                              Printable(header.requirements.front(), 60)));
  }
  if (!header.config_flags.empty()) {
    return Refuse("foreign-field", fmt::format("it sets the activation flag \"{}\"",
                                               Printable(header.config_flags.front(), 60)));
  }
  for (const std::string& field : header.foreign_fields) {
    // cryptsetup config --priority writes it, and it steers only the order of trying.
    if (field.starts_with("keyslots.") && field.ends_with(".priority")) continue;
    return Refuse("foreign-field", fmt::format("unknown field {}", field));
  }
  return {};
}

bool IsUuid(std::string_view text) {
  if (text.size() != 36) return false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    if (dash ? text[i] != '-' : std::isxdigit(static_cast<unsigned char>(text[i])) == 0)
      return false;
  }
  return true;
}

}  // namespace

Status CheckHeader(const Header& header, std::uint64_t device_size) {
  RETURN_IF_ERROR(CheckConfiguration(header));
  if (!IsUuid(header.uuid)) {
    return Refuse("foreign-field", fmt::format("\"{}\" is no UUID", header.uuid));
  }
  if (header.key_slots.empty()) return Refuse("no-keyslots", "it has no key slots");
  if (header.segments.size() != 1) {
    return Refuse("several-segments",
                  fmt::format("it has {} segments, expected one", header.segments.size()));
  }
  if (header.key_slots_size > kMaxKeySlotsSize || HeaderAreaSize(header) > device_size) {
    return Refuse("header-bounds",
                  "its key slot area is larger than the disk or than LUKS2 allows");
  }
  const Segment& segment = header.segments.front();
  RETURN_IF_ERROR(CheckSegment(header, segment, device_size));
  const std::uint64_t key_size =
      kCipherKeySize + (segment.integrity.empty() ? 0 : kIntegrityKeySize);
  for (const KeySlot& slot : header.key_slots) {
    RETURN_IF_ERROR(CheckKeySlot(header, slot, key_size));
  }
  RETURN_IF_ERROR(CheckOverlap(header.key_slots));
  return CheckBinding(header);
}

// What the node would do with this header at its next boot (disk-mapper/cmd/main.go and
// internal/cryptsetup/cryptsetup.go, ConstellationStateDiskTokenIsInitialized, which looks at token
// 0 only): anything but an initialised token means that the disk is formatted.
void JudgeBoot(Header& header) {
  const auto zero = std::find_if(header.tokens.begin(), header.tokens.end(),
                                 [](const Token& token) { return token.number == 0; });
  if (zero == header.tokens.end() || zero->type != kStateTokenType) {
    header.boot_unsafe_reason =
        "token 0 of type constellation-state-disk is missing: the node would "
        "take the disk for a new one and format it";
  } else if (zero->initialized != true) {
    header.boot_unsafe_reason =
        "token 0 does not say that the disk is initialised: the node would "
        "format it";
  } else if (!header.foreign_fields.empty() || !header.config_flags.empty() ||
             !header.requirements.empty()) {
    header.boot_unsafe_reason = "the header has fields that the node's own check refuses";
  }
  header.boot_safe = header.boot_unsafe_reason.empty();
  if (!header.boot_safe) {
    header.warnings.push_back("not safe to boot: " + header.boot_unsafe_reason);
  }
  for (const Token& token : header.tokens) {
    if (token.type == kStateTokenType) continue;
    header.warnings.push_back(
        fmt::format("token {} of type \"{}\" is not Constellation's; it is ignored", token.number,
                    Printable(token.type, 60)));
  }
}

}  // namespace rescue::disk
