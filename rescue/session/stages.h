// What the pipelines on a directory and on a disk share: one function a stage, on an open target.
// Private to this room.
#pragma once

#include <fmt/format.h>

#include <memory>
#include <utility>

#include "rescue/base/units.h"
#include "rescue/session/pipeline.h"

namespace rescue::session {

using Clock = std::chrono::steady_clock;

// Reports one stage to observer and outcome; a stage that is left by an error has failed.
class StageScope {
 public:
  StageScope(Stage stage, Observer& observer, Outcome& outcome)
      : observer_(observer), outcome_(outcome), began_(Clock::now()) {
    time_.stage = stage;
    observer_.Started(stage);
  }
  ~StageScope() {
    time_.took = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - began_);
    outcome_.stages.push_back(time_);
    observer_.Ended(time_);
  }
  StageScope(const StageScope&) = delete;
  StageScope& operator=(const StageScope&) = delete;

  void Succeed(std::string text) {
    time_.ok = true;
    time_.text = std::move(text);
  }
  // Passes the error on, after noting it as what came of the stage.
  Error Failed(Error error) {
    time_.text = error.message;
    return error;
  }

 private:
  Observer& observer_;
  Outcome& outcome_;
  Clock::time_point began_;
  StageTime time_;
};

// ASSIGN_OR_RETURN inside a stage: the stage's line says why it failed.
#define STAGE_ASSIGN(scope, declaration, expression)                                      \
  auto RESCUE_CONCAT(stage_result_, __LINE__) = (expression);                             \
  if (!RESCUE_CONCAT(stage_result_, __LINE__))                                            \
    return Fail(scope.Failed(std::move(RESCUE_CONCAT(stage_result_, __LINE__)).error())); \
  declaration = *std::move(RESCUE_CONCAT(stage_result_, __LINE__))

#define STAGE_CHECK(scope, expression)                            \
  do {                                                            \
    if (auto stage_status = (expression); !stage_status)          \
      return Fail(scope.Failed(std::move(stage_status).error())); \
  } while (false)

struct Context {
  const Request& request;
  Observer& observer;
  Outcome& outcome;

  StageScope Begin(Stage stage) const { return {stage, observer, outcome}; }
};

// What the operator stopped before anything was written.
inline Status CheckNotCancelled(const Context& context) {
  if (!context.request.cancelled || !context.request.cancelled()) return {};
  return Fail(ErrorKind::kRefused, "cancelled", "go on: it was cancelled, nothing was written");
}

inline bool WritesData(Command command) {
  return command == Command::kApply || command == Command::kUndo;
}

Result<etcd::Findings> InspectData(const Context& context, const Target& target, bool check_backend,
                                   Stage stage);
Result<etcd::BootVerdict> VerifyData(const Context& context, const Target& target,
                                     bool check_backend);
// The edits of a rehearsed plan, behind a journal that stays.
Result<edit::ApplyOutcome> ApplyPlan(const Target& target, const etcd::RehearsedPlan& rehearsed);

Result<etcd::Findings> InspectStage(const Context& context, const Target& target);
// The wishes, completed by what the node's own files say.
etcd::Wishes CompleteWishes(const Context& context, const Target& target,
                            const etcd::Findings& findings);
Result<etcd::Plan> PlanStage(const Context& context, const Target& target,
                             const etcd::Findings& findings);
Result<etcd::RehearsedPlan> RehearseOverlay(const Context& context, const Target& target,
                                            const etcd::Findings& findings, etcd::Plan plan);
Status VerifyStage(const Context& context, const Target& target, bool check_backend);
Status UndoStage(const Context& context, const Target& target);
Status LookStage(const Context& context, const Target& target);

std::string ApplyText(const edit::ApplyOutcome& applied, const Target& target);
std::string RehearseText(const etcd::RehearsedPlan& rehearsed);

// A restore from a backup (restore_from.cc): the same stages with other work in them.
bool RestoresBackup(const Request& request);
// The member that is to be replaced need not be readable, nor be there at all.
Status InspectOld(const Context& context, const Target& target);
// An open source and the plan that is made of it.
struct RestoreRun;
// `volume` is the state disk's, null for a data directory of this machine. `expected`: the
// fingerprint of a plan that must come out again; empty: of none.
Result<std::shared_ptr<RestoreRun>> PrepareBackup(const Context& context, const Target& target,
                                                  const RealFileSystem* volume,
                                                  const std::string& expected);
Result<std::shared_ptr<RestoreRun>> PlanBackup(const Context& context, const Target& target,
                                               const RealFileSystem* volume);
// Reads all of the source and proves it, when nothing else will do so before it is too late.
Status RehearseBackup(const Context& context, RestoreRun& run, bool always);
// Builds and swaps; gives the line for the stage kApply, which the caller has begun. The locks that
// are held on the old files move with them.
Result<std::string> ApplyBackup(const Context& context, const Target& target, RestoreRun& run);
// For a data directory that is not there yet: makes it, and takes it away again unless kept.
class MadeDirectory {
 public:
  static Result<MadeDirectory> Make(const Request& request);
  MadeDirectory(MadeDirectory&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  MadeDirectory& operator=(MadeDirectory&&) = delete;
  MadeDirectory(const MadeDirectory&) = delete;
  MadeDirectory& operator=(const MadeDirectory&) = delete;
  ~MadeDirectory();
  void Keep() { path_.clear(); }

 private:
  explicit MadeDirectory(std::string path) : path_(std::move(path)) {}
  std::string path_;  // empty: it was there, or it stays
};

Status RunOnDirectory(const Context& context);
Status RunOnDisk(const Context& context);

}  // namespace rescue::session
