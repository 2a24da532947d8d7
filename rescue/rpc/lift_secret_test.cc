#include "rescue/rpc/lift_secret.h"

#include <catch2/catch_test_macros.hpp>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "tests/support/fixtures.h"

namespace rescue::rpc {
namespace {

struct Done {
  std::string text;    // what is left for the parser
  std::string secret;  // "" without one
  std::size_t count = 0;
};

Done Lift(std::string_view text) {
  SecretBytes message = SecretBytes::CopyOf(AsBytes(text));
  const Lifted lifted = LiftSecret(message);
  Done done;
  done.text = AsText(std::as_const(message).Reveal());
  if (lifted.secret) done.secret = AsText(std::as_const(*lifted.secret).Reveal());
  done.count = lifted.count;
  return done;
}

TEST_CASE("ASecretTextLeavesTheMessageAndLosesItsEscapes") {
  const auto done = Lift(R"({"params": {"secret" : "a\"b\\c\n\u00e9\ud83d\ude00\/", "x": 1}})");
  CHECK(done.secret == "a\"b\\c\n\xc3\xa9\xf0\x9f\x98\x80/");
  CHECK(done.count == 1);
  const auto left = nlohmann::json::parse(done.text);
  CHECK(left == nlohmann::json::parse(R"({"params": {"secret": 0, "x": 1}})"));
}

TEST_CASE("ASecretObjectLeavesItAsItIs") {
  const auto done = Lift(R"({"params":{"secret":{"key":"a}\"{","salt":"b"},"x":1}})");
  CHECK(done.secret == R"({"key":"a}\"{","salt":"b"})");
  CHECK(nlohmann::json::parse(done.text)["params"]["x"] == 1);
}

TEST_CASE("WhereASecretComesFromIsNoSecret") {
  const std::string text = R"({"params":{"secret": { "from":"tpm"}}})";
  const auto done = Lift(text);
  CHECK(done.text == text);
  CHECK(done.count == 0);
  // But what hides behind it is one.
  CHECK(Lift(R"({"secret":{"from":"tpm","secret":"hunter2"}})").secret == "hunter2");
}

TEST_CASE("EverySecretIsTakenOutAndTheFirstIsKept") {
  const auto done = Lift(R"({"secret":"one","a":[{"secret":"two"}]})");
  CHECK(done.secret == "one");
  CHECK(done.count == 2);
  CHECK(done.text.find("two") == std::string::npos);
}

TEST_CASE("AValueOrATextThatSaysSecretIsNoField") {
  const std::string text = R"({"method":"secret","a":["secret","b"],"c":"\"secret\":\"x\""})";
  const auto done = Lift(text);
  CHECK(done.count == 0);
  CHECK(done.text == text);
}

TEST_CASE("AMessageThatBreaksOffGivesNothingAway") {
  for (const std::string_view text :
       {R"({"params":{"secret":"hunter2)", R"({"params":{"secret":"hunter2\)",
        R"({"params":{"secret":{"key":"hunter2")", R"({"secret":"hunter2"]]})"}) {
    INFO(text);
    CHECK(Lift(text).text.find("hunter2") == std::string::npos);
  }
  CHECK(Lift(R"({"secret":)").count == 0);
  CHECK(Lift(R"({"secret":"")").count == 1);
  CHECK(Lift("").count == 0);
}

TEST_CASE("NoTruncationOrMutationIsTooMuch") {
  const std::string text = R"({"params":{"secret":{"key":"a\"b","salt":"\u0041"},"secret":"x\\"}})";
  std::size_t seen = 0;
  const auto lift = [&](ByteView bytes) { seen += Lift(AsText(bytes)).count; };
  testing::ForEveryTruncation(AsBytes(text), lift);
  testing::ForRandomMutations(AsBytes(text), 7, 3000, lift);
  CHECK(seen > 0);
}

}  // namespace
}  // namespace rescue::rpc
