// A secret that is sealed to a TPM, as a file: FORMAT.md describes it byte by byte. Nothing in it
// is secret, and nothing in it is trusted: the TPM refuses what was changed.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "rescue/base/result.h"
#include "rescue/secret/tpm_policy.h"

namespace rescue::secret {

// What is sealed; the numbers are those of the format.
enum class SealedKind : std::uint8_t { kMasterSecret = 1, kDiskKey = 2, kPassphrase = 3 };
std::string_view Name(SealedKind kind);

struct SealedBlob {
  SealedKind kind = SealedKind::kMasterSecret;
  bool pin = false;
  PcrValues literal;                // what these PCRs must be; PCR 12 is always among them
  std::optional<PcrValue> image;    // PCR 11 when it was sealed there; for messages only
  PolicyDigest signer{};            // fingerprint of the image's key
  TpmName storage_key{};            // of the TPM that it was sealed to
  std::optional<TpmName> identity;  // of that TPM, which clearing it does not change
  std::string label;                // for people; a disk key's LUKS UUID
  Bytes public_area;                // TPM2B_PUBLIC
  Bytes private_area;               // TPM2B_PRIVATE

  bool operator==(const SealedBlob&) const = default;
};

// Longer ones do not exist; an NV index holds at most 2048 bytes in most TPMs.
inline constexpr std::size_t kMaxBlob = 2048;

Bytes EncodeBlob(const SealedBlob& blob);
// Errors: kCannotUnlock "bad-tpm-blob" (another format, or damaged).
Result<SealedBlob> DecodeBlob(ByteView bytes);

}  // namespace rescue::secret
