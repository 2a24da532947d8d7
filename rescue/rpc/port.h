// Which line of the machine JSON-RPC is spoken on, and that line as descriptors.
#pragma once

#include <termios.h>

#include <optional>
#include <string>
#include <vector>

#include "rescue/base/result.h"
#include "rescue/base/secret_bytes.h"
#include "rescue/base/unique_fd.h"

namespace rescue::rpc {

// udev's name for a virtio-serial port that the host calls org.etcd-rescue.0.
inline constexpr const char* kVirtioPort = "/dev/virtio-ports/org.etcd-rescue.0";
// Credential, and word of the kernel command line (NAME=VALUE): "rpc", or "rpc:ttyS1".
inline constexpr const char* kConsoleWord = "etcd-rescue.console";

struct PortFacts {
  bool virtio = false;                    // kVirtioPort is there
  std::vector<std::string> serial_lines;  // with hardware behind them, in order: "/dev/ttyS0", ...
  std::string asked;                      // kConsoleWord's value; "": not asked
};

PortFacts LookForPorts();

// The virtio-serial port; else, because the machine's user asked for it, the second serial line, or
// the only one. A line that was named is taken. Errors: kUsage "bad-console", "no-port".
Result<std::string> ChoosePort(const PortFacts& facts);

// One open line, which nobody waits for.
class Line {
 public:
  // Standard input and output.
  Line();
  // A device; Open() opens it.
  explicit Line(std::string path) : path_(std::move(path)) {}
  ~Line();
  Line(const Line&) = delete;
  Line& operator=(const Line&) = delete;

  bool is_standard() const { return path_.empty(); }
  bool is_open() const { return path_.empty() || fd_; }
  bool is_terminal() const { return terminal_.has_value(); }
  int in() const { return path_.empty() ? STDIN_FILENO : fd_.get(); }
  int out() const { return path_.empty() ? STDOUT_FILENO : fd_.get(); }

  // Raw mode on a terminal: bytes pass as they are, without echo.
  Status Open();
  void Close();

  // Bytes read; 0: nothing now; nothing: the line is gone.
  std::optional<std::size_t> Read(SecretBytes& into) const;
  // Bytes taken, at most `bytes`; the same.
  std::optional<std::size_t> Write(std::string_view bytes) const;
  // Waits until a serial line has sent everything.
  void Drain() const;

 private:
  std::string path_;
  UniqueFd fd_;
  std::optional<termios> terminal_;  // as it was
};

}  // namespace rescue::rpc
