// Which objects a folder has, and which of them lead where.
#include "rescue/backup/store.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/generators/catch_generators_range.hpp>
#include <filesystem>

#include "rescue/backup/store_testing.h"
#include "rescue/backup/survey.h"
#include "rescue/base/real_file_system.h"

namespace rescue::backup {
namespace {

using testing::History;
using testing::StoreFolder;

// Names only: chains are made of nothing else.
class Names {
 public:
  Names& Add(const std::string& folder, const std::string& name) {
    const auto parsed = ParseObjectName(name);
    REQUIRE(parsed);
    store_.objects.push_back({folder + "/" + name, *parsed, 100, 2});
    return *this;
  }
  Names& Full(std::uint64_t last, std::int64_t time) {
    return Add("v2", fmt::format("Full-00000000-{:08}-{}.gz", last, time));
  }
  Names& Delta(std::uint64_t first, std::uint64_t last, std::int64_t time) {
    return Add("v2", fmt::format("Incr-{:08}-{:08}-{}.gz", first, last, time));
  }
  const Store& store() const { return store_; }

 private:
  Store store_;
};

std::vector<std::uint64_t> Lasts(const std::vector<StoreObject>& objects) {
  std::vector<std::uint64_t> lasts;
  lasts.reserve(objects.size());
  for (const auto& object : objects) lasts.push_back(object.name.last);
  return lasts;
}

using Lines = std::vector<std::uint64_t>;

TEST_CASE("DeltasFollowTheirFullInOrder") {
  const auto chain = ChooseChain(
      Names().Full(310, 100).Delta(537, 700, 103).Delta(311, 336, 101).Delta(337, 536, 102).store(),
      {});
  REQUIRE(chain);
  CHECK(chain->full.name.last == 310);
  CHECK(Lasts(chain->deltas) == Lines{336, 536, 700});
  CHECK(chain->reachable == 700);
  CHECK(chain->target == 700);
  CHECK_FALSE(chain->gap);
}

TEST_CASE("ALaterFullMakesEarlierDeltasVoid") {
  const auto names = Names()
                         .Full(310, 100)
                         .Delta(311, 400, 101)
                         .Full(500, 110)
                         .Delta(401, 500, 109)
                         .Delta(501, 600, 111);
  const auto chain = ChooseChain(names.store(), {});
  REQUIRE(chain);
  CHECK(chain->full.name.last == 500);
  CHECK(Lasts(chain->deltas) == Lines{600});
}

TEST_CASE("AfterARestoreTheRevisionsOfTheOtherPastDoNotCount") {
  // Went back from 1200 to 500 at time 110, and on from there.
  const auto names = Names()
                         .Full(1000, 100)
                         .Delta(1001, 1200, 101)
                         .Full(500, 110)
                         .Delta(501, 700, 111)
                         .Delta(701, 1100, 112);
  const auto chain = ChooseChain(names.store(), {});
  REQUIRE(chain);
  CHECK(chain->full.name.last == 500);
  CHECK(Lasts(chain->deltas) == Lines{700, 1100});
  CHECK(chain->reachable == 1100);
  // And the older full's chain ends where the newer one starts.
  const auto older = MakeChain(names.store(), Fulls(names.store())[1]);
  CHECK(Lasts(older.deltas) == Lines{1200});
}

TEST_CASE("AnotherPastWithAHigherRevisionIsPointedOutAndCanBeTaken") {
  const auto names =
      Names().Full(1000, 100).Delta(1001, 1200, 101).Full(500, 110).Delta(501, 700, 111);
  const auto chain = ChooseChain(names.store(), {});
  REQUIRE(chain);
  CHECK(chain->target == 700);
  REQUIRE(chain->warnings.size() == 1);
  CHECK(chain->warnings[0].find("--to-revision 1000") != std::string::npos);
  CHECK(ChooseChain(names.store(), 1000)->full.name.last == 1000);
  CHECK(ChooseChain(names.store(), 1100)->deltas.size() == 1);
  CHECK(ChooseChain(names.store(), 600)->full.name.last == 500);
}

TEST_CASE("AHoleIsNamedWithTheLastRevisionBeforeIt") {
  const auto names = Names().Full(310, 100).Delta(311, 400, 101).Delta(501, 600, 102);
  const auto chain = ChooseChain(names.store(), {});
  REQUIRE_FALSE(chain);
  CHECK(chain.error().code == "backup-gap");
  CHECK(chain.error().kind == ErrorKind::kDataDamaged);
  CHECK(chain.error().message.find("401 to 500") != std::string::npos);
  CHECK(chain.error().hint.find("--to-revision 400") != std::string::npos);
  CHECK(ChooseChain(names.store(), 550).error().code == "backup-gap");
  const auto before = ChooseChain(names.store(), 400);
  REQUIRE(before);
  CHECK(before->target == 400);
  CHECK(Lasts(before->deltas) == Lines{400});
}

TEST_CASE("WhatAFullHoldsBeyondItsNameClosesAHole") {
  const auto names = Names().Full(310, 100).Delta(337, 400, 101);
  CHECK(ChooseChain(names.store(), {}).error().code == "backup-gap");
  const auto chain =
      ChooseChain(names.store(), {}, [](const StoreObject&) { return std::uint64_t{336}; });
  REQUIRE(chain);
  CHECK(Lasts(chain->deltas) == Lines{400});
}

TEST_CASE("ADeltaThatTheFullHoldsAlreadyIsNotNeeded") {
  const auto names = Names().Full(310, 100).Delta(311, 326, 100).Delta(327, 400, 101);
  const auto chain =
      ChooseChain(names.store(), {}, [](const StoreObject&) { return std::uint64_t{330}; });
  REQUIRE(chain);
  CHECK(Lasts(chain->contained) == Lines{326});
  CHECK(Lasts(chain->deltas) == Lines{400});
}

TEST_CASE("OverlappingDeltasAreFollowedWithoutAHole") {
  const auto names = Names()
                         .Full(310, 100)
                         .Delta(311, 350, 101)
                         .Delta(311, 380, 102)
                         .Delta(370, 375, 103)
                         .Delta(376, 420, 104);
  const auto chain = ChooseChain(names.store(), {});
  REQUIRE(chain);
  CHECK(Lasts(chain->deltas) == Lines{350, 380, 420});
  CHECK(Lasts(chain->contained) == Lines{375});
}

TEST_CASE("APointInTimeComesFromTheNewestFullBeforeIt") {
  const auto names =
      Names().Full(310, 100).Delta(311, 400, 101).Delta(401, 500, 102).Full(500, 110);
  const auto chain = ChooseChain(names.store(), 450);
  REQUIRE(chain);
  CHECK(chain->full.name.last == 310);
  CHECK(Lasts(chain->deltas) == Lines{400, 500});
  CHECK(chain->target == 450);
  CHECK(ChooseChain(names.store(), 500)->full.name.last == 500);
  CHECK(ChooseChain(names.store(), 501).error().code == "revision-unreachable");
  CHECK(ChooseChain(names.store(), 309).error().code == "no-full");
  // A full whose content goes beyond the wanted revision does not do.
  const auto held = [](const StoreObject& full) { return full.name.last + 3; };
  CHECK(ChooseChain(names.store(), 500, held)->full.name.last == 310);
}

TEST_CASE("WithoutAFullThereIsNothingToRestore") {
  CHECK(ChooseChain(Names().Delta(311, 400, 101).store(), {}).error().code == "no-full");
  CHECK(ChooseChain(Store{}, {}).error().code == "no-backup");
}

TEST_CASE("BothLayoutsAreFoundSideBySideAndWithoutAPrefix") {
  const History history = testing::SampleHistory(60);
  StoreFolder folder;
  folder.In("etcd-main/v1/Backup-100").Full(history, 20, 100);
  folder.Delta(history, 21, 30, 101);
  folder.In("etcd-main/v2").Full(history, 40, 200);
  folder.Delta(history, 41, 61, 201);
  const auto view = RealFileSystem::OpenRoot(folder.path().string());
  REQUIRE(view);
  for (const char* root : {"", "etcd-main"}) {
    const auto catalogue = ListStore(**view, root);
    REQUIRE(catalogue);
    const auto store = OnlyStore(*catalogue);
    REQUIRE(store);
    CHECK(store->prefix == "etcd-main");
    REQUIRE(store->objects.size() == 4);
    CHECK(store->objects.front().layout == 1);
    CHECK(store->objects.back().layout == 2);
    CHECK(ChooseChain(*store, {})->reachable == 61);
    CHECK(ChooseChain(*store, 25)->full.layout == 1);
  }
  CHECK(OnlyStore(*ListStore(**view, "etcd-main/v1"))->objects.size() == 2);
  CHECK(OnlyStore(*ListStore(**view, "etcd-main/v1/Backup-100"))->objects.size() == 2);
  CHECK(OnlyStore(*ListStore(**view, "etcd-main/v2"))->objects.size() == 2);
}

TEST_CASE("TwoStoresInOneFolderMustBeToldApart") {
  const History history = testing::SampleHistory(10);
  StoreFolder folder;
  folder.In("etcd-main/v2").Full(history, 11, 100);
  folder.In("etcd-events/v2").Full(history, 11, 100);
  const auto view = RealFileSystem::OpenRoot(folder.path().string());
  const auto catalogue = ListStore(**view, "");
  REQUIRE(catalogue);
  const auto store = OnlyStore(*catalogue);
  REQUIRE_FALSE(store);
  CHECK(store.error().code == "several-stores");
  CHECK(OnlyStore(*ListStore(**view, "etcd-events")));
  CHECK(OnlyStore(*ListStore(**view, "etcd-main/v2")));
  CHECK(OnlyStore(*ListStore(**view, "nowhere").or_else([](const Error& error) {
          CHECK(error.code == "not-found");
          return Result<Catalogue>(Catalogue());
        }))
            .error()
            .code == "no-backup");
}

TEST_CASE("ForeignFilesAndLinksAreListedAndLeftAlone") {
  const History history = testing::SampleHistory(10);
  StoreFolder folder;
  folder.Full(history, 11, 100);
  folder.File("etcd/v2/README.txt", AsBytes("x"));
  folder.File("etcd/v2/Incr-00000012-00000013", AsBytes("x"));
  folder.File("etcd/v2/.tmp/Incr-00000012-00000013-101", AsBytes("x"));
  std::filesystem::create_symlink("/etc/passwd",
                                  folder.path() / "etcd/v2/Full-00000000-00000099-999");
  std::filesystem::create_directory_symlink("/", folder.path() / "etcd/v2/more");
  std::filesystem::create_directories(folder.path() / "etcd/v2/Incr-00000012-00000013-102");
  const auto view = RealFileSystem::OpenRoot(folder.path().string());
  const auto catalogue = ListStore(**view, "");
  REQUIRE(catalogue);
  CHECK(OnlyStore(*catalogue)->objects.size() == 1);
  CHECK(catalogue->foreign_count == 5);
  std::vector<std::string> paths;
  for (const auto& foreign : catalogue->foreign) paths.push_back(foreign.path);
  CHECK(paths == std::vector<std::string>{"etcd/v2/.tmp", "etcd/v2/Full-00000000-00000099-999",
                                          "etcd/v2/Incr-00000012-00000013", "etcd/v2/README.txt",
                                          "etcd/v2/more"});
}

TEST_CASE("ASurveySaysWhatEveryObjectHolds") {
  const auto compression =
      GENERATE(Compression::kNone, Compression::kGzip, Compression::kZlib, Compression::kLzw);
  const History history = testing::SampleHistory(120);
  StoreFolder folder(compression);
  folder.Full(history, 50, 100, /*held=*/53);
  folder.Delta(history, 51, 90, 101);
  folder.Delta(history, 91, 121, 102);
  const auto view = RealFileSystem::OpenRoot(folder.path().string());
  const auto store = OnlyStore(*ListStore(**view, ""));
  REQUIRE(store);
  const auto survey = SurveyStore(**view, *store);
  REQUIRE(survey);
  CHECK(survey->reachable == 121);
  CHECK_FALSE(survey->obstacle);
  REQUIRE(survey->objects.size() == 3);
  REQUIRE(survey->objects[0].snapshot);
  CHECK(survey->objects[0].snapshot->verdict == Verdict::kTrailerMatches);
  CHECK(survey->objects[0].snapshot->revision == 53);
  const auto& writes = history.writes();
  const auto in_second =
      std::ranges::count_if(writes, [](const auto& write) { return write.revision.main > 90; });
  const auto deleted = std::ranges::count_if(
      writes, [](const auto& write) { return write.revision.main > 90 && write.tombstone; });
  CHECK(survey->objects[2].events == static_cast<std::uint64_t>(in_second));
  CHECK(survey->objects[2].deletions == static_cast<std::uint64_t>(deleted));
  CHECK(deleted > 0);
  CHECK(HeldIn(**view)(store->objects.front()) == 53);
}

TEST_CASE("ADamagedDeltaEndsWhatCanBeReached") {
  const History history = testing::SampleHistory(120);
  StoreFolder folder;
  folder.Full(history, 50, 100);
  folder.Delta(history, 51, 90, 101);
  const std::string damaged = folder.Delta(history, 91, 100, 102);
  folder.Delta(history, 101, 121, 103);
  Bytes content = rescue::testing::ReadFileBytes(folder.path() / damaged);
  content.back() ^= std::byte{1};
  folder.File(damaged, content);
  const auto view = RealFileSystem::OpenRoot(folder.path().string());
  const auto survey = SurveyStore(**view, *OnlyStore(*ListStore(**view, "")));
  REQUIRE(survey);
  CHECK(survey->reachable == 90);
  REQUIRE(survey->obstacle);
  CHECK(survey->obstacle->code == "delta-hash-mismatch");
}

TEST_CASE("AFullThatEndsBeforeItsNameIsDamaged") {
  const History history = testing::SampleHistory(60);
  StoreFolder folder;
  folder.Full(history, 50, 100, /*held=*/40);
  const auto view = RealFileSystem::OpenRoot(folder.path().string());
  const auto survey = SurveyStore(**view, *OnlyStore(*ListStore(**view, "")));
  REQUIRE(survey);
  REQUIRE(survey->obstacle);
  CHECK(survey->obstacle->code == "full-short");
  CHECK(survey->reachable == 0);
}

}  // namespace
}  // namespace rescue::backup
