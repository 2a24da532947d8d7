#include "rescue/rpc/message.h"

#include <catch2/catch_test_macros.hpp>
#include <utility>

namespace rescue::rpc {
namespace {

using nlohmann::json;

tl::expected<Call, BadCall> Read(std::string_view text) {
  return ReadCall(Record{SecretBytes::CopyOf(AsBytes(text)), false});
}

json Sent(const std::string& record) {
  REQUIRE(record.size() > 2);
  CHECK(record.front() == '\x1e');
  CHECK(record.find('\n') == record.size() - 1);
  return json::parse(record.substr(1));
}

TEST_CASE("ACallIsRead") {
  const auto call = Read(R"({"jsonrpc":"2.0","id":"7","method":"plan","params":{"quick":true}})");
  REQUIRE(call);
  CHECK(call->id == "7");
  CHECK(call->method == "plan");
  CHECK(call->params["quick"] == true);
  CHECK_FALSE(call->is_notification);
  CHECK_FALSE(call->secret);
  CHECK(Read(R"({"jsonrpc":"2.0","method":"cancel"})")->is_notification);
}

TEST_CASE("ASecretComesBesideTheParams") {
  const auto call =
      Read(R"({"jsonrpc":"2.0","id":1,"method":"unlock","params":{"secret":"hunter2"}})");
  REQUIRE(call);
  REQUIRE(call->secret);
  CHECK(AsText(std::as_const(*call->secret).Reveal()) == "hunter2");
  CHECK(call->params["secret"] == 0);
}

TEST_CASE("WhatIsNoCallIsAnsweredWithItsReason") {
  struct Case {
    const char* text;
    int code;
    json id;
    const char* words;
  };
  const Case cases[] = {
      {"", kParseError, nullptr, "not JSON"},
      {R"({"jsonrpc":"2.0","id":1,"method")", kParseError, nullptr, "line 1, column"},
      {R"([{"jsonrpc":"2.0","id":1,"method":"status"}])", kInvalidRequest, nullptr, "batch"},
      {"7", kInvalidRequest, nullptr, "not an object"},
      {R"({"id":1,"method":"status"})", kInvalidRequest, 1, "jsonrpc"},
      {R"({"jsonrpc":"2.0","id":1})", kInvalidRequest, 1, "method"},
      {R"({"jsonrpc":"2.0","id":1,"method":"status","extra":1})", kInvalidRequest, 1,
       "extra: unknown field"},
      {R"({"jsonrpc":"2.0","id":1,"method":"status","params":[1]})", kInvalidRequest, 1, "params"},
      {R"({"jsonrpc":"2.0","id":1.5,"method":"status"})", kInvalidRequest, nullptr, "id"},
      {R"({"jsonrpc":"2.0","id":1,"id":2,"method":"status"})", kParseError, nullptr, "twice"},
      {R"({"jsonrpc":"2.0","id":1,"method":"unlock","params":{"a":{"secret":"hunter2"}}})",
       kInvalidParams, 1, "only the parameter of unlock"},
      {R"({"jsonrpc":"2.0","id":1,"method":"unlock","secret":"hunter2"})", kInvalidRequest, 1,
       "secret: unknown field"},
  };
  for (const auto& row : cases) {
    INFO(row.text);
    const auto call = Read(row.text);
    REQUIRE_FALSE(call);
    CHECK(call.error().error.code == row.code);
    CHECK(call.error().id == row.id);
    const auto record = ErrorRecord(call.error().id, call.error().error);
    INFO(record);
    CHECK(record.find(row.words) != std::string::npos);
    CHECK(record.find("hunter2") == std::string::npos);
    CHECK(Sent(record)["error"]["data"]["exit"] == 2);
  }
}

TEST_CASE("ATooLongRecordIsRefusedByName") {
  const auto call = ReadCall(Record{{}, true});
  REQUIRE_FALSE(call);
  CHECK(call.error().error.error.code == "record-too-long");
}

TEST_CASE("WhatIsSentIsOneLineOfAscii") {
  const auto message = Sent(ResultRecord("a", {{"text", "line\nbreak \x1e \xc3\xa9 \xff"}}));
  CHECK(message["jsonrpc"] == "2.0");
  CHECK(message["id"] == "a");
  const auto record = NotificationRecord("progress", {{"text", "\xc3\xa9\n"}});
  for (const char c : record.substr(1, record.size() - 2)) {
    CHECK((c >= ' ' && c < 0x7f));
  }
}

}  // namespace
}  // namespace rescue::rpc
