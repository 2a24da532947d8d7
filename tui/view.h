// What is on a screen, as data: made from the model by the screens, shown by draw.h on terminals
// and by line_mode.h line by line. Nothing here knows a terminal.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tui/text.h"

namespace rescue::tui {

// Everything that a key can do beside moving, typing and choosing.
enum class Action {
  kContinue,
  kBack,
  kHelp,
  kLog,
  kDetails,
  kRescan,
  kUndo,
  kSave,
  kLines,  // leave the full screen for line mode
  kPowerOff,
  kReboot,
  kQuit,
  kYes,
  kNo,
};

// A command that works now. Letters are free while no text field has the focus.
struct Command {
  Action action = Action::kContinue;
  char letter = 0;       // 0: none
  int function_key = 0;  // 0: none
  std::string label;     // empty: it works, but is not worth a place in the footer
};

struct Choice {
  std::string label;
  std::vector<Line> details;
  bool selectable = true;
  std::optional<bool> marked;  // a box that Space sets and clears; nothing: no box
};

struct Field {
  enum class Kind {
    kText,
    kToggle,   // yes or no
    kSecret,   // typed without any echo
    kConfirm,  // a word to be typed exactly
  };
  std::string label;
  Kind kind = Kind::kText;
  std::string value;  // always empty for kSecret
  bool on = false;    // of kToggle
  std::string note;   // what it is for
  std::string error;  // what is wrong with the value
};

struct Gauge {
  std::uint64_t done = 0;
  std::uint64_t total = 0;  // 0: not known
  std::string text;
};

struct View {
  std::string title;
  int step = 0;  // 0: no step of the way
  int steps = 0;
  std::vector<Line> body;
  int scroll = 0;       // first row of the wrapped body that is shown
  bool at_end = false;  // show the body's end instead (a log)
  std::optional<Gauge> gauge;
  std::vector<Line> notice;  // what just happened; above fields and choices
  // Fields come before choices; `focus` counts through both, -1: nothing can have it.
  std::vector<Field> fields;
  std::vector<Choice> choices;
  bool multiple = false;  // several choices can be marked
  int focus = -1;
  std::vector<Command> commands;
  bool boxed = false;  // in a frame of its own, over whatever was there
  // For line mode: what the answer is for.
  std::string question;

  int items() const { return static_cast<int>(fields.size() + choices.size()); }
  bool TypesText() const;  // the focus is on a field that takes letters
};

inline bool View::TypesText() const {
  return focus >= 0 && focus < static_cast<int>(fields.size()) &&
         fields[static_cast<std::size_t>(focus)].kind != Field::Kind::kToggle;
}

}  // namespace rescue::tui
