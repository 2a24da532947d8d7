#include "rescue/session/unlock_cache.h"

#include <algorithm>
#include <catch2/catch_test_macros.hpp>

namespace rescue::session {
namespace {

disk::Header HeaderOf(const char* uuid, unsigned char digest) {
  disk::Header header;
  header.uuid = uuid;
  header.area_digest.fill(std::byte{digest});
  return header;
}

disk::Unlocked UnlockedWith(const char* key) {
  return {SecretBytes::CopyOf(AsBytes(std::string_view(key))), 1, 2};
}

TEST_CASE("AKeyIsFoundForItsHeaderOnly") {
  UnlockCache cache;
  cache.Keep(HeaderOf("a", 1), UnlockedWith("key of a"));
  const auto found = cache.Find(HeaderOf("a", 1));
  REQUIRE(found);
  CHECK(std::ranges::equal(found->volume_key.Reveal(), AsBytes(std::string_view("key of a"))));
  CHECK(found->key_slot == 1);
  CHECK_FALSE(cache.Find(HeaderOf("b", 1)));
  // The header was rewritten under the same UUID.
  CHECK_FALSE(cache.Find(HeaderOf("a", 2)));
}

TEST_CASE("ACacheThatWasClearedHoldsNothing") {
  UnlockCache cache;
  cache.Keep(HeaderOf("a", 1), UnlockedWith("key of a"));
  cache.Clear();
  CHECK(cache.empty());
  CHECK_FALSE(cache.Find(HeaderOf("a", 1)));
}

}  // namespace
}  // namespace rescue::session
