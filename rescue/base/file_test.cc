#include "rescue/base/file.h"

#include <catch2/catch_test_macros.hpp>

#include "tests/support/fixtures.h"

namespace rescue {

TEST_CASE("Only paths below the root are clean") {
  for (const char* clean : {"", "a", "a/b", "a/.b", "...", "a b", "a\nb"}) {
    CAPTURE(clean);
    CHECK(IsCleanPath(clean));
  }
  for (const char* unclean : {"/", "/a", "a/", "a//b", ".", "..", "a/..", "./a", "a/./b", "../a"}) {
    CAPTURE(unclean);
    CHECK_FALSE(IsCleanPath(unclean));
  }
  CHECK_FALSE(IsCleanPath(std::string_view("a\0b", 3)));
}

TEST_CASE("Paths join and part again") {
  CHECK(JoinPath("", "a") == "a");
  CHECK(JoinPath("a", "") == "a");
  CHECK(JoinPath("a/b", "c") == "a/b/c");
  CHECK(ParentPath("a/b/c") == "a/b");
  CHECK(ParentPath("a").empty());
  CHECK(ParentPath("").empty());
}

TEST_CASE("Reading past the end is refused before anything is allocated") {
  const auto file = testing::MemoryFile(Bytes(10, std::byte{1}));
  CHECK(ReadExactly(*file, 0, 10)->size() == 10);
  CHECK(ReadExactly(*file, 10, 0)->empty());
  for (const auto& [offset, count] : {std::pair<std::uint64_t, std::uint64_t>{0, 11},
                                      {11, 0},
                                      {5, ~std::uint64_t{0}},
                                      {~std::uint64_t{0}, 1}}) {
    const auto bytes = ReadExactly(*file, offset, count);
    REQUIRE_FALSE(bytes);
    CHECK(bytes.error().code == "out-of-file");
    CHECK(bytes.error().kind == ErrorKind::kDataDamaged);
  }
}

TEST_CASE("A file that shrank while it was read is an error, not a short result") {
  class Shrunk final : public ReadableFile {
   public:
    std::uint64_t size() const override { return 10; }
    Result<std::size_t> ReadAt(std::uint64_t, std::span<std::byte>) const override {
      return std::size_t{4};
    }
  };
  const auto bytes = ReadExactly(Shrunk(), 0, 10);
  REQUIRE_FALSE(bytes);
  CHECK(bytes.error().code == "io");
}

}  // namespace rescue
