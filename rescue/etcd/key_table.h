// Private to the room: remembers a number for each key without keeping the keys.
//
// A backend may hold millions of keys with names of 100 bytes; here a key costs 32 to 64 bytes,
// whatever its length. Keys are told apart by 128 bits of a hash with random seeds: for 10 million
// keys the chance that any two are taken for one is below 10^-24.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "rescue/base/bytes.h"

namespace rescue::etcd {

class KeyTable {
 public:
  static constexpr std::uint64_t kNone = ~std::uint64_t{0};
  // 3 GiB of memory. A backend at etcd's largest sensible quota (8 GiB) stays below.
  static constexpr std::size_t kMaxKeys = std::size_t{3} << 25;

  KeyTable();

  // The key's number, to read or to set; kNone for a key that was not there before. nullptr when
  // the table is full.
  std::uint64_t* At(ByteView key);
  // nullptr for a key that was never given to At.
  std::uint64_t* Find(ByteView key);
  std::size_t size() const { return size_; }

 private:
  struct Fingerprint {
    std::uint64_t low = 0;
    std::uint64_t high = 0;
    bool operator==(const Fingerprint&) const = default;
  };
  struct Slot {
    Fingerprint key;  // both 0: free
    std::uint64_t number = 0;
  };

  Fingerprint FingerprintOf(ByteView key) const;
  Slot& Probe(const Fingerprint& key);
  void Grow();

  std::array<std::uint64_t, 4> seeds_{};
  std::vector<Slot> slots_;
  std::size_t size_ = 0;
};

}  // namespace rescue::etcd
