#include "rescue/cli/cli.h"

#include <fcntl.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <fstream>
#include <nlohmann/json.hpp>
#include <vector>

#include "rescue/base/unique_fd.h"
#include "rescue/cli/options.h"
#include "rescue/cli/run_program.h"
#include "tests/support/fixtures.h"

namespace rescue::cli {
namespace {

namespace fs = std::filesystem;

using testing::RunProgram;

struct Unpacked {
  rescue::testing::TemporaryDirectory directory;
  Unpacked() {
    rescue::testing::UnpackArchive(rescue::testing::FixturePath("survivors/371-learner.tar.xz"),
                                   directory.path());
  }
  std::string data() const { return (directory.path() / "etcd").string(); }
};

TEST_CASE("WrongWordsAreUsageErrors") {
  CHECK(RunProgram({}).status == 2);
  CHECK(RunProgram({"pray"}).status == 2);
  CHECK(RunProgram({"inspect"}).status == 2);
  CHECK(RunProgram({"inspect", "--data-dir", "a", "--disk", "b"}).status == 2);
  CHECK(RunProgram({"plan", "--data-dir", "a", "--strategy", "hope"}).status == 2);
  CHECK(RunProgram({"run", "--job", "/no/such/job"}).status == 2);
  CHECK(RunProgram({"derive-key", "--luks-uuid", "x"}).status == 2);
}

TEST_CASE("HelpAndVersionAreNoErrors") {
  const auto help = RunProgram({"--help"});
  CHECK(help.status == 0);
  CHECK(help.output.find("Exit codes") != std::string::npos);
  CHECK(RunProgram({"--version"}).output.starts_with("etcd-rescue "));
}

TEST_CASE("NothingIsChangedWithoutYes") {
  const Unpacked unpacked;
  CHECK(RunProgram({"apply", "--data-dir", unpacked.data()}).status == 7);
  CHECK_FALSE(fs::exists(unpacked.data() + ".etcd-rescue"));
  CHECK(RunProgram({"apply", "--data-dir", unpacked.data(), "--yes"}).status == 0);
  CHECK(RunProgram({"undo", "--data-dir", unpacked.data()}).status == 7);
  CHECK(fs::exists(unpacked.data() + ".etcd-rescue/0001.journal"));
  CHECK(RunProgram({"undo", "--data-dir", unpacked.data(), "--yes"}).status == 0);
}

TEST_CASE("JsonIsOneDocumentAlsoForAnError") {
  const Unpacked unpacked;
  const auto plan = RunProgram({"plan", "--data-dir", unpacked.data(), "--json"});
  CHECK(plan.status == 0);
  const auto document = nlohmann::json::parse(plan.output);
  CHECK(document["command"] == "plan");
  CHECK(document["plan"]["promotes_survivor"] == true);
  const auto error = RunProgram({"verify", "--data-dir", unpacked.data(), "--json"});
  CHECK(error.status == 10);
  CHECK(nlohmann::json::parse(error.output)["error"]["code"] == "survivor-not-a-voter");
}

TEST_CASE("OfSeveralJobsTheFirstThatExistsIsTaken") {
  const rescue::testing::TemporaryDirectory directory;
  const auto path = [&](const char* name) { return (directory.path() / name).string(); };
  std::ofstream(path("bad.json")) << "{}";
  std::ofstream(path("good.json")) << R"({"version": 1, "consent": {"luks-uuid": "a"}})";
  const auto check = [&](const std::vector<const char*>& names) {
    std::vector<std::string> words = {"run", "--check"};
    for (const auto* name : names) words.insert(words.end(), {"--job", path(name)});
    return RunProgram(words).status;
  };
  CHECK(check({"missing.json", "good.json"}) == 0);
  CHECK(check({"good.json", "bad.json"}) == 0);
  CHECK(check({"bad.json", "good.json"}) == 2);
  CHECK(check({"missing.json", "missing-too.json"}) == 2);
}

TEST_CASE("TheJobOnTheEspIsForTheApplianceOnly") {
  const rescue::testing::TemporaryDirectory directory;
  const std::string to = (directory.path() / "job.json").string();
  CHECK(RunProgram({"fetch-job", "--to", to}).status == 7);
  CHECK_FALSE(fs::exists(to));
}

TEST_CASE("AJobAlwaysEndsWithAResultLine") {
  const rescue::testing::TemporaryDirectory directory;
  const std::string job = (directory.path() / "job.json").string();
  rescue::testing::WriteFileBytes(job, AsBytes(R"({"version": 1, "unknown": true})"));
  const auto ran = RunProgram({"run", "--job", job});
  CHECK(ran.status == 2);
  CHECK(ran.output.find("\nRESULT exit=2 read the job: unknown: unknown field\n") !=
        std::string::npos);
}

TEST_CASE("DeriveKeyPrintsTheKeyAndNothingElse") {
  const rescue::testing::TemporaryDirectory directory;
  const std::string secret = (directory.path() / "secret").string();
  // The key of RFC 5869 is not Constellation's; a disk key is passed through as it is.
  const std::string key(64, 'a');
  rescue::testing::WriteFileBytes(secret, AsBytes(key));
  std::vector<std::string> words = {"derive-key", "--luks-uuid",
                                    "78587c41-ed99-4337-8022-dc28be882f72", "--secret", secret};
  const auto refused = RunProgram(words);  // standard output is a file here
  CHECK(refused.status == 7);
  CHECK(refused.output.empty());
  words.emplace_back("--force");
  const auto ran = RunProgram(words);
  CHECK(ran.status == 0);
  CHECK(ran.output == key + "\n");
}

TEST_CASE("AutoMeansTheOnlyStateDisk") {
  TargetOptions options;
  options.disk = "auto";
  CHECK(MakeRequest(session::Command::kPlan, options)->disk == "");
  options.disk = "/dev/vdb";
  CHECK(MakeRequest(session::Command::kPlan, options)->disk == "/dev/vdb");
}

}  // namespace
}  // namespace rescue::cli
