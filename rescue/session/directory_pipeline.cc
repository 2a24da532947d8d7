#include "rescue/session/report.h"
#include "rescue/session/stages.h"

namespace rescue::session {

namespace {

Status RestoreOnDirectory(const Context& context, const Target& target) {
  RETURN_IF_ERROR(InspectOld(context, target));
  ASSIGN_OR_RETURN(const auto run, PlanBackup(context, target, nullptr));
  const bool plan_only = context.request.command != Command::kApply;
  RETURN_IF_ERROR(RehearseBackup(context, *run, /*always=*/plan_only));
  if (plan_only) return {};
  RETURN_IF_ERROR(CheckNotCancelled(context));
  {
    StageScope stage = context.Begin(Stage::kApply);
    STAGE_ASSIGN(stage, auto text, ApplyBackup(context, target, *run));
    stage.Succeed(std::move(text));
  }
  // Every page was looked at where it was built.
  RETURN_IF_ERROR(VerifyStage(context, target, /*check_backend=*/false));
  WriteReport(context.request, context.outcome, target);
  return {};
}

Status WorkOnDirectory(const Context& context);

}  // namespace

Status RunOnDirectory(const Context& context) {
  ASSIGN_OR_RETURN(MadeDirectory made, MadeDirectory::Make(context.request));
  RETURN_IF_ERROR(WorkOnDirectory(context));
  made.Keep();
  return {};
}

namespace {

Status WorkOnDirectory(const Context& context) {
  const Request& request = context.request;
  ASSIGN_OR_RETURN(
      const Target target,
      OpenDirectory(request.data_directory, request.journal_directory, request.log_directory));
  context.outcome.journal_path = target.journal.display_path;
  context.outcome.log_path = target.places.log_path;
  ASSIGN_OR_RETURN(
      const DataLock lock,
      DataLock::Take(target.places, WritesData(request.command) ? DataLock::Kind::kExclusive
                                                                : DataLock::Kind::kObserve));
  if (request.command == Command::kLook) return LookStage(context, target);
  if (request.command == Command::kUndo) return UndoStage(context, target);
  if (request.command == Command::kVerify) {
    RETURN_IF_ERROR(RefuseUnfinished(target));
    return VerifyStage(context, target, request.check_backend);
  }
  RETURN_IF_ERROR(CheckNotCancelled(context));
  if (RestoresBackup(request)) return RestoreOnDirectory(context, target);
  ASSIGN_OR_RETURN(const auto findings, InspectStage(context, target));
  if (request.command == Command::kInspect) return {};
  RETURN_IF_ERROR(CheckNotCancelled(context));
  ASSIGN_OR_RETURN(auto plan, PlanStage(context, target, findings));
  std::optional<etcd::RehearsedPlan> rehearsed;
  {
    StageScope stage = context.Begin(Stage::kRehearse);
    STAGE_ASSIGN(stage, rehearsed, RehearseOverlay(context, target, findings, std::move(plan)));
    stage.Succeed(RehearseText(*rehearsed));
  }
  if (request.command != Command::kApply || rehearsed->plan().nothing_to_do()) return {};
  RETURN_IF_ERROR(CheckNotCancelled(context));
  {
    StageScope stage = context.Begin(Stage::kApply);
    STAGE_ASSIGN(stage, context.outcome.applied, ApplyPlan(target, *rehearsed));
    stage.Succeed(ApplyText(*context.outcome.applied, target));
  }
  // A backend that no edit touches was checked before.
  const bool check_backend = request.check_backend && context.outcome.plan->backend_pages > 0;
  RETURN_IF_ERROR(VerifyStage(context, target, check_backend));
  WriteReport(request, context.outcome, target);
  return {};
}

}  // namespace

}  // namespace rescue::session
