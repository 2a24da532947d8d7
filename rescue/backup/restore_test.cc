// Restores carried out: what the stores say stands in the new backend record by record, the old
// member stays beside, undo brings it back, and a death at any operation leaves one of both.
#include "rescue/backup/restore.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "rescue/backup/store_testing.h"
#include "rescue/base/real_file_system.h"
#include "rescue/edit/fault_file_system.h"
#include "rescue/edit/memory_file_system.h"
#include "rescue/edit/tree_snapshot.h"
#include "rescue/etcd/inspect.h"
#include "rescue/mvcc/key_record.h"
#include "tests/support/fixtures.h"

namespace rescue::backup {
namespace {

namespace fs = std::filesystem;
using rescue::testing::FaultFileSystem;
using rescue::testing::FaultScript;
using rescue::testing::FirstDifference;
using rescue::testing::kSame;
using rescue::testing::MemoryFileSystem;
using rescue::testing::SharedFixturePath;
using rescue::testing::SnapshotTree;
using rescue::testing::Tree;
using rescue::testing::Unsynced;
using testing::History;
using testing::SampleHistory;
using testing::StoreFolder;
using testing::Write;

constexpr const char* kJournals = "journals";

// Raw records of bucket key.
using Records = std::map<std::string, std::string>;

Records RecordsOf(const FileView& data) {
  const auto file = data.Open(etcd::kBackendPath);
  REQUIRE(file);
  const auto database = bolt::Database::Open(**file);
  REQUIRE(database);
  Records records;
  REQUIRE(mvcc::ForEachKeyRecord(*database, [&](const mvcc::KeyRecord& record) {
    records.emplace(AsText(record.raw_key), AsText(record.raw_value));
    return true;
  }));
  return records;
}

Records RecordsUntil(const History& history, std::uint64_t revision) {
  Records records;
  const History until = history.Until(revision);
  for (const Write& write : until.writes()) {
    records.emplace(mvcc::testing::RevisionKey(write.revision, write.tombstone),
                    mvcc::testing::KeyValue(write));
  }
  return records;
}

etcd::Wishes NewMember() {
  etcd::Wishes wishes;
  wishes.strategy = etcd::Strategy::kRestore;
  wishes.name = "cp-0";
  wishes.peer_urls = {"http://10.0.0.1:2380"};
  wishes.token = "a-token";
  return wishes;
}

struct Wanted {
  std::string path;  // below the store's folder
  SourceWishes source;
  etcd::Wishes member = NewMember();
};

Result<Built> Restore(FileSystem& data, const fs::path& store, const Wanted& wanted) {
  ASSIGN_OR_RETURN(const auto files, RealFileSystem::OpenRoot(store.string()));
  ASSIGN_OR_RETURN(const Source source,
                   OpenSource(*files, wanted.path, "the backup", wanted.source));
  std::optional<etcd::Findings> old;
  if (const auto found = etcd::Inspect(data)) old = *found;
  ASSIGN_OR_RETURN(const RestorePlan plan,
                   PlanRestoreFrom(data, old ? &*old : nullptr, source, wanted.member, false));
  RestoreBuilder builder(source, plan, {});
  RETURN_IF_ERROR(edit::Apply(data, data, kJournals, plan.plan.edits, "restore", &builder));
  return builder.built();
}

struct Directory {
  rescue::testing::TemporaryDirectory folder;
  std::unique_ptr<RealFileSystem> data = RealFileSystem::OpenRoot(folder.path().string()).value();
};

Tree TreeOf(const FileView& files) {
  auto tree = SnapshotTree(files, kJournals);
  REQUIRE(tree);
  return *std::move(tree);
}

void ForgetRootTime(Tree& tree) { tree[""].status.modified = 0; }

std::string CodeOf(const Result<Built>& result) {
  if (result) return "restored";
  INFO(result.error().message);
  return result.error().code;
}

// The reason that a rolled back apply gives is in its message.
void CheckRefused(const Result<Built>& result, std::string_view reason) {
  REQUIRE_FALSE(result);
  INFO(result.error().message);
  CHECK(result.error().message.find(reason) != std::string::npos);
}

void Fill(StoreFolder& store, const History& history) {
  // The full holds more than its name says, and the first delta repeats it.
  store.Full(history, 400, 1000, 404);
  store.Delta(history, 401, 700, 1010);
  store.Delta(history, 701, 1000, 1020);
}

}  // namespace

TEST_CASE("A store of any compression gives every record exactly as etcd wrote it") {
  const auto compression =
      GENERATE(Compression::kNone, Compression::kGzip, Compression::kZlib, Compression::kLzw);
  const History history = SampleHistory(999);
  StoreFolder store(compression);
  Fill(store, history);
  const Directory directory;
  const auto built = Restore(*directory.data, store.path(), {});
  INFO((built ? std::string() : built.error().message));
  REQUIRE(built);
  CHECK(built->base_revision == 404);
  CHECK(built->revision == 1000);
  CHECK(built->repeated >= 4);
  CHECK(built->digest_matches);
  CHECK(built->unknown_leases > 0);
  REQUIRE(built->verdict);
  CHECK(built->verdict->leads_alone);
  CHECK(RecordsOf(*directory.data) == RecordsUntil(history, 1000));
}

TEST_CASE("A point in time ends there, in the middle of a delta or at its end") {
  const auto revision = GENERATE(404U, 405U, 553U, 700U, 701U, 999U);
  const History history = SampleHistory(999);
  StoreFolder store(Compression::kNone);
  Fill(store, history);
  const Directory directory;
  Wanted wanted;
  wanted.source.to_revision = revision;
  const auto built = Restore(*directory.data, store.path(), wanted);
  INFO((built ? std::string() : built.error().message));
  REQUIRE(built);
  CHECK(built->revision == revision);
  CHECK(RecordsOf(*directory.data) == RecordsUntil(history, revision));
}

TEST_CASE("A bump and its compaction mark are written behind the last delta") {
  const History history = SampleHistory(999);
  StoreFolder store(Compression::kNone);
  Fill(store, history);
  const Directory directory;
  Wanted wanted;
  wanted.member.bump_revision = 1'000'000;
  wanted.member.mark_compacted = true;
  REQUIRE(Restore(*directory.data, store.path(), wanted));
  Records expected = RecordsUntil(history, 1000);
  expected.emplace(mvcc::testing::RevisionKey({1'001'000, 0}), "");
  CHECK(RecordsOf(*directory.data) == expected);
  const auto findings = etcd::Inspect(*directory.data);
  REQUIRE(findings);
  CHECK(findings->backend->compacted == 1'001'000);
}

TEST_CASE("The new member has a log and a .snap that make joining members take a snapshot") {
  const History history = SampleHistory(200);
  StoreFolder store;
  store.Full(history, 201, 1000);
  const Directory directory;
  REQUIRE(Restore(*directory.data, store.path(), {}));
  const auto findings = etcd::Inspect(*directory.data);
  REQUIRE(findings);
  REQUIRE(findings->log);
  REQUIRE(findings->snaps.size() == 1);
  CHECK(findings->snaps.front().metadata.index >= 1);
  CHECK(findings->backend->members.size() == 1);
  CHECK(findings->backend->members.front().name == "cp-0");
}

TEST_CASE("The old member stays beside the new one, and undo brings it back") {
  const History history = SampleHistory(300);
  StoreFolder store;
  store.Full(history, 301, 1000);
  const Directory directory;
  rescue::testing::UnpackArchive(rescue::testing::FixturePath("survivors/3530-learner.tar.xz"),
                                 directory.folder.path());
  const auto data = directory.data->OpenBelow("etcd");
  REQUIRE(data);
  const Tree before = TreeOf(**data);
  Wanted wanted;
  wanted.member = {};
  wanted.member.strategy = etcd::Strategy::kRestore;
  wanted.member.token = "a-token";
  const auto built = Restore(**data, store.path(), wanted);
  INFO((built ? std::string() : built.error().message));
  REQUIRE(built);
  CHECK(RecordsOf(**data) == RecordsUntil(history, 301));
  CHECK((*data)->Stat("member.before-restore/snap/db"));
  CHECK((*data)->Stat("member/restored"));
  // Owner and modes are those of the old one.
  CHECK((*data)->Stat("member/snap/db")->attributes ==
        (*data)->Stat("member.before-restore/snap/db")->attributes);
  REQUIRE(edit::Undo(**data, **data, kJournals));
  CHECK(FirstDifference(TreeOf(**data), before) == kSame);
}

TEST_CASE("Damage that shows only while reading takes all back") {
  const History history = SampleHistory(999);
  StoreFolder store;
  store.Full(history, 400, 1000);
  store.Delta(history, 401, 700, 1010);
  Bytes delta = testing::DeltaContent(history, 701, 1000);
  const Directory directory;
  const Tree before = TreeOf(*directory.data);
  const auto refused = [&](std::string_view reason) {
    store.Object("Incr", 701, 1000, 1020, delta);
    CheckRefused(Restore(*directory.data, store.path(), {}), reason);
    CHECK(FirstDifference(TreeOf(*directory.data), before) == kSame);
  };
  delta[delta.size() - 1] ^= std::byte{1};
  refused("SHA-256");
  delta = testing::DeltaContent(history, 703, 1000);
  refused("70");
  delta = testing::DeltaContent(history, 701, 990);
  refused("990");
}

TEST_CASE("A delta that says otherwise than the full is refused") {
  const History history = SampleHistory(500);
  History other;
  while (other.revision() < 501) other.Put("/x", "y");
  StoreFolder store;
  store.Full(history, 395, 1000, 400);
  store.Delta(other, 396, 500, 1010);
  const Directory directory;
  CheckRefused(Restore(*directory.data, store.path(), {}), "it says otherwise");
}

TEST_CASE("A snapshot file is judged by its digest, and one without is walked") {
  const History history = SampleHistory(300);
  StoreFolder files(Compression::kNone, "");
  const Bytes whole = testing::FullContent(history, 301);
  files.File("good.db", whole);
  files.File("packed.db.gz", testing::Compress(whole, Compression::kGzip));
  Bytes raw(whole.begin(), whole.end() - 32);
  files.File("raw", raw);
  Bytes zero = raw;
  zero.resize(whole.size());
  files.File("zero.db", zero);
  Bytes flipped = whole;
  flipped[raw.size() / 2] ^= std::byte{4};
  files.File("flipped.db", flipped);
  files.File("cut.db", ByteView(whole).first(whole.size() / 2));
  files.File("text", AsBytes("no backend at all"));

  const auto code = [&](const char* name, bool accept) {
    const Directory directory;
    Wanted wanted;
    wanted.path = name;
    wanted.source.accept_hash_mismatch = accept;
    const auto built = Restore(*directory.data, files.path(), wanted);
    if (built) CHECK(RecordsOf(*directory.data) == RecordsUntil(history, 301));
    if (built || built.error().code != "apply-rolled-back") return CodeOf(built);
    CHECK_FALSE(directory.data->Stat("member"));
    return built.error().message;
  };
  CHECK(code("good.db", false) == "restored");
  CHECK(code("packed.db.gz", false) == "restored");
  CHECK(code("raw", false) == "restored");
  CHECK(code("zero.db", false) != "restored");
  CHECK(code("zero.db", true) == "restored");
  CHECK(code("flipped.db", false) != "restored");
  CHECK(code("cut.db", false) != "restored");
  CHECK(code("cut.db", true) != "restored");
  CHECK(code("text", true) != "restored");
  CHECK(code("nothing", false) == "not-found");
}

TEST_CASE("Without an old member, name and peer URL have to be said") {
  const History history = SampleHistory(20);
  StoreFolder store;
  store.Full(history, 21, 1000);
  const Directory directory;
  Wanted wanted;
  wanted.member.name = "";
  CHECK(CodeOf(Restore(*directory.data, store.path(), wanted)) == "no-name");
  wanted.member = NewMember();
  wanted.member.peer_urls.clear();
  CHECK(CodeOf(Restore(*directory.data, store.path(), wanted)) == "no-peer-url");
  wanted.member = NewMember();
  wanted.member.keep_ids = true;
  CHECK(CodeOf(Restore(*directory.data, store.path(), wanted)) == "not-for-strategy");
}

TEST_CASE("Verifying a source reads all of it and writes nothing") {
  const History history = SampleHistory(999);
  StoreFolder store(Compression::kGzip);
  Fill(store, history);
  const auto files = RealFileSystem::OpenRoot(store.path().string());
  REQUIRE(files);
  const auto source = OpenSource(**files, "", "the backup", {});
  REQUIRE(source);
  CHECK(source->target == 1000);
  std::uint64_t most = 0;
  const auto verified = Verify(*source, [&](std::string_view, std::uint64_t done, std::uint64_t) {
    most = std::max(most, done);
  });
  REQUIRE(verified);
  CHECK(verified->revision == 1000);
  CHECK(verified->base.revision == 404);
}

TEST_CASE("Discarding removes the member and what an earlier run left of it") {
  MemoryFileSystem data;
  data.AddFile("member/snap/db", AsBytes("x"));
  data.AddFile("member.discarded/snap/db", AsBytes("x"));
  data.AddFile("other", AsBytes("x"));
  REQUIRE(DiscardMember(data));
  const auto entries = data.List("");
  REQUIRE(entries);
  REQUIRE(entries->size() == 1);
  CHECK(entries->front().name == "other");
}

TEST_CASE("A restore that dies at any operation leaves the old member or the restored one whole") {
  const History history = SampleHistory(60);
  StoreFolder store;
  store.Full(history, 30, 1000, 32);
  store.Delta(history, 31, 61, 1010);
  MemoryFileSystem start;
  start.AddFile("member/snap/db", AsBytes("an old backend"));
  start.AddFile("member/wal/0000000000000000-0000000000000000.wal", AsBytes("an old log"));
  start.SyncAll();
  Tree before = TreeOf(start);
  ForgetRootTime(before);
  const Records expected = RecordsUntil(history, 61);
  const auto unsynced = GENERATE(Unsynced::kLost, Unsynced::kKept, Unsynced::kRandomSubset);
  std::size_t old_members = 0;
  std::size_t new_members = 0;
  for (std::uint64_t at = 0;; ++at) {
    CAPTURE(at, static_cast<int>(unsynced));
    MemoryFileSystem data = start;
    FaultScript script;
    script.after = FaultScript::After::kDead;
    script.fail_at = at;
    if (at % 2 == 1) script.tear = 7;
    FaultFileSystem faulty(data, script);
    const auto built = Restore(faulty, store.path(), {});
    CHECK(built.has_value() == !script.fired);
    data.Crash(unsynced, static_cast<std::uint32_t>(at));
    // 1. What stands at member/ is one of both, whole.
    if (data.Stat("member/restored")) {
      ++new_members;
      CHECK(RecordsOf(data) == expected);
      const auto findings = etcd::Inspect(data);
      REQUIRE(findings);
      CHECK(etcd::Verify(*findings));
    } else {
      ++old_members;
      CHECK(AsText(ReadWhole(data, "member/snap/db", 100).value()) == "an old backend");
    }
    // 2. Undo gives back the old one, and the restore can be done again.
    const auto undone = edit::Undo(data, data, kJournals);
    if (!undone) CHECK(undone.error().code == "nothing-to-undo");
    Tree now = TreeOf(data);
    ForgetRootTime(now);
    CHECK(FirstDifference(now, before) == kSame);
    if (at % 10 == 0) {
      REQUIRE(Restore(data, store.path(), {}));
      CHECK(RecordsOf(data) == expected);
    }
    if (!script.fired) break;
  }
  CHECK(old_members > 20);
  CHECK(new_members > 2);
}

// Stores and snapshots of real tools; where they lie beside the repository.
TEST_CASE("Real stores are restored to exactly the key space that the live etcd had",
          "[shared-fixtures]") {
  const auto root = SharedFixturePath("backups");
  if (!root) {
    WARN("the larger fixtures are not there; the stores above cover the same ways");
    return;
  }
  using nlohmann::json;
  std::size_t restored = 0;
  std::size_t refused = 0;
  for (const auto& entry : fs::directory_iterator(*root)) {
    const auto expected =
        json::parse(AsText(rescue::testing::ReadFileBytes(entry.path() / "expected.json")));
    CAPTURE(entry.path().filename().string());
    const Directory directory;
    const auto built = Restore(*directory.data, entry.path() / "store", {});
    if (!expected.at("expected_outcome").get<std::string>().starts_with("restored")) {
      ++refused;
      CHECK_FALSE(built);
      CHECK_FALSE(directory.data->Stat("member"));
      continue;
    }
    ++restored;
    INFO((built ? std::string() : built.error().message));
    REQUIRE(built);
    CHECK(built->revision == expected.at("last_revision").get<std::uint64_t>());
    using Value =
        std::tuple<std::string, std::uint64_t, std::uint64_t, std::uint64_t, std::uint64_t>;
    std::map<std::string, Value> keys;
    const auto file = directory.data->Open(etcd::kBackendPath);
    REQUIRE(file);
    const auto database = bolt::Database::Open(**file);
    REQUIRE(database);
    REQUIRE(mvcc::ForEachKeyRecord(*database, [&](const mvcc::KeyRecord& record) {
      const std::string key = ToBase64(record.key);
      keys[key] = {ToHex(Sha256(record.value)), record.create_revision, record.mod_revision,
                   record.version, record.lease};
      if (record.tombstone) keys.erase(key);
      return true;
    }));
    std::map<std::string, Value> wanted;
    for (const auto& key : expected.at("keys")) {
      wanted[key.at("key_b64")] = {key.at("value_sha256"), key.at("create_revision"),
                                   key.at("mod_revision"), key.at("version"), key.at("lease")};
    }
    CHECK(keys == wanted);
  }
  CHECK(restored > 10);
  CHECK(refused > 8);
}

}  // namespace rescue::backup
