#include "rescue/session/stages.h"

#include "rescue/etcd/inspect.h"
#include "rescue/session/report.h"

namespace rescue::session {
namespace {

std::string InspectText(const etcd::Findings& findings) {
  if (!findings.backend) return "the backend cannot be read";
  return fmt::format(
      "etcd {}, revision {}, {} in the backend, {} log entries behind it",
      findings.ClusterVersion().empty() ? "of unknown version" : findings.ClusterVersion(),
      findings.backend->latest.main, FormatSize(findings.backend->file_size),
      findings.tail.entries);
}

std::string PlanText(const etcd::Plan& plan) {
  if (plan.nothing_to_do()) return "nothing to do: the survivor already is the only member";
  std::uint64_t bytes = 0;
  for (const auto& edit : plan.edits) bytes += edit::BytesWritten(edit);
  return fmt::format("{}: members removed: {}, edits: {}, {}; loses {}", etcd::Name(plan.strategy),
                     plan.removed.size(), plan.edits.size(), FormatSize(bytes),
                     etcd::Describe(plan.loss));
}

}  // namespace

Result<etcd::Findings> InspectData(const Context& context, const Target& target, bool check_backend,
                                   Stage stage) {
  etcd::InspectOptions options;
  options.check_backend = check_backend;
  options.progress = [&](std::uint64_t done, std::uint64_t total) {
    context.observer.Progress(stage, done, total);
  };
  return etcd::Inspect(*target.data, options);
}

Result<etcd::Findings> InspectStage(const Context& context, const Target& target) {
  StageScope stage = context.Begin(Stage::kInspect);
  STAGE_ASSIGN(stage, context.outcome.journals,
               edit::ListJournals(*target.journal.files, target.journal.directory));
  STAGE_ASSIGN(stage, auto findings,
               InspectData(context, target, context.request.check_backend, Stage::kInspect));
  context.outcome.findings = findings;
  stage.Succeed(InspectText(findings));
  return findings;
}

etcd::Wishes CompleteWishes(const Context& context, const Target& target,
                            const etcd::Findings& findings) {
  etcd::Wishes wishes = context.request.wishes;
  // Without a log, only the node's manifest can tell which of the members this one was.
  const bool asks_node = wishes.strategy == etcd::Strategy::kRestore && !findings.log;
  if (asks_node && target.node && target.node->manifest) {
    const auto& manifest = *target.node->manifest;
    if (wishes.name.empty()) wishes.name = manifest.name;
    if (wishes.peer_urls.empty()) wishes.peer_urls = manifest.initial_advertise_peer_urls;
  }
  return wishes;
}

namespace {

// A new log beside the old one needs room. Where there is none, the old one has to go first.
Result<bool> HasRoomFor(const Target& target, const etcd::Plan& plan) {
  ASSIGN_OR_RETURN(const auto need, edit::ComputeSpaceNeed(*target.data, plan.edits));
  return edit::HasRoomFor(*target.data, need);
}

Result<etcd::Plan> MakePlanThatFits(const Context& context, const Target& target,
                                    const etcd::Findings& findings, etcd::Wishes wishes) {
  ASSIGN_OR_RETURN(auto plan, etcd::MakePlan(*target.data, findings, wishes));
  if (wishes.strategy != etcd::Strategy::kRestore || context.request.wishes.tight_space)
    return plan;
  ASSIGN_OR_RETURN(const bool fits, HasRoomFor(target, plan));
  if (fits) return plan;
  wishes.tight_space = true;
  return etcd::MakePlan(*target.data, findings, wishes);
}

// The error of a plan that cannot be made, with the way that would work instead.
Error WithAdvice(const Context& context, Error error) {
  const auto& advice = context.outcome.advice;
  if (error.kind != ErrorKind::kDataDamaged || !advice || !advice->recommended) return error;
  const auto& way = advice->alternatives[*advice->recommended];
  error.hint = fmt::format("this would work: {} (loses {})", way.flags, etcd::Describe(way.loss));
  return error;
}

}  // namespace

Result<etcd::Plan> PlanStage(const Context& context, const Target& target,
                             const etcd::Findings& findings) {
  StageScope stage = context.Begin(Stage::kPlan);
  STAGE_CHECK(stage, RefuseUnfinished(target));
  etcd::Wishes wishes = CompleteWishes(context, target, findings);
  if (context.request.recommend) {
    STAGE_ASSIGN(stage, context.outcome.advice, etcd::Advise(*target.data, findings, wishes));
    const auto& advice = *context.outcome.advice;
    if (advice.recommended) {
      const etcd::Wishes& best = advice.alternatives[*advice.recommended].wishes;
      wishes.strategy = best.strategy;
      wishes.keep_ids = best.keep_ids;
      wishes.token = best.token;
      wishes.token_is_random = best.token_is_random;
      wishes.name = best.name;
    }
  }
  auto made = MakePlanThatFits(context, target, findings, wishes);
  if (!made) {
    if (!context.outcome.advice) {
      STAGE_ASSIGN(stage, context.outcome.advice, etcd::Advise(*target.data, findings, wishes));
    }
    return Fail(stage.Failed(WithAdvice(context, std::move(made).error())));
  }
  auto plan = *std::move(made);
  const std::string& confirmed = context.request.confirmed_plan;
  if (!confirmed.empty() && plan.fingerprint != confirmed) {
    return Fail(stage.Failed({ErrorKind::kRefused, "plan-stale",
                              "plan: the data gives another plan now than the one confirmed",
                              "something changed the data meanwhile; look at the new plan"}));
  }
  context.outcome.plan = plan;
  stage.Succeed(PlanText(plan));
  return plan;
}

Result<etcd::RehearsedPlan> RehearseOverlay(const Context& context, const Target& target,
                                            const etcd::Findings& findings, etcd::Plan plan) {
  ASSIGN_OR_RETURN(auto rehearsed, etcd::Rehearse(*target.data, findings, std::move(plan)));
  context.outcome.plan = rehearsed.plan();
  context.outcome.verdict = rehearsed.verdict();
  return rehearsed;
}

std::string RehearseText(const etcd::RehearsedPlan& rehearsed) {
  return fmt::format("{} would start and lead alone as {}",
                     etcd::Name(rehearsed.verdict().state.rule), Hex16(rehearsed.verdict().self));
}

// Carries out a rehearsed plan and verifies the real files.
Result<edit::ApplyOutcome> ApplyPlan(const Target& target, const etcd::RehearsedPlan& rehearsed) {
  return edit::Apply(*target.data, *target.journal.files, target.journal.directory,
                     rehearsed.plan().edits, std::string(etcd::Name(rehearsed.plan().strategy)));
}

Result<etcd::BootVerdict> VerifyData(const Context& context, const Target& target,
                                     bool check_backend) {
  auto findings = InspectData(context, target, check_backend, Stage::kVerify);
  if (!findings) {
    Error error = std::move(findings).error();
    error.kind = ErrorKind::kVerificationFailed;
    return Fail(std::move(error));
  }
  return etcd::Verify(*findings);
}

Status VerifyStage(const Context& context, const Target& target, bool check_backend) {
  StageScope stage = context.Begin(Stage::kVerify);
  STAGE_ASSIGN(stage, auto verdict, VerifyData(context, target, check_backend));
  stage.Succeed(fmt::format("member {} would lead alone; entries up to {} are committed",
                            Hex16(verdict.self), verdict.state.replayed_to));
  context.outcome.verdict = std::move(verdict);
  return {};
}

std::string ApplyText(const edit::ApplyOutcome& applied, const Target& target) {
  return fmt::format("{} written, undo journal {} ({}) in {}", FormatSize(applied.data_bytes),
                     applied.journal_name, FormatSize(applied.journal_bytes),
                     target.journal.display_path);
}

namespace {

// A journal does not say where on the machine the log was; without it, everything in it is missing.
Result<edit::UndoOutcome> UndoWhereTheLogIs(const Target& target) {
  auto undone = edit::Undo(*target.data, *target.journal.files, target.journal.directory);
  if (undone || undone.error().code != "changed-since") return undone;
  ASSIGN_OR_RETURN(const bool has_log, Exists(*target.data, etcd::kLogDirectory));
  if (has_log) return undone;
  Error error = std::move(undone).error();
  error.message += fmt::format("; there is no {} here", etcd::kLogDirectory);
  error.hint = "if the log lies elsewhere, name the directory with the .wal files with --wal-dir";
  return Fail(std::move(error));
}

}  // namespace

Status UndoStage(const Context& context, const Target& target) {
  StageScope stage = context.Begin(Stage::kUndo);
  STAGE_ASSIGN(stage, auto undone, UndoWhereTheLogIs(target));
  RemoveReport(target, undone.journal_name);
  stage.Succeed(fmt::format("edits taken back: {}; every touched file is as it was before",
                            undone.edits_undone));
  context.outcome.undone = std::move(undone);
  return {};
}

Status LookStage(const Context& context, const Target& target) {
  StageScope stage = context.Begin(Stage::kLook);
  STAGE_ASSIGN(stage, auto text, context.request.look(target, context.observer));
  stage.Succeed(std::move(text));
  return {};
}

}  // namespace rescue::session
