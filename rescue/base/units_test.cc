#include "rescue/base/units.h"

#include <catch2/catch_test_macros.hpp>

namespace rescue {

TEST_CASE("Sizes are short and never show 1024 of a unit") {
  CHECK(FormatSize(0) == "0 B");
  CHECK(FormatSize(1023) == "1023 B");
  CHECK(FormatSize(1536) == "1.5 KiB");
  CHECK(FormatSize(64 * kMiB) == "64 MiB");
  CHECK(FormatSize(kMiB - 1) == "1 MiB");
  CHECK(FormatSize(kMiB - 60) == "1023.9 KiB");
  CHECK(FormatSize(30 * kGiB) == "30 GiB");
  CHECK(FormatSize(~std::uint64_t{0}) == "16384 PiB");
}

TEST_CASE("Durations and identifiers look as people know them") {
  using std::chrono::milliseconds;
  CHECK(FormatSeconds(milliseconds(20)) == "0.02 s");
  CHECK(FormatSeconds(milliseconds(3'800)) == "3.80 s");
  CHECK(FormatSeconds(milliseconds(125'000)) == "125 s");
  CHECK(Hex16(0x8e9e05c52164694d) == "8e9e05c52164694d");
  CHECK(Hex16(1) == "0000000000000001");
}

}  // namespace rescue
