#include "rescue/cli/cli.h"

#include <fcntl.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <nlohmann/json.hpp>
#include <vector>

#include "rescue/base/unique_fd.h"
#include "rescue/cli/options.h"
#include "tests/support/fixtures.h"

namespace rescue::cli {
namespace {

namespace fs = std::filesystem;

// Standard output and standard error go to a file while it lives.
class Captured {
 public:
  explicit Captured(const fs::path& path)
      : file_(::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC, 0600)),
        out_(::dup(STDOUT_FILENO)),
        error_(::dup(STDERR_FILENO)),
        null_(::open("/dev/null", O_WRONLY)) {
    (void)std::fflush(stdout);
    (void)::dup2(file_.get(), STDOUT_FILENO);
    (void)::dup2(null_.get(), STDERR_FILENO);
  }
  ~Captured() {
    (void)std::fflush(stdout);
    (void)::dup2(out_.get(), STDOUT_FILENO);
    (void)::dup2(error_.get(), STDERR_FILENO);
  }
  Captured(const Captured&) = delete;
  Captured& operator=(const Captured&) = delete;

 private:
  UniqueFd file_;
  UniqueFd out_;
  UniqueFd error_;
  UniqueFd null_;
};

struct Ran {
  int status = 0;
  std::string output;
};

Ran RunProgram(const std::vector<std::string>& words) {
  const testing::TemporaryDirectory directory;
  std::vector<const char*> argv = {"etcd-rescue"};
  for (const auto& word : words) argv.push_back(word.c_str());
  Ran ran;
  {
    const Captured captured(directory.path() / "out");
    ran.status = Main(static_cast<int>(argv.size()), argv.data());
  }
  ran.output = AsText(testing::ReadFileBytes(directory.path() / "out"));
  return ran;
}

struct Unpacked {
  testing::TemporaryDirectory directory;
  Unpacked() {
    testing::UnpackArchive(testing::FixturePath("survivors/371-learner.tar.xz"), directory.path());
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

TEST_CASE("AJobAlwaysEndsWithAResultLine") {
  const testing::TemporaryDirectory directory;
  const std::string job = (directory.path() / "job.json").string();
  testing::WriteFileBytes(job, AsBytes(R"({"version": 1, "unknown": true})"));
  const auto ran = RunProgram({"run", "--job", job});
  CHECK(ran.status == 2);
  CHECK(ran.output.find("\nRESULT exit=2 read the job: unknown field unknown\n") !=
        std::string::npos);
}

TEST_CASE("DeriveKeyPrintsTheKeyAndNothingElse") {
  const testing::TemporaryDirectory directory;
  const std::string secret = (directory.path() / "secret").string();
  // The key of RFC 5869 is not Constellation's; a disk key is passed through as it is.
  const std::string key(64, 'a');
  testing::WriteFileBytes(secret, AsBytes(key));
  const auto ran = RunProgram(
      {"derive-key", "--luks-uuid", "78587c41-ed99-4337-8022-dc28be882f72", "--secret", secret});
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
