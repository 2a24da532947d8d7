// What a line's client can ask for: the methods, the work that runs, and what is remembered between
// two calls. Knows nothing of descriptors; PROTOCOL.md is its manual.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "rescue/rpc/message.h"
#include "rescue/rpc/outbox.h"
#include "rescue/rpc/worker.h"
#include "rescue/session/job_run.h"

namespace rescue::rpc {

inline constexpr int kProtocolVersion = 1;

// What the program layer lends to the service. The pipeline is one of them so that tests can put
// another in its place.
struct Help {
  std::function<Status(const session::Request&, session::Observer&, session::Outcome&)> run =
      session::Run;
  std::function<Result<std::vector<disk::FoundDisk>>()> find = disk::FindDisks;
  // The secret from where a job or call says ("": the default).
  std::function<Result<secret::Secret>(const std::string& from)> secret;
  std::function<Result<session::JobHelp::Sealed>(const session::SealJob&, const std::string& from)>
      seal;
  // The machine is there for this only, and may be powered off.
  bool appliance = false;
  // For people, on other consoles: a stage, a line.
  std::function<void(const session::StageTime&)> show_stage = [](const session::StageTime&) {};
  std::function<void(const std::string&)> show_line = [](const std::string&) {};
  std::function<void(const session::JobEnd&)> show_end = [](const session::JobEnd&) {};
};

class Service {
 public:
  explicit Service(Help help) : help_(std::move(help)) {}

  // A record from the line; what is to be answered goes to outbox().
  void Hear(Record record);
  // Somebody may be listening anew: says what there is, and the last final record again.
  void Greet();
  // Says that the program lives, for a client that has just come.
  void Beat();

  int fd() const { return worker_.fd(); }
  // What the worker has to say.
  void Collect();

  Outbox& outbox() { return outbox_; }
  bool is_running() const { return running_.has_value(); }

  // No more calls come: stops what can be stopped, waits for the rest, and makes sure that a job
  // that was begun has its final record.
  void End(const std::string& why);
  // The last final record's exit code; 0 when there was no job.
  int exit_code() const { return final_ ? final_->value("exit", 0) : 0; }
  // What the machine is to do once everything was sent; kWait: nothing.
  session::AtEnd wanted_end() const { return wanted_end_; }

 private:
  struct Running {
    nlohmann::json id;
    bool answered = true;  // false: nobody waits for an answer
    std::string method;
    std::chrono::steady_clock::time_point began;
    std::optional<session::Stage> stage;
    std::uint64_t done = 0;
    std::uint64_t total = 0;
  };
  // What a task leaves; written by the worker while it runs, read when it has ended.
  struct Ended {
    Status status;
    session::Outcome outcome;
    nlohmann::json result;
    std::optional<session::JobEnd> job;
  };
  using Do = std::function<Status(session::Observer&, Ended&)>;

  void Handle(Call call);
  void Answer(const Call& call, const tl::expected<nlohmann::json, RpcError>& result);
  void AnswerRunning(const tl::expected<nlohmann::json, RpcError>& result);

  using Answered = tl::expected<nlohmann::json, RpcError>;
  Answered AnswerStatus(const Call& call) const;
  Answered Cancel(const Call& call);
  Answered Power(const Call& call);
  Answered Seal(const Call& call);
  // Work, whose answer comes when it has ended.
  using Prepared = tl::expected<Do, RpcError>;
  Prepared Prepare(Call& call);
  Prepared PrepareFind(const Call& call);
  Prepared PrepareUnlock(Call& call);
  Prepared PrepareStage(const Call& call, session::Command command);
  Prepared PrepareRun(const Call& call);
  session::Request RequestFor(session::Command command, const session::Job& job);
  Do Pipeline(session::Request request);

  // Work outside a job begins one.
  void OpenJob();
  void Launch(const Call& call, Do work);
  void Show(const Event& event);
  void TaskHasEnded();
  void JobHasEnded();
  // What later calls of this job need not say again.
  void Remember();
  // The final record of the open job; keys and what was said are forgotten.
  void Finish(const std::string& text, const nlohmann::json& warnings);
  nlohmann::json State() const;

  Help help_;
  Outbox outbox_;
  std::optional<Running> running_;
  Ended ended_;
  std::atomic<bool> cancelled_ = false;

  unsigned job_ = 0;       // number of the job that is open, or was last
  bool job_open_ = false;  // it has no final record yet
  std::optional<nlohmann::json> final_;
  std::string kept_answer_;  // of the last call that worked, for a client that missed it
  nlohmann::json kept_id_;
  Status last_status_;  // of the open job's last piece of work
  nlohmann::json last_report_;

  session::Job said_;  // disk, header policy, log, wishes: what later calls need not repeat
  session::UnlockCache unlocked_;  // used by the worker while one runs
  session::Job asked_;             // of the running call
  bool recommend_ = false;         // it asks for the plan that is recommended
  session::AtEnd wanted_end_ = session::AtEnd::kWait;

  Worker worker_;  // last: its task uses all of the above
};

}  // namespace rescue::rpc
