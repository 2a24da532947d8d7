#include "tui/terminfo.h"

#include <fcntl.h>

#define NCURSES_NOMACROS 1
#include <curses.h>
#include <term.h>

#include <cstdint>

#include "rescue/base/unique_fd.h"

namespace rescue::tui {

TerminalKind KindOfTerminal(const std::string& type) {
  // Terminfo wants a descriptor to ask for its speed; any will do.
  const UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  // Asking replaces what the screens of other terminals stand on; it is put back behind us.
  TERMINAL* const before = ::set_curterm(nullptr);
  int state = 0;
  if (type.empty() || ::setupterm(type.c_str(), null.get(), &state) != OK) {
    (void)::set_curterm(before);
    return TerminalKind::kUnknown;
  }
  // (char*)-1 stands for a capability that is no string at all.
  const auto has = [](const char* name) {
    const auto value = reinterpret_cast<std::intptr_t>(::tigetstr(name));
    return value != 0 && value != -1;
  };
  const bool moves = has("cup") && has("clear");
  ::del_curterm(cur_term);
  (void)::set_curterm(before);
  return moves ? TerminalKind::kScreen : TerminalKind::kDumb;
}

}  // namespace rescue::tui
