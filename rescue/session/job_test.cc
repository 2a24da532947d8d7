#include "rescue/session/job.h"

#include <catch2/catch_test_macros.hpp>

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

TEST_CASE("JobsSurviveTruncationAndMutation") {
  int read = 0;
  const auto decode = [&](ByteView bytes) { read += ParseJob(AsText(bytes)).has_value() ? 1 : 0; };
  testing::ForEveryTruncation(AsBytes(kWhole), decode);
  testing::ForRandomMutations(AsBytes(kWhole), 3, 10000, decode);
  CHECK(read > 0);
}

}  // namespace
}  // namespace rescue::session
