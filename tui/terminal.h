// ncurses, asked for bytes: it knows what a terminal needs to turn one screen into the next, and
// writes that into memory. Whoever owns the line sends it on, so that a slow or dead line never
// stops anything, and several terminals live side by side.
//
// ncurses' own forms, menus and panels are not used: screens are drawn as cells (draw.h), the same
// ones that the tests compare, and keys go to the model. Its input is not used either, because it
// would keep typed secrets in buffers that nobody wipes.
#pragma once

#include <memory>
#include <string>

#include "rescue/base/result.h"
#include "tui/cells.h"

namespace rescue::tui {

class Terminal {
 public:
  // `type` as in $TERM. Errors: kUsage "unknown-terminal", for one that terminfo does not know or
  // that cannot move its cursor; line mode works there.
  static Result<std::unique_ptr<Terminal>> Open(const std::string& type, Size size, bool colours);
  ~Terminal();
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  // The bytes that make the terminal show `cells`; `everything`: whatever it shows now. The size
  // may differ from the last one's.
  std::string Show(const Cells& cells, bool everything);
  // The bytes that give the terminal back as it was.
  std::string Close();

 private:
  struct Parts;
  explicit Terminal(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace rescue::tui
