#include "rescue/disk/table_check.h"

#include <sys/sysmacros.h>

#include <catch2/catch_test_macros.hpp>
#include <string>

#include "rescue/base/units.h"

namespace rescue::disk {
namespace {

// Tables as Linux 6.1 showed them for 64 MiB disks that libcryptsetup 2.6.1 had activated.
constexpr const char* kCrypt =
    "capi:authenc(hmac(sha256),xts(aes))-plain64 "
    ":96:logon:cryptsetup:78587c41-ed99-4337-8022-dc28be882f72-d0 0 254:1 0 2 integrity:32:aead "
    "sector_size:4096";
constexpr const char* kIntegrity =
    "254:0 32768 32 J 7 block_size:4096 journal_sectors:792 interleave_sectors:32768 "
    "buffer_sectors:128 journal_watermark:50 commit_time:10000 fix_padding";
constexpr const char* kPlainCrypt =
    "aes-xts-plain64 :64:logon:cryptsetup:5ec508e7-0559-4d25-8687-63da79e4968f-d0 0 254:0 32768 1 "
    "sector_size:4096";

struct Case {
  Header header;
  ExpectedMapping expected{::makedev(254, 0), 64 * kMiB};
  Mapping crypt;
  std::optional<Mapping> integrity;

  Status Check() const { return CheckTables(header, expected, crypt, integrity); }
};

Case WithIntegrity() {
  Case it;
  it.header.key_slots.resize(1);
  it.header.key_slots[0].key_size = 96;
  Segment segment;
  segment.type = "crypt";
  segment.offset = 16 * kMiB;
  segment.cipher = "aes-xts-plain64";
  segment.sector_size = 4096;
  segment.integrity = "hmac(sha256)";
  it.header.segments = {segment};
  Digest digest;
  digest.key_slots = {0};
  digest.segments = {0};
  it.header.digests = {digest};
  it.crypt = {::makedev(254, 2), false, {{0, 96736, "crypt", kCrypt}}};
  it.integrity = Mapping{::makedev(254, 1), false, {{0, 96736, "integrity", kIntegrity}}};
  return it;
}

Case WithoutIntegrity() {
  Case it = WithIntegrity();
  it.header.key_slots[0].key_size = 64;
  it.header.segments[0].integrity.clear();
  it.crypt = {::makedev(254, 1), false, {{0, 98304, "crypt", kPlainCrypt}}};
  it.integrity.reset();
  return it;
}

void Replace(Mapping& mapping, const std::string& from, const std::string& to) {
  std::string& words = mapping.lines.at(0).words;
  const std::size_t at = words.find(from);
  REQUIRE(at != std::string::npos);
  words.replace(at, from.size(), to);
}

void CheckRefused(const Case& it) {
  const Status status = it.Check();
  REQUIRE_FALSE(status);
  CHECK(status.error().code == "table-mismatch");
  CHECK(status.error().kind == ErrorKind::kVolumeRefused);
}

TEST_CASE("AcceptsWhatTheKernelShowsForCheckedHeaders") {
  CHECK(WithIntegrity().Check());
  CHECK(WithoutIntegrity().Check());
}

TEST_CASE("AcceptsAKeyThatIsNotInTheKeyring") {
  Case it = WithoutIntegrity();
  Replace(it.crypt, ":64:logon:cryptsetup:5ec508e7-0559-4d25-8687-63da79e4968f-d0", "key:64");
  CHECK(it.Check());
}

TEST_CASE("RefusesEveryOtherCryptTable") {
  const std::pair<const char*, const char*> changes[] = {
      {"aes-xts-plain64", "cipher_null-ecb"},
      {"aes-xts-plain64", "aes-xts-plain"},
      {":64:logon", ":32:logon"},
      {"-d0 0 ", "-d0 8 "},
      {"254:0", "254:3"},
      {" 32768 ", " 0 "},
      {"sector_size:4096", "sector_size:512"},
      {"1 sector_size:4096", ""},
      {"1 sector_size:4096", "2 allow_discards sector_size:4096"}};
  for (const auto& [from, to] : changes) {
    CAPTURE(from, to);
    Case it = WithoutIntegrity();
    Replace(it.crypt, from, to);
    CheckRefused(it);
  }
}

TEST_CASE("RefusesEveryOtherIntegrityTable") {
  const std::pair<const char*, const char*> changes[] = {{" J ", " D "},
                                                         {" J ", " B "},
                                                         {" J ", " R "},
                                                         {"254:0", "254:9"},
                                                         {" 32768 ", " 0 "},
                                                         {" 32 J", " 4 J"},
                                                         {"block_size:4096", "block_size:512"},
                                                         {"fix_padding", "allow_discards"},
                                                         {"fix_padding", "internal_hash:crc32c"},
                                                         {"7 block_size:4096", "6"}};
  for (const auto& [from, to] : changes) {
    CAPTURE(from, to);
    Case it = WithIntegrity();
    Replace(*it.integrity, from, to);
    CheckRefused(it);
  }
}

TEST_CASE("RefusesMissingOrSurprisingIntegrity") {
  Case missing = WithIntegrity();
  missing.integrity.reset();
  CheckRefused(missing);
  Case surprising = WithoutIntegrity();
  surprising.integrity = WithIntegrity().integrity;
  CheckRefused(surprising);
  // Encryption without its tags above an integrity device that is there.
  Case bypassed = WithIntegrity();
  Replace(bypassed.crypt, "2 integrity:32:aead", "1");
  CheckRefused(bypassed);
}

TEST_CASE("RefusesOtherShapes") {
  Case read_only = WithIntegrity();
  read_only.crypt.read_only = true;
  CheckRefused(read_only);
  Case two_lines = WithoutIntegrity();
  two_lines.crypt.lines.push_back(two_lines.crypt.lines[0]);
  CheckRefused(two_lines);
  Case linear = WithoutIntegrity();
  linear.crypt.lines[0].target = "linear";
  CheckRefused(linear);
  Case cut = WithoutIntegrity();
  cut.crypt.lines[0].words = "aes-xts-plain64";
  CheckRefused(cut);
  Case shorter = WithoutIntegrity();
  shorter.crypt.lines[0].length = 8;
  CheckRefused(shorter);
  Case longer = WithIntegrity();
  longer.crypt.lines[0].length = 98304;
  CheckRefused(longer);
}

}  // namespace
}  // namespace rescue::disk
