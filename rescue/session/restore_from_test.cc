// A restore from a backup through the whole pipeline, in a folder.
#include <catch2/catch_test_macros.hpp>
#include <filesystem>
#include <set>

#include "rescue/base/checksum.h"
#include "rescue/base/real_file_system.h"
#include "rescue/etcd/inspect.h"
#include "rescue/session/pipeline.h"
#include "rescue/session/survivor_damage.h"
#include "tests/support/fixtures.h"

namespace rescue::session {
namespace {

namespace fs = std::filesystem;
using testing::Tree;
using testing::Unpacked;

// Notes what was said about the work.
struct Watching final : Observer {
  void Working(Stage stage, const Work& work) override {
    if (stage == Stage::kApply) objects.insert(work.object);
    CHECK(work.done <= work.total);
  }
  std::set<std::string> objects;
};

// What `etcdctl snapshot save` would write of a survivor's backend.
void SaveSnapshot(const Unpacked& survivor, const fs::path& path) {
  Bytes bytes = rescue::testing::ReadFileBytes(fs::path(survivor.data()) / "member/snap/db");
  const Sha256Digest digest = Sha256(bytes);
  Append(bytes, digest);
  rescue::testing::WriteFileBytes(path, bytes);
}

struct Scene {
  Unpacked source{"3516-leader"};
  rescue::testing::TemporaryDirectory folder;
  std::string snapshot = (folder.path() / "snapshot.db").string();
  Watching watching;
  Outcome outcome;
  Request request;

  Scene() {
    SaveSnapshot(source, snapshot);
    request.backup.from = snapshot;
    request.wishes.strategy = etcd::Strategy::kRestore;
  }
  Status Do(Command command, const std::string& data) {
    request.command = command;
    request.data_directory = data;
    outcome = {};
    return Run(request, watching, outcome);
  }
  void NameMember() {
    request.wishes.name = "cp-9";
    request.wishes.peer_urls = {"http://10.0.0.9:2380"};
  }
};

TEST_CASE("ABackupIsRestoredBesideTheOldMemberAndUndone") {
  Scene scene;
  const Unpacked old("3530-learner");
  const Tree before = testing::TreeOf(*old.Files());
  REQUIRE(scene.Do(Command::kPlan, old.data()));
  CHECK(testing::TreeOf(*old.Files()) == before);
  REQUIRE(scene.outcome.plan);
  CHECK(scene.outcome.plan->edits.size() == 4);
  bool recommends = false;
  for (const auto& warning : scene.outcome.plan->warnings) {
    recommends = recommends || warning.find("--bump-revision 1000000000") != std::string::npos;
  }
  CHECK(recommends);
  const Status applied = scene.Do(Command::kApply, old.data());
  INFO((applied ? std::string() : applied.error().message));
  REQUIRE(applied);
  REQUIRE(scene.outcome.built);
  CHECK(scene.outcome.built->digest_matches);
  CHECK(scene.watching.objects.contains("snapshot.db"));
  CHECK(fs::exists(old.data() + "/member.before-restore/snap/db"));
  REQUIRE(scene.Do(Command::kVerify, old.data()));
  REQUIRE(scene.Do(Command::kUndo, old.data()));
  CHECK(testing::TreeOf(*old.Files()) == before);
}

TEST_CASE("AMissingDataDirectoryIsMadeAndTakenAwayAgainWhenTheRestoreFails") {
  Scene scene;
  const std::string data = (scene.folder.path() / "new").string();
  const Status nameless = scene.Do(Command::kApply, data);
  REQUIRE_FALSE(nameless);
  CHECK(nameless.error().code == "no-name");
  CHECK_FALSE(fs::exists(data));
  scene.NameMember();
  REQUIRE(scene.Do(Command::kApply, data));
  CHECK(fs::exists(data + "/member/snap/db"));
  CHECK(fs::status(data).permissions() == fs::perms::owner_all);
  REQUIRE(scene.Do(Command::kVerify, data));
}

TEST_CASE("AnEmptyDataDirectoryIsFilled") {
  Scene scene;
  scene.NameMember();
  const std::string data = (scene.folder.path() / "empty").string();
  fs::create_directory(data);
  REQUIRE(scene.Do(Command::kPlan, data));
  CHECK(fs::is_empty(data));
  REQUIRE(scene.Do(Command::kApply, data));
  REQUIRE(scene.Do(Command::kUndo, data));
  CHECK(fs::is_empty(data));
}

TEST_CASE("DiscardingTheOldMemberLeavesOnlyTheNewOne") {
  Scene scene;
  scene.request.backup.discard_old = true;
  const Unpacked old("3530-learner");
  const Status applied = scene.Do(Command::kApply, old.data());
  INFO((applied ? std::string() : applied.error().message));
  REQUIRE(applied);
  CHECK(fs::exists(old.data() + "/member/restored"));
  CHECK_FALSE(fs::exists(old.data() + "/member.before-restore"));
  CHECK_FALSE(fs::exists(old.data() + "/member.discarded"));
}

TEST_CASE("ADamagedBackupDiscardsNothing") {
  Scene scene;
  scene.request.backup.discard_old = true;
  Bytes bytes = rescue::testing::ReadFileBytes(scene.snapshot);
  bytes[bytes.size() / 2] ^= std::byte{1};
  rescue::testing::WriteFileBytes(scene.snapshot, bytes);
  const Unpacked old("3530-learner");
  const Tree before = testing::TreeOf(*old.Files());
  REQUIRE_FALSE(scene.Do(Command::kApply, old.data()));
  CHECK(testing::TreeOf(*old.Files()) == before);
}

}  // namespace
}  // namespace rescue::session
