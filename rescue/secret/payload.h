// The bytes that a TPM keeps: a secret in the smallest unambiguous form, because a TPM seals at
// most 128 bytes. Described in FORMAT.md.
#pragma once

#include <cstdint>

#include "rescue/secret/secret.h"
#include "rescue/secret/tpm_blob.h"

namespace rescue::secret {

inline constexpr std::size_t kMaxPayload = 128;

SealedKind KindOf(const Secret& secret);
// Errors: kUsage "secret-too-long".
Result<SecretBytes> EncodePayload(const Secret& secret);
// Errors: kCannotUnlock "bad-tpm-blob".
Result<Secret> DecodePayload(SealedKind kind, ByteView payload);

}  // namespace rescue::secret
