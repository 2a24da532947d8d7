// From the bytes of a terminal to keys: what xterm, screen, tmux, linux, vt100 and vt220 send, by
// one table. Pure; the caller reads, and knows how long it has waited.
#pragma once

#include <optional>
#include <string>

#include "rescue/base/bytes.h"

namespace rescue::tui {

struct Key {
  enum class Kind {
    kCharacter,
    kEnter,
    kTab,
    kBackTab,
    kEscape,
    kBackspace,
    kDelete,
    kUp,
    kDown,
    kLeft,
    kRight,
    kHome,
    kEnd,
    kPageUp,
    kPageDown,
    kFunction,  // `number` says which
    kControlC,
    kControlL,
    kControlU,
    kPasteBegin,  // bracketed paste: what comes in between was not typed
    kPasteEnd,
    kCursorAt,  // the answer to "where is the cursor?": row `number`, column `column`, from 1
  };
  Kind kind = Kind::kCharacter;
  char32_t character = 0;
  int number = 0;
  int column = 0;
  bool operator==(const Key&) const = default;
};

// Escape by itself and the first byte of a longer sequence look alike until time has passed. Long
// enough for a key's bytes to arrive over a slow line, too short to be noticed.
inline constexpr int kEscapeMilliseconds = 100;

class KeyDecoder {
 public:
  // The key that this byte completes; nothing in the middle of one, and for sequences that no key
  // of ours sends: those are swallowed, so that they never end up in a field.
  std::optional<Key> Push(std::byte byte);
  // Something has begun that may be complete: call Timeout() when kEscapeMilliseconds pass.
  bool waiting() const { return !sequence_.empty(); }
  std::optional<Key> Timeout();

 private:
  std::optional<Key> PushEscape(char c);
  std::optional<Key> PushPlain(unsigned char c);

  std::string sequence_;  // from ESC on; never part of typed text
  char32_t character_ = 0;
  int missing_ = 0;  // bytes of a UTF-8 character
  bool after_return_ = false;
};

}  // namespace rescue::tui
