#include "rescue/secret/prompt.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <termios.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <memory>
#include <optional>

#include "rescue/base/bytes.h"
#include "rescue/base/unique_fd.h"

namespace rescue::secret {
namespace {

// Terminals that know bracketed paste put these around what is pasted; others ignore the request.
constexpr std::string_view kAskForBrackets = "\x1b[?2004h";
constexpr std::string_view kNoMoreBrackets = "\x1b[?2004l";
constexpr std::string_view kPasteStarts = "\x1b[200~";
constexpr std::string_view kPasteEnds = "\x1b[201~";

constexpr std::size_t kMostTerminals = 8;
constexpr std::array kEndingSignals = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGPIPE, SIGALRM, SIGTSTP};

void Say(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t put = ::write(fd, text.data(), text.size());
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) return;
    text.remove_prefix(static_cast<std::size_t>(put));
  }
}

// -- terminals without echo, also as seen by a signal handler
// ---------------------------------------

struct Silenced {
  int fd = -1;
  termios before{};
  termios silent{};
};

// Plain memory, because a signal handler reads it. Only one question is asked at a time.
struct {
  std::array<Silenced, kMostTerminals> terminals;
  volatile std::sig_atomic_t count = 0;
  std::array<struct sigaction, kEndingSignals.size()> handlers;
} g_asking;

void RestoreAll() {
  for (int i = 0; i < g_asking.count; ++i) {
    const Silenced& one = g_asking.terminals[static_cast<std::size_t>(i)];
    Say(one.fd, kNoMoreBrackets);
    (void)::tcsetattr(one.fd, TCSANOW, &one.before);
  }
}

void SilenceAll() {
  for (int i = 0; i < g_asking.count; ++i) {
    const Silenced& one = g_asking.terminals[static_cast<std::size_t>(i)];
    (void)::tcsetattr(one.fd, TCSANOW, &one.silent);
    Say(one.fd, kAskForBrackets);
  }
}

// Only calls that a handler may make (signal-safety(7)).
void OnSignal(int signal) {
  const int saved = errno;
  RestoreAll();
  if (signal == SIGTSTP) {
    (void)::raise(SIGSTOP);
    SilenceAll();
  } else {
    for (std::size_t i = 0; i < kEndingSignals.size(); ++i) {
      if (kEndingSignals[i] == signal) (void)::sigaction(signal, &g_asking.handlers[i], nullptr);
    }
    (void)::raise(signal);  // arrives when this handler returns
  }
  errno = saved;
}

// Echo is off while it lives.
class Silence {
 public:
  explicit Silence(const std::vector<UniqueFd>& terminals) {
    int count = 0;
    for (const auto& fd : terminals) {
      Silenced& one = g_asking.terminals[static_cast<std::size_t>(count)];
      if (::tcgetattr(fd.get(), &one.before) != 0) continue;
      one.fd = fd.get();
      one.silent = one.before;
      one.silent.c_lflag &= ~static_cast<tcflag_t>(ECHO | ECHOE | ECHOK | ECHONL);
      one.silent.c_lflag |= ICANON | ISIG;
      one.silent.c_iflag |= ICRNL;
      ++count;
    }
    g_asking.count = count;
    struct sigaction action {};
    action.sa_handler = OnSignal;
    (void)::sigemptyset(&action.sa_mask);
    for (std::size_t i = 0; i < kEndingSignals.size(); ++i) {
      (void)::sigaction(kEndingSignals[i], nullptr, &g_asking.handlers[i]);
      // What the caller ignores stays ignored.
      if (g_asking.handlers[i].sa_handler == SIG_IGN) continue;
      (void)::sigaction(kEndingSignals[i], &action, nullptr);
    }
    // What was typed before nobody asked is not an answer.
    for (int i = 0; i < count; ++i) {
      (void)::tcflush(g_asking.terminals[static_cast<std::size_t>(i)].fd, TCIFLUSH);
    }
    SilenceAll();
  }
  Silence(const Silence&) = delete;
  Silence& operator=(const Silence&) = delete;
  ~Silence() {
    // What is left of the answer must not become a command line.
    for (int i = 0; i < g_asking.count; ++i) {
      (void)::tcflush(g_asking.terminals[static_cast<std::size_t>(i)].fd, TCIFLUSH);
    }
    RestoreAll();
    g_asking.count = 0;
    for (std::size_t i = 0; i < kEndingSignals.size(); ++i) {
      (void)::sigaction(kEndingSignals[i], &g_asking.handlers[i], nullptr);
    }
  }
};

// -- one terminal's answer
// ---------------------------------------------------------------------------

class Answer {
 public:
  explicit Answer(AnswerForm form) : form_(form), text_(kMaxAnswer + 1) {}

  enum class State { kMore, kMaybeComplete, kComplete, kTooLong };

  // Reads what the terminal has, which is at most one line.
  State Read(int fd) {
    const auto into = text_.Reveal().subspan(size_);
    if (into.empty()) return State::kTooLong;
    const ssize_t got = ::read(fd, into.data(), into.size());
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) return State::kMore;
    // Ctrl-D at the start of a line, or a terminal that went away.
    if (got <= 0) return State::kComplete;
    const std::size_t from = size_ < kPasteEnds.size() ? 0 : size_ - kPasteEnds.size();
    size_ += static_cast<std::size_t>(got);
    DropBrackets(from);
    return Judge();
  }

  SecretBytes Take() {
    const ByteView text = std::as_const(text_).Reveal().first(size_);
    while (size_ > 0 &&
           (text[size_ - 1] == std::byte{'\n'} || text[size_ - 1] == std::byte{'\r'})) {
      --size_;
    }
    text_.Shrink(size_);
    return std::move(text_);
  }

 private:
  // Removes paste brackets that start at or after `from`, and remembers the last one.
  void DropBrackets(std::size_t from) {
    while (true) {
      const auto text = AsText(std::as_const(text_).Reveal().first(size_));
      const std::size_t starts = text.find(kPasteStarts, from);
      const std::size_t ends = text.find(kPasteEnds, from);
      const std::size_t at = std::min(starts, ends);
      if (at == std::string_view::npos) return;
      pasting_ = at == starts;
      const auto bytes = text_.Reveal().first(size_);
      std::copy(bytes.begin() + static_cast<std::ptrdiff_t>(at + kPasteStarts.size()), bytes.end(),
                bytes.begin() + static_cast<std::ptrdiff_t>(at));
      size_ -= kPasteStarts.size();
      Wipe(bytes.subspan(size_));
      from = at;
    }
  }

  State Judge() const {
    const auto text = AsText(text_.Reveal().first(size_));
    // Without a line break at its end it was ended by Ctrl-D.
    const bool line_ended = text.ends_with('\n');
    if (size_ > kMaxAnswer) return State::kTooLong;
    if (form_ == AnswerForm::kLine)
      return pasting_ && !line_ended ? State::kMore : State::kComplete;
    if (pasting_) return State::kMore;
    if (!line_ended) return State::kComplete;
    const std::size_t first = text.find_first_not_of(" \t\r\n");
    if (first == std::string_view::npos) return State::kMaybeComplete;
    if (text[first] == '{' && text.find('}') == std::string_view::npos) return State::kMore;
    return State::kMaybeComplete;
  }

  AnswerForm form_;
  SecretBytes text_;
  std::size_t size_ = 0;
  bool pasting_ = false;
};

std::vector<UniqueFd> OpenTerminals(const std::vector<std::string>& devices) {
  std::vector<UniqueFd> terminals;
  for (const auto& device : devices) {
    UniqueFd fd(::open(device.c_str(), O_RDWR | O_NOCTTY | O_CLOEXEC));
    termios settings{};
    // A serial line that the machine does not have opens, but has no settings.
    if (!fd || ::tcgetattr(fd.get(), &settings) != 0) continue;
    if (terminals.size() < kMostTerminals) terminals.push_back(std::move(fd));
  }
  return terminals;
}

tl::unexpected<Error> NoAnswer(std::string_view why, std::string code = "no-secret") {
  return Fail(ErrorKind::kCannotUnlock, std::move(code),
              fmt::format("read what was typed: {}", why),
              "start again and type or paste it, or name a file with --secret");
}

// Waits for one of the terminals; the index of the first that has something, or nothing in time.
std::optional<std::size_t> WaitForInput(const std::vector<UniqueFd>& terminals, int timeout) {
  std::vector<pollfd> events;
  events.reserve(terminals.size());
  for (const auto& fd : terminals) events.push_back({fd.get(), POLLIN, 0});
  while (true) {
    const int ready = ::poll(events.data(), events.size(), timeout);
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) return std::nullopt;
    for (std::size_t i = 0; i < events.size(); ++i) {
      if (events[i].revents != 0) return i;
    }
  }
}

}  // namespace

Result<SecretBytes> AskOnTerminals(const std::vector<std::string>& devices,
                                   std::string_view question, AnswerForm form) {
  const auto terminals = OpenTerminals(devices);
  if (terminals.empty()) return NoAnswer("there is no terminal to ask on", "no-terminal");
  const Silence silence(terminals);
  for (const auto& fd : terminals) Say(fd.get(), question);
  std::vector<Answer> answers;
  answers.reserve(terminals.size());
  for (std::size_t i = 0; i < terminals.size(); ++i) answers.emplace_back(form);
  std::optional<std::size_t> maybe;  // complete, unless more follows at once
  while (true) {
    const auto at = WaitForInput(terminals, maybe ? kQuietMilliseconds : -1);
    if (!at && !maybe) return NoAnswer("the terminal went away");
    const std::size_t which = at ? *at : *maybe;
    const auto state = at ? answers[which].Read(terminals[which].get()) : Answer::State::kComplete;
    if (state == Answer::State::kTooLong) {
      return NoAnswer(fmt::format("it is longer than {} bytes", kMaxAnswer), "bad-secret");
    }
    if (state == Answer::State::kComplete) {
      SecretBytes text = answers[which].Take();
      for (const auto& fd : terminals) {
        Say(fd.get(), fmt::format("\r\n({} characters read)\r\n", text.size()));
      }
      if (text.empty()) return NoAnswer("nothing");
      return text;
    }
    maybe = state == Answer::State::kMaybeComplete ? std::optional(which) : std::nullopt;
  }
}

}  // namespace rescue::secret
