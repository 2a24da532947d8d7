#include "rescue/secret/source.h"

#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <string>

#include "rescue/base/unique_fd.h"
#include "tests/support/fixtures.h"

namespace rescue::secret {
namespace {

using rescue::testing::TemporaryDirectory;
using rescue::testing::WriteFileBytes;

TEST_CASE("ReadsAFileAsItIs") {
  const TemporaryDirectory directory;
  const auto path = directory.path() / "secret";
  WriteFileBytes(path, AsBytes("some secret\n"));
  const auto text = ReadSecretFile(path.string());
  REQUIRE(text);
  CHECK(AsText(text->Reveal()) == "some secret\n");
}

TEST_CASE("ReadsAPipeToItsEnd") {
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  const UniqueFd read_end(ends[0]);
  {
    const UniqueFd write_end(ends[1]);
    REQUIRE(::write(write_end.get(), "one", 3) == 3);
    REQUIRE(::write(write_end.get(), "two", 3) == 3);
  }
  const auto text = ReadSecretFd(read_end.get(), "standard input");
  REQUIRE(text);
  CHECK(AsText(text->Reveal()) == "onetwo");
}

TEST_CASE("SaysWhichSourceHasNoSecret") {
  const TemporaryDirectory directory;
  const auto missing = ReadSecretFile((directory.path() / "missing").string());
  REQUIRE_FALSE(missing);
  CHECK(missing.error().kind == ErrorKind::kCannotUnlock);
  CHECK(missing.error().code == "no-secret");
  const auto empty_path = directory.path() / "empty";
  WriteFileBytes(empty_path, {});
  const auto empty = ReadSecretFile(empty_path.string());
  REQUIRE_FALSE(empty);
  CHECK(empty.error().code == "no-secret");
  CHECK_FALSE(ReadSecretFile(directory.path().string()));  // a directory
}

TEST_CASE("ReadsNoMoreThanASecretNeeds") {
  const TemporaryDirectory directory;
  const auto path = directory.path() / "big";
  WriteFileBytes(path, Bytes(kMaxSecretText, std::byte{'a'}));
  CHECK(ReadSecretFile(path.string()));
  WriteFileBytes(path, Bytes(kMaxSecretText + 1, std::byte{'a'}));
  const auto text = ReadSecretFile(path.string());
  REQUIRE_FALSE(text);
  CHECK(text.error().code == "bad-secret");
}

}  // namespace
}  // namespace rescue::secret
