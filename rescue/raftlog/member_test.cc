#include "rescue/raftlog/member.h"

#include <catch2/catch_test_macros.hpp>

#include "rescue/raftlog/json.h"
#include "rescue/raftlog/log_fixture.h"

namespace rescue::raftlog {
namespace {

using rescue::testing::ForEveryTruncation;
using rescue::testing::ForRandomMutations;

const Member kFull{18212796046019911216U,
                   "cp-1",
                   {"http://127.0.0.1:2380", "https://[::1]:2380"},
                   {"http://127.0.0.1:2379"},
                   true};

TEST_CASE("MemberJsonHasGosKeyOrder") {
  CHECK(WriteMemberJson(kFull) ==
        R"({"id":18212796046019911216,"peerURLs":["http://127.0.0.1:2380","https://[::1]:2380"],)"
        R"("isLearner":true,"name":"cp-1","clientURLs":["http://127.0.0.1:2379"]})");
  CHECK(WriteMemberJson({1, "", {"a"}, {}, false}) == R"({"id":1,"peerURLs":["a"]})");
  CHECK(WriteMemberContext({1, "", {}, {}, false}, true) ==
        R"({"id":1,"peerURLs":null,"isPromote":true})");
  CHECK(WriteMemberContext({1, "", {"a"}, {}, true}, false) ==
        R"({"id":1,"peerURLs":["a"],"isLearner":true,"isPromote":false})");
}

TEST_CASE("AttributesHaveGosKeyOrder") {
  CHECK(WriteRaftAttributes({{"a"}, true}) == R"({"peerURLs":["a"],"isLearner":true})");
  CHECK(WriteMemberAttributes({"n", {"b"}}) == R"({"name":"n","clientURLs":["b"]})");
  CHECK(WriteMemberAttributes({"", {"b"}}) == R"({"clientURLs":["b"]})");
  CHECK(WriteMemberAttributes({}) == "{}");
  CHECK(ParseRaftAttributes(R"({"peerURLs":["a"],"isLearner":true})") ==
        RaftAttributes{{"a"}, true});
  CHECK(ParseMemberAttributes(R"({"name":"n","clientURLs":["b"]})") ==
        MemberAttributes{"n", {"b"}});
}

TEST_CASE("MemberJsonRoundTrips") {
  CHECK(ParseMemberJson(WriteMemberJson(kFull)) == kFull);
  CHECK(ParseMemberContext(WriteMemberContext(kFull, true)) == MemberContext{kFull, true});
  CHECK(ParseMemberJson(R"({"id":2,"peerURLs":null,"later":{"x":[1,{"y":2}]}})") ==
        Member{2, "", {}, {}, false});
}

TEST_CASE("IdentifiersAreExactUpToTheLastBit") {
  for (const std::uint64_t id :
       {std::uint64_t{0}, (std::uint64_t{1} << 53) + 1, ~std::uint64_t{0}}) {
    CHECK(ParseMemberJson(WriteMemberJson({id, "", {}, {}, false}))->id == id);
  }
  CHECK_FALSE(ParseMemberJson(R"({"id":18446744073709551616})"));
  CHECK_FALSE(ParseMemberJson(R"({"id":-1})"));
  CHECK_FALSE(ParseMemberJson(R"({"id":1.0})"));
  CHECK_FALSE(ParseMemberJson(R"({"id":"1"})"));
}

TEST_CASE("StringsAreEscapedAsGoDoes") {
  CHECK(QuoteJson("<a href=\"x\">&\\\n\r\t\x01") ==
        R"("\u003ca href=\"x\"\u003e\u0026\\\n\r\t\u0001")");
  CHECK(QuoteJson("\u00fc\u2028\u2029\U0001f600\x7f") == "\"\u00fc\\u2028\\u2029\U0001f600\x7f\"");
  CHECK(QuoteJson("a\xff\xc3") == R"("a\ufffd\ufffd")");
  CHECK(QuoteJson("\xed\xa0\x80") == R"("\ufffd\ufffd\ufffd")");
  CHECK(QuoteJson("\xc0\xaf\xf4\x90\x80\x80") == R"("\ufffd\ufffd\ufffd\ufffd\ufffd\ufffd")");
}

TEST_CASE("WhatIsNoMemberIsRefused") {
  for (const char* json :
       {"", "null", "[]", "[1]", "{", "{}x", "1", R"({"id":1,})", R"({"peerURLs":"a"})",
        R"({"peerURLs":[1]})", R"({"peerURLs":[["a"]]})", R"({"peerURLs":{"a":"b"}})",
        R"({"name":1})", R"({"isLearner":1})", R"({"id":[1]})"}) {
    INFO(json);
    const auto member = ParseMemberJson(json);
    REQUIRE_FALSE(member);
    CHECK(member.error().code == "member-json-malformed");
  }
}

TEST_CASE("MemberJsonIsBounded") {
  const auto nested = [](std::size_t depth) {
    return R"({"x":)" + std::string(depth, '[') + "1" + std::string(depth, ']') + "}";
  };
  CHECK(ParseMemberJson(nested(15)));
  CHECK_FALSE(ParseMemberJson(nested(16)));
  CHECK_FALSE(ParseMemberJson(nested(200000)));
  std::string urls;
  for (int i = 0; i < 1025; ++i) urls += R"("u",)";
  CHECK_FALSE(ParseMemberJson(R"({"peerURLs":[)" + urls + R"("u"]})"));
  CHECK_FALSE(ParseMemberJson(R"({"name":")" + std::string(1 << 20, 'n') + "\"}"));
}

TEST_CASE("MemberIdsHaveOneSpelling") {
  CHECK(FormatMemberId(0x36472bd814ab6cb) == "36472bd814ab6cb");
  CHECK(ParseMemberId("36472bd814ab6cb") == 0x36472bd814ab6cb);
  for (const char* text : {"", "036472bd814ab6cb", "36472BD", "-1", "1ffffffffffffffff", "1 "}) {
    CHECK_FALSE(ParseMemberId(text));
  }
}

TEST_CASE("MemberJsonSurvivesHostileBytes") {
  const std::string json = WriteMemberContext(kFull, true);
  const auto decode = [](ByteView bytes) {
    const auto context = ParseMemberContext(AsText(bytes));
    // Whatever is accepted can be written and read again.
    if (context) {
      CHECK(ParseMemberContext(WriteMemberContext(context->member, context->is_promote)) ==
            context);
    }
  };
  std::size_t accepted = 0;
  ForEveryTruncation(AsBytes(json), [&](ByteView bytes) {
    decode(bytes);
    if (ParseMemberContext(AsText(bytes))) ++accepted;
  });
  CHECK(accepted == 1);  // the whole only
  ForRandomMutations(AsBytes(json), 2, 10000, decode);
}

}  // namespace
}  // namespace rescue::raftlog
