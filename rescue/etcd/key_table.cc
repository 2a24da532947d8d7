#include "rescue/etcd/key_table.h"

#include <cstring>
#include <random>
#include <utility>

namespace rescue::etcd {
namespace {

constexpr std::size_t kFirstSlots = 1024;  // always a power of two

// Both halves of the 128-bit product: every bit of the result depends on all bits of a and b.
std::uint64_t Mix(std::uint64_t a, std::uint64_t b) {
  const auto product = static_cast<unsigned __int128>(a) * b;
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

std::uint64_t Load(const std::byte* at, std::size_t count) {
  std::uint64_t value = 0;
  std::memcpy(&value, at, count);
  return value;
}

}  // namespace

KeyTable::KeyTable() : slots_(kFirstSlots) {
  std::random_device random;
  for (auto& seed : seeds_) seed = (std::uint64_t{random()} << 32 | random()) | 1;
}

KeyTable::Fingerprint KeyTable::FingerprintOf(ByteView key) const {
  std::uint64_t low = seeds_[0] ^ key.size();
  std::uint64_t high = seeds_[1] + key.size();
  for (std::size_t at = 0; at < key.size(); at += 16) {
    const std::size_t left = key.size() - at;
    const std::uint64_t a = Load(key.data() + at, left < 8 ? left : 8);
    const std::uint64_t b = left <= 8 ? 0 : Load(key.data() + at + 8, left < 16 ? left - 8 : 8);
    low = Mix(a ^ seeds_[2], b ^ low);
    high = Mix(b ^ seeds_[3], a ^ high);
  }
  Fingerprint made{Mix(low, seeds_[3]), Mix(high, seeds_[2])};
  if (made == Fingerprint{}) made.low = 1;
  return made;
}

KeyTable::Slot& KeyTable::Probe(const Fingerprint& key) {
  const std::size_t mask = slots_.size() - 1;
  std::size_t at = key.low & mask;
  while (slots_[at].key != Fingerprint{} && slots_[at].key != key) at = (at + 1) & mask;
  return slots_[at];
}

void KeyTable::Grow() {
  std::vector<Slot> old(slots_.size() * 2);
  old.swap(slots_);
  for (const Slot& slot : old) {
    if (slot.key != Fingerprint{}) Probe(slot.key) = slot;
  }
}

std::uint64_t* KeyTable::At(ByteView key) {
  const Fingerprint wanted = FingerprintOf(key);
  Slot* slot = &Probe(wanted);
  if (slot->key == wanted) return &slot->number;
  if (size_ >= kMaxKeys) return nullptr;
  if ((size_ + 1) * 4 > slots_.size() * 3) {
    Grow();
    slot = &Probe(wanted);
  }
  ++size_;
  *slot = {wanted, kNone};
  return &slot->number;
}

std::uint64_t* KeyTable::Find(ByteView key) {
  const Fingerprint wanted = FingerprintOf(key);
  Slot& slot = Probe(wanted);
  return slot.key == wanted ? &slot.number : nullptr;
}

}  // namespace rescue::etcd
