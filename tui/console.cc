#include "tui/console.h"

#include <fcntl.h>
#include <sys/ioctl.h>

#include <cerrno>

#include "rescue/session/image_mark.h"
#include "tui/draw.h"
#include "tui/terminfo.h"

namespace rescue::tui {
namespace {

// In front of every screen.
const std::string& Product() {
  static const std::string product = [] {
    const std::string mark = session::ImageMark();
    return "etcd-rescue " RESCUE_VERSION + (mark.empty() ? "" : "  " + mark);
  }();
  return product;
}
// Cursor to the far corner, and where is it? The line drawing character before tells whether the
// terminal takes UTF-8: it is one column wide then, and three otherwise.
constexpr std::string_view kAsk = "\r\xe2\x94\x80\x1b[6n\r\x1b[K\x1b[999;999H\x1b[6n\x1b[H";
constexpr std::string_view kPasteOn = "\x1b[?2004h";
constexpr std::string_view kPasteOff = "\x1b[?2004l";

// As people call it: "ttyS0", "pts/3"; of a name outside /dev the last part.
std::string NameOf(const std::string& path) {
  constexpr std::string_view kDevices = "/dev/";
  if (path.empty()) return "this terminal";
  if (path.starts_with(kDevices)) return path.substr(kDevices.size());
  return path.substr(path.rfind('/') + 1);
}

bool IsSerial(const std::string& name) {
  for (const char* part : {"ttyS", "ttyAMA", "hvc", "ttyUSB", "xvc"}) {
    if (name.starts_with(part)) return true;
  }
  return false;
}

// Bracketed paste is xterm's; older terminals might show the sequence.
bool KnowsPaste(const std::string& type) {
  for (const char* family : {"xterm", "screen", "tmux", "rxvt", "alacritty", "foot"}) {
    if (type.starts_with(family)) return true;
  }
  return false;
}

}  // namespace

Console::Console(ConsoleOptions options) : options_(std::move(options)) {
  name_ = NameOf(options_.path);
  serial_ = IsSerial(name_);
}

Console::~Console() { Restore(); }

bool Console::Open() {
  if (options_.path.empty()) {
    in_ = UniqueFd(::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3));
    out_ = UniqueFd(::fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3));
  } else {
    in_ = UniqueFd(::open(options_.path.c_str(), O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC));
    if (!in_) return false;
    out_ = UniqueFd(::fcntl(in_.get(), F_DUPFD_CLOEXEC, 3));
  }
  if (!in_ || !out_) return false;
  is_terminal_ = ::isatty(in_.get()) == 1 && ::isatty(out_.get()) == 1;
  // A pipe or file belongs to others, too: its flags stay, and Flush() may wait for it.
  if (is_terminal_) {
    (void)::fcntl(in_.get(), F_SETFL, ::fcntl(in_.get(), F_GETFL) | O_NONBLOCK);
    (void)::fcntl(out_.get(), F_SETFL, ::fcntl(out_.get(), F_GETFL) | O_NONBLOCK);
    termios now{};
    if (::tcgetattr(in_.get(), &now) == 0 && !original_) original_ = now;
  }
  size_known_ = false;
  size_ = Size{};
  (void)CheckSize();
  const bool screen = is_terminal_ && KindOfTerminal(options_.type) == TerminalKind::kScreen;
  lines_ = options_.lines || !screen;
  Raw();
  if (!lines_ && !size_known_) AskSize();
  lines_by_size_ = !lines_ && !CanShowScreen();
  if (lines_by_size_) {
    lines_ = true;
    Raw();
  }
  return true;
}

void Console::HangUp() {
  terminal_.reset();
  in_ = UniqueFd();
  out_ = UniqueFd();
  pending_.clear();
  sent_ = 0;
  asked_ = 0;
  line_size = 0;
  asks_takeover = false;
  mirror_shown.clear();
  line_mode = LineMode();
}

void Console::Restore() {
  if (!is_open()) return;
  if (terminal_) {
    if (KnowsPaste(options_.type)) Send(std::string(kPasteOff));
    Send(terminal_->Close());
    terminal_.reset();
  }
  // What is left goes out if the line takes it; a dead line must not keep us.
  (void)Flush();
  if (is_terminal_) {
    if (original_) (void)::tcsetattr(in_.get(), TCSANOW, &*original_);
    // The descriptor may be shared with whoever started us.
    (void)::fcntl(in_.get(), F_SETFL, ::fcntl(in_.get(), F_GETFL) & ~O_NONBLOCK);
    (void)::fcntl(out_.get(), F_SETFL, ::fcntl(out_.get(), F_GETFL) & ~O_NONBLOCK);
  }
}

void Console::Raw() {
  if (!is_terminal_ || !original_) return;
  termios mode = *original_;
  mode.c_cflag |= CREAD;
  mode.c_iflag &= ~static_cast<tcflag_t>(ISTRIP | INLCR | IGNCR | PARMRK | IGNBRK | BRKINT);
  if (lines_) {
    mode.c_iflag |= ICRNL | IXON;
    mode.c_oflag |= OPOST | ONLCR;
    mode.c_lflag |= ICANON | ISIG | ECHO | ECHOE | ECHOK | IEXTEN;
    if (!echo_) mode.c_lflag &= ~static_cast<tcflag_t>(ECHO | ECHONL | ECHOE | ECHOK);
  } else {
    mode.c_iflag &= ~static_cast<tcflag_t>(ICRNL | IXON);
    mode.c_oflag &= ~static_cast<tcflag_t>(OPOST);
    mode.c_lflag &= ~static_cast<tcflag_t>(ICANON | ISIG | ECHO | ECHONL | IEXTEN);
    mode.c_cc[VMIN] = 1;
    mode.c_cc[VTIME] = 0;
  }
  (void)::tcsetattr(in_.get(), TCSANOW, &mode);
}

bool Console::CheckSize() {
  winsize window{};
  if (::ioctl(out_.get(), TIOCGWINSZ, &window) != 0 || window.ws_row == 0 || window.ws_col == 0) {
    return false;
  }
  size_known_ = true;
  const Size size{window.ws_row, window.ws_col};
  if (size == size_) return false;
  size_ = size;
  return true;
}

void Console::AskSize() {
  winsize window{};
  const bool driver_knows =
      ::ioctl(out_.get(), TIOCGWINSZ, &window) == 0 && window.ws_row > 0 && window.ws_col > 0;
  if (lines_ || driver_knows) return;
  asked_ = 2;
  Send(std::string(kAsk));
}

bool Console::HearCursor(int row, int column) {
  if (asked_ == 0) return false;
  --asked_;
  if (asked_ == 1) {
    options_.utf8 = column == 2;
    return true;
  }
  constexpr int kLargest = 500;
  if (row < 2 || column < 2 || row > kLargest || column > kLargest) return true;
  size_ = {row, column};
  return true;
}

bool Console::CanShowScreen() const {
  return size_.rows >= kSmallest.rows && size_.columns >= kSmallest.columns;
}

void Console::FitFace() {
  if (lines_by_size_ && CanShowScreen()) SetLines(false);
}

void Console::SetLines(bool lines) {
  if (lines == lines_) return;
  if (!lines && (!is_terminal_ || KindOfTerminal(options_.type) != TerminalKind::kScreen)) return;
  if (lines && terminal_) {
    if (KnowsPaste(options_.type)) Send(std::string(kPasteOff));
    Send(terminal_->Close() + "\r\n");
    terminal_.reset();
  }
  lines_ = lines;
  lines_by_size_ = false;
  line_mode = LineMode();
  mirror_shown.clear();
  (void)Flush();
  Raw();
}

void Console::ShowView(const View& view, Model* in_charge, bool everything) {
  if (!CanShowScreen() && !lines_) {
    SetLines(true);
    lines_by_size_ = true;
    return;
  }
  if (!terminal_) {
    auto opened = Terminal::Open(options_.type, size_, options_.colours);
    if (!opened) {
      SetLines(true);
      return;
    }
    terminal_ = *std::move(opened);
    everything = true;
    if (KnowsPaste(options_.type)) Send(std::string(kPasteOn));
  }
  Frame frame = Draw(view, size_, Product());
  if (!options_.utf8 || options_.ascii_only) frame.cells.MakeAscii();
  if (in_charge != nullptr) {
    in_charge->page = frame.page;
    in_charge->body_rows = frame.body_rows;
    in_charge->first_row = frame.first_row;
  }
  Send(terminal_->Show(frame.cells, everything));
}

void Console::Print(std::string_view text) {
  if (!text.empty()) Send(std::string(text));
}

void Console::SetEcho(bool echo) {
  if (echo == echo_) return;
  echo_ = echo;
  Raw();
}

void Console::Send(std::string bytes) {
  if (sent_ == pending_.size()) {
    pending_ = std::move(bytes);
    sent_ = 0;
  } else {
    pending_ += bytes;
  }
}

bool Console::Flush() {
  while (is_busy()) {
    const ssize_t put = ::write(out_.get(), pending_.data() + sent_, pending_.size() - sent_);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0 && errno == EAGAIN) return true;
    if (put <= 0) return false;
    sent_ += static_cast<std::size_t>(put);
  }
  return true;
}

ssize_t Console::Read(SecretBytes& buffer) const {
  const ssize_t got = ::read(in_.get(), buffer.Reveal().data(), buffer.size());
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
  return got <= 0 ? -1 : got;
}

}  // namespace rescue::tui
