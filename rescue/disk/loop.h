// A loop device over an open file: image files as disks, and the store of a view.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>

#include "rescue/base/result.h"
#include "rescue/base/unique_fd.h"

namespace rescue::disk {

class LoopDevice {
 public:
  // Binds a free loop device to the file behind `file`, which may be closed afterwards. Errors:
  // kRefused "no-loop-device".
  static Result<LoopDevice> Attach(int file, bool read_only, const std::string& name);
  LoopDevice(LoopDevice&&) noexcept = default;
  LoopDevice& operator=(LoopDevice&&) noexcept = default;
  ~LoopDevice();

  const std::string& path() const { return path_; }
  dev_t device() const { return device_; }

  // Releases it and waits until the kernel has let go of the file.
  Status Detach();

 private:
  LoopDevice(UniqueFd fd, std::string path, dev_t device, int number)
      : fd_(std::move(fd)), path_(std::move(path)), device_(device), number_(number) {}

  UniqueFd fd_;  // open: the device stays bound
  std::string path_;
  dev_t device_ = 0;
  int number_ = -1;
};

// The loop device whose backing file this is ("/dev/loop3"), or "".
Result<std::string> LoopDeviceOver(dev_t file_system, ino_t inode);

}  // namespace rescue::disk
