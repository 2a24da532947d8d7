// The engine on a real survivor in a folder.
#include <poll.h>

#include <catch2/catch_test_macros.hpp>
#include <fstream>

#include "tests/support/fixtures.h"
#include "tui/engine.h"

namespace rescue::tui {
namespace {

struct Survivor {
  rescue::testing::TemporaryDirectory directory;
  Survivor() {
    rescue::testing::UnpackArchive(rescue::testing::FixturePath("survivors/3516-leader.tar.xz"),
                                   directory.path());
  }
  Place place() const { return {(directory.path() / "etcd").string(), "", ""}; }
};

// Everything up to the end of the task.
Finished RunTask(Engine& engine, Task task, std::vector<session::Stage>& stages) {
  engine.Start(std::move(task));
  while (true) {
    pollfd wait{engine.fd(), POLLIN, 0};
    REQUIRE(::poll(&wait, 1, 60000) == 1);
    for (auto& report : engine.Take()) {
      if (auto* stage = std::get_if<StageEnded>(&report)) stages.push_back(stage->stage.stage);
      if (auto* finished = std::get_if<Finished>(&report)) return std::move(*finished);
    }
  }
}

TEST_CASE("AnEngineRunsTheWholeWayOneTaskAtATime") {
  const Survivor survivor;
  const auto engine = MakeSessionEngine();
  std::vector<session::Stage> stages;
  const auto look = RunTask(*engine, LookTask{{survivor.place()}, std::nullopt, ""}, stages);
  REQUIRE(look.status);
  REQUIRE(look.outcome.advice);
  CHECK(stages.front() == session::Stage::kInspect);
  const auto& wishes = look.outcome.advice->alternatives[*look.outcome.advice->recommended].wishes;
  const auto plan = RunTask(*engine, PlanTask{survivor.place(), wishes, ""}, stages);
  REQUIRE(plan.status);
  const auto stale =
      RunTask(*engine, ApplyTask{survivor.place(), wishes, std::string(64, '0'), ""}, stages);
  REQUIRE_FALSE(stale.status);
  CHECK(stale.status.error().code == "plan-stale");
  const auto applied = RunTask(
      *engine, ApplyTask{survivor.place(), wishes, plan.outcome.plan->fingerprint, ""}, stages);
  REQUIRE(applied.status);
  CHECK(applied.outcome.applied);
  const auto undone = RunTask(*engine, UndoTask{survivor.place(), std::nullopt, ""}, stages);
  REQUIRE(undone.status);
  CHECK(undone.outcome.undone);
}

TEST_CASE("ARestoreWithNewIdsGivesThePlanThatWasConfirmed") {
  const Survivor survivor;
  const auto engine = MakeSessionEngine();
  std::vector<session::Stage> stages;
  const auto look = RunTask(*engine, LookTask{{survivor.place()}, std::nullopt, ""}, stages);
  REQUIRE(look.status);
  // The token was chosen at random once, by the first look.
  const auto& wishes = look.outcome.advice->alternatives.back().wishes;
  REQUIRE_FALSE(wishes.token.empty());
  const auto plan = RunTask(*engine, PlanTask{survivor.place(), wishes, ""}, stages);
  REQUIRE(plan.status);
  const auto applied = RunTask(
      *engine, ApplyTask{survivor.place(), wishes, plan.outcome.plan->fingerprint, ""}, stages);
  REQUIRE(applied.status);
}

TEST_CASE("DisksAreLookedAtOnceTheMachineIsReady") {
  const rescue::testing::TemporaryDirectory run;
  const std::string ready = (run.path() / "closed").string();
  const auto engine = MakeSessionEngine();
  // What it then finds on this machine is not the question, but it is a disk of no kind.
  engine->Start(FindTask{{(run.path() / "no-such-disk").string()}, false, ready});
  pollfd wait{engine->fd(), POLLIN, 0};
  CHECK(::poll(&wait, 1, 200) == 0);
  const std::ofstream closed(ready);
  REQUIRE(::poll(&wait, 1, 60000) == 1);
  const auto reports = engine->Take();
  const auto* finished = std::get_if<Finished>(&reports.back());
  REQUIRE(finished != nullptr);
  REQUIRE_FALSE(finished->status);
  CHECK(finished->status.error().code != "machine-not-ready");
}

TEST_CASE("TwoSurvivorsAreCompared") {
  const Survivor one;
  const Survivor two;
  const auto engine = MakeSessionEngine();
  std::vector<session::Stage> stages;
  const auto compared =
      RunTask(*engine, LookTask{{one.place(), two.place()}, std::nullopt, ""}, stages);
  REQUIRE(compared.status);
  REQUIRE(compared.comparison);
  CHECK(compared.comparison->survivors.size() == 2);
}

TEST_CASE("AFailureIsReportedAndTheNextTaskRuns") {
  const auto engine = MakeSessionEngine();
  std::vector<session::Stage> stages;
  const auto look =
      RunTask(*engine, LookTask{{{"/nowhere/etcd", "", ""}}, std::nullopt, ""}, stages);
  REQUIRE_FALSE(look.status);
  const Survivor survivor;
  CHECK(RunTask(*engine, LookTask{{survivor.place()}, std::nullopt, ""}, stages).status);
}

TEST_CASE("AReportIsSavedAsTextAndJson") {
  const rescue::testing::TemporaryDirectory directory;
  const auto engine = MakeSessionEngine();
  std::vector<session::Stage> stages;
  const std::string path = (directory.path() / "report").string();
  for (const auto* text : {"first", "second"}) {
    REQUIRE(RunTask(*engine, SaveTask{path, std::nullopt, text, "{}"}, stages).status);
  }
  const Bytes saved = rescue::testing::ReadFileBytes(path + ".txt");
  CHECK(AsText(saved) == "second");
  CHECK_FALSE(RunTask(*engine, SaveTask{"/nowhere/at/all", std::nullopt, "", ""}, stages).status);
}

}  // namespace
}  // namespace rescue::tui
