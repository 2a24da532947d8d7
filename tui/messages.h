// What others have to say while the wizard has the terminals: the kernel, and libraries that print.
// It goes to the log screen, never on top of another.
#pragma once

#include <fcntl.h>

#include <string>

#include "rescue/base/unique_fd.h"
#include "tui/model.h"

namespace rescue::tui {

// Lines from a descriptor that others write to.
class LogSource {
 public:
  LogSource() = default;
  LogSource(UniqueFd fd, bool kernel) : fd_(std::move(fd)), kernel_(kernel) {}
  // The kernel's log from now on; without one, a source that is false.
  static LogSource Kernel();

  int fd() const { return fd_.get(); }
  explicit operator bool() const { return static_cast<bool>(fd_); }
  // Everything that is there.
  void Read(Model& model);

 private:
  void TakeLines(std::string_view text, Model& model);

  UniqueFd fd_;
  bool kernel_ = false;
  std::string rest_;
};

// While this lives, standard output and error go where ReadEnd() comes from.
class Captured {
 public:
  Captured();
  ~Captured();
  Captured(const Captured&) = delete;
  Captured& operator=(const Captured&) = delete;
  UniqueFd TakeReadEnd() { return std::move(read_end_); }

 private:
  UniqueFd out_;
  UniqueFd error_;
  UniqueFd read_end_;
};

// On a machine of our own the kernel stays silent on the consoles while this lives.
class QuietKernel {
 public:
  explicit QuietKernel(bool wanted);
  ~QuietKernel();
  QuietKernel(const QuietKernel&) = delete;
  QuietKernel& operator=(const QuietKernel&) = delete;

 private:
  bool wanted_;
};

}  // namespace rescue::tui
