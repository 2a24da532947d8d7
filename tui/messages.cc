#include "tui/messages.h"

#include <sys/klog.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

namespace rescue::tui {
namespace {

// syslog(2): the numbers have no names in a header.
constexpr int kConsoleOff = 6;
constexpr int kConsoleOn = 7;

// The appliance's service manager hands the log over open, because the service may not open it
// itself (systemd.service(5), OpenFile=; sd_listen_fds(3): the first descriptor is 3).
UniqueFd HandedOver() {
  const char* names = std::getenv("LISTEN_FDNAMES");
  const char* pid = std::getenv("LISTEN_PID");
  if (names == nullptr || pid == nullptr || std::string_view(names) != "kmsg" ||
      std::string_view(pid) != std::to_string(::getpid())) {
    return {};
  }
  UniqueFd kernel(::fcntl(3, F_DUPFD_CLOEXEC, 4));
  if (kernel) (void)::fcntl(kernel.get(), F_SETFL, O_NONBLOCK);
  return kernel;
}

}  // namespace

LogSource LogSource::Kernel() {
  UniqueFd kernel = HandedOver();
  if (!kernel) kernel = UniqueFd(::open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  if (!kernel || ::lseek(kernel.get(), 0, SEEK_END) < 0) return {};
  return {std::move(kernel), true};
}

void LogSource::Read(Model& model) {
  char buffer[4096];
  while (true) {
    const ssize_t got = ::read(fd_.get(), buffer, sizeof(buffer));
    // The kernel's log says EPIPE when records were overwritten before they were read.
    if (got < 0 && errno == EPIPE) continue;
    if (got <= 0) return;
    const std::string_view text(buffer, static_cast<std::size_t>(got));
    if (!kernel_) {
      TakeLines(text, model);
      continue;
    }
    // "priority,sequence,time,flags;message"; further lines are properties.
    const auto begin = text.find(';');
    const auto end = text.find('\n');
    if (begin < end && end != std::string_view::npos) {
      Log(model, "kernel: " + std::string(text.substr(begin + 1, end - begin - 1)));
    }
  }
}

void LogSource::TakeLines(std::string_view text, Model& model) {
  rest_ += text;
  while (true) {
    const auto end = rest_.find('\n');
    if (end == std::string::npos) return;
    Log(model, rest_.substr(0, end));
    rest_.erase(0, end + 1);
  }
}

Captured::Captured()
    : out_(::fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3)),
      error_(::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3)) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return;
  read_end_ = UniqueFd(ends[0]);
  const UniqueFd write_end(ends[1]);
  (void)::dup2(write_end.get(), STDOUT_FILENO);
  (void)::dup2(write_end.get(), STDERR_FILENO);
}

Captured::~Captured() {
  if (out_) (void)::dup2(out_.get(), STDOUT_FILENO);
  if (error_) (void)::dup2(error_.get(), STDERR_FILENO);
}

QuietKernel::QuietKernel(bool wanted) : wanted_(wanted) {
  if (wanted_) (void)::klogctl(kConsoleOff, nullptr, 0);
}

QuietKernel::~QuietKernel() {
  if (wanted_) (void)::klogctl(kConsoleOn, nullptr, 0);
}

}  // namespace rescue::tui
