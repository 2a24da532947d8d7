#include "rescue/session/pipeline.h"

#include <sys/random.h>

#include <array>

#include "rescue/session/stages.h"

namespace rescue::session {
namespace {

// Never used before, so that no former member can know the IDs that derive from it.
Result<std::string> RandomToken() {
  std::array<std::byte, 8> random{};
  if (::getrandom(random.data(), random.size(), 0) != static_cast<ssize_t>(random.size())) {
    return FailErrno("read", "random bytes", errno);
  }
  return "etcd-rescue-" + ToHex(random);
}

}  // namespace

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
    case Stage::kLook:
      return "look";
  }
  return "?";
}

void DiskFacts::TakeBoot(BootSafety safety) {
  boot = std::move(safety);
  boot_safe = boot.answer == BootSafety::Answer::kYes;
  boot_unsafe_reason = boot.answer == BootSafety::Answer::kNo
                           ? fmt::format("{}", fmt::join(boot.because, "; "))
                           : "";
}

Status Run(const Request& request, Observer& observer, Outcome& outcome) {
  // Once for the whole run: the plan is made again on the disk, and must come out the same.
  Request complete = request;
  if (request.wishes.token.empty() && !request.wishes.keep_ids) {
    ASSIGN_OR_RETURN(complete.wishes.token, RandomToken());
    complete.wishes.token_is_random = true;
  }
  const Context context{complete, observer, outcome};
  return request.disk ? RunOnDisk(context) : RunOnDirectory(context);
}

}  // namespace rescue::session
