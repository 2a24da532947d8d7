// What opens a state disk: the cluster's master secret, or the disk key derived from it.
//
// The secret stays in secret memory (base/secret_bytes.h) from the first byte read to the last use;
// errors of this room never quote what they were given.
#pragma once

#include <string_view>
#include <variant>

#include "rescue/base/result.h"
#include "rescue/base/secret_bytes.h"

namespace rescue::secret {

// Constellation's constellation-mastersecret.json (internal/kms/uri/uri.go, MasterSecret).
struct MasterSecret {
  SecretBytes key;
  SecretBytes salt;
};

// The LUKS passphrase of one disk: 32 bytes (Constellation: internal/crypto, StateDiskKeyLength).
struct DiskKey {
  SecretBytes bytes;
};

inline constexpr std::size_t kDiskKeySize = 32;

// What opens a disk as it is: a typed passphrase, or the content of a key file.
struct Passphrase {
  SecretBytes bytes;
};

using Secret = std::variant<MasterSecret, DiskKey, Passphrase>;

// Reads a secret as people have it:
//   {"key": "<base64>", "salt": "<base64>"}            the master secret file
//   kms://cluster-kms?key=<base64url>&salt=<base64url> Constellation's URI (EncodeToURI)
//   64 hexadecimal digits, or base64 of 32 bytes       a disk key
// Base64 is taken in both alphabets, padded or not. White space and line breaks inside values,
// which pasting adds, are dropped. Errors: kCannotUnlock, "bad-secret".
Result<Secret> ParseSecret(SecretBytes text);

// HKDF-SHA256 (RFC 5869) of the master secret with info "key-" + the lower-case LUKS UUID
// (Constellation: internal/crypto/crypto.go, DeriveKey and HKDFInfoPrefix).
Result<DiskKey> DeriveDiskKey(const MasterSecret& master, std::string_view luks_uuid);

// The key for this disk: derived from a master secret; a disk key or a passphrase itself,
// unchanged.
Result<DiskKey> KeyFor(const Secret& secret, std::string_view luks_uuid);

}  // namespace rescue::secret
