#include "rescue/secret/image_key.h"

#include <catch2/catch_test_macros.hpp>

#include "tests/support/fixtures.h"

namespace rescue::secret {
namespace {

using rescue::testing::FixturePath;

// What PCR 11 was when the fixtures' image ran.
constexpr std::string_view kPcr11 =
    "80e6d6d7cf5393866994addc2840e0377143a7ba7693ed34e616f070110e3442";

std::string Fixture(std::string_view name) {
  return std::string(AsText(rescue::testing::ReadFileBytes(FixturePath(name))));
}

TEST_CASE("ARealImagesKeyIsTheOneThatItsSignaturesName") {
  const auto key = ReadImageKey(FixturePath("image/pcr-public-key.pem").string());
  REQUIRE(key);
  const auto signatures = ReadPcrSignatures(FixturePath("image/pcr-signature.json").string());
  REQUIRE(signatures);
  CHECK(signatures->size() == 4);
  for (const auto& signature : *signatures) CHECK(signature.signer == key->fingerprint);
  CHECK(key->modulus.size() == 256);
  CHECK(key->exponent == 65537);
}

TEST_CASE("ARealImagesFirstSignatureIsForThePhaseInWhichTheAgentRuns") {
  const auto signatures = ParsePcrSignatures(Fixture("image/pcr-signature.json"));
  REQUIRE(signatures);
  PcrValue value{};
  const Bytes bytes = *ParseHex(kPcr11);
  std::copy(bytes.begin(), bytes.end(), value.begin());
  CHECK(signatures->front().policy == PcrPolicy({{kPcrImage, value}}));
}

TEST_CASE("WhatIsNoImageKeyIsRefused") {
  const std::string good = Fixture("image/pcr-public-key.pem");
  CHECK(ParseImageKey(good));
  // An elliptic curve key, which systemd's PCR signatures do not use.
  constexpr std::string_view kEc = R"(-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEaxfR8uEsQkf4vOblY6RA8ncDfYEt
6zOg9KE5RdiYwpZP40Li/hp/m47n60p8D54WK84zV2sxXs7LtkBoN79R9Q==
-----END PUBLIC KEY-----
)";
  for (const std::string& bad : {std::string(), std::string("key"), std::string(kEc),
                                 good.substr(60), std::string(100000, 'a')}) {
    const auto key = ParseImageKey(bad);
    REQUIRE_FALSE(key);
    CHECK(key.error().code == "bad-image-key");
  }
}

TEST_CASE("SignaturesSurviveTruncationAndMutation") {
  const std::string good = Fixture("image/pcr-signature.json");
  int read = 0;
  const auto decode = [&](ByteView bytes) {
    const auto signatures = ParsePcrSignatures(AsText(bytes));
    read += signatures.has_value() ? 1 : 0;
    if (!signatures) CHECK(signatures.error().code == "bad-image-signature");
  };
  rescue::testing::ForEveryTruncation(AsBytes(good), decode);
  rescue::testing::ForRandomMutations(AsBytes(good), 5, 2000, decode);
  CHECK(read > 0);
}

TEST_CASE("WithoutAnImageItSaysWhatIsNeeded") {
  const auto key = ReadImageKey("/no/such/key");
  REQUIRE_FALSE(key);
  CHECK(key.error().code == "no-image-key");
  CHECK(key.error().message.find("/no/such/key") != std::string::npos);
}

}  // namespace
}  // namespace rescue::secret
