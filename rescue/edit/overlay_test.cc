#include "rescue/edit/overlay.h"

#include <catch2/catch_test_macros.hpp>
#include <filesystem>
#include <random>
#include <string>

#include "rescue/base/real_file_system.h"
#include "rescue/edit/executor.h"
#include "rescue/edit/memory_file_system.h"
#include "rescue/edit/scenarios.h"
#include "rescue/edit/tree_snapshot.h"
#include "tests/support/fixtures.h"

namespace rescue::edit {
namespace {

using rescue::testing::FirstDifference;
using rescue::testing::kSame;
using rescue::testing::MemoryFileSystem;
using rescue::testing::SnapshotTree;
using rescue::testing::Tree;

Tree TreeOf(const FileView& files) {
  auto tree = SnapshotTree(files, std::string(testing::kJournals));
  REQUIRE(tree);
  return *std::move(tree);
}

Tree WithoutTimes(Tree tree) {
  for (auto& [path, entry] : tree) entry.status.modified = 0;
  return tree;
}

void Fill(MemoryFileSystem& files) {
  REQUIRE(testing::FillDataDirectory(files, {}));
  files.SyncAll();
}

std::string Refusal(const EditList& edits) {
  MemoryFileSystem files;
  Fill(files);
  const auto overlay = Overlay::Make(files, edits);
  REQUIRE_FALSE(overlay);
  CHECK(overlay.error().kind == ErrorKind::kRefused);
  return overlay.error().code;
}

// Random edits that often meet what earlier ones did.
class EditMaker {
 public:
  explicit EditMaker(std::uint32_t seed) : random_(seed) {}

  Edit Make() {
    Attributes attributes;
    attributes.mode = 0600 + Below(0100);
    attributes.uid = Below(3);
    if (Below(2) == 0) attributes.xattrs["user.n"] = testing::Pattern(3, Below(9));
    switch (Below(10)) {
      case 0:
      case 1:
      case 2:
        return WriteRange{Path(), Below(22'000), testing::Pattern(Below(6'000), Below(99))};
      case 3:
        return Truncate{Path(), Below(25'000)};
      case 4:
        return CreateFile{Path(), testing::Pattern(Below(3'000), Below(99)), attributes};
      case 5:
        return MakeDirectory{Path(), attributes};
      case 6:
        return Rename{Path(), Path()};
      case 7:
        return Remove{Path()};
      case 8: {
        // Mostly two that can be told apart.
        Exchange both{Path(), Path(), "db"};
        if (Below(2) == 0) both.marker = "1.wal";
        return both;
      }
      default:
        return SetAttributes{Path(), attributes};
    }
  }

  std::uint32_t Below(std::uint32_t bound) { return static_cast<std::uint32_t>(random_() % bound); }

 private:
  std::string Path() {
    static const std::vector<std::string> kPaths = {"member",
                                                    "member/snap",
                                                    "member/snap/db",
                                                    "member/snap/1.snap",
                                                    "member/wal",
                                                    "member/wal/0.wal",
                                                    "member/wal/1.wal",
                                                    "a",
                                                    "a/b",
                                                    "a/snap/db",
                                                    "member/x",
                                                    "member/x/1.wal",
                                                    "member/snap/new",
                                                    "member/wal/0.wal/x"};
    return kPaths[Below(static_cast<std::uint32_t>(kPaths.size()))];
  }

  std::mt19937 random_;
};

EditList RandomPlan(const FileView& files, EditMaker& maker) {
  EditList edits;
  const std::uint32_t count = 1 + maker.Below(12);
  for (int tries = 0; edits.size() < count && tries < 200; ++tries) {
    edits.push_back(maker.Make());
    // Also refuses an exchange that nothing would tell.
    if (!ComputeSpaceNeed(files, edits)) edits.pop_back();
  }
  return edits;
}

}  // namespace

TEST_CASE("The overlay shows what really applying gives, and undo takes it back") {
  EditMaker maker(1);
  std::size_t edits_done = 0;
  for (int round = 0; round < 250; ++round) {
    CAPTURE(round);
    MemoryFileSystem files;
    Fill(files);
    const Tree before = TreeOf(files);
    const EditList edits = RandomPlan(files, maker);
    if (edits.empty()) continue;
    edits_done += edits.size();
    Tree planned;
    {
      const auto overlay = Overlay::Make(files, edits);
      REQUIRE(overlay);
      planned = WithoutTimes(TreeOf(**overlay));
    }
    CHECK(FirstDifference(TreeOf(files), before) == kSame);
    const auto applied = Apply(files, files, testing::kJournals, edits, "");
    INFO((applied ? std::string() : applied.error().message));
    REQUIRE(applied);
    REQUIRE(FirstDifference(WithoutTimes(TreeOf(files)), planned) == kSame);
    REQUIRE(Undo(files, files, testing::kJournals));
    REQUIRE(FirstDifference(TreeOf(files), before) == kSame);
  }
  CHECK(edits_done > 1'000);
}

TEST_CASE("Reads any part of an overlaid file as the whole file has it") {
  MemoryFileSystem files;
  Fill(files);
  const auto overlay =
      Overlay::Make(files, {WriteRange{"member/snap/db", 100, testing::Pattern(50, 1)},
                            WriteRange{"member/snap/db", 120, testing::Pattern(10, 2)},
                            Truncate{"member/snap/db", 140}, Truncate{"member/snap/db", 400},
                            WriteRange{"member/snap/db", 450, testing::Pattern(50, 3)}});
  REQUIRE(overlay);
  const auto file = (*overlay)->Open("member/snap/db");
  REQUIRE(file);
  REQUIRE((*file)->size() == 500);
  const auto whole = ReadExactly(**file, 0, 500);
  REQUIRE(whole);
  CHECK((*whole)[139] != std::byte{0});
  CHECK((*whole)[140] == std::byte{0});
  for (std::size_t from = 0; from < 500; from += 7) {
    for (std::size_t length = 1; from + length <= 500; length += 31) {
      const auto part = ReadExactly(**file, from, length);
      REQUIRE(part);
      REQUIRE(Equal(*part, ByteView(*whole).subspan(from, length)));
    }
  }
  Bytes beyond(10);
  const auto nothing = (*file)->ReadAt(500, beyond);
  REQUIRE(nothing);
  CHECK(*nothing == 0);
}

TEST_CASE("Refuses edits that do not fit what they meet") {
  CHECK(Refusal({Remove{"nothing"}}) == "plan-stale");
  CHECK(Refusal({Remove{"member"}}) == "plan-stale");
  CHECK(Refusal({WriteRange{"member", 0, Bytes(1)}}) == "plan-stale");
  CHECK(Refusal({WriteRange{"nothing/x", 0, Bytes(1)}}) == "plan-stale");
  CHECK(Refusal({WriteRange{"member/snap/db", ~std::uint64_t{0}, Bytes(2)}}) == "plan-stale");
  CHECK(Refusal({Truncate{"member/snap/db", ~std::uint64_t{0}}}) == "plan-stale");
  CHECK(Refusal({CreateFile{"member", {}, {}}}) == "plan-stale");
  CHECK(Refusal({MakeDirectory{"nothing/x", {}}}) == "plan-stale");
  CHECK(Refusal({Rename{"member", "member/wal/x"}}) == "plan-stale");
  CHECK(Refusal({Rename{"member", "member"}}) == "plan-stale");
  CHECK(Refusal({Rename{"member", "other"}}) == "plan-stale");
  CHECK(Refusal({Remove{"member/snap/db"}, Truncate{"member/snap/db", 0}}) == "plan-stale");
  CHECK(Refusal({Rename{"member/wal", "w"}, Truncate{"member/wal/0.wal", 0}}) == "plan-stale");
  CHECK(Refusal({Remove{"../x"}}) == "bad-path");
  CHECK(Refusal({Remove{""}}) == "bad-path");
}

TEST_CASE("Refuses edits through a symbolic link") {
  const rescue::testing::TemporaryDirectory directory;
  std::filesystem::create_directories(directory.path() / "real");
  rescue::testing::WriteFileBytes(directory.path() / "real/file", Bytes(3));
  std::filesystem::create_directory_symlink("real", directory.path() / "link");
  std::filesystem::create_symlink("real/file", directory.path() / "file");
  const auto files = RealFileSystem::OpenRoot(directory.path().string());
  REQUIRE(files);
  const auto through = Overlay::Make(**files, {Truncate{"link/file", 0}});
  REQUIRE_FALSE(through);
  CHECK(through.error().code == "edit-through-symlink");
  const auto target = Overlay::Make(**files, {Truncate{"file", 0}});
  REQUIRE_FALSE(target);
  CHECK(target.error().code == "plan-stale");
  // What is not edited is seen as it is.
  const auto other = Overlay::Make(**files, {Truncate{"real/file", 2}});
  REQUIRE(other);
  CHECK((*other)->Stat("link")->type == FileType::kSymlink);
}

}  // namespace rescue::edit
