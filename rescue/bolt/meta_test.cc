#include "rescue/bolt/meta.h"

#include <catch2/catch_test_macros.hpp>

#include "rescue/bolt/test_file.h"
#include "tests/support/fixtures.h"

namespace rescue::bolt {
namespace {

using rescue::testing::MemoryFile;
using testing::TestFile;

TestFile TwoTransactions(std::uint64_t page_size = 4096) {
  TestFile built(page_size);
  const auto older = built.Leaf({{"key", "older"}});
  const auto newer = built.Leaf({{"key", "newer"}});
  return built.Finish(newer, kNoFreelist, older);
}

std::string ValueSeen(const Database& database) {
  const auto value = database.Root().Get(AsBytes("key"));
  REQUIRE((value && *value));
  return std::string(AsText(**value));
}

// Damages the newest meta page (slot 1); its older twin must be used and the reason named.
void FallsBack(const MetaBody& damaged, bool fix_checksum, const std::string& code) {
  CAPTURE(code);
  TestFile built = TwoTransactions();
  built.SetMeta(1, damaged, fix_checksum);
  const auto file = MemoryFile(built.bytes());
  const auto database = Database::Open(*file);
  REQUIRE(database);
  CHECK(database->meta().slot == 0);
  CHECK(ValueSeen(*database) == "older");
  REQUIRE(database->problem());
  CHECK(database->problem()->slot == 1);
  CHECK(database->problem()->code == code);
  CHECK_FALSE(database->problem()->reason.empty());
  const auto forced = Database::OpenAt(*file, 1);
  REQUIRE_FALSE(forced);
  CHECK(forced.error().code == code);
  CHECK(forced.error().kind == ErrorKind::kDataDamaged);
}

TEST_CASE("Uses the newest meta page, and the older one when asked") {
  const TestFile built = TwoTransactions();
  const auto file = MemoryFile(built.bytes());
  const auto newest = Database::Open(*file);
  REQUIRE(newest);
  CHECK(newest->meta().slot == 1);
  CHECK(newest->meta().transaction_id == 7);
  CHECK_FALSE(newest->problem());
  CHECK(ValueSeen(*newest) == "newer");
  const auto older = Database::OpenAt(*file, 0);
  REQUIRE(older);
  CHECK(older->meta().transaction_id == 6);
  CHECK(ValueSeen(*older) == "older");
  const auto absent = Database::OpenAt(*file, 2);
  REQUIRE_FALSE(absent);
  CHECK(absent.error().kind == ErrorKind::kUsage);
}

TEST_CASE("Falls back to the older meta page and names what is wrong with the newest") {
  TestFile built = TwoTransactions();
  MetaBody damaged = built.GetMeta(1);
  damaged.magic = 0xED0CDAEC;
  FallsBack(damaged, true, "bolt-meta-magic");
  damaged = built.GetMeta(1);
  damaged.version = 3;
  FallsBack(damaged, true, "bolt-meta-version");
  damaged = built.GetMeta(1);
  damaged.transaction_id = 99;
  FallsBack(damaged, false, "bolt-meta-checksum");
  damaged = built.GetMeta(1);
  damaged.checksum = 0;  // bbolt up to 1.3.6 took this for "no checksum"
  FallsBack(damaged, false, "bolt-meta-checksum");
  damaged = built.GetMeta(1);
  damaged.page_size = 8192;
  FallsBack(damaged, true, "bolt-meta-page-size");
  damaged = built.GetMeta(1);
  damaged.page_size = 4095;
  FallsBack(damaged, true, "bolt-meta-page-size");
}

TEST_CASE("Finds the page size from the second meta page when the first is bad") {
  for (const std::uint64_t page_size : {1024U, 4096U, 16384U, 65536U}) {
    CAPTURE(page_size);
    TestFile built = TwoTransactions(page_size);
    MetaBody first = built.GetMeta(0);
    first.root_page = 3;
    built.SetMeta(0, first, false);
    const auto file = MemoryFile(built.bytes());
    const auto database = Database::Open(*file);
    REQUIRE(database);
    CHECK(database->meta().page_size == page_size);
    CHECK(ValueSeen(*database) == "newer");
    REQUIRE(database->problem());
    CHECK(database->problem()->slot == 0);
    CHECK(database->problem()->code == "bolt-meta-checksum");
  }
}

TEST_CASE("Two bad meta pages are one error that names both reasons") {
  TestFile built = TwoTransactions(16384);
  MetaBody first = built.GetMeta(0);
  first.checksum = 1;
  built.SetMeta(0, first, false);
  MetaBody second = built.GetMeta(1);
  second.version = 1;
  built.SetMeta(1, second);
  const auto file = MemoryFile(built.bytes());
  const auto database = Database::Open(*file);
  REQUIRE_FALSE(database);
  CHECK(database.error().code == "bolt-no-meta");
  CHECK(database.error().kind == ErrorKind::kDataDamaged);
  CHECK(database.error().message.find("meta page 0: checksum") != std::string::npos);
  CHECK(database.error().message.find("meta page 1: format version 1") != std::string::npos);
}

TEST_CASE("A high water mark beyond the end of the file has its own error") {
  TestFile built = TwoTransactions();
  built.bytes().resize(built.bytes().size() - 1);
  const auto file = MemoryFile(built.bytes());
  const auto database = Database::Open(*file);
  REQUIRE_FALSE(database);
  CHECK(database.error().code == "bolt-truncated");

  MetaBody huge = built.GetMeta(1);
  huge.high_water_mark = ~std::uint64_t{0};  // times the page size overflows
  built.SetMeta(1, huge);
  const auto overflowing = MemoryFile(built.bytes());
  CHECK(Database::Open(*overflowing).error().code == "bolt-truncated");
}

TEST_CASE("A root page that cannot exist is refused") {
  for (const std::uint64_t root :
       {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{4}, ~std::uint64_t{0}}) {
    TestFile built = TwoTransactions();
    MetaBody body = built.GetMeta(1);
    body.root_page = root;
    built.SetMeta(1, body);
    const auto file = MemoryFile(built.bytes());
    const auto database = Database::Open(*file);
    REQUIRE_FALSE(database);
    CHECK(database.error().code == "bolt-meta-bounds");
  }
}

TEST_CASE("Files too short for a meta page are refused") {
  for (const std::size_t size : {0U, 1U, 79U}) {
    const auto file = MemoryFile(Bytes(size));
    CHECK(Database::Open(*file).error().code == "bolt-too-short");
  }
  const auto zeros = MemoryFile(Bytes(100000));
  CHECK(Database::Open(*zeros).error().code == "bolt-no-meta");
}

}  // namespace
}  // namespace rescue::bolt
