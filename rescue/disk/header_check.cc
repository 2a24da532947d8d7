// The allow-list: what a disk's header may say before it is opened. The core of the profile
// "constellation" is Constellation's own check (internal/cryptsetup/cryptsetup_cgo.go,
// verifyLUKS2Header, v2.24.0); what that leaves open (several segments, any offset, any cost,
// flags, requirements) is closed here.
#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "rescue/disk/luks2.h"

namespace rescue::disk {
namespace {

using Texts = std::vector<std::string_view>;
using Sizes = std::vector<std::uint64_t>;  // bytes

constexpr std::uint64_t kIntegrityKeySize = 32;  // bytes, HMAC-SHA256
constexpr std::uint64_t kStripes = 4000;

struct Cipher {
  std::string_view name;
  Sizes key_sizes;
};

// What a profile lets through; the first value of a list is what is named when it is missed.
struct Rules {
  std::vector<Cipher> ciphers;
  Sizes sector_sizes;
  Texts derivations;
  Texts hashes;  // of splitter, pbkdf2 and digest
  Texts flags;   // persistent activation flags
  bool any_token;
};

// XTS takes two keys of the same size: 64 bytes are AES-256.
const Rules& RulesOf(Profile profile) {
  static const Rules kStrict = {
      {{"aes-xts-plain64", {64}}}, {4096}, {"argon2id"}, {"sha256"}, {}, false};
  // The image has the kernel's modules for these and no more. Flags: those that change how fast a
  // mapping works or pass discards on, never what is read or written ("no-journal" would).
  static const Rules kOther = {{{"aes-xts-plain64", {64, 32}}, {"aes-cbc-essiv:sha256", {32, 16}}},
                               {4096, 512},
                               {"argon2id", "argon2i", "pbkdf2"},
                               {"sha256", "sha512"},
                               {"allow-discards", "same-cpu-crypt", "submit-from-crypt-cpus",
                                "no-read-workqueue", "no-write-workqueue"},
                               true};
  return profile == Profile::kConstellation ? kStrict : kOther;
}

// Argon2's own lower limit is 8 KiB a thread; cryptsetup never writes more than 4 GiB and 4 threads
// (lib/crypto_backend/pbkdf_check.c).
constexpr std::uint64_t kMinMemoryKib = 32;
constexpr std::uint64_t kMaxMemoryKib = 4 * kMiB;
constexpr std::uint64_t kMaxThreads = 4;
// Passes times memory. cryptsetup aims at two seconds, which is 10 GiB on a fast core; 256 GiB is a
// minute or two, and what asks for more was not made by a node.
constexpr std::uint64_t kMaxWorkKib = 256 * kMiB;
constexpr std::uint64_t kMinHashIterations = 1000;         // cryptsetup's lower limit for pbkdf2
constexpr std::uint64_t kMaxHashIterations = 100'000'000;  // about 30 s

struct Acceptable {
  std::string_view code;
  std::string_view what;
};
constexpr std::array<Acceptable, 4> kAcceptable = {{
    {"foreign-field", "fields that this program and the node do not know"},
    {"foreign-token", "tokens that are not Constellation's"},
    {"header-padding", "data where the header must be zero"},
    {"kdf-cost", "key slots that take more, or less, work than any node writes"},
}};

bool IsAcceptable(std::string_view code) {
  return std::any_of(kAcceptable.begin(), kAcceptable.end(),
                     [&](const Acceptable& it) { return it.code == code; });
}

bool IsNull(std::string_view cipher) { return cipher.find("null") != std::string_view::npos; }

bool IsInside(std::uint64_t offset, std::uint64_t size, std::uint64_t from, std::uint64_t to) {
  return offset >= from && offset <= to && size <= to - offset;
}

template <typename T, typename U>
bool IsOneOf(const std::vector<T>& values, const U& value) {
  return std::find(values.begin(), values.end(), value) != values.end();
}

// cryptsetup writes these as it pleases; anything but base64 of something is no salt.
bool IsSalt(const std::string& text) {
  const auto salt = ParseBase64(text);
  return salt && !salt->empty();
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

class Checker {
 public:
  Checker(const Header& header, std::uint64_t device_size, const HeaderPolicy& policy)
      : header_(header),
        device_size_(device_size),
        policy_(policy),
        rules_(RulesOf(policy.profile)) {}

  Result<std::vector<HeaderFinding>> Check() {
    RETURN_IF_ERROR(CheckNulls());
    RETURN_IF_ERROR(CheckConfiguration());
    RETURN_IF_ERROR(CheckIdentity());
    RETURN_IF_ERROR(CheckTokens());
    if (header_.key_slots.empty()) return Fail(Refusal("no-keyslots", "it has no key slots"));
    if (header_.segments.size() != 1) {
      return Fail(Refusal("several-segments", fmt::format("it has {} segments, expected one",
                                                          header_.segments.size())));
    }
    if (header_.key_slots_size > kMaxKeySlotsSize || HeaderAreaSize(header_) > device_size_) {
      return Fail(Refusal("header-bounds",
                          "its key slot area is larger than the disk or than LUKS2 allows"));
    }
    RETURN_IF_ERROR(CheckSegment(header_.segments.front()));
    for (const KeySlot& slot : header_.key_slots) RETURN_IF_ERROR(CheckKeySlot(slot));
    RETURN_IF_ERROR(CheckOverlap());
    RETURN_IF_ERROR(CheckBinding());
    return std::move(findings_);
  }

 private:
  Error Refusal(std::string_view code, std::string_view what) const {
    std::string hint =
        "nothing was opened: compare with a header backup; somebody who can write to the disk may "
        "have changed its header";
    if (IsAcceptable(code)) hint += fmt::format(". To accept this: --accept header:{}", code);
    if (policy_.profile == Profile::kConstellation && !HasStateToken(header_) && FitsLuks2()) {
      hint =
          "it has no Constellation token either: if it is another node's disk, open it with "
          "--profile luks2";
    }
    return {ErrorKind::kVolumeRefused, std::string(code),
            fmt::format("check the LUKS2 header: {}", what), std::move(hint)};
  }

  // Would the other profile take it as it is?
  bool FitsLuks2() const {
    const HeaderPolicy other{Profile::kLuks2, policy_.accepted};
    return Checker(header_, device_size_, other).Check().has_value();
  }

  // A refusal that the operator may have accepted.
  Status Refuse(std::string_view code, std::string what) {
    if (!IsAcceptable(code) || !policy_.accepted.contains(std::string(code))) {
      return Fail(Refusal(code, what));
    }
    findings_.push_back({std::string(code), "accepted as asked: " + std::move(what)});
    return {};
  }

  Status WantText(std::string_view code, std::string_view object, std::string_view field,
                  std::string_view actual, const Texts& allowed) {
    if (IsOneOf(allowed, actual)) return {};
    return Refuse(code, fmt::format("{} has {} \"{}\", expected \"{}\"", object, field,
                                    Printable(actual, 60), fmt::join(allowed, "\" or \"")));
  }

  Status WantNumber(std::string_view code, std::string_view object, std::string_view field,
                    std::uint64_t actual, const Sizes& allowed) {
    if (IsOneOf(allowed, actual)) return {};
    return Refuse(code, fmt::format("{} has {} {}, expected {}", object, field, actual,
                                    fmt::join(allowed, " or ")));
  }

  // First of all, so that the attack is called by its name (CVE-2025-59054, CVE-2025-58356):
  // cryptsetup 2.6 opens such a slot with any passphrase.
  Status CheckNulls() {
    for (const KeySlot& slot : header_.key_slots) {
      if (!IsNull(slot.area_cipher)) continue;
      return Fail(Refusal(
          "null-cipher-keyslot",
          fmt::format("key slot {} is not encrypted (cipher {}): it would open with any secret, on "
                      "an attacker's volume key",
                      slot.number, Printable(slot.area_cipher, 60))));
    }
    for (const Segment& segment : header_.segments) {
      if (!IsNull(segment.cipher)) continue;
      return Fail(Refusal(
          "null-cipher-segment",
          fmt::format("segment {} is not encrypted (cipher {}): the disk's content would be read "
                      "from, and written to, plain sectors",
                      segment.number, Printable(segment.cipher, 60))));
    }
    return {};
  }

  Status CheckConfiguration() {
    if (!header_.requirements.empty()) {
      return Fail(Refusal("foreign-requirement",
                          fmt::format("it demands \"{}\": an unfinished re-encryption, or an "
                                      "attack that looks like one (CVE-2021-4122)",
                                      Printable(header_.requirements.front(), 60))));
    }
    for (const std::string& flag : header_.config_flags) {
      if (IsOneOf(rules_.flags, flag)) continue;
      return Fail(Refusal("foreign-flag",
                          fmt::format("it sets the activation flag \"{}\"", Printable(flag, 60))));
    }
    for (const std::string& field : header_.foreign_fields) {
      // cryptsetup config --priority writes it, and it steers only the order of trying.
      if (field.starts_with("keyslots.") && field.ends_with(".priority")) continue;
      RETURN_IF_ERROR(Refuse("foreign-field", fmt::format("unknown field {}", field)));
    }
    if (!header_.has_stray_bytes) return {};
    return Refuse("header-padding",
                  "the binary header holds data where LUKS2 has zeros: a partition table or "
                  "another format may be hidden there");
  }

  Status CheckIdentity() {
    if (IsUuid(header_.uuid)) return {};
    return Fail(Refusal("bad-uuid", fmt::format("\"{}\" is no UUID", header_.uuid)));
  }

  Status CheckTokens() {
    if (rules_.any_token) return {};
    for (const Token& token : header_.tokens) {
      if (token.number == 0 && token.type == kStateTokenType && token.key_slots.empty()) continue;
      RETURN_IF_ERROR(
          Refuse("foreign-token", fmt::format("token {} of type \"{}\" is not what a node writes",
                                              token.number, Printable(token.type, 60))));
    }
    return {};
  }

  const Cipher* FindCipher(std::string_view name) const {
    for (const Cipher& cipher : rules_.ciphers) {
      if (cipher.name == name) return &cipher;
    }
    return nullptr;
  }

  Texts CipherNames() const {
    Texts names;
    for (const Cipher& cipher : rules_.ciphers) names.push_back(cipher.name);
    return names;
  }

  Status CheckDerivation(const std::string& name, const KeyDerivation& derivation) {
    RETURN_IF_ERROR(WantText("foreign-keyslot", name, "kdf", derivation.type, rules_.derivations));
    if (!IsSalt(derivation.salt)) {
      return Fail(
          Refusal("foreign-keyslot", fmt::format("{} has no salt for {}", name, derivation.type)));
    }
    if (derivation.type == "pbkdf2") {
      RETURN_IF_ERROR(
          WantText("foreign-keyslot", name, "kdf hash", derivation.hash, rules_.hashes));
      if (derivation.iterations >= kMinHashIterations &&
          derivation.iterations <= kMaxHashIterations) {
        return {};
      }
      return Refuse("kdf-cost", fmt::format("{} asks for {} iterations of pbkdf2, beyond what any "
                                            "node writes",
                                            name, derivation.iterations));
    }
    const bool sane = derivation.memory_kib >= kMinMemoryKib &&
                      derivation.memory_kib <= kMaxMemoryKib && derivation.iterations >= 1 &&
                      derivation.iterations <= kMaxWorkKib / derivation.memory_kib &&
                      derivation.threads >= 1 && derivation.threads <= kMaxThreads;
    if (sane) return {};
    return Refuse("kdf-cost", fmt::format("{} asks for {} with {} KiB, {} passes, {} threads, "
                                          "beyond what any node writes",
                                          name, derivation.type, derivation.memory_kib,
                                          derivation.iterations, derivation.threads));
  }

  Status CheckKeySlot(const KeySlot& slot) {
    constexpr std::string_view kCode = "foreign-keyslot";
    const std::string name = fmt::format("key slot {}", slot.number);
    RETURN_IF_ERROR(WantText(kCode, name, "type", slot.type, {"luks2"}));
    RETURN_IF_ERROR(WantNumber(kCode, name, "key size", slot.key_size, volume_key_sizes_));
    RETURN_IF_ERROR(WantText(kCode, name, "splitter", slot.splitter, {"luks1"}));
    RETURN_IF_ERROR(WantText(kCode, name, "splitter hash", slot.splitter_hash, rules_.hashes));
    RETURN_IF_ERROR(WantNumber(kCode, name, "stripes", slot.stripes, {kStripes}));
    RETURN_IF_ERROR(WantText(kCode, name, "area", slot.area_type, {"raw"}));
    RETURN_IF_ERROR(WantText(kCode, name, "cipher", slot.area_cipher, CipherNames()));
    RETURN_IF_ERROR(WantNumber(kCode, name, "cipher key size", slot.area_key_size,
                               FindCipher(slot.area_cipher)->key_sizes));
    if (slot.priority > 2) {
      return Fail(Refusal(kCode, fmt::format("{} has priority {}", name, slot.priority)));
    }
    RETURN_IF_ERROR(CheckDerivation(name, slot.derivation));
    const std::uint64_t start = 2 * header_.metadata_size;
    if (slot.area_size < slot.key_size * kStripes ||
        !IsInside(slot.area_offset, slot.area_size, start, start + header_.key_slots_size)) {
      return Fail(
          Refusal("header-bounds", fmt::format("{} lies at {}+{}, outside the key slot area", name,
                                               slot.area_offset, slot.area_size)));
    }
    return {};
  }

  Status CheckOverlap() const {
    for (const KeySlot& a : header_.key_slots) {
      for (const KeySlot& b : header_.key_slots) {
        if (a.number >= b.number) continue;
        if (a.area_offset < b.area_offset + b.area_size &&
            b.area_offset < a.area_offset + a.area_size) {
          return Fail(Refusal("header-bounds",
                              fmt::format("key slots {} and {} overlap", a.number, b.number)));
        }
      }
    }
    return {};
  }

  Status CheckSegment(const Segment& segment) {
    constexpr std::string_view kCode = "foreign-segment";
    const std::string name = fmt::format("segment {}", segment.number);
    const std::string_view journal = segment.integrity.empty() ? "" : "none";
    RETURN_IF_ERROR(WantText(kCode, name, "number", std::to_string(segment.number), {"0"}));
    RETURN_IF_ERROR(WantText(kCode, name, "type", segment.type, {"crypt"}));
    RETURN_IF_ERROR(WantText(kCode, name, "cipher", segment.cipher, CipherNames()));
    RETURN_IF_ERROR(
        WantNumber(kCode, name, "sector size", segment.sector_size, rules_.sector_sizes));
    RETURN_IF_ERROR(WantText(kCode, name, "iv_tweak", segment.iv_tweak, {"0"}));
    RETURN_IF_ERROR(WantText(kCode, name, "integrity", segment.integrity, {"hmac(sha256)", ""}));
    RETURN_IF_ERROR(
        WantText(kCode, name, "journal encryption", segment.journal_encryption, {journal}));
    RETURN_IF_ERROR(
        WantText(kCode, name, "journal integrity", segment.journal_integrity, {journal}));
    if (!segment.integrity.empty() && segment.cipher != "aes-xts-plain64") {
      return Fail(Refusal(kCode, fmt::format("{} has integrity with {}", name, segment.cipher)));
    }
    if (!segment.flags.empty()) {
      return Fail(Refusal(
          kCode, fmt::format("{} has the flag {}", name, Printable(segment.flags.front(), 60))));
    }
    RETURN_IF_ERROR(CheckPlace(segment, name));
    volume_key_sizes_ = FindCipher(segment.cipher)->key_sizes;
    if (segment.integrity.empty()) {
      if (policy_.profile == Profile::kConstellation) {
        findings_.push_back({"no-integrity",
                             "the disk has no integrity protection: whoever holds it could have "
                             "changed data without a trace"});
      }
      return {};
    }
    for (std::uint64_t& size : volume_key_sizes_) size += kIntegrityKeySize;
    return {};
  }

  Status CheckPlace(const Segment& segment, const std::string& name) const {
    const std::uint64_t size =
        segment.size.value_or(device_size_ > segment.offset ? device_size_ - segment.offset : 0);
    if (segment.offset >= HeaderAreaSize(header_) && segment.offset % 4096 == 0 &&
        size >= segment.sector_size && segment.size.value_or(0) % segment.sector_size == 0 &&
        IsInside(segment.offset, size, 0, device_size_)) {
      return {};
    }
    return Fail(
        Refusal("header-bounds",
                fmt::format("{} lies at {}+{}, the disk has {} bytes: it was cut off or the header "
                            "was edited",
                            name, segment.offset, size, device_size_)));
  }

  Status CheckDigest(const Digest& digest) {
    const std::string name = fmt::format("digest {}", digest.number);
    RETURN_IF_ERROR(WantText("foreign-digest", name, "type", digest.type, {"pbkdf2"}));
    RETURN_IF_ERROR(WantText("foreign-digest", name, "hash", digest.hash, rules_.hashes));
    const auto value = ParseBase64(digest.digest);
    const std::size_t size = digest.hash == "sha512" ? 64 : 32;
    if (!IsSalt(digest.salt) || !value || value->size() != size) {
      return Fail(Refusal("foreign-digest", fmt::format("{} has no salt or no value", name)));
    }
    if (digest.iterations >= 1 && digest.iterations <= kMaxHashIterations) return {};
    return Refuse("kdf-cost", fmt::format("{} asks for {} iterations", name, digest.iterations));
  }

  // The volume key that a slot gives is the one that the digest confirms for the segment.
  Status CheckBinding() {
    for (const Digest& digest : header_.digests) RETURN_IF_ERROR(CheckDigest(digest));
    const Digest* digest = SegmentDigest(header_);
    const bool strict = policy_.profile == Profile::kConstellation;
    if (digest == nullptr || digest->segments.size() != 1 ||
        (strict && header_.digests.size() != 1)) {
      return Fail(Refusal("foreign-digest",
                          fmt::format("it has {} digests, and not one of them alone is bound to "
                                      "segment 0",
                                      header_.digests.size())));
    }
    for (const KeySlot& slot : header_.key_slots) {
      if (!strict || IsOneOf(digest->key_slots, slot.number)) continue;
      return Fail(
          Refusal("foreign-keyslot", fmt::format("key slot {} is not bound to the volume key's "
                                                 "digest",
                                                 slot.number)));
    }
    if (UsableKeySlots(header_).empty()) {
      return Fail(Refusal("foreign-keyslot", "no key slot is bound to the volume key's digest"));
    }
    return {};
  }

  const Header& header_;
  std::uint64_t device_size_;
  const HeaderPolicy& policy_;
  const Rules& rules_;
  Sizes volume_key_sizes_;
  std::vector<HeaderFinding> findings_;
};

}  // namespace

std::string_view Name(Profile profile) {
  return profile == Profile::kConstellation ? "constellation" : "luks2";
}

Status CheckAcceptable(std::string_view code) {
  if (IsAcceptable(code)) return {};
  std::string list;
  for (const Acceptable& it : kAcceptable) {
    list += fmt::format("{}header:{} ({})", list.empty() ? "" : ", ", it.code, it.what);
  }
  return Fail(
      ErrorKind::kUsage, "unknown-accept",
      fmt::format("accept header:{}: nothing of that name can be accepted", Printable(code, 40)),
      "there are " + list);
}

const Digest* SegmentDigest(const Header& header) {
  const Digest* found = nullptr;
  for (const Digest& digest : header.digests) {
    if (!IsOneOf(digest.segments, 0)) continue;
    if (found != nullptr) return nullptr;
    found = &digest;
  }
  return found;
}

std::vector<const KeySlot*> UsableKeySlots(const Header& header) {
  std::vector<const KeySlot*> slots;
  const Digest* digest = SegmentDigest(header);
  for (const KeySlot& slot : header.key_slots) {
    if (digest != nullptr && IsOneOf(digest->key_slots, slot.number)) slots.push_back(&slot);
  }
  std::stable_sort(slots.begin(), slots.end(),
                   [](const KeySlot* a, const KeySlot* b) { return a->priority > b->priority; });
  return slots;
}

Result<std::vector<HeaderFinding>> CheckHeader(const Header& header, std::uint64_t device_size,
                                               const HeaderPolicy& policy) {
  return Checker(header, device_size, policy).Check();
}

}  // namespace rescue::disk
