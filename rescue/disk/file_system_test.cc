#include "rescue/disk/file_system.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "rescue/base/units.h"
#include "tests/support/fixtures.h"

namespace rescue::disk {
namespace {

using Catch::Matchers::ContainsSubstring;

void Put(Bytes& bytes, std::size_t at, std::uint64_t value, std::size_t size, bool little) {
  for (std::size_t i = 0; i < size; ++i) {
    const std::size_t shift = 8 * (little ? i : size - 1 - i);
    bytes[at + i] = static_cast<std::byte>(value >> shift & 0xff);
  }
}

// 4 KiB blocks, as mkfs.ext4 makes them: offsets from struct ext4_super_block.
Bytes Ext4(std::uint64_t blocks, bool wide = true) {
  Bytes start(4096);
  Put(start, 1024 + 4, blocks & 0xffffffff, 4, true);
  Put(start, 1024 + 24, 2, 4, true);
  Put(start, 1024 + 56, 0xef53, 2, true);
  Put(start, 1024 + 96, wide ? 0x80 : 0, 4, true);
  Put(start, 1024 + 336, blocks >> 32, 4, true);
  return start;
}

Bytes Xfs(std::uint64_t blocks) {
  Bytes start(4096);
  Put(start, 0, 0x58465342, 4, false);
  Put(start, 4, 4096, 4, false);
  Put(start, 8, blocks, 8, false);
  return start;
}

TEST_CASE("ReadsHowLargeAFileSystemClaimsToBe") {
  CHECK(ReadFileSystemSize(Ext4(256)) == FileSystemSize{"ext4", 4096, 256, kMiB});
  CHECK(ReadFileSystemSize(Ext4(std::uint64_t{1} << 33))->bytes == std::uint64_t{1} << 45);
  // Without the feature the upper half means something else.
  CHECK(ReadFileSystemSize(Ext4((std::uint64_t{1} << 33) + 256, false))->bytes == kMiB);
  CHECK(ReadFileSystemSize(Xfs(256)) == FileSystemSize{"xfs", 4096, 256, kMiB});
}

TEST_CASE("AFileSystemThatClaimsMoreThanThereIsIsRefused") {
  for (const Bytes& start : {Ext4(256), Xfs(256)}) {
    const auto size = ReadFileSystemSize(start);
    REQUIRE(size);
    CHECK(CheckFileSystemSize(*size, kMiB));
    CHECK(CheckFileSystemSize(*size, kGiB));  // room behind it is normal
    const Status status = CheckFileSystemSize(*size, kMiB - 1);
    REQUIRE_FALSE(status);
    CHECK(status.error().kind == ErrorKind::kVolumeRefused);
    CHECK(status.error().code == "file-system-bounds");
    CHECK_THAT(status.error().message, ContainsSubstring("claims 1048576 bytes"));
  }
}

TEST_CASE("ImpossibleNumbersAreRefused") {
  Bytes odd_size = Xfs(256);
  Put(odd_size, 4, 4097, 4, false);
  Bytes huge_blocks = Ext4(256);
  Put(huge_blocks, 1024 + 24, 0xffffffff, 4, true);
  for (const Bytes& start : {odd_size, huge_blocks, Ext4(0), Xfs(0), Xfs(~std::uint64_t{0})}) {
    const auto size = ReadFileSystemSize(start);
    REQUIRE_FALSE(size);
    CHECK(size.error().code == "file-system-bounds");
  }
}

TEST_CASE("OtherContentIsNoFileSystem") {
  CHECK(ReadFileSystemSize(Bytes(4096)).error().code == "no-file-system");
  rescue::testing::ForEveryTruncation(Ext4(256), [](ByteView start) {
    const auto size = ReadFileSystemSize(start);
    CHECK(size.has_value() == (start.size() >= 1024 + 58));
  });
}

}  // namespace
}  // namespace rescue::disk
