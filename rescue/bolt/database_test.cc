#include "rescue/bolt/database.h"

#include <algorithm>
#include <catch2/catch_test_macros.hpp>

#include "rescue/bolt/test_file.h"
#include "tests/support/fixtures.h"

namespace rescue::bolt {
namespace {

using testing::Item;
using testing::NumberedItems;
using testing::RealBackend;
using testing::TestFile;

std::unique_ptr<ReadableFile> FileOf(const TestFile& file) {
  return rescue::testing::MemoryFile(file.bytes());
}

std::string Text(const Bytes& bytes) { return std::string(AsText(bytes)); }

TEST_CASE("Reads what a real etcd 3.5 wrote") {
  const auto file = rescue::testing::MemoryFile(RealBackend());
  const auto database = Database::Open(*file);
  REQUIRE(database);
  CHECK(database->meta().page_size == 4096);
  CHECK(database->meta().freelist_page == kNoFreelist);
  CHECK(database->meta().high_water_mark * 4096 == file->size());
  CHECK_FALSE(database->problem());

  const auto names = database->Buckets();
  REQUIRE(names);
  CHECK(*names == std::vector<std::string>{"alarm", "auth", "authRoles", "authUsers", "cluster",
                                           "key", "lease", "members", "members_removed", "meta"});

  const auto meta = database->FindBucket(AsBytes("meta"));
  REQUIRE((meta && *meta));
  CHECK((*meta)->is_inline());
  const auto index = (*meta)->Get(AsBytes("consistent_index"));
  REQUIRE((index && *index));
  CHECK((*index)->size() == 8);

  // 60 things, a leased one, a large one, 3 deletions, a last one: revisions 2 to 67.
  const auto keys = database->FindBucket(AsBytes("key"));
  REQUIRE((keys && *keys));
  CHECK_FALSE((*keys)->is_inline());
  std::uint64_t revision = 2;
  std::size_t largest = 0;
  const auto walked = (*keys)->ForEach([&](ByteView key, ByteView value, bool is_bucket) {
    CHECK_FALSE(is_bucket);
    CHECK(key.size() >= 17);
    CHECK(ByteReader(key).Read<ub64>()->Get() == revision++);
    largest = std::max(largest, value.size());
    return true;
  });
  CHECK(walked);
  CHECK(revision == 68);
  CHECK(largest > 9000);
  const auto last = (*keys)->Last();
  REQUIRE((last && *last));
  CHECK(ByteReader((*last)->first).Read<ub64>()->Get() == 67);
  CHECK(AsText((*last)->second).find("/registry/last") != std::string_view::npos);
}

TEST_CASE("Finds every key, and none that is not there, at every page size") {
  for (const std::uint64_t page_size : {1024U, 4096U, 16384U, 65536U}) {
    CAPTURE(page_size);
    TestFile built(page_size);
    const auto items = NumberedItems(1000, 20);
    const auto tree = built.Tree(items, 7);
    const auto inline_item = TestFile::InlineBucket("b-inline", NumberedItems(3, 12));
    built.Finish(built.Leaf({TestFile::BucketAt("a-tree", tree), inline_item}));
    const auto file = FileOf(built);
    const auto database = Database::Open(*file);
    REQUIRE(database);
    CHECK(database->meta().page_size == page_size);
    const auto bucket = database->FindBucket(AsBytes("a-tree"));
    REQUIRE((bucket && *bucket));
    CHECK((*bucket)->sequence() == 5);
    for (const Item& item : items) {
      const auto value = (*bucket)->Get(AsBytes(item.key));
      REQUIRE((value && *value));
      REQUIRE(Text(**value) == item.value);
      for (const std::string& absent : {item.key + "x", item.key.substr(0, 19)}) {
        const auto nothing = (*bucket)->Get(AsBytes(absent));
        REQUIRE((nothing && !*nothing));
      }
    }
    const auto last = (*bucket)->Last();
    REQUIRE((last && *last));
    CHECK(Text((*last)->first) == items.back().key);
    const auto inner = database->FindBucket(AsBytes("b-inline"));
    REQUIRE((inner && *inner));
    CHECK((*inner)->is_inline());
    CHECK(Text(*(*inner)->Get(AsBytes(NumberedItems(3, 12)[1].key)).value()) ==
          std::string(40, 'b'));
    CHECK(Text((*inner)->Last().value()->first) == NumberedItems(3, 12)[2].key);
  }
}

TEST_CASE("Walks from any key on, in order, until told to stop") {
  TestFile built;
  const auto items = NumberedItems(200);
  built.Finish(built.Leaf({TestFile::BucketAt("t", built.Tree(items, 5))}));
  const auto file = FileOf(built);
  const auto database = Database::Open(*file);
  REQUIRE(database);
  const auto bucket = **database->FindBucket(AsBytes("t"));
  for (std::size_t start = 0; start <= items.size(); ++start) {
    // From the key itself, and from just behind the key before it: both begin at the same one.
    for (const std::string& from : {start < items.size() ? items[start].key : std::string("z"),
                                    start > 0 ? items[start - 1].key + '\0' : std::string()}) {
      std::size_t at = start;
      const auto status = bucket.ForEach(
          [&](ByteView key, ByteView value, bool) {
            REQUIRE(AsText(key) == items[at].key);
            REQUIRE(AsText(value) == items[at].value);
            return ++at < start + 20;
          },
          AsBytes(from));
      CHECK(status);
      CHECK(at == std::min(items.size(), start + 20));
    }
  }
}

TEST_CASE("Follows buckets in buckets, and tells keys and buckets apart") {
  TestFile built;
  const auto deepest = built.Leaf({{"key", "deep"}});
  const auto inner = built.Leaf({TestFile::BucketAt("c", deepest), {"plain", "1"}});
  built.Finish(built.Leaf({TestFile::BucketAt("a", inner), TestFile::InlineBucket("empty", {})}));
  const auto file = FileOf(built);
  const auto database = Database::Open(*file);
  REQUIRE(database);
  const auto a = **database->FindBucket(AsBytes("a"));
  const auto c = **a.FindBucket(AsBytes("c"));
  CHECK(Text(**c.Get(AsBytes("key"))) == "deep");
  CHECK(a.Buckets().value() == std::vector<std::string>{"c"});
  CHECK_FALSE(a.Get(AsBytes("c")).value());
  CHECK_FALSE(a.FindBucket(AsBytes("plain")).value());
  CHECK_FALSE(a.FindBucket(AsBytes("absent")).value());
  const auto empty = **database->FindBucket(AsBytes("empty"));
  CHECK_FALSE(empty.Last().value());
  CHECK(empty.Buckets().value().empty());
}

TEST_CASE("Reads values over many pages, also those longer than it keeps in memory") {
  for (const std::size_t size : {5000U, 300000U, 3000000U}) {
    TestFile built;
    std::vector<Item> items = NumberedItems(3);
    items[1].value = std::string(size, 'x');
    items[1].value.back() = 'y';
    built.Finish(built.Leaf({TestFile::BucketAt("t", built.Leaf(items))}));
    const auto file = FileOf(built);
    const auto database = Database::Open(*file);
    REQUIRE(database);
    const auto bucket = **database->FindBucket(AsBytes("t"));
    for (const Item& item : items) CHECK(Text(**bucket.Get(AsBytes(item.key))) == item.value);
    std::size_t visited = 0;
    CHECK(bucket.ForEach([&](ByteView key, ByteView value, bool) {
      CHECK(AsText(key) == items[visited].key);
      CHECK(AsText(value) == items[visited].value);
      return ++visited > 0;
    }));
    CHECK(visited == 3);
  }
}

TEST_CASE("A tree that runs in a circle or twice over a page ends in an error") {
  TestFile built;
  const auto tree = built.Tree(NumberedItems(100), 4);
  built.Finish(built.Leaf({TestFile::BucketAt("t", tree)}));
  const auto walk = [&](std::uint64_t child) {
    TestFile damaged = built;
    damaged.SetChild(tree, 1, child);
    const auto file = FileOf(damaged);
    const auto bucket = **Database::Open(*file)->FindBucket(AsBytes("t"));
    return bucket.ForEach([](ByteView, ByteView, bool) { return true; });
  };
  const auto circle = walk(tree);
  REQUIRE_FALSE(circle);
  CHECK((circle.error().code == "bolt-depth" || circle.error().code == "bolt-page"));
  const auto twice = walk(2);
  REQUIRE_FALSE(twice);
  CHECK(twice.error().code == "bolt-page");
  CHECK(twice.error().message.find("bucket t") != std::string::npos);
  const auto outside = walk(1000000);
  REQUIRE_FALSE(outside);
  CHECK(outside.error().code == "bolt-page");
  const auto meta_page = walk(1);
  REQUIRE_FALSE(meta_page);
}

TEST_CASE("A circle of one-child branches ends at the depth limit") {
  TestFile built;
  const auto first = built.Branch({{"a", 3}});
  const auto second = built.Branch({{"a", first}});
  built.Finish(built.Leaf({TestFile::BucketAt("t", second)}));
  const auto file = FileOf(built);
  const auto bucket = **Database::Open(*file)->FindBucket(AsBytes("t"));
  for (const auto& code : {bucket.Get(AsBytes("a")).error().code, bucket.Last().error().code}) {
    CHECK(code == "bolt-depth");
  }
}

TEST_CASE("A damaged page fails only what needs it") {
  TestFile built;
  const auto items = NumberedItems(40);
  const auto tree = built.Tree(items, 10);
  built.Finish(built.Leaf({TestFile::BucketAt("t", tree)}));
  built.KeyByte(3, 1) = std::byte{0xff};  // the second leaf's order
  const auto file = FileOf(built);
  const auto bucket = **Database::Open(*file)->FindBucket(AsBytes("t"));
  CHECK(bucket.Get(AsBytes(items[0].key)).value());
  CHECK(bucket.Get(AsBytes(items[39].key)).value());
  const auto damaged = bucket.Get(AsBytes(items[15].key));
  REQUIRE_FALSE(damaged);
  CHECK(damaged.error().message ==
        "bbolt bucket t: page 3: element 2: key is not above the one before it");
  std::size_t seen = 0;
  const auto walk = bucket.ForEach([&](ByteView, ByteView, bool) { return ++seen > 0; });
  CHECK_FALSE(walk);
  CHECK(seen == 10);
}

}  // namespace
}  // namespace rescue::bolt
