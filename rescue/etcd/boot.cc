#include "rescue/etcd/boot.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "rescue/base/units.h"

namespace rescue::etcd {
namespace {

using raftlog::ConfChange;
using raftlog::ConfChangeType;
using raftlog::Member;

constexpr std::string_view kTryRestore = "strategy restore does not need the log";

tl::unexpected<Error> Damaged(std::string code, std::string message,
                              std::string_view hint = kTryRestore) {
  return Fail(ErrorKind::kDataDamaged, std::move(code), std::move(message), std::string(hint));
}

// Where a replay starts.
struct Start {
  std::uint64_t index = 0;
  std::uint64_t term = 0;
  const raftlog::SnapFile* snap = nullptr;  // of the rules that read .snap files
};

// The newest readable .snap that a snapshot record at or below the commit index vouches for
// (snap.Snapshotter.LoadNewestAvailable with wal.ValidSnapshotEntries).
Start ChooseSnap(const Findings& findings, std::uint64_t commit) {
  for (const auto& snap : findings.snaps) {
    for (const auto& mark : findings.log->marks) {
      if (mark.index == snap.metadata.index && mark.term == snap.metadata.term &&
          mark.index <= commit) {
        return {mark.index, mark.term, &snap};
      }
    }
  }
  return {};
}

// The last snapshot record at or below the commit index.
Start ChooseMark(const Findings& findings, std::uint64_t commit) {
  Start start;
  for (const auto& mark : findings.log->marks) {
    if (mark.index <= commit) start = {mark.index, mark.term, nullptr};
  }
  return start;
}

std::set<std::uint64_t> AsSet(const std::vector<std::uint64_t>& ids) {
  return {ids.begin(), ids.end()};
}

MemberStore BackendStore(const Findings& findings) {
  MemberStore store;
  if (!findings.backend) return store;
  for (const auto& member : findings.backend->members) store.members[member.id] = member;
  store.removed = AsSet(findings.backend->removed);
  return store;
}

MemberStore SnapStore(const raftlog::SnapFile& snap) {
  return {snap.store.members, snap.store.removed};
}

bool SharesPeerUrl(const MemberStore& store, const Member& wanted) {
  for (const auto& [id, member] : store.members) {
    if (id == wanted.id) continue;
    for (const auto& url : member.peer_urls) {
      if (std::find(wanted.peer_urls.begin(), wanted.peer_urls.end(), url) !=
          wanted.peer_urls.end()) {
        return true;
      }
    }
  }
  return false;
}

struct DecodedChange {
  ConfChange raw;
  std::optional<raftlog::MemberContext> context;  // of additions and updates
};

// Empty when etcd would accept the change, else why it would not.
std::string Reject(const MemberStore& store, const DecodedChange& change) {
  const std::uint64_t id = change.raw.node_id;
  if (store.removed.contains(id)) return "the member was removed";
  const auto present = store.members.find(id);
  switch (change.raw.type) {
    case ConfChangeType::kAddNode:
    case ConfChangeType::kAddLearnerNode:
      if (change.context->is_promote) {
        if (present == store.members.end()) return "no such member to promote";
        return present->second.is_learner ? "" : "the member is not a learner";
      }
      if (present != store.members.end()) return "the member exists";
      return SharesPeerUrl(store, change.context->member) ? "the peer URL is in use" : "";
    case ConfChangeType::kRemoveNode:
      return present == store.members.end() ? "no such member" : "";
    case ConfChangeType::kUpdateNode:
      if (present == store.members.end()) return "no such member";
      return SharesPeerUrl(store, change.context->member) ? "the peer URL is in use" : "";
  }
  return "unknown kind of change";
}

void ApplyToStore(MemberStore& store, const DecodedChange& change) {
  const std::uint64_t id = change.raw.node_id;
  switch (change.raw.type) {
    case ConfChangeType::kAddNode:
    case ConfChangeType::kAddLearnerNode:
      if (change.context->is_promote) {
        store.members[id].is_learner = false;
      } else {
        store.members[id] = change.context->member;
      }
      return;
    case ConfChangeType::kRemoveNode:
      store.members.erase(id);
      store.removed.insert(id);
      return;
    case ConfChangeType::kUpdateNode:
      store.members[id].peer_urls = change.context->member.peer_urls;
      store.members[id].is_learner = change.context->member.is_learner;
  }
}

void ApplyToRaft(BootState& state, const ConfChange& change) {
  switch (change.type) {
    case ConfChangeType::kAddNode:
      state.learners.erase(change.node_id);
      state.voters.insert(change.node_id);
      return;
    case ConfChangeType::kAddLearnerNode:
      state.voters.erase(change.node_id);
      state.learners.insert(change.node_id);
      return;
    case ConfChangeType::kRemoveNode:
      state.voters.erase(change.node_id);
      state.learners.erase(change.node_id);
      return;
    case ConfChangeType::kUpdateNode:
      return;
  }
}

Result<DecodedChange> Decode(const ConfChangeAt& at) {
  if (!at.change) {
    return Damaged(
        "bad-configuration-change",
        fmt::format("replay entry {}: not a configuration change that etcd applies", at.index));
  }
  DecodedChange change{*at.change, std::nullopt};
  if (change.raw.type == ConfChangeType::kRemoveNode) return change;
  auto context = raftlog::ParseMemberContext(AsText(change.raw.context));
  if (!context || (!context->is_promote && context->member.id != change.raw.node_id)) {
    return Damaged("bad-configuration-change",
                   fmt::format("replay entry {}: its member record cannot be read", at.index));
  }
  change.context = *std::move(context);
  return change;
}

// Attributes that a member published change only its name and client URLs. False when the member
// is unknown, where etcd panics (membership/cluster.go, UpdateAttributes).
bool Publish(MemberStore& store, const PublishedAttributes& attributes) {
  const auto it = store.members.find(attributes.member_id);
  if (it == store.members.end()) return store.removed.contains(attributes.member_id);
  it->second.name = attributes.name;
  it->second.client_urls = attributes.client_urls;
  return true;
}

Status CheckLog(const Findings& findings, const Start& start, std::uint64_t up_to) {
  const auto& log = *findings.log;
  if (log.tail.kind == raftlog::TailKind::kDamaged) {
    return Damaged("log-damaged",
                   fmt::format("replay the log: {}: {}", log.tail.path, log.tail.reason));
  }
  const std::uint64_t last = std::max(findings.LastIndex(), start.index);
  if (up_to > last) {
    return Damaged("log-ends-before-commit",
                   fmt::format("replay the log: it ends at entry {}, but entry {} was committed",
                               last, up_to));
  }
  if (findings.ConsistentIndex() > last) {
    return Damaged(
        "log-ends-before-backend",
        fmt::format("replay the log: it ends at entry {}, but the backend has applied entry {}; "
                    "etcd would silently drop new writes",
                    last, findings.ConsistentIndex()),
        "strategy restore with --keep-ids starts a new log behind the backend");
  }
  if (start.index > findings.ConsistentIndex()) {
    return Damaged("snapshot-ahead-of-backend",
                   fmt::format("replay the log: it starts at snapshot {}, but the backend has "
                               "applied only entry {}",
                               start.index, findings.ConsistentIndex()));
  }
  if (last > start.index && (log.entries.empty() || log.entries.front().index > start.index + 1)) {
    const std::uint64_t first = log.entries.empty() ? 0 : log.entries.front().index;
    return Damaged(start.index == 0 ? "snapshot-missing" : "log-hole",
                   fmt::format("replay the log: entries {} to {} are missing, the log starts at {}",
                               start.index + 1, first - 1, first));
  }
  return {};
}

}  // namespace

std::string_view Name(BootRule rule) {
  switch (rule) {
    case BootRule::kStoreV2:
      return "etcd 3.4/3.5";
    case BootRule::kBackend36:
      return "etcd 3.6";
    case BootRule::kBackend37:
      return "etcd 3.7";
  }
  return "etcd";
}

BootRule RuleFor(const Findings& findings) {
  const unsigned minor = findings.MinorVersion();
  if (minor >= 3007) return BootRule::kBackend37;
  if (minor == 3006) return BootRule::kBackend36;
  return BootRule::kStoreV2;
}

std::vector<BootRule> RulesToCheck(const Findings& findings) {
  std::vector<BootRule> rules = {RuleFor(findings)};
  // A server may already be one minor version ahead of the cluster version.
  const unsigned minor = findings.MinorVersion();
  if (minor == 3005) rules.push_back(BootRule::kBackend36);
  if (minor == 3006) rules.push_back(BootRule::kBackend37);
  return rules;
}

Result<BootState> Replay(const Findings& findings, BootRule rule, std::uint64_t up_to) {
  if (!findings.log) {
    return Fail(findings.log_error.value_or(
        Error{ErrorKind::kDataDamaged, "log-missing", "replay the log: there is none", {}}));
  }
  const std::uint64_t ci = findings.ConsistentIndex();
  // Snapshots are chosen by the commit index on disk, also when the replay is to go further.
  const std::uint64_t commit = std::min(findings.CommitIndex(), up_to);
  const bool reads_snaps = rule != BootRule::kBackend37;
  const Start start = reads_snaps ? ChooseSnap(findings, commit) : ChooseMark(findings, commit);
  RETURN_IF_ERROR(CheckLog(findings, start, up_to));

  BootState state;
  state.rule = rule;
  state.snapshot_index = start.index;
  state.snapshot_term = start.term;
  state.replayed_to = up_to;
  state.backend_store = BackendStore(findings);
  MemberStore v2_store;
  if (start.snap != nullptr) {
    state.voters = AsSet(start.snap->metadata.conf_state.voters);
    state.learners = AsSet(start.snap->metadata.conf_state.learners);
    v2_store = SnapStore(*start.snap);
    if (!start.snap->metadata.conf_state.voters_outgoing.empty()) {
      return Damaged("joint-configuration",
                     fmt::format("replay from snapshot {}: it lies inside a joint configuration, "
                                 "which no etcd writes",
                                 start.index));
    }
  }
  if (rule == BootRule::kBackend37) {
    for (const auto& [id, member] : state.backend_store.members) {
      (member.is_learner ? state.learners : state.voters).insert(id);
    }
  }

  // Published attributes and configuration changes, merged in log order.
  auto published = findings.published.begin();
  const auto publish_until = [&](std::uint64_t index) -> Status {
    for (; published != findings.published.end() && published->index < index; ++published) {
      if (published->index <= start.index) continue;
      bool known = Publish(v2_store, published->attributes);
      if (published->index > ci) {
        const bool in_backend = Publish(state.backend_store, published->attributes);
        if (rule != BootRule::kStoreV2) known = in_backend;
      } else if (rule != BootRule::kStoreV2) {
        known = true;
      }
      if (known) continue;
      return Damaged(
          "publish-unknown-member",
          fmt::format("replay entry {}: member {} published its attributes, but is in no "
                      "member list: etcd would panic",
                      published->index, Hex16(published->attributes.member_id)));
    }
    return {};
  };
  for (const auto& at : findings.conf_changes) {
    if (at.index <= start.index || at.index > up_to) continue;
    RETURN_IF_ERROR(publish_until(at.index));
    const bool new_to_backend = at.index > ci;
    if (rule == BootRule::kBackend37 && !new_to_backend) continue;
    ASSIGN_OR_RETURN(const DecodedChange change, Decode(at));
    const bool judged_by_backend =
        rule == BootRule::kBackend37 || (rule == BootRule::kBackend36 && new_to_backend);
    const std::string rejected = Reject(judged_by_backend ? state.backend_store : v2_store, change);
    if (!rejected.empty()) {
      state.ignored.push_back(fmt::format("entry {}: {}", at.index, rejected));
      continue;
    }
    ApplyToRaft(state, change.raw);
    ApplyToStore(v2_store, change);
    if (new_to_backend) ApplyToStore(state.backend_store, change);
    if (state.voters.empty()) {
      return Damaged("removed-all-voters",
                     fmt::format("replay entry {}: it removes the last voter", at.index));
    }
  }
  RETURN_IF_ERROR(publish_until(up_to + 1));
  state.store = rule == BootRule::kStoreV2 ? v2_store : state.backend_store;
  return state;
}

namespace {

// Without a snapshot to start from, a leader sends a joining member its log from the first entry
// on. Every revision takes a request, so a log with fewer requests than the backend has revisions
// is not the whole story: the joiner becomes a voter with a smaller key space, and nobody notices.
// Seen on 3.4.23, 3.5.16 and 3.5.30 behind a fresh log without a .snap.
bool JoinerWouldLack(const Findings& findings, const BootState& state) {
  if (state.snapshot_index > 0 || !findings.backend) return false;
  // A fresh key space is at revision 1.
  return findings.backend->latest.main > findings.applied_requests + 1;
}

}  // namespace

BootVerdict SimulateBoot(const Findings& findings, BootRule rule) {
  BootVerdict verdict;
  verdict.state.rule = rule;
  const auto refuse = [&](std::string code, std::string reason) {
    verdict.code = std::move(code);
    verdict.reason = std::move(reason);
    return verdict;
  };
  if (findings.log) verdict.self = findings.log->metadata.node_id;
  auto replayed = Replay(findings, rule, findings.CommitIndex());
  if (!replayed) return refuse(replayed.error().code, replayed.error().message);
  verdict.state = *std::move(replayed);
  if (findings.log->tail.kind == raftlog::TailKind::kTornUnlikeEtcd) {
    return refuse("log-tail-unlike-torn",
                  fmt::format("etcd refuses the last log record: {}", findings.log->tail.reason));
  }
  const BootState& state = verdict.state;
  const std::string self = Hex16(verdict.self);
  if (state.store.removed.contains(verdict.self)) {
    return refuse("survivor-removed", fmt::format("member {} was removed from the cluster", self));
  }
  if (!state.voters.contains(verdict.self)) {
    return refuse("survivor-not-a-voter", fmt::format("member {} is not a voter", self));
  }
  if (state.voters.size() != 1) {
    return refuse("other-voters",
                  fmt::format("{} other voters would be waited for", state.voters.size() - 1));
  }
  if (!state.learners.empty()) {
    return refuse("learners-left", fmt::format("{} learners are left", state.learners.size()));
  }
  if (state.store.members.size() != 1 || !state.store.members.contains(verdict.self)) {
    return refuse("membership-disagrees",
                  fmt::format("the member list would hold {} members instead of the survivor alone",
                              state.store.members.size()));
  }
  if (JoinerWouldLack(findings, state)) {
    return refuse(
        "joiner-incomplete",
        fmt::format("a joining member would replay the log from entry 1, which holds only "
                    "{} requests for revision {}: it would silently lack the rest",
                    findings.applied_requests, findings.backend->latest.main));
  }
  verdict.leads_alone = true;
  return verdict;
}

}  // namespace rescue::etcd
