#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <nlohmann/json.hpp>

#include "rescue/disk/header_testing.h"
#include "rescue/disk/luks2.h"

namespace rescue::disk {
namespace {

using namespace rescue::disk::testing;  // NOLINT(google-build-using-namespace): test helpers
using Catch::Matchers::ContainsSubstring;

TEST_CASE("ATokenThatMakesTheNodeFormatTheDiskIsCalledOut") {
  const auto objections = [](const Json& tokens) {
    Json json = RealJson();
    json["tokens"] = tokens;
    const auto header = ParseHeader(MetadataWith(json));
    REQUIRE(header);
    CHECK(IsInitialized(*header) == NodeObjections(*header).empty());
    return NodeObjections(*header);
  };
  const auto formats = [&](const Json& tokens) {
    const auto list = objections(tokens);
    return list.size() == 1 && list[0].find("format it") != std::string::npos;
  };
  const Json good = RealJson()["tokens"];
  CHECK(objections(good).empty());
  CHECK(formats(Json::object()));
  Json changed = good;
  changed["0"]["diskIsInitialized"] = false;
  CHECK(formats(changed));
  changed["0"]["diskIsInitialized"] = "true";
  CHECK(formats(changed));
  changed["0"].erase("diskIsInitialized");
  CHECK(formats(changed));
  CHECK(formats({{"1", good["0"]}}));
  // Go's decoder does not care about case, and takes the last.
  changed["0"]["DISKisinitialized"] = true;
  CHECK(objections(changed).empty());
  changed["0"]["diskIsInitialized"] = false;
  CHECK(formats(changed));
  // The node asks neither for the token's type nor for other tokens.
  changed = good;
  changed["0"]["type"] = "systemd-tpm2";
  CHECK(objections(changed).empty());
  changed = good;
  changed["5"] = {{"type", "clevis"}, {"keyslots", Json::array()}};
  CHECK(objections(changed).empty());
}

TEST_CASE("WhatTheNodesStrictDecoderRefusesIsNamed") {
  for (const char* pointer : {"/keyslots/0/priority", "/config/flags", "/surprise"}) {
    CAPTURE(pointer);
    Json json = RealJson();
    json[Json::json_pointer(pointer)] =
        std::string_view(pointer).ends_with("flags") ? Json({"allow-discards"}) : Json(1);
    const auto header = ParseHeader(MetadataWith(json));
    REQUIRE(header);
    const auto objections = NodeObjections(*header);
    REQUIRE(objections.size() == 1);
    CHECK_THAT(objections[0],
               ContainsSubstring("does not know") && ContainsSubstring("stops while it boots"));
  }
  Json json = RealJson();
  json["segments"]["0"]["sector_size"] = 512;
  json["keyslots"]["0"]["kdf"]["memory"] = 0;
  const auto header = ParseHeader(MetadataWith(json));
  REQUIRE(header);
  CHECK(NodeObjections(*header).size() == 2);
}

// One change to a good header each, and what must come of it.
struct Refused {
  const char* pointer;
  Json value;  // null removes
  const char* code;
};

TEST_CASE("TheAllowListRefusesWhatNoNodeWrites") {
  const Refused table[] = {
      {"/keyslots/0/area/encryption", "cipher_null-ecb", "null-cipher-keyslot"},
      {"/keyslots/0/area/encryption", "null", "null-cipher-keyslot"},
      {"/segments/0/encryption", "cipher_null-ecb", "null-cipher-segment"},
      {"/segments/0/encryption", "capi:ecb(cipher_null)", "null-cipher-segment"},
      {"/keyslots/0/area/encryption", "aes-cbc-plain64", "foreign-keyslot"},
      {"/keyslots/0/area/key_size", 32, "foreign-keyslot"},
      {"/keyslots/0/area/type", "journal", "foreign-keyslot"},
      {"/keyslots/0/type", "reencrypt", "foreign-keyslot"},
      {"/keyslots/0/key_size", 64, "foreign-keyslot"},
      {"/keyslots/0/key_size", 0, "foreign-keyslot"},
      {"/keyslots/0/af/type", "none", "foreign-keyslot"},
      {"/keyslots/0/af/stripes", 1, "foreign-keyslot"},
      {"/keyslots/0/af/hash", "sha1", "foreign-keyslot"},
      {"/keyslots/0/kdf",
       {{"type", "pbkdf2"}, {"hash", "sha256"}, {"iterations", 500000}, {"salt", "AAAA"}},
       "foreign-keyslot"},
      {"/keyslots/0/kdf/type", "argon2i", "foreign-keyslot"},
      {"/keyslots/0/kdf/salt", "", "foreign-keyslot"},
      {"/keyslots/0/kdf/memory", 0, "kdf-cost"},
      {"/keyslots/0/kdf/memory", 4294967296, "kdf-cost"},
      {"/keyslots/0/kdf/memory", 18446744073709551615ULL, "kdf-cost"},
      {"/keyslots/0/kdf/time", 0, "kdf-cost"},
      {"/keyslots/0/kdf/time", 4294967295, "kdf-cost"},
      {"/keyslots/0/kdf/cpus", 0, "kdf-cost"},
      {"/keyslots/0/kdf/cpus", 1000, "kdf-cost"},
      {"/keyslots/0/area/offset", "0", "header-bounds"},
      {"/keyslots/0/area/offset", "16777216", "header-bounds"},
      {"/keyslots/0/area/offset", "18446744073709551615", "header-bounds"},
      {"/keyslots/0/area/size", "4096", "header-bounds"},
      {"/keyslots/0/area/size", "18446744073709551615", "header-bounds"},
      {"/keyslots", Json::object(), "no-keyslots"},
      {"/segments/0/type", "linear", "foreign-segment"},
      {"/segments/0/encryption", "aes-xts-plain", "foreign-segment"},
      {"/segments/0/sector_size", 512, "foreign-segment"},
      {"/segments/0/iv_tweak", "8", "foreign-segment"},
      {"/segments/0/integrity/type", "none", "foreign-segment"},
      {"/segments/0/integrity/type", "poly1305", "foreign-segment"},
      {"/segments/0/integrity/journal_encryption", "cipher_null", "foreign-segment"},
      {"/segments/0/integrity", nullptr, "foreign-keyslot"},  // the key is too long for that
      {"/segments/0/flags", {"backup-final"}, "foreign-segment"},
      {"/segments/0/offset", "0", "header-bounds"},
      {"/segments/0/offset", "16781000", "header-bounds"},
      {"/segments/0/offset", "1099511627776", "header-bounds"},
      {"/segments/0/size", "1099511627776", "header-bounds"},
      {"/segments/0/size", "0", "header-bounds"},
      {"/segments", Json::object(), "several-segments"},
      {"/digests/0/type", "none", "foreign-digest"},
      {"/digests/0/hash", "sha1", "foreign-digest"},
      {"/digests/0/digest", "", "foreign-digest"},
      {"/digests/0/salt", "", "foreign-digest"},
      {"/digests/0/iterations", 0, "kdf-cost"},
      {"/digests/0/iterations", 4294967295, "kdf-cost"},
      {"/digests/0/segments", Json::array(), "foreign-digest"},
      {"/digests/0/keyslots", Json::array(), "foreign-keyslot"},
      {"/digests", Json::object(), "foreign-digest"},
      {"/config/keyslots_size", "1073741824", "header-bounds"},
      {"/config/flags", {"allow-discards"}, "foreign-flag"},
      {"/config/flags", {"no-journal"}, "foreign-flag"},
      {"/tokens/0/type", "systemd-tpm2", "foreign-token"},
      {"/tokens/0/keyslots", {"0"}, "foreign-token"},
      {"/tokens/5", {{"type", "clevis"}, {"keyslots", Json::array()}}, "foreign-token"},
      {"/tokens/1",
       {{"type", "constellation-state-disk"},
        {"keyslots", Json::array()},
        {"diskIsInitialized", true}},
       "foreign-token"},
      {"/config/requirements", {{"mandatory", {"online-reencrypt-v2"}}}, "foreign-requirement"},
      {"/config/requirements", {"online-reencrypt"}, "foreign-requirement"},
      {"/config/surprise", 1, "foreign-field"},
      {"/surprise", 1, "foreign-field"},
      {"/keyslots/0/kdf/surprise", 1, "foreign-field"},
      {"/segments/0/surprise", 1, "foreign-field"},
  };
  for (const Refused& row : table) {
    CAPTURE(row.pointer, row.value.dump());
    Json json = RealJson();
    const Json::json_pointer pointer(row.pointer);
    if (row.value.is_null()) {
      json[pointer.parent_pointer()].erase(pointer.back());
    } else {
      json[pointer] = row.value;
    }
    const auto header = ParseHeader(MetadataWith(json));
    REQUIRE(header);
    const auto status = CheckHeader(*header, kDeviceSize);
    REQUIRE_FALSE(status);
    CHECK(status.error().code == row.code);
    CHECK(status.error().kind == ErrorKind::kVolumeRefused);
    CHECK_FALSE(status.error().hint.empty());
  }
}

TEST_CASE("SeveralSegmentsAndOverlappingSlotsAreRefused") {
  Json json = RealJson();
  json["segments"]["1"] = json["segments"]["0"];
  auto header = ParseHeader(MetadataWith(json));
  REQUIRE(header);
  CHECK(CheckHeader(*header, kDeviceSize).error().code == "several-segments");
  json = RealJson();
  json["keyslots"]["3"] = json["keyslots"]["0"];
  json["digests"]["0"]["keyslots"] = {"0", "3"};
  header = ParseHeader(MetadataWith(json));
  REQUIRE(header);
  CHECK(CheckHeader(*header, kDeviceSize).error().code == "header-bounds");
}

TEST_CASE("WhatNodesDoWriteIsAccepted") {
  const auto accepted = [](const Json& json) {
    const auto header = ParseHeader(MetadataWith(json));
    REQUIRE(header);
    const auto status = CheckHeader(*header, kDeviceSize);
    if (!status) FAIL_CHECK(status.error().message);
    return NodeObjections(*header).empty();
  };
  SECTION("without integrity") {
    Json json = RealJson();
    json["segments"]["0"].erase("integrity");
    json["keyslots"]["0"]["key_size"] = 64;
    CHECK(accepted(json));
  }
  SECTION("the passphrase change at join raised the memory to 1 GiB") {
    Json json = RealJson();
    json["keyslots"]["0"]["kdf"]["memory"] = 1048576;
    json["keyslots"]["0"]["kdf"]["time"] = 9;
    CHECK(accepted(json));
  }
  SECTION("a second key slot") {
    Json json = RealJson();
    json["keyslots"]["1"] = json["keyslots"]["0"];
    json["keyslots"]["1"]["area"]["offset"] = "1048576";
    json["digests"]["0"]["keyslots"] = {"0", "1"};
    CHECK(accepted(json));
  }
  SECTION("a priority opens here, but the node would not take it") {
    Json json = RealJson();
    json["keyslots"]["0"]["priority"] = 2;
    CHECK_FALSE(accepted(json));
  }
}

TEST_CASE("ADiskSmallerThanItsHeaderSaysIsRefused") {
  const auto header = ParseHeader(RealMetadata());
  CHECK(CheckHeader(*header, 16 * kMiB).error().code == "header-bounds");
  CHECK(CheckHeader(*header, 1 * kMiB).error().code == "header-bounds");
  CHECK(CheckHeader(*header, 0).error().code == "header-bounds");
}

Header Parsed(const Json& json) {
  auto header = ParseHeader(MetadataWith(json));
  REQUIRE(header);
  return *std::move(header);
}

// As cryptsetup 2.6.1 makes them by default, without Constellation's token.
Json OtherNodesJson() {
  Json json = RealJson();
  json["segments"]["0"].erase("integrity");
  json["segments"]["0"]["sector_size"] = 512;
  json["keyslots"]["0"]["key_size"] = 64;
  json["tokens"] = {{"0", {{"type", "systemd-tpm2"}, {"keyslots", {"0"}}, {"tpm2-pcrs", {7}}}}};
  return json;
}

TEST_CASE("OtherNodesDisksNeedTheirProfile") {
  const Header header = Parsed(OtherNodesJson());
  const auto strict = CheckHeader(header, kDeviceSize);
  REQUIRE_FALSE(strict);
  CHECK_THAT(strict.error().hint, ContainsSubstring("--profile luks2"));
  CHECK(CheckHeader(header, kDeviceSize, {Profile::kLuks2, {}}));
}

TEST_CASE("TheProfileForOtherNodesTakesTheSafeList") {
  const Json pbkdf2 = {
      {"type", "pbkdf2"}, {"hash", "sha256"}, {"iterations", 500000}, {"salt", "AAAA"}};
  struct {
    const char* pointer;
    Json value;
    const char* code;  // "" when it is taken
  } const table[] = {
      {"/segments/0/sector_size", 4096, ""},
      {"/segments/0/sector_size", 1024, "foreign-segment"},
      {"/segments/0/encryption", "serpent-xts-plain64", "foreign-segment"},
      {"/segments/0/encryption", "cipher_null-ecb", "null-cipher-segment"},
      {"/keyslots/0/area/encryption", "cipher_null-ecb", "null-cipher-keyslot"},
      {"/keyslots/0/area/key_size", 32, ""},
      {"/keyslots/0/key_size", 32, ""},
      {"/keyslots/0/key_size", 16, "foreign-keyslot"},
      {"/keyslots/0/kdf", pbkdf2, ""},
      {"/keyslots/0/kdf/type", "argon2i", ""},
      {"/keyslots/0/kdf/type", "scrypt", "foreign-keyslot"},
      {"/keyslots/0/priority", 2, ""},
      {"/keyslots/0/priority", 3, "foreign-keyslot"},
      {"/config/flags", {"allow-discards", "no-read-workqueue"}, ""},
      {"/config/flags", {"no-journal"}, "foreign-flag"},
      {"/config/requirements", {{"mandatory", {"online-reencrypt-v2"}}}, "foreign-requirement"},
      {"/segments/0/flags", {"backup-final"}, "foreign-segment"},
      {"/tokens", Json::object(), ""},
  };
  for (const auto& row : table) {
    CAPTURE(row.pointer, row.value.dump());
    Json json = OtherNodesJson();
    json[Json::json_pointer(row.pointer)] = row.value;
    const auto checked = CheckHeader(Parsed(json), kDeviceSize, {Profile::kLuks2, {}});
    CHECK((checked ? std::string() : checked.error().code) == row.code);
  }
}

TEST_CASE("KeySlotsOfAnotherKeyAreLeftAloneForOtherNodes") {
  Json json = OtherNodesJson();
  json["keyslots"]["3"] = json["keyslots"]["0"];
  json["keyslots"]["3"]["area"]["offset"] = "1048576";
  json["digests"]["1"] = json["digests"]["0"];
  json["digests"]["1"]["keyslots"] = {"3"};
  json["digests"]["1"]["segments"] = Json::array();
  const Header header = Parsed(json);
  REQUIRE(CheckHeader(header, kDeviceSize, {Profile::kLuks2, {}}));
  const auto slots = UsableKeySlots(header);
  REQUIRE(slots.size() == 1);
  CHECK(slots[0]->number == 0);
  json["digests"]["1"]["segments"] = {"0"};
  const auto both = CheckHeader(Parsed(json), kDeviceSize, {Profile::kLuks2, {}});
  REQUIRE_FALSE(both);
  CHECK(both.error().code == "foreign-digest");
}

TEST_CASE("SlotsAreTriedByPriority") {
  Json json = OtherNodesJson();
  json["keyslots"]["1"] = json["keyslots"]["0"];
  json["keyslots"]["1"]["area"]["offset"] = "1048576";
  json["keyslots"]["1"]["priority"] = 2;
  json["digests"]["0"]["keyslots"] = {"0", "1"};
  const Header header = Parsed(json);
  const auto slots = UsableKeySlots(header);
  REQUIRE(slots.size() == 2);
  CHECK(slots[0]->number == 1);
}

TEST_CASE("ARefusalThatIsAcceptedByNameIsAFinding") {
  Json json = RealJson();
  json["surprise"] = 1;
  const Header header = Parsed(json);
  const auto refused = CheckHeader(header, kDeviceSize);
  REQUIRE_FALSE(refused);
  CHECK_THAT(refused.error().hint, ContainsSubstring("--accept header:foreign-field"));
  const auto accepted =
      CheckHeader(header, kDeviceSize, {Profile::kConstellation, {"foreign-field"}});
  REQUIRE(accepted);
  REQUIRE(accepted->size() == 1);
  CHECK(accepted->front().code == "foreign-field");
  CHECK_THAT(accepted->front().text, ContainsSubstring("surprise"));
  // Accepting one thing accepts no other.
  json["keyslots"]["0"]["kdf"]["memory"] = 4194305;
  CHECK(CheckHeader(Parsed(json), kDeviceSize, {Profile::kConstellation, {"foreign-field"}})
            .error()
            .code == "kdf-cost");
  CHECK(CheckHeader(Parsed(json), kDeviceSize,
                    {Profile::kConstellation, {"foreign-field", "kdf-cost"}}));
}

TEST_CASE("NullCiphersAndOverlapsCanNeverBeAccepted") {
  for (const char* code : {"null-cipher-keyslot", "null-cipher-segment", "header-bounds",
                           "foreign-requirement", "foreign-segment", "several-segments", ""}) {
    CAPTURE(code);
    const Status status = CheckAcceptable(code);
    REQUIRE_FALSE(status);
    CHECK(status.error().kind == ErrorKind::kUsage);
  }
  for (const char* code : {"kdf-cost", "foreign-field", "foreign-token", "header-padding"}) {
    CHECK(CheckAcceptable(code));
  }
  // And even a policy that says so is not followed.
  Json json = RealJson();
  json["segments"]["0"]["encryption"] = "cipher_null-ecb";
  CHECK_FALSE(CheckHeader(Parsed(json), kDeviceSize,
                          {Profile::kLuks2, {"null-cipher-segment", "header-bounds"}}));
}

TEST_CASE("APartitionTableInsideTheHeaderIsRefused") {
  Bytes area = RealMetadata();
  // The end of an MBR, behind the 32 bytes of the checksum.
  area[510] = std::byte{0x55};
  area[511] = std::byte{0xaa};
  auto header = ParseHeader(area);
  REQUIRE(header);
  CHECK(CheckHeader(*header, kDeviceSize).error().code == "header-padding");
  // A GPT header in the second sector, under the checksum.
  area = RealMetadata();
  std::memcpy(area.data() + 512, "EFI PART", 8);
  RepairChecksums(area);
  header = ParseHeader(area);
  REQUIRE(header);
  CHECK(CheckHeader(*header, kDeviceSize).error().code == "header-padding");
  CHECK(CheckHeader(*header, kDeviceSize, {Profile::kConstellation, {"header-padding"}}));
}

TEST_CASE("ADiskWithoutIntegrityIsAFinding") {
  Json json = RealJson();
  json["segments"]["0"].erase("integrity");
  json["keyslots"]["0"]["key_size"] = 64;
  const auto findings = CheckHeader(Parsed(json), kDeviceSize);
  REQUIRE(findings);
  REQUIRE(findings->size() == 1);
  CHECK(findings->front().code == "no-integrity");
}

TEST_CASE("TheSecurityDigestStandsForWhatIsDecryptedHow") {
  const Header real = Parsed(RealJson());
  const auto changed = [&](const char* pointer, const Json& value) {
    Json json = RealJson();
    json[Json::json_pointer(pointer)] = value;
    return SecurityDigest(Parsed(json)) != SecurityDigest(real);
  };
  CHECK_FALSE(changed("/keyslots/0/kdf/time", 9));
  CHECK_FALSE(changed("/tokens/0/diskIsInitialized", false));
  CHECK_FALSE(changed("/digests/0/keyslots", Json({"0", "1"})));
  CHECK(changed("/segments/0/encryption", "cipher_null-ecb"));
  CHECK(changed("/segments/0/offset", "33554432"));
  CHECK(changed("/digests/0/digest", "AAAA"));
}

}  // namespace
}  // namespace rescue::disk
