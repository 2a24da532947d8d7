// The plan: what a strategy would change, what it keeps and what is lost, computed without writing.
//
//   Findings --MakePlan--> Plan --Rehearse--> RehearsedPlan --(session: apply)
//
// A RehearsedPlan cannot be made in any other way, and only it can be applied.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "rescue/edit/edit.h"
#include "rescue/etcd/boot.h"
#include "rescue/etcd/findings.h"

namespace rescue::etcd {

enum class Strategy {
  kForceNewCluster,  // the same cluster and member, the log continued
  kRestore,  // a new logical cluster from the survivor's own backend, the log's tail carried
};
std::string_view Name(Strategy strategy);

// Which log entries count as committed.
enum class CommitLimit {
  kLogEnd,  // all: an acknowledged write may lie anywhere up to there
  kKnown,   // only what the survivor knew to be committed; what follows is dropped
};
std::string_view Name(CommitLimit limit);

// What the operator asked for.
struct Wishes {
  Strategy strategy = Strategy::kForceNewCluster;
  CommitLimit commit = CommitLimit::kLogEnd;
  // Continue a log whose last record is damaged in a way that etcd would refuse; what is cut goes
  // to the journal.
  bool accept_cut_tail = false;
  // Go on where the plan has to name a loss: damaged pages, entries that were committed but cannot
  // be read, keys of the v2 API.
  bool accept_loss = false;

  // The survivor's peer URLs from now on; empty: as they are.
  std::vector<std::string> peer_urls;
  // Added to the newest revision, 0: none; the new one is marked compacted when asked for, so that
  // watchers list again (etcdutl snapshot restore --bump-revision --mark-compacted).
  std::uint64_t bump_revision = 0;
  bool mark_compacted = false;
  bool clear_alarms = false;

  // Of kRestore only.
  bool keep_ids = false;         // cluster and member ID stay
  std::string token;             // --initial-cluster-token, part of what the new IDs derive from
  bool token_is_random = false;  // nobody chose it: a survivor that leads alone stays as it is
  std::string name;              // the survivor's name from now on; empty: as it is
  // No room for new files beside the old ones: the old log goes to the journal first.
  bool tight_space = false;

  bool operator==(const Wishes&) const = default;
};

// What a plan gives up, in numbers.
struct Loss {
  std::uint64_t entries = 0;    // committed or possibly committed log entries that are not kept
  std::uint64_t chosen = 0;     // of these, dropped because CommitLimit::kKnown was asked for
  std::uint64_t revisions = 0;  // that these may have made, at most
  std::uint64_t pages = 0;      // damaged pages of the backend that are dropped
  bool unknown = false;         // more may be gone, which cannot be counted from here
  bool v2_keys = false;         // keys of the v2 API
  bool none() const { return *this == Loss{}; }
  bool operator==(const Loss&) const = default;
};

struct Plan {
  Strategy strategy = Strategy::kForceNewCluster;
  edit::EditList edits;     // empty: nothing to do
  std::string fingerprint;  // of the edits

  std::uint64_t cluster_id = 0;  // afterwards
  raftlog::Member survivor;      // afterwards
  std::uint64_t former_cluster_id = 0;
  std::uint64_t former_member_id = 0;    // 0: the log that would tell is missing
  std::string token;                     // of kRestore with new IDs
  bool promotes_survivor = false;        // it was a learner
  std::vector<raftlog::Member> removed;  // by this plan, ascending ID
  std::uint64_t commit_before = 0;       // commit index on disk
  std::uint64_t commit_after = 0;
  std::uint64_t appended_entries = 0;
  std::uint64_t carried_entries = 0;  // of kRestore: old entries in the new log
  // Of kForceNewCluster with a bump: entries from here on are written once more, because they refer
  // to revisions that get other numbers. 0: none.
  std::uint64_t rewritten_from = 0;
  std::uint64_t cut_bytes = 0;     // of a torn last record
  std::uint64_t tail_entries = 0;  // entries that live only in the log and are kept
  // Newest revision that the backend holds, and with a bump the one that it will hold.
  std::uint64_t revision_before = 0;
  std::uint64_t revision_after = 0;
  std::uint64_t backend_pages =
      0;                     // pieces of the backend that are written, its meta page included
  bool tight_space = false;  // as in Wishes
  Loss loss;

  // One line each, for people.
  std::vector<std::string> kept;
  std::vector<std::string> lost;
  std::vector<std::string> warnings;
  std::vector<std::string> next_steps;

  bool nothing_to_do() const { return edits.empty(); }
};

// `data` is what the findings were made from. Errors (kDataDamaged, hint with what would work) name
// why the strategy cannot work on this data directory: the codes of Replay (boot.h),
// "backend-missing", "backend-damaged", "survivor-removed", "survivor-unknown",
// "loss-not-accepted"; kUsage: "bad-peer-url", "no-peer-url", "no-name", "no-token",
// "not-for-strategy", "bad-bump".
Result<Plan> MakePlan(const FileView& data, const Findings& findings, const Wishes& wishes);

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
