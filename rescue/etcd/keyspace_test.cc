// Listing keys at a revision.
#include "rescue/etcd/keyspace.h"

#include <catch2/catch_test_macros.hpp>

#include "rescue/etcd/look_fixture.h"

namespace rescue::etcd {
namespace {

using testing::History;

History Sample() {
  History history;
  history.Put("/pods/a", "1");           // 2
  history.Put("/pods/b", "22", 77);      // 3
  history.Put("/pods/a", "333");         // 4
  history.Delete("/pods/b");             // 5
  history.Put("/secrets/c", "4444");     // 6
  history.Put("/pods/b", "55555");       // 7
  history.Put("/pods/b", "666666", 78);  // 8
  return history;
}

Result<KeyListing> List(const RangeRequest& request, const testing::Compaction& compaction = {},
                        const History& history = Sample()) {
  const auto backend = MakeBackend(history, compaction);
  const bolt::testing::ViewFile file(backend.bytes());
  const auto database = bolt::Database::Open(file).value();
  return ListKeys(database, request);
}

std::vector<std::string> Names(const Result<KeyListing>& range) {
  std::vector<std::string> names;
  for (const auto& key : range.value().keys) names.emplace_back(AsText(key.key));
  return names;
}

using Texts = std::vector<std::string>;

TEST_CASE("ListsWhatAClientWouldSee") {
  RangeRequest request;
  request.values = true;
  const auto range = List(request).value();
  CHECK(range.revision == 8);
  CHECK(range.latest_revision == 8);
  CHECK(range.matching == 3);
  REQUIRE(range.keys.size() == 3);
  CHECK(range.keys[0] ==
        ListedKey{ToBytes(AsBytes("/pods/a")), 2, 4, 2, 0, 3, ToBytes(AsBytes("333"))});
  CHECK(range.keys[1] ==
        ListedKey{ToBytes(AsBytes("/pods/b")), 7, 8, 2, 78, 6, ToBytes(AsBytes("666666"))});
  CHECK(range.keys[2] ==
        ListedKey{ToBytes(AsBytes("/secrets/c")), 6, 6, 1, 0, 4, ToBytes(AsBytes("4444"))});
}

TEST_CASE("ValuesComeOnlyWhenAskedFor") {
  const auto range = List({}).value();
  CHECK_FALSE(range.keys[0].value.has_value());
  CHECK(range.keys[0].value_size == 3);
}

TEST_CASE("ShowsThePast") {
  RangeRequest request;
  request.revision = 3;
  CHECK(Names(List(request)) == Texts{"/pods/a", "/pods/b"});
  CHECK(List(request)->keys[0].mod_revision == 2);
  CHECK(List(request)->keys[1].lease == 77);
  request.revision = 5;
  CHECK(Names(List(request)) == Texts{"/pods/a"});
  request.revision = 1;
  CHECK(Names(List(request)).empty());
}

TEST_CASE("PrefixFromAndLimitChoose") {
  RangeRequest request;
  request.prefix = "/pods/";
  CHECK(Names(List(request)) == Texts{"/pods/a", "/pods/b"});
  request.from = "/pods/b";
  CHECK(Names(List(request)) == Texts{"/pods/b"});
  request.prefix.clear();
  CHECK(Names(List(request)) == Texts{"/pods/b", "/secrets/c"});
  request.from.clear();
  request.limit = 2;
  CHECK(Names(List(request)) == Texts{"/pods/a", "/pods/b"});
  CHECK(List(request)->matching == 3);
  request.prefix = "/none";
  CHECK(Names(List(request)).empty());
}

TEST_CASE("RefusesRevisionsThatWereCompactedOrAreNotThere") {
  const testing::Compaction compaction{4, 4, 0, true};
  RangeRequest request;
  request.revision = 3;
  CHECK(List(request, compaction).error().code == "revision-compacted");
  request.revision = 9;
  CHECK(List(request, compaction).error().code == "revision-future");
  request.revision = 4;
  CHECK(Names(List(request, compaction)) == Texts{"/pods/a", "/pods/b"});
  // Not finished yet, but promised to everybody who reads.
  request.revision = 3;
  CHECK(List(request, {4, 0, 0, true}).error().code == "revision-compacted");
}

TEST_CASE("MoreKeysThanMemoryAreRefused") {
  RangeRequest request;
  request.max_memory = 300;
  const auto range = List(request);
  REQUIRE_FALSE(range);
  CHECK(range.error().code == "too-many-keys");
  CHECK(range.error().kind == ErrorKind::kRefused);
  // One key at a time is within the limit.
  History history;
  for (int i = 0; i < 20; ++i) history.Put("k", "v").Delete("k");
  request.max_memory = 500;
  CHECK(Names(List(request, {}, history)).empty());
}

TEST_CASE("TheRecordOfABumpedRevisionIsNoKey") {
  // etcdutl snapshot restore --bump-revision puts a revision with an empty value.
  bolt::testing::TestFile file;
  const auto root = file.Leaf({{testing::RevisionKey({1000, 0}), ""}});
  file.Finish(file.Leaf({bolt::testing::TestFile::BucketAt("key", root)}));
  const bolt::testing::ViewFile view(file.bytes());
  const auto range = ListKeys(bolt::Database::Open(view).value(), {}).value();
  CHECK(range.keys.empty());
  CHECK(range.revision == 1000);
}

TEST_CASE("HostileBackendsNeverCrashTheList") {
  const Bytes sample = MakeBackend(Sample(), {4, 3, 2, true}).bytes();
  RangeRequest request;
  request.values = true;
  rescue::testing::ForRandomMutations(sample, 13, 2000, [&](ByteView bytes) {
    const bolt::testing::ViewFile file(bytes);
    const auto database = bolt::Database::Open(file);
    if (database) (void)ListKeys(*database, request);
  });
}

}  // namespace
}  // namespace rescue::etcd
