#include "rescue/session/boot_safety.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

namespace rescue::session {
namespace {

using Answer = BootSafety::Answer;
using Basis = BootSafety::Basis;
using Catch::Matchers::ContainsSubstring;

// A disk that a node boots from.
struct Good {
  disk::Header header;
  node::Layout layout;
  node::NodeState state;
  BootQuestion question;

  Good() {
    disk::KeySlot slot;
    slot.type = "luks2";
    slot.key_size = 96;
    slot.splitter = "luks1";
    slot.splitter_hash = "sha256";
    slot.stripes = 4000;
    slot.area_type = "raw";
    slot.area_cipher = "aes-xts-plain64";
    slot.area_key_size = 64;
    slot.derivation = {"argon2id", 4, 65536, 4, "", "AAAA"};
    header.key_slots = {slot};
    disk::Segment segment;
    segment.type = "crypt";
    segment.sector_size = 4096;
    segment.iv_tweak = "0";
    segment.cipher = "aes-xts-plain64";
    segment.integrity = "hmac(sha256)";
    segment.journal_encryption = "none";
    segment.journal_integrity = "none";
    header.segments = {segment};
    disk::Digest digest;
    digest.type = "pbkdf2";
    digest.hash = "sha256";
    digest.salt = "AAAA";
    digest.digest = "AAAA";
    header.digests = {digest};
    header.tokens = {{0, std::string(disk::kStateTokenType), {}, true}};
    layout.kind = node::LayoutKind::kConstellation;
    state.present = true;
    question.header = &header;
    question.basis = Basis::kVolume;
    question.file_system = "ext4";
    question.layout = &layout;
    question.node_state = &state;
  }
  Good(const Good&) = delete;
  Good& operator=(const Good&) = delete;

  std::string Why() const {
    const BootSafety safety = JudgeBoot(question);
    CHECK((safety.answer == Answer::kNo) == (safety.because.size() == 1));
    return safety.because.empty() ? "" : safety.because.front();
  }
};

TEST_CASE("ADiskThatMeetsTheNodesConditionsIsSafeToBoot") {
  Good good;
  CHECK(JudgeBoot(good.question) == BootSafety{Answer::kYes, Basis::kVolume, {}});
  good.question.basis = Basis::kHeader;
  good.question.file_system.clear();
  good.question.layout = nullptr;
  good.question.node_state = nullptr;
  CHECK(JudgeBoot(good.question) == BootSafety{Answer::kYes, Basis::kHeader, {}});
}

TEST_CASE("EachConditionAloneMakesItUnsafe") {
  Good good;
  SECTION("token") {
    good.header.tokens[0].initialized = false;
    CHECK_THAT(good.Why(), ContainsSubstring("format it"));
  }
  SECTION("no token, but Constellation's layout") {
    good.header.tokens.clear();
    CHECK_THAT(good.Why(), ContainsSubstring("token 0 is missing"));
  }
  SECTION("header") {
    good.header.foreign_fields = {"config.surprise"};
    CHECK_THAT(good.Why(), ContainsSubstring("config.surprise"));
  }
  SECTION("file system") {
    good.question.file_system.clear();
    CHECK_THAT(good.Why(), ContainsSubstring("new, empty file system"));
  }
  SECTION("another file system") {
    good.question.file_system = "xfs";
    CHECK_THAT(good.Why(), ContainsSubstring("there is xfs"));
  }
  SECTION("layout") {
    good.layout.kind = node::LayoutKind::kKubeadm;
    CHECK_THAT(good.Why(), ContainsSubstring("layout kubeadm"));
  }
  SECTION("node state") {
    good.state.problems = {"constellation/node_state.json is missing"};
    good.state.stops_boot = true;
    CHECK_THAT(good.Why(), ContainsSubstring("node_state.json"));
  }
  SECTION("unfinished apply") {
    good.question.unfinished_journal = "var/lib/etcd.etcd-rescue";
    CHECK_THAT(good.Why(), ContainsSubstring("interrupted"));
  }
}

TEST_CASE("AWorkersDiskBootsAllTheSame") {
  Good good;
  good.state.problems = {"says that this node is \"Worker\""};
  CHECK(JudgeBoot(good.question).answer == Answer::kYes);
}

TEST_CASE("OtherNodesRulesAreNotKnown") {
  CHECK(JudgeBoot({}).answer == Answer::kNotJudged);  // not encrypted
  Good good;
  good.header.tokens = {{0, "systemd-tpm2", {0}, std::nullopt}};
  good.layout.kind = node::LayoutKind::kKubeadm;
  CHECK(JudgeBoot(good.question).answer == Answer::kNotJudged);
  // Before it is opened it may still be Constellation's, and then it would be lost.
  good.question.basis = Basis::kHeader;
  good.question.layout = nullptr;
  CHECK(JudgeBoot(good.question).answer == Answer::kNo);
  good.question.profile = disk::Profile::kLuks2;
  CHECK(JudgeBoot(good.question).answer == Answer::kNotJudged);
}

}  // namespace
}  // namespace rescue::session
