#include "rescue/etcd/plan.h"

#include <fmt/format.h>

#include "rescue/edit/overlay.h"
#include "rescue/etcd/force_new_cluster.h"
#include "rescue/etcd/inspect.h"

namespace rescue::etcd {
namespace {

constexpr std::string_view kReport = "nothing was changed; please report this with the findings";

tl::unexpected<Error> RehearsalFailed(std::string_view reason) {
  return Fail(ErrorKind::kDataDamaged, "rehearsal-failed",
              fmt::format("rehearse the plan: {}", reason), std::string(kReport));
}

bool TouchesBackend(const edit::EditList& edits) {
  for (const auto& edit : edits) {
    const auto* write = std::get_if<edit::WriteRange>(&edit);
    if (write == nullptr || write->path == kBackendPath) return true;
  }
  return false;
}

// Every entry that was there is there, with the same term.
Status CheckNoEntryLost(const Findings& before, const Findings& after) {
  if (!before.log || !after.log) return RehearsalFailed("the log cannot be read afterwards");
  if (before.log->metadata != after.log->metadata) {
    return RehearsalFailed("the log would belong to another member");
  }
  for (const auto& entry : before.log->entries) {
    const auto* found = after.log->Find(entry.index);
    if (found == nullptr || found->term != entry.term || found->data_size != entry.data_size) {
      return RehearsalFailed(fmt::format("log entry {} would be lost", entry.index));
    }
  }
  return {};
}

}  // namespace

std::string_view Name(Strategy strategy) {
  switch (strategy) {
    case Strategy::kForceNewCluster:
      return "force-new-cluster";
  }
  return "unknown";
}

Result<Plan> MakePlan(const Findings& findings, const Wishes& wishes) {
  switch (wishes.strategy) {
    case Strategy::kForceNewCluster:
      return PlanForceNewCluster(findings, wishes);
  }
  return Fail(ErrorKind::kUsage, "unknown-strategy", "plan: unknown strategy");
}

Result<RehearsedPlan> Rehearse(const FileView& data, const Findings& before, Plan plan) {
  auto overlay = edit::Overlay::Make(data, plan.edits);
  if (!overlay) return RehearsalFailed(overlay.error().message);
  InspectOptions options;
  options.check_backend = TouchesBackend(plan.edits);
  ASSIGN_OR_RETURN(Findings after, Inspect(**overlay, options));
  if (!options.check_backend) after.check = before.check;
  RETURN_IF_ERROR(CheckNoEntryLost(before, after));

  const auto rules = RulesToCheck(after);
  const BootVerdict verdict = SimulateBoot(after, rules.front());
  if (!verdict.leads_alone) {
    return RehearsalFailed(
        fmt::format("{} would not lead alone: {}", Name(rules.front()), verdict.reason));
  }
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
