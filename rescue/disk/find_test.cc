#include "rescue/disk/find.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <filesystem>

#include "rescue/base/units.h"
#include "rescue/disk/find_in.h"
#include "tests/support/fixtures.h"

namespace rescue::disk {
namespace {

namespace fs = std::filesystem;
using Catch::Matchers::ContainsSubstring;
using rescue::testing::FixturePath;
using rescue::testing::ReadFileBytes;
using rescue::testing::TemporaryDirectory;
using rescue::testing::WriteFileBytes;

constexpr std::string_view kUuid = "d0fd6f46-c830-42a9-a4eb-e46e6c70e036";

// A machine made of folders: files stand in for its block devices.
struct Machine {
  TemporaryDirectory directory;
  SystemPaths system;

  Machine() {
    const fs::path root = directory.path();
    system.class_block = root / "class";
    system.dev = root / "dev";
    system.mountinfo = root / "mountinfo";
    system.swaps = root / "swaps";
    fs::create_directories(system.class_block);
    fs::create_directories(system.dev);
  }

  fs::path Add(const std::string& name, const Bytes& content) const {
    fs::create_directories(fs::path(system.class_block) / name / "device");
    fs::path path = fs::path(system.dev) / name;
    WriteFileBytes(path, content);
    return path;
  }

  void Set(const std::string& name, const std::string& value) const {
    WriteFileBytes(fs::path(system.class_block) / name, AsBytes(value));
  }
};

Bytes StateDisk() {
  Bytes disk = ReadFileBytes(FixturePath("disk/luks2-header.bin"));
  disk.resize(kMiB);
  return disk;
}

FoundDisk Candidate(const std::string& path, bool token) {
  FoundDisk disk;
  disk.path = path;
  disk.is_candidate = true;
  disk.has_state_token = token;
  return disk;
}

TEST_CASE("FindsTheStateDiskByItsContent") {
  const Machine machine;
  machine.Add("vda", Bytes(kMiB));
  machine.Add("vdb", StateDisk());
  machine.Set("vdb/device/model", "QEMU HARDDISK   \n");
  machine.Set("vdb/serial", "ABC123\n");
  const auto disks = FindDisksIn(machine.system);
  REQUIRE(disks);
  REQUIRE(disks->size() == 2);
  CHECK_FALSE(disks->at(0).is_candidate);
  CHECK_FALSE(disks->at(0).why.empty());
  const FoundDisk& state = disks->at(1);
  CHECK(state.is_candidate);
  CHECK(state.has_state_token);
  CHECK(state.content == "LUKS2");
  CHECK(state.luks_uuid == kUuid);
  CHECK(state.model == "QEMU HARDDISK");
  CHECK(state.serial == "ABC123");
  CHECK(state.size == kMiB);
  const auto chosen = ChooseDisk(*disks);
  REQUIRE(chosen);
  CHECK(*chosen == state);
}

TEST_CASE("PassesOverDevicesThatNobodyAttached") {
  const Machine machine;
  for (const char* name : {"loop0", "dm-0", "ram1", "zram0", "sr0", "fd0"}) {
    machine.Add(name, StateDisk());
  }
  const auto disks = FindDisksIn(machine.system);
  REQUIRE(disks);
  CHECK(disks->empty());
}

TEST_CASE("ADiskWithPartitionsIsItsPartitions") {
  const Machine machine;
  machine.Add("sda", Bytes(kMiB));
  fs::create_directories(fs::path(machine.system.class_block) / "sda/sda1");
  machine.Set("sda/sda1/partition", "1\n");
  machine.Add("sda1", StateDisk());
  const auto disks = FindDisksIn(machine.system);
  REQUIRE(disks);
  REQUIRE(disks->size() == 1);
  CHECK_THAT(disks->at(0).path, ContainsSubstring("sda1"));
}

TEST_CASE("APartitionTableCannotHideALuks2Header") {
  const Machine machine;
  machine.Add("sda", StateDisk());
  fs::create_directories(fs::path(machine.system.class_block) / "sda/sda1");
  machine.Set("sda/sda1/partition", "1\n");
  machine.Add("sda1", StateDisk());
  const auto disks = FindDisksIn(machine.system);
  REQUIRE(disks);
  CHECK(disks->size() == 2);
  CHECK(ChooseDisk(*disks).error().code == "several-state-disks");
}

TEST_CASE("DrivesOfEveryKindAreFoundByTheirNames") {
  const Machine machine;
  // NVMe, SCSI (as Hyper-V and VMware show it), Xen, virtio.
  for (const char* name : {"nvme0n1", "sda", "xvdf", "vdb", "cciss!c0d0"}) {
    fs::create_directories(fs::path(machine.system.class_block) / name / "device");
  }
  const auto add = [&](const char* node) {
    fs::create_directories((fs::path(machine.system.dev) / node).parent_path());
    WriteFileBytes(fs::path(machine.system.dev) / node, StateDisk());
  };
  for (const char* node : {"nvme0n1", "sda", "xvdf", "vdb", "cciss/c0d0"}) add(node);
  machine.Set("nvme0n1/device/serial", "vol0123456789abcdef0  \n");
  machine.Set("nvme0n1/wwid", "nvme.1d0f-766f6c30\n");
  machine.Set("sda/device/vpd_pg80", std::string("\0\x80\0\x0a  6000d3-1  ", 14));
  machine.Set("sda/device/wwid", "naa.60022480\n");
  machine.Set("vdb/serial", "abc\n");
  const auto path = [&](const std::string& selector) {
    const auto disk = ExamineDiskIn(selector, machine.system);
    return disk ? fs::path(disk->path).filename().string() : disk.error().code;
  };
  CHECK(path("SERIAL=vol0123456789abcdef0") == "nvme0n1");
  CHECK(path("SERIAL=nvme.1d0f-766f6c30") == "nvme0n1");
  CHECK(path("SERIAL=6000d3-1") == "sda");
  CHECK(path("SERIAL=naa.60022480") == "sda");
  CHECK(path("SERIAL=abc") == "vdb");
  CHECK(path("SERIAL=") == "no-such-disk");
  CHECK(path("SERIAL=other") == "no-such-disk");
  CHECK(FindDisksIn(machine.system)->size() == 5);
}

TEST_CASE("WhatHasToBeOpenedFirstIsRefusedByName") {
  const Machine machine;
  std::vector<std::pair<std::string, std::string>> cases;
  for (const char* word : {"LVM2_member", "linux_raid_member", "isw_raid_member", "LUKS1",
                           "BitLocker", "zfs_member", "bcache", "DM_snapshot_cow"}) {
    Content content;
    content.kind = ContentKind::kContainer;
    content.word = word;
    const Status status = CheckOpenable("/dev/sdx", content);
    REQUIRE_FALSE(status);
    CHECK(status.error().kind == ErrorKind::kVolumeRefused);
    CHECK_FALSE(status.error().hint.empty());
    cases.emplace_back(word, status.error().code);
  }
  CHECK(cases == std::vector<std::pair<std::string, std::string>>{{"LVM2_member", "lvm"},
                                                                  {"linux_raid_member", "raid"},
                                                                  {"isw_raid_member", "raid"},
                                                                  {"LUKS1", "luks1"},
                                                                  {"BitLocker", "bitlocker"},
                                                                  {"zfs_member", "zfs"},
                                                                  {"bcache", "bcache"},
                                                                  {"DM_snapshot_cow", "raid"}});
  const fs::path path = machine.Add("sdx", Bytes(kMiB));
  CHECK(CheckOpenable(path, ExamineDiskIn(path, machine.system)->inside).error().code ==
        "not-luks");
}

void Put(Bytes& disk, std::size_t at, std::string_view text) {
  std::copy_n(AsBytes(text).begin(), text.size(), disk.begin() + static_cast<std::ptrdiff_t>(at));
}
void PutLe(Bytes& disk, std::size_t at, std::uint64_t value, int size) {
  for (int i = 0; i < size; ++i) disk[at + std::size_t(i)] = std::byte(value >> (8 * i) & 0xff);
}

constexpr std::size_t kNoFloppy = 2 * kMiB;  // libblkid looks for no RAID below 1440 KiB

// A physical volume's label: lib/format_text/layout.h and lib/misc/crc.c of LVM2.
Bytes LvmDisk() {
  Bytes disk(kNoFloppy);
  Put(disk, 512, "LABELONE");
  PutLe(disk, 520, 1, 8);
  PutLe(disk, 532, 32, 4);
  Put(disk, 536, "LVM2 001");
  std::uint32_t crc = 0xf597a6cf;
  for (std::size_t i = 532; i < 1024; ++i) {
    crc ^= std::to_integer<std::uint32_t>(disk[i]);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0xedb88320U : 0U);
  }
  PutLe(disk, 528, crc, 4);
  return disk;
}

// Version 1.2: struct mdp_superblock_1 in Linux' include/uapi/linux/raid/md_p.h; the checksum is
// calc_sb_1_csum's in drivers/md/md.c.
Bytes RaidDisk() {
  Bytes disk(kNoFloppy);
  constexpr std::size_t kAt = 4096;
  PutLe(disk, kAt, 0xa92b4efc, 4);
  PutLe(disk, kAt + 4, 1, 4);
  Put(disk, kAt + 16, "0123456789abcdef");
  PutLe(disk, kAt + 144, kAt / 512, 8);
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < 256; ++i) {
    sum += std::uint64_t(std::to_integer<unsigned>(disk[kAt + i])) << (8 * (i % 4));
  }
  PutLe(disk, kAt + 216, (sum & 0xffffffff) + (sum >> 32), 4);
  return disk;
}

// Windows 7 and later: the boot sector names the place of the metadata (libbde's format
// description, "Volume header" and "FVE metadata block header").
Bytes BitLockerDisk() {
  Bytes disk(kMiB);
  Put(disk, 0, "\xeb\x58\x90-FVE-FS-");
  Put(disk, 160,
      std::string_view("\x3b\xd6\x67\x49\x29\x2e\xd8\x4a\x83\x99\xf6\xa3\x39\xe3\xd0\x01", 16));
  PutLe(disk, 176, 65'536, 8);
  Put(disk, 65'536, "-FVE-FS-");
  PutLe(disk, 65'536 + 8, 64, 2);
  PutLe(disk, 65'536 + 10, 2, 2);
  return disk;
}

TEST_CASE("LvmRaidAndBitLockerAreKnownByWhatStandsOnTheDisk") {
  const Machine machine;
  const auto refusal = [&](const char* name, const Bytes& content) {
    const fs::path path = machine.Add(name, content);
    const auto disk = ExamineDiskIn(path, machine.system);
    CHECK_FALSE(disk->is_candidate);
    CHECK_FALSE(disk->why.empty());
    const Status status = CheckOpenable(path, disk->inside);
    return status ? "openable" : status.error().code;
  };
  CHECK(refusal("sda", LvmDisk()) == "lvm");
  CHECK(refusal("sdb", RaidDisk()) == "raid");
  CHECK(refusal("sdc", BitLockerDisk()) == "bitlocker");
  // One wrong byte, and it is something else.
  Bytes other = LvmDisk();
  other[600] ^= std::byte{1};
  CHECK(refusal("sdd", other) == "not-luks");
}

TEST_CASE("FindingChangesNothing") {
  const Machine machine;
  Bytes broken = StateDisk();
  broken[5000] ^= std::byte{1};  // the first copy: libcryptsetup would repair it
  const fs::path path = machine.Add("vdb", broken);
  const auto disks = FindDisksIn(machine.system);
  REQUIRE(disks);
  CHECK(disks->at(0).is_candidate);
  CHECK(ReadFileBytes(path) == broken);
}

TEST_CASE("OtherContentIsNamed") {
  const Machine machine;
  Bytes luks1(kMiB);
  std::copy_n(StateDisk().begin(), 6, luks1.begin());
  luks1[7] = std::byte{1};
  machine.Add("vda", luks1);
  Bytes damaged = StateDisk();
  damaged[5000] ^= std::byte{1};
  damaged[5000 + 16384] ^= std::byte{1};
  machine.Add("vdb", damaged);
  Bytes swap(kMiB);
  const std::string_view magic = "SWAPSPACE2";
  std::copy_n(AsBytes(magic).begin(), magic.size(), swap.begin() + 4086);
  swap[1024] = std::byte{1};    // version
  swap[1028] = std::byte{200};  // last page
  machine.Add("vdc", swap);
  const auto disks = FindDisksIn(machine.system);
  REQUIRE(disks);
  REQUIRE(disks->size() == 3);
  for (const FoundDisk& disk : *disks) CHECK_FALSE(disk.is_candidate);
  CHECK(disks->at(0).content == "LUKS1");
  CHECK_THAT(disks->at(1).why, ContainsSubstring("both copies are damaged"));
  CHECK(disks->at(2).content == "swap");
  const auto chosen = ChooseDisk(*disks);
  REQUIRE_FALSE(chosen);
  CHECK(chosen.error().code == "no-state-disk");
  CHECK(chosen.error().kind == ErrorKind::kNoStateDisk);
  CHECK_THAT(chosen.error().message, ContainsSubstring("LUKS1") && ContainsSubstring("vdc"));
}

TEST_CASE("TwoCandidatesAreNotChosenFrom") {
  const auto chosen = ChooseDisk({Candidate("/dev/a", true), Candidate("/dev/b", true)});
  REQUIRE_FALSE(chosen);
  CHECK(chosen.error().kind == ErrorKind::kNoStateDisk);
  CHECK(chosen.error().code == "several-state-disks");
  CHECK_THAT(chosen.error().message, ContainsSubstring("/dev/a") && ContainsSubstring("/dev/b"));
}

TEST_CASE("TheTokenGoesBeforeOtherLuks2Disks") {
  const auto chosen = ChooseDisk({Candidate("/dev/a", false), Candidate("/dev/b", true)});
  REQUIRE(chosen);
  CHECK(chosen->path == "/dev/b");
  const auto lone = ChooseDisk({Candidate("/dev/a", false)});
  REQUIRE(lone);
  CHECK_FALSE(ChooseDisk({Candidate("/dev/a", false), Candidate("/dev/b", false)}));
}

TEST_CASE("NoDisksAtAllIsSaidSo") {
  const auto chosen = ChooseDisk({});
  REQUIRE_FALSE(chosen);
  CHECK(chosen.error().code == "no-state-disk");
}

TEST_CASE("ADiskIsNamedByPathOrUuid") {
  const Machine machine;
  const fs::path path = machine.Add("vdb", StateDisk());
  std::string upper(kUuid);
  for (char& c : upper) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  for (const std::string& selector :
       {path.string(), std::string(kUuid), "UUID=" + std::string(kUuid), "UUID=" + upper}) {
    CAPTURE(selector);
    const auto disk = ExamineDiskIn(selector, machine.system);
    REQUIRE(disk);
    CHECK(disk->luks_uuid == kUuid);
  }
  for (const std::string& selector :
       {std::string("/no/such/disk"), std::string("UUID=d0fd6f46"), machine.system.dev}) {
    CAPTURE(selector);
    const auto disk = ExamineDiskIn(selector, machine.system);
    REQUIRE_FALSE(disk);
    CHECK(disk.error().kind == ErrorKind::kNoStateDisk);
    CHECK(disk.error().code == "no-such-disk");
  }
}

TEST_CASE("ACopyOfTheDiskMakesItsUuidAmbiguous") {
  const Machine machine;
  machine.Add("vdb", StateDisk());
  machine.Add("vdc", StateDisk());
  const auto disk = ExamineDiskIn("UUID=" + std::string(kUuid), machine.system);
  REQUIRE_FALSE(disk);
  CHECK(disk.error().code == "several-state-disks");
}

}  // namespace
}  // namespace rescue::disk
