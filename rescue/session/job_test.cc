#include "rescue/session/job.h"

#include <catch2/catch_test_macros.hpp>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "rescue/disk/header.h"
#include "tests/support/fixtures.h"

namespace rescue::session {
namespace {

constexpr std::string_view kWhole = R"({
  "version": 1, "strategy": "force-new-cluster", "accept-cut-tail": true,
  "disk": {"luks-uuid": "78587C41-ed99-4337-8022-dc28be882f72"},
  "consent": {"luks-uuid": "78587C41-ED99-4337-8022-dc28be882f72"},
  "secret": {"from": "credential"}})";

TEST_CASE("AWholeJobIsRead") {
  const auto job = ParseJob(kWhole);
  REQUIRE(job);
  CHECK(job->wishes.accept_cut_tail);
  CHECK(job->disk == "UUID=78587c41-ed99-4337-8022-dc28be882f72");
  CHECK(job->consent_luks_uuid == "78587c41-ed99-4337-8022-dc28be882f72");
}

TEST_CASE("AShortJobFindsTheDiskItself") {
  const auto job = ParseJob(R"({"version":1,"consent":{"luks-uuid":"abc"}})");
  REQUIRE(job);
  CHECK(job->disk.empty());
  CHECK(job->wishes.strategy == etcd::Strategy::kForceNewCluster);
}

TEST_CASE("AJobMaySayWhereTheLogLies") {
  const auto job =
      ParseJob(R"({"version":1,"consent":{"luks-uuid":"abc"},"wal-dir":"/var/lib/etcd-wal"})");
  REQUIRE(job);
  CHECK(job->log_directory == "/var/lib/etcd-wal");
  CHECK(ParseJob(R"({"version":1,"consent":{"luks-uuid":"abc"}})")->log_directory.empty());
  CHECK_FALSE(ParseJob(R"({"version":1,"consent":{"luks-uuid":"abc"},"wal-dir":1})"));
}

TEST_CASE("AJobSaysWhichDiskAndWhatItsHeaderMaySay") {
  const auto job = ParseJob(R"({"version":1,"consent":{"uuid":"0dF-1"},"disk":{"serial":"Vol-1"},
    "profile":"luks2","accept-header":["kdf-cost","foreign-field"]})");
  REQUIRE(job);
  CHECK(job->disk == "SERIAL=Vol-1");
  CHECK(job->consent_luks_uuid == "0dF-1");
  CHECK(job->policy.profile == disk::Profile::kLuks2);
  CHECK(job->policy.accepted == std::set<std::string>{"kdf-cost", "foreign-field"});
  CHECK(ParseJob(R"({"version":1,"consent":{"uuid":"a"},"disk":{"label":"State"}})")->disk ==
        "LABEL=State");
}

TEST_CASE("AJobMayRestoreFromABackup") {
  const auto job = ParseJob(R"({"version":1,"strategy":"restore","consent":{"luks-uuid":"abc"},
    "backup":{"from":"LABEL=BACKUP:/etcd","to-revision":12,"discard-old":true}})");
  REQUIRE(job);
  CHECK(job->backup.from == "LABEL=BACKUP:/etcd");
  CHECK(job->backup.to_revision == 12U);
  CHECK(job->backup.discard_old);
  CHECK_FALSE(job->backup.accept_hash_mismatch);
  for (const char* bad :
       {R"("backup":{})", R"("backup":{"from":1})", R"("backup":{"from":"a","to-revision":-1})",
        R"("backup":{"from":"a","form":"b"})", R"("backup":"a")"}) {
    CAPTURE(bad);
    CHECK_FALSE(ParseJob(R"({"version":1,"strategy":"restore","consent":{"luks-uuid":"abc"},)" +
                         std::string(bad) + "}"));
  }
  CHECK_FALSE(ParseJob(R"({"version":1,"consent":{"luks-uuid":"abc"},"backup":{"from":"/etcd"}})"));
}

TEST_CASE("WhatIsNotUnderstoodIsRefused") {
  const std::string_view bad[] = {
      "",
      "[]",
      "{",
      R"({"version":2,"consent":{"luks-uuid":"a"}})",
      R"({"consent":{"luks-uuid":"a"}})",
      R"({"version":1})",
      R"({"version":1,"consent":{}})",
      R"({"version":1,"consent":{"luks-uuid":""}})",
      R"({"version":1,"consent":{"luks-uuid":"a"},"strategie":"force-new-cluster"})",
      R"({"version":1,"consent":{"luks-uuid":"a","extra":1}})",
      R"({"version":1,"consent":{"luks-uuid":"a"},"strategy":"pray"})",
      R"({"version":1,"consent":{"luks-uuid":"a"},"secret":{"from":"thin air"}})",
      R"({"version":1,"consent":{"luks-uuid":"a"},"secret":"hunter2"})",
      R"({"version":1,"consent":{"luks-uuid":"a"},"disk":{"luks-uuid":"a","path":"/dev/vdb"}})",
      R"({"version":1,"consent":{"luks-uuid":"a"},"accept-cut-tail":"yes"})",
      R"({"version":1,"consent":{"luks-uuid":"a","uuid":"a"}})",
      R"({"version":1,"consent":{"luks-uuid":"a"},"disk":{"label":"a","serial":"b"}})",
      R"({"version":1,"consent":{"luks-uuid":"a"},"profile":"luks1"})",
      R"({"version":1,"consent":{"luks-uuid":"a"},"accept-header":"kdf-cost"})",
      R"({"version":1,"consent":{"luks-uuid":"a"},"accept-header":["null-cipher-segment"]})",
  };
  for (const auto text : bad) {
    INFO(text);
    const auto job = ParseJob(text);
    REQUIRE_FALSE(job);
    CHECK(job.error().kind == ErrorKind::kUsage);
    CHECK_FALSE(job.error().message.empty());
  }
}

TEST_CASE("AJobSaysWhereItsSecretComesFrom") {
  const auto from = [](std::string_view word) {
    return ParseJob(R"({"version":1,"consent":{"luks-uuid":"a"},"secret":{"from":")" +
                    std::string(word) + R"("}})");
  };
  CHECK(from("tpm")->secret_from == "tpm");
  CHECK(from("prompt")->secret_from == "prompt");
  CHECK_FALSE(from("prompt")->use_token);
  CHECK(from("token")->use_token);
  CHECK(ParseJob(kWhole)->secret_from == "credential");
  CHECK_FALSE(from("-"));
  CHECK_FALSE(from("/etc/shadow"));
}

TEST_CASE("AJobMaySealInsteadOfRescue") {
  const auto job =
      ParseJob(R"({"version":1,"seal":{"to":"nv","pcr7":true,"disk-key":"ABC","replace":true}})");
  REQUIRE(job);
  REQUIRE(job->seal);
  CHECK(*job->seal == SealJob{SealJob::To::kNv, "abc", true, false, true});
  CHECK_FALSE(ParseJob(kWhole)->seal);
  for (const std::string_view bad :
       {R"({"version":1,"seal":{}})", R"({"version":1,"seal":{"to":"paper"}})",
        R"({"version":1,"seal":"nv"})", R"({"version":1,"seal":{"to":"nv","pin":"1234"}})",
        R"({"version":1,"seal":{"to":"nv"},"consent":{"luks-uuid":"a"}})",
        R"({"version":1,"seal":{"to":"nv"},"secret":{"from":"token"}})",
        R"({"version":1,"seal":{"to":"nv"},"secret":{"from":"tpm"}})"}) {
    INFO(bad);
    CHECK_FALSE(ParseJob(bad));
  }
}

nlohmann::json Schema() {
  std::ifstream file(testing::FixturePath("../../rescue/session/job.schema.json"));
  return nlohmann::json::parse(file);
}

// Every field below `node`'s properties, by its full name; references are followed.
void CollectFields(const nlohmann::json& schema, const nlohmann::json& node,
                   const std::string& where, std::set<std::string>& into) {
  if (node.contains("$ref")) {
    const auto target = node["$ref"].get<std::string>().substr(1);
    CollectFields(schema, schema.at(nlohmann::json::json_pointer(target)), where, into);
  }
  if (!node.contains("properties")) return;
  CHECK(node["additionalProperties"] == false);
  for (const auto& [name, value] : node["properties"].items()) {
    std::string path = where;
    if (!path.empty()) path += '.';
    path += name;
    CollectFields(schema, value, path, into);
    into.insert(std::move(path));
  }
}

TEST_CASE("TheSchemaHasEveryFieldOfAJobAndNoOther") {
  const auto schema = Schema();
  std::set<std::string> fields;
  CollectFields(schema, schema, "", fields);
  const auto known = JobFields();
  CHECK(fields == std::set<std::string>(known.begin(), known.end()));
  CHECK(known.size() == fields.size());
}

TEST_CASE("TheSchemaNamesEveryHeaderRefusalThatCanBeAccepted") {
  const auto schema = Schema();
  const auto& codes = schema["properties"]["accept-header"]["items"]["enum"];
  const auto refused = disk::CheckAcceptable("nothing");
  REQUIRE_FALSE(refused);
  const std::string& hint = refused.error().hint;
  std::size_t listed = 0;
  for (auto at = hint.find("header:"); at != std::string::npos; at = hint.find("header:", at + 1)) {
    ++listed;
  }
  CHECK(listed == codes.size());
  for (const auto& code : codes) CHECK(disk::CheckAcceptable(code.get<std::string>()));
}

TEST_CASE("AJobSaysWhatHappensAtItsEnd") {
  const auto job = ParseJob(R"({"version":1,"consent":{"uuid":"a"},"at-end":"reboot",
    "at-failure":"power-off","secret":{"from":"token"},
    "report":{"console":false,"volume":false,"disk":{"label":"USB"},"path":"r/one"}})");
  REQUIRE(job);
  CHECK(job->at_end == AtEnd::kReboot);
  CHECK(job->at_failure == AtEnd::kPowerOff);
  CHECK(job->use_token);
  CHECK(job->report == ReportWish{false, false, "LABEL=USB", "r/one"});
  const auto plain = ParseJob(kWhole);
  CHECK_FALSE(plain->at_end);
  CHECK_FALSE(plain->at_failure);
  CHECK(plain->report == ReportWish{});
  CHECK_FALSE(plain->use_token);
}

// Each is a good job with one thing changed; the error says where.
TEST_CASE("AnErrorNamesTheExactField") {
  const std::map<std::string, std::string> where = {
      {R"({"version":1,"consent":{"uuid":"a"},"stratgey":"restore"})", "stratgey: unknown field"},
      {R"({"version":1,"consent":{"uuid":"a"},"report":{"disk":{"lable":"a"}}})",
       "report.disk.lable: unknown field"},
      {R"({"version":1,"consent":{"uuid":"a"},"report":{"disk":{"label":7}}})",
       "report.disk.label: not a text"},
      {R"({"version":1,"consent":{"uuid":"a"},"report":{"disk":{}}})",
       "report.disk: names no disk"},
      {R"({"version":1,"consent":{"uuid":"a"},"report":{"path":"x"}})", "report.path: "},
      {R"({"version":1,"consent":{"uuid":"a"},"at-end":"explode"})", "at-end: "},
      {R"({"version":1,"consent":{"uuid":"a"},"peer-urls":["a",""]})", "peer-urls[1]: empty"},
      {R"({"version":1,"consent":{"uuid":"a"},"strategy":"pray"})", "strategy: "},
      {R"({"version":1,"consent":{"uuid":"a"},"secret":{"from":"thin air"}})", "secret.from: "},
      {R"({"version":1,"seal":{}})", "seal.to: missing"},
      {R"({"version":1,"seal":{"to":"nv"},"report":{"disk":{"label":"a"}}})", "report: "},
      {R"({"version":1})", "consent.luks-uuid: missing"},
      {R"({"version":"1","consent":{"uuid":"a"}})", "version: not 1"},
      {"{\"version\":1,\n \"consent\" {}}", "line 2, column 12: this is not JSON"},
      {R"({"version":1,"consent":{"uuid":"a"},"consent":{"uuid":"b"}})",
       "the field consent is there twice"},
      {"{\"version\":1,\"x\":" + std::string(100, '[') + std::string(100, ']') + "}",
       "it is nested more than 32 deep"},
  };
  for (const auto& [text, words] : where) {
    INFO(text);
    const auto job = ParseJob(text);
    REQUIRE_FALSE(job);
    CHECK(job.error().code == "bad-job");
    INFO(job.error().message);
    CHECK(job.error().message.find("read the job: " + words) != std::string::npos);
  }
}

TEST_CASE("JobsSurviveTruncationAndMutation") {
  int read = 0;
  const auto decode = [&](ByteView bytes) { read += ParseJob(AsText(bytes)).has_value() ? 1 : 0; };
  testing::ForEveryTruncation(AsBytes(kWhole), decode);
  testing::ForRandomMutations(AsBytes(kWhole), 3, 10000, decode);
  CHECK(read > 0);
}

}  // namespace
}  // namespace rescue::session
