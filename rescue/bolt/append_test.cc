#include "rescue/bolt/append.h"

#include <fmt/format.h>

#include <catch2/catch_test_macros.hpp>
#include <map>
#include <string>

#include "rescue/bolt/check.h"
#include "rescue/bolt/commit_testing.h"
#include "rescue/bolt/test_file.h"

namespace rescue::bolt {
namespace {

using testing::ContentOf;
using testing::Item;
using testing::TestFile;
using testing::ViewFile;

// Twelve digits, so that the order of the numbers is the order of the keys.
std::string KeyOf(std::uint64_t number) { return fmt::format("k{:012}", number); }

std::string ValueOf(std::uint64_t number, std::size_t size) {
  return std::string(size, static_cast<char>('a' + number % 26));
}

std::vector<Item> Items(std::uint64_t count, std::size_t value_size) {
  std::vector<Item> items;
  for (std::uint64_t i = 0; i < count; ++i) items.push_back({KeyOf(i), ValueOf(i, value_size)});
  return items;
}

// A file whose bucket "key" holds `count` items as a tree of its own, beside an inline bucket.
Bytes FileWith(std::uint64_t count, std::size_t value_size, std::uint64_t page_size = 4096) {
  TestFile file(page_size);
  const auto tree = file.Tree(Items(count, value_size), 8);
  const auto root = file.Leaf(
      {TestFile::BucketAt("key", tree), TestFile::InlineBucket("meta", {{"index", "12345678"}})});
  return file.Finish(root).bytes();
}

struct Outcome {
  Bytes bytes;
  std::uint64_t appended = 0;
  std::uint64_t written = 0;
  std::size_t writes = 0;
};

Outcome AppendTo(Bytes bytes, std::uint64_t from, std::uint64_t count, std::size_t value_size) {
  Outcome outcome;
  outcome.bytes = bytes;
  const ViewFile file(bytes);
  auto appender = BucketAppender::Open(file, "key", [&](std::uint64_t offset, ByteView piece) {
    ++outcome.writes;
    if (outcome.bytes.size() < offset + piece.size()) outcome.bytes.resize(offset + piece.size());
    std::copy(piece.begin(), piece.end(),
              outcome.bytes.begin() + static_cast<std::ptrdiff_t>(offset));
    return Status();
  });
  REQUIRE(appender);
  for (std::uint64_t i = from; i < from + count; ++i) {
    REQUIRE(appender->Append(AsBytes(KeyOf(i)), AsBytes(ValueOf(i, value_size))));
  }
  REQUIRE(appender->Finish());
  outcome.appended = appender->appended();
  outcome.written = appender->bytes_written();
  return outcome;
}

void CheckHolds(const Bytes& bytes, std::uint64_t old_count, std::size_t old_size,
                std::uint64_t new_count, std::size_t new_size) {
  const ViewFile file(bytes);
  const auto report = Check(file);
  REQUIRE(report);
  CHECK(report->clean());
  const auto content = ContentOf(file);
  std::map<std::string, std::string> expected;
  for (std::uint64_t i = 0; i < old_count; ++i) expected[KeyOf(i)] = ValueOf(i, old_size);
  for (std::uint64_t i = old_count; i < old_count + new_count; ++i) {
    expected[KeyOf(i)] = ValueOf(i, new_size);
  }
  CHECK(content.at("key").keys == expected);
  CHECK(content.at("key").sequence == 5);
  CHECK(content.at("meta").keys.at("index") == "12345678");
}

}  // namespace

TEST_CASE("Appended keys stand behind the old ones, in trees of every height") {
  for (const std::uint64_t old_count : {1U, 7U, 8U, 9U, 64U, 65U, 700U}) {
    for (const std::uint64_t new_count : {1U, 2U, 9U, 200U, 5000U}) {
      CAPTURE(old_count, new_count);
      const Outcome outcome = AppendTo(FileWith(old_count, 100), old_count, new_count, 60);
      CHECK(outcome.appended == new_count);
      CheckHolds(outcome.bytes, old_count, 100, new_count, 60);
    }
  }
}

TEST_CASE("Small pages make many levels, large ones a flat tree") {
  for (const std::uint64_t page_size : {1024U, 16384U, 65536U}) {
    CAPTURE(page_size);
    const Outcome outcome = AppendTo(FileWith(300, 20, page_size), 300, 20'000, 30);
    CheckHolds(outcome.bytes, 300, 20, 20'000, 30);
  }
}

TEST_CASE("Values longer than a page get pages of their own") {
  const Outcome outcome = AppendTo(FileWith(20, 9'000), 20, 40, 70'000);
  CheckHolds(outcome.bytes, 20, 9'000, 40, 70'000);
}

TEST_CASE("An empty bucket and one inside its parent take keys, too") {
  TestFile inside;
  const Bytes inline_file =
      inside
          .Finish(inside.Leaf({TestFile::InlineBucket("key", Items(3, 10)),
                               TestFile::InlineBucket("meta", {{"index", "12345678"}})}))
          .bytes();
  CheckHolds(AppendTo(inline_file, 3, 2'000, 10).bytes, 3, 10, 2'000, 10);
  TestFile empty;
  const Bytes empty_file =
      empty
          .Finish(empty.Leaf({TestFile::InlineBucket("key", {}),
                              TestFile::InlineBucket("meta", {{"index", "12345678"}})}))
          .bytes();
  CheckHolds(AppendTo(empty_file, 0, 100, 10).bytes, 0, 0, 100, 10);
}

TEST_CASE("Nothing that the old meta page shows is overwritten") {
  const Bytes before = FileWith(500, 100);
  const Outcome outcome = AppendTo(before, 500, 3'000, 100);
  const ViewFile old_file(before);
  const ViewFile new_file(outcome.bytes);
  CHECK(ContentOf(new_file, /*slot=*/1) == ContentOf(old_file, /*slot=*/1));
}

TEST_CASE("Pages are written once, in large pieces") {
  const Outcome outcome = AppendTo(FileWith(500, 100), 500, 50'000, 200);
  // 50 000 * (16 + 13 + 200) bytes are 11.5 MB; a page holds 17 of them.
  CHECK(outcome.written < 12'500'000);
  CHECK(outcome.writes < 20);
}

TEST_CASE("Appending nothing writes nothing") {
  const Bytes before = FileWith(10, 10);
  const Outcome outcome = AppendTo(before, 10, 0, 0);
  CHECK(outcome.writes == 0);
  CHECK(outcome.bytes == before);
}

TEST_CASE("A key that does not come after the last one is refused") {
  const Bytes bytes = FileWith(10, 10);
  const ViewFile file(bytes);
  auto appender =
      BucketAppender::Open(file, "key", [](std::uint64_t, ByteView) { return Status(); });
  REQUIRE(appender);
  CHECK(AsText(appender->last_key()) == KeyOf(9));
  for (const std::uint64_t number : {0U, 9U}) {
    const auto refused = appender->Append(AsBytes(KeyOf(number)), {});
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == "bolt-order");
  }
  CHECK(appender->Append(AsBytes(KeyOf(10)), {}));
  const auto twice = appender->Append(AsBytes(KeyOf(10)), {});
  REQUIRE_FALSE(twice);
  CHECK(twice.error().code == "bolt-order");
}

TEST_CASE("A missing bucket and a damaged right edge are refused before anything is written") {
  TestFile other;
  const Bytes without = other.Finish(other.Leaf({TestFile::InlineBucket("meta", {})})).bytes();
  const auto sink = [](std::uint64_t, ByteView) -> Status {
    FAIL("written");
    return {};
  };
  const ViewFile without_file(without);
  const auto missing = BucketAppender::Open(without_file, "key", sink);
  REQUIRE_FALSE(missing);
  CHECK(missing.error().code == "bolt-no-bucket");

  TestFile damaged;
  const auto tree = damaged.Tree(Items(100, 100), 8);
  damaged.Finish(damaged.Leaf({TestFile::BucketAt("key", tree)}));
  PageHeader header = damaged.Header(tree);
  header.id = tree + 1;
  damaged.SetHeader(tree, header);
  const ViewFile damaged_file(damaged.bytes());
  const auto refused = BucketAppender::Open(damaged_file, "key", sink);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == "bolt-page");
}

}  // namespace rescue::bolt
