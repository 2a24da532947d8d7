// The appliance's power button, and a host that asks the guest to shut down. There is no
// systemd-logind in the image to do this. For the appliance only: on any other machine both
// commands refuse.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>

#include "rescue/base/result.h"

namespace rescue::cli {

struct ButtonOptions {
  // watch-buttons waits for a key; power-off acts at once (kernel.poweroff_cmd: Hyper-V, Xen).
  bool watch = false;
};

void DeclareButtons(CLI::App& app, ButtonOptions& options, const std::function<void()>& chosen);

// Whether an open input device (struct input_event, linux/input.h) has reported that a power key
// went down; reads what there is. Errors: the device is gone.
Result<bool> TookPowerKey(int device);

// Errors: kRefused "not-the-appliance" unless this os-release says IMAGE_ID=etcd-rescue.
Status CheckIsAppliance(const std::string& os_release = "/etc/os-release");

// The whole command; the exit code. Watching ends with the power-off.
int RunButtons(const ButtonOptions& options);

}  // namespace rescue::cli
