// The plan: what a strategy would change, what it keeps and what is lost, computed without writing.
//
//   Findings --MakePlan--> Plan --Rehearse--> RehearsedPlan --(session: apply)
//
// A RehearsedPlan cannot be made in any other way, and only it can be applied.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "rescue/edit/edit.h"
#include "rescue/etcd/boot.h"
#include "rescue/etcd/findings.h"

namespace rescue::etcd {

enum class Strategy { kForceNewCluster };
std::string_view Name(Strategy strategy);

// What the operator asked for.
struct Wishes {
  Strategy strategy = Strategy::kForceNewCluster;
  // Continue a log whose last record is damaged in a way that etcd would refuse; what is cut goes
  // to the journal.
  bool accept_cut_tail = false;
};

struct Plan {
  Strategy strategy = Strategy::kForceNewCluster;
  edit::EditList edits;     // empty: nothing to do
  std::string fingerprint;  // of the edits

  std::uint64_t cluster_id = 0;          // kept
  raftlog::Member survivor;              // as it will be
  bool promotes_survivor = false;        // it was a learner
  std::vector<raftlog::Member> removed;  // by this plan, ascending ID
  std::uint64_t commit_before = 0;       // commit index on disk
  std::uint64_t commit_after = 0;
  std::uint64_t appended_entries = 0;
  std::uint64_t cut_bytes = 0;     // of a torn last record
  std::uint64_t tail_entries = 0;  // entries that live only in the log: all kept

  // One line each, for people.
  std::vector<std::string> kept;
  std::vector<std::string> lost;
  std::vector<std::string> warnings;
  std::vector<std::string> next_steps;

  bool nothing_to_do() const { return edits.empty(); }
};

// Errors (kDataDamaged) name why the strategy cannot work on this data directory and which one
// would: the codes of Replay (boot.h), "backend-missing", "backend-damaged", "survivor-removed",
// "survivor-unknown".
Result<Plan> MakePlan(const Findings& findings, const Wishes& wishes);

// The outcome of a rehearsal: the plan, what the inspection would find afterwards, and what etcd
// would make of it.
class RehearsedPlan {
 public:
  const Plan& plan() const { return plan_; }
  const Findings& after() const { return after_; }
  const BootVerdict& verdict() const { return verdict_; }

 private:
  friend Result<RehearsedPlan> Rehearse(const FileView& data, const Findings& before, Plan plan);
  RehearsedPlan(Plan plan, Findings after, BootVerdict verdict)
      : plan_(std::move(plan)), after_(std::move(after)), verdict_(std::move(verdict)) {}

  Plan plan_;
  Findings after_;
  BootVerdict verdict_;
};

// Inspects `data` as it would be after the plan's edits and boots it in the simulator, by the rule
// of every etcd version that may start it. Fails ("rehearsal-failed", kDataDamaged) when the
// survivor would not lead alone.
Result<RehearsedPlan> Rehearse(const FileView& data, const Findings& before, Plan plan);

// The same judgement on a data directory as it is now: the survivor leads alone, nothing is
// damaged. For verify. Errors: kVerificationFailed with the reason's code.
Result<BootVerdict> Verify(const Findings& findings);

}  // namespace rescue::etcd
