#include "rescue/rpc/serve.h"

#include <poll.h>
#include <sys/signalfd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <utility>

#include "rescue/rpc/port.h"

namespace rescue::rpc {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

// So often a line on which nothing happens says that the program lives: a client that has just come
// cannot make itself known any other way than by answering.
constexpr milliseconds kBeat{5000};
// A virtio-serial port without a host, and a terminal that hung up, are asked so often whether
// somebody is there again: POLLHUP stays set, and its end is no event.
constexpr milliseconds kAbsent{250};
// After SIGTERM a line may take so long to swallow the final record.
constexpr milliseconds kLastWords{10000};
constexpr std::size_t kInput = std::size_t{64} * 1024;

// SIGTERM and SIGINT as a descriptor, while it lives; SIGPIPE and SIGHUP are nobody's business
// here.
class Signals {
 public:
  Signals() {
    sigset_t set;
    sigemptyset(&set);
    for (const int number : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&set, number);
    (void)::sigprocmask(SIG_BLOCK, &set, &before_);
    pipe_ = std::signal(SIGPIPE, SIG_IGN);
    fd_ = UniqueFd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  }
  ~Signals() {
    (void)std::signal(SIGPIPE, pipe_);
    (void)::sigprocmask(SIG_SETMASK, &before_, nullptr);
  }
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;

  int fd() const { return fd_.get(); }
  bool SayEnd() const {
    signalfd_siginfo info{};
    bool end = false;
    while (::read(fd_.get(), &info, sizeof(info)) == static_cast<ssize_t>(sizeof(info))) {
      end = end || info.ssi_signo != SIGHUP;
    }
    return end;
  }

 private:
  sigset_t before_{};
  void (*pipe_)(int) = SIG_DFL;
  UniqueFd fd_;
};

class Server {
 public:
  explicit Server(ServeOptions options) : line_(options.port), service_(std::move(options.help)) {}

  Result<int> Run() {
    RETURN_IF_ERROR(line_.Open());
    service_.Greet();
    while (!IsOver()) Turn();
    service_.End(ended_by_signal_ ? "the program was told to end" : "the line was closed");
    SayLastWords();
    session::CarryOut(service_.wanted_end());
    return service_.exit_code();
  }

 private:
  bool IsOver() {
    if (ended_by_signal_) return true;
    if (service_.is_running()) return false;
    // The machine goes off when the final record has left it.
    if (service_.wanted_end() != session::AtEnd::kWait) return service_.outbox().empty();
    return input_ended_ || output_gone_;
  }

  void SayLastWords() {
    const auto until = Clock::now() + kLastWords;
    while (!service_.outbox().empty() && !output_gone_ && Clock::now() < until) {
      if (absent_ || !line_.is_open()) break;
      pollfd fd{line_.out(), POLLOUT, 0};
      (void)::poll(&fd, 1, static_cast<int>(kAbsent.count()));
      if ((fd.revents & (POLLHUP | POLLERR | POLLNVAL)) != 0 && (fd.revents & POLLOUT) == 0) break;
      if (fd.revents != 0) Send();
    }
    line_.Drain();
  }

  int Timeout() const {
    if (line_.is_standard()) return -1;
    if (absent_ || !line_.is_open()) return static_cast<int>(kAbsent.count());
    const auto left = std::chrono::duration_cast<milliseconds>(heard_ + kBeat - Clock::now());
    return static_cast<int>(std::max<long>(0, left.count()));
  }

  void Turn() {
    if (absent_ || !line_.is_open()) LookForLine();
    const bool there = line_.is_open() && !absent_;
    const bool reads = there && !input_ended_ && !service_.outbox().is_full();
    const bool sends = there && !output_gone_ && !service_.outbox().empty();
    std::array<pollfd, 4> fds = {
        {{signals_.fd(), POLLIN, 0},
         {service_.fd(), POLLIN, 0},
         {there && !input_ended_ ? line_.in() : -1, static_cast<short>(reads ? POLLIN : 0), 0},
         {sends ? line_.out() : -1, POLLOUT, 0}}};
    (void)::poll(fds.data(), fds.size(), Timeout());
    if (fds[0].revents != 0) ended_by_signal_ = signals_.SayEnd();
    if (fds[1].revents != 0) service_.Collect();
    if (fds[3].revents != 0) Send();
    if (fds[2].revents != 0) Receive(fds[2].revents);
    if (there && !line_.is_standard() && Clock::now() >= heard_ + kBeat) {
      heard_ = Clock::now();
      service_.Beat();
    }
  }

  void Receive(short revents) {
    // What was sent before the line was given up is still heard.
    if ((revents & POLLIN) != 0) {
      const auto count = line_.Read(input_);
      if (!count) return Lost();
      heard_ = Clock::now();
      reader_.Feed(std::as_const(input_).Reveal().first(*count),
                   [this](Record record) { service_.Hear(std::move(record)); });
      Wipe(input_.Reveal().first(*count));
    } else if ((revents & (POLLHUP | POLLERR | POLLNVAL)) != 0) {
      Lost();
    }
  }

  void Send() {
    auto& outbox = service_.outbox();
    while (!outbox.empty()) {
      const auto count = line_.Write(outbox.Front());
      if (!count) {
        if (line_.is_standard()) output_gone_ = true;
        return Lost();
      }
      if (*count == 0) return;
      outbox.Sent(*count);
      heard_ = Clock::now();
      // A pipe is asked again whether it takes more.
      if (line_.is_standard()) return;
    }
  }

  // The session stays: whoever comes next finds the work, and the last final record.
  void Lost() {
    if (line_.is_standard()) {
      input_ended_ = true;
      return;
    }
    reader_.Reset();
    service_.outbox().Rewind();
    next_try_ = Clock::now() + kAbsent;
    if (line_.is_terminal()) {
      line_.Close();
    } else {
      absent_ = true;
    }
  }

  void LookForLine() {
    if (Clock::now() < next_try_) return;
    next_try_ = Clock::now() + kAbsent;
    if (absent_) {
      pollfd fd{line_.in(), POLLIN, 0};
      (void)::poll(&fd, 1, 0);
      if ((fd.revents & (POLLHUP | POLLERR | POLLNVAL)) != 0) return;
      absent_ = false;
    } else if (!line_.Open()) {
      return;
    }
    heard_ = Clock::now();
    service_.Greet();
  }

  Signals signals_;
  Line line_;
  Service service_;
  RecordReader reader_;
  SecretBytes input_{kInput};
  Clock::time_point heard_ = Clock::now();  // or said: when the line was last used
  Clock::time_point next_try_;              // to find a lost line again
  bool absent_ = false;                     // open, but nobody is at its other end
  bool input_ended_ = false;
  bool output_gone_ = false;
  bool ended_by_signal_ = false;
};

}  // namespace

Result<int> Serve(ServeOptions options) { return Server(std::move(options)).Run(); }

}  // namespace rescue::rpc
