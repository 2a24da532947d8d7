#include "rescue/cli/guard.h"

#include <sys/prctl.h>
#include <sys/resource.h>

#include <algorithm>
#include <csignal>
#include <fstream>
#include <iterator>

#include "rescue/base/secret_bytes.h"

namespace rescue::cli {

void GuardSecrets() {
  const rlimit none{0, 0};
  (void)::setrlimit(RLIMIT_CORE, &none);
  (void)::prctl(PR_SET_DUMPABLE, 0);
  rlimit locked{};
  if (::getrlimit(RLIMIT_MEMLOCK, &locked) == 0) {
    locked.rlim_cur = locked.rlim_max;
    (void)::setrlimit(RLIMIT_MEMLOCK, &locked);
  }
}

void HoldEndingSignals() {
  sigset_t ending;
  ::sigemptyset(&ending);
  for (const int signal : {SIGHUP, SIGINT, SIGTERM}) ::sigaddset(&ending, signal);
  (void)::pthread_sigmask(SIG_BLOCK, &ending, nullptr);
}

std::vector<std::string> SwapWarnings(std::string_view swaps, bool all_locked) {
  // One line of headings, then one for each device.
  const auto lines = std::count(swaps.begin(), swaps.end(), '\n');
  if (all_locked || lines < 2) return {};
  return {
      "warning: secrets could not be locked in memory (RLIMIT_MEMLOCK) and swap is on: they may "
      "have reached the swap device; run this as root, or without swap"};
}

std::vector<std::string> SwapWarnings() {
  std::ifstream file("/proc/swaps");
  const std::string swaps{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  return SwapWarnings(swaps, SecretBytes::AllLocked());
}

}  // namespace rescue::cli
