#include "rescue/raftlog/snap.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "rescue/base/checksum.h"
#include "rescue/raftlog/log_fixture.h"
#include "rescue/raftlog/proto.h"

namespace rescue::raftlog {
namespace {

using namespace testing;  // NOLINT(google-build-using-namespace)
using rescue::testing::ForEveryTruncation;
using rescue::testing::ForRandomMutations;

// The parts of a .snap file: the checksum is not looked at.
ByteView SnapshotDataIn(ByteView file) {
  ByteView data;
  REQUIRE(ReadFields(file, "test", [&](ProtoReader& field) {
    if (field.tag() == 2) return TakeBytes(field, data);
    field.skip();
    return true;
  }));
  return data;
}

Bytes WithChecksum(ByteView data) {
  std::string encoded;
  ProtoWriter writer(encoded);
  writer.add_uint32(1, Crc32c(0, data));
  writer.add_bytes(2, ProtoView(data));
  return EncodedBytes(encoded);
}

void RepairChecksum(Bytes& file) {
  ByteView data;
  const Status read = ReadFields(file, "test", [&](ProtoReader& field) {
    if (field.tag() == 2) return TakeBytes(field, data);
    field.skip();
    return true;
  });
  if (read && !data.empty()) file = WithChecksum(data);
}

StoreMembership SampleStore() {
  StoreMembership store;
  store.members[1] = {1, "", {"http://a:1"}, {}, true};
  store.members[~std::uint64_t{0}] = {
      ~std::uint64_t{0}, "m<2>", {"http://b:1", "http://c:1"}, {"http://d:1"}, false};
  store.removed = {7, 0xabcdef};
  store.cluster_version = "3.5.0";
  return store;
}

TEST_CASE("ReadsSnapsOfEveryVersion") {
  const auto [fixture, index, version, learner] =
      GENERATE(table<const char*, int, const char*, std::uint64_t>({
          {"e3423-learner", 160, "3.4.0", 18212796046019911216U},
          {"e3516-learner", 159, "3.5.0", 9739426122982230637U},
          {"e3530-learner", 160, "3.5.0", 0},
          {"e3614-learner", 159, "3.6.0", 0},
          {"e371-learner", 159, "3.7.0", 0},
      }));
  INFO(fixture);
  const Bytes content = SnapOf(fixture);
  const auto snap = DecodeSnapFile(content);
  REQUIRE(snap);
  CHECK(snap->metadata.index == static_cast<std::uint64_t>(index));
  CHECK(snap->metadata.term == 2);
  CHECK(snap->metadata.conf_state.voters.size() == 3);
  REQUIRE(snap->metadata.conf_state.learners.size() == 1);
  const std::uint64_t id = snap->metadata.conf_state.learners[0];
  if (learner != 0) CHECK(id == learner);
  REQUIRE(snap->store.members.size() == 4);
  CHECK(snap->store.members.at(id).is_learner);
  CHECK(snap->store.members.at(id).peer_urls.size() == 1);
  CHECK(snap->store.cluster_version == version);
  CHECK_FALSE(snap->store.has_user_keys);
  CHECK(snap->store.notes.empty());
  // Byte for byte what etcd wrote.
  const ByteView data = SnapshotDataIn(content);
  CHECK(Equal(EncodeSnapshot(*DecodeSnapshot(data)), data));
  CHECK(WithChecksum(data) == content);
}

TEST_CASE("ListsSnapFolderNewestFirst") {
  MemoryFileSystem files;
  for (const char* name :
       {"0000000000000002-0000000000000065.snap", "0000000000000003-0000000000000010.snap",
        "0000000000000002-00000000000000ca.snap", "0000000000000002-00000000000000cb.snap.broken",
        "0000000000000070.snap.db", "0000000000000009.snap.db", "db", "db.tmp.123", "tmp456",
        "2-3.snap", "notes.txt"}) {
    files.AddFile(std::string("member/snap/") + name, {});
  }
  const auto listing = ListSnaps(files, "member/snap");
  REQUIRE(listing);
  CHECK(listing->snaps == std::vector<SnapName>{{3, 0x10}, {2, 0xca}, {2, 0x65}});
  CHECK(listing->database_indexes == std::vector<std::uint64_t>{9, 0x70});
  CHECK(listing->broken.size() == 1);
  CHECK(listing->leftovers == std::vector<std::string>{"db.tmp.123", "tmp456"});
  CHECK(listing->foreign == std::vector<std::string>{"2-3.snap", "notes.txt"});
  CHECK(FormatSnapDatabaseName(0x70) == "0000000000000070.snap.db");
}

TEST_CASE("SnapNamesHaveOneSpelling") {
  CHECK(ParseSnapName("0000000000000002-00000000000000ca.snap") == SnapName{2, 0xca});
  CHECK(FormatSnapName({2, 0xca}) == "0000000000000002-00000000000000ca.snap");
  CHECK_FALSE(ParseSnapName("0000000000000002-00000000000000CA.snap"));
  CHECK_FALSE(ParseSnapName("0000000000000002-00000000000000ca.snap.db"));
  CHECK_FALSE(ParseSnapName("000000000000000x-00000000000000ca.snap"));
}

TEST_CASE("ReadSnapTakesTermAndIndexFromTheName") {
  MemoryFileSystem files;
  files.AddFile("snap/0000000000000005-0000000000000006.snap", SnapOf("e3530-learner"));
  const auto snap = ReadSnap(files, "snap/0000000000000005-0000000000000006.snap");
  REQUIRE(snap);
  CHECK(snap->name == SnapName{5, 6});
  CHECK(snap->metadata.index == 160);
}

TEST_CASE("SnapThatWeWriteReadsBack") {
  const SnapshotMetadata metadata{{{1, 2}, {3}, {}, {}, false}, 500, 4};
  const auto snap = DecodeSnapFile(EncodeSnapFile(metadata, SampleStore()));
  REQUIRE(snap);
  CHECK(snap->metadata == metadata);
  CHECK(snap->store == SampleStore());
}

TEST_CASE("SmallestStoreIsSpelledAsGoDoes") {
  StoreMembership store;
  store.members[0xa] = {0xa, "", {"http://x"}, {}, false};
  const std::string json = WriteStoreJson(store);
  CHECK(json.starts_with(R"({"Root":{"Path":"/","CreatedIndex":0,"ModifiedIndex":0,)"
                         R"("ExpireTime":"0001-01-01T00:00:00Z","Value":"","Children":{"0":{)"));
  CHECK(json.find(R"("Value":"{\"peerURLs\":[\"http://x\"]}","Children":null)") !=
        std::string::npos);
  CHECK(json.ends_with(R"("CurrentIndex":1,"CurrentVersion":2})"));
}

TEST_CASE("UserKeysOfTheOldApiAreSeen") {
  const std::string root = R"({"Root":{"Path":"/","Children":{)";
  const auto has_user_keys = [&](const std::string& children) {
    return ParseStoreJson(root + children + "}}}").value().has_user_keys;
  };
  CHECK_FALSE(has_user_keys(R"("1":{"Path":"/1","Children":{}})"));
  CHECK(has_user_keys(R"("1":{"Path":"/1","Children":{"k":{"Path":"/1/k","Value":"v"}}})"));
  CHECK(has_user_keys(R"("2":{"Path":"/2","Children":{"users":{"Path":"/2/users"}}})"));
  CHECK_FALSE(has_user_keys(R"("0":{"Path":"/0","Children":{"k":{"Path":"/0/k","Value":"v"}}})"));
}

TEST_CASE("ForeignMembersAreNotedAndSkipped") {
  const auto store = ParseStoreJson(
      R"({"Root":{"Path":"/","Children":{"0":{"Path":"/0","Children":{"members":{"Path":"m",)"
      R"("Children":{"xyz":{"Path":"p"},"a":{"Path":"p","Children":{"raftAttributes":)"
      R"({"Path":"q","Value":"{oops"}}}}}}}}}})");
  REQUIRE(store);
  CHECK(store->members.size() == 1);
  CHECK(store->notes.size() == 2);
}

TEST_CASE("BadSnapsAreNamedByTheirFault") {
  const Bytes good = SnapOf("e3530-learner");
  const auto code = [](ByteView content) { return DecodeSnapFile(content).error().code; };
  CHECK(code({}) == "snap-empty");
  Bytes flipped = good;
  flipped[flipped.size() / 2] ^= std::byte{1};
  CHECK(code(flipped) == "snap-crc-mismatch");
  CHECK(code(ByteView(good).first(good.size() - 1)) == "snap-malformed");
  CHECK(code(WithChecksum(*ParseHex("0a"))) == "snap-malformed");
  CHECK(code(WithChecksum(EncodeSnapshot({ToBytes(AsBytes("[]")), {}}))) == "snap-store-malformed");
  CHECK(code(WithChecksum(EncodeSnapshot({ToBytes(AsBytes("{}")), {}}))) == "snap-store-malformed");
}

TEST_CASE("StoreDepthIsLimited") {
  std::string deep;
  for (int i = 0; i < 100000; ++i) deep += R"({"Children":)";
  CHECK_FALSE(ParseStoreJson(R"({"Root":)" + deep));
  CHECK_FALSE(ParseStoreJson(R"({"x":)" + std::string(300000, '[')));
}

TEST_CASE("SnapsSurviveHostileBytes") {
  // A small one, so that damage hits what matters; most of a real one is an empty history.
  const Bytes sample = EncodeSnapFile({{{1, 2}, {3}, {}, {}, false}, 500, 4}, SampleStore());
  std::size_t accepted = 0;
  ForEveryTruncation(sample, [&](ByteView bytes) { accepted += DecodeSnapFile(bytes) ? 1 : 0; });
  CHECK(accepted == 1);
  ForRandomMutations(sample, 3, 10000, [](ByteView bytes) { (void)DecodeSnapFile(bytes); });
  std::size_t past_the_checksum = 0;
  ForRandomMutations(
      sample, 4, 10000,
      [&](ByteView bytes) {
        const auto snap = DecodeSnapFile(bytes);
        if (snap || snap.error().code == "snap-store-malformed") ++past_the_checksum;
      },
      RepairChecksum);
  CHECK(past_the_checksum > 4000);
}

TEST_CASE("RealSnapSurvivesTruncationAndDamage") {
  const Bytes sample = SnapOf("e3614-learner");
  ForRandomMutations(
      sample, 5, 500, [](ByteView bytes) { (void)DecodeSnapFile(bytes); }, RepairChecksum);
  ForEveryTruncation(sample, [&](ByteView bytes) {
    if (bytes.size() < sample.size()) CHECK_FALSE(DecodeSnapFile(bytes));
  });
}

}  // namespace
}  // namespace rescue::raftlog
