#include "rescue/session/pipeline.h"

#include "rescue/session/stages.h"

namespace rescue::session {

std::string_view Name(Stage stage) {
  switch (stage) {
    case Stage::kFind:
      return "find";
    case Stage::kUnlock:
      return "unlock";
    case Stage::kInspect:
      return "inspect";
    case Stage::kPlan:
      return "plan";
    case Stage::kRehearse:
      return "rehearse";
    case Stage::kApply:
      return "apply";
    case Stage::kVerify:
      return "verify";
    case Stage::kUndo:
      return "undo";
    case Stage::kSeal:
      return "seal";
  }
  return "?";
}

Status Run(const Request& request, Observer& observer, Outcome& outcome) {
  const Context context{request, observer, outcome};
  return request.disk ? RunOnDisk(context) : RunOnDirectory(context);
}

}  // namespace rescue::session
