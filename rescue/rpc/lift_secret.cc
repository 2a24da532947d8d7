#include "rescue/rpc/lift_secret.h"

#include <algorithm>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>

#include "rescue/base/bytes.h"

namespace rescue::rpc {
namespace {

constexpr std::string_view kField = "secret";
constexpr std::string_view kSource = "from";

char At(ByteView text, std::size_t i) {
  return i < text.size() ? static_cast<char>(text[i]) : '\0';
}

std::size_t SkipBlanks(ByteView text, std::size_t i) {
  while (i < text.size() && std::string_view(" \t\r\n").find(At(text, i)) != std::string_view::npos)
    ++i;
  return i;
}

// `i` is at the opening quote; just behind the closing one, or the end of the text.
std::size_t SkipText(ByteView text, std::size_t i) {
  for (++i; i < text.size(); ++i) {
    if (At(text, i) == '\\') {
      ++i;
    } else if (At(text, i) == '"') {
      return i + 1;
    }
  }
  return text.size();
}

// The same for an object.
std::size_t SkipObject(ByteView text, std::size_t i) {
  std::size_t depth = 0;
  while (i < text.size()) {
    const char c = At(text, i);
    if (c == '"') {
      i = SkipText(text, i);
      continue;
    }
    ++i;
    if (c == '{') ++depth;
    if (c == '}' && --depth == 0) return i;
  }
  return text.size();
}

// The text between the quotes of what starts at `i`.
ByteView Inside(ByteView text, std::size_t i, std::size_t end) {
  const bool closed = end > i + 1 && At(text, end - 1) == '"';
  return text.subspan(i + 1, end - i - 1 - (closed ? 1 : 0));
}

bool SaysOnlyWhere(ByteView object) {
  const std::size_t key = SkipBlanks(object, 1);
  if (At(object, key) != '"') return false;
  return AsText(Inside(object, key, SkipText(object, key))) == kSource;
}

// Removes escapes on the way from one secret memory to another.
class Unescaper {
 public:
  explicit Unescaper(ByteView from) : from_(from), to_(from.size()) {}

  SecretBytes Run() {
    std::size_t i = 0;
    while (i < from_.size()) {
      if (At(from_, i) != '\\') {
        Put(At(from_, i++));
      } else if (At(from_, i + 1) == 'u') {
        i = CodePoint(i);
      } else {
        Put(Plain(At(from_, i + 1)));
        i += 2;
      }
    }
    to_.Shrink(size_);
    return std::move(to_);
  }

 private:
  static char Plain(char c) {
    constexpr std::string_view kLetters = "bfnrt";
    constexpr std::string_view kMeant = "\b\f\n\r\t";
    const auto at = kLetters.find(c);
    return at == std::string_view::npos ? c : kMeant[at];
  }

  void Put(char c) {
    // An escape is never shorter than what it stands for; a lone backslash at the end is dropped.
    if (size_ < to_.size()) to_.Reveal()[size_++] = static_cast<std::byte>(c);
  }

  std::uint32_t Hex(std::size_t i) const {
    std::uint32_t value = 0;
    for (std::size_t n = 0; n < 4; ++n) {
      const char c = At(from_, i + n);
      const std::uint32_t digit = c >= '0' && c <= '9'   ? static_cast<std::uint32_t>(c - '0')
                                  : c >= 'a' && c <= 'f' ? static_cast<std::uint32_t>(c - 'a' + 10)
                                  : c >= 'A' && c <= 'F' ? static_cast<std::uint32_t>(c - 'A' + 10)
                                                         : 0;
      value = value * 16 + digit;
    }
    return value;
  }

  // `i` is at the backslash; the place behind the escape, or pair of escapes.
  std::size_t CodePoint(std::size_t i) {
    std::uint32_t code = Hex(i + 2);
    i += 6;
    if (code >= 0xD800 && code < 0xDC00 && At(from_, i) == '\\' && At(from_, i + 1) == 'u') {
      code = 0x10000 + ((code - 0xD800) << 10) + ((Hex(i + 2) - 0xDC00) & 0x3FF);
      i += 6;
    }
    if (code < 0x80) {
      Put(static_cast<char>(code));
    } else if (code < 0x800) {
      Put(static_cast<char>(0xC0 | (code >> 6)));
      Rest(code, 1);
    } else if (code < 0x10000) {
      Put(static_cast<char>(0xE0 | (code >> 12)));
      Rest(code, 2);
    } else {
      Put(static_cast<char>(0xF0 | ((code >> 18) & 7)));
      Rest(code, 3);
    }
    return i;
  }

  void Rest(std::uint32_t code, int bytes) {
    while (bytes-- > 0) Put(static_cast<char>(0x80 | ((code >> (6 * bytes)) & 0x3F)));
  }

  ByteView from_;
  SecretBytes to_;
  std::size_t size_ = 0;
};

void TakeOut(std::span<std::byte> value) {
  Wipe(value);
  std::fill(value.begin(), value.end(), std::byte{' '});
  value[0] = std::byte{'0'};
}

}  // namespace

Lifted LiftSecret(SecretBytes& text) {
  Lifted lifted;
  const ByteView view = std::as_const(text).Reveal();
  std::size_t i = 0;
  while (i < view.size()) {
    if (At(view, i) != '"') {
      ++i;
      continue;
    }
    const std::size_t end = SkipText(view, i);
    const std::size_t colon = SkipBlanks(view, end);
    const bool is_field = At(view, colon) == ':' && AsText(Inside(view, i, end)) == kField;
    i = end;
    if (!is_field) continue;
    const std::size_t value = SkipBlanks(view, colon + 1);
    i = value;
    const bool is_text = At(view, value) == '"';
    if (!is_text && At(view, value) != '{') continue;
    const std::size_t value_end = is_text ? SkipText(view, value) : SkipObject(view, value);
    const ByteView object = view.subspan(value, value_end - value);
    // Its own fields are looked at, too: one of them may be a secret.
    if (!is_text && SaysOnlyWhere(object)) {
      i = value + 1;
      continue;
    }
    if (lifted.count++ == 0) {
      lifted.secret =
          is_text ? Unescaper(Inside(view, value, value_end)).Run() : SecretBytes::CopyOf(object);
    }
    TakeOut(text.Reveal().subspan(value, value_end - value));
    i = value_end;
  }
  return lifted;
}

}  // namespace rescue::rpc
