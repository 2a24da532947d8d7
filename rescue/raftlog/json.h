// Private to the room: JSON as Go's encoding/json writes and reads it.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <variant>

namespace rescue::raftlog {

// A number that is not an unsigned 64-bit integer.
struct OtherNumber {};
using JsonScalar = std::variant<std::nullptr_t, bool, std::uint64_t, OtherNumber, std::string_view>;

// The keys from the outermost object to a value; "[]" stands for any place in an array.
using JsonPath = std::span<const std::string>;

// Reads a JSON object without building it, and calls `take` for every scalar in it; `take` returns
// false to refuse the document. True when all of it was valid and taken. Memory grows with the
// depth (limited by `max_depth`) and the longest string only.
bool WalkJson(std::string_view json, std::size_t max_depth,
              const std::function<bool(JsonPath, const JsonScalar&)>& take);

// `text` quoted and escaped as Go does it, '<', '>', '&' and U+2028/9 included; bytes that are not
// UTF-8 become U+FFFD.
std::string QuoteJson(std::string_view text);

}  // namespace rescue::raftlog
