// backups, snapshot save, initialize and status of backup objects, as a script sees them.
#include "rescue/cli/look_backups.h"

#include <fcntl.h>
#include <sys/file.h>

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <nlohmann/json.hpp>
#include <span>

#include "rescue/backup/store_testing.h"
#include "rescue/cli/run_program.h"
#include "rescue/edit/tree_snapshot.h"
#include "rescue/session/backups.h"
#include "rescue/session/initialize.h"
#include "tests/support/fixtures.h"

namespace rescue::cli {
namespace {

namespace fs = std::filesystem;
using backup::testing::StoreFolder;
using nlohmann::json;
using testing::RunProgram;

struct Survivor {
  rescue::testing::TemporaryDirectory directory;
  explicit Survivor(const std::string& name = "3530-learner") {
    rescue::testing::UnpackArchive(rescue::testing::FixturePath("survivors/" + name + ".tar.xz"),
                                   directory.path());
  }
  fs::path path() const { return directory.path(); }
  std::string data() const { return (path() / "etcd").string(); }
  std::string backend() const { return data() + "/member/snap/db"; }
};

json Parsed(const testing::Ran& ran) {
  INFO(ran.output);
  return json::parse(ran.output);
}

struct Answer {
  int status = 0;
  json document;
};
Answer Ask(std::vector<std::string> words) {
  words.emplace_back("--json");
  const auto ran = RunProgram(words);
  return {ran.status, Parsed(ran)};
}

// Two deltas on a full; ends at revision 61.
void Fill(StoreFolder& folder) {
  const auto history = backup::testing::SampleHistory(60);
  folder.Full(history, 20, 100, /*held=*/22);
  folder.Delta(history, 21, 40, 101);
  folder.Delta(history, 41, 61, 102);
  folder.File("etcd/v2/README.txt", AsBytes("x"));
}

TEST_CASE("AStoreIsListedWithWhatItHoldsAndWhereItLeads") {
  StoreFolder folder(backup::Compression::kGzip);
  Fill(folder);
  const auto [status, document] = Ask({"backups", "--from", folder.path().string()});
  CHECK(status == 0);
  const auto& backups = document["backups"];
  CHECK(backups["kind"] == "store");
  CHECK(backups["reachable_revision"] == 61);
  CHECK(backups["foreign"].size() == 1);
  const auto& objects = backups["store"]["objects"];
  REQUIRE(objects.size() == 3);
  CHECK(objects[0]["compression"] == "gzip");
  CHECK(objects[0]["snapshot"]["revision"] == 22);
  CHECK(objects[0]["created_text"] == "1970-01-01T00:01:40Z");
  CHECK(objects[2]["state"] == "whole");
  CHECK(backups["store"]["chain"]["deltas"].size() == 2);
  const auto text = RunProgram({"backups", "--from", folder.path().string()}).output;
  CHECK(text.find("revision 61") != std::string::npos);
  CHECK(text.find("whole, holds 22") != std::string::npos);
}

TEST_CASE("AHoleAndADamagedDeltaEndWithTheirNames") {
  const auto history = backup::testing::SampleHistory(60);
  StoreFolder folder;
  folder.Full(history, 20, 100);
  folder.Delta(history, 41, 61, 102);
  auto answer = Ask({"backups", "--from", folder.path().string()});
  CHECK(answer.status == 6);
  CHECK(answer.document["error"]["code"] == "backup-gap");
  CHECK(answer.document["backups"]["reachable_revision"] == 20);
  CHECK(answer.document["backups"]["store"]["chain"]["gap"]["first"] == 21);
  const std::string delta = folder.Delta(history, 21, 40, 101);
  Bytes content = rescue::testing::ReadFileBytes(folder.path() / delta);
  content.back() ^= std::byte{1};
  folder.File(delta, content);
  answer = Ask({"backups", "--from", folder.path().string()});
  CHECK(answer.status == 6);
  CHECK(answer.document["error"]["code"] == "delta-hash-mismatch");
  // Names alone do not show it.
  answer = Ask({"backups", "--from", folder.path().string(), "--quick"});
  CHECK(answer.status == 0);
  CHECK(answer.document["backups"]["store"]["objects"][1]["state"] == "not-read");
}

TEST_CASE("WhoHasMoreIsSaid") {
  const Survivor survivor;
  StoreFolder folder;
  Fill(folder);
  const auto answer =
      Ask({"backups", "--from", folder.path().string(), "--data-dir", survivor.data()});
  CHECK(answer.status == 0);
  CHECK(answer.document["backups"]["survivor"]["backend_revision"].get<int>() > 61);
  CHECK(answer.document["backups"]["more_has"] == "survivor");

  using session::Compare;
  using session::WhoHasMore;
  const session::SurvivorRevisions found{true, 100, 5, true};
  CHECK(Compare(106, found) == WhoHasMore::kBackup);
  CHECK(Compare(105, found) == WhoHasMore::kUnclear);
  CHECK(Compare(100, found) == WhoHasMore::kUnclear);
  CHECK(Compare(99, found) == WhoHasMore::kSurvivor);
  CHECK(Compare(100, {true, 100, 0, true}) == WhoHasMore::kSame);
  CHECK(Compare(106, {true, 100, 0, false}) == WhoHasMore::kUnclear);
  CHECK(Compare(5, {false, 0, 0, false}) == WhoHasMore::kBackup);
}

TEST_CASE("ADiskIsNamedBeforeThePathOnIt") {
  using session::BackupPlace;
  using session::ParseBackupPlace;
  CHECK(ParseBackupPlace("/mnt/a:b/store") == BackupPlace{"", "/mnt/a:b/store"});
  CHECK(ParseBackupPlace("LABEL=BACKUP:/etcd-main/") == BackupPlace{"LABEL=BACKUP", "etcd-main"});
  CHECK(ParseBackupPlace("UUID=12-34") == BackupPlace{"UUID=12-34", ""});
  CHECK(ParseBackupPlace("/dev/vdc1:/a//b.db") == BackupPlace{"/dev/vdc1", "a/b.db"});
  CHECK(ParseBackupPlace("SERIAL=x:y:/s") == BackupPlace{"SERIAL=x:y", "s"});
}

TEST_CASE("StatusLooksIntoEveryKindOfBackupFile") {
  StoreFolder folder(backup::Compression::kLzw);
  Fill(folder);
  const auto in = [&](const char* name) { return (folder.path() / "etcd/v2" / name).string(); };
  auto answer = Ask({"status", in("Full-00000000-00000020-100.Z")});
  CHECK(answer.status == 0);
  CHECK(answer.document["status"]["revision"] == 22);
  CHECK(answer.document["status"]["verdict"] == "trailer-matches");
  answer = Ask({"status", in("Incr-00000021-00000040-101.Z")});
  CHECK(answer.status == 0);
  CHECK(answer.document["status"]["events"].get<int>() >= 20);
  const auto history = backup::testing::SampleHistory(60);
  Bytes bytes = backup::testing::FullContent(history, 30);
  std::fill(bytes.end() - 32, bytes.end(), std::byte{0});
  folder.File("zero.db", bytes);
  answer = Ask({"status", (folder.path() / "zero.db").string()});
  CHECK(answer.status == 6);
  CHECK(answer.document["status"]["verdict"] == "trailer-zero");
  CHECK(answer.document["error"]["code"] == "snapshot-hash-zero");
}

TEST_CASE("ASavedSnapshotIsWhatEtcdctlWouldWrite") {
  const Survivor survivor;
  const std::string out = (survivor.path() / "saved.db").string();
  const auto saved = Ask({"snapshot", "save", "--data-dir", survivor.data(), "--out", out});
  REQUIRE(saved.status == 0);
  const auto& document = saved.document["snapshot-save"];
  CHECK(document["size"] == fs::file_size(out));
  CHECK(fs::file_size(out) % 512 == 32);
  const auto status = Ask({"status", out});
  CHECK(status.status == 0);
  CHECK(status.document["status"]["verdict"] == "trailer-matches");
  const auto original = Ask({"status", survivor.backend()});
  CHECK(status.document["status"]["hash"] == original.document["status"]["hash"]);
  CHECK(document["revision"] == original.document["status"]["revision"]);
  // Never over another file, and nothing is left behind.
  const auto again = Ask({"snapshot", "save", "--data-dir", survivor.data(), "--out", out});
  CHECK(again.status == 2);
  CHECK(again.document["error"]["code"] == "exists");
  CHECK_FALSE(fs::exists(out + ".part"));
}

TEST_CASE("WhatIsOnlyInTheLogIsSaidAndNeverHidden") {
  const Survivor survivor("3516-leader");
  const std::string out = (survivor.path() / "saved.db").string();
  const auto saved = Ask({"snapshot", "save", "--data-dir", survivor.data(), "--out", out});
  REQUIRE(saved.status == 0);
  const auto& tail = saved.document["snapshot-save"]["log_only"];
  REQUIRE(tail["known"] == true);
  CHECK(tail["entries"] == 96);
  CHECK(tail["first_index"] == 2272);
  CHECK(tail["last_index"] == 2367);
  const auto refused =
      Ask({"snapshot", "save", "--data-dir", survivor.data(), "--out", out + "2", "--with-tail"});
  CHECK(refused.status == 7);
  CHECK(refused.document["error"]["code"] == "tail-not-in-snapshot");
  CHECK_FALSE(fs::exists(out + "2"));
}

std::string StateOf(std::vector<std::string> words, int expected) {
  words.insert(words.begin(), "initialize");
  const auto answer = Ask(std::move(words));
  CHECK(answer.status == expected);
  return answer.document["initialize"]["etcdbrctl_state"];
}

TEST_CASE("InitializeGivesEtcdbrctlsVerdicts") {
  StoreFolder folder;
  Fill(folder);
  const std::string from = folder.path().string();
  {
    const Survivor survivor;
    for (const char* validation : {"sanity", "full"}) {
      CHECK(StateOf({"--data-dir", survivor.data(), "--validation", validation}, 0) ==
            "DataDirectoryValid");
      CHECK(StateOf({"--data-dir", survivor.data(), "--validation", validation, "--from", from},
                    0) == "DataDirectoryValid");
    }
    rescue::testing::WriteFileBytes(survivor.path() / "safe_guard", AsBytes("shoot--a"));
    CHECK(StateOf({"--data-dir", survivor.data(), "--owner", "shoot--a"}, 0) ==
          "DataDirectoryValid");
    CHECK(StateOf({"--data-dir", survivor.data(), "--owner", "shoot--b"}, 7) ==
          "WrongVolumeMounted");
    const UniqueFd held(::open(survivor.backend().c_str(), O_RDONLY));
    REQUIRE(::flock(held.get(), LOCK_EX) == 0);
    CHECK(StateOf({"--data-dir", survivor.data()}, 7) == "FailToOpenBoltDBError");
  }
  const Survivor survivor;
  CHECK(StateOf({"--data-dir", survivor.data() + "-not"}, 6) == "DataDirectoryNotExist");
  // A backup that reaches further than backend and log.
  auto history = backup::testing::SampleHistory(60);
  for (int i = 0; i < 3000; ++i) history.Put("more", std::to_string(i));
  folder.Full(history, history.revision(), 200);
  CHECK(StateOf({"--data-dir", survivor.data(), "--from", from}, 6) == "RevisionConsistencyError");
  Bytes backend = rescue::testing::ReadFileBytes(survivor.backend());
  std::fill(backend.begin(), backend.begin() + 8192, std::byte{0});
  rescue::testing::WriteFileBytes(survivor.backend(), backend);
  CHECK(StateOf({"--data-dir", survivor.data()}, 6) == "BoltDBCorrupt");
  fs::remove(survivor.backend());
  CHECK(StateOf({"--data-dir", survivor.data()}, 6) == "DataDirectoryCorrupt");
  fs::remove_all(survivor.data() + "/member/wal");
  CHECK(StateOf({"--data-dir", survivor.data()}, 6) == "DataDirectoryInvStruct");
}

// ---- initialize, when it may restore

rescue::testing::Tree TreeOf(const std::string& directory) {
  return rescue::testing::SnapshotTree(*RealFileSystem::OpenRoot(directory).value()).value();
}

struct Initializing {
  Survivor survivor;
  StoreFolder folder;
  Initializing() { Fill(folder); }

  Answer Do(std::vector<std::string> words) const {
    words.insert(words.begin(), {"initialize", "--from", folder.path().string()});
    return Ask(std::move(words));
  }
  Answer Do(const std::string& data, std::vector<std::string> words) const {
    words.insert(words.begin(), {"--data-dir", data});
    return Do(std::move(words));
  }
  void BackupReachesFurther() {
    auto history = backup::testing::SampleHistory(60);
    for (int i = 0; i < 3000; ++i) history.Put("more", std::to_string(i));
    folder.Full(history, history.revision(), 200);
  }
  // One page, so that everything else can be read.
  void DamageAPage() const {
    Bytes backend = rescue::testing::ReadFileBytes(survivor.backend());
    std::ranges::fill(std::span(backend).subspan(20480, 4096), std::byte{0xa5});
    rescue::testing::WriteFileBytes(survivor.backend(), backend);
  }
};

TEST_CASE("InitializeLeavesAValidDirectoryAlone") {
  const Initializing scene;  // the survivor is ahead of the backup
  const auto before = TreeOf(scene.survivor.data());
  for (const char* validation : {"sanity", "full"}) {
    const auto answer = scene.Do(scene.survivor.data(), {"--validation", validation, "--yes"});
    CHECK(answer.status == 0);
    CHECK(answer.document["initialize"]["state"] == "valid");
    CHECK(answer.document["initialize"]["restored"] == false);
  }
  CHECK(TreeOf(scene.survivor.data()) == before);
  CHECK_FALSE(fs::exists(scene.survivor.data() + ".etcd-rescue"));
}

TEST_CASE("InitializeRestoresADirectoryThatIsDamagedAndOnlyOnce") {
  const Initializing scene;
  scene.DamageAPage();
  const auto before = TreeOf(scene.survivor.data());
  // Sanity does not look at every page.
  CHECK(scene.Do(scene.survivor.data(), {}).status == 0);
  const std::vector<std::string> full = {"--validation", "full"};
  auto answer = scene.Do(scene.survivor.data(), full);
  CHECK(answer.status == 6);
  CHECK(answer.document["error"]["code"] == "initialize-restore");
  CHECK(answer.document["initialize"]["state"] == "corrupt");
  CHECK(answer.document["initialize"]["restored"] == false);
  CHECK(answer.document["initialize"]["plan"]["edits"].size() == 4);
  CHECK(TreeOf(scene.survivor.data()) == before);

  answer = scene.Do(scene.survivor.data(), {"--validation", "full", "--yes"});
  REQUIRE(answer.status == 0);
  CHECK(answer.document["initialize"]["state"] == "corrupt");
  CHECK(answer.document["initialize"]["restored"] == true);
  CHECK(answer.document["initialize"]["revision"] == 61);
  answer = scene.Do(scene.survivor.data(), {"--validation", "full", "--yes"});
  CHECK(answer.status == 0);
  CHECK(answer.document["initialize"]["state"] == "valid");
  CHECK(answer.document["initialize"]["restored"] == false);
  CHECK(answer.document["initialize"]["backend_revision"] == 61);
  CHECK(Ask({"undo", "--data-dir", scene.survivor.data(), "--yes"}).status == 0);
  CHECK(TreeOf(scene.survivor.data()) == before);
}

TEST_CASE("InitializeAsksForTheNameOfAMemberThatCannotBeRead") {
  const Initializing scene;
  fs::remove(scene.survivor.backend());
  const auto before = TreeOf(scene.survivor.data());
  for (const bool yes : {false, true}) {
    std::vector<std::string> words;
    if (yes) words.emplace_back("--yes");
    const auto nameless = scene.Do(scene.survivor.data(), words);
    CHECK(nameless.status == 2);
    CHECK(nameless.document["error"]["code"] == "no-name");
    CHECK(TreeOf(scene.survivor.data()) == before);
  }
  const auto named = scene.Do(scene.survivor.data(),
                              {"--name", "cp-0", "--peer-url", "http://10.0.0.1:2380", "--yes"});
  CHECK(named.status == 0);
  CHECK(named.document["initialize"]["plan"]["survivor"]["name"] == "cp-0");
  CHECK(scene.Do(scene.survivor.data(), {"--validation", "full"}).status == 0);
}

TEST_CASE("InitializeMakesAMissingDirectory") {
  const Initializing scene;
  const std::string data = (scene.survivor.path() / "new.etcd").string();
  const std::vector<std::string> member = {"--name", "cp-0", "--peer-url", "http://10.0.0.1:2380"};
  CHECK(scene.Do(data, {"--yes"}).document["error"]["code"] == "no-name");
  CHECK(scene.Do(data, {}).document["error"]["code"] == "no-name");
  CHECK(scene.Do(data, {"--name", "cp-0"}).document["error"]["code"] == "no-peer-url");
  const auto said = scene.Do(data, member);
  CHECK(said.status == 6);
  CHECK(said.document["error"]["code"] == "initialize-restore");
  CHECK_FALSE(fs::exists(data));
  auto words = member;
  words.emplace_back("--yes");
  const auto made = scene.Do(data, words);
  CHECK(made.status == 0);
  CHECK(made.document["initialize"]["state"] == "missing");
  CHECK(made.document["initialize"]["restored"] == true);
  const auto again = scene.Do(data, words);
  CHECK(again.status == 0);
  CHECK(again.document["initialize"]["state"] == "valid");
}

TEST_CASE("InitializeNeverRestoresIntoAWrongVolume") {
  const Initializing scene;
  rescue::testing::WriteFileBytes(scene.survivor.path() / "safe_guard", AsBytes("shoot--a"));
  scene.DamageAPage();
  const auto before = TreeOf(scene.survivor.path().string());
  const std::vector<std::string> words = {
      "--validation",         "full", "--owner", "shoot--b", "--name", "cp-0", "--peer-url",
      "http://10.0.0.1:2380", "--yes"};
  for (const char* name : {"etcd", "missing"}) {
    const auto refused = scene.Do((scene.survivor.path() / name).string(), words);
    CHECK(refused.status == 7);
    CHECK(refused.document["error"]["code"] == "wrong-volume");
  }
  CHECK(TreeOf(scene.survivor.path().string()) == before);
}

TEST_CASE("InitializeRestoresWhatIsBehindItsBackup") {
  Initializing scene;
  scene.BackupReachesFurther();
  auto answer = scene.Do(scene.survivor.data(), {});
  CHECK(answer.status == 6);
  CHECK(answer.document["initialize"]["state"] == "behind-backup");
  const auto reached = answer.document["initialize"]["backup_revision"];
  answer = scene.Do(scene.survivor.data(), {"--yes"});
  CHECK(answer.status == 0);
  CHECK(answer.document["initialize"]["revision"] == reached);
  answer = scene.Do(scene.survivor.data(), {"--yes"});
  CHECK(answer.status == 0);
  CHECK(answer.document["initialize"]["restored"] == false);
}

TEST_CASE("InitializeDoesNotAskForMoreThanTheRevisionThatIsWanted") {
  const Initializing scene;
  const std::string data = (scene.survivor.path() / "new.etcd").string();
  const std::vector<std::string> words = {
      "--to-revision", "50", "--name", "cp-0", "--peer-url", "http://10.0.0.1:2380", "--yes"};
  CHECK(scene.Do(data, words).document["initialize"]["revision"] == 50);
  CHECK(scene.Do(data, words).document["initialize"]["state"] == "valid");
  CHECK(scene.Do(data, {}).document["initialize"]["state"] == "behind-backup");
}

TEST_CASE("InitializeWithoutABackupSaysSoAndChangesNothing") {
  const Survivor survivor;
  fs::remove_all(survivor.data() + "/member/wal");
  const auto before = TreeOf(survivor.data());
  const auto answer = Ask({"initialize", "--data-dir", survivor.data()});
  CHECK(answer.status == 6);
  CHECK(answer.document["error"]["code"] == "initialize-restore");
  CHECK(TreeOf(survivor.data()) == before);
  CHECK(RunProgram({"initialize", "--data-dir", survivor.data(), "--yes"}).status == 2);
  // Where the path would be another one for the restore.
  const auto disk = Ask({"initialize", "--disk", "auto", "--from", "/backups"});
  CHECK(disk.status == 2);
  CHECK(disk.document["error"]["code"] == "backup-on-volume");
}

TEST_CASE("AllOfThemHaveHelpWithExamples") {
  for (const std::vector<std::string>& words : {std::vector<std::string>{"backups", "--help"},
                                                {"snapshot", "save", "--help"},
                                                {"initialize", "--help"}}) {
    CHECK(RunProgram(words).output.find("Examples:") != std::string::npos);
  }
  CHECK(RunProgram({"backups"}).status == 2);
  CHECK(RunProgram({"snapshot"}).status == 2);
  CHECK(RunProgram({"snapshot", "save", "--out", "x"}).status == 2);
  CHECK(RunProgram({"backups", "--from", "/no/such/folder"}).status == 2);
}

}  // namespace
}  // namespace rescue::cli
