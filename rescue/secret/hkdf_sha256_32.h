// HKDF with SHA-256 (RFC 5869) and an output of exactly 32 bytes.
#pragma once

#include <optional>

#include "rescue/base/bytes.h"
#include "rescue/base/secret_bytes.h"

namespace rescue::secret {

// Nothing when OpenSSL has no HKDF (a broken or restricted installation).
std::optional<SecretBytes> HkdfSha256To32(ByteView input_key, ByteView salt, ByteView info);

}  // namespace rescue::secret
