#include "rescue/base/mounted_file_system.h"

#include <catch2/catch_test_macros.hpp>
#include <filesystem>
#include <fstream>

#include "rescue/base/real_file_system.h"
#include "tests/support/fixtures.h"

namespace rescue {
namespace {

namespace fs = std::filesystem;

struct TwoPlaces {
  testing::TemporaryDirectory directory;
  std::unique_ptr<MountedFileSystem> files;

  TwoPlaces() {
    fs::create_directories(Data() / "member/snap");
    fs::create_directories(Log());
    std::ofstream(Data() / "member/snap/db") << "backend";
    std::ofstream(Log() / "0.wal") << "log";
    files =
        std::make_unique<MountedFileSystem>(RealFileSystem::OpenRoot(Data()).value(), "member/wal",
                                            RealFileSystem::OpenRoot(Log()).value());
  }
  fs::path Data() const { return directory.path() / "data"; }
  fs::path Log() const { return directory.path() / "log"; }
};

std::string Content(const FileView& files, std::string_view path) {
  return std::string(AsText(ReadWhole(files, path, 1000).value()));
}

TEST_CASE("TwoPlacesReadAsOne") {
  const TwoPlaces places;
  const FileView& files = *places.files;
  CHECK(Content(files, "member/snap/db") == "backend");
  CHECK(Content(files, "member/wal/0.wal") == "log");
  CHECK(files.List("member").value() ==
        std::vector<DirectoryEntry>{{"snap", FileType::kDirectory}, {"wal", FileType::kDirectory}});
  CHECK(files.List("member/wal").value() ==
        std::vector<DirectoryEntry>{{"0.wal", FileType::kRegular}});
  CHECK(files.Stat("member/wal").value().type == FileType::kDirectory);
  CHECK(files.Stat("member/wal/0.wal").value().size == 3);
  CHECK(IsNotFound(files.Stat("member/wall").error()));
  CHECK(IsNotFound(files.Open("member/wal/1.wal").error()));
  CHECK_FALSE(files.Open("member/wal/"));
  CHECK_FALSE(files.List("member/wal/"));
  CHECK_FALSE(files.Open("member/wal/../snap/db"));
}

TEST_CASE("WhatWasAtThePlaceIsHidden") {
  const TwoPlaces places;
  SECTION("a directory") {
    fs::create_directory(places.Data() / "member/wal");
    std::ofstream(places.Data() / "member/wal/hidden.wal") << "old";
  }
  SECTION("a link") { fs::create_symlink("/nowhere", places.Data() / "member/wal"); }
  CHECK(IsNotFound(places.files->Stat("member/wal/hidden.wal").error()));
  CHECK(places.files->Stat("member/wal").value().type == FileType::kDirectory);
  CHECK(places.files->List("member").value() ==
        std::vector<DirectoryEntry>{{"snap", FileType::kDirectory}, {"wal", FileType::kDirectory}});
}

TEST_CASE("ChangesGoToThePlaceThatHoldsThePath") {
  TwoPlaces places;
  FileSystem& files = *places.files;
  Attributes attributes = files.Stat("member/snap/db").value().attributes;
  attributes.mode = 0640;
  REQUIRE(files.CreateFile("member/wal/1.wal", attributes));
  REQUIRE(files.WriteAt("member/wal/1.wal", 0, AsBytes("abcdef")));
  REQUIRE(files.Truncate("member/wal/1.wal", 3));
  REQUIRE(files.SetModified("member/wal/1.wal", 1'000'000'000));
  REQUIRE(files.SyncFile("member/wal/1.wal"));
  REQUIRE(files.SyncDirectory("member/wal"));
  CHECK(Content(*RealFileSystem::OpenRoot(places.Log()).value(), "1.wal") == "abc");
  CHECK(files.Stat("member/wal/1.wal").value().modified == 1'000'000'000);
  CHECK(files.Stat("member/wal/1.wal").value().attributes.mode == 0640);

  attributes.mode = 0710;
  REQUIRE(files.MakeDirectory("member/wal/aside", attributes));
  REQUIRE(files.Rename("member/wal/1.wal", "member/wal/aside/1.wal"));
  CHECK(fs::exists(places.Log() / "aside/1.wal"));
  REQUIRE(files.Remove("member/wal/aside/1.wal"));
  REQUIRE(files.Remove("member/wal/aside"));

  attributes.mode = 0750;
  REQUIRE(files.SetAttributes("member/wal", attributes));
  CHECK(files.Stat("member/wal").value().attributes.mode == 0750);
  CHECK((fs::status(places.Log()).permissions() & fs::perms::mask) == fs::perms(0750));
  REQUIRE(files.WriteAt("member/snap/db", 0, AsBytes("B")));
  CHECK(Content(files, "member/snap/db") == "Backend");
}

TEST_CASE("NothingMovesBetweenThePlaces") {
  TwoPlaces places;
  FileSystem& files = *places.files;
  for (const auto& [from, to] : {std::pair{"member/snap/db", "member/wal/db"},
                                 std::pair{"member/wal/0.wal", "member/snap/0.wal"}}) {
    const auto moved = files.Rename(from, to);
    REQUIRE_FALSE(moved);
    CHECK(moved.error().code == "across-file-systems");
  }
  CHECK(files.Rename("member/snap", "member/wal").error().code == "mount-point");
  CHECK(files.Rename("member/wal", "member/log").error().code == "mount-point");
  CHECK(files.Rename("member", "other").error().code == "mount-point");
  CHECK(files.Remove("member/wal").error().code == "mount-point");
  CHECK(files.MakeDirectory("member/wal", {}).error().code == "mount-point");
  CHECK(files.CreateFile("member/wal", {}).error().code == "mount-point");
  CHECK(Content(files, "member/snap/db") == "backend");
  CHECK(Content(files, "member/wal/0.wal") == "log");
}

// A file system whose only answer is its free space.
class Room final : public FileSystem {
 public:
  explicit Room(std::uint64_t free) : free_(free) {}
  Result<std::unique_ptr<ReadableFile>> Open(std::string_view) const override { return No(); }
  Result<FileStatus> Stat(std::string_view) const override { return No(); }
  Result<std::vector<DirectoryEntry>> List(std::string_view) const override { return No(); }
  Status WriteAt(std::string_view, std::uint64_t, ByteView) override { return No(); }
  Status CreateFile(std::string_view, const Attributes&) override { return No(); }
  Status MakeDirectory(std::string_view, const Attributes&) override { return No(); }
  Status Truncate(std::string_view, std::uint64_t) override { return No(); }
  Status Rename(std::string_view, std::string_view) override { return No(); }
  Status Remove(std::string_view) override { return No(); }
  Status SetAttributes(std::string_view, const Attributes&) override { return No(); }
  Status SetModified(std::string_view, TimeNs) override { return No(); }
  Status SyncFile(std::string_view) override { return No(); }
  Status SyncDirectory(std::string_view) override { return No(); }
  std::uint64_t StorageOf(std::string_view) const override { return free_; }
  Result<std::uint64_t> FreeSpace() const override { return free_; }

 private:
  static tl::unexpected<Error> No() { return Fail(ErrorKind::kOther, "io", "no"); }
  std::uint64_t free_;
};

TEST_CASE("TheSmallerFreeSpaceCounts") {
  for (const auto& [below, mounted] : {std::pair{5000, 70}, std::pair{70, 5000}}) {
    const MountedFileSystem files(std::make_unique<Room>(below), "member/wal",
                                  std::make_unique<Room>(mounted));
    CHECK(files.FreeSpace().value() == 70);
    CHECK(files.FreeSpaceAt("member/snap/db").value() == static_cast<std::uint64_t>(below));
    CHECK(files.FreeSpaceAt("member/wal/0.wal").value() == static_cast<std::uint64_t>(mounted));
    CHECK(files.StorageOf("member/snap") == static_cast<std::uint64_t>(below));
    CHECK(files.StorageOf("member/wal") == static_cast<std::uint64_t>(mounted));
  }
}

}  // namespace
}  // namespace rescue
