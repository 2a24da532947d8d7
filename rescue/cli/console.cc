#include "rescue/cli/console.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <termios.h>

#include <cerrno>

#include "rescue/base/units.h"
#include "rescue/cli/guard.h"

namespace rescue::cli {
namespace {

// A terminal that somebody has stopped (Ctrl-S, a line without reader) may hold up a rescue so
// long.
constexpr int kPatienceMilliseconds = 1000;

bool Waits(int fd) {
  pollfd ready{fd, POLLOUT, 0};
  return ::poll(&ready, 1, kPatienceMilliseconds) == 1 && (ready.revents & POLLOUT) != 0;
}

void WriteAll(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t put = ::write(fd, text.data(), text.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0 && errno == EAGAIN && Waits(fd)) continue;
    // A terminal that went away must not end a rescue.
    if (put <= 0) return;
    text.remove_prefix(static_cast<std::size_t>(put));
  }
}

}  // namespace

void Console::Add(const std::string& device) {
  UniqueFd fd(::open(device.c_str(), O_WRONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC));
  if (fd) further_.push_back(std::move(fd));
}

void Console::Line(std::string_view text) {
  const std::string line = std::string(text) + "\n";
  WriteAll(primary_, line);
  for (const auto& fd : further_) WriteAll(fd.get(), line);
}

void Console::Lines(const std::vector<std::string>& lines, std::string_view indent) {
  for (const auto& line : lines) Line(line.empty() ? line : std::string(indent) + line);
}

void Console::Drain() {
  for (const auto& fd : further_) (void)::tcdrain(fd.get());
}

void StageLines::Started(session::Stage stage) {
  if (stage == session::Stage::kApply) HoldEndingSignals();
}

void StageLines::Ended(const session::StageTime& stage) {
  console_.Line(fmt::format("{:<9} {:<6} {:>7.2f} s  {}", session::Name(stage.stage),
                            stage.ok ? "ok" : "FAILED",
                            std::chrono::duration<double>(stage.took).count(), stage.text));
}

void StageLines::Working(session::Stage stage, const session::Work& work) {
  const auto now = std::chrono::steady_clock::now();
  if (now - told_ < std::chrono::seconds(5)) return;
  told_ = now;
  std::string line = fmt::format("{:<9} {}: {} of {}", session::Name(stage), work.object,
                                 FormatSize(work.done), FormatSize(work.total));
  if (work.rate > 0) line += fmt::format(", {} a second", FormatSize(work.rate));
  if (work.left) line += fmt::format(", {} s left", work.left->count());
  console_.Line(line);
}

}  // namespace rescue::cli
