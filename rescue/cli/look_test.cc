// The commands that only look, as a script sees them: exit codes, JSON, text, and that nothing
// changes.
#include "rescue/cli/look.h"

#include <fcntl.h>
#include <sys/file.h>

#include <catch2/catch_test_macros.hpp>
#include <nlohmann/json.hpp>
#include <sstream>

#include "rescue/base/checksum.h"
#include "rescue/base/unique_fd.h"
#include "rescue/cli/run_program.h"
#include "rescue/session/look_text.h"
#include "tests/support/fixtures.h"

namespace rescue::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::RunProgram;

struct Unpacked {
  rescue::testing::TemporaryDirectory directory;
  explicit Unpacked(const std::string& name = "3530-learner") {
    rescue::testing::UnpackArchive(rescue::testing::FixturePath("survivors/" + name + ".tar.xz"),
                                   directory.path());
  }
  std::string data() const { return (directory.path() / "etcd").string(); }
  std::string backend() const { return data() + "/member/snap/db"; }
};

json Parsed(const testing::Ran& ran) {
  INFO(ran.output);
  return json::parse(ran.output);
}

// Names, sizes, times and content.
std::string Fingerprint(const fs::path& root) {
  std::ostringstream text;
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    text << entry.path() << ' ' << entry.last_write_time().time_since_epoch().count();
    if (entry.is_regular_file()) {
      text << ' ' << ToHex(Sha256(rescue::testing::ReadFileBytes(entry.path())));
    }
    text << '\n';
  }
  return text.str();
}

TEST_CASE("LookingNeedsOnePlaceAndComparingTwo") {
  const Unpacked unpacked;
  for (const std::string verb : {"hash", "status", "members", "keys", "compare"}) {
    INFO(verb);
    CHECK(RunProgram({verb}).status == 2);
    CHECK(RunProgram({verb, "--data-dir", "/no/such/directory"}).status == 2);
    CHECK(RunProgram({verb, "--help"}).output.find("Examples:") != std::string::npos);
  }
  CHECK(RunProgram({"hash", "--data-dir", unpacked.data(), unpacked.backend()}).status == 2);
  CHECK(RunProgram({"hash", "--data-dir", unpacked.data(), "--data-dir", unpacked.data()}).status ==
        2);
  CHECK(RunProgram({"members", unpacked.backend()}).status == 2);
  CHECK(RunProgram({"keys", unpacked.backend(), "--limit", "-1"}).status == 2);
  CHECK(RunProgram({"compare", "--data-dir", unpacked.data()}).status == 2);
  CHECK(RunProgram({"compare", "--disk", "a", "--disk", "b", "--disk", "c", "--secret", "x",
                    "--secret", "y"})
            .status == 2);
}

TEST_CASE("LookingChangesNothing") {
  const Unpacked unpacked;
  const std::string before = Fingerprint(unpacked.directory.path());
  for (const std::string verb : {"hash", "status", "members", "keys"}) {
    CHECK(RunProgram({verb, "--data-dir", unpacked.data()}).status == 0);
  }
  CHECK(RunProgram({"compare", "--data-dir", unpacked.data(), "--data-dir", unpacked.data()})
            .status == 0);
  CHECK(RunProgram({"status", unpacked.backend()}).status == 0);
  CHECK(Fingerprint(unpacked.directory.path()) == before);
}

TEST_CASE("AFileAndItsDataDirectoryGiveTheSameNumbers") {
  const Unpacked unpacked("3423-learner");
  const auto of_file = Parsed(RunProgram({"hash", unpacked.backend(), "--json"}));
  const auto of_directory = Parsed(RunProgram({"hash", "--data-dir", unpacked.data(), "--json"}));
  CHECK(of_file["hash"]["hash"] == of_directory["hash"]["hash"]);
  CHECK(of_file["hash"]["revision"] == 211);
  CHECK(of_directory["hash"]["log_only"]["entries"].is_number());
  CHECK(of_file["exit_code"] == 0);
  const auto status = Parsed(RunProgram({"status", unpacked.backend(), "--json"}));
  CHECK(status["status"]["revision"] == 211);
  CHECK(status["status"]["sha256"] == "absent");
  CHECK(status["status"]["problems"] == 0);
}

TEST_CASE("KeysHaveTheirRevisionsAndValues") {
  const Unpacked unpacked;
  const auto all = Parsed(RunProgram({"keys", unpacked.backend(), "--json"}))["keys"];
  REQUIRE(all["matching"] > 2);
  CHECK(all["keys"].size() == all["matching"]);
  CHECK_FALSE(all["keys"][0].contains("value"));
  const auto two =
      Parsed(RunProgram({"keys", unpacked.backend(), "--json", "--limit", "2", "--values"}));
  CHECK(two["keys"]["keys"].size() == 2);
  CHECK(two["keys"]["matching"] == all["matching"]);
  const auto value = ParseBase64(two["keys"]["keys"][0]["value"].get<std::string>());
  CHECK(value->size() == two["keys"]["keys"][0]["value_size"]);
  const auto future = RunProgram({"keys", unpacked.backend(), "--rev", "99999", "--json"});
  CHECK(future.status == 2);
  CHECK(Parsed(future)["error"]["code"] == "revision-future");
  CHECK_FALSE(Parsed(future).contains("keys"));
}

TEST_CASE("MembersAreShownPlaceByPlace") {
  const Unpacked unpacked;
  const auto audit = Parsed(RunProgram({"members", "--data-dir", unpacked.data(), "--json"}));
  CHECK(audit["members"]["members"].size() == 4);
  CHECK(audit["members"]["differences"].empty());
  CHECK(audit["members"]["members"][0]["roles"]["log"].is_string());
}

TEST_CASE("CompareRecommendsOneOfTwo") {
  const Unpacked one;
  const Unpacked other;
  const auto ran = RunProgram(
      {"compare", "--data-dir", one.data(), "--data-dir", other.data(), "--json", "--quick"});
  CHECK(ran.status == 0);
  const auto comparison = Parsed(ran)["compare"];
  CHECK(comparison["recommended"] == one.data());
  CHECK(comparison["survivors"].size() == 2);
  CHECK(comparison["survivors"][0]["hash"] == comparison["survivors"][1]["hash"]);
  const Unpacked foreign("371-learner");
  const auto refused =
      RunProgram({"compare", "--data-dir", one.data(), "--data-dir", foreign.data(), "--json"});
  CHECK(refused.status == 7);
  CHECK(Parsed(refused)["error"]["code"] == "different-clusters");
  CHECK(Parsed(refused)["compare"]["recommended"].is_null());
}

TEST_CASE("SurvivorsWithDifferentDataAreReported") {
  const Unpacked one;
  const Unpacked other;
  // One byte of a value of the last record, which lies in one leaf and nowhere else.
  const auto listed = Parsed(RunProgram({"keys", other.backend(), "--json", "--values"}));
  std::string value;
  std::uint64_t newest = 0;
  for (const auto& key : listed["keys"]["keys"]) {
    if (key["mod_revision"].get<std::uint64_t>() < newest) continue;
    newest = key["mod_revision"];
    value = AsText(*ParseBase64(key["value"].get<std::string>()));
  }
  Bytes bytes = rescue::testing::ReadFileBytes(other.backend());
  for (std::size_t at = AsText(bytes).find(value); at != std::string_view::npos;
       at = AsText(bytes).find(value, at + 1)) {
    bytes[at + value.size() - 1] ^= std::byte{1};
  }
  rescue::testing::WriteFileBytes(other.backend(), bytes);
  const auto ran =
      RunProgram({"compare", "--data-dir", one.data(), "--data-dir", other.data(), "--json"});
  CHECK(ran.status == 6);
  CHECK(Parsed(ran)["error"]["code"] == "survivors-diverge");
  CHECK(Parsed(ran)["compare"]["divergence"].size() == 1);
}

TEST_CASE("FilesThatCannotBeLookedAtAreRefused") {
  const Unpacked unpacked;
  CHECK(RunProgram({"status", "/no/such/file"}).status == 2);
  CHECK(RunProgram({"status", unpacked.data()}).status == 2);
  const UniqueFd held(::open(unpacked.backend().c_str(), O_RDONLY));
  REQUIRE(::flock(held.get(), LOCK_EX) == 0);
  CHECK(RunProgram({"status", unpacked.backend()}).status == 7);
  CHECK(RunProgram({"hash", "--data-dir", unpacked.data()}).status == 7);
}

TEST_CASE("ASnapshotWithAWrongHashIsShownAndFails") {
  const Unpacked unpacked;
  const std::string path = (unpacked.directory.path() / "snapshot.db").string();
  Bytes bytes = rescue::testing::ReadFileBytes(unpacked.backend());
  const Sha256Digest digest = Sha256(bytes);
  bytes.insert(bytes.end(), digest.begin(), digest.end());
  rescue::testing::WriteFileBytes(path, bytes);
  CHECK(Parsed(RunProgram({"status", path, "--json"}))["status"]["sha256"] == "matches");
  bytes.back() ^= std::byte{1};
  rescue::testing::WriteFileBytes(path, bytes);
  const auto ran = RunProgram({"status", path, "--json"});
  CHECK(ran.status == 6);
  CHECK(Parsed(ran)["status"]["sha256"] == "differs");
  CHECK(Parsed(ran)["error"]["code"] == "snapshot-hash-mismatch");
  // Cut in the middle there are no numbers at all, only the verdict.
  bytes.resize(bytes.size() / 2);
  rescue::testing::WriteFileBytes(path, bytes);
  CHECK(RunProgram({"status", path}).status == 6);
  const auto cut = Parsed(RunProgram({"status", path, "--json"}));
  CHECK(cut["status"] == nlohmann::json{{"verdict", "truncated"}});
}

TEST_CASE("TablesFitAnEightyColumnTerminal") {
  etcd::Comparison comparison;
  for (std::uint64_t i = 0; i < 6; ++i) {
    etcd::SurvivorSummary survivor;
    survivor.label = "/dev/disk/by-id/survivor-" + std::to_string(i);
    survivor.cluster_id = survivor.member_id = ~std::uint64_t{0} - i;
    survivor.member_name = "a-member-with-a-very-long-name-" + std::to_string(i);
    survivor.has_log = survivor.has_backend = true;
    survivor.last_index = survivor.revision = 18446744073709551615ull;
    comparison.survivors.push_back(survivor);
    comparison.ranking.push_back(i);
  }
  for (const auto& line : session::ToText(comparison)) CHECK(line.size() <= 80);
  etcd::MembershipAudit audit;
  audit.places.resize(5);
  for (auto& place : audit.places) {
    place.present = true;
    place.index = 999999999;
  }
  etcd::MembershipRow row;
  row.id = ~std::uint64_t{0};
  row.name = "constellation-master-000000";
  row.roles.assign(5, etcd::MemberRole::kLearner);
  row.differs = row.survivor = true;
  audit.rows.push_back(row);
  for (const auto& line : session::ToText(audit)) CHECK(line.size() <= 80);
}

}  // namespace
}  // namespace rescue::cli
