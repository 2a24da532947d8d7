#include "rescue/base/secret_bytes.h"

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <fstream>
#include <sstream>
#include <string>
#include <type_traits>
#include <utility>

namespace rescue {
namespace {

bool IsZero(ByteView bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; });
}

// The flags that the kernel keeps for the mapping that holds `address` ("dd" = not in dumps,
// "lo" = locked); empty when it does not tell.
std::string MappingFlags(const void* address) {
  std::ifstream maps("/proc/self/smaps");
  std::string line;
  bool inside = false;
  while (std::getline(maps, line)) {
    std::istringstream head(line);
    std::uintptr_t from = 0;
    std::uintptr_t to = 0;
    char dash = 0;
    if (head >> std::hex >> from >> dash >> to && dash == '-') {
      const auto at = reinterpret_cast<std::uintptr_t>(address);
      inside = from <= at && at < to;
    }
    if (inside && line.starts_with("VmFlags:")) return line;
  }
  return {};
}

}  // namespace

TEST_CASE("A secret cannot be copied, compared or turned into a view by accident") {
  CHECK_FALSE(std::is_copy_constructible_v<SecretBytes>);
  CHECK_FALSE(std::is_copy_assignable_v<SecretBytes>);
  CHECK_FALSE(std::is_convertible_v<SecretBytes, ByteView>);
  CHECK(std::is_nothrow_move_constructible_v<SecretBytes>);
}

TEST_CASE("A secret moves without leaving itself behind") {
  SecretBytes secret = SecretBytes::CopyOf(AsBytes("master"));
  SecretBytes moved = std::move(secret);
  CHECK(AsText(std::as_const(moved).Reveal()) == "master");
  CHECK(secret.empty());  // NOLINT(bugprone-use-after-move,clang-analyzer-cplusplus.Move)
  SecretBytes other(3);
  CHECK(IsZero(std::as_const(other).Reveal()));
  other = std::move(moved);
  CHECK(other.size() == 6);
  CHECK(SecretBytes().empty());
  CHECK(SecretBytes(0).empty());
}

TEST_CASE("Shrinking wipes what is cut off") {
  SecretBytes secret = SecretBytes::CopyOf(AsBytes("abcdef"));
  const std::byte* const start = secret.Reveal().data();
  secret.Shrink(2);
  CHECK(secret.size() == 2);
  CHECK(AsText({start, 2}) == "ab");
  CHECK(IsZero({start + 2, 4}));
  secret.Shrink(10);
  CHECK(secret.size() == 2);
}

TEST_CASE("A secret's memory stays out of core dumps") {
  const SecretBytes secret = SecretBytes::CopyOf(AsBytes("x"));
  const std::string flags = MappingFlags(secret.Reveal().data());
  REQUIRE_FALSE(flags.empty());
  CHECK(flags.find(" dd") != std::string::npos);
}

TEST_CASE("Wiping leaves zeros") {
  Bytes bytes(100, std::byte{7});
  Wipe(bytes);
  CHECK(IsZero(bytes));
}

}  // namespace rescue
