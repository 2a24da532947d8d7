// Every kind of survivor by name: what is found, what is recommended, and what the strategies do
// about it. One row a case; one test a row.
#include <catch2/catch_test_macros.hpp>
#include <set>
#include <utility>

#include "rescue/etcd/diagnosis.h"
#include "rescue/session/pipeline.h"
#include "rescue/session/survivor_damage.h"

namespace rescue::session {
namespace {

using testing::TreeOf;
using testing::Unpacked;
namespace damage = testing::damage;

constexpr const char* kForce = "--strategy force-new-cluster";
constexpr const char* kCut = "--strategy force-new-cluster --accept-cut-tail";
constexpr const char* kForceLoss = "--strategy force-new-cluster --accept-loss";
constexpr const char* kNew = "--strategy restore";
constexpr const char* kKeep = "--strategy restore --keep-ids";
constexpr const char* kKeepLoss = "--strategy restore --keep-ids --accept-loss";
constexpr const char* kNone = "";

struct Case {
  const char* name;
  const char* fixture;
  damage::Damage damage;
  // Code of a diagnosis that must be there; "" when nothing is damaged.
  const char* finding;
  const char* recommended;  // flags, "" for no way at all
  // What `apply` without a strategy (force-new-cluster) ends with: exit code and error code.
  int exit = 0;
  const char* error = "";
  bool named = false;  // the operator says which member this is (--name)
};

void Nothing(FileSystem&) {}

const std::vector<Case>& Cases() {
  static const std::vector<Case> cases = {
      // Healthy ones, of every version and role.
      {"Leader34WithSnapshots", "3423-leader-snap", Nothing, "", kForce},
      {"Learner34", "3423-learner", Nothing, "survivor-learner", kForce},
      {"Leader3516NeverSnapshotted", "3516-leader", Nothing, "", kForce},
      {"Learner3530", "3530-learner", Nothing, "survivor-learner", kForce},
      {"Leader36NeverSnapshotted", "3614-leader", Nothing, "", kForce},
      {"Follower36WithSnapshots", "3614-snap", Nothing, "", kForce},
      {"Learner36", "3614-learner", Nothing, "survivor-learner", kForce},
      {"Leader37WithSnapshots", "371-leader-snap", Nothing, "", kForce},
      {"Learner37", "371-learner", Nothing, "survivor-learner", kForce},

      // The survivor in its cluster.
      {"E6_RemovedSurvivor34", "3423-leader-snap", damage::RemoveSurvivor, "survivor-removed", kNew,
       6, "survivor-removed"},
      {"E6_RemovedSurvivor35", "3516-leader", damage::RemoveSurvivor, "survivor-removed", kNew, 6,
       "survivor-removed"},
      {"E6_RemovedSurvivor36", "3614-leader", damage::RemoveSurvivor, "survivor-removed", kNew, 6,
       "survivor-removed"},
      {"E6_RemovedSurvivor37", "371-leader-snap", damage::RemoveSurvivor, "survivor-removed", kNew,
       6, "survivor-removed"},
      {"E4_LostLearner34", "3423-leader-snap", damage::AddLearner, "lost-learners", kForce},
      {"E5_LostLearner35", "3516-leader", damage::AddLearner, "lost-learners", kForce},
      {"E4_LostLearner36", "3614-snap", damage::AddLearner, "lost-learners", kForce},
      {"E4_LostLearner37", "371-leader-snap", damage::AddLearner, "lost-learners", kForce},
      {"UnstartedMember35", "3516-leader", damage::AddUnstarted, "lost-unstarted", kForce},
      {"UnstartedMember37", "371-leader-snap", damage::AddUnstarted, "lost-unstarted", kForce},
      {"ChangedPeerUrl35", "3516-leader", damage::ChangeOwnUrl, "", kForce},
      {"ChangedPeerUrl36", "3614-snap", damage::ChangeOwnUrl, "", kForce},
      {"E11_ZombieInBackend34", "3423-leader-snap", damage::ListZombie, "members-disagree", kForce},
      {"E11_ZombieInBackend35", "3516-leader", damage::ListZombie, "members-disagree", kForce},
      {"E10_PromotionNotInBackend35", "3516-leader", damage::ForgetPromotion, "members-disagree",
       kForce},
      {"NamesOnlyInTheLog35", "3516-leader", damage::ForgetNames, "", kForce},
      {"ElectionThatOnlyOthersTookPartIn35", "3516-leader", damage::RaiseTerm,
       "entries-above-commit", kForce},
      {"ElectionThatOnlyOthersTookPartIn37", "371-leader-snap", damage::RaiseTerm,
       "entries-above-commit", kForce},

      {"E4_JointConfigurationInSnap36", "3614-snap", damage::JoinConfigurations, "", kKeep, 6,
       "joint-configuration"},
      {"E4_JointConfigurationInSnap34", "3423-leader-snap", damage::JoinConfigurations, "", kKeep,
       6, "joint-configuration"},

      // The log.
      {"E47_LogMissing34", "3423-leader-snap", damage::RemoveLog, "log-missing", kNone, 6,
       "log-missing"},
      {"E47_LogMissing36", "3614-snap", damage::RemoveLog, "log-missing", kNone, 6, "log-missing"},
      {"E47_LogMissingButTheNameIsKnown34", "3423-leader-snap", damage::RemoveLog, "log-missing",
       kNew, 6, "log-missing", true},
      {"E47_LogMissingButTheNameIsKnown36", "3614-snap", damage::RemoveLog, "log-missing", kNew, 6,
       "log-missing", true},
      {"E47_LogMissingButTheNameIsKnown37", "371-leader-snap", damage::RemoveLog, "log-missing",
       kNew, 6, "log-missing", true},
      {"LogOfAnotherClusterButTheNameIsKnown36", "3614-snap", damage::ForeignLog("3614-leader"),
       "log-foreign", kNew, 6, "log-foreign", true},
      {"LogDirectoryMissing35", "3516-leader", damage::RemoveLogDirectory, "log-missing", kNone, 6,
       "log-missing"},
      {"LogShorterThanBackend34", "3423-leader-snap", damage::CutLogBelowBackend(20),
       "log-ends-before-backend", kKeep, 6, ""},
      {"LogShorterThanBackend35", "3516-leader", damage::CutLogBelowBackend(20),
       "log-ends-before-backend", kKeep, 6, ""},
      {"LogShorterThanBackend36", "3614-leader", damage::CutLogBelowBackend(20),
       "log-ends-before-backend", kKeep, 6, ""},
      {"LogShorterThanBackend37", "371-leader-snap", damage::CutLogBelowBackend(20),
       "log-ends-before-backend", kKeep, 6, ""},
      {"LogEndsAtBackend35", "3516-leader", damage::CutLogBelowBackend(0), "", kForce},
      {"LogShorterThanCommit35", "3516-leader", damage::CutLogBelowCommit, "log-ends-before-commit",
       kKeepLoss, 6, "log-ends-before-commit"},
      {"LogWithAHole35", "3516-leader", damage::LoseOldSegment, "", kKeep, 6, "snapshot-missing"},
      {"PurgedLogWithoutSnaps34", "3423-leader-snap", damage::LoseOldSegment, "snap-broken", kKeep,
       6, "snapshot-missing"},
      {"E42_TornTail34", "3423-leader-snap", damage::TearLastRecord, "log-torn", kForce},
      {"E42_TornTail35", "3516-leader", damage::TearLastRecord, "log-torn", kForce},
      {"E42_TornTail36", "3614-leader", damage::TearLastRecord, "log-torn", kForce},
      {"E42_TornTail37", "371-learner", damage::TearLastRecord, "log-torn", kForce},
      {"E42_ZeroedSectorsAtTheEnd35", "3516-leader", damage::ZeroLastSectors, "log-torn", kForce},
      {"E42_LastRecordDamaged35", "3516-leader", damage::FlipLastEntry, "log-tail-unlike-torn",
       kCut, 6, "log-tail-unlike-torn"},
      {"E42_LastRecordDamaged37", "371-leader-snap", damage::FlipLastEntry, "log-tail-unlike-torn",
       kCut, 6, "log-tail-unlike-torn"},
      {"E42_DamageBehindTheBackend35", "3516-leader", damage::FlipEntryInTail, "log-damaged",
       kKeepLoss, 6, "log-damaged"},
      {"E42_DamageBelowTheBackend35", "3516-leader", damage::FlipEntryBelowBackend, "log-damaged",
       kKeepLoss, 6, ""},
      {"E42_DamageBelowTheBackend37", "371-leader-snap", damage::FlipEntryBelowBackend,
       "log-damaged", kKeepLoss, 6, ""},
      {"LogOfAnotherCluster35", "3516-leader", damage::ForeignLog("3530-learner"), "log-foreign",
       kNone, 6, "log-foreign"},
      {"LogOfAnotherTime36", "3614-leader", damage::LogOfAnotherTime, "log-foreign", kNone, 6,
       "log-foreign"},

      // Snapshots.
      {"SnapBrokenButNotNeeded36", "3614-snap", damage::BreakNewestSnap, "snap-broken", kForce},
      {"NewestSnapBroken34", "3423-leader-snap", damage::BreakNewestSnap, "snap-broken", kForce},
      {"AllSnapsBrokenOn37", "371-leader-snap", damage::BreakAllSnaps, "snap-broken", kForce},
      {"E46_SnapshotAheadOfBackend34", "3423-leader-snap", damage::ForgetAppliedEntries,
       "snapshot-ahead-of-backend", kKeep, 6, "snapshot-ahead-of-backend"},
      {"E46_SnapshotAheadOfBackend36", "3614-snap", damage::ForgetAppliedEntries,
       "snapshot-ahead-of-backend", kKeep, 6, "snapshot-ahead-of-backend"},
      {"E46_SnapshotAheadOfBackend37", "371-leader-snap", damage::ForgetAppliedEntries,
       "snapshot-ahead-of-backend", kKeep, 6, "snapshot-ahead-of-backend"},
      {"ReceivedSnapshotNotTakenOver34", "3423-leader-snap", damage::ReceiveBackend,
       "backend-received", kForce},
      {"ReceivedSnapshotNotTakenOver36", "3614-snap", damage::ReceiveBackend, "backend-received",
       kForce},
      {"ReceivedSnapshotNotTakenOver37", "371-leader-snap", damage::ReceiveBackend,
       "backend-received", kForce},
      {"LeftoversOfADefragmentation35", "3516-leader", damage::LeaveLeftovers, "", kForce},

      // The backend.
      {"E39_NewestMetaBroken34", "3423-leader-snap", damage::BreakMeta(true, false),
       "backend-older-state", kForce},
      {"E39_NewestMetaHalfWritten35", "3516-leader", damage::BreakMeta(true, true),
       "backend-older-state", kForce},
      {"E39_NewestMetaBroken36", "3614-leader", damage::BreakMeta(true, false),
       "backend-older-state", kForce},
      {"E39_NewestMetaHalfWritten37", "371-leader-snap", damage::BreakMeta(true, true),
       "backend-older-state", kForce},
      {"OlderMetaBroken35", "3516-leader", damage::BreakMeta(false, false), "backend-older-state",
       kForce},
      {"BothMetasBroken35", "3516-leader", damage::BreakBothMetas, "bolt-no-meta", kNone, 6,
       "bolt-no-meta"},
      {"E37_DamagedLeafOfKeys34", "3423-leader-snap", damage::BreakLeaf("key"), "backend-damaged",
       kForceLoss, 6, "backend-damaged"},
      {"E37_DamagedLeafOfKeys35", "3516-leader", damage::BreakLeaf("key"), "backend-damaged",
       kForceLoss, 6, "backend-damaged"},
      {"E37_DamagedLeafOfKeys36", "3614-leader", damage::BreakLeaf("key"), "backend-damaged",
       kForceLoss, 6, "backend-damaged"},
      {"E37_DamagedLeafOfKeys37", "371-leader-snap", damage::BreakLeaf("key"), "backend-damaged",
       kForceLoss, 6, "backend-damaged"},
      {"E37_DamagedRootPage35", "3516-leader", damage::BreakRootPage, "bolt-page", kNone, 6, ""},
      {"E38_WrongFreelist35", "3516-leader", damage::StoreWrongFreelist, "backend-freelist",
       kForce},
      {"E38_WrongFreelist37", "371-leader-snap", damage::StoreWrongFreelist, "backend-freelist",
       kForce},
      {"BackendCutOff35", "3516-leader", damage::CutBackend, "bolt-truncated", kNone, 6,
       "bolt-truncated"},
      {"BackendMissing36", "3614-snap", damage::RemoveBackend, "backend-missing", kNone, 6,
       "backend-missing"},

      // State that blocks or surprises.
      {"E45_CorruptAlarm35", "3516-leader", damage::SetAlarm(2, false), "alarm-corrupt", kForce},
      {"E46_NoSpaceAlarmOfALostMember34", "3423-leader-snap", damage::SetAlarm(1, false),
       "alarm-nospace", kForce},
      {"NoSpaceAlarmOfTheSurvivor37", "371-leader-snap", damage::SetAlarm(1, true), "alarm-nospace",
       kForce},
      {"NoSpaceAlarmOnlyInTheLog36", "3614-leader", damage::NoSpaceInLog, "alarm-in-log", kForce},
      {"DowngradeInProgress36", "3614-snap",
       damage::Set("cluster", "downgrade", R"({"target-version":"3.5.0","enabled":true})"),
       "downgrade-in-progress", kForce},
      {"AuthEnabled35", "3516-leader", damage::Set("auth", "authEnabled", "\x01"), "auth-enabled",
       kForce},
      {"NoSpaceAndZombie35", "3516-leader",
       damage::Both(damage::SetAlarm(1, false), damage::ListZombie), "alarm-nospace", kForce},
      {"TornTailAndBrokenMeta37", "371-leader-snap",
       damage::Both(damage::BreakMeta(true, false), damage::TearLastRecord), "log-torn", kForce},
  };
  return cases;
}

struct Silent final : Observer {};

struct Ran {
  Status status;
  Outcome outcome;
};

Ran RunCommand(const Unpacked& survivor, Command command, const etcd::Wishes& wishes = {},
               bool recommend = false) {
  Request request;
  request.command = command;
  request.data_directory = survivor.data();
  request.wishes = wishes;
  request.recommend = recommend;
  Silent silent;
  Ran ran;
  ran.status = Run(request, silent, ran.outcome);
  return ran;
}

std::set<std::string> CodesOf(const etcd::Findings& findings) {
  std::set<std::string> codes;
  for (const auto& diagnosis : etcd::Diagnose(findings)) {
    INFO(diagnosis.code << ": " << diagnosis.text);
    CHECK_FALSE(diagnosis.text.empty());
    codes.insert(diagnosis.code);
  }
  return codes;
}

bool SeesDamage(const etcd::Findings& findings) {
  for (const auto& diagnosis : etcd::Diagnose(findings)) {
    if (diagnosis.severity == etcd::Severity::kDamage) return true;
  }
  return false;
}

std::string NameOf(const etcd::Findings& findings) {
  const auto state = etcd::Replay(findings, etcd::RuleFor(findings), findings.LastIndex()).value();
  return state.store.members.at(findings.log->metadata.node_id).name;
}

// Applies, verifies, applies again, undoes; the last step must give every byte and time back.
void ApplyAndUndo(const Unpacked& survivor, const etcd::Wishes& wishes,
                  const testing::Tree& before) {
  const auto applied = RunCommand(survivor, Command::kApply, wishes);
  if (!applied.status) FAIL(applied.status.error().message);
  REQUIRE(applied.outcome.applied);
  const auto verified = RunCommand(survivor, Command::kVerify);
  if (!verified.status) FAIL("verify: " << verified.status.error().message);
  // No place that names members disagrees any more.
  const auto files = survivor.Files();
  const auto after = etcd::Inspect(*files).value();
  CHECK(etcd::MembershipDifferences(after).empty());
  CHECK_FALSE(SeesDamage(after));
  CHECK(after.check->clean());
  const auto again = RunCommand(survivor, Command::kApply, wishes);
  if (!again.status) FAIL("apply again: " << again.status.error().message);
  CHECK_FALSE(again.outcome.applied);
  const auto undone = RunCommand(survivor, Command::kUndo);
  if (!undone.status) FAIL("undo: " << undone.status.error().message);
  CHECK(TreeOf(*files) == before);
}

void RunCase(const Case& row) {
  const Unpacked survivor(row.fixture);
  const auto files = survivor.Files();
  etcd::Wishes given;
  if (row.named) given.name = NameOf(etcd::Inspect(*files, {false, {}}).value());
  row.damage(*files);
  const testing::Tree before = TreeOf(*files);

  const auto looked = RunCommand(survivor, Command::kPlan, given, /*recommend=*/true);
  REQUIRE(looked.outcome.findings);
  const auto codes = CodesOf(*looked.outcome.findings);
  if (*row.finding == '\0') {
    CHECK_FALSE(SeesDamage(*looked.outcome.findings));
  } else {
    INFO("expected " << row.finding);
    CHECK(codes.contains(row.finding));
  }
  REQUIRE(looked.outcome.advice);
  const etcd::Advice& advice = *looked.outcome.advice;
  for (const auto& reason : advice.reasons) UNSCOPED_INFO(reason);
  for (const auto& way : advice.alternatives) {
    UNSCOPED_INFO(way.flags << ": " << (way.error ? way.error->message : "possible"));
  }
  CHECK((advice.recommended ? advice.alternatives[*advice.recommended].flags : "") ==
        row.recommended);
  CHECK(TreeOf(*files) == before);

  // Without a strategy it does force-new-cluster, or says why not and changes nothing.
  if (row.exit == 0) {
    ApplyAndUndo(survivor, {}, before);
  } else {
    const auto refused = RunCommand(survivor, Command::kApply);
    REQUIRE_FALSE(refused.status);
    CHECK(static_cast<int>(refused.status.error().kind) == row.exit);
    if (*row.error != '\0') CHECK(refused.status.error().code == row.error);
    CHECK_FALSE(refused.status.error().hint.empty());
    CHECK(TreeOf(*files) == before);
  }
  // What is recommended works; and so does everything else that is called possible.
  for (const auto& way : advice.alternatives) {
    if (!way.possible() || (row.exit == 0 && way.wishes == etcd::Wishes{})) continue;
    INFO(way.flags);
    ApplyAndUndo(survivor, way.wishes, before);
  }
}

template <std::size_t kRow>
void RunRow() {
  RunCase(Cases()[kRow]);
}

// One test a row, so that a case is found by its name.
constexpr std::size_t kRows = 89;

template <std::size_t kRow>
void RegisterRow() {
  if (kRow >= Cases().size()) return;
  REGISTER_TEST_CASE(&RunRow<kRow>, std::string("survivor ") + Cases()[kRow].name);
}

template <std::size_t... kRow>
bool Register(std::index_sequence<kRow...> /*rows*/) {
  (RegisterRow<kRow>(), ...);
  return true;
}
const bool kRegistered = Register(std::make_index_sequence<kRows>());

TEST_CASE("EverySurvivorCaseIsRegistered") {
  CHECK(Cases().size() == kRows);
  CHECK(kRegistered);
  std::set<std::string> names;
  for (const auto& row : Cases()) names.insert(row.name);
  CHECK(names.size() == kRows);
  CHECK(kRows >= 60);
}

}  // namespace
}  // namespace rescue::session
