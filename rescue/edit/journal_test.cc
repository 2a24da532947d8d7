// A journal is as hostile as any other file on the disk.
#include "rescue/edit/journal.h"

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <cstring>
#include <set>
#include <string>

#include "rescue/edit/executor.h"
#include "rescue/edit/fault_file_system.h"
#include "rescue/edit/memory_file_system.h"
#include "rescue/edit/names.h"
#include "rescue/edit/scenarios.h"
#include "rescue/edit/tree_snapshot.h"
#include "tests/support/fixtures.h"

namespace rescue::edit {
namespace {

using rescue::testing::FaultFileSystem;
using rescue::testing::FaultScript;
using rescue::testing::MemoryFileSystem;
using testing::kJournals;

constexpr std::string_view kPath = "journals/0001.journal";

// Small enough that thousands of copies of its journal can be tried.
void FillSmall(MemoryFileSystem& files) {
  files.AddFile("member/wal/0.wal", testing::Pattern(600, 1));
  files.AddFile("member/snap/1.snap", testing::Pattern(90, 2));
  files.AddFile("canary/file", testing::Pattern(50, 3));
}

EditList SmallPlan() {
  return {WriteRange{"member/wal/0.wal", 500, testing::Pattern(40, 4)},
          CreateFile{"member/snap/tmp", testing::Pattern(30, 5), {}}, Remove{"member/snap/1.snap"},
          Rename{"member/snap/tmp", "member/snap/1.snap"}, Truncate{"member/wal/0.wal", 520}};
}

struct Applied {
  MemoryFileSystem files;
  Bytes journal;

  Applied() {
    FillSmall(files);
    REQUIRE(Apply(files, files, kJournals, SmallPlan(), "a note"));
    journal = *ReadWhole(files, kPath, 1 << 20);
  }
};

void ReplaceJournal(MemoryFileSystem& files, ByteView content) {
  REQUIRE(files.Truncate(kPath, content.size()));
  REQUIRE(files.WriteAt(kPath, 0, content));
}

// Paths that this journal may lead an undo to; without a readable one, none.
std::set<std::string> RecordedPaths(const FileView& files) {
  std::set<std::string> paths;
  const auto file = files.Open(kPath);
  const auto journal = ReadJournal(**file);
  if (!journal || !journal->complete) return paths;
  for (const Edit& edit : journal->plan.edits) {
    for (const std::string& path : PathsOf(edit)) {
      paths.insert(path);
      paths.insert(ParentPath(path));
    }
  }
  for (const Former& former : journal->plan.former) paths.insert(former.path);
  return paths;
}

// Lists and undoes behind a damaged journal; every change must stay within what it records.
struct HostileRun {
  int complete = 0;
  int undone = 0;

  void operator()(const MemoryFileSystem& applied, ByteView content) {
    MemoryFileSystem files(applied);
    ReplaceJournal(files, content);
    const std::set<std::string> recorded = RecordedPaths(files);
    complete += recorded.empty() ? 0 : 1;
    (void)ListJournals(files, kJournals);
    FaultScript script;
    FaultFileSystem watched(files, script);
    if (Undo(watched, watched, kJournals)) ++undone;
    for (const std::string& line : script.log) CheckPaths(line, recorded);
    if (!recorded.contains("canary/file")) {
      const auto canary = ReadWhole(files, "canary/file", 1'000);
      REQUIRE(canary);
      REQUIRE(*canary == testing::Pattern(50, 3));
    }
  }

  static void CheckPaths(const std::string& line, const std::set<std::string>& recorded) {
    CAPTURE(line);
    const std::string paths = line.substr(line.find(' ') + 1);
    // The journal itself, its directory, and the root that holds that.
    if (paths == kPath || paths == kJournals || paths.empty()) return;
    if (recorded.contains(paths)) {
      REQUIRE(IsCleanPath(paths));
      return;
    }
    const std::size_t space = paths.find(' ');  // "rename from to"
    REQUIRE(space != std::string::npos);
    REQUIRE(recorded.contains(paths.substr(0, space)));
    REQUIRE(recorded.contains(paths.substr(space + 1)));
  }
};

// Makes every checksum right again, so that damage gets past them.
void RepairChecksums(Bytes& bytes) {
  if (bytes.size() < sizeof(DiskHeader)) return;
  const ul32 header_crc = Crc32c(0, ByteView(bytes).first(offsetof(DiskHeader, crc)));
  std::memcpy(bytes.data() + offsetof(DiskHeader, crc), &header_crc, sizeof(header_crc));
  std::size_t at = sizeof(DiskHeader);
  while (bytes.size() - at >= sizeof(DiskFrame)) {
    DiskFrame frame;
    std::memcpy(&frame, bytes.data() + at, sizeof(frame));
    const std::string_view kind(frame.kind.data(), frame.kind.size());
    const std::size_t length = frame.length;
    if (length > bytes.size() - at - sizeof(DiskFrame) || kind[0] == '\0') return;
    const std::span<std::byte> payload(bytes.data() + at + sizeof(DiskFrame), length);
    if (kind == kPreparedRecord && length == sizeof(Sha256Digest)) {
      const Sha256Digest digest = Sha256(ByteView(bytes).first(at));
      std::copy(digest.begin(), digest.end(), payload.begin());
    }
    const Bytes record = EncodeRecord(kind, payload);
    std::copy(record.begin(), record.end(), bytes.begin() + static_cast<std::ptrdiff_t>(at));
    at += record.size();
  }
}

Journal Read(ByteView content) {
  const auto journal = ReadJournal(*rescue::testing::MemoryFile(ToBytes(content)));
  REQUIRE(journal);
  return *journal;
}

std::string ReadError(ByteView content) {
  const auto journal = ReadJournal(*rescue::testing::MemoryFile(ToBytes(content)));
  REQUIRE_FALSE(journal);
  CHECK(journal.error().kind == ErrorKind::kUnfinishedJournal);
  return journal.error().code;
}

// A complete journal with this plan and no saved content.
Bytes JournalWith(const JournalPlan& plan) {
  Bytes bytes = EncodeHeader(0);
  Append(bytes, EncodeRecord(kPlanRecord, AsBytes(EncodePlan(plan))));
  const Sha256Digest digest = Sha256(bytes);
  Append(bytes, EncodeRecord(kPreparedRecord, digest));
  return bytes;
}

JournalPlan SoundPlan() {
  JournalPlan plan;
  plan.edits = {Truncate{"member/a", 3}};
  plan.fingerprint = Fingerprint(plan.edits);
  plan.steps = {""};
  Former former;
  former.path = "member/a";
  former.status.type = FileType::kRegular;
  former.status.size = former.min_size = former.max_size = 3;
  plan.former = {former};
  return plan;
}

template <typename Change>
std::string RefusedPlan(Change change) {
  JournalPlan plan = SoundPlan();
  change(plan);
  plan.fingerprint = Fingerprint(plan.edits);
  return ReadError(JournalWith(plan));
}

}  // namespace

TEST_CASE("A journal comes back as it was written") {
  const Applied applied;
  const Journal journal = Read(applied.journal);
  CHECK(journal.complete);
  CHECK(journal.flags == kMadeDirectory);
  CHECK(journal.plan.edits == SmallPlan());
  CHECK(journal.plan.note == "a note");
  CHECK(journal.plan.paths == std::vector<std::string>{"member/snap/1.snap", "member/snap/tmp"});
  CHECK(journal.plan.steps == std::vector<std::string>{"f-", "ff", "-f", "f-"});
  REQUIRE(journal.after);
  CHECK(journal.after->size() == 2);
  CHECK(*DecodePlan(EncodePlan(journal.plan)) == journal.plan);
  CHECK(*DecodeAfter(EncodeAfter(*journal.after)) == *journal.after);
}

TEST_CASE("The worked example in FORMAT.md is what Apply writes") {
  MemoryFileSystem files;
  Attributes own;
  own.uid = 998;
  own.gid = 997;
  files.AddFile("log", AsBytes("AAAABBBB"), own);
  REQUIRE(files.SetModified("log", 1'700'000'000'000'000'000));
  REQUIRE(Apply(files, files, "j", {WriteRange{"log", 4, testing::Text("xy")}}, "example"));
  const auto journal = ReadWhole(files, "j/0001.journal", 1'000);
  REQUIRE(journal);
  CHECK(journal->size() == 686);
  CHECK(ToHex(Sha256(*journal)) ==
        "6431b05932a36d87bc829db8499ad86b22d32e97c5f16253d2ef567a86071de3");
}

TEST_CASE("Names that are not text survive the journal") {
  JournalPlan plan = SoundPlan();
  const std::string odd = "member/\xff\"\n";
  Attributes attributes;
  attributes.xattrs["user.\x80"] = testing::Pattern(5, 1);
  plan.edits = {SetAttributes{odd, attributes}, SetAttributes{"base64:AAAA", attributes}};
  plan.fingerprint = Fingerprint(plan.edits);
  plan.note = std::string("\0\x7f", 2);
  plan.former[0].path = odd;
  CHECK(*DecodePlan(EncodePlan(plan)) == plan);
}

TEST_CASE("A journal cut at any length is incomplete, damaged or whole, and undo stays within it") {
  const Applied applied;
  HostileRun run;
  rescue::testing::ForEveryTruncation(applied.journal,
                                      [&](ByteView content) { run(applied.files, content); });
  CHECK(run.complete > 100);
  CHECK(run.undone > 0);
  CHECK(run.undone == run.complete);  // the names tell how far it came
}

TEST_CASE("Undo behind a damaged journal stays within what it records") {
  const Applied applied;
  HostileRun run;
  rescue::testing::ForRandomMutations(applied.journal, 11, 10'000,
                                      [&](ByteView content) { run(applied.files, content); });
  CHECK(run.complete > 0);
}

TEST_CASE("Undo behind a forged journal stays within what it records") {
  const Applied applied;
  HostileRun run;
  rescue::testing::ForRandomMutations(
      applied.journal, 12, 10'000, [&](ByteView content) { run(applied.files, content); },
      RepairChecksums);
  CHECK(run.complete > 300);
  CHECK(run.undone > 0);
}

TEST_CASE("A journal that was complete once is never thrown away") {
  const Applied applied;
  for (const std::size_t at : {std::size_t{3}, std::size_t{30}, std::size_t{1'000}}) {
    Bytes damaged = applied.journal;
    damaged[at] ^= std::byte{1};
    CHECK(ReadError(damaged) == "journal-damaged");
    MemoryFileSystem files(applied.files);
    ReplaceJournal(files, damaged);
    const auto undone = Undo(files, files, kJournals);
    CHECK(undone.error().code == "journal-damaged");
    CHECK(undone.error().message.find("0001.journal") != std::string::npos);
    const auto applied_again = Apply(files, files, kJournals, {Remove{"canary/file"}}, "");
    CHECK(applied_again.error().code == "journal-damaged");
    CHECK(files.Stat(kPath));
  }
}

TEST_CASE("A newer journal is refused, not guessed at") {
  Bytes bytes = JournalWith(SoundPlan());
  bytes[8] = std::byte{2};
  RepairChecksums(bytes);
  CHECK(ReadError(bytes) == "journal-version");
}

TEST_CASE("A plan whose tables do not fit together is refused") {
  CHECK(Read(JournalWith(SoundPlan())).complete);
  const std::string damaged = "journal-damaged";
  CHECK(RefusedPlan([](JournalPlan& p) { p.edits = {Truncate{"../a", 3}}; }) == damaged);
  CHECK(RefusedPlan([](JournalPlan& p) { p.edits = {Truncate{"/etc/shadow", 3}}; }) == damaged);
  CHECK(RefusedPlan([](JournalPlan& p) { p.edits = {Truncate{"", 3}}; }) == damaged);
  CHECK(RefusedPlan([](JournalPlan& p) { p.edits = {Rename{"a", "b/../../c"}}; }) == damaged);
  CHECK(RefusedPlan([](JournalPlan& p) { p.edits = {Remove{"a"}}; }) == damaged);
  CHECK(RefusedPlan([](JournalPlan& p) { p.former[0].path = "a//b"; }) == damaged);
  CHECK(RefusedPlan([](JournalPlan& p) { p.former[0].path = std::string("a\0b", 3); }) == damaged);
  CHECK(RefusedPlan([](JournalPlan& p) { p.former[0].path = std::string(5'000, 'a'); }) == damaged);
  CHECK(RefusedPlan([](JournalPlan& p) { p.former.push_back(p.former[0]); }) == damaged);
  CHECK(RefusedPlan([](JournalPlan& p) { p.former[0].min_size = 4; }) == damaged);
  CHECK(RefusedPlan([](JournalPlan& p) { p.former[0].max_size = 2; }) == damaged);
  CHECK(RefusedPlan([](JournalPlan& p) { p.former[0].saved = {{2, 2}}; }) == damaged);
  CHECK(RefusedPlan([](JournalPlan& p) { p.former[0].saved = {{0, 2}, {1, 1}}; }) == damaged);
  CHECK(RefusedPlan([](JournalPlan& p) { p.former[0].saved = {{0, 3}}; }) == damaged);  // no piece
  CHECK(RefusedPlan([](JournalPlan& p) { p.steps = {"", ""}; }) == damaged);
  CHECK(RefusedPlan([](JournalPlan& p) { p.paths = {"x"}; }) == damaged);
  JournalPlan forged = SoundPlan();
  forged.fingerprint = Fingerprint({});
  CHECK(ReadError(JournalWith(forged)) == damaged);
}

TEST_CASE("Deep or wrong JSON in a plan is refused") {
  for (const std::string& text :
       {std::string(200'000, '['), std::string("[]"), std::string("null"), std::string("{}"),
        std::string(R"({"fingerprint":1})"), std::string("{\"note\":\"\xff\"}")}) {
    const auto plan = DecodePlan(text);
    REQUIRE_FALSE(plan);
    CHECK(plan.error().code == "journal-damaged");
    CHECK_FALSE(DecodeAfter(text));
  }
}

}  // namespace rescue::edit
