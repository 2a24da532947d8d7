// JSON from outside: one document, within bounds, and without a field that is there twice, of which
// one reader would see the first and another the last.
#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <string_view>

#include "rescue/base/result.h"

namespace rescue::session {

// No document of ours goes deeper; what does would only make recursive programs fall.
inline constexpr std::size_t kMaxJsonDepth = 32;

// Errors: kUsage "bad-json"; the message starts with the place ("line 3, column 7: ..."), and
// quotes nothing but a field's name.
Result<nlohmann::json> ParseStrictJson(std::string_view text);

}  // namespace rescue::session
