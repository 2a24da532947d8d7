#include "rescue/backup/event_json.h"

#include <fmt/format.h>

#include <array>
#include <cstring>
#include <limits>

#include "rescue/base/bytes.h"

namespace rescue::backup {
namespace {

constexpr std::uint8_t kNoDigit = 0xff;

constexpr std::array<std::uint8_t, 256> MakeDigits() {
  constexpr std::string_view kAlphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::array<std::uint8_t, 256> digits{};
  digits.fill(kNoDigit);
  for (std::size_t i = 0; i < kAlphabet.size(); ++i) {
    digits[static_cast<unsigned char>(kAlphabet[i])] = static_cast<std::uint8_t>(i);
  }
  return digits;
}
constexpr auto kDigits = MakeDigits();

std::uint32_t Digit(char character) { return kDigits[static_cast<unsigned char>(character)]; }

}  // namespace

ParseState JsonCursor::Bad(std::string reason) {
  reason_ = std::move(reason);
  return ParseState::kBad;
}

ParseState JsonCursor::NextCharacter(char& found) {
  while (at_ != end_ && (*at_ == ' ' || *at_ == '\n' || *at_ == '\t' || *at_ == '\r')) ++at_;
  if (at_ == end_) return ParseState::kNeedMore;
  found = *at_;
  return ParseState::kDone;
}

ParseState JsonCursor::TakeAny(std::string_view wanted, char& found) {
  if (const auto state = NextCharacter(found); state != ParseState::kDone) return state;
  if (wanted.find(found) == std::string_view::npos) {
    return Bad(fmt::format("'{}' where one of \"{}\" belongs",
                           Printable(std::string_view(&found, 1)), wanted));
  }
  ++at_;
  return ParseState::kDone;
}

ParseState JsonCursor::Expect(char wanted) {
  char found = 0;
  return TakeAny(std::string_view(&wanted, 1), found);
}

ParseState JsonCursor::TakeString(std::string_view& text) {
  if (const auto state = Expect('"'); state != ParseState::kDone) return state;
  const auto left = static_cast<std::size_t>(end_ - at_);
  const auto* const quote = static_cast<const char*>(std::memchr(at_, '"', left));
  if (quote == nullptr) return ParseState::kNeedMore;
  text = {at_, static_cast<std::size_t>(quote - at_)};
  at_ = quote + 1;
  return ParseState::kDone;
}

ParseState JsonCursor::TakeNumber(std::uint64_t& number) {
  char first = 0;
  if (const auto state = NextCharacter(first); state != ParseState::kDone) return state;
  if (first == '-') return Bad("a negative number");
  if (first < '0' || first > '9') return Bad("no number");
  constexpr auto kMax = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  std::uint64_t value = 0;
  const char* digit = at_;
  for (; digit != end_ && *digit >= '0' && *digit <= '9'; ++digit) {
    const auto add = static_cast<std::uint64_t>(*digit - '0');
    if (value > (kMax - add) / 10) return Bad("a number above 2^63 - 1");
    value = value * 10 + add;
  }
  if (digit == end_) return ParseState::kNeedMore;
  if (*digit == '.' || *digit == 'e' || *digit == 'E') return Bad("a number that is no integer");
  if (first == '0' && digit != at_ + 1) return Bad("a number with zeros in front");
  at_ = digit;
  number = value;
  return ParseState::kDone;
}

ParseState JsonCursor::Once(std::string_view name, unsigned& seen, unsigned bit) {
  if ((seen & bit) != 0) return Bad(fmt::format("field \"{}\" twice", Printable(name, 40)));
  seen |= bit;
  return ParseState::kDone;
}

ParseState JsonCursor::TakeObject(Field take_field, RawEvent& event) {
  if (const auto state = Expect('{'); state != ParseState::kDone) return state;
  unsigned seen = 0;
  char next = 0;
  if (const auto state = NextCharacter(next); state != ParseState::kDone) return state;
  if (next == '}') {
    ++at_;
    return ParseState::kDone;
  }
  do {
    std::string_view name;
    if (const auto state = TakeString(name); state != ParseState::kDone) return state;
    if (const auto state = Expect(':'); state != ParseState::kDone) return state;
    if (const auto state = (this->*take_field)(name, seen, event); state != ParseState::kDone) {
      return state;
    }
    if (const auto state = TakeAny(",}", next); state != ParseState::kDone) return state;
  } while (next == ',');
  return ParseState::kDone;
}

ParseState JsonCursor::KeyValueField(std::string_view name, unsigned& seen, RawEvent& event) {
  unsigned bit = 1;
  for (const auto& [known, text] :
       {std::pair{"key", &event.key}, std::pair{"value", &event.value}}) {
    if (name == known) {
      if (const auto state = Once(name, seen, bit); state != ParseState::kDone) return state;
      return TakeString(*text);
    }
    bit <<= 1;
  }
  for (const auto& [known, number] :
       {std::pair{"mod_revision", &event.mod_revision},
        std::pair{"create_revision", &event.create_revision}, std::pair{"version", &event.version},
        std::pair{"lease", &event.lease}}) {
    if (name == known) {
      if (const auto state = Once(name, seen, bit); state != ParseState::kDone) return state;
      return TakeNumber(*number);
    }
    bit <<= 1;
  }
  return Bad(fmt::format("unknown field \"{}\" in kv", Printable(name, 40)));
}

ParseState JsonCursor::EventField(std::string_view name, unsigned& seen, RawEvent& event) {
  if (name == "kv") {
    if (const auto state = Once(name, seen, 1); state != ParseState::kDone) return state;
    return TakeObject(&JsonCursor::KeyValueField, event);
  }
  if (name == "type") {
    if (const auto state = Once(name, seen, 2); state != ParseState::kDone) return state;
    return TakeNumber(event.type);
  }
  return Bad(fmt::format("unknown field \"{}\" in etcdEvent", Printable(name, 40)));
}

ParseState JsonCursor::ElementField(std::string_view name, unsigned& seen, RawEvent& event) {
  if (name == "etcdEvent") {
    if (const auto state = Once(name, seen, 1); state != ParseState::kDone) return state;
    return TakeObject(&JsonCursor::EventField, event);
  }
  if (name == "time") {
    if (const auto state = Once(name, seen, 2); state != ParseState::kDone) return state;
    // When the server that made the backup saw the event; nothing here depends on it.
    std::string_view time;
    return TakeString(time);
  }
  return Bad(fmt::format("unknown field \"{}\"", Printable(name, 40)));
}

ParseState JsonCursor::TakeElement(bool first, RawEvent& event, bool& list_ends) {
  event = {};
  char found = 0;
  if (const auto state = TakeAny(first ? "[" : ",]", found); state != ParseState::kDone) {
    return state;
  }
  if (first) {
    if (const auto state = NextCharacter(found); state != ParseState::kDone) return state;
    if (found == ']') ++at_;
  }
  list_ends = found == ']';
  return list_ends ? ParseState::kDone : TakeObject(&JsonCursor::ElementField, event);
}

std::optional<std::size_t> Base64Size(std::string_view text) {
  if (text.size() % 4 != 0) return std::nullopt;
  if (text.empty()) return 0;
  const std::size_t padding = text.ends_with("==") ? 2 : text.ends_with("=") ? 1 : 0;
  return text.size() / 4 * 3 - padding;
}

bool DecodeBase64(std::string_view text, char* to) {
  const auto size = Base64Size(text);
  if (!size) return false;
  const char* from = text.data();
  const char* const whole_end = from + *size / 3 * 4;
  std::uint32_t seen = 0;  // 0x80 is set once a character was no digit
  for (; from != whole_end; from += 4, to += 3) {
    const std::uint32_t a = Digit(from[0]);
    const std::uint32_t b = Digit(from[1]);
    const std::uint32_t c = Digit(from[2]);
    const std::uint32_t d = Digit(from[3]);
    seen |= a | b | c | d;
    const std::uint32_t bits = (a << 18) | (b << 12) | (c << 6) | d;
    to[0] = static_cast<char>(bits >> 16);
    to[1] = static_cast<char>(bits >> 8);
    to[2] = static_cast<char>(bits);
  }
  if (const std::size_t rest = *size % 3; rest != 0) {
    const std::uint32_t a = Digit(from[0]);
    const std::uint32_t b = Digit(from[1]);
    const std::uint32_t c = rest == 2 ? Digit(from[2]) : 0;
    seen |= a | b | c;
    const std::uint32_t bits = (a << 18) | (b << 12) | (c << 6);
    to[0] = static_cast<char>(bits >> 16);
    if (rest == 2) to[1] = static_cast<char>(bits >> 8);
  }
  return (seen & 0x80) == 0;
}

}  // namespace rescue::backup
