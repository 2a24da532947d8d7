// A view: the disk as a snapshot whose changes stay in memory. Everything above it (dm-integrity,
// ext4) may replay its journals without a byte of the disk changing; a plain read-only mapping
// cannot show a crashed disk at all.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "rescue/base/result.h"
#include "rescue/disk/loop.h"
#include "rescue/disk/volume.h"

namespace rescue::disk {

class View {
 public:
  // `size` of the origin in bytes. Errors: kRefused "not-enough-memory", "no-loop-device"; kOther
  // "device-mapper".
  static Result<View> Create(const std::string& name, dev_t origin, std::uint64_t size);
  View(View&&) noexcept = default;
  View& operator=(View&&) noexcept = default;

  const std::string& path() const { return path_; }
  // Errors: kRefused "view-full".
  Result<ViewUsage> Usage() const;
  // Removes the mapping and the store.
  Status Remove();

 private:
  View(std::string name, LoopDevice store, std::uint64_t store_size)
      : name_(std::move(name)), store_(std::move(store)), store_size_(store_size) {}

  std::string name_;
  std::string path_;
  LoopDevice store_;
  std::uint64_t store_size_ = 0;
};

}  // namespace rescue::disk
