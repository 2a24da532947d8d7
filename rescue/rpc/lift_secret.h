// A secret leaves a message before a JSON parser, which copies texts into ordinary memory, sees it.
#pragma once

#include <cstddef>
#include <optional>

#include "rescue/base/secret_bytes.h"

namespace rescue::rpc {

// What was found in a message.
struct Lifted {
  std::optional<SecretBytes>
      secret;             // the first: a text without its escapes, or an object as it is
  std::size_t count = 0;  // of values that were taken out
};

// Looks in JSON text for fields called "secret", at any depth, whose value is a text or an object,
// and puts the number 0 and blanks in its place. An object that starts with the field "from" says
// only where a secret comes from, and stays. What is not JSON is searched as far as it looks like
// it, so that a message with a mistake gives nothing away either.
Lifted LiftSecret(SecretBytes& text);

}  // namespace rescue::rpc
