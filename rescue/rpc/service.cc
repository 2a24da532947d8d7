#include "rescue/rpc/service.h"

#include <fmt/format.h>

#include <utility>

#include "rescue/rpc/params.h"
#include "rescue/session/report.h"

namespace rescue::rpc {
namespace {

using nlohmann::json;
using session::Command;
using session::Stage;

json StageJson(const session::StageTime& stage) {
  return {{"stage", session::Name(stage.stage)},
          {"state", stage.ok ? "ok" : "failed"},
          {"ms", stage.took.count()},
          {"text", stage.text}};
}

// Writing has begun, and is carried to its end.
bool IsPastStopping(std::optional<Stage> stage) {
  return stage && (*stage == Stage::kApply || *stage == Stage::kVerify || *stage == Stage::kSeal ||
                   *stage == Stage::kUndo);
}

}  // namespace

// ---- what comes from the line ----

void Service::Hear(Record record) {
  auto call = ReadCall(std::move(record));
  if (!call) {
    outbox_.Put(ErrorRecord(call.error().id, call.error().error));
    return;
  }
  Handle(*std::move(call));
}

void Service::Handle(Call call) {
  if (!call.is_notification) {
    // A client that missed the answer asks again under the same id; the work is not done twice.
    if (!kept_answer_.empty() && call.id == kept_id_) return outbox_.Put(kept_answer_);
    if (running_ && !running_->answered && call.id == running_->id) return;
  }
  if (call.method == "status") return Answer(call, AnswerStatus(call));
  if (call.method == "cancel") return Answer(call, Cancel(call));
  if (running_) {
    return Answer(call, tl::unexpected<RpcError>(RpcError{
                            kBusy, Error{ErrorKind::kRefused, "busy",
                                         fmt::format("do {}: {} is running",
                                                     Printable(call.method, 40), running_->method),
                                         "wait for it, or cancel it"}}));
  }
  if (call.method == "power") return Answer(call, Power(call));
  if (call.method == "seal") return Answer(call, Seal(call));
  auto work = Prepare(call);
  if (work) return Launch(call, *std::move(work));
  Answer(call, tl::unexpected<RpcError>(work.error()));
  if (call.method != "run") return;
  // A job that cannot be begun has its final record all the same.
  OpenJob();
  last_status_ = Fail(std::move(work.error().error));
  Finish(last_status_.error().message, json::array());
}

void Service::OpenJob() {
  if (job_open_) return;
  ++job_;
  job_open_ = true;
  last_status_ = {};
  last_report_ = nullptr;
}

void Service::Answer(const Call& call, const Answered& result) {
  if (call.is_notification) return;
  outbox_.Put(result ? ResultRecord(call.id, *result) : ErrorRecord(call.id, result.error()));
}

// ---- methods that are answered at once ----

json Service::State() const {
  json state = {{"protocol", kProtocolVersion},
                {"program", "etcd-rescue " RESCUE_VERSION},
                {"state", running_ ? "running" : "idle"},
                {"job", job_},
                {"job_open", job_open_},
                {"appliance", help_.appliance}};
  if (!running_) return state;
  const auto since = std::chrono::steady_clock::now() - running_->began;
  state["method"] = running_->method;
  state["ms"] = std::chrono::duration_cast<std::chrono::milliseconds>(since).count();
  if (running_->stage) state["stage"] = session::Name(*running_->stage);
  if (running_->total > 0) {
    state["done"] = running_->done;
    state["total"] = running_->total;
  }
  return state;
}

Service::Answered Service::AnswerStatus(const Call& call) const {
  if (auto known = CheckParams(call.params, {}); !known) {
    return tl::unexpected<RpcError>(std::move(known).error());
  }
  json state = State();
  state["final"] = final_ ? *final_ : json();
  return state;
}

Service::Answered Service::Cancel(const Call& call) {
  if (auto known = CheckParams(call.params, {}); !known) {
    return tl::unexpected<RpcError>(std::move(known).error());
  }
  if (!running_) return json{{"cancelling", false}, {"reason", "nothing is running"}};
  if (IsPastStopping(running_->stage) && running_->method != "verify") {
    return json{{"cancelling", false}, {"reason", "writing has begun, and is carried to its end"}};
  }
  cancelled_ = true;
  return json{{"cancelling", true}};
}

Service::Answered Service::Power(const Call& call) {
  if (auto known = CheckParams(call.params, {{"action"}}); !known) {
    return tl::unexpected<RpcError>(std::move(known).error());
  }
  auto action = Text(call.params, "action");
  if (!action) return tl::unexpected<RpcError>(std::move(action).error());
  if (*action != "power-off" && *action != "reboot") {
    return BadParams("action: not \"power-off\" or \"reboot\"");
  }
  if (!help_.appliance) {
    return tl::unexpected<RpcError>(RpcError::Of(
        {ErrorKind::kRefused, "not-an-appliance",
         "power the machine off: it is not there for this only", "power it off by hand"}));
  }
  if (job_open_) Finish("the machine was told to " + *action, json::array());
  wanted_end_ = *action == "reboot" ? session::AtEnd::kReboot : session::AtEnd::kPowerOff;
  return json{{"action", *action}};
}

Service::Answered Service::Seal(const Call& call) {
  if (auto known = CheckParams(call.params, {}); !known) {
    return tl::unexpected<RpcError>(std::move(known).error());
  }
  if (!job_open_) {
    return tl::unexpected<RpcError>(
        RpcError::Of({ErrorKind::kUsage, "no-job", "seal the disk: no job is open",
                      "every call closes the disk by itself; seal ends a job of several calls"}));
  }
  json sealed = last_report_.is_object() ? last_report_.value("sealed", json()) : json();
  Finish(last_status_ ? "sealed: the disk is closed, its keys are forgotten"
                      : last_status_.error().message,
         json::array());
  return json{{"sealed", std::move(sealed)}, {"exit", exit_code()}};
}

// ---- work ----

void Service::Launch(const Call& call, Do work) {
  OpenJob();
  running_ = Running{
      call.id, call.is_notification, call.method, std::chrono::steady_clock::now(), {}, 0, 0};
  kept_answer_.clear();
  cancelled_ = false;
  ended_ = Ended{};
  help_.show_line(fmt::format("{}: asked for by JSON-RPC", call.method));
  worker_.Start([this, work = std::move(work)](session::Observer& observer) {
    try {
      ended_.status = work(observer, ended_);
    } catch (const std::exception& error) {
      // Only the language itself throws here (memory); whatever was open closed on the way.
      ended_.status =
          Fail(ErrorKind::kOther, "no-memory", fmt::format("do the work: {}", error.what()));
    }
  });
}

void Service::Collect() {
  for (const auto& event : worker_.Take()) {
    if (std::holds_alternative<TaskEnded>(event)) {
      TaskHasEnded();
    } else {
      Show(event);
    }
  }
}

void Service::Show(const Event& event) {
  if (!running_) return;
  json params = {{"job", job_}};
  if (const auto* began = std::get_if<StageBegan>(&event)) {
    running_->stage = began->stage;
    running_->done = running_->total = 0;
    params.update({{"stage", session::Name(began->stage)}, {"state", "started"}});
    outbox_.Put(NotificationRecord("progress", params));
  } else if (const auto* ended = std::get_if<StageEnded>(&event)) {
    params.update(StageJson(ended->stage));
    outbox_.Put(NotificationRecord("progress", params));
    help_.show_stage(ended->stage);
  } else if (const auto* moved = std::get_if<Progressed>(&event)) {
    running_->done = moved->done;
    running_->total = moved->total;
    params.update({{"stage", session::Name(moved->stage)},
                   {"state", "running"},
                   {"done", moved->done},
                   {"total", moved->total}});
    outbox_.PutProgress(NotificationRecord("progress", params));
  }
}

void Service::AnswerRunning(const Answered& result) {
  kept_id_ = running_->id;
  const std::string record =
      result ? ResultRecord(running_->id, *result) : ErrorRecord(running_->id, result.error());
  if (running_->answered) return;
  kept_answer_ = record;
  outbox_.Put(record);
}

void Service::TaskHasEnded() {
  worker_.Join();
  if (ended_.job) {
    JobHasEnded();
    running_.reset();
    return;
  }
  last_status_ = ended_.status;
  if (ended_.result.is_object() && ended_.result.contains("stages")) last_report_ = ended_.result;
  if (ended_.status) {
    Remember();
    AnswerRunning(ended_.result);
  } else {
    RpcError error = RpcError::Of(ended_.status.error());
    error.report = ended_.result;
    AnswerRunning(tl::unexpected<RpcError>(std::move(error)));
  }
  running_.reset();
  // What was cancelled is over, also when its client has gone.
  if (!last_status_ && last_status_.error().code == "cancelled") {
    Finish(last_status_.error().message, json::array());
  }
}

void Service::JobHasEnded() {
  const session::JobEnd& end = *ended_.job;
  last_status_ = end.status;
  last_report_ = session::ToJson(Command::kApply, end.outcome, end.status);
  help_.show_end(end);
  if (end.status) {
    json result = {{"exit", 0}, {"text", end.text}};
    if (!end.blob_lines.empty()) result["blob"] = end.blob_lines;
    AnswerRunning(result);
  } else {
    AnswerRunning(tl::unexpected<RpcError>(RpcError::Of(end.status.error())));
  }
  Finish(end.text, end.warnings);
  if (help_.appliance) {
    wanted_end_ = session::ActionAfter(asked_, end.status.has_value(), session::AtEnd::kWait);
  }
}

void Service::Remember() {
  const auto& outcome = ended_.outcome;
  if (!outcome.disk) return;
  said_ = asked_;
  if (!outcome.disk->found.inside.uuid.empty()) {
    said_.disk = "UUID=" + outcome.disk->found.inside.uuid;
  }
  if (!outcome.plan) return;
  // The plan as it was made can be asked for again: what was chosen for it stays chosen.
  if (recommend_ && outcome.advice && outcome.advice->recommended) {
    const etcd::Wishes& best = outcome.advice->alternatives[*outcome.advice->recommended].wishes;
    said_.wishes.keep_ids = best.keep_ids;
    said_.wishes.name = best.name;
    said_.wishes.token = best.token;
    said_.wishes.token_is_random = best.token_is_random;
  }
  said_.wishes.strategy = outcome.plan->strategy;
  if (said_.wishes.token.empty() && !outcome.plan->token.empty()) {
    said_.wishes.token = outcome.plan->token;
    said_.wishes.token_is_random = true;
  }
}

void Service::Finish(const std::string& text, const json& warnings) {
  json record = {{"job", job_},
                 {"exit", last_status_ ? 0 : static_cast<int>(last_status_.error().kind)},
                 {"text", text},
                 {"warnings", warnings},
                 {"report", last_report_}};
  if (!last_status_) {
    record["error"] = ErrorData(last_status_.error());
    record["error"]["message"] = last_status_.error().message;
  }
  outbox_.Put(NotificationRecord("final", record));
  final_ = std::move(record);
  job_open_ = false;
  said_ = NothingSaid();
  unlocked_.Clear();
}

// ---- the line ----

void Service::Greet() {
  outbox_.Put(NotificationRecord("ready", State()));
  if (!final_) return;
  json again = *final_;
  again["again"] = true;
  outbox_.Put(NotificationRecord("final", again));
}

void Service::Beat() { outbox_.PutProgress(NotificationRecord("ready", State())); }

void Service::End(const std::string& why) {
  cancelled_ = true;
  worker_.Join();
  Collect();
  if (job_open_) Finish(last_status_ ? why : last_status_.error().message, json::array());
  unlocked_.Clear();
}

}  // namespace rescue::rpc
