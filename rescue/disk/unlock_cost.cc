#include "rescue/disk/unlock_cost.h"

#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <thread>
#include <vector>

#include "rescue/base/units.h"
#include "rescue/disk/luks2.h"

namespace rescue::disk {
namespace {

using Clock = std::chrono::steady_clock;

double SecondsSince(Clock::time_point start) {
  return std::max(std::chrono::duration<double>(Clock::now() - start).count(), 1e-6);
}

// One block of argon2, 1 KiB (RFC 9106, section 3.5). Only the amount and kind of work matters
// here: nothing that is computed is used.
using Block = std::array<std::uint64_t, 128>;
constexpr std::size_t kBlocks = 8192;

// RFC 9106, section 3.6: addition with a multiplication of the low halves.
inline std::uint64_t Mix(std::uint64_t a, std::uint64_t b) {
  return a + b + 2 * (a & 0xffffffff) * (b & 0xffffffff);
}

inline void Quarter(std::uint64_t& a, std::uint64_t& b, std::uint64_t& c, std::uint64_t& d) {
  a = Mix(a, b);
  d = std::rotr(d ^ a, 32);
  c = Mix(c, d);
  b = std::rotr(b ^ c, 24);
  a = Mix(a, b);
  d = std::rotr(d ^ a, 16);
  c = Mix(c, d);
  b = std::rotr(b ^ c, 63);
}

// Sixteen words, `step` pairs apart.
inline void Round(Block& block, std::size_t first, std::size_t step) {
  const auto at = [&](std::size_t i) -> std::uint64_t& {
    return block[first + (i / 2) * step + i % 2];
  };
  for (std::size_t i = 0; i < 4; ++i) Quarter(at(i), at(4 + i), at(8 + i), at(12 + i));
  for (std::size_t i = 0; i < 4; ++i) {
    Quarter(at(i), at(4 + (i + 1) % 4), at(8 + (i + 2) % 4), at(12 + (i + 3) % 4));
  }
}

void Compress(const Block& a, const Block& b, Block& out) {
  Block mixed;
  for (std::size_t i = 0; i < mixed.size(); ++i) mixed[i] = a[i] ^ b[i];
  out = mixed;
  for (std::size_t row = 0; row < 8; ++row) Round(mixed, row * 16, 2);
  for (std::size_t column = 0; column < 8; ++column) Round(mixed, column * 2, 16);
  for (std::size_t i = 0; i < mixed.size(); ++i) out[i] ^= mixed[i];
}

double MeasureArgon2() {
  std::vector<Block> memory(kBlocks);
  memory[0].fill(1);
  const auto start = Clock::now();
  for (std::size_t i = 1; i < kBlocks; ++i) {
    Compress(memory[i - 1], memory[memory[i - 1][0] % i], memory[i]);
  }
  // The look at the result keeps the work from being optimised away.
  const double seconds = SecondsSince(start) + (memory.back()[0] == 0 ? 1e-9 : 0);
  return kBlocks / seconds;
}

double MeasurePbkdf2() {
  constexpr int kIterations = 4000;
  const std::array<unsigned char, 16> salt{};
  std::array<unsigned char, 32> out{};
  const auto start = Clock::now();
  (void)PKCS5_PBKDF2_HMAC("benchmark", 9, salt.data(), static_cast<int>(salt.size()), kIterations,
                          EVP_sha256(), static_cast<int>(out.size()), out.data());
  return kIterations / SecondsSince(start);
}

double SecondsFor(const KeySlot& slot, const UnlockSpeed& speed) {
  const KeyDerivation& derivation = slot.derivation;
  if (derivation.type == "pbkdf2") {
    const std::uint64_t hash_size = derivation.hash == "sha512" ? 64 : 32;
    const std::uint64_t blocks = (slot.area_key_size + hash_size - 1) / hash_size;
    return static_cast<double>(derivation.iterations) * static_cast<double>(blocks) /
           speed.pbkdf2_per_second;
  }
  const double threads = static_cast<double>(
      std::clamp<std::uint64_t>(derivation.threads, 1, std::max(1U, speed.processors)));
  return static_cast<double>(derivation.memory_kib) * static_cast<double>(derivation.iterations) /
         (speed.argon2_kib_per_second * threads);
}

}  // namespace

std::uint64_t MemoryFor(const KeySlot& slot) {
  return slot.derivation.memory_kib * kKiB + kUnlockReserve;
}

UnlockSpeed MeasureUnlockSpeed() {
  return {MeasureArgon2(), MeasurePbkdf2(), std::max(1U, std::thread::hardware_concurrency())};
}

UnlockCost EstimateUnlock(const Header& header, const UnlockSpeed& speed) {
  UnlockCost cost;
  for (const KeySlot* slot : UsableKeySlots(header)) {
    ++cost.key_slots;
    cost.memory = std::max(cost.memory, MemoryFor(*slot));
    cost.seconds += SecondsFor(*slot, speed);
  }
  return cost;
}

}  // namespace rescue::disk
