#include "rescue/rpc/port.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/serial.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <fstream>

namespace rescue::rpc {
namespace {

constexpr int kMostSerialLines = 8;
// A pipe that takes anything takes this much at once (PIPE_BUF), so that nothing here ever waits.
constexpr std::size_t kPiece = 4096;

// The driver makes /dev/ttyS0 to ttyS3 whether there is hardware or not.
bool HasHardware(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC));
  if (!fd) return false;
  serial_struct serial{};
  return ::ioctl(fd.get(), TIOCGSERIAL, &serial) == 0 && serial.type != PORT_UNKNOWN;
}

std::string FirstWord(const std::string& path) {
  std::ifstream file(path);
  std::string word;
  file >> word;
  return word;
}

std::string Asked() {
  if (const char* directory = std::getenv("CREDENTIALS_DIRECTORY")) {
    std::string word = FirstWord(std::string(directory) + "/" + kConsoleWord);
    if (!word.empty()) return word;
  }
  std::ifstream file("/proc/cmdline");
  const std::string name = std::string(kConsoleWord) + "=";
  std::string value;
  for (std::string word; file >> word;) {
    if (word.starts_with(name)) value = word.substr(name.size());
  }
  return value;
}

// What a call on the line came to.
std::optional<std::size_t> Moved(ssize_t result) {
  if (result > 0) return static_cast<std::size_t>(result);
  if (result < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
  return std::nullopt;
}

}  // namespace

PortFacts LookForPorts() {
  PortFacts facts;
  facts.virtio = ::access(kVirtioPort, R_OK | W_OK) == 0;
  for (int i = 0; i < kMostSerialLines; ++i) {
    std::string path = fmt::format("/dev/ttyS{}", i);
    if (HasHardware(path)) facts.serial_lines.push_back(std::move(path));
  }
  facts.asked = Asked();
  return facts;
}

Result<std::string> ChoosePort(const PortFacts& facts) {
  constexpr std::string_view kRpc = "rpc";
  constexpr std::string_view kNamed = "rpc:";
  const std::string_view asked = facts.asked;
  if (!asked.empty() && asked != kRpc && !asked.starts_with(kNamed)) {
    return Fail(ErrorKind::kUsage, "bad-console",
                fmt::format("take {} from {}: it is neither rpc nor rpc:DEVICE",
                            Printable(asked, 40), kConsoleWord),
                "write rpc, or rpc:ttyS1");
  }
  if (asked.starts_with(kNamed)) {
    const std::string_view name = asked.substr(kNamed.size());
    if (name.empty() || name.find('/') != std::string_view::npos || name[0] == '.') {
      return Fail(ErrorKind::kUsage, "bad-console",
                  fmt::format("take the line {}: it is no name below /dev", Printable(name, 40)),
                  "write rpc:ttyS1");
    }
    return "/dev/" + std::string(name);
  }
  if (facts.virtio) return std::string(kVirtioPort);
  if (asked == kRpc && !facts.serial_lines.empty()) {
    return facts.serial_lines[facts.serial_lines.size() > 1 ? 1 : 0];
  }
  return Fail(ErrorKind::kUsage, "no-port",
              asked == kRpc ? "find a line for JSON-RPC: the machine has no serial line"
                            : "find a line for JSON-RPC: there is no virtio-serial port "
                              "org.etcd-rescue.0, and no other line was asked for",
              "add the port to the machine, or name a line with --port");
}

Line::Line() = default;

Line::~Line() { Close(); }

Status Line::Open() {
  if (path_.empty()) return {};
  fd_ = UniqueFd(::open(path_.c_str(), O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC));
  if (!fd_) return FailErrno("open", path_, errno);
  termios now{};
  if (::tcgetattr(fd_.get(), &now) != 0) return {};
  terminal_ = now;
  ::cfmakeraw(&now);
  now.c_cflag |= CLOCAL | CREAD;
  // Only the line's own hardware knows whether there is flow control; none is switched off here.
  (void)::tcsetattr(fd_.get(), TCSANOW, &now);
  return {};
}

void Line::Close() {
  if (fd_ && terminal_) (void)::tcsetattr(fd_.get(), TCSANOW, &*terminal_);
  terminal_.reset();
  fd_ = UniqueFd();
}

std::optional<std::size_t> Line::Read(SecretBytes& into) const {
  return Moved(::read(in(), into.Reveal().data(), into.size()));
}

std::optional<std::size_t> Line::Write(std::string_view bytes) const {
  return Moved(::write(out(), bytes.data(), std::min(bytes.size(), kPiece)));
}

void Line::Drain() const {
  if (is_open()) (void)::tcdrain(out());
}

}  // namespace rescue::rpc
