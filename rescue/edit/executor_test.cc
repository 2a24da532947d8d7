#include "rescue/edit/executor.h"

#include <unistd.h>

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <cerrno>
#include <filesystem>
#include <string>

#include "rescue/base/mounted_file_system.h"
#include "rescue/base/real_file_system.h"
#include "rescue/base/units.h"
#include "rescue/edit/fault_file_system.h"
#include "rescue/edit/memory_file_system.h"
#include "rescue/edit/scenarios.h"
#include "rescue/edit/tree_snapshot.h"
#include "tests/support/fixtures.h"

namespace rescue::edit {
namespace {

using rescue::testing::FaultFileSystem;
using rescue::testing::FaultScript;
using rescue::testing::FirstDifference;
using rescue::testing::kSame;
using rescue::testing::MemoryFileSystem;
using rescue::testing::SnapshotTree;
using rescue::testing::Tree;
using testing::kJournals;

Tree TreeOf(const FileView& files) {
  auto tree = SnapshotTree(files);
  REQUIRE(tree);
  return *std::move(tree);
}

std::unique_ptr<MemoryFileSystem> Filled() {
  auto files = std::make_unique<MemoryFileSystem>();
  REQUIRE(testing::FillDataDirectory(*files, {}));
  files->SyncAll();
  return files;
}

// Applies, lets `change` happen, and expects that undo refuses and writes nothing.
template <typename Change>
std::string RefusedUndo(const EditList& edits, Change change) {
  const auto files = Filled();
  testing::PatternBuilder builder;
  REQUIRE(Apply(*files, *files, kJournals, edits, "", &builder));
  change(*files);
  const Tree changed = TreeOf(*files);
  FaultScript script;
  FaultFileSystem watched(*files, script);
  const auto undone = Undo(watched, watched, kJournals);
  REQUIRE_FALSE(undone);
  CHECK(undone.error().code == "changed-since");
  CHECK(undone.error().kind == ErrorKind::kRefused);
  CHECK(script.operations == 0);
  CHECK(FirstDifference(TreeOf(*files), changed) == kSame);
  return undone.error().message;
}

}  // namespace

TEST_CASE("Applies, lists and undoes, and the tree is as before") {
  const auto files = Filled();
  const Tree before = TreeOf(*files);
  const EditList edits = testing::RebuildPlan({});
  const auto applied = Apply(*files, *files, kJournals, edits, "note \xff\n");
  REQUIRE(applied);
  CHECK(applied->journal_name == "0001.journal");
  CHECK(applied->data_bytes == 1'300 + 600 + 2'000 + 900 + 700 + 800);

  const auto journals = ListJournals(*files, kJournals);
  REQUIRE(journals);
  REQUIRE(journals->size() == 1);
  const JournalInfo& info = journals->front();
  CHECK(info.name == "0001.journal");
  CHECK(info.number == 1);
  CHECK(info.state == JournalState::kApplied);
  CHECK(info.plan_fingerprint == Fingerprint(edits));
  CHECK(info.note == "note \xff\n");
  CHECK(info.size == applied->journal_bytes);
  CHECK(info.edits == edits);
  CHECK(files->Stat(kJournals)->attributes.mode == 0700);
  CHECK(files->Stat("journals/0001.journal")->attributes.mode == 0600);

  const auto undone = Undo(*files, *files, kJournals);
  REQUIRE(undone);
  CHECK(undone->journal_name == "0001.journal");
  CHECK(undone->edits_undone == edits.size());
  CHECK(FirstDifference(TreeOf(*files), before) == kSame);
}

TEST_CASE("Takes back one change after the other, newest first") {
  const auto files = Filled();
  const Tree before = TreeOf(*files);
  REQUIRE(Apply(*files, *files, kJournals, testing::AppendPlan(), "first"));
  const Tree between = TreeOf(*files);
  REQUIRE(Apply(*files, *files, kJournals, testing::RebuildPlan({}), "second"));
  CHECK(Undo(*files, *files, kJournals)->journal_name == "0002.journal");
  Tree now = TreeOf(*files);
  now.at(std::string(kJournals)).status.modified =
      between.at(std::string(kJournals)).status.modified;
  CHECK(FirstDifference(now, between) == kSame);
  CHECK(Undo(*files, *files, kJournals)->journal_name == "0001.journal");
  CHECK(FirstDifference(TreeOf(*files), before) == kSame);
  CHECK(Undo(*files, *files, kJournals).error().code == "nothing-to-undo");
}

TEST_CASE("Leaves a journal directory that was there before") {
  const auto files = Filled();
  REQUIRE(files->MakeDirectory(kJournals, {}));
  REQUIRE(Apply(*files, *files, kJournals, testing::AppendPlan(), ""));
  REQUIRE(Undo(*files, *files, kJournals));
  CHECK(files->Stat(kJournals));
}

TEST_CASE("The journal can lie at the root of another file system") {
  const auto data = Filled();
  const Tree before = TreeOf(*data);
  MemoryFileSystem journals;
  REQUIRE(Apply(*data, journals, "", testing::RebuildPlan({}), ""));
  CHECK(ListJournals(journals, "")->size() == 1);
  REQUIRE(Undo(*data, journals, ""));
  CHECK(FirstDifference(TreeOf(*data), before) == kSame);
}

TEST_CASE("An empty list writes nothing and is no failure") {
  const auto files = Filled();
  const Tree before = TreeOf(*files);
  const auto applied = Apply(*files, *files, kJournals, {}, "");
  REQUIRE(applied);
  CHECK(applied->journal_name.empty());
  CHECK(FirstDifference(TreeOf(*files), before) == kSame);
}

TEST_CASE("Refuses before the first write when there is no room, and not one byte earlier") {
  const auto files = Filled();
  const Tree before = TreeOf(*files);
  const EditList edits = testing::RebuildPlan({});
  const auto need = ComputeSpaceNeed(*files, edits);
  REQUIRE(need);
  std::uint64_t enough = need->journal_bytes;
  files->SetFreeSpace(enough);
  const auto refused = Apply(*files, *files, kJournals, edits, "");
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == "no-space");
  CHECK(refused.error().kind == ErrorKind::kRefused);
  CHECK(refused.error().message.find("nothing was changed") != std::string::npos);
  CHECK(FirstDifference(TreeOf(*files), before) == kSame);
  files->SetFreeSpace(enough + need->data_bytes() + 12'288);
  const auto applied = Apply(*files, *files, kJournals, edits, "");
  REQUIRE(applied);
  CHECK(applied->journal_bytes == need->journal_bytes);
}

TEST_CASE("An append inside a preallocated segment works on a full disk") {
  const auto data = Filled();
  data->SetFreeSpace(0);
  MemoryFileSystem journals;
  CHECK(ComputeSpaceNeed(*data, testing::AppendPlan())->data_bytes() == 0);
  CHECK(Apply(*data, journals, "", testing::AppendPlan(), ""));
}

// Passes everything on; tests change one answer of it.
class Forwarding : public FileSystem {
 public:
  explicit Forwarding(MemoryFileSystem& files) : files_(files) {}

  Result<std::unique_ptr<ReadableFile>> Open(std::string_view path) const override {
    return files_.Open(path);
  }
  Result<FileStatus> Stat(std::string_view path) const override { return files_.Stat(path); }
  Result<std::vector<DirectoryEntry>> List(std::string_view path) const override {
    return files_.List(path);
  }
  std::uint64_t StorageOf(std::string_view path) const override { return files_.StorageOf(path); }
  Status WriteAt(std::string_view p, std::uint64_t o, ByteView b) override {
    return files_.WriteAt(p, o, b);
  }
  Status CreateFile(std::string_view p, const Attributes& a) override {
    return files_.CreateFile(p, a);
  }
  Status MakeDirectory(std::string_view p, const Attributes& a) override {
    return files_.MakeDirectory(p, a);
  }
  Status Truncate(std::string_view p, std::uint64_t s) override { return files_.Truncate(p, s); }
  Status Rename(std::string_view f, std::string_view t) override { return files_.Rename(f, t); }
  Status Remove(std::string_view p) override { return files_.Remove(p); }
  Status SetAttributes(std::string_view p, const Attributes& a) override {
    return files_.SetAttributes(p, a);
  }
  Status SetModified(std::string_view p, TimeNs t) override { return files_.SetModified(p, t); }
  Status SyncFile(std::string_view p) override { return files_.SyncFile(p); }
  Status SyncDirectory(std::string_view p) override { return files_.SyncDirectory(p); }
  Result<std::uint64_t> FreeSpace() const override { return files_.FreeSpace(); }

 protected:
  MemoryFileSystem& files_;
};

// A file that has holes, or is as large as it says.
class Sparse final : public Forwarding {
 public:
  Sparse(MemoryFileSystem& files, std::string path, bool hole)
      : Forwarding(files), path_(std::move(path)), hole_(hole) {}

  Result<std::unique_ptr<ReadableFile>> Open(std::string_view path) const override {
    ASSIGN_OR_RETURN(auto file, files_.Open(path));
    return std::make_unique<File>(std::move(file), hole_ && path == path_);
  }

 private:
  class File final : public ReadableFile {
   public:
    File(std::unique_ptr<ReadableFile> file, bool hole) : file_(std::move(file)), hole_(hole) {}
    std::uint64_t size() const override { return file_->size(); }
    std::uint64_t allocated() const override { return hole_ ? 0 : 65'536; }
    std::uint64_t unallocated(std::uint64_t, std::uint64_t length) const override {
      return hole_ ? length : 0;
    }
    Result<std::size_t> ReadAt(std::uint64_t offset, std::span<std::byte> into) const override {
      return file_->ReadAt(offset, into);
    }

   private:
    std::unique_ptr<ReadableFile> file_;
    bool hole_;
  };
  std::string path_;
  bool hole_;
};

TEST_CASE("An append into a hole needs a block, and is refused without one") {
  const auto files = Filled();
  const Tree before = TreeOf(*files);
  files->SetFreeSpace(0);
  MemoryFileSystem journals;
  Sparse data(*files, "member/wal/1.wal", true);
  const std::uint64_t need = ComputeSpaceNeed(data, testing::AppendPlan())->data_bytes();
  CHECK(need == 8'192);  // two writes, each in whole blocks
  const auto refused = Apply(data, journals, "", testing::AppendPlan(), "");
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == "no-space");
  CHECK(FirstDifference(TreeOf(*files), before) == kSame);
  files->SetFreeSpace(need);
  CHECK(Apply(data, journals, "", testing::AppendPlan(), ""));
}

TEST_CASE("What a cut gives back is there for the edits behind it, not for those before") {
  const auto files = Filled();
  Sparse data(*files, "", false);
  const Edit cut = Truncate{"member/wal/0.wal", 0};
  const Edit make = CreateFile{"member/wal/9.wal", Bytes(20'000, std::byte{1}), {}};
  CHECK(ComputeSpaceNeed(data, {cut, Remove{"member/wal/0.wal"}, make})->data_bytes() == 0);
  CHECK(ComputeSpaceNeed(data, {make, cut})->data_bytes() == 20'480 + 4'096);
  CHECK(ComputeSpaceNeed(data, {Remove{"member/wal/0.wal"}, make})->data_bytes() > 20'000);
}

TEST_CASE("A cut gives back what the rest cannot hold, under each of the file's names") {
  const auto files = Filled();
  Sparse data(*files, "", false);  // 65536 bytes of storage each
  const Edit make = CreateFile{"member/wal/9.wal", Bytes(50'000, std::byte{1}), {}};
  const auto need = [&](EditList edits) {
    edits.push_back(make);
    return ComputeSpaceNeed(data, edits)->data_bytes();
  };
  const std::uint64_t whole = 53'248 + 4'096;
  CHECK(need({}) == whole);
  CHECK(need({Truncate{"member/wal/0.wal", 50'000}}) == whole - (65'536 - 53'248));
  CHECK(need({Truncate{"member/wal/0.wal", 4'097}}) == whole - (65'536 - 8'192));
  const Edit moved = Rename{"member/wal/0.wal", "member/wal/8.wal"};
  const auto twice =
      need({Truncate{"member/wal/0.wal", 50'000}, moved, Truncate{"member/wal/8.wal", 50'000}});
  CHECK(twice == need({Truncate{"member/wal/0.wal", 50'000}}) + 4'096);
  CHECK(need({Truncate{"member/wal/0.wal", 50'000}, moved, Truncate{"member/wal/8.wal", 10}}) == 0);
}

TEST_CASE("Each storage has its own room, and the journal shares one of them") {
  auto below = std::make_unique<MemoryFileSystem>();
  auto mounted = std::make_unique<MemoryFileSystem>();
  MemoryFileSystem& data_room = *below;
  MemoryFileSystem& log_room = *mounted;
  REQUIRE(below->MakeDirectory("member", {}));
  MountedFileSystem data(std::move(below), "member/wal", std::move(mounted));
  const Bytes content(20'000, std::byte{1});
  const EditList edits = {CreateFile{"member/db", content, {}},
                          CreateFile{"member/wal/0.wal", content, {}}};
  const auto need = ComputeSpaceNeed(data, edits);
  REQUIRE(need);
  CHECK(need->growth.size() == 2);
  const std::uint64_t each = 20'480 + 4'096;
  CHECK(need->data_bytes() == 2 * each);
  MemoryFileSystem journals;
  for (MemoryFileSystem* full : {&data_room, &log_room}) {
    data_room.SetFreeSpace(each);
    log_room.SetFreeSpace(each);
    CHECK(HasRoomFor(data, *need).value());
    full->SetFreeSpace(each - 1);
    CHECK_FALSE(HasRoomFor(data, *need).value());
    const auto refused = Apply(data, journals, "", edits, "");
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == "no-space");
  }
  data_room.SetFreeSpace(each + need->journal_bytes);
  log_room.SetFreeSpace(each);
  const auto shared = Apply(data, data_room, "journals", edits, "");
  REQUIRE_FALSE(shared);
  CHECK(shared.error().message.find("journal and new files") != std::string::npos);
  CHECK(Apply(data, journals, "", edits, ""));
}

// As a backend's transaction and a new log are made.
TEST_CASE("What a write or a name counts on is durable before it") {
  MemoryFileSystem files;
  REQUIRE(files.CreateFile("db", {}));
  REQUIRE(files.WriteAt("db", 0, Bytes(20'000, std::byte{1})));
  const Bytes page(4'096, std::byte{2});
  FaultScript script;
  FaultFileSystem data(files, script);
  MemoryFileSystem journals;
  const EditList edits = {CreateFile{"new", page, {}}, WriteRange{"db", 8'192, page},
                          WriteRange{"db", 12'288, page}, WriteRange{"db", 0, page},
                          Rename{"new", "log"}};
  REQUIRE(Apply(data, journals, "", edits, ""));
  std::vector<std::string> order;
  for (const auto& line : script.log) {
    // CheckWritable's questions come before the first edit.
    if (order.empty() && !line.starts_with("create")) continue;
    order.push_back(line.substr(0, line.find(' ', line.find(' ') + 1)));
  }
  CHECK(order == std::vector<std::string>{"create new", "write new", "sync-directory ", "write db",
                                          "write db", "sync db", "write db", "sync db", "sync new",
                                          "rename new", "sync-directory "});
}

TEST_CASE("Names that tell how far a change came need no records of it") {
  const auto count = [](const EditList& edits) {
    MemoryFileSystem files;
    REQUIRE(files.CreateFile("a", {}));
    FaultScript script;
    MemoryFileSystem journals;
    FaultFileSystem counted(journals, script);
    REQUIRE(Apply(files, counted, "", edits, ""));
    return std::count_if(script.log.begin(), script.log.end(),
                         [](const std::string& line) { return line.starts_with("sync "); });
  };
  const auto none = count({WriteRange{"a", 0, Bytes(1)}});
  CHECK(count({Rename{"a", "b"}, CreateFile{"c", {}, {}}, Remove{"c"}}) == none + 1);
  CHECK(count({Rename{"a", "b"}, CreateFile{"c", {}, {}}, Rename{"c", "a"}}) == none);
}

TEST_CASE("The journal of an append is small, whatever the size of the files") {
  const auto need = ComputeSpaceNeed(*Filled(), testing::AppendPlan());
  REQUIRE(need);
  CHECK(need->journal_bytes < 4'096);
}

TEST_CASE("A segment of zeros that is cut off or removed costs nothing in the journal") {
  MemoryFileSystem files;
  files.AddFile("wal", testing::Pattern(1'000, 1));
  REQUIRE(files.Truncate("wal", 64 * kMiB));
  const auto cut = ComputeSpaceNeed(files, {Truncate{"wal", 500}});
  REQUIRE(cut);
  CHECK(cut->journal_bytes < 70'000);
  const auto removed = ComputeSpaceNeed(files, {Remove{"wal"}});
  REQUIRE(removed);
  CHECK(removed->journal_bytes < 70'000);
}

TEST_CASE("A read-only file system is refused with nothing changed, wherever the journal lies") {
  const auto files = Filled();
  const Tree before = TreeOf(*files);
  files->SetReadOnly(true);
  MemoryFileSystem elsewhere;
  for (FileSystem* journals :
       {static_cast<FileSystem*>(files.get()), static_cast<FileSystem*>(&elsewhere)}) {
    for (const EditList& edits :
         {testing::AppendPlan(), EditList{CreateFile{"new", {}, {}}}, testing::RebuildPlan({})}) {
      const auto refused = Apply(*files, *journals, kJournals, edits, "");
      REQUIRE_FALSE(refused);
      CHECK(refused.error().code == "read-only");
      CHECK(refused.error().kind == ErrorKind::kRefused);
      CHECK_FALSE(refused.error().hint.empty());
    }
  }
  CHECK(ListJournals(elsewhere, kJournals)->empty());
  CHECK(FirstDifference(TreeOf(*files), before) == kSame);

  const auto data = Filled();
  elsewhere.SetReadOnly(true);
  const auto refused = Apply(*data, elsewhere, kJournals, testing::AppendPlan(), "");
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == "read-only");
  CHECK(FirstDifference(TreeOf(*data), before) == kSame);
}

TEST_CASE("A plan for another state of the directory is refused") {
  const auto files = Filled();
  const auto refused = Apply(*files, *files, kJournals, {Remove{"member/gone"}}, "");
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == "plan-stale");
  CHECK(refused.error().kind == ErrorKind::kRefused);
}

TEST_CASE("An edit that fails is taken back, and the message says which and why") {
  const auto files = Filled();
  const Tree before = TreeOf(*files);
  FaultScript script;
  script.error = ENOSPC;
  FaultFileSystem faulty(*files, script);
  REQUIRE(Apply(faulty, faulty, kJournals, testing::AppendPlan(), ""));
  REQUIRE(Undo(*files, *files, kJournals));
  for (std::size_t i = 0; i < script.log.size(); ++i) {
    if (script.log[i] == "write member/wal/1.wal") script.fail_at = i;  // the last edit
  }
  script.operations = 0;
  const auto failed = Apply(faulty, faulty, kJournals, testing::AppendPlan(), "");
  REQUIRE_FALSE(failed);
  CHECK(failed.error().code == "apply-rolled-back");
  CHECK(failed.error().kind == ErrorKind::kRolledBack);
  CHECK(failed.error().message.find("edit 2 of 2 (write 40 bytes at 4992 of member/wal/1.wal)") !=
        std::string::npos);
  CHECK(failed.error().message.find("No space left on device") != std::string::npos);
  CHECK(FirstDifference(TreeOf(*files), before) == kSame);
}

TEST_CASE("An unfinished journal blocks the next change until it is undone") {
  const auto files = Filled();
  const Tree before = TreeOf(*files);
  FaultScript script;
  script.after = FaultScript::After::kDead;
  FaultFileSystem faulty(*files, script);
  REQUIRE(Apply(faulty, faulty, kJournals, testing::RebuildPlan({}), ""));
  REQUIRE(Undo(*files, *files, kJournals));
  script.fail_at = script.log.size() - 5;
  script.operations = 0;
  const auto failed = Apply(faulty, faulty, kJournals, testing::RebuildPlan({}), "");
  REQUIRE_FALSE(failed);
  CHECK(failed.error().code == "rollback-failed");
  CHECK(failed.error().kind == ErrorKind::kUnfinishedJournal);
  CHECK(ListJournals(*files, kJournals)->front().state == JournalState::kUnfinished);
  const auto blocked = Apply(*files, *files, kJournals, testing::AppendPlan(), "");
  REQUIRE_FALSE(blocked);
  CHECK(blocked.error().code == "unfinished-journal");
  CHECK(blocked.error().kind == ErrorKind::kUnfinishedJournal);
  REQUIRE(Undo(*files, *files, kJournals));
  CHECK(FirstDifference(TreeOf(*files), before) == kSame);
  CHECK(Apply(*files, *files, kJournals, testing::AppendPlan(), ""));
}

TEST_CASE("An incomplete journal never blocks and is thrown away") {
  for (const bool by_undo : {false, true}) {
    const auto files = Filled();
    REQUIRE(files->MakeDirectory(kJournals, {}));
    files->AddFile("journals/0007.journal", testing::Text("rescuejl, but no more"));
    files->AddFile("journals/notes.txt", testing::Text("keep"));
    CHECK(ListJournals(*files, kJournals)->front().state == JournalState::kIncomplete);
    if (by_undo) {
      const auto nothing = Undo(*files, *files, kJournals);
      CHECK(nothing.error().code == "nothing-to-undo");
      CHECK(nothing.error().message.find("incomplete") != std::string::npos);
      CHECK(ListJournals(*files, kJournals)->empty());
    } else {
      const auto applied = Apply(*files, *files, kJournals, testing::AppendPlan(), "");
      REQUIRE(applied);
      CHECK(ListJournals(*files, kJournals)->size() == 1);
    }
    CHECK(files->Stat("journals/notes.txt"));
  }
}

TEST_CASE("Refuses to undo when the data directory was used since") {
  using Files = MemoryFileSystem;
  const EditList append = testing::AppendPlan();
  const EditList rebuild = testing::RebuildPlan({});
  // etcd went on writing behind our records: same size, our bytes untouched, but a new time.
  CHECK(RefusedUndo(append, [](Files& f) {
          REQUIRE(f.WriteAt("member/wal/1.wal", 6'000, Bytes(10)));
        }).find("member/wal/1.wal was written to since") != std::string::npos);
  CHECK(RefusedUndo(append, [](Files& f) {
          const TimeNs time = f.Stat("member/wal/1.wal")->modified;
          REQUIRE(f.WriteAt("member/wal/1.wal", 5'001, Bytes(10)));
          REQUIRE(f.SetModified("member/wal/1.wal", time));
        }).find("other content") != std::string::npos);
  CHECK(RefusedUndo(append, [](Files& f) {
          REQUIRE(f.Truncate("member/wal/1.wal", 30'000));
        }).find("30000") != std::string::npos);
  RefusedUndo(append, [](Files& f) { REQUIRE(f.Remove("member/wal/1.wal")); });
  RefusedUndo(append, [](Files& f) { REQUIRE(f.Rename("member/wal", "member/wal2")); });
  RefusedUndo(rebuild, [](Files& f) { REQUIRE(f.Remove("member/wal/0.wal")); });
  RefusedUndo(rebuild, [](Files& f) { REQUIRE(f.CreateFile("member/wal.new", {})); });
  CHECK(RefusedUndo(rebuild, [](Files& f) {
          REQUIRE(f.CreateFile("member/wal/1.wal", {}));
        }).find("member/wal/1.wal is new") != std::string::npos);
}

TEST_CASE("A built directory takes the old one's place, and undo brings that back") {
  const auto files = Filled();
  const Tree before = TreeOf(*files);
  testing::PatternBuilder builder;
  const auto applied =
      Apply(*files, *files, kJournals, testing::RestorePlan({}), "restore", &builder);
  REQUIRE(applied);
  CHECK(applied->data_bytes == 40'000 + 14);
  CHECK(files->Stat("member/wal/0.wal")->size == 900);
  CHECK(files->Stat("member/snap/db")->size == 24'000);
  CHECK(files->Stat("member/restored"));
  CHECK(files->Stat("member.before-restore/wal/1.wal")->size == 20'000);
  CHECK_FALSE(files->Stat("member.new"));
  CHECK(ListJournals(*files, kJournals)->front().edits == testing::RestorePlan({}));
  REQUIRE(Undo(*files, *files, kJournals));
  CHECK(FirstDifference(TreeOf(*files), before) == kSame);
}

TEST_CASE("Undo does not remove a built directory that was used since") {
  using Files = MemoryFileSystem;
  const EditList edits = testing::RestorePlan({});
  CHECK(RefusedUndo(edits, [](Files& f) {
          REQUIRE(f.WriteAt("member/snap/db", 100, Bytes(10)));
        }).find("member/snap/db was written to since") != std::string::npos);
  CHECK(RefusedUndo(edits, [](Files& f) {
          REQUIRE(f.CreateFile("member/wal/1.wal", {}));
        }).find("member/wal/1.wal is new") != std::string::npos);
  RefusedUndo(edits, [](Files& f) { REQUIRE(f.Remove("member/wal/0.wal")); });
  RefusedUndo(edits, [](Files& f) { REQUIRE(f.Rename("member.before-restore", "x")); });
}

TEST_CASE("An interrupted restore that etcd has started on since is not thrown away") {
  const EditList edits = testing::RestorePlan({});
  testing::PatternBuilder builder;
  FaultScript script;
  script.after = FaultScript::After::kDead;
  std::size_t renames = 0;
  {
    const auto files = Filled();
    FaultFileSystem watched(*files, script);
    REQUIRE(Apply(watched, watched, kJournals, edits, "", &builder));
    while (script.log.at(renames).rfind("rename ", 0) != 0) ++renames;
  }
  script = {};
  script.after = FaultScript::After::kDead;
  script.fail_at = renames;
  const auto files = Filled();
  FaultFileSystem faulty(*files, script);
  REQUIRE_FALSE(Apply(faulty, faulty, kJournals, edits, "", &builder));
  REQUIRE(files->Stat("member/restored"));
  REQUIRE(files->WriteAt("member/snap/db", 0, Bytes(100)));
  const auto refused = Undo(*files, *files, kJournals);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == "changed-since");
  CHECK(files->Stat("member/snap/db")->size == 24'000);
}

TEST_CASE("A build that fails takes all back, and one without a builder is not begun") {
  class Failing final : public Builder {
   public:
    Status Build(FileSystem& data, const BuildDirectory& edit) override {
      RETURN_IF_ERROR(data.CreateFile(JoinPath(edit.path, "half"), {}));
      return Fail(ErrorKind::kDataDamaged, "bad-source", "the source ends early", "take another");
    }
  };
  const auto files = Filled();
  const Tree before = TreeOf(*files);
  Failing builder;
  const auto failed = Apply(*files, *files, kJournals, testing::RestorePlan({}), "", &builder);
  REQUIRE_FALSE(failed);
  CHECK(failed.error().kind == ErrorKind::kRolledBack);
  CHECK(failed.error().message.find("the source ends early") != std::string::npos);
  CHECK(failed.error().hint == "take another");
  CHECK(FirstDifference(TreeOf(*files), before) == kSame);
  const auto none = Apply(*files, *files, kJournals, testing::RestorePlan({}), "");
  REQUIRE_FALSE(none);
  CHECK(none.error().code == "no-builder");
  CHECK(FirstDifference(TreeOf(*files), before) == kSame);
}

TEST_CASE("Space for what is built is asked for before the first write") {
  const auto files = Filled();
  const Tree before = TreeOf(*files);
  testing::PatternBuilder builder;
  files->SetFreeSpace(60'000);
  const auto refused = Apply(*files, *files, kJournals, testing::RestorePlan({}), "", &builder);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == "no-space");
  CHECK(FirstDifference(TreeOf(*files), before) == kSame);
}

TEST_CASE("An exchange that nothing would tell from no exchange is refused") {
  const auto files = Filled();
  const auto refused =
      Apply(*files, *files, kJournals, {Exchange{"member", "other", "nothing"}}, "");
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == "plan-stale");
}

TEST_CASE("Refuses to roll back an interrupted change when a size cannot come from it") {
  const auto files = Filled();
  FaultScript script;
  script.after = FaultScript::After::kDead;
  FaultFileSystem faulty(*files, script);
  REQUIRE(Apply(faulty, faulty, kJournals, testing::AppendPlan(), ""));
  REQUIRE(Undo(*files, *files, kJournals));
  script.fail_at = script.log.size() - 1;
  script.operations = 0;
  REQUIRE_FALSE(Apply(faulty, faulty, kJournals, testing::AppendPlan(), ""));
  files->Crash(rescue::testing::Unsynced::kLost);
  REQUIRE(ListJournals(*files, kJournals)->front().state == JournalState::kUnfinished);
  REQUIRE(files->Truncate("member/wal/1.wal", 20'001));
  const auto refused = Undo(*files, *files, kJournals);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == "changed-since");
  REQUIRE(files->Truncate("member/wal/1.wal", 20'000));
  CHECK(Undo(*files, *files, kJournals));
}

TEST_CASE("Notices a disk that does not give back what was written") {
  // Swallows one write to the log and says that it was done.
  class Lossy final : public Forwarding {
   public:
    using Forwarding::Forwarding;
    Status WriteAt(std::string_view path, std::uint64_t offset, ByteView bytes) override {
      if (path == "member/wal/1.wal" && bytes.size() == 136) return {};
      return Forwarding::WriteAt(path, offset, bytes);
    }
  };
  const auto files = Filled();
  Lossy lossy(*files);
  const auto failed = Apply(lossy, *files, kJournals, testing::AppendPlan(), "");
  REQUIRE_FALSE(failed);
  CHECK(failed.error().code == "apply-rolled-back");
  CHECK(failed.error().message.find("read back member/wal/1.wal") != std::string::npos);
}

TEST_CASE("Restores extended attributes, owner and time of real files") {
  const rescue::testing::TemporaryDirectory directory;
  const auto files = RealFileSystem::OpenRoot(directory.path().string());
  REQUIRE(files);
  Attributes own;
  own.uid = ::geteuid();
  own.gid = ::getegid();
  Attributes labelled = own;
  labelled.xattrs["user.label"] = testing::Text("etcd_var_lib_t");
  REQUIRE(testing::FillDataDirectory(**files, own));
  const bool xattrs = (*files)->SetAttributes("member/snap/1.snap", labelled).has_value();
  const Tree before = TreeOf(**files);
  if (xattrs) CHECK_FALSE(before.at("member/snap/1.snap").status.attributes.xattrs.empty());
  REQUIRE(Apply(**files, **files, kJournals,
                {SetAttributes{"member/snap/db", labelled}, Remove{"member/snap/1.snap"},
                 Truncate{"member/wal/0.wal", 10}},
                ""));
  REQUIRE(Undo(**files, **files, kJournals));
  CHECK(FirstDifference(TreeOf(**files), before) == kSame);
}

}  // namespace rescue::edit
