// What it takes to open a disk, read from its header before anything is tried.
#pragma once

#include <cstdint>

#include "rescue/disk/header.h"

namespace rescue::disk {

struct UnlockCost {
  int key_slots = 0;         // that may be tried
  std::uint64_t memory = 0;  // bytes, of the most demanding of them
  double seconds = 0;  // for all of them, on this machine; a secret opens one, often the first

  bool operator==(const UnlockCost&) const = default;
};

// Beside argon2's blocks: libcryptsetup, the stripes of a key slot, ourselves.
inline constexpr std::uint64_t kUnlockReserve = 48 * (std::uint64_t{1} << 20);

// Bytes of memory that this key slot needs.
std::uint64_t MemoryFor(const KeySlot& slot);

// How fast this machine is, measured in a few hundredths of a second: argon2's compression of 8 MiB
// by one thread, and some rounds of PBKDF2-HMAC-SHA256.
struct UnlockSpeed {
  double argon2_kib_per_second = 0;  // one thread
  double pbkdf2_per_second = 0;      // iterations
  unsigned processors = 1;
};
UnlockSpeed MeasureUnlockSpeed();

// Only for a header that was checked. The estimate was within a factor of two of libcryptsetup's
// own time where it was compared (native, User-Mode Linux).
UnlockCost EstimateUnlock(const Header& header, const UnlockSpeed& speed);

}  // namespace rescue::disk
