// A sealed secret in the TPM's own memory: the blob as it is, in an NV index that everybody may
// read (there is nothing secret in a blob) and only the owner may write.
//
// Rejected: the secret itself in an index with a read policy. It would be a second way to bind a
// policy, has no protection against changing the index's content, and needs the same sessions.
#pragma once

#include <optional>

#include "rescue/base/bytes.h"
#include "rescue/base/result.h"
#include "rescue/secret/tpm.h"

namespace rescue::secret {

// In the range that the TCG leaves to owners (Registry of Reserved TPM 2.0 Handles, 0x01800000 to
// 0x01bfffff); chosen at random once, like systemd chooses its own.
inline constexpr TPM2_HANDLE kBlobIndex = 0x018e7cd5;

// Writes a new index; an existing one is replaced only if wished. Errors: kRefused "tpm-nv-exists",
// kRefused "tpm-nv-full", "tpm-hierarchy-password", "tpm-error".
Status StoreInNv(const Tpm& tpm, ByteView blob, bool replace, TPM2_HANDLE index = kBlobIndex);
// Nothing when there is no such index.
Result<std::optional<Bytes>> ReadFromNv(const Tpm& tpm, TPM2_HANDLE index = kBlobIndex);
// Error: kUsage "not-found".
Status RemoveFromNv(const Tpm& tpm, TPM2_HANDLE index = kBlobIndex);

}  // namespace rescue::secret
