#include "rescue/raftlog/json.h"

#include <fmt/format.h>

#include <cstddef>
#include <exception>
#include <nlohmann/json.hpp>
#include <vector>

namespace rescue::raftlog {
namespace {

// The names are those that nlohmann's parser calls.
class Walker final : public nlohmann::json_sax<nlohmann::json> {
 public:
  Walker(std::size_t max_depth, const std::function<bool(JsonPath, const JsonScalar&)>& take)
      : max_depth_(max_depth), take_(take) {}

  bool null() override { return Take(nullptr); }
  bool boolean(bool value) override { return Take(value); }
  bool number_integer(number_integer_t) override { return Take(OtherNumber{}); }
  bool number_unsigned(number_unsigned_t value) override { return Take(std::uint64_t{value}); }
  bool number_float(number_float_t, const string_t&) override { return Take(OtherNumber{}); }
  bool string(string_t& value) override { return Take(std::string_view(value)); }
  bool binary(binary_t&) override { return false; }
  bool start_object(std::size_t) override { return Enter(""); }
  bool key(string_t& value) override {
    path_.back() = value;
    return true;
  }
  bool end_object() override { return Leave(); }
  // An array at the top is refused by Take: its scalars have no key.
  bool start_array(std::size_t) override { return !path_.empty() && Enter("[]"); }
  bool end_array() override { return Leave(); }
  bool parse_error(std::size_t, const std::string&, const nlohmann::json::exception&) override {
    return false;
  }

 private:
  bool Take(const JsonScalar& value) { return !path_.empty() && take_(path_, value); }
  bool Enter(std::string step) {
    if (path_.size() >= max_depth_) return false;
    path_.push_back(std::move(step));
    return true;
  }
  bool Leave() {
    path_.pop_back();
    return true;
  }

  const std::size_t max_depth_;
  const std::function<bool(JsonPath, const JsonScalar&)>& take_;
  std::vector<std::string> path_;
};

// The length of the UTF-8 sequence at the start of `text`, 0 when it is none.
std::size_t Utf8Length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  const std::size_t length = lead < 0x80                    ? 1
                             : lead >= 0xc2 && lead <= 0xdf ? 2
                             : lead >= 0xe0 && lead <= 0xef ? 3
                             : lead >= 0xf0 && lead <= 0xf4 ? 4
                                                            : 0;
  if (length == 0 || text.size() < length) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  // Overlong forms, surrogates, and beyond U+10FFFF.
  if ((lead == 0xe0 && byte(1) < 0xa0) || (lead == 0xed && byte(1) > 0x9f) ||
      (lead == 0xf0 && byte(1) < 0x90) || (lead == 0xf4 && byte(1) > 0x8f)) {
    return 0;
  }
  return length;
}

void AppendAscii(std::string& quoted, char character) {
  switch (character) {
    case '"':
    case '\\':
      quoted += '\\';
      quoted += character;
      return;
    case '\n':
      quoted += "\\n";
      return;
    case '\r':
      quoted += "\\r";
      return;
    case '\t':
      quoted += "\\t";
      return;
    case '<':
    case '>':
    case '&':
      break;
    default:
      if (static_cast<unsigned char>(character) >= 0x20) {
        quoted += character;
        return;
      }
  }
  quoted += fmt::format("\\u{:04x}", static_cast<unsigned>(character));
}

}  // namespace

bool WalkJson(std::string_view json, std::size_t max_depth,
              const std::function<bool(JsonPath, const JsonScalar&)>& take) {
  Walker walker(max_depth, take);
  try {
    return nlohmann::json::sax_parse(json.begin(), json.end(), &walker);
  } catch (const std::exception&) {  // memory, or a parser's own
    return false;
  }
}

std::string QuoteJson(std::string_view text) {
  std::string quoted = "\"";
  while (!text.empty()) {
    const std::size_t length = Utf8Length(text);
    const std::string_view character = text.substr(0, length);
    if (length == 0) {
      quoted += "\\ufffd";
    } else if (length == 1) {
      AppendAscii(quoted, character[0]);
    } else if (character == "\u2028") {
      quoted += "\\u2028";
    } else if (character == "\u2029") {
      quoted += "\\u2029";
    } else {
      quoted += character;
    }
    text.remove_prefix(length == 0 ? 1 : length);
  }
  return quoted + '"';
}

}  // namespace rescue::raftlog
