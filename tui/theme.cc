#include "tui/theme.h"

namespace rescue::tui {

Look LookOf(Style style, bool colours) {
  Look look;
  switch (style) {
    case Style::kPlain:
      break;
    case Style::kStrong:
      look.bold = true;
      break;
    case Style::kLabel:
      if (colours) look.front = Colour::kCyan;
      break;
    case Style::kDim:
    case Style::kRule:
      break;
    case Style::kGood:
      look.bold = true;
      if (colours) look.front = Colour::kGreen;
      break;
    case Style::kWarn:
      look.bold = true;
      if (colours) look.front = Colour::kYellow;
      break;
    case Style::kBad:
      look.bold = true;
      if (colours) look.front = Colour::kRed;
      break;
    case Style::kBar:
      if (colours) {
        look.front = Colour::kWhite;
        look.back = Colour::kBlue;
      } else {
        look.reverse = true;
      }
      break;
    case Style::kFocus:
      look.reverse = true;
      break;
    case Style::kField:
      look.underline = true;
      break;
  }
  return look;
}

}  // namespace rescue::tui
