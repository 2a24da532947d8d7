#include "rescue/etcd/force_new_cluster.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "rescue/base/units.h"
#include "rescue/raftlog/append.h"

namespace rescue::etcd {
namespace {

tl::unexpected<Error> Unsuitable(std::string code, std::string message, std::string hint) {
  return Fail(ErrorKind::kDataDamaged, std::move(code),
              "plan force-new-cluster: " + std::move(message), std::move(hint));
}

Status CheckBackend(const Findings& findings) {
  if (!findings.backend) {
    const Error error = findings.backend_error.value_or(Error{});
    return Unsuitable(error.code, error.message, error.hint);
  }
  if (!findings.check) return {};
  for (const auto& problem : findings.check->problems) {
    // A wrong list of free pages harms nothing: etcd rebuilds it.
    if (problem.kind == bolt::ProblemKind::kFreelist) continue;
    return Unsuitable(
        "backend-damaged",
        fmt::format("the backend has {} damaged places, the first in page {}{}: {}",
                    findings.check->problem_count, problem.page,
                    problem.bucket.empty() ? "" : " of bucket " + problem.bucket, problem.reason),
        "restore from a backup (strategy restore), or use another survivor");
  }
  return {};
}

Status CheckTail(const Findings& findings, const Wishes& wishes) {
  const auto& tail = findings.log->tail;
  if (tail.kind != raftlog::TailKind::kTornUnlikeEtcd || wishes.accept_cut_tail) return {};
  return Unsuitable(
      "log-tail-unlike-torn",
      fmt::format("{} ends with a damaged record that no power cut explains: {}", tail.path,
                  tail.reason),
      fmt::format("--accept-cut-tail keeps everything up to entry {} and cuts {} bytes, which go "
                  "to the journal",
                  findings.LastIndex(), tail.cut_bytes()));
}

// Who is in the cluster once everything in the log is committed, by the rule of every version that
// may start this directory; the first rule decides, the others only add members to remove.
struct FinalMembership {
  BootState state;
  std::map<std::uint64_t, raftlog::Member> others;
};

void CollectOthers(const BootState& state, std::uint64_t self,
                   std::map<std::uint64_t, raftlog::Member>& others) {
  const auto add = [&](std::uint64_t id, const raftlog::Member& member) {
    if (id == self || state.store.removed.contains(id)) return;
    const auto [it, added] = others.emplace(id, member);
    if (!added && it->second.name.empty()) it->second = member;
    it->second.id = id;
  };
  for (const auto& [id, member] : state.store.members) add(id, member);
  for (const std::uint64_t id : state.voters) add(id, {});
  for (const std::uint64_t id : state.learners) {
    raftlog::Member learner;
    learner.is_learner = true;
    add(id, learner);
  }
}

Result<FinalMembership> ReplayAll(const Findings& findings) {
  const std::uint64_t self = findings.log->metadata.node_id;
  const std::uint64_t last = findings.LastIndex();
  if (findings.CommitIndex() > last) {
    return Unsuitable("log-ends-before-commit",
                      fmt::format("the log ends at entry {}, but entry {} was committed", last,
                                  findings.CommitIndex()),
                      "strategy restore from the survivor's backend does not need the log");
  }
  FinalMembership result;
  bool first = true;
  for (const BootRule rule : RulesToCheck(findings)) {
    auto state = Replay(findings, rule, last);
    if (first && !state) return Fail(std::move(state.error().Within("plan force-new-cluster")));
    if (!state) continue;
    CollectOthers(*state, self, result.others);
    if (first) result.state = *std::move(state);
    first = false;
  }
  // What the log and the snapshot do not name, the backend may (3.5 and earlier publish names in
  // either place, depending on the version).
  for (const auto& member : findings.backend->members) {
    const auto it = result.others.find(member.id);
    if (it != result.others.end() && it->second.name.empty()) it->second.name = member.name;
  }
  return result;
}

Status CheckSurvivor(const BootState& state, std::uint64_t self) {
  const std::string hint = "strategy restore starts a new cluster from its backend";
  if (state.store.removed.contains(self)) {
    return Unsuitable("survivor-removed",
                      fmt::format("member {} was removed from its cluster", Hex16(self)), hint);
  }
  if (!state.store.members.contains(self) ||
      (!state.voters.contains(self) && !state.learners.contains(self))) {
    return Unsuitable("survivor-unknown",
                      fmt::format("member {} is not in its own member list", Hex16(self)), hint);
  }
  return {};
}

raftlog::Entry ConfChangeEntry(const raftlog::ConfChange& change, raftlog::WireForm form) {
  raftlog::Entry entry;
  entry.type = raftlog::EntryType::kConfChange;
  entry.data = raftlog::EncodeConfChange(change, form);
  return entry;
}

std::vector<raftlog::Entry> MembershipEntries(const Plan& plan, const raftlog::Log& log,
                                              std::uint64_t term) {
  std::vector<raftlog::Entry> entries;
  if (plan.promotes_survivor) {
    // Before the removals: raft panics when the last voter goes.
    entries.push_back(ConfChangeEntry(
        {0, raftlog::ConfChangeType::kAddNode, plan.survivor.id,
         ToBytes(AsBytes(raftlog::WriteMemberContext(plan.survivor, /*is_promote=*/true)))},
        log.wire_form));
  }
  for (const auto& member : plan.removed) {
    entries.push_back(
        ConfChangeEntry({0, raftlog::ConfChangeType::kRemoveNode, member.id, {}}, log.wire_form));
  }
  std::uint64_t index = log.last_index();
  for (auto& entry : entries) {
    entry.term = term;
    entry.index = ++index;
  }
  return entries;
}

void Explain(const Findings& findings, Plan& plan) {
  const auto& log = *findings.log;
  plan.kept.push_back(fmt::format("cluster ID {} and member ID {}", Hex16(plan.cluster_id),
                                  Hex16(plan.survivor.id)));
  plan.kept.push_back(fmt::format("the backend as it is: revision {}, applied up to log entry {}",
                                  findings.backend->latest.main, findings.ConsistentIndex()));
  if (findings.tail.entries > 0) {
    plan.kept.push_back(
        fmt::format("{} log entries that the backend has not applied yet (up to {} revisions)",
                    findings.tail.entries, findings.tail.may_write));
  }
  const bool was_leader = log.hard_state && log.hard_state->vote == plan.survivor.id &&
                          log.last_term() == log.hard_state->term;
  if (was_leader) {
    plan.lost.emplace_back(
        "nothing that was acknowledged: the survivor led the last term, so its log has it all");
  } else {
    plan.lost.emplace_back(
        "nothing that reached this disk; as a follower it may lack the very last acknowledged "
        "writes, which cannot be known from here");
  }
  if (findings.tail.above_commit > 0) {
    plan.warnings.push_back(
        fmt::format("{} entries above the last known commit index {} are kept; some may never "
                    "have been acknowledged",
                    findings.tail.above_commit, plan.commit_before));
  }
  if (plan.cut_bytes > 0) {
    plan.warnings.push_back(fmt::format("{} bytes of an unfinished record are cut off the log: {}",
                                        plan.cut_bytes, log.tail.reason));
  }
}

void ExplainState(const Findings& findings, Plan& plan) {
  const Backend& backend = *findings.backend;
  if (!backend.meta_problem.empty()) {
    plan.warnings.push_back("the backend's older state is used: " + backend.meta_problem);
  }
  for (const auto& alarm : backend.alarms) {
    plan.warnings.push_back(fmt::format(
        "alarm {} of member {} stays set: after the start run `etcdctl alarm disarm`",
        alarm.type == AlarmType::kNoSpace ? "NOSPACE" : "CORRUPT", Hex16(alarm.member_id)));
  }
  for (const auto& at : findings.alarm_requests) {
    if (!at.request.activate) continue;
    plan.warnings.push_back(
        fmt::format("log entry {} sets an alarm: after the start look at "
                    "`etcdctl alarm list`",
                    at.index));
  }
  if (!backend.downgrade.empty()) {
    plan.warnings.push_back(
        fmt::format("a downgrade to {} is in progress: finish or cancel it after the start",
                    backend.downgrade));
  }
  plan.next_steps.emplace_back(
      "start etcd on this node with its old flags; do not use --force-new-cluster");
  for (const auto& member : plan.removed) {
    plan.next_steps.push_back(fmt::format(
        "never start member {}{} with its old data again: wipe it, then add it as a new member",
        Hex16(member.id), member.name.empty() ? "" : " (" + member.name + ")"));
  }
  plan.next_steps.emplace_back(
      "etcdctl member list; then, one at a time: etcdctl member add NAME --peer-urls=URL and start "
      "that member with --initial-cluster-state=existing");
}

}  // namespace

Result<Plan> PlanForceNewCluster(const Findings& findings, const Wishes& wishes) {
  RETURN_IF_ERROR(CheckBackend(findings));
  if (!findings.log) {
    Error error = findings.log_error.value_or(Error{});
    error.hint = "strategy restore from the survivor's backend does not need the log";
    return Fail(std::move(error.Within("plan force-new-cluster")));
  }
  const raftlog::Log& log = *findings.log;
  RETURN_IF_ERROR(CheckTail(findings, wishes));
  ASSIGN_OR_RETURN(const FinalMembership final_membership, ReplayAll(findings));
  const std::uint64_t self = log.metadata.node_id;
  RETURN_IF_ERROR(CheckSurvivor(final_membership.state, self));

  Plan plan;
  plan.strategy = Strategy::kForceNewCluster;
  plan.cluster_id = log.metadata.cluster_id;
  plan.survivor = final_membership.state.store.members.at(self);
  plan.commit_before = findings.CommitIndex();
  plan.commit_after = plan.commit_before;
  plan.tail_entries = findings.tail.entries;
  plan.fingerprint = edit::Fingerprint(plan.edits);
  if (SimulateBoot(findings, RuleFor(findings)).leads_alone) {
    plan.kept.emplace_back("everything: the survivor already is the only member");
    return plan;
  }
  for (const auto& [id, member] : final_membership.others) plan.removed.push_back(member);
  plan.promotes_survivor = final_membership.state.learners.contains(self);
  plan.survivor.is_learner = false;

  raftlog::HardState hard_state = log.hard_state.value_or(raftlog::HardState{});
  hard_state.term = std::max(hard_state.term, log.last_term());
  const auto entries = MembershipEntries(plan, log, hard_state.term);
  hard_state.commit = log.last_index() + entries.size();
  ASSIGN_OR_RETURN(const auto append, raftlog::PlanAppend(log, entries, hard_state));
  plan.edits = append.edits;
  plan.fingerprint = edit::Fingerprint(plan.edits);
  plan.cut_bytes = append.cut_bytes;
  plan.appended_entries = entries.size();
  plan.commit_after = hard_state.commit;
  Explain(findings, plan);
  ExplainState(findings, plan);
  return plan;
}

}  // namespace rescue::etcd
