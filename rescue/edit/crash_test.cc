// Every single failure of Apply and Undo, and every crash, leaves something from which the former
// tree comes back byte by byte, or the finished change.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <cerrno>
#include <functional>
#include <memory>
#include <random>
#include <string>

#include "rescue/base/real_file_system.h"
#include "rescue/edit/executor.h"
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
using rescue::testing::Unsynced;
using testing::kJournals;

const std::string kSkip(kJournals);

Tree TreeOf(const FileView& files) {
  auto tree = SnapshotTree(files, kSkip);
  REQUIRE(tree);
  return *std::move(tree);
}

// Making and removing the journals' directory touches the time of the directory that holds it; a
// crash in between can leave that one time changed, and nothing else.
void ForgetRootTime(Tree& tree) { tree[""].status.modified = 0; }

void ForgetTimes(Tree& tree) {
  for (auto& [path, entry] : tree) entry.status.modified = 0;
}

void CheckSame(Tree now, Tree before, bool root_time) {
  if (!root_time) {
    ForgetRootTime(now);
    ForgetRootTime(before);
  }
  CHECK(FirstDifference(now, before) == kSame);
}

Attributes EtcdAttributes() {
  Attributes own;
  own.uid = 998;
  own.gid = 997;
  own.xattrs["security.selinux"] = testing::Text("system_u:object_r:etcd_var_lib_t:s0");
  return own;
}

const MemoryFileSystem& FilledFiles() {
  static const MemoryFileSystem kFiles = [] {
    MemoryFileSystem files;
    REQUIRE(testing::FillDataDirectory(files, EtcdAttributes()));
    files.SyncAll();
    return files;
  }();
  return kFiles;
}

struct World {
  std::unique_ptr<MemoryFileSystem> files = std::make_unique<MemoryFileSystem>(FilledFiles());
  Tree before = TreeOf(*files);
};

testing::PatternBuilder builder;  // NOLINT: it has no state

EditList Restored() { return testing::RestorePlan(EtcdAttributes()); }

EditList FirstRestored() { return testing::FirstRestorePlan(EtcdAttributes()); }

EditList Rebuild() { return testing::RebuildPlan(EtcdAttributes()); }

// What an operator does next: undo until there is nothing left to undo. The tree is as before then,
// also when the change was complete.
void Settle(FileSystem& files, const Tree& before, const Tree& planned, bool root_time) {
  const auto journals = ListJournals(files, kJournals);
  REQUIRE(journals);
  if (!journals->empty() && journals->back().state == JournalState::kApplied) {
    Tree now = TreeOf(files);
    ForgetTimes(now);
    CHECK(FirstDifference(now, planned) == kSame);
  }
  const auto undone = Undo(files, files, kJournals);
  if (!undone) {
    CHECK(undone.error().code == "nothing-to-undo");
  }
  CheckSame(TreeOf(files), before, root_time);
  const auto left = ListJournals(files, kJournals);
  REQUIRE(left);
  CHECK(left->empty());
}

Tree PlannedTree(const EditList& edits) {
  World world;
  REQUIRE(Apply(*world.files, *world.files, kJournals, edits, "", &builder));
  Tree planned = TreeOf(*world.files);
  ForgetTimes(planned);
  return planned;
}

// The fault at operation 0, 1, 2 ... of `run` until it is over before the fault comes.
void ForEveryFault(const FaultScript& kind, const std::function<bool(FaultScript&)>& run) {
  std::uint64_t at = 0;
  while (true) {
    FaultScript script = kind;
    script.fail_at = at;
    CAPTURE(at);
    if (!run(script)) break;
    ++at;
    REQUIRE(at < 5'000);
  }
  CHECK(at > 8);
}

struct FaultKind {
  const char* name;
  FaultScript script;
};

std::vector<FaultKind> OneShotKinds() {
  FaultScript no_space;
  no_space.error = ENOSPC;
  FaultScript torn;
  torn.tear = 7;
  FaultScript effective;
  effective.effective = true;
  return {
      {"I/O error", {}}, {"no space", no_space}, {"torn", torn}, {"done, but reported", effective}};
}

std::vector<FaultKind> Deaths() {
  FaultScript dead;
  dead.after = FaultScript::After::kDead;
  FaultScript torn = dead;
  torn.tear = 7;
  return {{"died", dead}, {"died within a write", torn}};
}

// The one failure after which a directory's time is not put back: nothing knows it any more.
bool LostRootTime(const FaultScript& script) {
  return script.fired && script.log.at(*script.fail_at) == "set-modified ";
}

void CheckOneShots(const EditList& edits) {
  const Tree planned = PlannedTree(edits);
  for (const FaultKind& kind : OneShotKinds()) {
    CAPTURE(kind.name);
    ForEveryFault(kind.script, [&](FaultScript& script) {
      const World world;
      FaultFileSystem faulty(*world.files, script);
      const auto applied = Apply(faulty, faulty, kJournals, edits, "", &builder);
      const bool root_time = !LostRootTime(script);
      if (!script.fired) {
        CHECK(applied);
        return false;
      }
      REQUIRE_FALSE(applied);
      CAPTURE(applied.error().message);
      if (applied.error().kind != ErrorKind::kUnfinishedJournal) {
        CheckSame(TreeOf(*world.files), world.before, root_time);
      }
      Settle(*world.files, world.before, planned, root_time);
      return true;
    });
  }
}

void CheckDeaths(const EditList& edits) {
  const Tree planned = PlannedTree(edits);
  for (const FaultKind& kind : Deaths()) {
    for (const Unsynced unsynced : {Unsynced::kLost, Unsynced::kKept, Unsynced::kRandomSubset}) {
      CAPTURE(kind.name, static_cast<int>(unsynced));
      ForEveryFault(kind.script, [&](FaultScript& script) {
        const World world;
        FaultFileSystem faulty(*world.files, script);
        (void)Apply(faulty, faulty, kJournals, edits, "", &builder);
        world.files->Crash(unsynced, static_cast<std::uint32_t>(*script.fail_at));
        Settle(*world.files, world.before, planned, /*root_time=*/!script.fired);
        return script.fired;
      });
    }
  }
}

void CheckUndoInterrupted(const EditList& edits, const FaultKind& kind, Unsynced unsynced) {
  CAPTURE(kind.name, static_cast<int>(unsynced));
  const Tree planned = PlannedTree(edits);
  const World applied;
  REQUIRE(Apply(*applied.files, *applied.files, kJournals, edits, "", &builder));
  applied.files->SyncAll();
  ForEveryFault(kind.script, [&](FaultScript& script) {
    World world;
    *world.files = *applied.files;
    FaultFileSystem faulty(*world.files, script);
    const auto undone = Undo(faulty, faulty, kJournals);
    CHECK(undone.has_value() == !script.fired);
    const bool dead = script.after == FaultScript::After::kDead;
    if (dead) world.files->Crash(unsynced, static_cast<std::uint32_t>(*script.fail_at));
    Settle(*world.files, world.before, planned,
           /*root_time=*/!script.fired || (!dead && !LostRootTime(script)));
    return script.fired;
  });
}

}  // namespace

TEST_CASE("A failed write of an append is taken back at once") {
  CheckOneShots(testing::AppendPlan());
}

TEST_CASE("A failed operation of a rebuild is taken back at once") { CheckOneShots(Rebuild()); }

TEST_CASE("A crash at any write of an append is undone or complete") {
  CheckDeaths(testing::AppendPlan());
}

TEST_CASE("A crash at any operation of a rebuild is undone or complete") { CheckDeaths(Rebuild()); }

TEST_CASE("A failed operation of a build is taken back at once") {
  CheckOneShots(Restored());
  CheckOneShots(FirstRestored());
}

TEST_CASE("A crash at any operation of a build leaves the old directory or the new one") {
  CheckDeaths(Restored());
  CheckDeaths(FirstRestored());
}

TEST_CASE("At no moment of a build is there no member to start") {
  const EditList edits = Restored();
  const Tree planned = PlannedTree(edits);
  ForEveryFault(Deaths().front().script, [&](FaultScript& script) {
    const World world;
    FaultFileSystem faulty(*world.files, script);
    (void)Apply(faulty, faulty, kJournals, edits, "", &builder);
    world.files->Crash(Unsynced::kRandomSubset, static_cast<std::uint32_t>(*script.fail_at));
    Tree now = TreeOf(*world.files);
    const bool is_new = now.contains("member/restored");
    for (const Tree* expected : {&world.before, &planned}) {
      if ((expected == &planned) != is_new) continue;
      for (const auto& [path, entry] : *expected) {
        if (path != "member" && !path.starts_with("member/")) continue;
        CAPTURE(path, is_new);
        REQUIRE(now.contains(path));
        CHECK(now.at(path).content == entry.content);
      }
    }
    return script.fired;
  });
}

TEST_CASE("Undo can fail once at any operation and be repeated") {
  for (const FaultKind& kind : OneShotKinds()) {
    CheckUndoInterrupted(testing::AppendPlan(), kind, Unsynced::kLost);
    CheckUndoInterrupted(Rebuild(), kind, Unsynced::kLost);
    CheckUndoInterrupted(Restored(), kind, Unsynced::kLost);
    CheckUndoInterrupted(FirstRestored(), kind, Unsynced::kLost);
  }
}

TEST_CASE("Undo can die at any operation and be repeated") {
  for (const FaultKind& kind : Deaths()) {
    for (const Unsynced unsynced : {Unsynced::kLost, Unsynced::kKept, Unsynced::kRandomSubset}) {
      CheckUndoInterrupted(testing::AppendPlan(), kind, unsynced);
      CheckUndoInterrupted(Rebuild(), kind, unsynced);
      CheckUndoInterrupted(Restored(), kind, unsynced);
    }
  }
}

TEST_CASE("Apply and every undo after it can be interrupted in a row") {
  std::mt19937 random(20261121);  // NOLINT(cert-msc32-c,cert-msc51-cpp): can be repeated
  for (int round = 0; round < 400; ++round) {
    const EditList edits = round % 2 == 0 ? Rebuild() : Restored();
    const Tree planned = PlannedTree(edits);
    CAPTURE(round);
    const World world;
    for (int life = 0; life < 5; ++life) {
      FaultScript script;
      script.after = FaultScript::After::kDead;
      script.fail_at = random() % 90;
      if (random() % 2 == 0) script.tear = random() % 64;
      FaultFileSystem faulty(*world.files, script);
      if (life == 0) {
        (void)Apply(faulty, faulty, kJournals, edits, "", &builder);
      } else {
        (void)Undo(faulty, faulty, kJournals);
      }
      world.files->Crash(Unsynced::kRandomSubset, static_cast<std::uint32_t>(random()));
    }
    Settle(*world.files, world.before, planned, /*root_time=*/false);
  }
}

TEST_CASE("The same holds in a real directory") {
  Attributes own;
  own.uid = ::geteuid();
  own.gid = ::getegid();
  const EditList edits = GENERATE_REF(testing::RebuildPlan(own), testing::RestorePlan(own));
  Tree planned;
  for (const auto after : {FaultScript::After::kNormal, FaultScript::After::kDead}) {
    FaultScript kind;
    kind.after = after;
    kind.tear = 5;
    // Real syncs take milliseconds: every third operation, the other third with the other kind.
    std::uint64_t at = after == FaultScript::After::kDead ? 1 : 0;
    for (bool fired = true; fired; at += 3) {
      CAPTURE(at, static_cast<int>(after));
      const rescue::testing::TemporaryDirectory directory;
      const auto files = RealFileSystem::OpenRoot(directory.path().string());
      REQUIRE(files);
      REQUIRE(testing::FillDataDirectory(**files, own));
      const Tree before = TreeOf(**files);
      if (planned.empty()) {
        REQUIRE(Apply(**files, **files, kJournals, edits, "", &builder));
        planned = TreeOf(**files);
        ForgetTimes(planned);
        const auto undone = Undo(**files, **files, kJournals);
        INFO((undone ? std::string() : undone.error().message));
        REQUIRE(undone);
        CheckSame(TreeOf(**files), before, true);
      }
      FaultScript script = kind;
      script.fail_at = at;
      FaultFileSystem faulty(**files, script);
      const auto applied = Apply(faulty, faulty, kJournals, edits, "", &builder);
      fired = script.fired;
      CHECK(applied.has_value() == !fired);
      Settle(**files, before, planned, /*root_time=*/after == FaultScript::After::kNormal);
    }
    CHECK(at > 20);
  }
}

}  // namespace rescue::edit
