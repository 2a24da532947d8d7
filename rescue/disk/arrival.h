// Disks that come late: clouds attach them while the machine starts, controllers take their time.
#pragma once

#include <chrono>
#include <string>

#include "rescue/base/unique_fd.h"

namespace rescue::disk {

// Sees every disk that udev has finished with since this was made: udevd keeps one file for each
// device, "b<major>:<minor>" for block devices, and renames it into place when its rules have run
// (systemd, src/libsystemd/sd-device/device-private.c, device_update_db). Files instead of
// netlink, because the service that looks for disks has no sockets.
class DiskArrivals {
 public:
  // On a machine without udev nothing ever arrives.
  explicit DiskArrivals(const std::string& udev_data = "/run/udev/data");

  // True once a disk has arrived or changed since the last call; false at the deadline.
  bool WaitUntil(std::chrono::steady_clock::time_point deadline);

 private:
  UniqueFd watch_;
};

// Until there is a file of this name in a directory that is there already; false at the deadline.
bool WaitForFile(const std::string& path, std::chrono::steady_clock::time_point deadline);

}  // namespace rescue::disk
