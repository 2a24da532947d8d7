// Policy digests of a TPM 2.0, computed without one (Part 3, sections 23.7, 23.16 and 23.17).
//
// A sealed secret's policy is, in this order: a signed state of PCR 11 (TPM2_PolicyAuthorize),
// literal PCR values (TPM2_PolicyPCR), and, with a PIN, its knowledge (TPM2_PolicyAuthValue).
// PolicyAuthorize replaces what was there before by the name of the signing key, so it is first.
#pragma once

#include <array>

#include "rescue/base/bytes.h"
#include "rescue/secret/tpm.h"

namespace rescue::secret {

using PolicyDigest = std::array<std::byte, 32>;

// What systemd-stub measures of a unified kernel image: its parts, and what ran since.
inline constexpr unsigned kPcrImage = 11;
// What systemd-stub is told from outside the image: command line additions, credentials and
// add-ons.
inline constexpr unsigned kPcrKernelConfig = 12;
// Secure Boot: its state, and the keys that were asked.
inline constexpr unsigned kPcrSecureBoot = 7;

// The digest that TPM2_PolicyPCR leaves in a new session.
PolicyDigest PcrPolicy(const PcrValues& values);
// The whole policy of a sealed secret; `signer` is the name of the key that signs PCR 11.
PolicyDigest SealPolicy(const TpmName& signer, const PcrValues& literal, bool pin);

// SHA-256 of all parts, one after the other.
PolicyDigest Sha256Of(std::initializer_list<ByteView> parts);

}  // namespace rescue::secret
