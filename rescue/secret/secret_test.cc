#include "rescue/secret/secret.h"

#include <fmt/format.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <string>

#include "rescue/secret/hkdf_sha256_32.h"
#include "tests/support/fixtures.h"

namespace rescue::secret {
namespace {

using Catch::Matchers::ContainsSubstring;

SecretBytes Text(std::string_view text) { return SecretBytes::CopyOf(AsBytes(text)); }
SecretBytes FromHex(std::string_view hex) { return SecretBytes::CopyOf(*ParseHex(hex)); }
std::string Hex(const SecretBytes& bytes) { return ToHex(bytes.Reveal()); }

// A made-up master secret and what Constellation's derivation makes of it, computed with Python's
// hmac module for the disk images of the test fixtures.
constexpr std::string_view kKeyHex =
    "71c91999f382ee77877d8af87606c2d9e11e0901e209446a77e7f342c99fcb63";
constexpr std::string_view kSaltHex =
    "5b3f2888dfb77b9997e524dda180f123ef6feb19178f2eca9c2281529f0e4e59";
constexpr std::string_view kUuid = "78587c41-ed99-4337-8022-dc28be882f72";
constexpr std::string_view kDiskKeyHex =
    "6288d490b7bb67c3bba999029d714da2e9223f6d9e97e3437078ba7e855245dd";

std::string KeyBase64() { return ToBase64(*ParseHex(kKeyHex)); }
std::string SaltBase64() { return ToBase64(*ParseHex(kSaltHex)); }

std::string UrlAlphabet(std::string text) {
  for (char& c : text) {
    if (c == '+') c = '-';
    if (c == '/') c = '_';
  }
  return text;
}

void CheckIsTheMaster(const Result<Secret>& secret) {
  REQUIRE(secret);
  const auto* master = std::get_if<MasterSecret>(&*secret);
  REQUIRE(master != nullptr);
  CHECK(Hex(master->key) == kKeyHex);
  CHECK(Hex(master->salt) == kSaltHex);
}

std::string CodeOf(std::string_view text) {
  const auto secret = ParseSecret(Text(text));
  REQUIRE_FALSE(secret);
  CHECK(secret.error().kind == ErrorKind::kCannotUnlock);
  return secret.error().code;
}

TEST_CASE("HkdfGivesTheVectorsOfRfc5869") {
  // Appendix A.1 and A.3; the first 32 of 42 bytes (HKDF's output is a stream).
  const auto first =
      HkdfSha256To32(*ParseHex("0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b"),
                     *ParseHex("000102030405060708090a0b0c"), *ParseHex("f0f1f2f3f4f5f6f7f8f9"));
  REQUIRE(first);
  CHECK(Hex(*first) == "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf");
}

TEST_CASE("DerivesTheKeyThatConstellationGaveTheDisk") {
  const MasterSecret master{FromHex(kKeyHex), FromHex(kSaltHex)};
  const auto key = DeriveDiskKey(master, kUuid);
  REQUIRE(key);
  CHECK(Hex(key->bytes) == kDiskKeyHex);
}

TEST_CASE("AnUpperCaseUuidGivesTheSameKey") {
  const MasterSecret master{FromHex(kKeyHex), FromHex(kSaltHex)};
  const auto key = DeriveDiskKey(master, "78587C41-ED99-4337-8022-DC28BE882F72");
  REQUIRE(key);
  CHECK(Hex(key->bytes) == kDiskKeyHex);
}

TEST_CASE("ReadsTheMasterSecretFile") {
  CheckIsTheMaster(ParseSecret(
      Text(fmt::format("{{\"key\":\"{}\",\"salt\":\"{}\"}}", KeyBase64(), SaltBase64()))));
  CheckIsTheMaster(ParseSecret(Text(fmt::format(
      "\n{{\n  \"salt\" : \"{}\",\n\t\"key\": \"{}\"\n}}\r\n", SaltBase64(), KeyBase64()))));
}

TEST_CASE("ReadsTheUriThatConstellationPassesAround") {
  const std::string key = UrlAlphabet(KeyBase64());
  const std::string salt = UrlAlphabet(SaltBase64());
  CheckIsTheMaster(ParseSecret(Text(fmt::format("kms://cluster-kms?key={}&salt={}\n", key, salt))));
  CheckIsTheMaster(ParseSecret(Text(fmt::format("kms://cluster-kms?salt={}&key={}", salt, key))));
  std::string escaped = fmt::format("kms://cluster-kms?key={}&salt={}", key, salt);
  while (escaped.ends_with("=")) escaped = escaped.substr(0, escaped.size() - 1) + "%3D";
  CheckIsTheMaster(ParseSecret(Text(escaped)));
}

TEST_CASE("ToleratesLineBreaksFromPasting") {
  std::string pasted = fmt::format("{{\"key\":\"{}\",\"salt\":\"{}\"}}", KeyBase64(), SaltBase64());
  for (std::size_t at = 20; at < pasted.size(); at += 21) pasted.insert(at, "\r\n  ");
  CheckIsTheMaster(ParseSecret(Text(pasted)));
}

TEST_CASE("ReadsADiskKeyInHexadecimalAndBase64") {
  std::string upper(kDiskKeyHex);
  for (char& c : upper) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  const std::string base64 = ToBase64(*ParseHex(kDiskKeyHex));
  for (const std::string& text : {std::string(kDiskKeyHex), upper, base64, UrlAlphabet(base64),
                                  base64.substr(0, base64.size() - 1), base64 + "\n"}) {
    const auto secret = ParseSecret(Text(text));
    REQUIRE(secret);
    const auto* key = std::get_if<DiskKey>(&*secret);
    REQUIRE(key != nullptr);
    CHECK(Hex(key->bytes) == kDiskKeyHex);
  }
}

TEST_CASE("KeyForDerivesOrHandsThrough") {
  const Secret master = MasterSecret{FromHex(kKeyHex), FromHex(kSaltHex)};
  CHECK(Hex(KeyFor(master, kUuid)->bytes) == kDiskKeyHex);
  const Secret disk = DiskKey{FromHex(kDiskKeyHex)};
  CHECK(Hex(KeyFor(disk, "another-disk")->bytes) == kDiskKeyHex);
}

TEST_CASE("RefusesWhatIsNoSecret") {
  const std::string key = KeyBase64();
  CHECK(CodeOf("") == "bad-secret");
  CHECK(CodeOf(" \n ") == "bad-secret");
  CHECK(CodeOf("{}") == "bad-secret");
  CHECK(CodeOf("{") == "bad-secret");
  CHECK(CodeOf(fmt::format("{{\"key\":\"{}\"}}", key)) == "bad-secret");
  CHECK(CodeOf(fmt::format("{{\"key\":\"{0}\",\"salt\":\"{0}\",\"x\":\"y\"}}", key)) ==
        "bad-secret");
  CHECK(CodeOf(fmt::format("{{\"key\":\"{0}\",\"key\":\"{0}\"}}", key)) == "bad-secret");
  CHECK(CodeOf(fmt::format("{{\"key\":\"{0}\",\"salt\":7}}", key)) == "bad-secret");
  CHECK(CodeOf("{\"key\":\"AAAA\",\"salt\":\"AAAA\"}") == "bad-secret");  // too short
  CHECK(CodeOf("kms://cluster-kms?key=" + key) == "bad-secret");
  CHECK(CodeOf("kms://cluster-kms?key=%4") == "bad-secret");
  CHECK(CodeOf("kms://azure?tenantID=x") == "bad-secret");
  CHECK(CodeOf(std::string(kDiskKeyHex.substr(2))) == "bad-secret");  // 31 bytes
  CHECK(CodeOf("correct horse battery staple") == "bad-secret");
}

TEST_CASE("ErrorsNeverQuoteTheSecret") {
  const std::string uri = fmt::format("kms://cluster-kms?key={}&salt=!", UrlAlphabet(KeyBase64()));
  for (const std::string& text :
       {uri, fmt::format("{{\"key\":\"{}\",\"salt\":\"x\"}}", KeyBase64()),
        std::string(kDiskKeyHex) + "0", std::string("hunter2hunter2")}) {
    const auto secret = ParseSecret(Text(text));
    REQUIRE_FALSE(secret);
    for (std::size_t at = 0; at + 6 <= text.size(); at += 3) {
      const std::string piece = text.substr(at, 6);
      if (piece.find_first_of("?&:{\"") != std::string::npos) continue;
      if (std::string_view("cluster-kms").find(piece) != std::string_view::npos) continue;
      CHECK_THAT(secret.error().message, !ContainsSubstring(piece));
    }
  }
}

TEST_CASE("SecretParserSurvivesDamage") {
  const std::string samples[] = {
      fmt::format("{{\"key\":\"{}\",\"salt\":\"{}\"}}", KeyBase64(), SaltBase64()),
      fmt::format("kms://cluster-kms?key={}%3D&salt={}", KeyBase64(), SaltBase64()),
      std::string(kDiskKeyHex)};
  const auto decode = [](ByteView bytes) { (void)ParseSecret(SecretBytes::CopyOf(bytes)); };
  for (const std::string& sample : samples) {
    rescue::testing::ForEveryTruncation(AsBytes(sample), decode);
    rescue::testing::ForRandomMutations(AsBytes(sample), 1, 3000, decode);
  }
}

}  // namespace
}  // namespace rescue::secret
