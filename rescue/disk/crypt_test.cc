#include "rescue/disk/crypt.h"

#include <libcryptsetup.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "rescue/base/units.h"
#include "rescue/disk/luks2.h"
#include "tests/support/fixtures.h"

namespace rescue::disk {
namespace {

using Catch::Matchers::ContainsSubstring;
using rescue::testing::TemporaryDirectory;

constexpr std::uint64_t kPlenty = 4 * kGiB;
constexpr std::string_view kFirstKey = "first key, 32 bytes long, made up";
constexpr std::string_view kSecondKey = "another key, for the second slot.";

secret::DiskKey Key(std::string_view text) { return {SecretBytes::CopyOf(AsBytes(text))}; }

// A plain file in Constellation's format without integrity (which needs a kernel), at the lowest
// cost, with two key slots.
struct SmallDisk {
  TemporaryDirectory directory;
  std::string path = directory.path() / "disk";
  std::string volume_key;

  SmallDisk() {
    std::filesystem::path file = path;
    rescue::testing::WriteFileBytes(file, {});
    std::filesystem::resize_file(file, 20 * kMiB);
    crypt_device* raw = nullptr;
    REQUIRE(crypt_init(&raw, path.c_str()) == 0);
    const std::unique_ptr<crypt_device, void (*)(crypt_device*)> device(raw, crypt_free);
    (void)crypt_metadata_locking(raw, 0);
    crypt_pbkdf_type cost{};
    cost.type = CRYPT_KDF_ARGON2ID;
    cost.hash = "sha256";
    cost.iterations = 4;
    cost.max_memory_kb = 32;
    cost.parallel_threads = 1;
    cost.flags = CRYPT_PBKDF_NO_BENCHMARK;
    crypt_params_luks2 parameters{};
    parameters.sector_size = 4096;
    parameters.pbkdf = &cost;
    volume_key.assign(64, 'v');
    volume_key.back() = 'w';  // XTS wants two different halves
    REQUIRE(crypt_format(raw, CRYPT_LUKS2, "aes", "xts-plain64", nullptr, volume_key.data(),
                         volume_key.size(), &parameters) == 0);
    Add(raw, 0, kFirstKey);
    Add(raw, 1, kSecondKey);
  }

  void Add(crypt_device* device, int slot, std::string_view key) const {
    REQUIRE(crypt_keyslot_add_by_volume_key(device, slot, volume_key.data(), volume_key.size(),
                                            key.data(), key.size()) == slot);
  }

  Header ReadAndCheck() const {
    auto header = ReadHeader(path);
    REQUIRE(header);
    const auto status = CheckHeader(*header, 20 * kMiB);
    if (!status) FAIL(status.error().message);
    return *std::move(header);
  }
};

TEST_CASE("UnlocksWithTheKeyOfAnySlot") {
  const SmallDisk disk;
  const Header header = disk.ReadAndCheck();
  CHECK_FALSE(IsInitialized(header));  // no token
  const auto first = UnlockKeyWithin(header, Key(kFirstKey), kPlenty);
  REQUIRE(first);
  CHECK(first->key_slot == 0);
  CHECK(first->tried == 1);
  CHECK(AsText(first->volume_key.Reveal()) == disk.volume_key);
  const auto second = UnlockKeyWithin(header, Key(kSecondKey), kPlenty);
  REQUIRE(second);
  CHECK(second->key_slot == 1);
  CHECK(second->tried == 2);
  CHECK(AsText(second->volume_key.Reveal()) == disk.volume_key);
}

TEST_CASE("AWrongSecretNamesTheDiskAndTheSlotsTried") {
  const SmallDisk disk;
  const Header header = disk.ReadAndCheck();
  const auto result = UnlockKeyWithin(header, Key("not this one"), kPlenty);
  REQUIRE_FALSE(result);
  CHECK(result.error().kind == ErrorKind::kCannotUnlock);
  CHECK(result.error().code == "wrong-secret");
  CHECK_THAT(result.error().message,
             ContainsSubstring(header.uuid) && ContainsSubstring("2 tried"));
}

TEST_CASE("ADiskThatWasNeverInitialisedIsToldApartFromAWrongSecret") {
  const SmallDisk disk;
  Header header = disk.ReadAndCheck();
  header.tokens = {Token{0, std::string(kStateTokenType), {}, false}};
  const auto result = UnlockKeyWithin(header, Key("not this one"), kPlenty);
  REQUIRE_FALSE(result);
  CHECK(result.error().kind == ErrorKind::kCannotUnlock);
  CHECK(result.error().code == "disk-not-initialised");
  CHECK_THAT(result.error().message, ContainsSubstring("never initialised"));
  // A disk that was marked for reset has its derived key still.
  CHECK(UnlockKeyWithin(header, Key(kFirstKey), kPlenty));
  header.tokens[0].initialized = true;
  CHECK(UnlockKeyWithin(header, Key("not this one"), kPlenty).error().code == "wrong-secret");
}

TEST_CASE("AKeySlotThatNeedsTooMuchMemoryDoesNotKeepTheOthersFromBeingTried") {
  const SmallDisk disk;
  Header header = disk.ReadAndCheck();
  header.key_slots[0].derivation.memory_kib = kMiB;  // 1 GiB
  const auto result = UnlockKeyWithin(header, Key(kSecondKey), 512 * kMiB);
  REQUIRE(result);
  CHECK(result->key_slot == 1);
  CHECK(result->tried == 1);
}

TEST_CASE("WithoutATokenTheTpmIsNotAsked") {
  const SmallDisk disk;
  const auto result = UnlockWithToken(disk.ReadAndCheck(), nullptr);
  REQUIRE_FALSE(result);
  CHECK(result.error().kind == ErrorKind::kCannotUnlock);
  CHECK(result.error().code == "no-token");
}

// Stands in for systemd's plugin: a token whose JSON names a secret gives it, the others fail.
int OpenTestToken(crypt_device* device, int token, char** buffer, size_t* size, void* /*unused*/) {
  const char* json = nullptr;
  if (crypt_token_json_get(device, token, &json) < 0) return -EINVAL;
  if (std::strstr(json, "\"gives\"") == nullptr) return -EPERM;
  *size = kSecondKey.size();
  *buffer = static_cast<char*>(std::malloc(*size));
  std::memcpy(*buffer, kSecondKey.data(), *size);
  return 0;
}
void FreeTestToken(void* buffer, size_t /*size*/) { std::free(buffer); }

TEST_CASE("EveryTokenIsTriedUntilOneOpensTheDisk") {
  static const crypt_token_handler kHandler = {"systemd-tpm2", OpenTestToken, FreeTestToken,
                                               nullptr, nullptr};
  REQUIRE(crypt_token_register(&kHandler) == 0);
  const SmallDisk disk;
  const auto with_tokens = [&](const char* last) {
    crypt_device* raw = nullptr;
    REQUIRE(crypt_init(&raw, disk.path.c_str()) == 0);
    const std::unique_ptr<crypt_device, void (*)(crypt_device*)> device(raw, crypt_free);
    (void)crypt_metadata_locking(raw, 0);
    REQUIRE(crypt_load(raw, CRYPT_LUKS2, nullptr) == 0);
    REQUIRE(crypt_token_json_set(raw, 0, R"({"type":"systemd-tpm2","keyslots":["0"]})") == 0);
    REQUIRE(crypt_token_json_set(raw, 3, last) == 3);
    auto header = ReadHeader(disk.path);
    REQUIRE(header);
    REQUIRE(CheckHeader(*header, 20 * kMiB, {Profile::kLuks2, {}}));
    return *std::move(header);
  };
  const auto opened = UnlockWithToken(
      with_tokens(R"({"type":"systemd-tpm2","keyslots":["1"],"gives":"it"})"), nullptr);
  if (!opened) FAIL(opened.error().message);
  CHECK(opened->token == 3);
  CHECK(opened->key_slot == 1);
  CHECK(AsText(opened->volume_key.Reveal()) == disk.volume_key);
  const auto failed =
      UnlockWithToken(with_tokens(R"({"type":"systemd-tpm2","keyslots":["1"]})"), nullptr);
  REQUIRE_FALSE(failed);
  CHECK(failed.error().kind == ErrorKind::kCannotUnlock);
  CHECK(failed.error().code == "token-failed");
}

TEST_CASE("SaysHowMuchMemoryAKeySlotNeeds") {
  const SmallDisk disk;
  Header header = disk.ReadAndCheck();
  for (KeySlot& slot : header.key_slots) slot.derivation.memory_kib = kMiB;  // 1 GiB
  const auto result = UnlockKeyWithin(header, Key(kFirstKey), 512 * kMiB);
  REQUIRE_FALSE(result);
  CHECK(result.error().kind == ErrorKind::kCannotUnlock);
  CHECK(result.error().code == "not-enough-memory");
  CHECK_THAT(result.error().message, ContainsSubstring("1072 MiB") && ContainsSubstring("512 MiB"));
}

TEST_CASE("UnlockingNeverTouchesTheDisk") {
  const SmallDisk disk;
  // A bad first copy is what libcryptsetup would repair on the disk.
  Bytes content = rescue::testing::ReadFileBytes(disk.path);
  std::fill_n(content.begin(), 4096, std::byte{0});
  rescue::testing::WriteFileBytes(disk.path, content);
  const Header header = disk.ReadAndCheck();
  CHECK(header.uses_secondary);
  CHECK(UnlockKeyWithin(header, Key(kFirstKey), kPlenty));
  CHECK(rescue::testing::ReadFileBytes(disk.path) == content);
}

TEST_CASE("ADamagedKeySlotIsNoCrash") {
  const SmallDisk disk;
  Header header = disk.ReadAndCheck();
  const KeySlot& slot = header.key_slots.at(0);
  for (std::uint64_t at = 0; at < slot.area_size; at += 512) {
    header.area[slot.area_offset + at] ^= std::byte{0xff};
  }
  const auto result = UnlockKeyWithin(header, Key(kFirstKey), kPlenty);
  REQUIRE_FALSE(result);
  CHECK(result.error().code == "wrong-secret");
}

TEST_CASE("ReadsTheAvailableMemory") {
  const auto available = AvailableMemory();
  REQUIRE(available);
  CHECK(*available > kMiB);
}

// The images beside the repository, when they are there, were made by others, with other secrets.
void OpensTheSharedDiskImages() {
  const auto path = rescue::testing::SharedFixturePath("disks/fixtures.json");
  const auto facts = nlohmann::json::parse(AsText(rescue::testing::ReadFileBytes(*path)));
  for (const auto& name : {"integrity", "nointegrity", "badprimary", "dirty"}) {
    CAPTURE(name);
    const auto& disk = facts["disks"][name];
    const TemporaryDirectory directory;
    const std::string image = directory.path() / "image";
    const std::string command = "xz -dc '" +
                                (path->parent_path() / disk["file"].get<std::string>()).string() +
                                "' > '" + image + "'";
    REQUIRE(std::system(command.c_str()) == 0);  // NOLINT(cert-env33-c): the test's own names
    const auto header = ReadHeader(image);
    REQUIRE(header);
    CHECK(header->uuid == disk["uuid"].get<std::string>());
    CHECK(CheckHeader(*header, disk["bytes"].get<std::uint64_t>()));
    const Bytes key = *ParseHex(disk["passphrase_hex"].get<std::string>());
    CHECK(UnlockKeyWithin(*header, {SecretBytes::CopyOf(key)}, kPlenty));
  }
}

const bool registered = [] {
  if (rescue::testing::SharedFixturePath("disks/fixtures.json")) {
    REGISTER_TEST_CASE(OpensTheSharedDiskImages, "OpensTheSharedDiskImages");
  }
  return true;
}();

}  // namespace
}  // namespace rescue::disk
