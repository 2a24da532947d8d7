// The methods that take a while: what each makes of its params.
#include <memory>
#include <utility>

#include "rescue/rpc/params.h"
#include "rescue/rpc/service.h"
#include "rescue/session/report.h"

namespace rescue::rpc {
namespace {

using nlohmann::json;
using session::Command;
using session::JobUse;

tl::unexpected<RpcError> Pass(RpcError error) { return tl::unexpected<RpcError>(std::move(error)); }

// What unlock was given, for as long as its task needs it.
struct Given {
  SecretBytes text;
  bool passphrase = false;

  Result<secret::Secret> Read() const {
    SecretBytes copy = SecretBytes::CopyOf(text.Reveal());
    if (passphrase) return secret::Secret(secret::Passphrase{std::move(copy)});
    return secret::ParseSecret(std::move(copy));
  }
};

}  // namespace

session::Request Service::RequestFor(Command command, const session::Job& job) {
  session::Request request;
  request.command = command;
  request.disk = job.disk;
  request.policy = job.policy;
  request.use_token = job.use_token;
  request.log_directory = job.log_directory;
  request.consent_luks_uuid = job.consent_luks_uuid;
  request.wishes = job.wishes;
  request.unlocked = &unlocked_;
  request.cancelled = [this] { return cancelled_.load(); };
  if (!job.use_token) {
    request.secret = [this, from = job.secret_from] { return help_.secret(from); };
  }
  return request;
}

Service::Do Service::Pipeline(session::Request request) {
  return [this, request = std::move(request)](session::Observer& observer, Ended& ended) {
    Status status = help_.run(request, observer, ended.outcome);
    ended.result = session::ToJson(request.command, ended.outcome, status);
    return status;
  };
}

Service::Prepared Service::Prepare(Call& call) {
  recommend_ = false;
  if (call.method != "unlock" && (call.secret || call.params.contains("secret")) &&
      !(call.params.contains("secret") && call.params["secret"].is_object())) {
    return BadParams("secret: only unlock takes one");
  }
  if (call.method == "find") return PrepareFind(call);
  if (call.method == "unlock") return PrepareUnlock(call);
  if (call.method == "inspect") return PrepareStage(call, Command::kInspect);
  if (call.method == "plan") return PrepareStage(call, Command::kPlan);
  if (call.method == "rehearse") return PrepareStage(call, Command::kRehearse);
  if (call.method == "apply") return PrepareStage(call, Command::kApply);
  if (call.method == "verify") return PrepareStage(call, Command::kVerify);
  if (call.method == "undo") return PrepareStage(call, Command::kUndo);
  if (call.method == "run") return PrepareRun(call);
  return Pass({kMethodNotFound,
               Error{ErrorKind::kUsage, "no-such-method",
                     "do " + Printable(call.method, 40) + ": there is no such method",
                     "there are find, unlock, inspect, plan, rehearse, apply, verify, seal, undo, "
                     "run, status, cancel and power"}});
}

Service::Prepared Service::PrepareFind(const Call& call) {
  if (auto known = CheckParams(call.params, {}); !known) return Pass(std::move(known).error());
  return Do([this](session::Observer&, Ended& ended) -> Status {
    ASSIGN_OR_RETURN(const auto disks, help_.find());
    json list = json::array();
    for (const auto& disk : disks) list.push_back(session::ToJson(disk));
    const auto chosen = disk::ChooseDisk(disks);
    ended.result = {{"disks", std::move(list)},
                    {"state_disk", chosen ? json(chosen->path) : json()},
                    {"why", chosen ? chosen->why : chosen.error().message}};
    return {};
  });
}

Service::Prepared Service::PrepareUnlock(Call& call) {
  if (auto known = CheckParams(call.params, {DiskFields(), {"consent", "secret-is"}}); !known) {
    return Pass(std::move(known).error());
  }
  auto kind = Text(call.params, "secret-is");
  if (!kind) return Pass(std::move(kind).error());
  if (!kind->empty() && *kind != "master-secret" && *kind != "passphrase") {
    return BadParams("secret-is: not \"master-secret\" or \"passphrase\"");
  }
  json params = call.params;
  params.erase("secret-is");
  if (call.secret) params.erase("secret");
  auto job = ReadJobParams(params, NothingSaid(), JobUse::kLook);
  if (!job) return Pass(std::move(job).error());
  asked_ = *std::move(job);
  session::Request request = RequestFor(Command::kLook, asked_);
  if (call.secret) {
    const auto given =
        std::make_shared<const Given>(Given{*std::move(call.secret), *kind == "passphrase"});
    request.secret = [given] { return given->Read(); };
  }
  request.look = [](const session::Target&, session::Observer&) {
    return Result<std::string>("opened and closed; its key is kept for this job");
  };
  // A key that is kept would hide that this secret is wrong.
  unlocked_.Clear();
  return Pipeline(std::move(request));
}

Service::Prepared Service::PrepareStage(const Call& call, Command command) {
  const bool wishes =
      command == Command::kPlan || command == Command::kRehearse || command == Command::kApply;
  const bool writes = command == Command::kApply || command == Command::kUndo;
  std::vector<std::string_view> own = {"consent"};
  if (command == Command::kApply) own.emplace_back("plan");
  if (command != Command::kUndo) own.emplace_back("quick");
  auto known = CheckParams(
      call.params, {DiskFields(), own, wishes ? WishFields() : std::vector<std::string_view>{}});
  if (!known) return Pass(std::move(known).error());
  auto quick = Flag(call.params, "quick", false);
  if (!quick) return Pass(std::move(quick).error());
  auto plan = Text(call.params, "plan");
  if (!plan) return Pass(std::move(plan).error());
  if (command == Command::kApply && plan->empty()) {
    return BadParams("plan: missing; it is the fingerprint of the plan that was looked at");
  }
  json params = call.params;
  params.erase("quick");
  params.erase("plan");
  auto job = ReadJobParams(params, said_, writes ? JobUse::kChange : JobUse::kLook);
  if (!job) return Pass(std::move(job).error());
  asked_ = *std::move(job);
  session::Request request = RequestFor(command, asked_);
  request.check_backend = !*quick;
  request.confirmed_plan = *std::move(plan);
  recommend_ = command == Command::kPlan && !call.params.contains("strategy");
  request.recommend = recommend_;
  return Pipeline(std::move(request));
}

Service::Prepared Service::PrepareRun(const Call& call) {
  if (!call.params.contains("version")) return BadParams("version: not 1");
  auto job = ReadJobParams(call.params, said_, JobUse::kChange);
  if (!job) return Pass(std::move(job).error());
  asked_ = *std::move(job);
  return Do([this, asked = asked_](session::Observer& observer, Ended& ended) -> Status {
    session::JobHelp help;
    help.secret = [this, &asked] { return help_.secret(asked.secret_from); };
    help.run = help_.run;
    help.unlocked = &unlocked_;
    help.cancelled = [this] { return cancelled_.load(); };
    help.seal = [this, &asked](const session::SealJob& wishes) {
      return help_.seal(wishes, asked.secret_from);
    };
    ended.job = session::RunJob(asked, help, observer);
    return ended.job->status;
  });
}

}  // namespace rescue::rpc
