#include "rescue/rpc/service.h"

#include <poll.h>

#include <catch2/catch_test_macros.hpp>
#include <condition_variable>
#include <mutex>
#include <vector>

namespace rescue::rpc {
namespace {

using nlohmann::json;
using session::Command;

constexpr const char* kUuid = "78587c41-ed99-4337-8022-dc28be882f72";

// A pipeline that does what a test says, and writes down what it was asked for.
class Fake {
 public:
  Help MakeHelp() {
    Help help;
    help.run = [this](const session::Request& request, session::Observer& observer,
                      session::Outcome& outcome) { return Run(request, observer, outcome); };
    help.find = [] {
      disk::FoundDisk disk;
      disk.path = "/dev/vdb";
      disk.is_candidate = true;
      disk.has_state_token = true;
      disk.why = "a test says so";
      return Result<std::vector<disk::FoundDisk>>(std::vector{disk});
    };
    help.secret = [](const std::string& from) -> Result<secret::Secret> {
      return Fail(ErrorKind::kCannotUnlock, "no-secret", "read the secret from '" + from + "'");
    };
    return help;
  }

  std::vector<session::Request> asked;
  std::vector<std::string> secrets;  // what each run read, as the test gave it
  Status answer;
  bool hold = false;  // until Release, or until it is cancelled

  void Release() {
    const std::lock_guard lock(mutex_);
    hold = false;
    changed_.notify_all();
  }

 private:
  Status Run(const session::Request& request, session::Observer& observer,
             session::Outcome& outcome) {
    asked.push_back(request);
    observer.Started(session::Stage::kFind);
    {
      std::unique_lock lock(mutex_);
      while (hold) {
        changed_.wait_for(lock, std::chrono::milliseconds(5));
        if (request.cancelled()) return Fail(ErrorKind::kRefused, "cancelled", "cancelled");
      }
    }
    if (request.command == Command::kLook) {
      const auto secret = request.secret();
      if (!secret) return Fail(secret.error());
      const auto* passphrase = std::get_if<secret::Passphrase>(&*secret);
      secrets.emplace_back(passphrase == nullptr ? "no passphrase"
                                                 : AsText(passphrase->bytes.Reveal()));
    }
    outcome.disk.emplace().found.inside.uuid = kUuid;
    outcome.plan.emplace().fingerprint = "f00d";
    outcome.plan->token = "chosen-by-chance";
    outcome.plan->strategy = etcd::Strategy::kRestore;
    observer.Ended({session::Stage::kFind, true, std::chrono::milliseconds(3), "found"});
    return answer;
  }

  std::mutex mutex_;
  std::condition_variable changed_;
};

std::vector<json> Sent(Service& service) {
  std::vector<json> messages;
  while (!service.outbox().empty()) {
    const std::string_view record = service.outbox().Front();
    messages.push_back(json::parse(record.substr(1)));
    service.outbox().Sent(record.size());
  }
  return messages;
}

void Say(Service& service, const json& message) {
  service.Hear(Record{SecretBytes::CopyOf(AsBytes(message.dump())), false});
}

void Call(Service& service, const json& id, const char* method,
          const json& params = json::object()) {
  Say(service, {{"jsonrpc", "2.0"}, {"id", id}, {"method", method}, {"params", params}});
}

// Until what runs has ended.
void Wait(Service& service) {
  while (service.is_running()) {
    pollfd fd{service.fd(), POLLIN, 0};
    REQUIRE(::poll(&fd, 1, 60000) == 1);
    service.Collect();
  }
}

// The answer to `id` among what was sent.
json AnswerTo(const std::vector<json>& messages, const json& id) {
  for (const auto& message : messages) {
    if (message.contains("id") && message["id"] == id) return message;
  }
  FAIL("no answer to " << id.dump());
  return {};
}

std::vector<json> Finals(const std::vector<json>& messages) {
  std::vector<json> finals;
  for (const auto& message : messages) {
    if (message.value("method", "") == "final") finals.push_back(message["params"]);
  }
  return finals;
}

std::vector<json> Ask(Service& service, const json& id, const char* method,
                      const json& params = json::object()) {
  Call(service, id, method, params);
  Wait(service);
  return Sent(service);
}

json ConsentTo(const char* uuid) { return {{"consent", {{"luks-uuid", uuid}}}}; }

TEST_CASE("StagesShareWhatUnlockSaidAndPlanChose") {
  Fake fake;
  Service service(fake.MakeHelp());
  const auto unlocked = Ask(service, 1, "unlock",
                            {{"disk", {{"label", "State"}}},
                             {"profile", "luks2"},
                             {"secret-is", "passphrase"},
                             {"secret", "open sesame"}});
  CHECK(AnswerTo(unlocked, 1)["result"]["ok"] == true);
  CHECK(fake.secrets == std::vector<std::string>{"open sesame"});
  CHECK(fake.asked[0].disk == "LABEL=State");
  for (const auto& message : unlocked) CHECK(message.dump().find("sesame") == std::string::npos);

  CHECK(AnswerTo(Ask(service, 2, "plan"), 2)["result"]["plan"]["fingerprint"] == "f00d");
  CHECK(fake.asked[1].recommend);
  CHECK(fake.asked[1].disk == std::string("UUID=") + kUuid);
  CHECK(fake.asked[1].policy.profile == disk::Profile::kLuks2);

  json apply = ConsentTo(kUuid);
  apply["plan"] = "f00d";
  CHECK(AnswerTo(Ask(service, 3, "apply", apply), 3).contains("result"));
  CHECK(fake.asked[2].command == Command::kApply);
  CHECK(fake.asked[2].confirmed_plan == "f00d");
  CHECK(fake.asked[2].consent_luks_uuid == kUuid);
  CHECK(fake.asked[2].wishes.strategy == etcd::Strategy::kRestore);
  CHECK(fake.asked[2].wishes.token == "chosen-by-chance");
  CHECK(fake.asked[2].wishes.token_is_random);

  const auto sealed = Ask(service, 4, "seal");
  CHECK(AnswerTo(sealed, 4)["result"]["exit"] == 0);
  REQUIRE(Finals(sealed).size() == 1);
  CHECK(Finals(sealed)[0]["exit"] == 0);
  CHECK(Finals(sealed)[0]["job"] == 1);
  // Another job starts from nothing.
  (void)Ask(service, 5, "inspect");
  CHECK(fake.asked[3].disk == "");
}

TEST_CASE("NothingIsChangedWithoutConsentOrPlan") {
  Fake fake;
  Service service(fake.MakeHelp());
  for (const auto& [method, params, words] :
       {std::tuple{"apply", json{{"plan", "f00d"}}, "consent.luks-uuid: missing"},
        std::tuple{"apply", ConsentTo(kUuid), "plan: missing"},
        std::tuple{"undo", json::object(), "consent.luks-uuid: missing"},
        std::tuple{"inspect", json{{"strategy", "restore"}}, "strategy: unknown field"},
        std::tuple{"inspect", json{{"quick", 1}}, "quick: not true or false"},
        std::tuple{"inspect", json{{"secret", "hunter2"}}, "secret: only unlock takes one"},
        std::tuple{"unlock", json{{"secret", 7}}, "secret: not an object"},
        std::tuple{"plan", json{{"disk", {{"lable", "x"}}}}, "disk.lable: unknown field"},
        std::tuple{"find", json{{"a", 1}}, "a: unknown field"},
        std::tuple{"power", json{{"action", "explode"}}, "action: "}}) {
    INFO(method << " " << params.dump());
    const auto answer = AnswerTo(Ask(service, 1, method, params), 1);
    REQUIRE(answer.contains("error"));
    CHECK(answer["error"]["code"] == kInvalidParams);
    CHECK(answer["error"]["data"]["exit"] == 2);
    INFO(answer.dump());
    CHECK(answer["error"]["message"].get<std::string>().find(words) != std::string::npos);
    CHECK(answer.dump().find("hunter2") == std::string::npos);
  }
  CHECK(fake.asked.empty());
}

TEST_CASE("AJobAlwaysHasOneFinalRecord") {
  Fake fake;
  Service service(fake.MakeHelp());
  json job = ConsentTo(kUuid);
  SECTION("when it is no job") {
    const auto sent = Ask(service, 1, "run", job);  // without version
    CHECK(AnswerTo(sent, 1)["error"]["code"] == kInvalidParams);
    REQUIRE(Finals(sent).size() == 1);
    CHECK(Finals(sent)[0]["exit"] == 2);
    CHECK(service.exit_code() == 2);
  }
  SECTION("when it fails") {
    fake.answer = Fail(ErrorKind::kCannotUnlock, "wrong-key", "it does not open", "another key");
    job["version"] = 1;
    const auto sent = Ask(service, 1, "run", job);
    CHECK(AnswerTo(sent, 1)["error"]["code"] == 4);
    CHECK(AnswerTo(sent, 1)["error"]["data"]["code"] == "wrong-key");
    REQUIRE(Finals(sent).size() == 1);
    CHECK(Finals(sent)[0]["exit"] == 4);
    CHECK(Finals(sent)[0]["error"]["message"] == "it does not open");
    CHECK(Finals(sent)[0]["report"]["stages"].is_array());
  }
  SECTION("when it is not sealed before the line ends") {
    (void)Ask(service, 1, "inspect");
    service.End("the line was closed");
    const auto sent = Sent(service);
    REQUIRE(Finals(sent).size() == 1);
    CHECK(Finals(sent)[0]["text"] == "the line was closed");
  }
  SECTION("when the program is told to end while it runs") {
    fake.hold = true;
    job["version"] = 1;
    Call(service, 1, "run", job);
    service.End("the program was told to end");
    const auto sent = Sent(service);
    REQUIRE(Finals(sent).size() == 1);
    CHECK(Finals(sent)[0]["error"]["code"] == "cancelled");
  }
  CHECK(Finals(Ask(service, 2, "status")).empty());
  const auto state = AnswerTo(Ask(service, 3, "status"), 3)["result"];
  CHECK(state["final"]["job"] == 1);
  CHECK(state["job_open"] == false);
}

TEST_CASE("WhileSomethingRunsOnlyStatusAndCancelAreAnswered") {
  Fake fake;
  fake.hold = true;
  Service service(fake.MakeHelp());
  Call(service, "long", "inspect");
  Call(service, "other", "find");
  Call(service, "off", "power", {{"action", "reboot"}});
  Call(service, "how", "status");
  const auto sent = Sent(service);
  CHECK(AnswerTo(sent, "other")["error"]["code"] == kBusy);
  CHECK(AnswerTo(sent, "off")["error"]["data"]["code"] == "busy");
  CHECK(AnswerTo(sent, "how")["result"]["state"] == "running");
  CHECK(AnswerTo(sent, "how")["result"]["method"] == "inspect");
  Call(service, "stop", "cancel");
  CHECK(AnswerTo(Sent(service), "stop")["result"]["cancelling"] == true);
  Wait(service);
  CHECK(AnswerTo(Sent(service), "long")["error"]["data"]["code"] == "cancelled");
  CHECK(AnswerTo(Ask(service, "again", "cancel"), "again")["result"]["cancelling"] == false);
}

TEST_CASE("ACallThatIsSentTwiceIsDoneOnce") {
  Fake fake;
  fake.hold = true;
  Service service(fake.MakeHelp());
  Call(service, "one", "inspect");
  Call(service, "one", "inspect");
  CHECK(Sent(service).empty());
  fake.Release();
  Wait(service);
  const auto answer = AnswerTo(Sent(service), "one");
  const auto again = Ask(service, "one", "inspect");
  CHECK(AnswerTo(again, "one") == answer);
  CHECK(fake.asked.size() == 1);
}

TEST_CASE("WhoComesLaterFindsTheFinalRecord") {
  Fake fake;
  Service service(fake.MakeHelp());
  (void)Ask(service, 1, "inspect");
  (void)Ask(service, 2, "seal");
  service.Greet();
  const auto sent = Sent(service);
  REQUIRE(sent.size() == 2);
  CHECK(sent[0]["method"] == "ready");
  CHECK(sent[0]["params"]["protocol"] == kProtocolVersion);
  CHECK(Finals(sent)[0]["again"] == true);
}

TEST_CASE("OnlyAnAppliancePowersOff") {
  Fake fake;
  Service plain(fake.MakeHelp());
  CHECK(AnswerTo(Ask(plain, 1, "power", {{"action", "reboot"}}), 1)["error"]["data"]["code"] ==
        "not-an-appliance");
  CHECK(plain.wanted_end() == session::AtEnd::kWait);

  Help help = fake.MakeHelp();
  help.appliance = true;
  Service appliance(help);
  CHECK(AnswerTo(Ask(appliance, 1, "power", {{"action", "reboot"}}), 1).contains("result"));
  CHECK(appliance.wanted_end() == session::AtEnd::kReboot);
}

TEST_CASE("AJobOverTheLinePowersOffOnlyWhenItSaysSo") {
  Fake fake;
  fake.answer = Fail(ErrorKind::kRefused, "no-consent", "not this one");
  Help help = fake.MakeHelp();
  help.appliance = true;
  Service service(help);
  json job = ConsentTo(kUuid);
  job["version"] = 1;
  (void)Ask(service, 1, "run", job);
  CHECK(service.wanted_end() == session::AtEnd::kWait);
  job["at-failure"] = "power-off";
  (void)Ask(service, 2, "run", job);
  CHECK(service.wanted_end() == session::AtEnd::kPowerOff);
}

TEST_CASE("FindSaysWhichDiskWouldBeTaken") {
  Fake fake;
  Service service(fake.MakeHelp());
  const auto result = AnswerTo(Ask(service, 1, "find"), 1)["result"];
  CHECK(result["state_disk"] == "/dev/vdb");
  CHECK(result["disks"].size() == 1);
}

TEST_CASE("AnUnknownMethodIsNamed") {
  Fake fake;
  Service service(fake.MakeHelp());
  const auto answer = AnswerTo(Ask(service, 1, "explode"), 1);
  CHECK(answer["error"]["code"] == kMethodNotFound);
  // Nobody asked for an answer.
  Say(service, {{"jsonrpc", "2.0"}, {"method", "status"}});
  CHECK(Sent(service).empty());
}

TEST_CASE("ProgressGivesWayOnASlowLine") {
  Outbox outbox;
  outbox.Put("first");
  outbox.PutProgress("10");
  outbox.PutProgress("20");
  outbox.Put(std::string(kMuchWaiting + 1, 'x'));
  outbox.PutProgress("30");
  CHECK(outbox.is_full());
  std::vector<std::string> sent;
  outbox.Sent(2);
  CHECK(outbox.Front() == "rst");
  outbox.Rewind();
  while (!outbox.empty()) {
    sent.emplace_back(outbox.Front().substr(0, 5));
    outbox.Sent(outbox.Front().size());
  }
  CHECK(sent == std::vector<std::string>{"first", "20", "xxxxx"});
}

}  // namespace
}  // namespace rescue::rpc
