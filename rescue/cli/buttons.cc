#include "rescue/cli/buttons.h"

#include <fcntl.h>
#include <linux/input.h>
#include <poll.h>
#include <sys/ioctl.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <vector>

#include "rescue/base/unique_fd.h"
#include "rescue/cli/console.h"
#include "rescue/session/report.h"

namespace rescue::cli {
namespace {

// systemd(1): this starts poweroff.target, which ends the services in order.
Status AskForPowerOff() {
  if (::kill(1, SIGRTMIN + 4) != 0) return FailErrno("ask for power-off", "PID 1", errno);
  return {};
}

bool HasPowerKey(int device) {
  std::array<unsigned char, KEY_MAX / 8 + 1> keys{};
  if (::ioctl(device, EVIOCGBIT(EV_KEY, keys.size()), keys.data()) < 0) return false;
  return (keys[KEY_POWER / 8] >> (KEY_POWER % 8) & 1) != 0;
}

// ACPI's button and keyboards with a power key; they are there since the start.
std::vector<UniqueFd> OpenPowerKeys() {
  std::vector<UniqueFd> devices;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/dev/input", error)) {
    if (!entry.path().filename().string().starts_with("event")) continue;
    UniqueFd device(::open(entry.path().c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
    if (device && HasPowerKey(device.get())) devices.push_back(std::move(device));
  }
  return devices;
}

Status WatchButtons() {
  const auto devices = OpenPowerKeys();
  std::vector<pollfd> entries;
  entries.reserve(devices.size());
  for (const auto& device : devices) entries.push_back({device.get(), POLLIN, 0});
  while (true) {
    if (::poll(entries.data(), entries.size(), -1) < 0 && errno != EINTR) {
      return FailErrno("watch", "the power button", errno);
    }
    for (auto& entry : entries) {
      if (entry.revents == 0) continue;
      const auto pressed = TookPowerKey(entry.fd);
      // poll() passes over negative descriptors.
      if (!pressed) entry.fd = -1;
      if (pressed && *pressed) return AskForPowerOff();
    }
  }
}

Status Carry(const ButtonOptions& options) {
  RETURN_IF_ERROR(CheckIsAppliance());
  return options.watch ? WatchButtons() : AskForPowerOff();
}

}  // namespace

void DeclareButtons(CLI::App& app, ButtonOptions& options, const std::function<void()>& chosen) {
  // The appliance's own; nobody types them, so no help lists them.
  auto* watch = app.add_subcommand("watch-buttons", "power off when the power button is pressed");
  watch->group("");
  watch->callback([&options, chosen] {
    options.watch = true;
    chosen();
  });
  auto* off = app.add_subcommand("power-off", "power the appliance off");
  off->group("");
  off->callback(chosen);
}

Result<bool> TookPowerKey(int device) {
  bool pressed = false;
  while (true) {
    input_event event{};
    const ssize_t got = ::read(device, &event, sizeof(event));
    if (got < 0 && errno == EAGAIN) return pressed;
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return FailErrno("read", "an input device", errno);
    if (got != sizeof(event)) {
      return Fail(ErrorKind::kOther, "io", "read an input device: it has ended");
    }
    pressed = pressed || (event.type == EV_KEY && event.code == KEY_POWER && event.value == 1);
  }
}

Status CheckIsAppliance(const std::string& os_release) {
  std::ifstream file(os_release);
  std::string line;
  while (std::getline(file, line)) {
    if (line == "IMAGE_ID=etcd-rescue" || line == "IMAGE_ID=\"etcd-rescue\"") return {};
  }
  return Fail(ErrorKind::kRefused, "not-the-appliance",
              "watch the power button: this machine is not the appliance",
              "on any other machine use its own systemctl poweroff");
}

int RunButtons(const ButtonOptions& options) {
  const Status status = Carry(options);
  if (status) return 0;
  Console(STDERR_FILENO).Lines(session::ToText(status.error()));
  return static_cast<int>(status.error().kind);
}

}  // namespace rescue::cli
