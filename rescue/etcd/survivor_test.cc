// Real data directories (tests/fixtures/survivors), from inspection to rehearsal.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators_range.hpp>
#include <set>

#include "rescue/base/real_file_system.h"
#include "rescue/base/units.h"
#include "rescue/edit/overlay.h"
#include "rescue/etcd/inspect.h"
#include "rescue/etcd/json.h"
#include "rescue/etcd/plan.h"
#include "tests/support/fixtures.h"

namespace rescue::etcd {
namespace {

struct Survivor {
  std::string name;
  std::string cluster_id;
  std::string member_id;
  std::set<std::string> others;
  bool learner = false;
  // As an independent reader saw the log; 0 where it was not recorded.
  std::uint64_t last_index = 0;
  std::uint64_t commit = 0;
  BootRule rule = BootRule::kStoreV2;
};

const std::vector<Survivor>& Survivors() {
  static const std::vector<Survivor> survivors = {
      {"3423-leader-snap",
       "e57a68aa9dcbd44b",
       "986afdea7803b2ba",
       {"2c89c565cbae3bc0", "49d94b56153bb12e"},
       false,
       1723,
       1721,
       BootRule::kStoreV2},
      {"3516-leader",
       "dc686935c36e4e06",
       "d7e449522ac3789b",
       {"b2211182272a401f", "c1ae546a02937129"},
       false,
       2367,
       2365,
       BootRule::kStoreV2},
      {"3614-leader",
       "67e42d0fff744f66",
       "344f0b6f6cf5eaef",
       {"1aa1bc4f585d55c3", "de04e7dff14bee67"},
       false,
       2373,
       2370,
       BootRule::kBackend36},
      {"3614-snap",
       "e6f1e45884c73e16",
       "3ba95f09e41950ea",
       {"3c02c4a368b5287d", "7105170ea2eeb0ea"},
       false,
       899,
       898,
       BootRule::kBackend36},
      {"371-leader-snap",
       "888cdec8321400aa",
       "27d254982ce678d3",
       {"877c7b23135cc47f", "d922ab69cf53ae60"},
       false,
       2044,
       2042,
       BootRule::kBackend37},
      {"3423-learner",
       "1c7988947efa8a19",
       "fcc0d98221a7de30",
       {"036472bd814ab6cb", "5d54de38a0f4ebe3", "b4df3d9a6db2e60f"},
       true,
       0,
       0,
       BootRule::kStoreV2},
      {"3530-learner",
       "c1e1d1691307bfa5",
       "c1bd7a756420f525",
       {"3ea89fbb641b929a", "d4e95ae43b823b8f", "eadb6a22567c6dde"},
       true,
       0,
       0,
       BootRule::kStoreV2},
      {"3614-learner",
       "4248e141f3f8c496",
       "bc34bbbc290f920d",
       {"48e1dbdd297f2c00", "d7554b5d5138c97a", "e3ea207a58e9276d"},
       true,
       0,
       0,
       BootRule::kBackend36},
      {"371-learner",
       "1c2d25e10412bcbb",
       "209323762c411169",
       {"45097bc21a3d5f53", "d0a0d16cd99ce540", "f7ffefc5e7d58750"},
       true,
       0,
       0,
       BootRule::kBackend37},
  };
  return survivors;
}

// Unpacks a fixture; `data` is rooted at its data directory.
struct Unpacked {
  testing::TemporaryDirectory directory;
  std::unique_ptr<RealFileSystem> data;
  explicit Unpacked(const std::string& name) {
    testing::UnpackArchive(testing::FixturePath("survivors/" + name + ".tar.xz"), directory.path());
    data = RealFileSystem::OpenRoot((directory.path() / "etcd").string()).value();
  }
};

std::set<std::string> Ids(const std::vector<raftlog::Member>& members) {
  std::set<std::string> ids;
  for (const auto& member : members) ids.insert(Hex16(member.id));
  return ids;
}

// Inspects and plans what the directory would look like after these edits.
Result<Plan> MakePlanOn(const FileView& data, const edit::EditList& edits, const Wishes& wishes) {
  const auto overlay = edit::Overlay::Make(data, edits).value();
  InspectOptions options;
  options.check_backend = false;
  ASSIGN_OR_RETURN(const auto findings, Inspect(*overlay, options));
  return MakePlan(*overlay, findings, wishes);
}

TEST_CASE("EverySurvivorIsPlannedAndRehearsedToLeadAlone") {
  const Survivor& survivor = GENERATE(from_range(Survivors()));
  INFO(survivor.name);
  const Unpacked unpacked(survivor.name);
  const auto findings = Inspect(*unpacked.data);
  REQUIRE(findings);
  REQUIRE(findings->log);
  REQUIRE(findings->backend);
  CHECK(findings->backend->problems.empty());
  REQUIRE(findings->check);
  CHECK(findings->check->clean());
  CHECK(RuleFor(*findings) == survivor.rule);
  CHECK(Hex16(findings->log->metadata.cluster_id) == survivor.cluster_id);
  CHECK(Hex16(findings->log->metadata.node_id) == survivor.member_id);
  if (survivor.last_index != 0) {
    CHECK(findings->LastIndex() == survivor.last_index);
    CHECK(findings->CommitIndex() == survivor.commit);
  }
  // As it is, it waits for the others.
  CHECK_FALSE(SimulateBoot(*findings, survivor.rule).leads_alone);

  const auto plan = MakePlan(*unpacked.data, *findings, Wishes{});
  REQUIRE(plan);
  CHECK(Ids(plan->removed) == survivor.others);
  CHECK(plan->promotes_survivor == survivor.learner);
  CHECK(plan->appended_entries == plan->removed.size() + (survivor.learner ? 1 : 0));
  CHECK(plan->commit_after == findings->LastIndex() + plan->appended_entries);
  CHECK(Hex16(plan->cluster_id) == survivor.cluster_id);
  for (const auto& member : plan->removed) CHECK_FALSE(member.name.empty());

  std::uint64_t bytes = 0;
  for (const auto& edit : plan->edits) {
    REQUIRE(std::holds_alternative<edit::WriteRange>(edit));
    CHECK(std::get<edit::WriteRange>(edit).path.starts_with("member/wal/"));
    bytes += edit::BytesWritten(edit);
  }
  CHECK(bytes < kKiB);

  const auto rehearsed = Rehearse(*unpacked.data, *findings, *plan);
  REQUIRE(rehearsed);
  CHECK(rehearsed->verdict().leads_alone);
  CHECK(rehearsed->verdict().state.voters == std::set{findings->log->metadata.node_id});
  CHECK(rehearsed->after().CommitIndex() == plan->commit_after);
  CHECK(Verify(rehearsed->after()));
  // Planning again on the result finds nothing to do.
  const auto again = MakePlanOn(*unpacked.data, plan->edits, Wishes{});
  REQUIRE(again);
  CHECK(again->nothing_to_do());
  CHECK_FALSE(again->kept.empty());
}

TEST_CASE("KeepsEntriesThatLiveOnlyInTheLog") {
  const Unpacked unpacked("3516-leader");
  const auto findings = Inspect(*unpacked.data).value();
  // The survivor was killed in full write: the backend lags behind, the commit index on disk too.
  REQUIRE(findings.tail.entries > 0);
  REQUIRE(findings.tail.above_commit == 2);
  const auto plan = MakePlan(*unpacked.data, findings, Wishes{}).value();
  CHECK(plan.tail_entries == findings.tail.entries);
  const auto rehearsed = Rehearse(*unpacked.data, findings, plan).value();
  for (const auto& entry : findings.log->entries) {
    const auto* kept = rehearsed.after().log->Find(entry.index);
    REQUIRE(kept != nullptr);
    CHECK(kept->data_offset == entry.data_offset);
  }
}

TEST_CASE("TheSamePlanComesOutTwice") {
  const Unpacked unpacked("371-leader-snap");
  const auto first = MakePlanOn(*unpacked.data, {}, Wishes{}).value();
  const auto second = MakePlanOn(*unpacked.data, {}, Wishes{}).value();
  CHECK(first.fingerprint == second.fingerprint);
  CHECK(first.edits == second.edits);
}

// What the fixture's directory looks like with other content in one file.
Findings InspectWith(const FileView& data, const edit::EditList& edits) {
  const auto overlay = edit::Overlay::Make(data, edits).value();
  InspectOptions options;
  options.check_backend = false;
  return Inspect(*overlay, options).value();
}

TEST_CASE("RefusesALogThatEndsBeforeTheBackend") {
  const Unpacked unpacked("3614-leader");
  const auto findings = Inspect(*unpacked.data, {false, {}}).value();
  // Cut the log below the backend's consistent index: kept, it would swallow new writes silently.
  const auto* ref = findings.log->Find(findings.ConsistentIndex() - 20);
  REQUIRE(ref != nullptr);
  const auto& segment = findings.log->segments[ref->segment];
  const auto cut = InspectWith(*unpacked.data, {edit::Truncate{segment.path, ref->record_offset},
                                                edit::Truncate{segment.path, segment.size}});
  const auto plan = MakePlan(*unpacked.data, cut, Wishes{});
  REQUIRE_FALSE(plan);
  CHECK(plan.error().kind == ErrorKind::kDataDamaged);
  CHECK((plan.error().code == "log-ends-before-backend" ||
         plan.error().code == "log-ends-before-commit"));
  CHECK(plan.error().hint.find("restore") != std::string::npos);
}

TEST_CASE("RefusesWithoutALogAndWithoutABackend") {
  const Unpacked unpacked("3614-learner");
  const std::string segment = "member/wal/0000000000000000-0000000000000000.wal";
  const auto no_log = MakePlanOn(*unpacked.data, {edit::Remove{segment}}, Wishes{});
  REQUIRE_FALSE(no_log);
  CHECK(no_log.error().code == "log-missing");
  CHECK(no_log.error().kind == ErrorKind::kDataDamaged);
  const auto no_backend = MakePlanOn(*unpacked.data, {edit::Remove{"member/snap/db"}}, Wishes{});
  REQUIRE_FALSE(no_backend);
  CHECK(no_backend.error().code == "backend-missing");
  CHECK(no_backend.error().kind == ErrorKind::kDataDamaged);
}

TEST_CASE("ContinuesALogWithATornLastRecord") {
  const Unpacked unpacked("3516-leader");
  const auto findings = Inspect(*unpacked.data, {false, {}}).value();
  const auto& tail = findings.log->tail;
  // A frame header that promises 100 bytes, and the power went.
  Bytes torn(8);
  torn[0] = std::byte{100};
  const auto with_torn =
      InspectWith(*unpacked.data, {edit::WriteRange{tail.path, tail.offset, torn}});
  REQUIRE(with_torn.log->tail.kind == raftlog::TailKind::kTorn);
  const auto plan = MakePlan(*unpacked.data, with_torn, Wishes{});
  REQUIRE(plan);
  CHECK(plan->cut_bytes > 0);
  CHECK_FALSE(plan->warnings.empty());
}

TEST_CASE("ATailThatEtcdRefusesNeedsTheOperatorsWord") {
  const Unpacked unpacked("3516-leader");
  const auto findings = Inspect(*unpacked.data, {false, {}}).value();
  const auto& last = findings.log->entries.back();
  const auto& segment = findings.log->segments[last.segment];
  // One byte of the last entry's data flipped: a wrong checksum, no sector of zeros.
  const auto file = unpacked.data->Open(segment.path).value();
  Bytes byte = ReadExactly(*file, last.data_offset + 10, 1).value();
  byte[0] ^= std::byte{1};
  const auto damaged =
      InspectWith(*unpacked.data, {edit::WriteRange{segment.path, last.data_offset + 10, byte}});
  if (damaged.log->tail.kind == raftlog::TailKind::kTornUnlikeEtcd) {
    const auto refused = MakePlan(*unpacked.data, damaged, Wishes{});
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == "log-tail-unlike-torn");
    Wishes wishes;
    wishes.accept_cut_tail = true;
    CHECK(MakePlan(*unpacked.data, damaged, wishes));
  } else {
    // A hard state follows the entry, so something valid lies behind the damage.
    REQUIRE(damaged.log->tail.kind == raftlog::TailKind::kDamaged);
    const auto refused = MakePlan(*unpacked.data, damaged, Wishes{});
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == "log-damaged");
  }
}

TEST_CASE("FindingsAndPlansBecomeJson") {
  const Unpacked unpacked("3423-leader-snap");
  const auto findings = Inspect(*unpacked.data).value();
  const auto document = ToJson(findings);
  CHECK(document["log"]["last_index"] == 1723);
  CHECK(document["log"]["member_id"] == "986afdea7803b2ba");
  CHECK(document["backend"]["members"].size() == 3);
  CHECK(document["snapshots"].size() == findings.snaps.size());
  const auto plan = ToJson(MakePlan(*unpacked.data, findings, Wishes{}).value());
  CHECK(plan["strategy"] == "force-new-cluster");
  CHECK(plan["removed_members"].size() == 2);
  CHECK(plan["edits"].size() == 1);
}

TEST_CASE("ADirectoryWithoutMemberIsNoDataDirectory") {
  const testing::TemporaryDirectory empty;
  const auto files = RealFileSystem::OpenRoot(empty.path().string()).value();
  const auto findings = Inspect(*files);
  REQUIRE_FALSE(findings);
  CHECK(findings.error().code == "no-data-directory");
}

// A damaged backend must never end the process, whatever page is hit.
TEST_CASE("ReadBackendSurvivesRandomMutations") {
  const Unpacked unpacked("371-learner");
  const auto file = unpacked.data->Open(kBackendPath).value();
  const auto database = bolt::Database::Open(*file).value();
  const std::uint64_t used = database.meta().high_water_mark * database.meta().page_size;
  const Bytes sample = ReadExactly(*file, 0, used).value();

  class OneFile final : public FileView {
   public:
    explicit OneFile(ByteView content) : content_(content) {}
    Result<std::unique_ptr<ReadableFile>> Open(std::string_view) const override {
      return testing::MemoryFile(ToBytes(content_));
    }
    Result<FileStatus> Stat(std::string_view) const override { return FileStatus{}; }
    Result<std::vector<DirectoryEntry>> List(std::string_view) const override {
      return std::vector<DirectoryEntry>{};
    }

   private:
    ByteView content_;
  };

  int readable = 0;
  testing::ForRandomMutations(sample, 7, 10000, [&](ByteView damaged) {
    if (ReadBackend(OneFile(damaged), "db")) ++readable;
  });
  CHECK(readable > 0);
}

}  // namespace
}  // namespace rescue::etcd
