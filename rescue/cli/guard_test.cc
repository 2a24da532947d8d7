#include "rescue/cli/guard.h"

#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <csignal>
#include <functional>

#include "rescue/base/unique_fd.h"
#include "rescue/cli/console.h"

namespace rescue::cli {
namespace {

constexpr uid_t kNobody = 65534;

// Runs in a process of its own; its exit status.
int InChild(const std::function<bool()>& check) {
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) ::_exit(check() ? 0 : 1);
  int status = -1;
  REQUIRE(::waitpid(child, &status, 0) == child);
  return status;
}

// Becomes an ordinary user, whose processes may usually look into each other.
bool BecomeNobody() {
  return ::setgid(kNobody) == 0 && ::setuid(kNobody) == 0 && ::prctl(PR_SET_DUMPABLE, 1) == 0;
}

// Whether one process of a user can look into another that has called `prepare`.
bool CanLookInto(const std::function<void()>& prepare) {
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  const UniqueFd ready(ends[0]);
  UniqueFd tell(ends[1]);
  const pid_t victim = ::fork();
  REQUIRE(victim >= 0);
  if (victim == 0) {
    if (!BecomeNobody()) ::_exit(1);
    // Yama allows only ancestors otherwise; it is not what is tried here.
    (void)::prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
    prepare();
    (void)!::write(tell.get(), "x", 1);
    while (true) (void)::pause();
  }
  tell = UniqueFd();
  char byte = 0;
  const bool started = ::read(ready.get(), &byte, 1) == 1;
  const int status = InChild([&] {
    return started && BecomeNobody() && ::ptrace(PTRACE_ATTACH, victim, nullptr, nullptr) == 0;
  });
  (void)::kill(victim, SIGKILL);
  (void)::waitpid(victim, nullptr, 0);
  REQUIRE(started);
  return status == 0;
}

TEST_CASE("AGuardedProcessLeavesNoCore") {
  CHECK(InChild([] {
          GuardSecrets();
          rlimit core{1, 1};
          return ::getrlimit(RLIMIT_CORE, &core) == 0 && core.rlim_cur == 0 && core.rlim_max == 0 &&
                 ::prctl(PR_GET_DUMPABLE) == 0;
        }) == 0);
}

TEST_CASE("AnotherProcessOfTheSameUserCannotLookIntoAGuardedOne") {
  if (::getuid() != 0) {
    // Two processes of an ordinary user are needed, and only root can make them here.
    WARN("needs root to try; only the flag was looked at");
    return;
  }
  CHECK(CanLookInto([] {}));
  CHECK_FALSE(CanLookInto(GuardSecrets));
}

TEST_CASE("AGuardedProcessMayLockAllThatTheSystemAllows") {
  CHECK(InChild([] {
          rlimit before{};
          if (::getrlimit(RLIMIT_MEMLOCK, &before) != 0) return false;
          const rlimit low{0, before.rlim_max};
          if (::setrlimit(RLIMIT_MEMLOCK, &low) != 0) return false;
          GuardSecrets();
          rlimit after{};
          return ::getrlimit(RLIMIT_MEMLOCK, &after) == 0 && after.rlim_cur == before.rlim_max;
        }) == 0);
}

TEST_CASE("SwapIsWorthAWarningOnlyWhenSomethingIsNotLocked") {
  constexpr std::string_view kNone = "Filename\t\t\t\tType\n";
  constexpr std::string_view kOne = "Filename\t\t\t\tType\n/dev/vdc partition 1 0 -2\n";
  CHECK(SwapWarnings(kNone, true).empty());
  CHECK(SwapWarnings(kOne, true).empty());
  CHECK(SwapWarnings(kNone, false).empty());
  CHECK(SwapWarnings(kOne, false).size() == 1);
}

TEST_CASE("NoSignalEndsAnApplyHalfway") {
  const pid_t child = ::fork();
  if (child == 0) {
    Console nowhere(-1);
    StageLines lines(nowhere);
    lines.Started(session::Stage::kRehearse);
    lines.Started(session::Stage::kApply);
    for (const int signal : {SIGHUP, SIGINT, SIGTERM}) (void)::kill(::getpid(), signal);
    ::_exit(42);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 42);
}

TEST_CASE("BeforeApplySignalsEndARunAtOnce") {
  const pid_t child = ::fork();
  if (child == 0) {
    Console nowhere(-1);
    StageLines lines(nowhere);
    lines.Started(session::Stage::kRehearse);
    (void)::signal(SIGTERM, SIG_DFL);  // not the test program's handler
    (void)::kill(::getpid(), SIGTERM);
    ::_exit(42);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(WIFSIGNALED(status));
}

}  // namespace
}  // namespace rescue::cli
