// What the strategies share. Private to this room.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "rescue/bolt/transaction.h"
#include "rescue/etcd/plan.h"

namespace rescue::etcd {

// kDataDamaged: this strategy cannot work here.
tl::unexpected<Error> Unsuitable(Strategy strategy, std::string code, std::string message,
                                 std::string hint);

// A usable backend, or why it is none.
Status NeedBackend(const Findings& findings, Strategy strategy);
// A last record that etcd itself would refuse needs the operator's word.
Status NeedUsableTail(const Findings& findings, const Wishes& wishes);

// Damaged pages leave the tree when the operator accepts what goes with them; a wrong list of free
// pages is dropped in any case. Adds to the request and to the plan's losses.
Status AddDamageRepair(const Findings& findings, const Wishes& wishes, Plan& plan,
                       bolt::TransactionRequest& request);
// By how much the backend's newest revision is to be raised: --bump-revision, or 0 when a bump is
// what was last written there. Error: kUsage "bad-bump".
Result<std::uint64_t> BumpFor(const Findings& findings, const Wishes& wishes);
// --bump-revision and --mark-compacted.
void AddBump(const Findings& findings, const Wishes& wishes, std::uint64_t bump, Plan& plan,
             bolt::TransactionRequest& request);
void AddAlarmClearing(const Findings& findings, const Wishes& wishes, Plan& plan,
                      bolt::TransactionRequest& request);
// Buckets members and members_removed hold exactly these.
void AddMembership(const std::vector<raftlog::Member>& members,
                   const std::vector<std::uint64_t>& removed, bolt::TransactionRequest& request);

// The edits of the request, empty when it asks for nothing; notes pages and revision in the plan.
Result<bolt::CommitPlan> PlanBackend(const FileView& data, const Findings& findings,
                                     bolt::TransactionRequest request, Plan& plan);

// A .snap whose membership is `store`, at entry `index`.
struct NewSnapshot {
  raftlog::SnapshotMetadata metadata;
  raftlog::StoreMembership store;
};
// The log record that vouches for it; with the configuration since 3.5.
raftlog::SnapshotMark MarkFor(const NewSnapshot& snapshot, const Findings& findings);

// Owner, mode and labels for a new file: those of the first one of its kind that exists; without
// any, the owner and labels of `neighbour` and the mode that etcd gives such files.
Result<Attributes> AttributesLike(const FileView& data, const std::vector<std::string>& same_kind,
                                  const std::string& neighbour, std::uint32_t etcd_mode);

// Alarms, a downgrade, an older state of the backend: what stays true whatever the strategy.
void ExplainState(const Findings& findings, const Wishes& wishes, Plan& plan);
void ExplainNextSteps(Plan& plan);
// Fails ("loss-not-accepted") when the plan gives something up and the operator has not agreed.
Status NeedAcceptedLoss(const Wishes& wishes, const Plan& plan);

}  // namespace rescue::etcd
