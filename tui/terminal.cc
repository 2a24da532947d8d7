#include "tui/terminal.h"

// Functions, not macros, so that they can be named with their scope.
#define NCURSES_NOMACROS 1
#include <curses.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <vector>

#include "tui/terminfo.h"
#include "tui/theme.h"

namespace rescue::tui {
namespace {

struct CloseFile {
  void operator()(FILE* file) const { (void)std::fclose(file); }
};
using File = std::unique_ptr<FILE, CloseFile>;

struct FreeScreen {
  void operator()(SCREEN* screen) const { ::delscreen(screen); }
};

}  // namespace

struct Terminal::Parts {
  File out;  // memory
  File in;   // nothing
  std::unique_ptr<SCREEN, FreeScreen> screen;
  bool colours = false;
  bool open = true;
  Size size;
  std::map<std::pair<Colour, Colour>, short> pairs;
  std::string opening;  // bytes that ncurses wrote when it began

  std::string TakeBytes() const {
    const int fd = ::fileno(out.get());
    const off_t end = ::lseek(fd, 0, SEEK_END);
    std::string bytes(end > 0 ? static_cast<std::size_t>(end) : 0, '\0');
    // A file in memory gives all of it at once, and takes it back.
    if (::pread(fd, bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size()) ||
        ::ftruncate(fd, 0) != 0 || ::lseek(fd, 0, SEEK_SET) != 0) {
      bytes.clear();
    }
    return bytes;
  }

  short PairOf(const Look& look) {
    const auto [at, is_new] =
        pairs.try_emplace({look.front, look.back}, static_cast<short>(pairs.size() + 1));
    if (is_new) {
      ::init_pair(at->second, static_cast<short>(look.front), static_cast<short>(look.back));
    }
    return at->second;
  }

  void PutCell(int row, int column, const Cell& cell) {
    const Look look = LookOf(cell.style, colours);
    attr_t attributes = A_NORMAL;
    if (look.bold) attributes |= A_BOLD;
    if (look.reverse) attributes |= A_REVERSE;
    if (look.underline) attributes |= A_UNDERLINE;
    short pair = 0;
    if (look.front != Colour::kDefault || look.back != Colour::kDefault) pair = PairOf(look);
    const wchar_t text[] = {static_cast<wchar_t>(cell.glyph), L'\0'};
    cchar_t character;
    if (::setcchar(&character, text, attributes, pair, nullptr) == OK) {
      ::mvadd_wch(row, column, &character);
    }
  }
};

Terminal::Terminal(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
Terminal::~Terminal() { (void)Close(); }

Result<std::unique_ptr<Terminal>> Terminal::Open(const std::string& type, Size size, bool colours) {
  const auto unknown = [&](std::string_view reason) {
    return Fail(ErrorKind::kUsage, "unknown-terminal",
                fmt::format("use the full screen on terminal type '{}': {}", type, reason),
                "line mode works everywhere: --ui line");
  };
  switch (KindOfTerminal(type)) {
    case TerminalKind::kUnknown:
      return unknown("terminfo does not know it");
    case TerminalKind::kDumb:
      return unknown("it cannot move its cursor");
    case TerminalKind::kScreen:
      break;
  }
  auto parts = std::make_unique<Parts>();
  const int memory = ::memfd_create("etcd-rescue-terminal", MFD_CLOEXEC);
  if (memory < 0) return FailErrno("make", "a file in memory", errno);
  parts->out.reset(::fdopen(memory, "w+"));
  if (!parts->out) ::close(memory);
  parts->in.reset(std::fopen("/dev/null", "re"));
  if (!parts->out || !parts->in) return FailErrno("open", "/dev/null", errno);

  // The line is not ncurses': no waiting, and no size but the one it is told.
  ::setenv("NCURSES_NO_PADDING", "1", 1);
  ::setenv("LINES", std::to_string(size.rows).c_str(), 1);
  ::setenv("COLUMNS", std::to_string(size.columns).c_str(), 1);
  parts->screen.reset(::newterm(type.c_str(), parts->out.get(), parts->in.get()));
  if (!parts->screen) return unknown("ncurses does not take it");
  ::unsetenv("LINES");
  ::unsetenv("COLUMNS");
  ::set_term(parts->screen.get());
  ::nonl();
  parts->colours = colours && ::has_colors() && ::start_color() == OK && COLORS >= 8;
  if (parts->colours) (void)::use_default_colors();
  parts->size = size;
  parts->opening = parts->TakeBytes();
  return std::unique_ptr<Terminal>(new Terminal(std::move(parts)));
}

std::string Terminal::Show(const Cells& cells, bool everything) {
  ::set_term(parts_->screen.get());
  if (cells.size() != parts_->size) {
    parts_->size = cells.size();
    ::resizeterm(parts_->size.rows, parts_->size.columns);
    everything = true;
  }
  for (int row = 0; row < parts_->size.rows; ++row) {
    for (int column = 0; column < parts_->size.columns; ++column) {
      parts_->PutCell(row, column, cells.at(row, column));
    }
  }
  // Without the right to hide it, the cursor at least rests in a corner.
  (void)::curs_set(cells.cursor ? 1 : 0);
  if (cells.cursor) {
    ::move(cells.cursor->row, cells.cursor->column);
  } else {
    ::move(parts_->size.rows - 1, parts_->size.columns - 1);
  }
  if (everything) ::clearok(curscr, true);
  ::wnoutrefresh(stdscr);
  ::doupdate();
  return std::exchange(parts_->opening, {}) + parts_->TakeBytes();
}

std::string Terminal::Close() {
  if (!parts_->open) return {};
  parts_->open = false;
  ::set_term(parts_->screen.get());
  ::endwin();
  return parts_->TakeBytes();
}

}  // namespace rescue::tui
