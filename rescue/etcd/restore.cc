#include "rescue/etcd/restore.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "rescue/base/endian.h"
#include "rescue/base/units.h"
#include "rescue/etcd/carry.h"
#include "rescue/etcd/identity.h"
#include "rescue/etcd/ids.h"
#include "rescue/etcd/inspect.h"
#include "rescue/etcd/plan_parts.h"
#include "rescue/etcd/swap.h"
#include "rescue/raftlog/append.h"

namespace rescue::etcd {
namespace {

constexpr Strategy kStrategy = Strategy::kRestore;

struct NewIds {
  std::uint64_t member = 0;
  std::uint64_t cluster = 0;
};

Status NameSurvivor(const Wishes& wishes, raftlog::Member& self) {
  if (!wishes.name.empty()) self.name = wishes.name;
  if (!wishes.peer_urls.empty()) {
    ASSIGN_OR_RETURN(self.peer_urls, CheckPeerUrls(wishes.peer_urls));
  }
  self.is_learner = false;
  if (!self.peer_urls.empty()) return {};
  return Fail(ErrorKind::kUsage, "no-peer-url",
              "plan restore: the survivor's peer URL is nowhere in its data",
              "give --peer-url (etcd's --initial-advertise-peer-urls on this node)");
}

Result<NewIds> ChooseIds(const Wishes& wishes, const Identity& identity,
                         const raftlog::Member& self) {
  if (!wishes.keep_ids) {
    if (wishes.token.empty()) {
      return Fail(ErrorKind::kUsage, "no-token", "plan restore: new IDs need a token",
                  "give --initial-cluster-token");
    }
    NewIds ids;
    ids.member = DeriveMemberId(self.peer_urls, wishes.token);
    ids.cluster = DeriveClusterId({ids.member});
    return ids;
  }
  if (!wishes.token.empty()) {
    return Fail(ErrorKind::kUsage, "not-for-strategy",
                "plan restore: --keep-ids and --initial-cluster-token exclude each other");
  }
  if (identity.cluster_id == 0 || self.id == 0) {
    return Unsuitable(kStrategy, "ids-unknown",
                      "the IDs cannot be kept: only a log of this member would tell them",
                      "restore without --keep-ids");
  }
  return NewIds{self.id, identity.cluster_id};
}

std::vector<std::uint64_t> RemovedAfter(const Wishes& wishes, const Identity& identity) {
  // Under new IDs nobody of before can talk to the cluster anyway.
  if (!wishes.keep_ids) return {};
  std::vector<std::uint64_t> removed = identity.removed;
  for (const auto& other : identity.others) removed.push_back(other.id);
  std::erase(removed, identity.self.id);
  std::sort(removed.begin(), removed.end());
  return removed;
}

// The backend says where the new history starts.
struct Base {
  std::uint64_t index = 0;
  std::uint64_t term = 0;
  // A backend that has applied nothing yet starts at entry 1 all the same: a joining member must
  // find a snapshot. Entries carried behind it move up by this much.
  std::uint64_t shift = 0;
};

std::uint64_t TermAt(const Findings& findings, std::uint64_t index) {
  if (findings.backend->term != 0) return findings.backend->term;
  if (findings.log) {
    if (const auto* entry = findings.log->Find(index)) return entry->term;
    for (const auto& mark : findings.log->marks) {
      if (mark.index == index && mark.term != 0) return mark.term;
    }
  }
  for (const auto& snap : findings.snaps) {
    if (snap.metadata.index <= index) return snap.metadata.term;
  }
  return 1;
}

Base ChooseBase(const Findings& findings) {
  const std::uint64_t ci = findings.ConsistentIndex();
  if (ci == 0) return {1, 1, 1};
  return {ci, TermAt(findings, ci), 0};
}

void AddMetaChanges(const Findings& findings, const Base& base, const NewIds& ids,
                    bolt::TransactionRequest& request) {
  bolt::BucketChanges changes{"meta", false, {}};
  if (findings.backend->conf_state) {
    // As Go writes raftpb.ConfState.
    const std::string text = fmt::format(R"({{"voters":[{}],"auto_leave":false}})", ids.member);
    changes.keys.push_back({ToBytes(AsBytes("confState")), ToBytes(AsBytes(text))});
  }
  if (base.shift != 0) {
    const ub64 index(base.index);
    changes.keys.push_back(
        {ToBytes(AsBytes("consistent_index")), ToBytes(std::as_bytes(std::span(&index, 1)))});
  }
  if (!changes.keys.empty()) request.buckets.push_back(std::move(changes));
}

Result<Bytes> EncodeLog(const Findings& findings, const NewSnapshot& snapshot, const NewIds& ids,
                        Carried carried) {
  raftlog::FreshLog log;
  log.metadata = {ids.member, ids.cluster};
  log.mark = MarkFor(snapshot, findings);
  log.first_state = raftlog::HardState{log.mark->term, ids.member, log.mark->index};
  raftlog::HardState last = *log.first_state;
  if (!carried.entries.empty()) {
    last.commit = carried.entries.back().index;
    last.term = std::max(last.term, carried.entries.back().term);
  }
  if (findings.log && findings.log->hard_state) {
    last.term = std::max(last.term, findings.log->hard_state->term);
  }
  if (last != *log.first_state) log.last_state = last;
  log.entries = std::move(carried.entries);
  if (findings.log) {
    log.wire_form = findings.log->wire_form;
  } else if (findings.MinorVersion() >= 3007) {
    log.wire_form = raftlog::WireForm::kEtcd37;
  }
  return raftlog::EncodeFreshLog(log);
}

bool NothingToRestore(const Findings& findings, const Wishes& wishes, const Identity& identity) {
  if (findings.received_index || wishes.bump_revision != 0) return false;
  const bool damaged = findings.check && findings.check->problem_count > 0;
  const bool renames = !wishes.name.empty() && wishes.name != identity.self.name;
  const bool moves = !wishes.peer_urls.empty() && wishes.peer_urls != identity.self.peer_urls;
  const bool alarms = wishes.clear_alarms && !findings.backend->alarms.empty();
  if (damaged || renames || moves || alarms) return false;
  for (const BootRule rule : RulesToCheck(findings)) {
    if (!SimulateBoot(findings, rule).leads_alone) return false;
  }
  return true;
}

// The token was given, and this is what it leads to: the same plan was applied before.
bool HasIdsOf(const Findings& findings, const NewIds& ids) {
  return findings.log && findings.log->metadata == raftlog::Metadata{ids.member, ids.cluster};
}

void Explain(const Findings& findings, const Wishes& wishes, const Carried& carried, Plan& plan) {
  plan.kept.push_back(
      fmt::format("the key space of the backend: revision {}, applied up to log entry {}",
                  findings.backend->latest.main, findings.ConsistentIndex()));
  if (plan.carried_entries > 0) {
    plan.kept.push_back(
        fmt::format("{} log entries behind it (up to {} revisions), carried into the new log",
                    plan.carried_entries, findings.tail.may_write));
  }
  if (wishes.keep_ids) {
    plan.kept.push_back(fmt::format("cluster ID {} and member ID {}", Hex16(plan.cluster_id),
                                    Hex16(plan.survivor.id)));
  } else {
    plan.warnings.push_back(
        fmt::format("new cluster ID {} and member ID {} (token {}): no former member can come back",
                    Hex16(plan.cluster_id), Hex16(plan.survivor.id), plan.token));
  }
  if (carried.emptied > 0) {
    plan.warnings.push_back(
        fmt::format("{} carried entries lose their content: they changed the former membership{}",
                    carried.emptied, wishes.clear_alarms ? " or set an alarm" : ""));
  }
  if (plan.survivor.name.empty()) {
    plan.warnings.emplace_back("the survivor's name is unknown; etcd publishes its --name itself");
  }
  if (plan.loss.none()) {
    plan.lost.emplace_back(
        "nothing that reached this disk; an old follower may lack the very last acknowledged "
        "writes, which cannot be known from here");
  }
}

}  // namespace

Result<Plan> PlanRestore(const FileView& data, const Findings& findings, const Wishes& wishes) {
  RETURN_IF_ERROR(NeedBackend(findings, kStrategy));
  if (findings.log) RETURN_IF_ERROR(NeedUsableTail(findings, wishes));
  ASSIGN_OR_RETURN(const Identity identity, Identify(findings, wishes.name));

  Plan plan;
  plan.strategy = kStrategy;
  plan.former_cluster_id = identity.cluster_id;
  plan.former_member_id = identity.self.id;
  plan.survivor = identity.self;
  plan.fingerprint = edit::Fingerprint(plan.edits);
  RETURN_IF_ERROR(NameSurvivor(wishes, plan.survivor));
  ASSIGN_OR_RETURN(const NewIds ids, ChooseIds(wishes, identity, plan.survivor));
  if (NothingToRestore(findings, wishes, identity) &&
      (wishes.keep_ids || wishes.token_is_random || HasIdsOf(findings, ids))) {
    plan.cluster_id = identity.cluster_id;
    plan.commit_before = plan.commit_after = findings.CommitIndex();
    plan.revision_before = plan.revision_after = findings.backend->latest.main;
    plan.kept.emplace_back("everything: the survivor already is the only member");
    return plan;
  }
  plan.survivor.id = ids.member;
  plan.cluster_id = ids.cluster;
  plan.token = wishes.keep_ids ? "" : wishes.token;
  plan.removed = identity.others;
  plan.promotes_survivor = identity.self.is_learner;
  plan.tight_space = wishes.tight_space;
  plan.commit_before = findings.CommitIndex();

  const Base base = ChooseBase(findings);
  CarryOptions options;
  options.commit = wishes.commit;
  options.shift = base.shift;
  options.without_alarms = wishes.clear_alarms;
  if (wishes.keep_ids) options.self = ids.member;
  ASSIGN_OR_RETURN(options.bump, BumpFor(findings, wishes));
  ASSIGN_OR_RETURN(Carried carried, CarryTail(data, findings, options));
  plan.loss = carried.loss;
  plan.lost = carried.lost;
  plan.carried_entries = plan.tail_entries = carried.entries.size();
  plan.commit_after = carried.entries.empty() ? base.index : carried.entries.back().index;
  if (findings.log) plan.cut_bytes = findings.log->tail.cut_bytes();
  if (findings.HasV2Keys()) {
    plan.loss.v2_keys = true;
    plan.lost.emplace_back("keys and users of the v2 API, which the new .snap does not hold");
  }

  bolt::TransactionRequest request;
  RETURN_IF_ERROR(AddDamageRepair(findings, wishes, plan, request));
  RETURN_IF_ERROR(NeedAcceptedLoss(wishes, plan));
  const std::vector<std::uint64_t> removed = RemovedAfter(wishes, identity);
  AddMembership({plan.survivor}, removed, request);
  AddMetaChanges(findings, base, ids, request);
  AddBump(findings, wishes, options.bump, plan, request);
  AddAlarmClearing(findings, wishes, plan, request);
  ASSIGN_OR_RETURN(const auto commit, PlanBackend(data, findings, std::move(request), plan));

  NewSnapshot snapshot;
  snapshot.metadata.index = base.index;
  snapshot.metadata.term = base.term;
  snapshot.metadata.conf_state.voters = {ids.member};
  snapshot.store.members[ids.member] = plan.survivor;
  snapshot.store.removed = {removed.begin(), removed.end()};
  snapshot.store.cluster_version = findings.ClusterVersion();
  const Carried counts{{}, carried.through, carried.emptied, {}, {}};
  ASSIGN_OR_RETURN(Bytes log, EncodeLog(findings, snapshot, ids, std::move(carried)));
  ASSIGN_OR_RETURN(plan.edits,
                   PlanSwap(data, findings, commit, snapshot, std::move(log), wishes.tight_space));
  plan.fingerprint = edit::Fingerprint(plan.edits);
  Explain(findings, wishes, counts, plan);
  ExplainState(findings, wishes, plan);
  ExplainNextSteps(plan);
  return plan;
}

}  // namespace rescue::etcd
