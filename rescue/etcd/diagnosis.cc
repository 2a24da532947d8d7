#include "rescue/etcd/diagnosis.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "rescue/base/units.h"
#include "rescue/etcd/boot.h"
#include "rescue/etcd/identity.h"
#include "rescue/etcd/json.h"

namespace rescue::etcd {
namespace {

class Diagnoses {
 public:
  void Damage(std::string code, std::string text) {
    Add(std::move(code), Severity::kDamage, std::move(text));
  }
  void Warn(std::string code, std::string text) {
    Add(std::move(code), Severity::kWarning, std::move(text));
  }
  void Note(std::string code, std::string text) {
    Add(std::move(code), Severity::kNote, std::move(text));
  }
  std::vector<Diagnosis> Take() {
    std::stable_sort(list_.begin(), list_.end(),
                     [](const auto& a, const auto& b) { return a.severity > b.severity; });
    return std::move(list_);
  }

 private:
  void Add(std::string code, Severity severity, std::string text) {
    list_.push_back({std::move(code), severity, std::move(text)});
  }
  std::vector<Diagnosis> list_;
};

// What going back by one transaction costs: nothing, when the log leads on from there.
std::string OlderStateCost(const Findings& findings) {
  const std::uint64_t ci = findings.ConsistentIndex();
  if (!findings.log) return "and without a log nothing fills the gap";
  const std::uint64_t last = findings.LastIndex();
  if (findings.log->CanReplayAfter(ci)) {
    return fmt::format("the log leads on from entry {} to {}, so nothing is lost", ci, last);
  }
  return fmt::format("the log does not lead on from entry {}, so the last transaction may be lost",
                     ci);
}

void DiagnoseBackend(const Findings& findings, Diagnoses& out) {
  if (findings.backend_error)
    out.Damage(findings.backend_error->code, findings.backend_error->message);
  if (!findings.backend) return;
  const Backend& backend = *findings.backend;
  if (!backend.meta_problem.empty()) {
    out.Warn("backend-older-state",
             fmt::format("{}; the state of transaction {} is used, and {}", backend.meta_problem,
                         backend.meta.transaction_id, OlderStateCost(findings)));
  }
  if (findings.received_index) {
    out.Warn(
        "backend-received",
        fmt::format("{} was received from a leader and not taken over yet; it is the backend that "
                    "counts, db is older",
                    findings.backend_path));
  }
  if (!findings.check) return;
  bool freelist = false;
  std::uint64_t damaged = 0;
  for (const auto& problem : findings.check->problems) {
    if (problem.kind == bolt::ProblemKind::kFreelist) {
      freelist = true;
    } else {
      ++damaged;
    }
  }
  if (damaged > 0) {
    out.Damage("backend-damaged",
               fmt::format("{} damaged places in {} pages", damaged, findings.check->pages));
  }
  if (freelist) {
    out.Warn("backend-freelist", "its list of free pages is wrong; no key is affected");
  }
}

void DiagnoseLogEnd(const Findings& findings, Diagnoses& out) {
  const auto& log = *findings.log;
  const std::uint64_t last = findings.LastIndex();
  const std::uint64_t ci = findings.ConsistentIndex();
  if (findings.CommitIndex() > last) {
    out.Damage("log-ends-before-commit",
               fmt::format("it ends at entry {}, but entry {} was committed", last,
                           findings.CommitIndex()));
  }
  if (findings.backend && ci > last) {
    out.Damage("log-ends-before-backend",
               fmt::format("it ends at entry {}, but the backend has applied entry {}: etcd would "
                           "start and silently drop new writes",
                           last, ci));
  } else if (findings.backend && last > ci && !log.CanReplayAfter(ci)) {
    out.Damage("log-hole",
               fmt::format("it does not lead from the backend's entry {} to its end {}", ci, last));
  }
  switch (log.tail.kind) {
    case raftlog::TailKind::kClean:
      break;
    case raftlog::TailKind::kTorn:
      out.Warn("log-torn", fmt::format("{}: {}", log.tail.path, log.tail.reason));
      break;
    case raftlog::TailKind::kTornUnlikeEtcd:
      out.Damage("log-tail-unlike-torn", fmt::format("{}: {}", log.tail.path, log.tail.reason));
      break;
    case raftlog::TailKind::kDamaged:
      out.Damage("log-damaged", fmt::format("{}: {}", log.tail.path, log.tail.reason));
      break;
  }
}

void DiagnoseLog(const Findings& findings, Diagnoses& out) {
  if (findings.log_error) out.Damage(findings.log_error->code, findings.log_error->message);
  if (!findings.log) return;
  if (LogIsForeign(findings)) {
    out.Damage("log-foreign", fmt::format("it is of member {}, and does not belong to this backend",
                                          Hex16(findings.log->metadata.node_id)));
  }
  DiagnoseLogEnd(findings, out);
  const auto* mark = findings.log->newest_mark();
  if (findings.backend && mark != nullptr && mark->index > findings.ConsistentIndex()) {
    out.Damage("snapshot-ahead-of-backend",
               fmt::format("it starts at snapshot {}, but the backend has applied only entry {}",
                           mark->index, findings.ConsistentIndex()));
  }
  if (findings.tail.above_commit > 0) {
    const bool later =
        findings.log->hard_state && findings.log->last_term() < findings.log->hard_state->term;
    out.Note(
        "entries-above-commit",
        fmt::format("{} entries lie above the commit index on disk{}", findings.tail.above_commit,
                    later ? "; a later election took place, so others may have overwritten them"
                          : ", as after every hard stop"));
  }
  if (findings.tail.entries > 0) {
    out.Note("tail-only-in-log",
             fmt::format("{} entries (up to {} revisions) live only in the log: `etcdutl snapshot "
                         "restore` of the backend would lose them",
                         findings.tail.entries, findings.tail.may_write));
  }
}

void DiagnoseSnaps(const Findings& findings, Diagnoses& out) {
  for (const auto& name : findings.unreadable_snaps) {
    out.Warn("snap-broken", fmt::format("{} cannot be read; etcd takes the next older one",
                                        raftlog::FormatSnapName(name)));
  }
  if (findings.HasV2Keys()) {
    out.Warn("v2-keys", "keys of the v2 API exist; they live in .snap files and the log only");
  }
}

void DiagnoseSelf(const Findings& findings, Diagnoses& out) {
  if (!findings.log || !findings.backend || LogIsForeign(findings)) return;
  const std::uint64_t self = findings.log->metadata.node_id;
  const auto identity = Identify(findings, "");
  if (!identity) return;
  if (identity->self_removed) {
    out.Damage("survivor-removed",
               fmt::format("member {} was removed from its cluster; a removed ID never comes back",
                           Hex16(self)));
    return;
  }
  const auto state = Replay(findings, RuleFor(findings), findings.LastIndex());
  if (!state) return;
  if (!state->store.members.contains(self)) {
    out.Damage("survivor-unknown",
               fmt::format("member {} is not in its own member list", Hex16(self)));
  } else if (state->learners.contains(self)) {
    out.Warn("survivor-learner",
             fmt::format("member {} is a learner: it may lag behind what was acknowledged",
                         Hex16(self)));
  } else if (identity->self.name.empty()) {
    out.Note("survivor-unnamed", "the survivor has no name yet: it was added, but never started");
  }
  std::uint64_t learners = 0;
  std::uint64_t unstarted = 0;
  for (const auto& [id, member] : state->store.members) {
    if (id == self) continue;
    if (state->learners.contains(id)) ++learners;
    if (member.name.empty()) ++unstarted;
  }
  if (learners > 0)
    out.Note("lost-learners", fmt::format("{} of the lost members are learners", learners));
  if (unstarted > 0) {
    out.Note("lost-unstarted", fmt::format("{} of the lost members were never started", unstarted));
  }
}

void DiagnoseState(const Findings& findings, Diagnoses& out) {
  if (!findings.backend) return;
  for (const auto& alarm : findings.backend->alarms) {
    const bool space = alarm.type == AlarmType::kNoSpace;
    out.Warn(space ? "alarm-nospace" : "alarm-corrupt",
             fmt::format("alarm {} of member {} blocks {}", space ? "NOSPACE" : "CORRUPT",
                         Hex16(alarm.member_id), space ? "every write" : "every request"));
  }
  for (const auto& at : findings.alarm_requests) {
    if (!at.request.activate) continue;
    out.Warn("alarm-in-log", fmt::format("log entry {} sets alarm {} at the next start", at.index,
                                         Name(at.request.alarm.type)));
  }
  if (!findings.backend->downgrade.empty()) {
    out.Warn("downgrade-in-progress",
             fmt::format("a downgrade to {} is in progress", findings.backend->downgrade));
  }
  if (findings.backend->auth_enabled)
    out.Note("auth-enabled", "users and roles are in force, and stay");
  for (const auto& line : MembershipDifferences(findings)) out.Warn("members-disagree", line);
}

std::string Label(const raftlog::Member& member) {
  return member.name.empty() ? Hex16(member.id)
                             : fmt::format("{} ({})", Hex16(member.id), Printable(member.name, 40));
}

// Members of one place that another lacks.
void CompareStores(std::string_view here, const MemberStore& store, std::string_view there,
                   const MemberStore& other, std::vector<std::string>& lines) {
  for (const auto& [id, member] : store.members) {
    const auto it = other.members.find(id);
    if (it == other.members.end()) {
      lines.push_back(fmt::format("member {} is in {}, but not in {}", Label(member), here, there));
    }
  }
}

}  // namespace

std::string_view Name(Severity severity) {
  switch (severity) {
    case Severity::kNote:
      return "note";
    case Severity::kWarning:
      return "warning";
    case Severity::kDamage:
      return "damage";
  }
  return "note";
}

std::vector<std::string> MembershipDifferences(const Findings& findings) {
  std::vector<std::string> lines;
  if (!findings.backend || !findings.log) return lines;
  // The store that 3.4 and 3.5 trust, and what the backend says, both at the end of the log.
  const auto trusted = Replay(findings, BootRule::kStoreV2, findings.LastIndex());
  if (!trusted) return lines;
  constexpr std::string_view kLog = "log and .snap";
  constexpr std::string_view kBucket = "the backend";
  CompareStores(kLog, trusted->store, kBucket, trusted->backend_store, lines);
  CompareStores(kBucket, trusted->backend_store, kLog, trusted->store, lines);
  for (const auto& [id, member] : trusted->store.members) {
    const auto it = trusted->backend_store.members.find(id);
    if (it == trusted->backend_store.members.end()) continue;
    if (member.is_learner != it->second.is_learner) {
      lines.push_back(fmt::format("member {} is a {} in {}, but a {} in {}", Label(member),
                                  member.is_learner ? "learner" : "voter", kLog,
                                  it->second.is_learner ? "learner" : "voter", kBucket));
    }
    if (member.peer_urls != it->second.peer_urls) {
      lines.push_back(fmt::format("member {} has other peer URLs in {} than in {}", Label(member),
                                  kLog, kBucket));
    }
  }
  for (const auto& [id, member] : trusted->store.members) {
    if (!trusted->voters.contains(id) && !trusted->learners.contains(id)) {
      lines.push_back(fmt::format(
          "member {} is in the member list, but not in raft's configuration", Label(member)));
    }
  }
  for (const auto* set : {&trusted->voters, &trusted->learners}) {
    for (const std::uint64_t id : *set) {
      if (trusted->store.members.contains(id)) continue;
      lines.push_back(
          fmt::format("member {} is in raft's configuration, but in no member list", Hex16(id)));
    }
  }
  return lines;
}

std::vector<Diagnosis> Diagnose(const Findings& findings) {
  Diagnoses out;
  DiagnoseBackend(findings, out);
  DiagnoseLog(findings, out);
  DiagnoseSnaps(findings, out);
  DiagnoseSelf(findings, out);
  DiagnoseState(findings, out);
  return out.Take();
}

}  // namespace rescue::etcd
