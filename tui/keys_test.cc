#include "tui/keys.h"

#include <catch2/catch_test_macros.hpp>
#include <vector>

namespace rescue::tui {
namespace {

std::vector<Key> Decode(std::string_view bytes, bool wait = true) {
  KeyDecoder decoder;
  std::vector<Key> keys;
  for (const std::byte byte : AsBytes(bytes)) {
    if (const auto key = decoder.Push(byte)) keys.push_back(*key);
  }
  if (wait && decoder.waiting()) {
    if (const auto key = decoder.Timeout()) keys.push_back(*key);
  }
  return keys;
}

Key Function(int number) { return {Key::Kind::kFunction, 0, number, 0}; }

TEST_CASE("FunctionKeysOfEveryTerminalAreKnown") {
  // linux, xterm and vt220's PF keys, vt220 and rxvt.
  for (const auto* bytes : {"\x1b[[A", "\x1bOP", "\x1b[11~"}) {
    CHECK(Decode(bytes) == std::vector{Function(1)});
  }
  CHECK(Decode("\x1b[21~") == std::vector{Function(10)});
  CHECK(Decode("\x1bOS") == std::vector{Function(4)});
}

TEST_CASE("ArrowsAreKnownInBothKeypadModes") {
  CHECK(Decode("\x1b[A\x1bOB\x1b[1;5C\x1b[D") ==
        std::vector{Key{Key::Kind::kUp}, Key{Key::Kind::kDown}, Key{Key::Kind::kRight},
                    Key{Key::Kind::kLeft}});
}

TEST_CASE("EscapeAloneIsAKeyOnceTimeHasPassed") {
  KeyDecoder decoder;
  CHECK_FALSE(decoder.Push(std::byte{0x1b}));
  CHECK(decoder.waiting());
  CHECK(decoder.Timeout() == Key{Key::Kind::kEscape});
  CHECK_FALSE(decoder.waiting());
  CHECK(Decode("\x1b\x1b").size() == 2);
}

TEST_CASE("AnUnknownSequenceNeverBecomesText") {
  CHECK(Decode("\x1b[?1;2c\x1b[99~\x1b[38;5;1m").empty());
  // A sequence that breaks off is forgotten with the time.
  CHECK(Decode("\x1b[1;").empty());
}

TEST_CASE("ReturnAndLineFeedAreOneEnter") {
  CHECK(Decode("\r\n").size() == 1);
  CHECK(Decode("\r\r").size() == 2);
  CHECK(Decode("\n\n").size() == 2);
}

TEST_CASE("CharactersComeWhole") {
  CHECK(Decode("a\xc3\xa4") ==
        std::vector{Key{Key::Kind::kCharacter, U'a'}, Key{Key::Kind::kCharacter, U'\u00e4'}});
  CHECK(Decode("\xff\x80z") == std::vector{Key{Key::Kind::kCharacter, U'z'}});
  CHECK(Decode("\xc3q") == std::vector{Key{Key::Kind::kCharacter, U'q'}});
}

TEST_CASE("PasteAndCursorReportsAreTold") {
  CHECK(Decode("\x1b[200~x\x1b[201~") == std::vector{Key{Key::Kind::kPasteBegin},
                                                     Key{Key::Kind::kCharacter, U'x'},
                                                     Key{Key::Kind::kPasteEnd}});
  CHECK(Decode("\x1b[43;132R") == std::vector{Key{Key::Kind::kCursorAt, 0, 43, 132}});
}

TEST_CASE("NoBytesBreakTheDecoder") {
  KeyDecoder decoder;
  unsigned state = 1;
  for (int i = 0; i < 200000; ++i) {
    state = state * 1103515245U + 12345U;
    (void)decoder.Push(static_cast<std::byte>(state >> 16U));
    if (state % 97 == 0 && decoder.waiting()) (void)decoder.Timeout();
  }
  (void)decoder.Timeout();
  CHECK(decoder.Push(std::byte{'a'}).has_value());
}

}  // namespace
}  // namespace rescue::tui
