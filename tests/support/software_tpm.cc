#include "tests/support/software_tpm.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cerrno>
#include <csignal>
#include <stdexcept>
#include <vector>

#include "rescue/base/unique_fd.h"

namespace rescue::testing {

void SoftwareTpm::PowerOn() {
  // swtpm writes its process ID when it listens, so that there is no need to try and wait; it takes
  // a FIFO for it, but no pipe.
  const std::string pid_file = (directory_.path() / "pid").string();
  (void)::unlink(pid_file.c_str());
  (void)::mkfifo(pid_file.c_str(), 0600);
  const UniqueFd ready(::open(pid_file.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  if (!ready) throw std::runtime_error("no FIFO " + pid_file);
  const std::string state = "dir=" + directory_.path().string();
  const std::string server = "type=unixio,path=" + path();
  const std::string pid = "file=" + pid_file;
  const std::string log = "file=" + (directory_.path() / "log").string();
  const std::vector<const char*> words = {
      "swtpm",        "socket",      "--tpm2",
      "--tpmstate",   state.c_str(), "--server",
      server.c_str(), "--flags",     "not-need-init,startup-clear",
      "--pid",        pid.c_str(),   "--log",
      log.c_str(),    nullptr};
  pid_ = ::fork();
  if (pid_ < 0) throw std::runtime_error("cannot fork");
  if (pid_ == 0) {
    (void)::prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)::execvp(words[0], const_cast<char* const*>(words.data()));
    ::_exit(127);
  }
  const UniqueFd process(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)));
  pollfd events[] = {{ready.get(), POLLIN, 0}, {process.get(), POLLIN, 0}};
  while (::poll(events, 2, -1) < 0 && errno == EINTR) {
  }
  if ((events[0].revents & POLLIN) != 0) return;
  PowerOff();
  throw std::runtime_error("swtpm does not start: is Debian's package swtpm installed?");
}

void SoftwareTpm::PowerOff() {
  if (pid_ <= 0) return;
  (void)::kill(pid_, SIGTERM);
  (void)::waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

}  // namespace rescue::testing
