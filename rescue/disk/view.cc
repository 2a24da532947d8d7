#include "rescue/disk/view.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>

#include "rescue/base/units.h"
#include "rescue/disk/crypt.h"
#include "rescue/disk/device_mapper.h"

namespace rescue::disk {
namespace {

// The store is sparse and takes only what is written. What is written is journals being replayed
// (dm-integrity: at most 64 MiB of data and as much bookkeeping; ext4: 128 MiB and more on large
// disks) and, in a rehearsal, the edits.
constexpr std::uint64_t kMaxStore = 2 * kGiB;
constexpr std::uint64_t kMinStore = 16 * kMiB;

// "used/total metadata" in sectors, or a word like "Invalid" (Linux, drivers/md/dm-snap.c,
// snapshot_status).
std::optional<ViewUsage> ParseUsage(const std::string& words) {
  const char* at = words.data();
  const char* const end = at + words.size();
  std::uint64_t used = 0;
  std::uint64_t total = 0;
  auto parsed = std::from_chars(at, end, used);
  if (parsed.ec != std::errc() || parsed.ptr == end || *parsed.ptr != '/') return std::nullopt;
  parsed = std::from_chars(parsed.ptr + 1, end, total);
  if (parsed.ec != std::errc() || used > total) return std::nullopt;
  return ViewUsage{used * 512, total * 512};
}

Result<std::uint64_t> StoreSize(std::uint64_t origin_size) {
  ASSIGN_OR_RETURN(const std::uint64_t available, AvailableMemory());
  // All chunks of the origin fit in its size and a little bookkeeping.
  const std::uint64_t wanted = std::min(kMaxStore, origin_size + origin_size / 64 + kMinStore);
  const std::uint64_t size = std::min(wanted, available / 2) / kMiB * kMiB;
  if (size >= kMinStore) return size;
  return Fail(ErrorKind::kRefused, "not-enough-memory",
              fmt::format("make a view of the disk: {} of memory are free, at least {} are needed",
                          FormatSize(available), FormatSize(2 * kMinStore)),
              "start the machine with more memory");
}

}  // namespace

Result<View> View::Create(const std::string& name, dev_t origin, std::uint64_t size) {
  ASSIGN_OR_RETURN(const std::uint64_t store_size, StoreSize(size));
  const UniqueFd file(::memfd_create("view-store", MFD_CLOEXEC));
  if (!file || ::ftruncate(file.get(), static_cast<off_t>(store_size)) != 0) {
    return FailErrno("create", "the view's store in memory", errno);
  }
  ASSIGN_OR_RETURN(LoopDevice store,
                   LoopDevice::Attach(file.get(), /*read_only=*/false, "the view's store"));
  View view(name, std::move(store), store_size);
  ASSIGN_OR_RETURN(view.path_, CreateSnapshot(name, origin, view.store_.device(), size / 512));
  return view;
}

Result<ViewUsage> View::Usage() const {
  ASSIGN_OR_RETURN(const Mapping status, ReadStatus(name_));
  const auto usage = status.lines.size() == 1 ? ParseUsage(status.lines[0].words) : std::nullopt;
  if (usage) return *usage;
  return Fail(ErrorKind::kRefused, "view-full",
              fmt::format("look at the disk through the view: its store of {} in memory is full",
                          FormatSize(store_size_)),
              "start the machine with more memory; the disk itself is unchanged");
}

Status View::Remove() {
  const Status removed = path_.empty() ? Status() : RemoveMapping(name_);
  const Status detached = store_.Detach();
  return removed ? detached : removed;
}

}  // namespace rescue::disk
