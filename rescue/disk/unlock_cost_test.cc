#include "rescue/disk/unlock_cost.h"

#include <catch2/catch_test_macros.hpp>

#include "rescue/base/units.h"
#include "rescue/disk/luks2.h"

namespace rescue::disk {
namespace {

Header WithSlots(std::vector<KeyDerivation> derivations) {
  Header header;
  Digest digest;
  digest.segments = {0};
  for (auto& derivation : derivations) {
    KeySlot slot;
    slot.number = static_cast<int>(header.key_slots.size());
    slot.area_key_size = 64;
    slot.derivation = std::move(derivation);
    digest.key_slots.push_back(slot.number);
    header.key_slots.push_back(std::move(slot));
  }
  header.digests = {digest};
  return header;
}

KeyDerivation Argon2(std::uint64_t passes, std::uint64_t memory_kib, std::uint64_t threads) {
  return {"argon2id", passes, memory_kib, threads, "", "AAAA"};
}

TEST_CASE("TheCostIsReadFromTheHeader") {
  const UnlockSpeed speed{1024.0 * 1024, 1e6, 2};  // 1 GiB a second, and thread
  const UnlockCost one = EstimateUnlock(WithSlots({Argon2(4, 65536, 1)}), speed);
  CHECK(one.key_slots == 1);
  CHECK(one.memory == 64 * kMiB + kUnlockReserve);
  CHECK(one.seconds == 0.25);
  // No more threads than processors.
  CHECK(EstimateUnlock(WithSlots({Argon2(4, 65536, 4)}), speed).seconds == 0.125);
  const UnlockCost both =
      EstimateUnlock(WithSlots({Argon2(4, 65536, 1), Argon2(8, 1048576, 1)}), speed);
  CHECK(both.key_slots == 2);
  CHECK(both.memory == kGiB + kUnlockReserve);
  CHECK(both.seconds == 8.25);
  // 64 bytes of key are two blocks of SHA-256.
  const KeyDerivation pbkdf2{"pbkdf2", 500000, 0, 0, "sha256", "AAAA"};
  CHECK(EstimateUnlock(WithSlots({pbkdf2}), speed).seconds == 1.0);
}

TEST_CASE("TheMachinesSpeedIsMeasured") {
  const UnlockSpeed speed = MeasureUnlockSpeed();
  CHECK(speed.argon2_kib_per_second > 100);
  CHECK(speed.pbkdf2_per_second > 100);
  CHECK(speed.processors >= 1);
}

}  // namespace
}  // namespace rescue::disk
