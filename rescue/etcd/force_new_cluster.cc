#include "rescue/etcd/force_new_cluster.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "rescue/base/units.h"
#include "rescue/etcd/identity.h"
#include "rescue/etcd/ids.h"
#include "rescue/etcd/inspect.h"
#include "rescue/etcd/plan_parts.h"
#include "rescue/raftlog/append.h"

namespace rescue::etcd {
namespace {

constexpr Strategy kStrategy = Strategy::kForceNewCluster;

Status CheckWishes(const Wishes& wishes) {
  if (!wishes.keep_ids && wishes.name.empty() && (wishes.token.empty() || wishes.token_is_random)) {
    return {};
  }
  return Fail(ErrorKind::kUsage, "not-for-strategy",
              "plan force-new-cluster: it keeps cluster ID, member ID and name",
              "--keep-ids, --name and --initial-cluster-token belong to strategy restore");
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

Result<FinalMembership> ReplayAll(const Findings& findings, std::uint64_t through) {
  const std::uint64_t self = findings.log->metadata.node_id;
  const std::uint64_t last = findings.LastIndex();
  if (findings.CommitIndex() > last) {
    return Unsuitable(kStrategy, "log-ends-before-commit",
                      fmt::format("the log ends at entry {}, but entry {} was committed", last,
                                  findings.CommitIndex()),
                      "strategy restore from the survivor's backend does not need the log");
  }
  FinalMembership result;
  bool first = true;
  for (const BootRule rule : RulesToCheck(findings)) {
    auto state = Replay(findings, rule, through);
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
    return Unsuitable(kStrategy, "survivor-removed",
                      fmt::format("member {} was removed from its cluster", Hex16(self)), hint);
  }
  if (!state.store.members.contains(self) ||
      (!state.voters.contains(self) && !state.learners.contains(self))) {
    return Unsuitable(kStrategy, "survivor-unknown",
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

// What changes in the log: entries behind `through`, which take the place of what follows it.
struct LogChange {
  std::uint64_t through = 0;
  std::vector<raftlog::Entry> entries;
  std::size_t rewritten = 0;  // of these, old ones
  raftlog::HardState hard_state;
};

// The entries up to `through` that a bump makes invalid, and all behind the first of these; so that
// they can take their own place.
Result<std::vector<raftlog::Entry>> EntriesToRewrite(const FileView& data, const Findings& findings,
                                                     std::uint64_t bump, std::uint64_t through) {
  std::vector<raftlog::Entry> entries;
  if (bump == 0) return entries;
  const raftlog::Log& log = *findings.log;
  raftlog::EntryReader reader(data, log);
  for (std::uint64_t index = findings.ConsistentIndex() + 1; index <= through; ++index) {
    const auto* ref = log.Find(index);
    if (ref == nullptr) continue;
    ASSIGN_OR_RETURN(auto entry, reader.Read(*ref));
    if (entry.type == raftlog::EntryType::kNormal && !entry.data.empty()) {
      auto shifted = ShiftRevisions(entry.data, findings.backend->latest.main, bump);
      if (shifted && *shifted) {
        entry.data = **std::move(shifted);
      } else if (entries.empty()) {
        continue;
      }
    } else if (entries.empty()) {
      continue;
    }
    entries.push_back(std::move(entry));
  }
  return entries;
}

LogChange ChangeLog(const Findings& findings, const Plan& plan, bool moves, std::uint64_t through,
                    std::vector<raftlog::Entry> rewritten) {
  const raftlog::Log& log = *findings.log;
  LogChange change;
  change.through = rewritten.empty() ? through : rewritten.front().index - 1;
  change.rewritten = rewritten.size();
  change.entries = std::move(rewritten);
  auto& entries = change.entries;
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
  if (moves) {
    // Behind the removals: the new URL may be one that a former member had.
    raftlog::Member update;
    update.id = plan.survivor.id;
    update.peer_urls = plan.survivor.peer_urls;
    entries.push_back(ConfChangeEntry({0, raftlog::ConfChangeType::kUpdateNode, plan.survivor.id,
                                       ToBytes(AsBytes(raftlog::WriteMemberJson(update)))},
                                      log.wire_form));
  }
  const bool drops = change.through < log.last_index();
  // Something must override what is dropped.
  if (drops && entries.empty()) entries.emplace_back();

  raftlog::HardState& state = change.hard_state;
  state = log.hard_state.value_or(raftlog::HardState{});
  state.term = std::max(state.term, log.last_term());
  if (drops) {
    // An index and a term name one entry only, for ever.
    ++state.term;
    state.vote = 0;
  }
  std::uint64_t index = change.through;
  for (auto& entry : entries) {
    entry.term = state.term;
    entry.index = ++index;
  }
  state.commit = index;
  return change;
}

// Bucket members of 3.4 and 3.5 may tell another story than the v2 store, which these versions
// trust; 3.6 would believe the bucket. Configuration changes do not mend that (they are judged by
// the v2 store), so the bucket itself is corrected. Seen in the field: members that came back after
// an upgrade, and learners that had long been promoted.
void AddMembershipFix(const BootState& state, const Plan& plan, bolt::TransactionRequest& request,
                      std::vector<std::string>& warnings) {
  if (state.rule != BootRule::kStoreV2) return;
  bolt::BucketChanges members{"members", false, {}};
  bolt::BucketChanges removed{"members_removed", false, {}};
  const auto key_of = [](std::uint64_t id) {
    return ToBytes(AsBytes(raftlog::FormatMemberId(id)));
  };
  for (const auto& [id, member] : state.backend_store.members) {
    if (state.store.members.contains(id)) continue;
    members.keys.push_back({key_of(id), std::nullopt});
    removed.keys.push_back({key_of(id), ToBytes(AsBytes("removed"))});
    warnings.push_back(fmt::format(
        "the backend still lists member {}, which is not in the cluster: taken out", Hex16(id)));
  }
  const auto own = state.backend_store.members.find(plan.survivor.id);
  const auto& trusted = state.store.members.at(plan.survivor.id);
  if (own == state.backend_store.members.end() || own->second.is_learner != trusted.is_learner ||
      own->second.peer_urls != trusted.peer_urls) {
    members.keys.push_back(
        {key_of(plan.survivor.id), ToBytes(AsBytes(raftlog::WriteMemberJson(plan.survivor)))});
    warnings.emplace_back("the backend's record of the survivor is outdated: corrected");
  }
  if (!members.keys.empty()) request.buckets.push_back(std::move(members));
  if (!removed.keys.empty()) request.buckets.push_back(std::move(removed));
}

// The state that the backend is in, as a snapshot to start from.
Result<NewSnapshot> SnapshotAtBackend(const Findings& findings) {
  const std::uint64_t ci = findings.ConsistentIndex();
  const auto* entry = findings.log->Find(ci);
  if (entry == nullptr) {
    return Unsuitable(kStrategy, "nothing-applied",
                      "the backend has applied no entry of the log yet",
                      "start etcd once without these changes, stop it, and make them then");
  }
  ASSIGN_OR_RETURN(const auto state, Replay(findings, RuleFor(findings), ci));
  NewSnapshot snapshot;
  snapshot.metadata.index = ci;
  snapshot.metadata.term = entry->term;
  snapshot.metadata.conf_state.voters = {state.voters.begin(), state.voters.end()};
  snapshot.metadata.conf_state.learners = {state.learners.begin(), state.learners.end()};
  snapshot.store.members = state.store.members;
  snapshot.store.removed = state.store.removed;
  snapshot.store.cluster_version = findings.ClusterVersion();
  return snapshot;
}

Status AddSnapFile(const FileView& data, const Findings& findings, const NewSnapshot& snapshot,
                   edit::EditList& edits) {
  const std::string path = JoinPath(
      kSnapDirectory, raftlog::FormatSnapName({snapshot.metadata.term, snapshot.metadata.index}));
  ASSIGN_OR_RETURN(const bool taken, Exists(data, path));
  // Only one that cannot be read; etcd itself gives it this name.
  if (taken) edits.push_back(edit::Rename{path, path + ".broken"});
  std::vector<std::string> other_snaps;
  for (const auto& snap : findings.snaps) {
    other_snaps.push_back(JoinPath(kSnapDirectory, raftlog::FormatSnapName(snap.name)));
  }
  ASSIGN_OR_RETURN(auto attributes, AttributesLike(data, other_snaps, findings.backend_path, 0644));
  edits.push_back(edit::CreateFile{path, raftlog::EncodeSnapFile(snapshot.metadata, snapshot.store),
                                   std::move(attributes)});
  return {};
}

void Explain(const Findings& findings, Plan& plan) {
  const auto& log = *findings.log;
  plan.kept.push_back(fmt::format("cluster ID {} and member ID {}", Hex16(plan.cluster_id),
                                  Hex16(plan.survivor.id)));
  plan.kept.push_back(fmt::format("the backend{}: revision {}, applied up to log entry {}",
                                  plan.backend_pages == 0 ? " as it is" : "",
                                  findings.backend->latest.main, findings.ConsistentIndex()));
  if (plan.tail_entries > 0) {
    plan.kept.push_back(
        fmt::format("{} log entries that the backend has not applied yet (up to {} revisions)",
                    plan.tail_entries, findings.tail.may_write));
  }
  const bool was_leader = log.hard_state && log.hard_state->vote == plan.survivor.id &&
                          log.last_term() == log.hard_state->term;
  if (!plan.loss.none()) {
    // Said where it was found.
  } else if (was_leader) {
    plan.lost.emplace_back(
        "nothing that was acknowledged: the survivor led the last term, so its log has it all");
  } else {
    plan.lost.emplace_back(
        "nothing that reached this disk; as a follower it may lack the very last acknowledged "
        "writes, which cannot be known from here");
  }
  const std::uint64_t above = findings.tail.above_commit - plan.loss.chosen;
  if (above > 0) {
    plan.warnings.push_back(
        fmt::format("{} entries above the last known commit index {} are kept; some may never "
                    "have been acknowledged{}",
                    above, plan.commit_before,
                    log.hard_state && log.last_term() < log.hard_state->term
                        ? ", and a later election took place: others may have overwritten them "
                          "(--commit known drops them)"
                        : ""));
  }
  if (plan.rewritten_from > 0) {
    plan.kept.push_back(
        fmt::format("the meaning of log entries from {} on: they refer to revisions that the bump "
                    "renumbers, and "
                    "are written once more with the new numbers",
                    plan.rewritten_from));
  }
  if (plan.cut_bytes > 0) {
    plan.warnings.push_back(fmt::format("{} bytes of an unfinished record are cut off the log: {}",
                                        plan.cut_bytes, log.tail.reason));
  }
  for (const auto& at : findings.alarm_requests) {
    if (!at.request.activate) continue;
    plan.warnings.push_back(fmt::format(
        "log entry {} sets an alarm at the next start: look at `etcdctl alarm list`, clear it with "
        "`etcdctl alarm disarm`",
        at.index));
  }
  if (plan.promotes_survivor && RuleFor(findings) == BootRule::kStoreV2) {
    plan.warnings.emplace_back(
        "etcd 3.5.0 to 3.5.19 do not record a promotion in the backend: go to 3.5.26 or later "
        "before "
        "an upgrade to 3.6");
  }
}

std::uint64_t ChooseEnd(const Findings& findings, const Wishes& wishes, Plan& plan) {
  const std::uint64_t last = findings.LastIndex();
  if (wishes.commit == CommitLimit::kLogEnd) return last;
  const std::uint64_t known =
      std::min(last, std::max(findings.CommitIndex(), findings.ConsistentIndex()));
  plan.loss.entries = plan.loss.chosen = plan.loss.revisions = last - known;
  if (last > known) {
    plan.lost.push_back(fmt::format("{} entries above the last known commit index {}, as asked",
                                    last - known, known));
  }
  return known;
}

// Everything that a joining member must not miss: anything but the membership itself.
Result<bolt::TransactionRequest> ChangeBackend(const Findings& findings, const Wishes& wishes,
                                               std::uint64_t bump, Plan& plan) {
  bolt::TransactionRequest request;
  RETURN_IF_ERROR(AddDamageRepair(findings, wishes, plan, request));
  AddBump(findings, wishes, bump, plan, request);
  AddAlarmClearing(findings, wishes, plan, request);
  return request;
}

Status CheckLogFits(const Findings& findings) {
  if (!findings.log) {
    Error error = findings.log_error.value_or(Error{});
    error.hint = "strategy restore from the survivor's backend does not need the log";
    return Fail(std::move(error.Within("plan force-new-cluster")));
  }
  if (!LogIsForeign(findings)) return {};
  return Unsuitable(kStrategy, "log-foreign",
                    fmt::format("the log belongs to member {} at another time, not to this backend",
                                Hex16(findings.log->metadata.node_id)),
                    "put the right log in place, or use strategy restore, which starts a new one");
}

}  // namespace

Result<Plan> PlanForceNewCluster(const FileView& data, const Findings& findings,
                                 const Wishes& wishes) {
  RETURN_IF_ERROR(CheckWishes(wishes));
  RETURN_IF_ERROR(NeedBackend(findings, kStrategy));
  RETURN_IF_ERROR(CheckLogFits(findings));
  RETURN_IF_ERROR(NeedUsableTail(findings, wishes));
  const raftlog::Log& log = *findings.log;
  Plan plan;
  plan.strategy = kStrategy;
  const std::uint64_t through = ChooseEnd(findings, wishes, plan);
  ASSIGN_OR_RETURN(const FinalMembership final_membership, ReplayAll(findings, through));
  const std::uint64_t self = log.metadata.node_id;
  RETURN_IF_ERROR(CheckSurvivor(final_membership.state, self));

  plan.cluster_id = plan.former_cluster_id = log.metadata.cluster_id;
  plan.former_member_id = self;
  plan.survivor = final_membership.state.store.members.at(self);
  plan.commit_before = findings.CommitIndex();
  plan.tail_entries = findings.tail.entries - plan.loss.chosen;
  const auto former_urls = plan.survivor.peer_urls;
  if (!wishes.peer_urls.empty()) {
    ASSIGN_OR_RETURN(plan.survivor.peer_urls, CheckPeerUrls(wishes.peer_urls));
  }
  const bool moves = plan.survivor.peer_urls != former_urls;
  for (const auto& [id, member] : final_membership.others) plan.removed.push_back(member);
  plan.promotes_survivor = final_membership.state.learners.contains(self);
  plan.survivor.is_learner = false;

  ASSIGN_OR_RETURN(const std::uint64_t bump, BumpFor(findings, wishes));
  ASSIGN_OR_RETURN(auto request, ChangeBackend(findings, wishes, bump, plan));
  const bool joiner_needs_snapshot =
      !request.buckets.empty() && final_membership.state.snapshot_index == 0;
  RETURN_IF_ERROR(NeedAcceptedLoss(wishes, plan));
  AddMembershipFix(final_membership.state, plan, request, plan.warnings);
  ASSIGN_OR_RETURN(const auto commit, PlanBackend(data, findings, std::move(request), plan));

  ASSIGN_OR_RETURN(auto rewritten, EntriesToRewrite(data, findings, bump, through));
  if (!rewritten.empty()) plan.rewritten_from = rewritten.front().index;
  const LogChange change = ChangeLog(findings, plan, moves, through, std::move(rewritten));
  const bool alone = SimulateBoot(findings, RuleFor(findings)).leads_alone;
  if (alone && commit.edits.empty() && change.entries.empty()) {
    plan.commit_after = plan.commit_before;
    plan.fingerprint = edit::Fingerprint(plan.edits);
    plan.kept.emplace_back("everything: the survivor already is the only member");
    return plan;
  }
  raftlog::AppendOptions options;
  options.keep_through = change.through;
  if (!commit.edits.empty()) {
    plan.edits.insert(plan.edits.end(), commit.edits.begin(), commit.edits.end() - 1);
  }
  if (joiner_needs_snapshot) {
    ASSIGN_OR_RETURN(const auto snapshot, SnapshotAtBackend(findings));
    RETURN_IF_ERROR(AddSnapFile(data, findings, snapshot, plan.edits));
    options.mark = MarkFor(snapshot, findings);
  }
  ASSIGN_OR_RETURN(const auto append,
                   raftlog::PlanAppend(log, change.entries, change.hard_state, options));
  plan.edits.insert(plan.edits.end(), append.edits.begin(), append.edits.end());
  if (!commit.edits.empty()) plan.edits.push_back(commit.edits.back());
  plan.fingerprint = edit::Fingerprint(plan.edits);
  plan.cut_bytes = append.cut_bytes;
  plan.appended_entries = change.entries.size() - change.rewritten;
  plan.commit_after = change.hard_state.commit;
  Explain(findings, plan);
  ExplainState(findings, wishes, plan);
  ExplainNextSteps(plan);
  return plan;
}

}  // namespace rescue::etcd
