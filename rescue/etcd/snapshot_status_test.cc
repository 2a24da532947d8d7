// The numbers of `etcdutl snapshot status`. Expected ones come from etcdutl itself, where a file of
// a real etcd is used; see also tests/peers/look_cases.py.
#include "rescue/etcd/snapshot_status.h"

#include <catch2/catch_test_macros.hpp>
#include <nlohmann/json.hpp>

#include "rescue/etcd/hash.h"
#include "rescue/etcd/look_fixture.h"

namespace rescue::etcd {
namespace {

namespace fs = std::filesystem;

SnapshotStatus StatusOf(ByteView bytes) {
  const bolt::testing::ViewFile file(bytes);
  SnapshotStatus status;
  REQUIRE(ReadSnapshotStatus(file, {}, status));
  return status;
}

Bytes WithTrailer(Bytes pages) {
  const Sha256Digest digest = Sha256(pages);
  pages.insert(pages.end(), digest.begin(), digest.end());
  return pages;
}

testing::History Sample() {
  testing::History history;
  history.Put("a", "1").Put("b", "2").Put("a", "3").Delete("b").Put("c", "4").Put("b", "5");
  return history;
}

TEST_CASE("CountsRecordsAndLivingKeys") {
  const Bytes bytes = MakeBackend(Sample(), {3, 3, 0, true}).bytes();
  const SnapshotStatus status = StatusOf(bytes);
  CHECK(status.revision == 7);
  CHECK(status.live_keys == 3);
  // Five of six records of bucket key, and two of bucket meta.
  CHECK(status.total_keys == 8);
  CHECK(status.total_size == bytes.size());
  CHECK(status.trailer == SnapshotTrailer::kAbsent);
  CHECK(status.check->clean());
}

TEST_CASE("HashesBucketNamesKeysAndValuesInOrder") {
  testing::History history;
  history.Put("a", "1");
  const auto& write = history.writes().front();
  std::uint32_t expected = Crc32c(0, AsBytes("key"));
  expected = Crc32c(expected, AsBytes(testing::RevisionKey(write.revision)));
  expected = Crc32c(expected, AsBytes(testing::KeyValue(write)));
  expected = Crc32c(expected, AsBytes("meta"));
  CHECK(StatusOf(MakeBackend(history).bytes()).hash == expected);
}

TEST_CASE("SaysWhetherTheSha256AtTheEndIsRight") {
  Bytes bytes = WithTrailer(MakeBackend(Sample()).bytes());
  const auto good = StatusOf(bytes);
  CHECK(good.trailer == SnapshotTrailer::kMatches);
  CHECK(good.stored_digest == good.digest);
  CHECK(good.total_size + 32 == good.file_size);
  bytes.back() ^= std::byte{1};
  CHECK(StatusOf(bytes).trailer == SnapshotTrailer::kDiffers);
}

TEST_CASE("DamageIsReportedWithWhatCouldBeRead") {
  auto backend = MakeBackend(Sample());
  auto header = backend.Header(2);
  header.id = 99;
  backend.SetHeader(2, header);
  const bolt::testing::ViewFile file(backend.bytes());
  SnapshotStatus status;
  const Status read = ReadSnapshotStatus(file, {}, status);
  REQUIRE_FALSE(read);
  CHECK(read.error().code == "backend-damaged");
  CHECK(read.error().kind == ErrorKind::kDataDamaged);
  CHECK(status.check->problem_count > 0);
  CHECK(status.total_size == backend.bytes().size());
}

TEST_CASE("EveryTruncationIsAnError") {
  const Bytes bytes = MakeBackend(Sample()).bytes();
  // Every page boundary and a few bytes around it: the file has no other structure by size.
  for (std::size_t size = 0; size < bytes.size(); size += size % 512 == 40 ? 472 : 8) {
    const bolt::testing::ViewFile file(ByteView(bytes).first(size));
    SnapshotStatus status;
    CHECK_FALSE(ReadSnapshotStatus(file, {}, status));
  }
}

TEST_CASE("HostileFilesNeverCrashTheStatus") {
  const Bytes sample = WithTrailer(MakeBackend(Sample(), {4, 3, 2, true}).bytes());
  rescue::testing::ForRandomMutations(sample, 11, 2000, [](ByteView bytes) {
    const bolt::testing::ViewFile file(bytes);
    SnapshotStatus status;
    (void)ReadSnapshotStatus(file, {}, status);
  });
}

TEST_CASE("ARealBackendGivesTheNumbersOfEtcdutl") {
  // `etcdutl snapshot status` of 3.5.30 on tests/fixtures/bolt/etcd-3.5.db.xz, and `etcdctl
  // endpoint hashkv` of an etcd 3.5.30 that served it.
  const Bytes bytes = bolt::testing::RealBackend();
  const auto status = StatusOf(bytes);
  CHECK(status.hash == 3411817548);
  CHECK(status.revision == 67);
  CHECK(status.total_keys == 73);
  CHECK(status.total_size == 65536);
  CHECK(status.storage_version.empty());
  const bolt::testing::ViewFile file(bytes);
  const auto database = bolt::Database::Open(file).value();
  CHECK(HashKeySpace(database)->hash == 2683105238);
  HashOptions earlier;
  earlier.revision = 40;
  CHECK(HashKeySpace(database, earlier)->hash == 1131223574);
}

TEST_CASE("SharedSnapshotsGiveTheNumbersOfEtcdutl") {
  const auto root = rescue::testing::SharedFixturePath("snapshots");
  if (!root) {
    WARN("the larger fixtures are not here; ARealBackendGivesTheNumbersOfEtcdutl covers the rule");
    return;
  }
  int compared = 0;
  for (const auto& entry : fs::directory_iterator(*root)) {
    INFO(entry.path());
    const auto expected = nlohmann::json::parse(
        AsText(rescue::testing::ReadFileBytes(entry.path() / "expected.json")));
    const auto& tools = expected["tools"];
    const auto& newer = tools["etcdutl 3.7.1 snapshot status"];
    const Bytes bytes =
        rescue::testing::ReadFileBytes(entry.path() / expected["file"].get<std::string>());
    const bolt::testing::ViewFile file(bytes);
    SnapshotStatus status;
    const Status read = ReadSnapshotStatus(file, {}, status);
    if (!newer.contains("hash")) {
      CHECK_FALSE(read);
      continue;
    }
    REQUIRE(read);
    CHECK(status.hash == newer["hash"]);
    CHECK(status.revision == newer["revision"]);
    CHECK(status.live_keys == newer["totalKey"]);
    CHECK(status.total_size == newer["totalSize"]);
    CHECK(status.storage_version == newer["version"]);
    CHECK(status.total_keys == tools["etcdutl 3.5.30 snapshot status"]["totalKey"]);
    const auto hash = HashKeySpace(bolt::Database::Open(file).value()).value();
    CHECK(hash.hash == tools["etcdutl 3.7.1 hashkv"]["hash"]);
    CHECK(hash.revision == tools["etcdutl 3.7.1 hashkv"]["hashRevision"]);
    CHECK(hash.compact_revision == tools["etcdutl 3.7.1 hashkv"]["compactRevision"]);
    ++compared;
  }
  CHECK(compared >= 8);
}

}  // namespace
}  // namespace rescue::etcd
