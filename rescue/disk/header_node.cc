// What a Constellation node does with a header when it boots. Ported as conditions, from v2.24.0.
#include <fmt/format.h>

#include <algorithm>

#include "rescue/disk/luks2.h"

namespace rescue::disk {
namespace {

constexpr std::string_view kFormats = "the node would take the disk for a new one and format it";

// disk-mapper/cmd/main.go asks IsInitialized first, and that looks at token 0 alone, at nothing in
// it but diskIsInitialized (internal/cryptsetup/cryptsetup.go,
// ConstellationStateDiskTokenIsInitialized).
std::string TokenObjection(const Header& header) {
  const auto zero = std::find_if(header.tokens.begin(), header.tokens.end(),
                                 [](const Token& token) { return token.number == 0; });
  if (zero == header.tokens.end()) return fmt::format("token 0 is missing: {}", kFormats);
  if (!zero->initialized.has_value()) {
    return fmt::format("token 0 of type \"{}\" does not say whether the disk is initialised: {}",
                       Printable(zero->type, 60), kFormats);
  }
  if (!*zero->initialized) {
    return fmt::format("token 0 says that the disk is not initialised: {}", kFormats);
  }
  return {};
}

// The strict decoder of detachHeader: names that its structs do not have are errors, and these are
// among them.
void AddUnknownFields(const Header& header, std::vector<std::string>& objections) {
  std::string field;
  if (!header.foreign_fields.empty()) field = header.foreign_fields.front();
  if (!header.config_flags.empty()) field = "config.flags";
  if (!header.requirements.empty()) field = "config.requirements";
  if (field.empty()) return;
  objections.push_back(fmt::format(
      "the header has the field {}, which the node's own check does not know: it stops while it "
      "boots",
      field));
}

// verifyLUKS2Header. Its bounds are wider than ours, so this only matters for what was accepted by
// name or opened with another profile.
void AddRefusedValues(const Header& header, std::vector<std::string>& objections) {
  const auto object = [&](std::string_view what, bool good) {
    if (good) return;
    objections.push_back(
        fmt::format("{} is not what the node's own check demands: it stops while it boots", what));
  };
  object("the number of key slots", !header.key_slots.empty());
  object("the number of segments", !header.segments.empty());
  object("the number of digests", !header.digests.empty());
  for (const KeySlot& slot : header.key_slots) {
    object(fmt::format("key slot {}", slot.number),
           slot.type == "luks2" && (slot.key_size == 64 || slot.key_size == 96) &&
               slot.splitter == "luks1" && slot.stripes == 4000 && slot.splitter_hash == "sha256" &&
               slot.area_type == "raw" && slot.area_cipher == "aes-xts-plain64" &&
               slot.area_key_size == 64 && slot.derivation.type == "argon2id" &&
               slot.derivation.memory_kib != 0 && !slot.derivation.salt.empty());
  }
  for (const Segment& segment : header.segments) {
    const std::string_view journal = segment.integrity.empty() ? "" : "none";
    object(fmt::format("segment {}", segment.number),
           segment.type == "crypt" && segment.sector_size == 4096 && segment.iv_tweak == "0" &&
               segment.cipher == "aes-xts-plain64" &&
               (segment.integrity.empty() || segment.integrity == "hmac(sha256)") &&
               segment.journal_encryption == journal && segment.journal_integrity == journal);
  }
  for (const Digest& digest : header.digests) {
    object(fmt::format("digest {}", digest.number),
           digest.type == "pbkdf2" && digest.hash == "sha256" && !digest.salt.empty() &&
               !digest.digest.empty());
  }
}

}  // namespace

bool HasStateToken(const Header& header) {
  return std::any_of(header.tokens.begin(), header.tokens.end(),
                     [](const Token& token) { return token.type == kStateTokenType; });
}

bool IsInitialized(const Header& header) { return TokenObjection(header).empty(); }

std::vector<std::string> NodeObjections(const Header& header) {
  std::vector<std::string> objections;
  if (auto token = TokenObjection(header); !token.empty()) objections.push_back(std::move(token));
  AddUnknownFields(header, objections);
  AddRefusedValues(header, objections);
  return objections;
}

}  // namespace rescue::disk
