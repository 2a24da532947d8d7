// Decoders that keep a secret in secret memory. The usual libraries (JSON included) copy what they
// parse into ordinary strings, which nobody wipes.
#pragma once

#include <optional>
#include <utility>
#include <vector>

#include "rescue/base/bytes.h"
#include "rescue/base/secret_bytes.h"

namespace rescue::secret {

// Both alphabets of RFC 4648 (sections 4 and 5), padding optional; nothing for anything else.
std::optional<SecretBytes> DecodeBase64(ByteView text);
// Two digits a byte, upper or lower case.
std::optional<SecretBytes> DecodeHex(ByteView text);
// Turns %XX into bytes, in place; false for a broken sequence.
bool UnescapePercent(SecretBytes& text);

// One JSON object whose names and values are strings, without white space: {"a":"b","c":"d"}. The
// views point into `text`. No escapes: names and base64 need none, and Go's encoder makes none
// there.
using JsonField = std::pair<ByteView, ByteView>;
std::optional<std::vector<JsonField>> ScanFlatJson(ByteView text);

}  // namespace rescue::secret
