#include "tui/keys.h"

#include <array>
#include <charconv>
#include <string_view>
#include <utility>
#include <vector>

namespace rescue::tui {
namespace {

constexpr char kEscape = '\x1b';
// Longer than any key's sequence; what is longer is not one.
constexpr std::size_t kLongestSequence = 24;

// The numbers of "ESC [ number ~".
std::optional<Key> NumberedKey(int number) {
  constexpr std::array<std::pair<int, int>, 12> kFunctions = {{{11, 1},
                                                               {12, 2},
                                                               {13, 3},
                                                               {14, 4},
                                                               {15, 5},
                                                               {17, 6},
                                                               {18, 7},
                                                               {19, 8},
                                                               {20, 9},
                                                               {21, 10},
                                                               {23, 11},
                                                               {24, 12}}};
  for (const auto& [code, function] : kFunctions) {
    if (code == number) return Key{Key::Kind::kFunction, 0, function, 0};
  }
  switch (number) {
    case 1:
    case 7:
      return Key{Key::Kind::kHome};
    case 4:
    case 8:
      return Key{Key::Kind::kEnd};
    case 3:
      return Key{Key::Kind::kDelete};
    case 5:
      return Key{Key::Kind::kPageUp};
    case 6:
      return Key{Key::Kind::kPageDown};
    case 200:
      return Key{Key::Kind::kPasteBegin};
    case 201:
      return Key{Key::Kind::kPasteEnd};
    default:
      return std::nullopt;
  }
}

std::optional<Key> LetteredKey(char final) {
  switch (final) {
    case 'A':
      return Key{Key::Kind::kUp};
    case 'B':
      return Key{Key::Kind::kDown};
    case 'C':
      return Key{Key::Kind::kRight};
    case 'D':
      return Key{Key::Kind::kLeft};
    case 'H':
      return Key{Key::Kind::kHome};
    case 'F':
      return Key{Key::Kind::kEnd};
    case 'Z':
      return Key{Key::Kind::kBackTab};
    case 'P':
    case 'Q':
    case 'R':
    case 'S':
      return Key{Key::Kind::kFunction, 0, final - 'P' + 1, 0};
    case 'M':  // the keypad's Enter
      return Key{Key::Kind::kEnter};
    default:
      return std::nullopt;
  }
}

std::vector<int> Parameters(std::string_view text) {
  std::vector<int> numbers;
  while (!text.empty()) {
    int number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    numbers.push_back(error == std::errc() ? number : 0);
    const auto next = text.find(';');
    if (next == std::string_view::npos) break;
    text.remove_prefix(next + 1);
  }
  return numbers;
}

bool IsFinal(char c) { return c >= '@' && c <= '~'; }

}  // namespace

std::optional<Key> KeyDecoder::Push(std::byte byte) {
  const auto c = std::to_integer<unsigned char>(byte);
  const bool follows_return = std::exchange(after_return_, false);
  if (c == static_cast<unsigned char>(kEscape)) {
    // A second ESC: the first one was the key.
    const bool alone = sequence_.size() == 1;
    sequence_ = kEscape;
    missing_ = 0;
    return alone ? std::optional<Key>(Key{Key::Kind::kEscape}) : std::nullopt;
  }
  if (!sequence_.empty()) return PushEscape(static_cast<char>(c));
  // Terminals that send CR LF for Enter mean one Enter.
  if (c == '\n' && follows_return) return std::nullopt;
  return PushPlain(c);
}

std::optional<Key> KeyDecoder::PushEscape(char c) {
  sequence_.push_back(c);
  if (sequence_.size() == 2) {
    if (c == '[' || c == 'O') return std::nullopt;
    // ESC and a key quickly after it, or Alt with that key: it is Esc that must not be lost.
    sequence_.clear();
    return Key{Key::Kind::kEscape};
  }
  const std::string_view body = std::string_view(sequence_).substr(2);
  // The Linux console's F1 to F5: ESC [ [ A.
  const bool linux_function = sequence_[1] == '[' && body[0] == '[';
  if (linux_function && body.size() == 1) return std::nullopt;
  if (!IsFinal(c) && sequence_.size() < kLongestSequence) return std::nullopt;

  std::optional<Key> key;
  if (linux_function) {
    if (c >= 'A' && c <= 'E') key = Key{Key::Kind::kFunction, 0, c - 'A' + 1, 0};
  } else {
    const auto numbers = Parameters(body.substr(0, body.size() - 1));
    if (c == '~') {
      if (!numbers.empty()) key = NumberedKey(numbers[0]);
    } else if (c == 'R' && sequence_[1] == '[' && numbers.size() == 2) {
      key = Key{Key::Kind::kCursorAt, 0, numbers[0], numbers[1]};
    } else {
      key = LetteredKey(c);
    }
  }
  sequence_.clear();
  return key;
}

std::optional<Key> KeyDecoder::PushPlain(unsigned char c) {
  if (missing_ > 0) {
    if ((c & 0xC0U) == 0x80) {
      character_ = (character_ << 6U) | (c & 0x3FU);
      if (--missing_ > 0) return std::nullopt;
      return Key{Key::Kind::kCharacter, character_};
    }
    missing_ = 0;  // broken off; this byte begins anew
  }
  switch (c) {
    case '\r':
      after_return_ = true;
      return Key{Key::Kind::kEnter};
    case '\n':
      return Key{Key::Kind::kEnter};
    case '\t':
      return Key{Key::Kind::kTab};
    case '\b':
    case 127:
      return Key{Key::Kind::kBackspace};
    case 3:
      return Key{Key::Kind::kControlC};
    case 12:
      return Key{Key::Kind::kControlL};
    case 21:
      return Key{Key::Kind::kControlU};
    default:
      break;
  }
  if (c < ' ') return std::nullopt;
  if (c < 0x80) return Key{Key::Kind::kCharacter, c};
  if (c >= 0xC2 && c < 0xF5) {
    missing_ = c >= 0xF0 ? 3 : c >= 0xE0 ? 2 : 1;
    character_ = c & (0x3FU >> static_cast<unsigned>(missing_));
  }
  return std::nullopt;
}

std::optional<Key> KeyDecoder::Timeout() {
  const bool alone = sequence_.size() == 1;
  sequence_.clear();
  return alone ? std::optional<Key>(Key{Key::Kind::kEscape}) : std::nullopt;
}

}  // namespace rescue::tui
