// Private to the room: decompresses LZW as Go's compress/lzw writes it with LSB order and 8-bit
// literals, what etcd-backup-restore's ".Z" is (pkg/compressor, compressor.go). It is not the
// format of compress(1), which has a header and counts its widths differently.
//
// Codes are packed from the lowest bit up and 9 to 12 bits wide. 0..255 stand for themselves, 256
// clears the table, 257 ends the data; every other code is an earlier code and one byte more. A
// full table (4096 codes) stays as it is until it is cleared. Go 1.21 compress/lzw/reader.go.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "rescue/base/bytes.h"

namespace rescue::backup {

// A value: a copy goes on from the same place.
class LzwDecoder {
 public:
  enum class State {
    kMore,     // wants input, or room for output
    kEnd,      // the code that ends the data was read; the rest of its byte is padding
    kCorrupt,  // a code that cannot be there
  };

  // Takes from the front of `input` and fills the front of `output`, as far as either goes; both
  // become what is left of them.
  State Decode(ByteView& input, std::span<std::byte>& output);

 private:
  static constexpr std::uint32_t kClear = 256;
  static constexpr std::uint32_t kEnd = 257;
  static constexpr unsigned kMinWidth = 9;
  static constexpr unsigned kMaxWidth = 12;
  static constexpr std::size_t kCodes = std::size_t{1} << kMaxWidth;
  static constexpr std::uint32_t kNone = ~std::uint32_t{0};

  void Clear();
  // False for a code that cannot be there. What it stands for is then in pending_.
  bool Take(std::uint32_t code);
  void Expand(std::uint32_t code, bool and_its_first);

  State state_ = State::kMore;
  std::uint32_t bits_ = 0;
  unsigned bit_count_ = 0;
  unsigned width_ = kMinWidth;
  std::uint32_t highest_ = kEnd;  // the code that the next one will define
  std::uint32_t last_ = kNone;    // the code before, while the table grows
  std::array<std::uint16_t, kCodes> prefix_{};
  std::array<std::uint8_t, kCodes> suffix_{};
  // The expansion of a code, at the end of the array; what is not given out yet starts at pending_.
  std::array<std::uint8_t, kCodes> expansion_{};
  std::size_t pending_ = kCodes;
};

}  // namespace rescue::backup
