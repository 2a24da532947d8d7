// Strategy restore on real survivors of five versions, and both strategies with changes to the
// backend: what the result is made of, read back through the overlay.
#include "rescue/etcd/restore.h"

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators_range.hpp>
#include <set>

#include "rescue/base/real_file_system.h"
#include "rescue/base/units.h"
#include "rescue/edit/overlay.h"
#include "rescue/etcd/ids.h"
#include "rescue/etcd/inspect.h"
#include "rescue/raftlog/append.h"
#include "tests/support/fixtures.h"

namespace rescue::etcd {
namespace {

constexpr const char* kNames[] = {"3423-leader-snap", "3423-learner",    "3516-leader",
                                  "3530-learner",     "3614-leader",     "3614-learner",
                                  "3614-snap",        "371-leader-snap", "371-learner"};

struct Survivor {
  testing::TemporaryDirectory directory;
  std::unique_ptr<RealFileSystem> data;
  Findings findings;

  explicit Survivor(const std::string& name) {
    testing::UnpackArchive(testing::FixturePath("survivors/" + name + ".tar.xz"), directory.path());
    data = RealFileSystem::OpenRoot((directory.path() / "etcd").string()).value();
    findings = Inspect(*data).value();
  }
};

Wishes RestoreWishes() {
  Wishes wishes;
  wishes.strategy = Strategy::kRestore;
  wishes.token = "a-token";
  return wishes;
}

using Buckets = std::map<std::string, std::map<std::string, std::string>>;

Buckets ReadBuckets(const FileView& data) {
  Buckets buckets;
  const auto file = data.Open(kBackendPath).value();
  const auto database = bolt::Database::Open(*file).value();
  const auto names = database.Buckets().value();
  for (const auto& name : names) {
    const auto bucket = database.FindBucket(AsBytes(name)).value();
    REQUIRE(bucket->ForEach([&](ByteView key, ByteView value, bool) {
      buckets[name].emplace(AsText(key), AsText(value));
      return true;
    }));
  }
  return buckets;
}

struct Restored {
  Plan plan;
  std::unique_ptr<edit::Overlay> overlay;
  Findings findings;
};

Restored Rehearsed(const Survivor& survivor, const Wishes& wishes) {
  auto plan = MakePlan(*survivor.data, survivor.findings, wishes);
  if (!plan) FAIL(plan.error().message << " / " << plan.error().hint);
  const auto rehearsed = Rehearse(*survivor.data, survivor.findings, *plan);
  if (!rehearsed) FAIL(rehearsed.error().message);
  CHECK(rehearsed->verdict().leads_alone);
  auto overlay = edit::Overlay::Make(*survivor.data, plan->edits).value();
  return {rehearsed->plan(), std::move(overlay), rehearsed->after()};
}

TEST_CASE("RestoreInPlaceGivesASingleMemberOfANewCluster") {
  const std::string name = GENERATE(from_range(kNames));
  INFO(name);
  const Survivor survivor(name);
  const auto restored = Rehearsed(survivor, RestoreWishes());
  const Plan& plan = restored.plan;
  const std::uint64_t id = DeriveMemberId(plan.survivor.peer_urls, "a-token");
  CHECK(plan.survivor.id == id);
  CHECK(plan.cluster_id == DeriveClusterId({id}));
  CHECK(plan.cluster_id != plan.former_cluster_id);
  CHECK(restored.findings.log->metadata == raftlog::Metadata{id, plan.cluster_id});
  CHECK(plan.carried_entries == survivor.findings.tail.entries);
  CHECK(plan.loss.none());

  // The new log leads on from where the backend is, to where the old one ended.
  const Findings& after = restored.findings;
  const std::uint64_t ci = survivor.findings.ConsistentIndex();
  CHECK(after.ConsistentIndex() == ci);
  CHECK(after.LastIndex() == survivor.findings.LastIndex());
  CHECK(after.CommitIndex() == after.LastIndex());
  REQUIRE(after.log->marks.size() == 2);
  CHECK(after.log->marks[0].index == 0);
  CHECK(after.log->marks[1].index == ci);
  REQUIRE(after.snaps.size() == 1);
  CHECK(after.snaps[0].metadata.index == ci);
  CHECK(after.snaps[0].metadata.conf_state.voters == std::vector{id});
  CHECK(after.snaps[0].store.members.size() == 1);
  CHECK(after.backend->members == std::vector{plan.survivor});
  CHECK(after.backend->removed.empty());
  CHECK(Verify(after));
}

TEST_CASE("RestoreTouchesNothingButTheMembershipInTheBackend") {
  const std::string name =
      GENERATE("3423-leader-snap", "3516-leader", "3614-leader", "371-leader-snap");
  INFO(name);
  const Survivor survivor(name);
  const auto restored = Rehearsed(survivor, RestoreWishes());
  auto before = ReadBuckets(*survivor.data);
  auto after = ReadBuckets(*restored.overlay);
  for (auto* buckets : {&before, &after}) {
    buckets->erase("members");
    buckets->erase("members_removed");
    (*buckets)["meta"].erase("confState");
  }
  CHECK(before == after);
  // Two or three pages and a meta page, whatever the size of the database.
  std::uint64_t written = 0;
  for (const auto& edit : restored.plan.edits) {
    if (std::holds_alternative<edit::WriteRange>(edit)) written += edit::BytesWritten(edit);
  }
  CHECK(written <= 4 * survivor.findings.backend->meta.page_size);
}

TEST_CASE("KeepIdsKeepsThemAndBarsTheOthers") {
  const std::string name = GENERATE(from_range(kNames));
  INFO(name);
  const Survivor survivor(name);
  Wishes wishes = RestoreWishes();
  wishes.token.clear();
  wishes.keep_ids = true;
  const auto restored = Rehearsed(survivor, wishes);
  CHECK(restored.findings.log->metadata == survivor.findings.log->metadata);
  CHECK(restored.plan.survivor.id == survivor.findings.log->metadata.node_id);
  REQUIRE_FALSE(restored.plan.removed.empty());
  const std::set<std::uint64_t> removed(restored.findings.backend->removed.begin(),
                                        restored.findings.backend->removed.end());
  for (const auto& member : restored.plan.removed) {
    CHECK(removed.contains(member.id));
    CHECK(restored.findings.snaps[0].store.removed.contains(member.id));
  }
  CHECK_FALSE(removed.contains(restored.plan.survivor.id));
}

TEST_CASE("ASecondRestoreHasNothingToDo") {
  const Survivor survivor("3516-leader");
  const auto restored = Rehearsed(survivor, RestoreWishes());
  CHECK(MakePlan(*restored.overlay, restored.findings, RestoreWishes())->nothing_to_do());
  Wishes random = RestoreWishes();
  random.token = "something new";
  random.token_is_random = true;
  CHECK(MakePlan(*restored.overlay, restored.findings, random)->nothing_to_do());
  // Another token, if somebody chose it, is another wish.
  random.token_is_random = false;
  CHECK_FALSE(MakePlan(*restored.overlay, restored.findings, random)->nothing_to_do());
}

TEST_CASE("OldLogAndSnapshotsMoveAside") {
  const Survivor survivor("3423-leader-snap");
  const auto restored = Rehearsed(survivor, RestoreWishes());
  const auto& view = *restored.overlay;
  CHECK(restored.findings.log->segments.size() == 1);
  CHECK(view.List("member/wal/before-restore").value().size() ==
        survivor.findings.log->segments.size());
  CHECK(view.List("member/snap/before-restore").value().size() == survivor.findings.snaps.size());
  // A later restore does not step on it.
  Wishes again = RestoreWishes();
  again.token = "another";
  const auto plan = MakePlan(view, restored.findings, again).value();
  bool second = false;
  for (const auto& edit : plan.edits) {
    const auto* made = std::get_if<edit::MakeDirectory>(&edit);
    if (made != nullptr && made->path == "member/wal/before-restore-2") second = true;
  }
  CHECK(second);
}

// To etcd, a log directory without segments is a member that never ran.
TEST_CASE("AnEtcdStartedInTheMiddleNeverFindsAnEmptyLogDirectory") {
  const std::string name = GENERATE(from_range(kNames));
  INFO(name);
  const Survivor survivor(name);
  Wishes wishes = RestoreWishes();
  const auto plan = MakePlan(*survivor.data, survivor.findings, wishes).value();
  edit::EditList done;
  for (const auto& edit : plan.edits) {
    done.push_back(edit);
    if (std::holds_alternative<edit::WriteRange>(edit)) continue;
    CAPTURE(edit::Describe(edit));
    const auto view = edit::Overlay::Make(*survivor.data, done).value();
    const auto entries = view->List("member/wal").value();
    CHECK(std::any_of(entries.begin(), entries.end(),
                      [](const auto& entry) { return entry.name.ends_with(".wal"); }));
  }
  // The new log gets its name when all the rest is there; then only the guard goes away.
  REQUIRE(plan.edits.size() > 2);
  const auto* named = std::get_if<edit::Rename>(&plan.edits[plan.edits.size() - 2]);
  REQUIRE(named != nullptr);
  CHECK(named->to == "member/wal/0000000000000000-0000000000000000.wal");
}

TEST_CASE("WithoutRoomTheOldLogGoesFirst") {
  const Survivor survivor("3614-snap");
  Wishes wishes = RestoreWishes();
  wishes.tight_space = true;
  const auto restored = Rehearsed(survivor, wishes);
  CHECK(restored.findings.log->segments.size() == 1);
  CHECK_FALSE(Exists(*restored.overlay, "member/wal/before-restore").value());
  // Cut, and cut before anything grows: files that are held open (our own locks) keep their storage
  // after a removal.
  const auto& edits = restored.plan.edits;
  std::set<std::string> cut;
  for (const auto& edit : edits) {
    if (std::holds_alternative<edit::WriteRange>(edit)) break;
    if (std::holds_alternative<edit::CreateFile>(edit)) break;
    if (const auto* truncate = std::get_if<edit::Truncate>(&edit)) {
      if (truncate->size == 0) cut.insert(truncate->path);
    }
  }
  // All of them but the last segment, which is the guard.
  CHECK(cut.size() == survivor.findings.log->segments.size() - 1 + survivor.findings.snaps.size());
}

TEST_CASE("WithoutRoomThereIsAGuardFromTheFirstChangeThatEtcdCouldSee") {
  const Survivor survivor("3614-snap");
  Wishes wishes = RestoreWishes();
  wishes.tight_space = true;
  const auto plan = MakePlan(*survivor.data, survivor.findings, wishes).value();
  const std::string guard = "member/wal/ffffffffffffffff-ffffffffffffffff.wal";
  edit::EditList done;
  bool guarded = false;
  for (const auto& edit : plan.edits) {
    done.push_back(edit);
    CAPTURE(edit::Describe(edit));
    const auto view = edit::Overlay::Make(*survivor.data, done).value();
    if (!guarded && std::holds_alternative<edit::Truncate>(edit)) {
      // Only the zeros behind the last record are gone yet.
      const auto log = raftlog::ReadLog(*view, "member/wal").value();
      CHECK(log.last_index() == survivor.findings.log->last_index());
      CHECK(log.tail.kind == raftlog::TailKind::kClean);
      continue;
    }
    guarded = true;
    CHECK(Exists(*view, guard).value() == (done.size() < plan.edits.size()));
  }
  CHECK(guarded);
}

TEST_CASE("ABumpRaisesTheRevisionUnderBothStrategies") {
  const std::string name =
      GENERATE("3423-leader-snap", "3423-learner", "3516-leader", "3614-leader", "371-leader-snap");
  const Strategy strategy = GENERATE(Strategy::kForceNewCluster, Strategy::kRestore);
  INFO(name << " " << Name(strategy));
  const Survivor survivor(name);
  Wishes wishes;
  wishes.strategy = strategy;
  if (strategy == Strategy::kRestore) wishes.token = "t";
  wishes.bump_revision = 1000000000;
  wishes.mark_compacted = true;
  const auto restored = Rehearsed(survivor, wishes);
  const std::uint64_t expected = survivor.findings.backend->latest.main + 1000000000;
  CHECK(restored.plan.revision_after == expected);
  CHECK(restored.findings.backend->latest == Revision{expected, 0});
  CHECK(restored.findings.backend->latest_is_marker);
  CHECK(restored.findings.backend->compacted == expected);
  // A member that joins must get this backend, not the log from its first entry.
  const auto verdict = SimulateBoot(restored.findings, RuleFor(restored.findings));
  CHECK(verdict.state.snapshot_index > 0);
  // Bumping what was bumped before and not written since changes nothing.
  const auto again = MakePlan(*restored.overlay, restored.findings, wishes);
  REQUIRE(again);
  CHECK(again->revision_after == expected);
}

TEST_CASE("ABumpRenumbersWhatTheLogComparesSoThatNoAcknowledgedWriteFails") {
  // In this survivor, entry 2281 compares the revision that entry 2278 gives, and neither is in the
  // backend yet.
  const Survivor survivor("3516-leader");
  constexpr std::uint64_t kBump = 1000;
  const std::uint64_t latest = survivor.findings.backend->latest.main;
  const auto& old_log = *survivor.findings.log;
  for (const Strategy strategy : {Strategy::kForceNewCluster, Strategy::kRestore}) {
    INFO(Name(strategy));
    Wishes wishes;
    wishes.strategy = strategy;
    if (strategy == Strategy::kRestore) wishes.token = "t";
    wishes.bump_revision = kBump;
    const auto restored = Rehearsed(survivor, wishes);
    const auto& log = *restored.findings.log;
    const auto before = raftlog::ReadEntry(*survivor.data, old_log, *old_log.Find(2281)).value();
    const auto after = raftlog::ReadEntry(*restored.overlay, log, *log.Find(2281)).value();
    CHECK(before.data != after.data);
    CHECK(ShiftRevisions(before.data, latest, kBump).value() == after.data);
    // Entries before it are as they were, up to their place.
    const auto unchanged = raftlog::ReadEntry(*restored.overlay, log, *log.Find(2278)).value();
    CHECK(unchanged.data ==
          raftlog::ReadEntry(*survivor.data, old_log, *old_log.Find(2278)).value().data);
    CHECK(log.last_index() >= old_log.last_index());
  }
}

TEST_CASE("PeerUrlsCanChangeUnderBothStrategies") {
  const std::string name =
      GENERATE("3423-learner", "3516-leader", "3614-leader", "371-leader-snap");
  const Strategy strategy = GENERATE(Strategy::kForceNewCluster, Strategy::kRestore);
  INFO(name << " " << Name(strategy));
  const Survivor survivor(name);
  Wishes wishes;
  wishes.strategy = strategy;
  if (strategy == Strategy::kRestore) wishes.token = "t";
  wishes.peer_urls = {"https://[fd00::1]:2380", "https://cp-0.example:2380",
                      "http://10.0.0.5:2380"};
  const auto restored = Rehearsed(survivor, wishes);
  const std::vector<std::string> sorted = {"http://10.0.0.5:2380", "https://[fd00::1]:2380",
                                           "https://cp-0.example:2380"};
  CHECK(restored.plan.survivor.peer_urls == sorted);
}

TEST_CASE("OddPeerUrlsAreRefused") {
  for (const char* url :
       {"", "10.0.0.1:2380", "ftp://a:1", "http://a", "http://a:x", "http://a:2380/x",
        "http://a:70000", "http://::1:2380", "http://a:2380?x", "http://a b:2380"}) {
    INFO(url);
    const auto urls = CheckPeerUrls({url});
    REQUIRE_FALSE(urls);
    CHECK(urls.error().code == "bad-peer-url");
  }
  CHECK(CheckPeerUrls({"http://b:2", "http://a:1", "http://b:2"}).value() ==
        std::vector<std::string>{"http://a:1", "http://b:2"});
}

// As etcdutl 3.5 derived it for the first member of a kubeadm cluster.
TEST_CASE("IdsDeriveAsEtcdDerivesThem") {
  const std::string a = "http://127.0.0.1:2380";
  const std::string b = "http://127.0.0.2:2380";
  CHECK(DeriveMemberId({a, b}, "etcd-cluster") == DeriveMemberId({b, a}, "etcd-cluster"));
  CHECK(DeriveMemberId({a}, "etcd-cluster") != DeriveMemberId({a}, "other"));
  // `etcd --initial-cluster default=http://localhost:2380` has been known for these since 2016.
  const std::uint64_t id = DeriveMemberId({"http://localhost:2380"}, "etcd-cluster");
  CHECK(Hex16(id) == "8e9e05c52164694d");
  CHECK(Hex16(DeriveClusterId({id})) == "cdf818194e3a8c32");
}

TEST_CASE("CommitKnownDropsWhatNobodyKnewToBeCommitted") {
  const Survivor survivor("3516-leader");
  REQUIRE(survivor.findings.tail.above_commit == 2);
  Wishes wishes;
  wishes.commit = CommitLimit::kKnown;
  for (const Strategy strategy : {Strategy::kForceNewCluster, Strategy::kRestore}) {
    wishes.strategy = strategy;
    wishes.token = strategy == Strategy::kRestore ? "t" : "";
    const auto restored = Rehearsed(survivor, wishes);
    CHECK(restored.plan.loss.chosen == 2);
    const std::uint64_t known = survivor.findings.CommitIndex();
    const auto* dropped = survivor.findings.log->Find(known + 1);
    const auto* now = restored.findings.log->Find(known + 1);
    REQUIRE(dropped != nullptr);
    // Gone, or another entry of a later term.
    CHECK((now == nullptr || now->term > dropped->term));
  }
}

}  // namespace
}  // namespace rescue::etcd
