// How a style looks: attributes and colours, for terminals with colours and without. Colours only
// repeat what the words say already.
#pragma once

#include <array>

#include "tui/text.h"

namespace rescue::tui {

// ANSI numbers; kDefault leaves the terminal's own.
enum class Colour : signed char {
  kDefault = -1,
  kBlack = 0,
  kRed = 1,
  kGreen = 2,
  kYellow = 3,
  kBlue = 4,
  kCyan = 6,
  kWhite = 7,
};

struct Look {
  bool bold = false;
  bool reverse = false;
  bool underline = false;
  Colour front = Colour::kDefault;
  Colour back = Colour::kDefault;
  bool operator==(const Look&) const = default;
};

Look LookOf(Style style, bool colours);

}  // namespace rescue::tui
