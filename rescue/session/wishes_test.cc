#include "rescue/session/wishes.h"

#include <catch2/catch_test_macros.hpp>

namespace rescue::session {
namespace {

TEST_CASE("PeerUrlsAreTakenWithCommasAndBlanks") {
  const auto urls = ParsePeerUrls(" https://10.0.0.5:2380,https://10.0.0.6:2380 ");
  REQUIRE(urls);
  CHECK(JoinPeerUrls(*urls) == "https://10.0.0.5:2380, https://10.0.0.6:2380");
  CHECK(ParsePeerUrls("")->empty());
}

TEST_CASE("AUrlThatNobodyElseCanReachIsRefused") {
  const auto urls = ParsePeerUrls("http://localhost:2380");
  REQUIRE_FALSE(urls);
  CHECK(urls.error().code == "bad-peer-url");
  CHECK(ParsePeerUrls("10.0.0.5").error().code == "bad-peer-url");
}

TEST_CASE("ABumpIsAWholeNumber") {
  CHECK(ParseBump("").value() == 0);
  CHECK(ParseBump("1000000000").value() == 1000000000);
  for (const auto* text : {"-1", "1e9", "12 ", "99999999999999999999"}) {
    CHECK(ParseBump(text).error().code == "bad-bump");
  }
}

}  // namespace
}  // namespace rescue::session
