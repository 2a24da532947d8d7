#include "rescue/etcd/plan.h"

#include <fmt/format.h>

#include "rescue/base/units.h"
#include "rescue/edit/overlay.h"
#include "rescue/etcd/force_new_cluster.h"
#include "rescue/etcd/inspect.h"
#include "rescue/etcd/restore.h"

namespace rescue::etcd {
namespace {

constexpr std::string_view kReport = "nothing was changed; please report this with the findings";

tl::unexpected<Error> RehearsalFailed(std::string_view reason) {
  return Fail(ErrorKind::kDataDamaged, "rehearsal-failed",
              fmt::format("rehearse the plan: {}", reason), std::string(kReport));
}

// Every entry that the plan keeps is there, with the same term and content.
Status CheckEntriesKept(const FileView& data, const Findings& before, const FileView& result,
                        const Findings& after, const Plan& plan) {
  if (!after.log) return RehearsalFailed("the log cannot be read afterwards");
  const raftlog::Metadata expected{plan.survivor.id, plan.cluster_id};
  if (after.log->metadata != expected) {
    return RehearsalFailed("the log would belong to another member");
  }
  if (!before.log || plan.tail_entries == 0) return {};
  raftlog::EntryReader old_entries(data, *before.log);
  raftlog::EntryReader new_entries(result, *after.log);
  // Where the backend had applied nothing, a new log counts from 2 on.
  const std::uint64_t shift = after.ConsistentIndex() - before.ConsistentIndex();
  const std::uint64_t first = before.ConsistentIndex() + 1;
  for (std::uint64_t index = first; index < first + plan.tail_entries; ++index) {
    const auto* old_ref = before.log->Find(index);
    const auto* new_ref = after.log->Find(index + shift);
    const bool rewritten = plan.rewritten_from != 0 && index >= plan.rewritten_from;
    if (old_ref == nullptr || new_ref == nullptr ||
        (rewritten ? new_ref->term < old_ref->term : new_ref->term != old_ref->term)) {
      return RehearsalFailed(fmt::format("log entry {} would be lost", index));
    }
    ASSIGN_OR_RETURN(const auto old_entry, old_entries.Read(*old_ref));
    ASSIGN_OR_RETURN(const auto new_entry, new_entries.Read(*new_ref));
    // A carried entry may have been emptied: then it changed the former membership or an alarm.
    if (new_entry.data == old_entry.data || new_entry.data.empty()) continue;
    const auto shifted = ShiftRevisions(old_entry.data, plan.revision_before,
                                        plan.revision_after - plan.revision_before);
    if (!shifted || *shifted != new_entry.data) {
      return RehearsalFailed(fmt::format("log entry {} would change", index));
    }
  }
  return {};
}

// All places agree on the survivor alone, also those that its version does not look at.
Status CheckMembership(const Plan& plan, const BootVerdict& verdict) {
  const auto& state = verdict.state;
  const auto& own = state.store.members.at(verdict.self);
  if (own.peer_urls != plan.survivor.peer_urls || own.is_learner) {
    return RehearsalFailed("the survivor's own record would be wrong");
  }
  for (const auto& [id, member] : state.backend_store.members) {
    if (id == verdict.self) continue;
    return RehearsalFailed(fmt::format("the backend would still list member {}", Hex16(id)));
  }
  return {};
}

}  // namespace

std::string_view Name(Strategy strategy) {
  switch (strategy) {
    case Strategy::kForceNewCluster:
      return "force-new-cluster";
    case Strategy::kRestore:
      return "restore";
  }
  return "unknown";
}

std::string_view Name(CommitLimit limit) {
  return limit == CommitLimit::kLogEnd ? "log-end" : "known";
}

Result<Plan> MakePlan(const FileView& data, const Findings& findings, const Wishes& wishes) {
  switch (wishes.strategy) {
    case Strategy::kForceNewCluster:
      return PlanForceNewCluster(data, findings, wishes);
    case Strategy::kRestore:
      return PlanRestore(data, findings, wishes);
  }
  return Fail(ErrorKind::kUsage, "unknown-strategy", "plan: unknown strategy");
}

Result<RehearsedPlan> Rehearse(const FileView& data, const Findings& before, Plan plan) {
  auto overlay = edit::Overlay::Make(data, plan.edits);
  if (!overlay) return RehearsalFailed(overlay.error().message);
  InspectOptions options;
  options.check_backend = before.check && plan.backend_pages > 0;
  ASSIGN_OR_RETURN(Findings after, Inspect(**overlay, options));
  if (!options.check_backend) after.check = before.check;
  if (!plan.nothing_to_do()) {
    RETURN_IF_ERROR(CheckEntriesKept(data, before, **overlay, after, plan));
  }
  if (after.check && plan.backend_pages > 0 && !after.check->clean()) {
    return RehearsalFailed(fmt::format("the backend's page {} would be damaged: {}",
                                       after.check->problems.front().page,
                                       after.check->problems.front().reason));
  }

  const auto rules = RulesToCheck(after);
  const BootVerdict verdict = SimulateBoot(after, rules.front());
  if (!verdict.leads_alone) {
    return RehearsalFailed(
        fmt::format("{} would not lead alone: {}", Name(rules.front()), verdict.reason));
  }
  if (!plan.nothing_to_do()) RETURN_IF_ERROR(CheckMembership(plan, verdict));
  for (std::size_t i = 1; i < rules.size(); ++i) {
    const BootVerdict next = SimulateBoot(after, rules[i]);
    if (next.leads_alone) continue;
    plan.warnings.push_back(
        fmt::format("{} would not start from this: {}; start the version that wrote it first",
                    Name(rules[i]), next.reason));
  }
  return RehearsedPlan(std::move(plan), std::move(after), verdict);
}

Result<BootVerdict> Verify(const Findings& findings) {
  const auto failed = [](const std::string& code, const std::string& reason) {
    return Fail(ErrorKind::kVerificationFailed, code, fmt::format("verify: {}", reason));
  };
  if (findings.backend_error) {
    return failed(findings.backend_error->code, findings.backend_error->message);
  }
  if (findings.check) {
    for (const auto& problem : findings.check->problems) {
      if (problem.kind == bolt::ProblemKind::kFreelist) continue;
      return failed("backend-damaged", fmt::format("the backend's page {} is damaged: {}",
                                                   problem.page, problem.reason));
    }
  }
  const BootVerdict verdict = SimulateBoot(findings, RuleFor(findings));
  if (!verdict.leads_alone) {
    return failed(verdict.code, fmt::format("{} would not lead alone: {}", Name(verdict.state.rule),
                                            verdict.reason));
  }
  return verdict;
}

}  // namespace rescue::etcd
