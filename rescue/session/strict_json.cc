#include "rescue/session/strict_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "rescue/base/bytes.h"

namespace rescue::session {
namespace {

using nlohmann::json;

// Listens to the parser; false ends it. The parser keeps its own stack, so that depth costs nothing
// before it is refused here.
class Listener {
 public:
  // NOLINTBEGIN(readability-identifier-naming): the parser's names
  bool null() { return true; }
  bool boolean(bool) { return true; }
  bool number_integer(json::number_integer_t) { return true; }
  bool number_unsigned(json::number_unsigned_t) { return true; }
  bool number_float(json::number_float_t, const json::string_t&) { return true; }
  bool string(json::string_t&) { return true; }
  bool binary(json::binary_t&) { return true; }
  bool start_object(std::size_t) { return Enter(); }
  bool end_object() { return Leave(); }
  bool start_array(std::size_t) { return Enter(); }
  bool end_array() { return Leave(); }
  bool key(json::string_t& name) {
    if (fields_.back().insert(name).second) return true;
    reason_ = fmt::format("the field {} is there twice", Printable(name, 60));
    return false;
  }
  // The exception's text would quote the input.
  bool parse_error(std::size_t position, const std::string&, const json::exception&) {
    position_ = position;
    reason_ = "this is not JSON";
    return false;
  }
  // NOLINTEND(readability-identifier-naming)

  const std::string& reason() const { return reason_; }
  std::size_t position() const { return position_; }

 private:
  bool Enter() {
    fields_.emplace_back();
    if (fields_.size() <= kMaxJsonDepth) return true;
    reason_ = fmt::format("it is nested more than {} deep", kMaxJsonDepth);
    return false;
  }
  bool Leave() {
    fields_.pop_back();
    return true;
  }

  std::vector<std::set<std::string>> fields_;
  std::string reason_;
  std::size_t position_ = 0;  // 1 is the first byte; 0: not known
};

std::string Place(std::string_view text, std::size_t position) {
  if (position == 0) return {};
  const std::string_view before = text.substr(0, std::min(position - 1, text.size()));
  const auto lines = std::count(before.begin(), before.end(), '\n');
  const std::size_t line_start = before.rfind('\n') + 1;  // npos + 1 is 0
  return fmt::format("line {}, column {}: ", lines + 1, before.size() - line_start + 1);
}

}  // namespace

Result<json> ParseStrictJson(std::string_view text) {
  Listener listener;
  if (!json::sax_parse(text, &listener)) {
    return Fail(ErrorKind::kUsage, "bad-json",
                Place(text, listener.position()) + listener.reason());
  }
  return json::parse(text, nullptr, /*allow_exceptions=*/false);
}

}  // namespace rescue::session
