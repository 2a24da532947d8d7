#include "rescue/disk/header.h"

#include <fmt/format.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <cstring>
#include <nlohmann/json.hpp>

#include "rescue/disk/header_testing.h"
#include "rescue/disk/luks2.h"
#include "tests/support/fixtures.h"

namespace rescue::disk {
namespace {

using namespace rescue::disk::testing;  // NOLINT(google-build-using-namespace): test helpers
using Catch::Matchers::ContainsSubstring;
using rescue::testing::TemporaryDirectory;
using rescue::testing::WriteFileBytes;

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
  CHECK(header->primary.state == CopyState::kValid);
  CHECK(header->secondary.state == CopyState::kValid);
  CHECK(header->primary.sequence == 4);
  CHECK(header->primary.uuid == header->uuid);
  CHECK(header->primary.checksum.starts_with("208cd1684e4ea874"));
  CHECK(header->primary.checksum != header->secondary.checksum);  // the salts differ
  CHECK(header->findings.empty());
  CHECK_FALSE(header->has_stray_bytes);
  CHECK(NodeObjections(*header).empty());
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
  CHECK(header->primary.state == CopyState::kDamaged);
  REQUIRE(header->findings.size() == 1);
  CHECK(header->findings[0].code == "copy-damaged");
  CHECK_THAT(header->findings[0].text, ContainsSubstring("first copy"));
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
  CHECK(header->secondary.state == CopyState::kDamaged);
  CHECK(header->findings.size() == 1);
}

TEST_CASE("TwoBadCopiesAreRefused") {
  Bytes area = RealMetadata();
  Break(area, 0);
  Break(area, kMetadataSize);
  CHECK(CodeOf(ParseHeader(area)) == "header-damaged");
}

// Both copies whole, the second with another text, the first's sequence number moved by `step`.
Bytes CopiesThatDiffer(const Json& second, std::uint64_t step) {
  Bytes area = MetadataWithText(RealJson().dump(), step);
  const Bytes other = MetadataWith(second);
  std::copy(other.begin() + kMetadataSize, other.end(), area.begin() + kMetadataSize);
  return area;
}

Json WithoutTokens() {
  Json json = RealJson();
  json["tokens"] = Json::object();
  return json;
}

TEST_CASE("AnInterruptedWriteLeavesTheFirstCopyOneAhead") {
  const auto header = ParseHeader(CopiesThatDiffer(WithoutTokens(), 1));
  REQUIRE(header);
  CHECK_FALSE(header->uses_secondary);
  REQUIRE(header->findings.size() == 1);
  CHECK(header->findings[0].code == "interrupted-write");
  CHECK_THAT(header->findings[0].text,
             ContainsSubstring("5 and 4") && ContainsSubstring("differs: tokens.0"));
}

TEST_CASE("NoInterruptionMakesTheSecondCopyNewer") {
  const auto header = ParseHeader(CopiesThatDiffer(WithoutTokens(), std::uint64_t(-1)));
  REQUIRE(header);
  CHECK(header->uses_secondary);
  CHECK(header->tokens.empty());
  REQUIRE(header->findings.size() == 1);
  CHECK(header->findings[0].code == "epoch-game");
  CHECK_THAT(header->findings[0].text,
             ContainsSubstring("so that the second one wins") && ContainsSubstring("tokens.0"));
}

TEST_CASE("AFirstCopyFarAheadIsAnEpochGameToo") {
  const auto header = ParseHeader(MetadataWithText(RealJson().dump(), 1000));
  REQUIRE(header);
  CHECK_FALSE(header->uses_secondary);
  REQUIRE(header->findings.size() == 1);
  CHECK(header->findings[0].code == "epoch-game");
  CHECK_THAT(header->findings[0].text, ContainsSubstring("they say the same"));
}

TEST_CASE("CopiesThatDisagreeAreReportedFieldByField") {
  Json other = RealJson();
  other["tokens"]["0"]["diskIsInitialized"] = false;
  other["segments"]["0"]["encryption"] = "cipher_null-ecb";
  const auto header = ParseHeader(CopiesThatDiffer(other, 0));
  REQUIRE(header);
  CHECK_FALSE(header->uses_secondary);
  REQUIRE(header->findings.size() == 1);
  CHECK(header->findings[0].code == "copies-differ");
  CHECK_THAT(header->findings[0].text, ContainsSubstring("different things") &&
                                           ContainsSubstring("segments.0.encryption") &&
                                           ContainsSubstring("tokens.0.diskIsInitialized"));
}

TEST_CASE("AnotherUuidInTheSecondCopyIsNamed") {
  Bytes area = RealMetadata();
  area[kMetadataSize + offsetof(BinaryHeader, uuid)] = std::byte{'e'};
  RepairChecksums(area);
  const auto header = ParseHeader(area);
  REQUIRE(header);
  REQUIRE(header->findings.size() == 1);
  CHECK_THAT(header->findings[0].text,
             ContainsSubstring("UUID (\"d0fd6f46-") && ContainsSubstring("\"e0fd6f46-"));
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
  CHECK(again->findings.empty());
  CHECK(again->json == header->json);
  CHECK(again->primary.state == CopyState::kValid);
  CHECK(again->secondary.state == CopyState::kValid);
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
