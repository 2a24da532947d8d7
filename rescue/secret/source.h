// Where a secret comes from: a file (a systemd credential is one) or an open descriptor.
#pragma once

#include <string>

#include "rescue/base/result.h"
#include "rescue/base/secret_bytes.h"
#include "rescue/base/units.h"

namespace rescue::secret {

// More than any form of a secret needs; what is longer is not a secret.
inline constexpr std::size_t kMaxSecretText = 64 * kKiB;

// Reads straight into secret memory, without buffers in between. Errors: kCannotUnlock, "no-secret"
// (missing, unreadable, empty) or "bad-secret" (longer than kMaxSecretText).
Result<SecretBytes> ReadSecretFile(const std::string& path);
// Reads to the end of the descriptor, which stays open; `name` is for messages ("standard input").
Result<SecretBytes> ReadSecretFd(int fd, const std::string& name);

}  // namespace rescue::secret
