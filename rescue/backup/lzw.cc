#include "rescue/backup/lzw.h"

#include <algorithm>
#include <cstring>

namespace rescue::backup {

void LzwDecoder::Clear() {
  width_ = kMinWidth;
  highest_ = kEnd;
  last_ = kNone;
}

void LzwDecoder::Expand(std::uint32_t code, bool and_its_first) {
  // Back to front. A code is always larger than its prefix, so this ends, and after at most as many
  // steps as there are codes.
  pending_ = and_its_first ? kCodes - 1 : kCodes;
  while (code >= kClear) {
    expansion_[--pending_] = suffix_[code];
    code = prefix_[code];
  }
  expansion_[--pending_] = static_cast<std::uint8_t>(code);
  if (and_its_first) expansion_[kCodes - 1] = static_cast<std::uint8_t>(code);
}

bool LzwDecoder::Take(std::uint32_t code) {
  if (code > highest_) return false;
  // The code that is being defined right now: the last expansion and its own first byte again.
  const bool is_next = code == highest_ && last_ != kNone;
  Expand(is_next ? last_ : code, is_next);
  if (last_ != kNone) {
    prefix_[highest_] = static_cast<std::uint16_t>(last_);
    suffix_[highest_] = expansion_[pending_];
  }
  last_ = code;
  if (highest_ + 1 < (std::uint32_t{1} << width_)) {
    ++highest_;
  } else if (width_ == kMaxWidth) {
    last_ = kNone;
  } else {
    ++highest_;
    ++width_;
  }
  return true;
}

LzwDecoder::State LzwDecoder::Decode(ByteView& input, std::span<std::byte>& output) {
  while (state_ == State::kMore) {
    if (pending_ < kCodes) {
      const std::size_t count = std::min(kCodes - pending_, output.size());
      if (count == 0) return state_;
      std::memcpy(output.data(), expansion_.data() + pending_, count);
      output = output.subspan(count);
      pending_ += count;
      continue;
    }
    while (bit_count_ < width_ && !input.empty()) {
      bits_ |= std::to_integer<std::uint32_t>(input.front()) << bit_count_;
      bit_count_ += 8;
      input = input.subspan(1);
    }
    if (bit_count_ < width_) return state_;
    const std::uint32_t code = bits_ & ((std::uint32_t{1} << width_) - 1);
    bits_ >>= width_;
    bit_count_ -= width_;
    if (code == kClear) {
      Clear();
    } else if (code == kEnd) {
      state_ = State::kEnd;
    } else if (!Take(code)) {
      state_ = State::kCorrupt;
    }
  }
  return state_;
}

}  // namespace rescue::backup
