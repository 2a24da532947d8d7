// Stores and snapshots that real tools wrote: each gives exactly the key space that the live etcd
// had, or the named refusal. Runs where the larger fixtures lie beside the repository; elsewhere
// the stores of store_testing.h cover the same ways.
#include "tests/support/fixtures.h"

#include <catch2/catch_test_macros.hpp>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "rescue/backup/events.h"
#include "rescue/backup/snapshot_file.h"
#include "rescue/backup/store.h"
#include "rescue/backup/survey.h"
#include "rescue/base/real_file_system.h"
#include "rescue/mvcc/key_record.h"

namespace rescue::backup {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using rescue::testing::SharedFixturePath;

struct Value {
  std::string digest;
  std::uint64_t create_revision = 0;
  std::uint64_t mod_revision = 0;
  std::uint64_t version = 0;
  std::uint64_t lease = 0;
  bool operator==(const Value&) const = default;
};
using KeySpace = std::map<std::string, Value>;

json Expected(const fs::path& folder) {
  return json::parse(AsText(rescue::testing::ReadFileBytes(folder / "expected.json")));
}

KeySpace ExpectedKeys(const json& expected) {
  KeySpace keys;
  for (const auto& key : expected.at("keys")) {
    keys[key.at("key_b64")] = {key.at("value_sha256"), key.at("create_revision"),
                               key.at("mod_revision"), key.at("version"), key.at("lease")};
  }
  return keys;
}

void Take(KeySpace& keys, std::string_view key, bool tombstone, const Value& value) {
  if (tombstone) {
    keys.erase(ToBase64(AsBytes(key)));
  } else {
    keys[ToBase64(AsBytes(key))] = value;
  }
}

void TakeBase(const ReadableFile& file, KeySpace& keys) {
  const auto database = bolt::Database::Open(file);
  REQUIRE(database);
  REQUIRE(mvcc::ForEachKeyRecord(*database, [&](const mvcc::KeyRecord& record) {
    Take(keys, AsText(record.key), record.tombstone,
         {ToHex(Sha256(record.value)), record.create_revision, record.mod_revision, record.version,
          record.lease});
    return true;
  }));
}

// What a restore makes of it, in memory; the last revision.
Result<std::uint64_t> Replay(const FileView& view, const Store& store, KeySpace& keys) {
  ASSIGN_OR_RETURN(const Chain chain, ChooseChain(store, std::nullopt, HeldIn(view)));
  ASSIGN_OR_RETURN(const auto stored, view.Open(chain.full.path));
  ASSIGN_OR_RETURN(const auto full, OpenFull(*stored, chain.full.path));
  ASSIGN_OR_RETURN(const auto judged, JudgeSnapshot(*full));
  RETURN_IF_ERROR(Accept(judged, {.hash_mismatch = false, .in_store = true}, chain.full.path));
  TakeBase(*full, keys);
  std::uint64_t reached = judged.revision;
  for (const auto& delta : chain.deltas) {
    ASSIGN_OR_RETURN(const auto file, view.Open(delta.path));
    EventReader reader(OpenObject(*file, {delta.name.compression, kMaxDeltaSize, delta.path}),
                       delta.name, delta.path);
    for (;;) {
      ASSIGN_OR_RETURN(const Event* event, reader.Next());
      if (event == nullptr) break;
      if (event->main <= judged.revision) continue;
      reached = event->main;
      Take(keys, event->key, event->tombstone,
           {ToHex(Sha256(AsBytes(event->value))), event->create_revision, event->main,
            event->version, event->lease});
    }
  }
  return reached;
}

const std::map<std::string, std::string> kRefusals = {
    {"bad-empty-delta-end", "delta-empty"},
    {"bad-empty-delta-mid", "delta-empty"},
    {"bad-flip-gzip", "object-corrupt"},
    {"bad-flip-none", "delta-hash-mismatch"},
    {"bad-gap", "backup-gap"},
    {"bad-gap-first", "backup-gap"},
    {"bad-no-full", "no-full"},
    {"bad-truncated-delta-lzw", "object-truncated"},
    {"bad-truncated-full-gzip", "object-truncated"},
    {"bad-truncated-full-none", "snapshot-truncated"},
    {"bad-truncated-full-page", "snapshot-hash-missing"},
};

void CheckStore(const fs::path& folder) {
  const std::string name = folder.filename();
  CAPTURE(name);
  const json expected = Expected(folder);
  const auto view = RealFileSystem::OpenRoot((folder / "store").string());
  REQUIRE(view);
  const auto catalogue = ListStore(**view, "");
  REQUIRE(catalogue);
  const auto store = OnlyStore(*catalogue);
  REQUIRE(store);
  CHECK(store->prefix == expected.at("store_prefix").get<std::string>());

  KeySpace keys;
  const auto reached = Replay(**view, *store, keys);
  const auto survey = SurveyStore(**view, *store);
  REQUIRE(survey);
  if (const auto refusal = kRefusals.find(name); refusal != kRefusals.end()) {
    REQUIRE_FALSE(reached);
    CHECK(reached.error().code == refusal->second);
    REQUIRE(survey->obstacle);
    CHECK(survey->obstacle->code == refusal->second);
    return;
  }
  REQUIRE(expected.at("expected_outcome").get<std::string>().starts_with("restored"));
  if (!reached) FAIL(reached.error().code << ": " << reached.error().message);
  CHECK(*reached == expected.at("last_revision").get<std::uint64_t>());
  CHECK(survey->reachable == *reached);
  if (survey->obstacle) FAIL(survey->obstacle->message);
  REQUIRE(expected.contains("keys"));
  CHECK(keys == ExpectedKeys(expected));
}

void CheckStores() {
  std::size_t seen = 0;
  for (const auto& entry : fs::directory_iterator(*SharedFixturePath("backups"))) {
    if (!entry.is_directory()) continue;
    CheckStore(entry.path());
    ++seen;
  }
  CHECK(seen >= 25);
}

const std::map<std::string, std::string> kSnapshotRefusals = {
    {"e3530-truncated", "snapshot-truncated"},
    {"e3530-wrong-trailer", "snapshot-hash-mismatch"},
    {"e3530-zero-trailer", "snapshot-hash-zero"},
    {"e3614-flipped-body", "snapshot-hash-mismatch"},
};

void CheckSnapshots() {
  std::size_t seen = 0;
  for (const auto& entry : fs::directory_iterator(*SharedFixturePath("snapshots"))) {
    if (!entry.is_directory()) continue;
    const std::string name = entry.path().filename();
    CAPTURE(name);
    const json expected = Expected(entry.path());
    const auto view = RealFileSystem::OpenRoot(entry.path().string());
    REQUIRE(view);
    const auto file = (*view)->Open(name.ends_with("-raw-db") ? "db" : "snapshot.db");
    REQUIRE(file);
    const auto judged = JudgeSnapshot(**file);
    REQUIRE(judged);
    const Status accepted = Accept(*judged, {}, name);
    const auto refusal = kSnapshotRefusals.find(name);
    CHECK((accepted ? "" : accepted.error().code) ==
          (refusal == kSnapshotRefusals.end() ? "" : refusal->second));
    if (judged->verdict == Verdict::kTrailerDiffers || judged->verdict == Verdict::kTrailerZero) {
      CHECK(Accept(*judged, {.hash_mismatch = true, .in_store = false}, name));
    }
    // Of damaged ones no key space is known.
    if (expected.contains("keys") && !expected["keys"].empty()) {
      KeySpace keys;
      TakeBase(**file, keys);
      CHECK(keys == ExpectedKeys(expected));
    }
    ++seen;
  }
  CHECK(seen >= 10);
}

// Registered only where the fixtures are, so that none of them passes by being skipped.
const bool registered = [] {
  if (SharedFixturePath("backups")) {
    REGISTER_TEST_CASE(CheckStores, "RealStoresGiveTheLiveKeySpaceOrTheNamedRefusal");
  }
  if (SharedFixturePath("snapshots")) {
    REGISTER_TEST_CASE(CheckSnapshots, "RealSnapshotFilesGetTheirVerdict");
  }
  return true;
}();

}  // namespace
}  // namespace rescue::backup
