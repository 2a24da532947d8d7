#include <fmt/format.h>

#include <algorithm>

#include "rescue/etcd/boot.h"
#include "rescue/etcd/compare.h"
#include "rescue/etcd/membership.h"

namespace rescue::etcd {
namespace {

std::vector<TermRun> TermRuns(const raftlog::Log& log) {
  std::vector<TermRun> runs;
  for (const auto& entry : log.entries) {
    if (!runs.empty() && runs.back().term == entry.term && runs.back().last + 1 == entry.index) {
      runs.back().last = entry.index;
    } else {
      runs.push_back({entry.term, entry.index, entry.index});
    }
  }
  return runs;
}

void TakeLog(const Findings& findings, SurvivorSummary& summary) {
  if (findings.log_error) summary.damage.push_back(findings.log_error->message);
  if (!findings.log) return;
  const raftlog::Log& log = *findings.log;
  summary.has_log = true;
  summary.cluster_id = log.metadata.cluster_id;
  summary.member_id = log.metadata.node_id;
  if (log.hard_state) summary.term = log.hard_state->term;
  summary.commit = findings.CommitIndex();
  summary.last_index = log.last_index();
  summary.last_term = log.last_term();
  summary.terms = TermRuns(log);
  // Also what does not fit together: a log with a hole or one that ends before the backend.
  const auto replayed = Replay(findings, RuleFor(findings), findings.LastIndex());
  if (!replayed) {
    summary.damage.push_back(replayed.error().message);
  } else if (log.tail.kind == raftlog::TailKind::kDamaged ||
             log.tail.kind == raftlog::TailKind::kTornUnlikeEtcd) {
    summary.damage.push_back(log.tail.reason);
  }
}

void TakeBackend(const Findings& findings, SurvivorSummary& summary) {
  if (findings.backend_error) summary.damage.push_back(findings.backend_error->message);
  if (!findings.backend) return;
  const Backend& backend = *findings.backend;
  summary.has_backend = true;
  summary.consistent_index = backend.consistent_index;
  summary.compact_revision = backend.compacted;
  summary.revision = std::max({backend.latest.main, backend.compacted, std::uint64_t{1}});
  if (!findings.log) {
    summary.last_index = backend.consistent_index;
    summary.last_term = backend.term;
  }
  for (const auto& problem : backend.problems) summary.damage.push_back(problem);
  if (findings.check && !findings.check->clean()) {
    summary.damage.push_back(fmt::format("backend: {} problem(s), the first on page {}: {}",
                                         findings.check->problem_count,
                                         findings.check->problems.front().page,
                                         findings.check->problems.front().reason));
  }
}

// Only a server's own word counts here: what its log and its backend say about itself.
void TakeMembership(const Findings& findings, SurvivorSummary& summary) {
  const MembershipAudit audit = AuditMembership(findings);
  for (const auto& row : audit.rows) {
    if (!row.survivor) continue;
    summary.member_name = row.name;
    for (std::size_t i = 0; i < audit.places.size(); ++i) {
      if (row.roles[i] == MemberRole::kRemoved) summary.removed = true;
      if (audit.places[i].place == MembershipPlace::kLog) {
        summary.learner = row.roles[i] == MemberRole::kLearner;
      }
    }
  }
  summary.alone = SimulateBoot(findings, RuleFor(findings)).leads_alone;
}

}  // namespace

SurvivorSummary Summarize(const Findings& findings, std::string label) {
  SurvivorSummary summary;
  summary.label = std::move(label);
  summary.cluster_version = findings.ClusterVersion();
  TakeLog(findings, summary);
  TakeBackend(findings, summary);
  TakeMembership(findings, summary);
  return summary;
}

}  // namespace rescue::etcd
