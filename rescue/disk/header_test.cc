#include "rescue/disk/header.h"

#include <fmt/format.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <cstring>
#include <nlohmann/json.hpp>

#include "rescue/disk/luks2.h"
#include "tests/support/fixtures.h"

namespace rescue::disk {
namespace {

using Catch::Matchers::ContainsSubstring;
using Json = nlohmann::json;
using rescue::testing::FixturePath;
using rescue::testing::ReadFileBytes;
using rescue::testing::TemporaryDirectory;
using rescue::testing::WriteFileBytes;

constexpr std::uint64_t kDeviceSize = 512 * kMiB;
constexpr std::uint64_t kMetadataSize = 16 * kKiB;

// The first 32 KiB, that is both metadata copies, of a disk that cryptsetup 2.6.1 made with
// integrity and Constellation's token.
const Bytes& RealMetadata() {
  static const Bytes bytes = ReadFileBytes(FixturePath("disk/luks2-header.bin"));
  return bytes;
}

Json RealJson() { return Json::parse(ParseHeader(RealMetadata())->json); }

void WriteChecksum(Bytes& area, std::size_t at) {
  if (area.size() < at + kMetadataSize) return;
  const auto copy = std::span(area).subspan(at, kMetadataSize);
  const auto field = copy.subspan(kChecksumOffset, sizeof(BinaryHeader::checksum));
  std::fill(field.begin(), field.end(), std::byte{0});
  const Sha256Digest checksum = Sha256(copy);
  std::copy(checksum.begin(), checksum.end(), field.begin());
}

void RepairChecksums(Bytes& area) {
  WriteChecksum(area, 0);
  WriteChecksum(area, kMetadataSize);
}

// Both copies with this text; `sequence_step` is added to the first copy's sequence number.
Bytes MetadataWithText(std::string_view json, std::uint64_t sequence_step = 0) {
  Bytes area = RealMetadata();
  for (const std::size_t at : {std::size_t{0}, std::size_t{kMetadataSize}}) {
    const auto text =
        std::span(area).subspan(at + kBinaryHeaderSize, kMetadataSize - kBinaryHeaderSize);
    std::fill(text.begin(), text.end(), std::byte{0});
    std::copy_n(AsBytes(json).begin(), std::min(json.size(), text.size()), text.begin());
  }
  BinaryHeader binary;
  std::memcpy(&binary, area.data(), sizeof(binary));
  binary.sequence = binary.sequence + sequence_step;
  std::memcpy(area.data(), &binary, sizeof(binary));
  RepairChecksums(area);
  return area;
}

Bytes MetadataWith(const Json& json) { return MetadataWithText(json.dump()); }

void Break(Bytes& area, std::size_t at) { area[at + 5000] ^= std::byte{1}; }

std::string CodeOf(const Result<Header>& header) {
  REQUIRE_FALSE(header);
  CHECK(header.error().kind == ErrorKind::kVolumeRefused);
  return header.error().code;
}

TEST_CASE("ReadsARealHeader") {
  const auto header = ParseHeader(RealMetadata());
  REQUIRE(header);
  CHECK(header->uuid == "d0fd6f46-c830-42a9-a4eb-e46e6c70e036");
  CHECK(header->metadata_size == kMetadataSize);
  CHECK(header->primary == CopyState::kValid);
  CHECK(header->secondary == CopyState::kValid);
  CHECK(header->warnings.empty());
  CHECK(header->boot_safe);
  CHECK(header->foreign_fields.empty());
  REQUIRE(header->key_slots.size() == 1);
  CHECK(header->key_slots[0].key_size == 96);
  CHECK(header->key_slots[0].area_offset == 32768);
  CHECK(header->key_slots[0].derivation.memory_kib == 65536);
  CHECK(header->key_slots[0].derivation.iterations == 4);
  REQUIRE(header->segments.size() == 1);
  CHECK(header->segments[0].offset == 16 * kMiB);
  CHECK_FALSE(header->segments[0].size);
  CHECK(header->segments[0].integrity == "hmac(sha256)");
  REQUIRE(header->tokens.size() == 1);
  CHECK(header->tokens[0].initialized == true);
  CHECK(CheckHeader(*header, kDeviceSize));
}

TEST_CASE("ABadFirstCopyIsPassedOverWithAWarning") {
  Bytes area = RealMetadata();
  Break(area, 0);
  const auto header = ParseHeader(area);
  REQUIRE(header);
  CHECK(header->uses_secondary);
  CHECK(header->primary == CopyState::kDamaged);
  REQUIRE(header->warnings.size() == 1);
  CHECK_THAT(header->warnings[0], ContainsSubstring("first copy"));
  CHECK(CheckHeader(*header, kDeviceSize));
}

TEST_CASE("AZeroedFirstCopyIsPassedOver") {
  Bytes area = RealMetadata();
  std::fill_n(area.begin(), kBinaryHeaderSize, std::byte{0});
  const auto header = ParseHeader(area);
  REQUIRE(header);
  CHECK(header->uses_secondary);
}

TEST_CASE("ABadSecondCopyIsAWarning") {
  Bytes area = RealMetadata();
  Break(area, kMetadataSize);
  const auto header = ParseHeader(area);
  REQUIRE(header);
  CHECK_FALSE(header->uses_secondary);
  CHECK(header->secondary == CopyState::kDamaged);
  CHECK(header->warnings.size() == 1);
}

TEST_CASE("TwoBadCopiesAreRefused") {
  Bytes area = RealMetadata();
  Break(area, 0);
  Break(area, kMetadataSize);
  CHECK(CodeOf(ParseHeader(area)) == "header-damaged");
}

TEST_CASE("TheNewerCopyWins") {
  const auto newer_first = ParseHeader(MetadataWithText(RealJson().dump(), 1));
  REQUIRE(newer_first);
  CHECK_FALSE(newer_first->uses_secondary);
  CHECK(newer_first->warnings.size() == 1);
  const auto newer_second = ParseHeader(MetadataWithText(RealJson().dump(), std::uint64_t(-1)));
  REQUIRE(newer_second);
  CHECK(newer_second->uses_secondary);
}

TEST_CASE("CopiesThatDisagreeAreReported") {
  Bytes area = MetadataWith(RealJson());
  Json other = RealJson();
  other["tokens"] = Json::object();
  const Bytes second = MetadataWith(other);
  std::copy(second.begin() + kMetadataSize, second.end(), area.begin() + kMetadataSize);
  const auto header = ParseHeader(area);
  REQUIRE(header);
  CHECK_FALSE(header->uses_secondary);
  REQUIRE(header->warnings.size() == 1);
  CHECK_THAT(header->warnings[0], ContainsSubstring("different things"));
}

TEST_CASE("OtherDisksAreToldApart") {
  CHECK(CodeOf(ParseHeader({})) == "not-luks");
  CHECK(CodeOf(ParseHeader(Bytes(64 * kKiB))) == "not-luks");
  Bytes luks1(64 * kKiB);
  std::copy_n(RealMetadata().begin(), 6, luks1.begin());
  luks1[7] = std::byte{1};
  CHECK(CodeOf(ParseHeader(luks1)) == "luks1");
}

TEST_CASE("AHeaderThatIsCutOffIsCalledTruncated") {
  const ByteView whole = RealMetadata();
  CHECK(CodeOf(ParseHeader(whole.first(4096))) == "header-truncated");
  CHECK(CodeOf(ParseHeader(whole.first(16383))) == "header-truncated");

  // Metadata is there, key slots are not.
  const TemporaryDirectory directory;
  const std::string path = directory.path() / "disk";
  WriteFileBytes(path, whole);
  const auto header = ReadHeader(path);
  CHECK(CodeOf(header) == "header-truncated");
  CHECK_THAT(header.error().message, ContainsSubstring(path));
}

TEST_CASE("ReadHeaderKeepsTheWholeHeaderArea") {
  const TemporaryDirectory directory;
  const std::string path = directory.path() / "disk";
  Bytes disk = RealMetadata();
  disk.resize(17 * kMiB, std::byte{0x5a});
  WriteFileBytes(path, disk);
  const auto header = ReadHeader(path);
  REQUIRE(header);
  CHECK(header->area.size() == 16 * kMiB);
  CHECK(header->area_digest == Sha256(ByteView(disk).first(16 * kMiB)));
}

TEST_CASE("TheCheckedAreaHoldsTheChosenCopyTwice") {
  Bytes area = RealMetadata();
  Break(area, 0);
  area.resize(HeaderAreaSize(*ParseHeader(area)), std::byte{0x5a});
  const auto header = ParseHeader(area);
  REQUIRE(header);
  const Bytes checked = CheckedArea(*header);
  CHECK(checked.size() == area.size());
  const auto again = ParseHeader(checked);
  REQUIRE(again);
  CHECK(again->warnings.empty());
  CHECK(again->json == header->json);
  CHECK(again->primary == CopyState::kValid);
  CHECK(again->secondary == CopyState::kValid);
}

TEST_CASE("JsonThatTwoParsersCouldReadDifferentlyIsRefused") {
  const std::string good = RealJson().dump();
  CHECK(CodeOf(ParseHeader(MetadataWithText("{}"))) == "header-json");
  CHECK(CodeOf(ParseHeader(MetadataWithText("[]"))) == "header-json");
  CHECK(CodeOf(ParseHeader(MetadataWithText(good + "x"))) == "header-json");
  CHECK(CodeOf(ParseHeader(MetadataWithText("/* c */" + good))) == "header-json");
  CHECK(CodeOf(ParseHeader(MetadataWithText(good + std::string("\0x", 2)))) == "header-json");
  CHECK(CodeOf(ParseHeader(MetadataWithText("{\"config\":{}," + good.substr(1)))) == "header-json");
  std::string deep = good.substr(0, good.size() - 1) + ",\"x\":";
  for (int i = 0; i < 2000; ++i) deep += '[';
  for (int i = 0; i < 2000; ++i) deep += ']';
  CHECK(CodeOf(ParseHeader(MetadataWithText(deep + "}"))) == "header-json");
  CHECK(CodeOf(ParseHeader(MetadataWithText(std::string(20000, ' ')))) == "header-json");
}

TEST_CASE("ATokenThatMakesTheNodeFormatTheDiskIsCalledOut") {
  const auto judged = [](const Json& tokens) {
    Json json = RealJson();
    json["tokens"] = tokens;
    const auto header = ParseHeader(MetadataWith(json));
    REQUIRE(header);
    CHECK(CheckHeader(*header, kDeviceSize));  // never a refusal
    if (!header->boot_safe) {
      REQUIRE_FALSE(header->warnings.empty());
      CHECK_THAT(header->warnings[0], ContainsSubstring("not safe to boot"));
    }
    return header->boot_safe;
  };
  const Json good = RealJson()["tokens"];
  CHECK(judged(good));
  CHECK_FALSE(judged(Json::object()));
  Json changed = good;
  changed["0"]["diskIsInitialized"] = false;
  CHECK_FALSE(judged(changed));
  changed["0"]["diskIsInitialized"] = "true";
  CHECK_FALSE(judged(changed));
  changed["0"].erase("diskIsInitialized");
  CHECK_FALSE(judged(changed));
  CHECK_FALSE(judged({{"1", good["0"]}}));
  changed = good;
  changed["0"]["type"] = "systemd-tpm2";
  CHECK_FALSE(judged(changed));
  changed = good;
  changed["5"] = {{"type", "clevis"}, {"keyslots", Json::array()}};
  CHECK(judged(changed));
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
      {"/keyslots/0/kdf/type", "pbkdf2", "foreign-keyslot"},
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
      {"/config/flags", {"allow-discards"}, "foreign-field"},
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
    const Status status = CheckHeader(*header, kDeviceSize);
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
    const Status status = CheckHeader(*header, kDeviceSize);
    if (!status) FAIL_CHECK(status.error().message);
    return header->boot_safe;
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

TEST_CASE("HeaderParserSurvivesTruncationAtEveryLength") {
  rescue::testing::ForEveryTruncation(RealMetadata(), [](ByteView area) {
    // Up to the end of the first copy nothing is whole; from there on it is enough.
    CHECK(ParseHeader(area).has_value() == (area.size() >= kMetadataSize));
  });
}

// Whatever gets past the allow-list must still be the encryption we expect.
void CheckAccepted(ByteView area) {
  const auto header = ParseHeader(area);
  if (!header || !CheckHeader(*header, kDeviceSize)) return;
  REQUIRE(header->segments.size() == 1);
  CHECK(header->segments[0].cipher == "aes-xts-plain64");
  CHECK(header->segments[0].sector_size == 4096);
  for (const KeySlot& slot : header->key_slots) CHECK(slot.area_cipher == "aes-xts-plain64");
}

TEST_CASE("HeaderParserSurvivesRandomDamage") {
  rescue::testing::ForRandomMutations(RealMetadata(), 1, 3000, CheckAccepted);
  rescue::testing::ForRandomMutations(RealMetadata(), 2, 3000, CheckAccepted, RepairChecksums);
}

TEST_CASE("HeaderParserSurvivesDamagedJsonWithValidChecksums") {
  const std::string json = RealJson().dump();
  rescue::testing::ForRandomMutations(AsBytes(json), 3, 10000, [](ByteView text) {
    CheckAccepted(MetadataWithText(AsText(text)));
  });
}

}  // namespace
}  // namespace rescue::disk
