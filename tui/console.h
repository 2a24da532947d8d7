// One terminal line: its descriptor, what it can show, and the bytes on their way to it. Nothing
// here ever waits for the line.
#pragma once

#include <termios.h>

#include <memory>
#include <optional>
#include <string>

#include "rescue/base/secret_bytes.h"
#include "rescue/base/unique_fd.h"
#include "tui/keys.h"
#include "tui/line_mode.h"
#include "tui/terminal.h"

namespace rescue::tui {

struct ConsoleOptions {
  std::string path;         // empty: standard input and output
  std::string type;         // as in $TERM
  bool utf8 = false;        // known to be; a line that is asked for its size is asked for this, too
  bool ascii_only = false;  // we cannot write UTF-8, whatever the line takes
  bool colours = true;
  bool lines = false;  // line mode was asked for
};

class Console {
 public:
  explicit Console(ConsoleOptions options);
  ~Console();
  Console(const Console&) = delete;
  Console& operator=(const Console&) = delete;

  const std::string& name() const { return name_; }
  bool is_open() const { return static_cast<bool>(in_); }
  int in() const { return in_.get(); }
  int out() const { return out_.get(); }
  int columns() const { return size_.columns; }
  bool in_lines() const { return lines_; }
  bool is_terminal() const { return is_terminal_; }
  // A line of limited speed: fewer pictures a second.
  bool is_serial() const { return serial_; }
  bool is_busy() const { return sent_ < pending_.size(); }

  // Opens the line, or opens it again after a hangup. False when it is not there.
  bool Open();
  // The line is gone; what was on its way is forgotten.
  void HangUp();
  // Gives the terminal back as it was.
  void Restore();

  // Asks the line for its size, and takes it when the line's driver knows. True when it changed.
  bool CheckSize();
  // The answer of a terminal to "where is the cursor?". True when something was learned.
  bool HearCursor(int row, int column);
  void AskSize();

  // Leaves the full screen for line mode, or comes back.
  void SetLines(bool lines);
  // Terminals that are too small, and types that nobody knows, get line mode.
  bool CanShowScreen() const;
  // After a change of size: back to the screen when only its size was in the way.
  void FitFace();

  // `in_charge`: the model hears how much of the text is in sight.
  void ShowView(const View& view, Model* in_charge, bool everything);
  void Print(std::string_view text);
  void SetEcho(bool echo);
  // Sends what the line takes now. False when the line is gone.
  bool Flush();

  // What has been typed: in secret memory, because it may be one. Negative: the line is gone.
  ssize_t Read(SecretBytes& buffer) const;

  KeyDecoder keys;
  LineMode line_mode;
  SecretBytes line;  // typed in line mode, not yet ended
  std::size_t line_size = 0;
  // Read from a pipe, and not yet looked at: answers wait until they are asked for.
  SecretBytes held;
  std::size_t held_size = 0;
  std::size_t held_at = 0;
  bool asks_takeover = false;
  std::string mirror_shown;  // last mirror text in line mode

 private:
  void Raw();
  void Send(std::string bytes);

  ConsoleOptions options_;
  std::string name_;
  UniqueFd in_;
  UniqueFd out_;
  bool is_terminal_ = false;
  bool serial_ = false;
  bool lines_ = false;
  bool lines_by_size_ = false;
  bool echo_ = true;
  std::optional<termios> original_;
  Size size_;
  bool size_known_ = false;
  int asked_ = 0;  // answers that are still to come
  std::unique_ptr<Terminal> terminal_;
  std::string pending_;
  std::size_t sent_ = 0;
};

}  // namespace rescue::tui
