#include "rescue/session/job_run.h"

#include <catch2/catch_test_macros.hpp>

namespace rescue::session {
namespace {

class Silent final : public Observer {};

// A job's help whose pipeline only writes down what it was asked for.
struct Fake {
  std::vector<Request> asked;
  Status answer;

  JobHelp Help() {
    JobHelp help;
    help.run = [this](const Request& request, Observer&, Outcome& outcome) {
      asked.push_back(request);
      outcome.plan.emplace();
      return answer;
    };
    help.seal = [](const SealJob&) -> Result<JobHelp::Sealed> {
      return JobHelp::Sealed{"sealed", {"a blob"}};
    };
    return help;
  }
};

Job Read(std::string_view text) {
  auto job = ParseJob(text);
  REQUIRE(job);
  return *job;
}

constexpr std::string_view kJob = R"({"version":1,"consent":{"uuid":"abc"},"strategy":"restore",
  "disk":{"label":"State"},"wal-dir":"/log","report":{"volume":false}})";

TEST_CASE("AJobAsksThePipelineForWhatItSays") {
  Fake fake;
  Silent silent;
  const JobEnd end = RunJob(Read(kJob), fake.Help(), silent);
  CHECK(end.status);
  CHECK(end.exit_code() == 0);
  REQUIRE(fake.asked.size() == 1);
  const Request& request = fake.asked[0];
  CHECK(request.command == Command::kApply);
  CHECK(request.disk == "LABEL=State");
  CHECK(request.consent_luks_uuid == "abc");
  CHECK(request.log_directory == "/log");
  CHECK(request.wishes.strategy == etcd::Strategy::kRestore);
  CHECK_FALSE(request.keep_report);
  CHECK_FALSE(request.use_token);
}

TEST_CASE("AFailedJobEndsWithItsErrorAndExitCode") {
  Fake fake;
  fake.answer = Fail(ErrorKind::kCannotUnlock, "wrong-key", "it does not open");
  Silent silent;
  const JobEnd end = RunJob(Read(kJob), fake.Help(), silent);
  CHECK(end.exit_code() == 4);
  CHECK(end.text == "it does not open");
}

TEST_CASE("AReportDiskThatIsNotThereIsToldBeforeAnythingIsDone") {
  Fake fake;
  Silent silent;
  Job job = Read(kJob);
  job.report.disk = "LABEL=no-such-label-anywhere";
  const JobEnd end = RunJob(job, fake.Help(), silent);
  REQUIRE_FALSE(end.status);
  CHECK(end.status.error().code == "bad-report-disk");
  CHECK(fake.asked.empty());
}

TEST_CASE("AJobThatSealsTouchesNoDisk") {
  Fake fake;
  Silent silent;
  const JobEnd end = RunJob(Read(R"({"version":1,"seal":{"to":"console"}})"), fake.Help(), silent);
  CHECK(end.text == "sealed");
  CHECK(end.blob_lines == std::vector<std::string>{"a blob"});
  CHECK(fake.asked.empty());
}

TEST_CASE("WhatHappensAtTheEndIsTheJobsOrTheFaces") {
  Job job;
  CHECK(ActionAfter(job, true, AtEnd::kPowerOff) == AtEnd::kPowerOff);
  CHECK(ActionAfter(job, true, AtEnd::kWait) == AtEnd::kWait);
  // Whoever did not ask for it finds the reason on the screen.
  CHECK(ActionAfter(job, false, AtEnd::kPowerOff) == AtEnd::kWait);
  job.at_end = AtEnd::kReboot;
  job.at_failure = AtEnd::kPowerOff;
  CHECK(ActionAfter(job, true, AtEnd::kWait) == AtEnd::kReboot);
  CHECK(ActionAfter(job, false, AtEnd::kWait) == AtEnd::kPowerOff);
}

}  // namespace
}  // namespace rescue::session
