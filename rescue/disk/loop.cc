#include "rescue/disk/loop.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <thread>

namespace rescue::disk {
namespace {

constexpr int kAttempts = 64;  // another process may take the free device first
constexpr auto kDetachLimit = std::chrono::seconds(5);
constexpr auto kDetachPause = std::chrono::milliseconds(10);

tl::unexpected<Error> NoLoop(const std::string& name, std::string_view step) {
  return Fail(ErrorKind::kRefused, "no-loop-device",
              fmt::format("open {} as a loop device: {}: {}", name, step, std::strerror(errno)),
              "run as root with the kernel's loop driver (modprobe loop)");
}

bool IsBound(int number) {
  return std::filesystem::exists(fmt::format("/sys/block/loop{}/loop/backing_file", number));
}

}  // namespace

Result<LoopDevice> LoopDevice::Attach(int file, bool read_only, const std::string& name) {
  const UniqueFd control(::open("/dev/loop-control", O_RDWR | O_CLOEXEC));
  if (!control) return NoLoop(name, "open /dev/loop-control");
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    const int number = ::ioctl(control.get(), LOOP_CTL_GET_FREE);
    if (number < 0) return NoLoop(name, "ask for a free device");
    const std::string path = fmt::format("/dev/loop{}", number);
    UniqueFd fd(::open(path.c_str(), (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC));
    if (!fd) return NoLoop(name, "open " + path);
    loop_config config{};
    config.fd = static_cast<std::uint32_t>(file);
    // AUTOCLEAR: gone with the last user, also when this process is killed.
    config.info.lo_flags = LO_FLAGS_AUTOCLEAR;
    if (read_only) config.info.lo_flags |= LO_FLAGS_READ_ONLY;
    if (::ioctl(fd.get(), LOOP_CONFIGURE, &config) != 0) {
      if (errno == EBUSY) continue;
      return NoLoop(name, "bind " + path);
    }
    struct stat st {};
    if (::fstat(fd.get(), &st) != 0) return NoLoop(name, "stat " + path);
    return LoopDevice(std::move(fd), path, st.st_rdev, number);
  }
  return NoLoop(name, "find a free device");
}

LoopDevice::~LoopDevice() = default;

Status LoopDevice::Detach() {
  if (!fd_) return {};
  fd_ = UniqueFd();
  // The kernel announces the end of an autoclear only by uevent, which needs udev; so look.
  const auto deadline = std::chrono::steady_clock::now() + kDetachLimit;
  while (IsBound(number_)) {
    if (std::chrono::steady_clock::now() > deadline) {
      return Fail(ErrorKind::kOther, "not-sealed",
                  fmt::format("release {}: something else still has it open", path_),
                  fmt::format("see who uses it (fuser -v {}), then losetup -d {}", path_, path_));
    }
    std::this_thread::sleep_for(kDetachPause);
  }
  return {};
}

Result<std::string> LoopDeviceOver(dev_t file_system, ino_t inode) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/sys/block", error)) {
    const std::string name = entry.path().filename();
    if (!name.starts_with("loop") || !std::filesystem::exists(entry.path() / "loop")) continue;
    const std::string path = "/dev/" + name;
    const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    loop_info64 info{};
    if (!fd || ::ioctl(fd.get(), LOOP_GET_STATUS64, &info) != 0) continue;
    if (info.lo_device == file_system && info.lo_inode == inode) return path;
  }
  return std::string();
}

}  // namespace rescue::disk
