#include "rescue/disk/arrival.h"

#include <poll.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>

#include "rescue/base/file.h"

namespace rescue::disk {
namespace {

// Reads everything that has happened, event by event.
template <typename Visit>
void TakeEvents(int watch, Visit visit) {
  alignas(inotify_event) std::array<char, 4096> buffer;
  ssize_t got = 0;
  while ((got = ::read(watch, buffer.data(), buffer.size())) > 0) {
    for (ssize_t at = 0; at < got;) {
      const auto* event = reinterpret_cast<const inotify_event*>(buffer.data() + at);
      visit(*event);
      at += static_cast<ssize_t>(sizeof(inotify_event) + event->len);
    }
  }
}

// udev names its record of a block device b and its number.
bool TookBlockDevice(int watch) {
  bool block_device = false;
  TakeEvents(watch, [&block_device](const inotify_event& event) {
    // A queue that overflowed may have held anything.
    if ((event.mask & IN_Q_OVERFLOW) != 0) block_device = true;
    if (event.len > 0 && event.name[0] == 'b') block_device = true;
  });
  return block_device;
}

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// False at the deadline.
bool WaitForEvent(int watch, steady_clock::time_point deadline) {
  const auto left = std::chrono::ceil<milliseconds>(deadline - steady_clock::now());
  if (left <= milliseconds(0)) return false;
  pollfd entry{watch, POLLIN, 0};
  (void)::poll(&entry, 1, static_cast<int>(std::min<long long>(left.count(), 1 << 30)));
  return true;
}

}  // namespace

DiskArrivals::DiskArrivals(const std::string& udev_data)
    : watch_(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK)) {
  if (!watch_) return;
  if (::inotify_add_watch(watch_.get(), udev_data.c_str(), IN_MOVED_TO | IN_ONLYDIR) < 0) {
    watch_ = {};
  }
}

bool DiskArrivals::WaitUntil(steady_clock::time_point deadline) {
  // Without udev there is nothing to wait for.
  if (!watch_) return false;
  while (!TookBlockDevice(watch_.get())) {
    if (!WaitForEvent(watch_.get(), deadline)) return false;
  }
  return true;
}

bool WaitForFile(const std::string& path, steady_clock::time_point deadline) {
  // Watched first and looked at afterwards, so that nothing is missed in between.
  const UniqueFd watch(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  const bool watched = watch && ::inotify_add_watch(watch.get(), ParentPath(path).c_str(),
                                                    IN_CREATE | IN_MOVED_TO | IN_ONLYDIR) >= 0;
  while (::access(path.c_str(), F_OK) != 0) {
    if (!watched || !WaitForEvent(watch.get(), deadline)) return false;
    TakeEvents(watch.get(), [](const inotify_event& /*event*/) {});
  }
  return true;
}

}  // namespace rescue::disk
