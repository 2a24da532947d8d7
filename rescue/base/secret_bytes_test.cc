#include "rescue/base/secret_bytes.h"

#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <concepts>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>

namespace {

// Every mapping that goes is looked at first: the one at g_watched must have been wiped.
const void* g_watched = nullptr;
int g_unmapped = 0;
bool g_wiped = false;

}  // namespace

// Stands in for the C library's in this program.
extern "C" int munmap(void* address, size_t length) {
  if (address == g_watched && address != nullptr) {
    ++g_unmapped;
    const auto* bytes = static_cast<const unsigned char*>(address);
    g_wiped = std::all_of(bytes, bytes + length, [](unsigned char b) { return b == 0; });
    g_watched = nullptr;
  }
  return static_cast<int>(::syscall(SYS_munmap, address, length));
}

namespace rescue {
namespace {

// From now on: was this secret's memory wiped when it was given back?
void Watch(const SecretBytes& secret) {
  g_watched = secret.Reveal().data();
  g_unmapped = 0;
  g_wiped = false;
}

bool WasWiped() { return g_unmapped == 1 && g_wiped; }

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

TEST_CASE("A secret's memory is locked, and says when it is not") {
  const SecretBytes secret = SecretBytes::CopyOf(AsBytes("x"));
  const std::string flags = MappingFlags(secret.Reveal().data());
  REQUIRE_FALSE(flags.empty());
  CHECK((flags.find(" lo") != std::string::npos) == SecretBytes::AllLocked());
  // In a process that may lock nothing.
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    const rlimit none{0, 0};
    // Root may lock beyond the limit.
    const bool limited = ::setrlimit(RLIMIT_MEMLOCK, &none) == 0 && ::setuid(65534) == 0;
    const SecretBytes unlocked(1);
    ::_exit(limited && !SecretBytes::AllLocked() ? 0 : 1);
  }
  int status = -1;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(status == 0);
}

TEST_CASE("A forked process does not inherit a secret") {
  const SecretBytes secret = SecretBytes::CopyOf(AsBytes("master"));
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) ::_exit(IsZero(secret.Reveal()) ? 0 : 1);
  int status = -1;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(status == 0);
  CHECK(AsText(secret.Reveal()) == "master");
}

TEST_CASE("A secret is wiped on every path") {
  SECTION("at the end of its life") {
    {
      const SecretBytes secret = SecretBytes::CopyOf(AsBytes("master"));
      Watch(secret);
    }
    CHECK(WasWiped());
  }
  SECTION("when an exception passes") {
    const auto fail = [] {
      const SecretBytes secret = SecretBytes::CopyOf(AsBytes("master"));
      Watch(secret);
      throw std::runtime_error("on the way");
    };
    CHECK_THROWS(fail());
    CHECK(WasWiped());
  }
  SECTION("after it was moved") {
    {
      SecretBytes secret = SecretBytes::CopyOf(AsBytes("master"));
      Watch(secret);
      const SecretBytes moved = std::move(secret);
      CHECK(g_unmapped == 0);
    }
    CHECK(WasWiped());
  }
  SECTION("as soon as another takes its place") {
    SecretBytes secret = SecretBytes::CopyOf(AsBytes("master"));
    SecretBytes other = SecretBytes::CopyOf(AsBytes("other"));
    Watch(secret);
    secret = std::move(other);
    CHECK(WasWiped());
    CHECK(AsText(std::as_const(secret).Reveal()) == "other");
    CHECK(other.empty());  // NOLINT(bugprone-use-after-move,clang-analyzer-cplusplus.Move)
  }
  SECTION("after it was shortened") {
    {
      SecretBytes secret = SecretBytes::CopyOf(AsBytes("master"));
      secret.Shrink(1);
      Watch(secret);
    }
    CHECK(WasWiped());
  }
}

TEST_CASE("No formatter takes a secret") {
  CHECK_FALSE(fmt::is_formattable<SecretBytes>::value);
  CHECK_FALSE(std::equality_comparable<SecretBytes>);
}

TEST_CASE("Wiping leaves zeros") {
  Bytes bytes(100, std::byte{7});
  Wipe(bytes);
  CHECK(IsZero(bytes));
}

}  // namespace rescue
