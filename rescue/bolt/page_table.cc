#include "rescue/bolt/page_table.h"

namespace rescue::bolt {

std::uint64_t HashKey(ByteView key) {
  // Multiply and fold, eight bytes at a time; the constants are the fractional parts of the golden
  // ratio and of the square root of 3, odd.
  constexpr std::uint64_t kMultiplier = 0x9E3779B97F4A7C15;
  constexpr std::uint64_t kSeed = 0xBB67AE8584CAA73B;
  std::uint64_t hash = kSeed ^ key.size();
  const auto mix = [&](std::uint64_t word) {
    hash = (hash ^ word) * kMultiplier;
    hash ^= hash >> 32;
  };
  while (key.size() >= sizeof(std::uint64_t)) {
    std::uint64_t word = 0;
    std::memcpy(&word, key.data(), sizeof(word));
    mix(word);
    key = key.subspan(sizeof(word));
  }
  std::uint64_t rest = 0;
  if (!key.empty()) std::memcpy(&rest, key.data(), key.size());
  mix(rest);
  return hash;
}

std::uint64_t PackedKey::Hash() const {
  if (exact()) return HashKey(known());
  std::uint64_t hash = 0;
  std::memcpy(&hash, bytes_.data() + kPrefix, sizeof(hash));
  return hash;
}

KeyOrder PackedKey::Compare(const PackedKey& a, const PackedKey& b) {
  const ByteView left = a.known();
  const ByteView right = b.known();
  const std::size_t common = std::min(left.size(), right.size());
  const int order = std::memcmp(left.data(), right.data(), common);
  if (order != 0) return order < 0 ? KeyOrder::kLess : KeyOrder::kGreater;
  if (a.exact() && b.exact()) {
    if (a.size_ == b.size_) return KeyOrder::kEqual;
    return a.size_ < b.size_ ? KeyOrder::kLess : KeyOrder::kGreater;
  }
  if (a.size_ == b.size_ && a.bytes_ == b.bytes_) return KeyOrder::kEqual;
  // A whole key that ends within the part that is known of the other one is its prefix.
  if (a.exact() && left.size() <= right.size()) return KeyOrder::kLess;
  if (b.exact() && right.size() <= left.size()) return KeyOrder::kGreater;
  return KeyOrder::kUnknown;
}

}  // namespace rescue::bolt
