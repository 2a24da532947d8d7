// The pipeline on real survivors in a folder: what is written, and that undo gives back every byte.
#include <fcntl.h>
#include <sys/file.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators_range.hpp>
#include <map>

#include "rescue/base/real_file_system.h"
#include "rescue/base/units.h"
#include "rescue/edit/fault_file_system.h"
#include "rescue/etcd/inspect.h"
#include "rescue/session/report.h"
#include "rescue/session/survivor_damage.h"
#include "tests/support/fixtures.h"

namespace rescue::session {
namespace {

namespace fs = std::filesystem;
using testing::Tree;
using testing::Unpacked;

struct Silent final : Observer {};

Tree TreeOf(const Unpacked& unpacked) { return testing::TreeOf(*unpacked.Files()); }

Result<Outcome> RunOn(const Unpacked& unpacked, Command command, const std::string& journal = {}) {
  Request request;
  request.command = command;
  request.data_directory = unpacked.data();
  request.journal_directory = journal;
  Silent silent;
  Outcome outcome;
  RETURN_IF_ERROR(Run(request, silent, outcome));
  return outcome;
}

TEST_CASE("ApplyWritesLittleAndUndoGivesBackEveryByte") {
  const std::string name = GENERATE("3423-learner", "3516-leader", "3614-snap", "371-learner");
  INFO(name);
  const Unpacked unpacked(name);
  const Tree before = TreeOf(unpacked);
  const auto parent_modified = fs::last_write_time(unpacked.directory.path());
  REQUIRE(RunOn(unpacked, Command::kInspect));
  REQUIRE(RunOn(unpacked, Command::kPlan));
  CHECK(TreeOf(unpacked) == before);
  CHECK_FALSE(std::filesystem::exists(unpacked.data() + ".etcd-rescue"));

  const auto applied = RunOn(unpacked, Command::kApply);
  REQUIRE(applied);
  REQUIRE(applied->applied);
  CHECK(applied->applied->data_bytes + applied->applied->journal_bytes < 64 * kKiB);
  const Tree after = TreeOf(unpacked);
  CHECK(after.at("member/snap/db") == before.at("member/snap/db"));
  for (const auto& [path, file] : before) {
    CHECK(after.at(path).first.attributes == file.first.attributes);
  }
  REQUIRE(RunOn(unpacked, Command::kVerify));
  const auto again = RunOn(unpacked, Command::kApply);
  REQUIRE(again);
  CHECK_FALSE(again->applied);
  CHECK(TreeOf(unpacked) == after);

  REQUIRE(RunOn(unpacked, Command::kUndo));
  CHECK(TreeOf(unpacked) == before);
  CHECK_FALSE(std::filesystem::exists(unpacked.data() + ".etcd-rescue"));
  CHECK(fs::last_write_time(unpacked.directory.path()) == parent_modified);
  const auto nothing = RunOn(unpacked, Command::kUndo);
  REQUIRE_FALSE(nothing);
  CHECK(nothing.error().code == "nothing-to-undo");
}

TEST_CASE("TheJournalCanLieElsewhere") {
  const Unpacked unpacked("3530-learner");
  const Tree before = TreeOf(unpacked);
  const std::string journal = (unpacked.directory.path() / "journal").string();
  REQUIRE(RunOn(unpacked, Command::kApply, journal));
  CHECK(std::filesystem::exists(journal + "/0001.journal"));
  CHECK_FALSE(std::filesystem::exists(unpacked.data() + ".etcd-rescue"));
  REQUIRE(RunOn(unpacked, Command::kUndo, journal));
  CHECK(TreeOf(unpacked) == before);
}

TEST_CASE("ARunningEtcdIsNotDisturbed") {
  const Unpacked unpacked("371-learner");
  const Tree before = TreeOf(unpacked);
  const auto files = unpacked.Files();
  const auto command = GENERATE(Command::kInspect, Command::kPlan, Command::kApply, Command::kUndo);
  SECTION("that holds the backend") {
    const auto held = files->OpenDescriptor("member/snap/db", O_RDWR).value();
    REQUIRE(::flock(held.get(), LOCK_EX | LOCK_NB) == 0);
    const auto refused = RunOn(unpacked, command);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().kind == ErrorKind::kRefused);
    CHECK(refused.error().code == "in-use");
  }
  SECTION("that holds the log") {
    const auto held =
        files->OpenDescriptor("member/wal/0000000000000000-0000000000000000.wal", O_RDWR).value();
    struct flock lock {};
    lock.l_type = F_WRLCK;
    REQUIRE(::fcntl(held.get(), F_OFD_SETLK, &lock) == 0);
    const auto refused = RunOn(unpacked, command);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == "in-use");
  }
  CHECK(TreeOf(unpacked) == before);
}

// The process dies at any point of an apply: the next run names the unfinished journal, or there is
// none and nothing or everything was done; undo then gives back every byte.
TEST_CASE("DyingAnywhereInAnApplyCanBeUndone") {
  const Unpacked unpacked("371-learner");
  const Tree before = TreeOf(unpacked);
  const auto findings = etcd::Inspect(*unpacked.Files()).value();
  const auto plan = etcd::MakePlan(*unpacked.Files(), findings, etcd::Wishes{}).value();
  int crashes = 0;
  for (std::uint64_t point = 0;; ++point) {
    INFO("operation " << point);
    const Target target = OpenDirectory(unpacked.data(), "").value();
    rescue::testing::FaultScript script;
    script.fail_at = point;
    script.after = rescue::testing::FaultScript::After::kDead;
    script.tear = 3;
    rescue::testing::FaultFileSystem data(*target.data, script);
    rescue::testing::FaultFileSystem journals(*target.journal.files, script);
    const auto applied = edit::Apply(data, journals, target.journal.directory, plan.edits, "test");
    if (!script.fired) {
      CHECK(applied);
      break;
    }
    ++crashes;
    const auto list = edit::ListJournals(*target.journal.files, target.journal.directory).value();
    const bool unfinished = !list.empty() && list.back().state == edit::JournalState::kUnfinished;
    const auto planned = RunOn(unpacked, Command::kPlan);
    CHECK(planned.has_value() != unfinished);
    if (unfinished) CHECK(planned.error().kind == ErrorKind::kUnfinishedJournal);
    const auto undone = RunOn(unpacked, Command::kUndo);
    if (!undone) CHECK(undone.error().code == "nothing-to-undo");
    CHECK(TreeOf(unpacked) == before);
  }
  CHECK(crashes >= 8);
}

TEST_CASE("ReportsAreKeptBesideTheJournal") {
  const Unpacked unpacked("3614-learner");
  REQUIRE(RunOn(unpacked, Command::kApply));
  const auto text =
      rescue::testing::ReadFileBytes(unpacked.data() + ".etcd-rescue/0001.report.json");
  const auto report = nlohmann::json::parse(AsText(text));
  CHECK(report["exit_code"] == 0);
  CHECK(report["plan"]["removed_members"].size() == 3);
  CHECK(report["verdict"]["leads_alone"] == true);
}

TEST_CASE("AMissingDirectoryIsAUsageError") {
  Request request;
  request.data_directory = "does/not/exist";
  Silent silent;
  Outcome outcome;
  const auto status = Run(request, silent, outcome);
  REQUIRE_FALSE(status);
  CHECK(status.error().kind == ErrorKind::kUsage);
}

}  // namespace
}  // namespace rescue::session
