// What a process does before a secret comes into its memory.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace rescue::cli {

// No core file, no other process of the same user looking in (ptrace, /proc/PID/mem), and as much
// memory that may be locked as the system allows.
void GuardSecrets();

// From here on SIGHUP, SIGINT and SIGTERM wait until the process ends by itself: called before the
// first byte is written, so that a power button or Ctrl-C cannot end an apply halfway.
void HoldEndingSignals();

// One line when secrets may have reached a swap device: some could not be locked, and swap is on.
// `swaps` is the content of /proc/swaps.
std::vector<std::string> SwapWarnings(std::string_view swaps, bool all_locked);
std::vector<std::string> SwapWarnings();

}  // namespace rescue::cli
