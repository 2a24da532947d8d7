// A copy and its digests are the same whoever copies: the kernel, or reading and writing.
#include "rescue/backup/copy.h"

#include <catch2/catch_test_macros.hpp>

#include "rescue/backup/snapshot_file.h"
#include "rescue/base/exchange.h"
#include "rescue/base/real_file_system.h"
#include "rescue/edit/memory_file_system.h"
#include "tests/support/fixtures.h"

namespace rescue::backup {
namespace {

constexpr std::uint64_t kMiBytes = 1 << 20;

Bytes Content(std::uint64_t size) {
  Bytes bytes(size);
  std::uint64_t state = size + 1;
  for (auto& byte : bytes) {
    state = state * 6364136223846793005U + 1442695040888963407U;
    byte = static_cast<std::byte>(state >> 56);
  }
  return bytes;
}

struct Folder {
  rescue::testing::TemporaryDirectory directory;
  std::unique_ptr<RealFileSystem> files = RealFileSystem::OpenRoot(directory.path()).value();

  void Add(const std::string& name, ByteView bytes) const {
    rescue::testing::WriteFileBytes(directory.path() / name, bytes);
  }
};

void CheckDigests(const Copied& copied, ByteView content) {
  CHECK(copied.size == content.size());
  if (content.size() < kDigestSize) return;
  CHECK(copied.without_last == Sha256(content.first(content.size() - kDigestSize)));
  CHECK(ToBytes(copied.last) == ToBytes(content.last(kDigestSize)));
}

TEST_CASE("CopiesOfEverySizeAreWholeAndHaveTheirDigests") {
  for (const std::uint64_t size :
       {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{31}, std::uint64_t{32}, std::uint64_t{33},
        std::uint64_t{4096}, 4 * kMiBytes, 4 * kMiBytes + 5, 9 * kMiBytes + 32}) {
    INFO(size);
    const Bytes content = Content(size);
    const Folder folder;
    folder.Add("source", content);
    folder.Add("copy", {});
    const auto source = folder.files->Open("source").value();
    std::uint64_t told = 0;
    const auto copied =
        CopyFileHashed(*source, *folder.files, "copy", [&](std::uint64_t done) { told = done; });
    REQUIRE(copied);
    CheckDigests(*copied, content);
    CHECK(rescue::testing::ReadFileBytes(folder.directory.path() / "copy") == content);
    CHECK(told == size);
    // Where no kernel helps.
    rescue::testing::MemoryFileSystem memory;
    REQUIRE(memory.CreateFile("copy", {}));
    const auto plain = CopyFileHashed(*source, memory, "copy");
    REQUIRE(plain);
    CheckDigests(*plain, content);
    CHECK(ReadWhole(memory, "copy", size + 1).value() == content);
  }
}

TEST_CASE("TheDigestIsThatOfTheCopy") {
  // The kernel copies what the file holds, also when it has become shorter since it was opened.
  const Folder folder;
  folder.Add("source", Content(6 * kMiBytes));
  folder.Add("copy", {});
  const auto source = folder.files->Open("source").value();
  const Bytes shorter = Content(5 * kMiBytes + 7);
  folder.Add("source", shorter);
  const auto copied = CopyFileHashed(*source, *folder.files, "copy");
  REQUIRE(copied);
  CheckDigests(*copied, shorter);
  CHECK(rescue::testing::ReadFileBytes(folder.directory.path() / "copy") == shorter);
}

TEST_CASE("WhatTheKernelCannotCopyIsLeftToTheCaller") {
  const Folder folder;
  folder.Add("source", Content(100));
  const auto source = folder.files->Open("source").value();
  CHECK(RangeCopier(*folder.files, "missing", *source).Copy(0, 100) == 0);
  rescue::testing::MemoryFileSystem memory;
  REQUIRE(memory.CreateFile("copy", {}));
  CHECK(RangeCopier(memory, "copy", *source).Copy(0, 100) == 0);
  folder.Add("copy", {});
  CHECK(RangeCopier(*folder.files, "copy", *source).Copy(90, 100) == 10);
}

}  // namespace
}  // namespace rescue::backup
