// Where a sealed secret is kept, and looked for.
#pragma once

#include <string>

#include "rescue/secret/tpm.h"
#include "rescue/secret/tpm_blob.h"

namespace rescue::secret {

inline constexpr const char* kBlobCredential = "etcd-rescue.tpm-secret";

// A blob as text, for consoles, mails and credentials: base64 between two lines, as in PEM.
std::string ArmorBlob(ByteView blob);
// Takes both forms, the bytes and the text; what is neither is given back for DecodeBlob to refuse.
Bytes UnarmorBlob(ByteView bytes);

struct FoundBlob {
  std::string place;  // for messages: "the credential etcd-rescue.tpm-secret"
  Bytes bytes;
};

// `file`, when it is named; otherwise, in this order: the credential in `credentials` (a directory;
// empty: none), etcd-rescue/tpm-secret on the ESP, the TPM's NV index. Errors: kCannotUnlock
// "no-tpm-blob", which says where it looked.
Result<FoundBlob> FindBlob(const Tpm& tpm, const std::string& file, const std::string& credentials);

}  // namespace rescue::secret
