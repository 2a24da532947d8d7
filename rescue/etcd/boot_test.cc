// The boot simulator on findings made by hand: one rule of etcd a test.
#include "rescue/etcd/boot.h"

#include <catch2/catch_test_macros.hpp>

#include "rescue/edit/memory_file_system.h"
#include "rescue/etcd/plan.h"

namespace rescue::etcd {
namespace {

using raftlog::ConfChangeType;

constexpr std::uint64_t kSelf = 1;

raftlog::Member MakeMember(std::uint64_t id, bool learner = false) {
  raftlog::Member member;
  member.id = id;
  member.name = "cp-" + std::to_string(id);
  member.peer_urls = {"http://10.0.0." + std::to_string(id) + ":2380"};
  member.is_learner = learner;
  return member;
}

// A log with entries 1 to `last`, and what etcd would have in memory besides.
class Sample {
 public:
  explicit Sample(std::uint64_t last) {
    findings.log.emplace();
    findings.log->metadata = {kSelf, 77};
    findings.log->segments.emplace_back();
    for (std::uint64_t index = 1; index <= last; ++index) {
      raftlog::EntryRef entry;
      entry.term = 2;
      entry.index = index;
      findings.log->entries.push_back(entry);
    }
    findings.log->hard_state = raftlog::HardState{2, kSelf, last};
    findings.log->marks.push_back({0, 0, {}, 0, 0});
    findings.backend.emplace();
    findings.backend->cluster_version = "3.5.0";
    findings.backend->consistent_index = last;
  }

  void Change(std::uint64_t index, ConfChangeType type, const raftlog::Member& member,
              bool promote = false) {
    raftlog::ConfChange change{0, type, member.id, {}};
    if (type != ConfChangeType::kRemoveNode) {
      change.context = ToBytes(AsBytes(raftlog::WriteMemberContext(member, promote)));
    }
    findings.conf_changes.push_back({index, 2, change});
  }

  void AddThree() {
    for (std::uint64_t id = 1; id <= 3; ++id) Change(id, ConfChangeType::kAddNode, MakeMember(id));
  }

  void Version(const std::string& version) { findings.backend->cluster_version = version; }
  void BackendMembers(std::initializer_list<raftlog::Member> members) {
    findings.backend->members = members;
  }
  void Snap(std::uint64_t index, std::initializer_list<raftlog::Member> members) {
    raftlog::SnapFile snap;
    snap.name = {2, index};
    snap.metadata.index = index;
    snap.metadata.term = 2;
    for (const auto& member : members) {
      snap.store.members[member.id] = member;
      auto& list =
          member.is_learner ? snap.metadata.conf_state.learners : snap.metadata.conf_state.voters;
      list.push_back(member.id);
    }
    findings.snaps.insert(findings.snaps.begin(), snap);
    findings.log->marks.push_back({index, 2, {}, 0, 0});
  }
  void Commit(std::uint64_t commit) { findings.log->hard_state->commit = commit; }

  Findings findings;
};

TEST_CASE("ThreeMembersWaitForEachOther") {
  Sample sample(10);
  sample.AddThree();
  const auto verdict = SimulateBoot(sample.findings, BootRule::kStoreV2);
  CHECK_FALSE(verdict.leads_alone);
  CHECK(verdict.code == "other-voters");
  CHECK(verdict.state.voters == std::set<std::uint64_t>{1, 2, 3});
}

TEST_CASE("CommittedRemovalsLeaveTheSurvivorAlone") {
  Sample sample(12);
  sample.AddThree();
  sample.Change(11, ConfChangeType::kRemoveNode, MakeMember(2));
  sample.Change(12, ConfChangeType::kRemoveNode, MakeMember(3));
  CHECK(SimulateBoot(sample.findings, BootRule::kStoreV2).leads_alone);
  // Not committed on disk, they are not applied at boot, and nobody is there to commit them.
  sample.Commit(11);
  const auto verdict = SimulateBoot(sample.findings, BootRule::kStoreV2);
  CHECK_FALSE(verdict.leads_alone);
  CHECK(verdict.code == "other-voters");
}

TEST_CASE("AnAdditionOfARemovedMemberIsIgnored") {
  Sample sample(12);
  sample.AddThree();
  sample.Change(5, ConfChangeType::kRemoveNode, MakeMember(2));
  sample.Change(6, ConfChangeType::kAddNode, MakeMember(2));
  const auto state = Replay(sample.findings, BootRule::kStoreV2, 12);
  REQUIRE(state);
  CHECK(state->voters == std::set<std::uint64_t>{1, 3});
  CHECK(state->ignored.size() == 1);
}

TEST_CASE("AnAdditionWithAPeerUrlInUseIsIgnored") {
  Sample sample(12);
  sample.AddThree();
  auto twin = MakeMember(9);
  twin.peer_urls = MakeMember(2).peer_urls;
  sample.Change(7, ConfChangeType::kAddNode, twin);
  const auto state = Replay(sample.findings, BootRule::kStoreV2, 12).value();
  CHECK_FALSE(state.voters.contains(9));
}

TEST_CASE("ALearnerIsPromotedOnlyByAPromotion") {
  Sample sample(12);
  sample.AddThree();
  sample.Change(4, ConfChangeType::kAddLearnerNode, MakeMember(4, /*learner=*/true));
  auto state = Replay(sample.findings, BootRule::kStoreV2, 12).value();
  CHECK(state.learners == std::set<std::uint64_t>{4});
  sample.Change(5, ConfChangeType::kAddNode, MakeMember(4), /*promote=*/true);
  state = Replay(sample.findings, BootRule::kStoreV2, 12).value();
  CHECK(state.learners.empty());
  CHECK(state.voters.contains(4));
  CHECK_FALSE(state.store.members.at(4).is_learner);
}

TEST_CASE("ASnapshotIsUsedOnlyWithItsRecordAtOrBelowTheCommitIndex") {
  Sample sample(20);
  sample.AddThree();
  sample.Snap(10, {MakeMember(1), MakeMember(2)});
  CHECK(Replay(sample.findings, BootRule::kStoreV2, 20)->snapshot_index == 10);
  sample.Commit(9);
  CHECK(Replay(sample.findings, BootRule::kStoreV2, 20)->snapshot_index == 0);
  sample.Commit(20);
  sample.findings.log->marks.pop_back();
  CHECK(Replay(sample.findings, BootRule::kStoreV2, 20)->snapshot_index == 0);
}

TEST_CASE("EntriesMissingBehindTheSnapshotAreAHole") {
  Sample sample(20);
  sample.Snap(5, {MakeMember(1)});
  auto& entries = sample.findings.log->entries;
  entries.erase(entries.begin(), entries.begin() + 8);  // the log starts at 9
  const auto state = Replay(sample.findings, BootRule::kStoreV2, 20);
  REQUIRE_FALSE(state);
  CHECK(state.error().code == "log-hole");
}

TEST_CASE("APurgedLogWithoutItsSnapshotIsNamed") {
  Sample sample(20);
  auto& entries = sample.findings.log->entries;
  entries.erase(entries.begin(), entries.begin() + 8);
  const auto state = Replay(sample.findings, BootRule::kStoreV2, 20);
  REQUIRE_FALSE(state);
  CHECK(state.error().code == "snapshot-missing");
}

TEST_CASE("ASnapshotAheadOfTheBackendIsRefused") {
  Sample sample(20);
  sample.Snap(15, {MakeMember(1)});
  sample.findings.backend->consistent_index = 12;
  const auto state = Replay(sample.findings, BootRule::kStoreV2, 20);
  REQUIRE_FALSE(state);
  CHECK(state.error().code == "snapshot-ahead-of-backend");
}

TEST_CASE("ALogShorterThanItsCommitIndexIsRefused") {
  Sample sample(20);
  sample.AddThree();
  sample.Commit(25);
  const auto plan = MakePlan(rescue::testing::MemoryFileSystem(), sample.findings, Wishes{});
  REQUIRE_FALSE(plan);
  CHECK(plan.error().code == "log-ends-before-commit");
}

TEST_CASE("ARemovedSurvivorIsRefusedByName") {
  Sample sample(20);
  sample.AddThree();
  sample.Change(15, ConfChangeType::kRemoveNode, MakeMember(1));
  const auto plan = MakePlan(rescue::testing::MemoryFileSystem(), sample.findings, Wishes{});
  REQUIRE_FALSE(plan);
  CHECK(plan.error().code == "survivor-removed");
  CHECK(plan.error().kind == ErrorKind::kDataDamaged);
  CHECK(plan.error().hint.find("restore") != std::string::npos);
}

TEST_CASE("NoReplayRemovesTheLastVoter") {
  Sample sample(20);
  sample.Change(1, ConfChangeType::kAddNode, MakeMember(1));
  sample.Change(2, ConfChangeType::kRemoveNode, MakeMember(1));
  const auto state = Replay(sample.findings, BootRule::kStoreV2, 20);
  REQUIRE_FALSE(state);
  CHECK(state.error().code == "removed-all-voters");
}

TEST_CASE("Etcd37TakesItsVotersFromTheBackend") {
  Sample sample(20);
  sample.Version("3.7.0");
  sample.BackendMembers({MakeMember(1), MakeMember(2), MakeMember(3, true)});
  // At or below the consistent index: skipped, not even looked at.
  sample.findings.conf_changes.push_back({4, 2, std::nullopt});
  const auto state = Replay(sample.findings, BootRule::kBackend37, 20);
  REQUIRE(state);
  CHECK(state->voters == std::set<std::uint64_t>{1, 2});
  CHECK(state->learners == std::set<std::uint64_t>{3});
}

TEST_CASE("Etcd36JudgesNewChangesByTheBackend") {
  Sample sample(20);
  sample.Version("3.6.0");
  sample.AddThree();
  sample.BackendMembers({MakeMember(1), MakeMember(2), MakeMember(3)});
  sample.findings.backend->consistent_index = 10;
  sample.Change(15, ConfChangeType::kRemoveNode, MakeMember(2));
  sample.Change(16, ConfChangeType::kRemoveNode, MakeMember(3));
  const auto verdict = SimulateBoot(sample.findings, BootRule::kBackend36);
  CHECK(verdict.leads_alone);
  CHECK(verdict.state.backend_store.removed == std::set<std::uint64_t>{2, 3});
}

TEST_CASE("AZombieInTheBackendIsNotMistakenForAMember") {
  // 3.5's servers keep members in the v2 store; the backend may still list one that was removed.
  Sample sample(20);
  sample.AddThree();
  sample.Change(10, ConfChangeType::kRemoveNode, MakeMember(3));
  sample.BackendMembers({MakeMember(1), MakeMember(2), MakeMember(3)});
  const auto state = Replay(sample.findings, BootRule::kStoreV2, 20).value();
  CHECK(state.store.members.size() == 2);
  CHECK(state.backend_store.members.size() == 3);
}

TEST_CASE("ADamagedLogIsNotReplayed") {
  Sample sample(20);
  sample.AddThree();
  sample.findings.log->tail.kind = raftlog::TailKind::kDamaged;
  sample.findings.log->tail.reason = "crc mismatch, records follow";
  const auto plan = MakePlan(rescue::testing::MemoryFileSystem(), sample.findings, Wishes{});
  REQUIRE_FALSE(plan);
  CHECK(plan.error().code == "log-damaged");
}

TEST_CASE("AConfigurationChangeThatEtcdCannotApplyIsNamed") {
  Sample sample(20);
  sample.AddThree();
  sample.findings.conf_changes.push_back({8, 2, std::nullopt});
  const auto state = Replay(sample.findings, BootRule::kStoreV2, 20);
  REQUIRE_FALSE(state);
  CHECK(state.error().code == "bad-configuration-change");
}

TEST_CASE("AnUnstartedMemberIsRemovedLikeTheOthers") {
  Sample sample(20);
  sample.AddThree();
  auto unstarted = MakeMember(9);
  unstarted.name.clear();
  sample.Change(10, ConfChangeType::kAddNode, unstarted);
  sample.BackendMembers({MakeMember(1), MakeMember(2), MakeMember(3), unstarted});
  const auto plan = MakePlan(rescue::testing::MemoryFileSystem(), sample.findings, Wishes{});
  REQUIRE(plan);
  CHECK(plan->removed.size() == 3);
  CHECK(plan->appended_entries == 3);
}

TEST_CASE("PublishedNamesReachTheMemberList") {
  Sample sample(20);
  sample.AddThree();
  sample.findings.published.push_back({6, {2, "renamed", {"http://10.0.0.2:2379"}}});
  const auto state = Replay(sample.findings, BootRule::kStoreV2, 20).value();
  CHECK(state.store.members.at(2).name == "renamed");
}

}  // namespace
}  // namespace rescue::etcd
