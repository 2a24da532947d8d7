// The key space's hash against a literal model of etcd's rule, on histories made by hand and at
// random. That real servers and etcdutl give these numbers, tests/peers/look_cases.py shows.
#include "rescue/etcd/hash.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators_range.hpp>
#include <random>

#include "rescue/base/checksum.h"
#include "rescue/etcd/key_table.h"
#include "rescue/etcd/look_fixture.h"

namespace rescue::etcd {
namespace {

using testing::Compaction;
using testing::History;
using testing::MakeBackend;

// mvcc/hash.go, kvHasher.WriteKeyValue, and kvstore.go, hashByRev.
std::uint32_t ModelHash(const History& history, const Compaction& compaction,
                        std::uint64_t revision) {
  const std::uint64_t compacted = std::max(compaction.scheduled, compaction.finished);
  const auto keep = history.Keep(revision);
  std::uint32_t crc = Crc32c(0, AsBytes("key"));
  for (const auto& write : testing::Remaining(history, compaction)) {
    const std::uint64_t main = write.revision.main;
    if (main > revision) continue;
    if (main <= compacted && !keep.empty() && !keep.contains(History::PlaceOf(write))) continue;
    if (main == compacted && write.tombstone) continue;
    crc = Crc32c(crc, AsBytes(testing::RevisionKey(write.revision, write.tombstone)));
    crc = Crc32c(crc, AsBytes(testing::KeyValue(write)));
  }
  return crc;
}

Result<KeySpaceHash> HashOf(const History& history, const Compaction& compaction,
                            std::uint64_t revision = 0,
                            std::optional<std::uint64_t> compact_revision = {}) {
  const auto backend = MakeBackend(history, compaction);
  const bolt::testing::ViewFile file(backend.bytes());
  const auto database = bolt::Database::Open(file).value();
  HashOptions options;
  options.revision = revision;
  options.compact_revision = compact_revision;
  return HashKeySpace(database, options);
}

History Sample() {
  History history;
  history.Put("a", "1").Put("b", "2", 77).Put("a", "3").Delete("b").Put("c", "4");
  history.Put("d", "5").AndPut("a", "6").AndDelete("c").Put("b", "7").Delete("d").Put("e", "8");
  return history;
}

TEST_CASE("HashesEveryRecordUpToTheRevision") {
  const History history = Sample();
  for (std::uint64_t revision = 1; revision <= history.revision(); ++revision) {
    const auto hash = HashOf(history, {}, revision).value();
    CHECK(hash.hash == ModelHash(history, {}, revision));
    CHECK(hash.revision == revision);
    CHECK(hash.compact_revision == 0);
    CHECK(hash.latest_revision == history.revision());
  }
  CHECK(HashOf(history, {}).value().revision == history.revision());
}

TEST_CASE("LeavesOutWhatACompactionWouldDelete") {
  const History history = Sample();
  const std::uint64_t at = GENERATE(range<std::uint64_t>(2, 11));
  for (std::uint64_t revision = at; revision <= history.revision(); ++revision) {
    const Compaction done{at, at, 0, true};
    const Compaction done_by_old_etcd{at, at, 0, false};
    CHECK(HashOf(history, done, revision)->hash == ModelHash(history, done, revision));
    CHECK(HashOf(history, done_by_old_etcd, revision)->hash == ModelHash(history, done, revision));
  }
}

TEST_CASE("DoesNotDependOnHowFarACompactionGot") {
  const History history = Sample();
  const std::uint64_t at = GENERATE(range<std::uint64_t>(2, 11));
  const auto whole = HashOf(history, {at, at, 0, true}).value();
  CHECK_FALSE(whole.compaction_pending);
  for (std::uint64_t reached = 0; reached <= at; ++reached) {
    const auto part = HashOf(history, {at, 0, reached, true}).value();
    CHECK(part.hash == whole.hash);
    CHECK(part.compact_revision == at);
    CHECK(part.compaction_pending);
  }
}

TEST_CASE("AnEmptyKeySpaceLeavesNothingOut") {
  History history;
  history.Put("a", "1").Put("b", "2").Delete("a").Delete("b");
  // Unfinished: the records are still there, and etcd hashes them, but for the last tombstone.
  const Compaction pending{5, 0, 0, true};
  CHECK(HashOf(history, pending)->hash == ModelHash(history, pending, 5));
  CHECK(HashOf(history, pending)->records == 3);
  // Finished: only that tombstone is left.
  const Compaction done{5, 5, 0, true};
  CHECK(HashOf(history, done)->hash == Crc32c(0, AsBytes("key")));
  // A key that lives again counts.
  history.Put("c", "3");
  CHECK(HashOf(history, pending)->hash == ModelHash(history, pending, 6));
  CHECK(HashOf(history, pending)->records == 1);
}

TEST_CASE("MembersThatWereCompactedDifferentlyCanBeCompared") {
  const History history = Sample();
  const std::uint64_t common = 8;
  for (std::uint64_t revision = common; revision <= history.revision(); ++revision) {
    const auto expected = HashOf(history, {common, common, 0, true}, revision, common).value();
    for (std::uint64_t at = 0; at <= common; ++at) {
      CHECK(HashOf(history, {at, at, 0, false}, revision, common)->hash == expected.hash);
    }
    CHECK(expected.hash == ModelHash(history, {common, common, 0, true}, revision));
  }
}

TEST_CASE("AnotherValueGivesAnotherHash") {
  History one;
  History other;
  one.Put("a", "1").Put("b", "2");
  other.Put("a", "1").Put("b", "3");
  CHECK(HashOf(one, {})->hash != HashOf(other, {})->hash);
  CHECK(HashOf(one, {}, 2)->hash == HashOf(other, {}, 2)->hash);
}

TEST_CASE("RefusesRevisionsThatAreNotThere") {
  const History history = Sample();
  const Compaction compaction{5, 5, 0, true};
  CHECK(HashOf(history, compaction, 4).error().code == "revision-compacted");
  CHECK(HashOf(history, compaction, 5));
  CHECK(HashOf(history, compaction, history.revision() + 1).error().code == "revision-future");
  CHECK(HashOf(history, compaction, 7, 4).error().code == "revision-compacted");
  CHECK(HashOf(history, compaction, 7, 8).error().code == "revision-future");
  CHECK(HashOf(history, compaction, 4).error().kind == ErrorKind::kUsage);
}

TEST_CASE("ADeletionThatWasCompactedAwayStillCountsAsARevision") {
  History history;
  history.Put("a", "1").Put("b", "2").Delete("b");
  const auto hash = HashOf(history, {4, 4, 0, false}).value();
  CHECK(hash.revision == 4);
  CHECK(hash.records == 1);
}

TEST_CASE("AnEmptyBackendIsAtRevisionOne") {
  const auto hash = HashOf(History(), {}).value();
  CHECK(hash.revision == 1);
  CHECK(hash.hash == Crc32c(0, AsBytes("key")));
}

TEST_CASE("RandomHistoriesAgreeWithTheModel") {
  const int seed = GENERATE(range(0, 40));
  std::mt19937 random(static_cast<unsigned>(seed));
  const auto below = [&](unsigned limit) { return static_cast<unsigned>(random() % limit); };
  History history;
  std::set<std::string> alive;
  for (unsigned step = 20 + below(120); step > 0; --step) {
    std::string key = std::string(1 + below(3) * 11, 'k') + std::to_string(below(12));
    if (alive.contains(key) && below(3) == 0) {
      history.Delete(key);
      alive.erase(key);
    } else {
      history.Put(key, std::string(below(300), 'v'), below(2) == 0 ? 0 : 5);
      alive.insert(key);
      if (below(4) == 0) history.AndPut("other" + std::to_string(below(5)), "x");
    }
  }
  const std::uint64_t at = 2 + below(static_cast<unsigned>(history.revision()) - 1);
  const Compaction compaction{at, below(2) == 0 ? at : at / 2, at * below(4) / 3, below(2) == 0};
  for (std::uint64_t revision = at; revision <= history.revision(); revision += 1 + below(9)) {
    CHECK(HashOf(history, compaction, revision)->hash == ModelHash(history, compaction, revision));
  }
}

TEST_CASE("ADamagedRecordFailsTheHash") {
  auto backend = MakeBackend(Sample());
  // A length that runs past the end of the message.
  const auto bytes = AsText(backend.bytes());
  const std::size_t at = bytes.find('_', 2 * backend.page_size());
  REQUIRE(at != std::string_view::npos);
  backend.bytes()[at + 9 + 1] = std::byte{0x7f};
  const bolt::testing::ViewFile file(backend.bytes());
  const auto hash = HashKeySpace(bolt::Database::Open(file).value());
  REQUIRE_FALSE(hash);
  CHECK(hash.error().code == "bad-key-record");
  CHECK(hash.error().kind == ErrorKind::kDataDamaged);
}

TEST_CASE("HostileBackendsNeverCrashTheHash") {
  const Bytes sample = MakeBackend(Sample(), {6, 4, 3, true}).bytes();
  rescue::testing::ForRandomMutations(sample, 7, 3000, [](ByteView bytes) {
    const bolt::testing::ViewFile file(bytes);
    const auto database = bolt::Database::Open(file);
    if (database) (void)HashKeySpace(*database);
  });
}

TEST_CASE("TheKeyTableTellsManyKeysApart") {
  KeyTable table;
  constexpr std::uint64_t kKeys = 100000;
  for (std::uint64_t i = 0; i < kKeys; ++i) {
    std::uint64_t* const number = table.At(AsBytes("/registry/pods/" + std::to_string(i)));
    REQUIRE(*number == KeyTable::kNone);
    *number = i;
  }
  CHECK(table.size() == kKeys);
  for (std::uint64_t i = 0; i < kKeys; ++i) {
    REQUIRE(*table.Find(AsBytes("/registry/pods/" + std::to_string(i))) == i);
  }
  CHECK(table.Find(AsBytes("/registry/pods/")) == nullptr);
  CHECK(table.Find({}) == nullptr);
  // Lengths around the pieces that are mixed at a time, and a key that ends with a zero byte.
  for (std::size_t size = 0; size < 40; ++size) {
    CHECK(*table.At(AsBytes(std::string(size, '\0'))) == KeyTable::kNone);
  }
  CHECK(table.size() == kKeys + 40);
}

}  // namespace
}  // namespace rescue::etcd
