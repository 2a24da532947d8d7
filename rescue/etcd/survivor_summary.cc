#include <fmt/format.h>

#include <algorithm>

#include "rescue/etcd/boot.h"
#include "rescue/etcd/compare.h"
#include "rescue/etcd/diagnosis.h"
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
}

void TakeBackend(const Findings& findings, SurvivorSummary& summary) {
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
}

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

// Damage means here what it means everywhere; a removal is no damage, and counts by itself.
void TakeDamage(const Findings& findings, SurvivorSummary& summary) {
  for (const auto& diagnosis : Diagnose(findings)) {
    if (diagnosis.severity != Severity::kDamage) continue;
    if (diagnosis.code == "survivor-removed") {
      summary.removed = true;
    } else {
      summary.damage.push_back(fmt::format("{}: {}", diagnosis.code, diagnosis.text));
    }
  }
  if (!findings.backend) return;
  for (const auto& problem : findings.backend->problems) summary.damage.push_back(problem);
}

}  // namespace

SurvivorSummary Summarize(const Findings& findings, std::string label) {
  SurvivorSummary summary;
  summary.label = std::move(label);
  summary.cluster_version = findings.ClusterVersion();
  TakeLog(findings, summary);
  TakeBackend(findings, summary);
  TakeMembership(findings, summary);
  TakeDamage(findings, summary);
  return summary;
}

}  // namespace rescue::etcd
