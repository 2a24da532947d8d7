// Where membership is written down, and what is said when the places differ.
#include "rescue/etcd/membership.h"

#include <catch2/catch_test_macros.hpp>

#include "rescue/base/real_file_system.h"
#include "rescue/etcd/inspect.h"
#include "tests/support/fixtures.h"

namespace rescue::etcd {
namespace {

using raftlog::ConfChangeType;

raftlog::Member MakeMember(std::uint64_t id, bool learner = false) {
  raftlog::Member member;
  member.id = id;
  member.name = "cp-" + std::to_string(id);
  member.peer_urls = {"http://10.0.0." + std::to_string(id) + ":2380"};
  member.is_learner = learner;
  return member;
}

// Survivor 1 of three voters: log of 10 entries, all applied.
Findings Sample() {
  Findings findings;
  findings.log.emplace();
  findings.log->metadata = {1, 77};
  findings.log->segments.emplace_back();
  for (std::uint64_t index = 1; index <= 10; ++index) {
    raftlog::EntryRef entry;
    entry.term = 2;
    entry.index = index;
    findings.log->entries.push_back(entry);
  }
  findings.log->hard_state = raftlog::HardState{2, 1, 10};
  findings.log->marks.push_back({0, 0, {}, 0, 0});
  findings.backend.emplace();
  findings.backend->consistent_index = 10;
  for (std::uint64_t id = 1; id <= 3; ++id) {
    const raftlog::ConfChange change{
        0, ConfChangeType::kAddNode, id,
        ToBytes(AsBytes(raftlog::WriteMemberContext(MakeMember(id), false)))};
    findings.conf_changes.push_back({id, 2, change});
    findings.backend->members.push_back(MakeMember(id));
  }
  findings.backend->conf_state = raftlog::ConfState{{1, 2, 3}, {}, {}, {}, false};
  return findings;
}

void Change(Findings& findings, std::uint64_t index, ConfChangeType type, std::uint64_t id) {
  findings.conf_changes.push_back({index, 2, raftlog::ConfChange{0, type, id, {}}});
}

MemberRole RoleIn(const MembershipAudit& audit, MembershipPlace place, std::uint64_t id) {
  for (const auto& view : audit.places) {
    if (view.place == place) return view.RoleOf(id);
  }
  FAIL("no such place");
  return MemberRole::kAbsent;
}

TEST_CASE("PlacesThatAgreeHaveNoDifferences") {
  const auto audit = AuditMembership(Sample());
  CHECK(audit.differences.empty());
  CHECK(audit.survivor == 1);
  CHECK(audit.cluster_id == 77);
  REQUIRE(audit.rows.size() == 3);
  CHECK(audit.rows[0].survivor);
  CHECK(audit.rows[1].name == "cp-2");
  CHECK(audit.rows[1].peer_urls == std::vector<std::string>{"http://10.0.0.2:2380"});
  CHECK(RoleIn(audit, MembershipPlace::kLog, 2) == MemberRole::kVoter);
}

TEST_CASE("AStaleLearnerInTheMembersBucketIsMarked") {
  // etcd before 3.5.20 never updates a record there.
  Findings findings = Sample();
  findings.backend->members[1].is_learner = true;
  const auto audit = AuditMembership(findings);
  CHECK(audit.rows[1].differs);
  CHECK_FALSE(audit.rows[0].differs);
  REQUIRE(audit.differences.size() == 1);
  CHECK(audit.differences[0] ==
        "0000000000000002: voter in log (10), confState (10); learner in members (10)");
}

TEST_CASE("ARemovalThatOnlyTheLogKnowsIsMarked") {
  Findings findings = Sample();
  Change(findings, 9, ConfChangeType::kRemoveNode, 3);
  const auto audit = AuditMembership(findings);
  CHECK(RoleIn(audit, MembershipPlace::kLog, 3) == MemberRole::kRemoved);
  CHECK(audit.rows[2].differs);
  // Absent in a place without a memory of removals is the same word.
  findings.backend->members.pop_back();
  findings.backend->conf_state->voters.pop_back();
  CHECK(AuditMembership(findings).differences.empty());
  CHECK(AuditMembership(findings).rows.size() == 3);
}

TEST_CASE("ARemovedMemberDoesNotComeBackUnderItsOldId") {
  Findings findings = Sample();
  Change(findings, 5, ConfChangeType::kRemoveNode, 3);
  Change(findings, 6, ConfChangeType::kAddNode, 3);
  CHECK(RoleIn(AuditMembership(findings), MembershipPlace::kLog, 3) == MemberRole::kRemoved);
}

TEST_CASE("TheLogStartsWhereTheSnapshotEnds") {
  Findings findings = Sample();
  raftlog::SnapFile snap;
  snap.metadata.index = 7;
  snap.metadata.conf_state.voters = {1, 2};
  snap.metadata.conf_state.learners = {4};
  snap.store.members[1] = MakeMember(1);
  snap.store.removed = {3};
  findings.snaps.push_back(snap);
  findings.log->marks.push_back({7, 2, {}, 0, 0});
  Change(findings, 8, ConfChangeType::kAddNode, 4);  // promoted
  const auto audit = AuditMembership(findings);
  CHECK(RoleIn(audit, MembershipPlace::kSnapConfState, 4) == MemberRole::kLearner);
  CHECK(RoleIn(audit, MembershipPlace::kLog, 4) == MemberRole::kVoter);
  CHECK(RoleIn(audit, MembershipPlace::kLog, 3) == MemberRole::kAbsent);
  CHECK(RoleIn(audit, MembershipPlace::kStoreV2, 3) == MemberRole::kRemoved);
  CHECK(RoleIn(audit, MembershipPlace::kStoreV2, 2) == MemberRole::kAbsent);
}

TEST_CASE("AMarkStandsInForALostSnap") {
  Findings findings = Sample();
  findings.log->marks.push_back({7, 2, raftlog::ConfState{{1, 9}, {}, {}, {}, false}, 0, 0});
  CHECK(RoleIn(AuditMembership(findings), MembershipPlace::kLog, 9) == MemberRole::kVoter);
  findings.log->marks.back().conf_state.reset();
  for (const auto& place : AuditMembership(findings).places) {
    if (place.place == MembershipPlace::kLog) {
      CHECK_FALSE(place.present);
      CHECK(place.note == "no snapshot of index 7 to start from");
    }
  }
}

TEST_CASE("NothingReadableIsSaidSo") {
  const auto audit = AuditMembership(Findings{});
  CHECK(audit.rows.empty());
  CHECK(audit.differences.empty());
  for (const auto& place : audit.places) {
    CHECK_FALSE(place.present);
    CHECK_FALSE(place.note.empty());
  }
}

TEST_CASE("RealSurvivorsAgreeWithThemselves") {
  // What is stale in real directories: bucket members of 3.4 and 3.5.16 (facts of those versions).
  for (const std::string name : {"3530-learner", "3614-learner", "371-learner"}) {
    INFO(name);
    const rescue::testing::TemporaryDirectory directory;
    rescue::testing::UnpackArchive(rescue::testing::FixturePath("survivors/" + name + ".tar.xz"),
                                   directory.path());
    const auto files = RealFileSystem::OpenRoot((directory.path() / "etcd").string()).value();
    InspectOptions quick;
    quick.check_backend = false;
    const auto audit = AuditMembership(Inspect(*files, quick).value());
    CHECK(audit.rows.size() == 4);
    CHECK(audit.differences.empty());
    CHECK(RoleIn(audit, MembershipPlace::kLog, audit.survivor) == MemberRole::kLearner);
  }
}

}  // namespace
}  // namespace rescue::etcd
