// The logs of the 30 survivors beside the repository, written by etcd 3.4 to 3.7 and stopped by
// SIGKILL. Without these fixtures the tests do not exist; log_test.cc has small pieces of real
// logs.
#include <catch2/catch_test_macros.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "rescue/base/real_file_system.h"
#include "rescue/raftlog/log.h"
#include "rescue/raftlog/snap.h"
#include "tests/support/fixtures.h"

namespace rescue::raftlog {
namespace {
namespace fs = std::filesystem;
using nlohmann::json;
using rescue::testing::SharedFixturePath;
using rescue::testing::TemporaryDirectory;

// Segments and .snap files only: nothing here looks at the backend.
void UnpackLog(const fs::path& archive, const fs::path& into) {
  const std::string command = "tar --sparse --wildcards -xf '" + archive.string() + "' -C '" +
                              into.string() + "' '*.wal' '*.snap' 2>/dev/null";
  // Without .snap files tar says that the pattern met nothing; the log's absence shows later.
  (void)std::system(command.c_str());  // NOLINT(cert-env33-c)
}

json ReadJson(const fs::path& path) {
  std::ifstream file(path);
  return json::parse(file);
}

std::uint64_t Id(const json& hex) { return std::stoull(hex.get<std::string>(), nullptr, 16); }

struct Survivor {
  std::unique_ptr<RealFileSystem> member;  // the folder with wal and snap
  Log log;
};

Survivor Open(const fs::path& unpacked) {
  for (const auto& top : fs::directory_iterator(unpacked)) {
    auto member = RealFileSystem::OpenRoot((top.path() / "member").string());
    REQUIRE(member);
    auto log = ReadLog(**member, "wal");
    REQUIRE(log);
    return {*std::move(member), *std::move(log)};
  }
  FAIL("nothing was unpacked");
  return {};
}

void CheckSound(const Survivor& survivor) {
  const Log& log = survivor.log;
  CHECK(log.tail.kind == TailKind::kClean);
  CHECK(log.tail.cut_bytes() == 0);
  REQUIRE(log.hard_state);
  CHECK(log.hard_state->commit <= log.last_index());
  CHECK(log.CanReplayAfter(log.newest_mark()->index));
}

// Every .snap file that is there; returns how many.
std::size_t CheckSnaps(const Survivor& survivor, const std::set<std::uint64_t>& members) {
  const auto listing = ListSnaps(*survivor.member, "snap");
  if (!listing) return 0;  // none was unpacked
  for (const SnapName& name : listing->snaps) {
    const auto snap = ReadSnap(*survivor.member, JoinPath("snap", FormatSnapName(name)));
    REQUIRE(snap);
    CHECK(snap->metadata.index == name.index);
    CHECK(snap->metadata.term == name.term);
    CHECK(snap->store.notes.empty());
    std::set<std::uint64_t> found;
    for (const auto& [id, member] : snap->store.members) found.insert(id);
    CHECK(found == members);
    const ConfState& state = snap->metadata.conf_state;
    std::set<std::uint64_t> voting(state.voters.begin(), state.voters.end());
    voting.insert(state.learners.begin(), state.learners.end());
    CHECK(voting == members);
  }
  return listing->snaps.size();
}

void AgreesWithAnIndependentReader() {
  std::size_t checked = 0;
  for (const auto& folder : fs::directory_iterator(*SharedFixturePath("survivors"))) {
    INFO(folder.path());
    const json expected = ReadJson(folder.path() / "expected.json");
    const json& observed = expected["observed"];
    const TemporaryDirectory directory;
    UnpackLog(folder.path() / "data.tar.xz", directory.path());
    const Survivor survivor = Open(directory.path());
    const Log& log = survivor.log;
    CheckSound(survivor);
    CHECK(log.metadata == Metadata{Id(expected["survivor"]["id"]), Id(expected["cluster_id"])});
    CHECK(log.segments.size() == observed["wal_files"].size());
    CHECK(log.entries.front().index == observed["first_index"]);
    CHECK(log.last_index() == observed["last_index"]);
    const json& state = observed["hardstate"];
    CHECK(log.hard_state == HardState{state["term"], Id(state["vote"]), state["commit"]});
    CHECK(log.tail.offset == observed["last_wal_used_bytes"]);
    const auto changes = ReadConfChangeEntries(*survivor.member, log, 0, log.last_index());
    REQUIRE(changes);
    CHECK(changes->size() == observed["conf_changes"]);
    std::vector<std::uint64_t> marks;
    for (const SnapshotMark& mark : log.marks) marks.push_back(mark.index);
    const json& last_marks = observed["snapshot_records"];  // at most six
    REQUIRE(marks.size() >= last_marks.size());
    marks.erase(marks.begin(), marks.end() - static_cast<std::ptrdiff_t>(last_marks.size()));
    CHECK(json(marks) == last_marks);
    std::set<std::uint64_t> members;
    for (const json& member : expected["members"]) members.insert(Id(member["id"]));
    CHECK(CheckSnaps(survivor, members) == observed["snap_files"].size());
    ++checked;
  }
  CHECK(checked >= 10);
}

void ReadsTheBasicSurvivors() {
  std::size_t checked = 0;
  for (const auto& file : fs::directory_iterator(*SharedFixturePath("survivors-basic"))) {
    if (file.path().extension() != ".json") continue;
    INFO(file.path());
    const json expected = ReadJson(file.path());
    const TemporaryDirectory directory;
    UnpackLog(fs::path(file.path()).replace_extension(".tar.gz"), directory.path());
    const Survivor survivor = Open(directory.path());
    CheckSound(survivor);
    CHECK(survivor.log.metadata ==
          Metadata{Id(expected["member_id_hex"]), Id(expected["cluster_id_hex"])});
    std::set<std::uint64_t> members;
    for (const json& member : expected["members"]) {
      members.insert(std::stoull(member["ID"].get<std::string>()));
    }
    const std::size_t snaps = CheckSnaps(survivor, members);
    CHECK((snaps > 0) == (survivor.log.marks.size() > 1));
    ++checked;
  }
  CHECK(checked == 20);
}

const bool registered = [] {
  if (SharedFixturePath("survivors")) {
    REGISTER_TEST_CASE(AgreesWithAnIndependentReader, "AgreesWithAnIndependentReaderOnSurvivors");
  }
  if (SharedFixturePath("survivors-basic")) {
    REGISTER_TEST_CASE(ReadsTheBasicSurvivors, "ReadsTheBasicSurvivors");
  }
  return true;
}();

}  // namespace
}  // namespace rescue::raftlog
