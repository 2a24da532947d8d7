// What terminfo says about a terminal type. By itself, because <term.h> makes macros of ordinary
// words ("columns", "lines").
#pragma once

#include <string>

namespace rescue::tui {

enum class TerminalKind {
  kUnknown,  // terminfo does not have it
  kDumb,     // it cannot move its cursor or clear its screen
  kScreen,
};
TerminalKind KindOfTerminal(const std::string& type);

}  // namespace rescue::tui
