// Integers as they lie on disk. ul* are little-endian (bbolt, write-ahead log), ub* are big-endian
// (LUKS2, revisions in etcd's keys).
//
// Disk structs are declared with these types only: they have alignment 1, no padding, and are read
// and written byte by byte, so a struct may be copied out of any buffer on any machine. Native
// integers never appear in a disk struct.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace rescue {

template <typename Native, bool kLittle>
class EndianInteger {
 public:
  EndianInteger() = default;
  EndianInteger(Native value) { Set(value); }  // NOLINT(google-explicit-constructor)
  operator Native() const { return Get(); }    // NOLINT(google-explicit-constructor)

  Native Get() const {
    Native value = 0;
    for (std::size_t i = 0; i < sizeof(Native); ++i) {
      const std::size_t at = kLittle ? sizeof(Native) - 1 - i : i;
      value = static_cast<Native>((std::uint64_t{value} << 8) | bytes_[at]);
    }
    return value;
  }

  void Set(Native value) {
    for (std::size_t i = 0; i < sizeof(Native); ++i) {
      const std::size_t at = kLittle ? i : sizeof(Native) - 1 - i;
      bytes_[at] = static_cast<std::uint8_t>(value >> (8 * i));
    }
  }

 private:
  std::array<std::uint8_t, sizeof(Native)> bytes_{};
};

using ul16 = EndianInteger<std::uint16_t, true>;
using ul32 = EndianInteger<std::uint32_t, true>;
using ul64 = EndianInteger<std::uint64_t, true>;
using ub16 = EndianInteger<std::uint16_t, false>;
using ub32 = EndianInteger<std::uint32_t, false>;
using ub64 = EndianInteger<std::uint64_t, false>;

static_assert(sizeof(ul64) == 8 && alignof(ul64) == 1);

}  // namespace rescue
