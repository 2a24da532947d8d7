// Where a commit puts its pages, what a crash on the way leaves, and real and very large files.
#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <cstring>
#include <map>
#include <set>

#include "rescue/bolt/commit_testing.h"
#include "rescue/bolt/survivors_testing.h"
#include "rescue/edit/memory_file_system.h"
#include "rescue/edit/overlay.h"
#include "tests/support/fixtures.h"

namespace rescue::bolt {
namespace {

using testing::ApplyTo;
using testing::AsWrite;
using testing::CheckOf;
using testing::CodeOf;
using testing::CommitAndVerify;
using testing::Content;
using testing::ContentOf;
using testing::MustPlan;
using testing::NumberedItems;
using testing::Set;
using testing::SmallFile;
using testing::TestFile;
using testing::ViewFile;

TEST_CASE("Free pages are filled first, whatever finds no room goes behind the last page") {
  Bytes bytes = SmallFile();
  const auto items = NumberedItems(400);
  TransactionRequest request;
  request.buckets.push_back({"t", false, {Set(items[0].key, "one")}});
  CommitAndVerify(bytes, request);
  // The commit before left its four pages' predecessors free.
  request.free_runs = CheckOf(ViewFile(bytes)).free_runs;
  REQUIRE(request.free_runs.size() == 4);
  request.buckets[0].keys = {Set(items[0].key, "two")};
  const CommitPlan plan = CommitAndVerify(bytes, request);
  CHECK(plan.high_water_mark * 4096 == bytes.size());
  std::set<std::uint64_t> used;
  for (std::size_t i = 0; i < 4; ++i) used.insert(AsWrite(plan.edits[i]).offset / 4096);
  for (const PageRun& run : request.free_runs) CHECK(used.contains(run.first));

  // Half of it fits.
  const PageRun run = CheckOf(ViewFile(bytes)).free_runs.at(0);
  REQUIRE(run.count >= 2);
  request.free_runs = {{run.first + 1, 1}, {run.first, 1}};
  request.buckets[0].keys = {Set(items[0].key, "three")};
  CHECK(CommitAndVerify(bytes, request).high_water_mark == plan.high_water_mark + 2);
  // A long value needs consecutive pages.
  request.free_runs = CheckOf(ViewFile(bytes)).free_runs;
  request.buckets[0].keys = {Set(items[0].key, std::string(50000, 'x'))};
  CommitAndVerify(bytes, request);
}

TEST_CASE("Free runs that cannot be free are refused") {
  const Bytes bytes = SmallFile();
  const std::uint64_t end = bytes.size() / 4096;
  const auto items = NumberedItems(400);
  const auto code = [&](std::vector<PageRun> runs) {
    TransactionRequest request;
    request.buckets.push_back({"t", false, {Set(items[0].key, "x")}});
    request.free_runs = std::move(runs);
    return CodeOf(bytes, request);
  };
  CHECK(code({{0, 1}}) == "bolt-free-run");
  CHECK(code({{1, 1}}) == "bolt-free-run");
  CHECK(code({{end, 1}}) == "bolt-free-run");
  CHECK(code({{end - 1, 2}}) == "bolt-free-run");
  CHECK(code({{3, ~std::uint64_t{0}}}) == "bolt-free-run");
  CHECK(code({{end - 1, 1}}) == "bolt-free-run");     // the root
  CHECK(code({{2, 1}}) == "bolt-free-run");           // the leaf that changes
  CHECK(code({{10, 5}, {2, 9}}) == "bolt-free-run");  // over it, after joining
  TransactionRequest empty_run;
  empty_run.buckets.push_back({"t", false, {Set(items[0].key, "x")}});
  empty_run.free_runs = {{0, 0}};
  CHECK(PlanCommit(ViewFile(bytes), "db", empty_run));

  // A stored freelist is read by whoever opens the state before.
  TestFile listed;
  const auto a = listed.Unused();
  const auto list = listed.Freelist({a});
  listed.Finish(listed.Leaf({TestFile::InlineBucket("in", {})}), list);
  TransactionRequest request;
  request.buckets.push_back({"in", false, {Set("k", "v")}});
  request.free_runs = {{a, 2}};
  Bytes with_list = listed.bytes();
  const auto plan = CommitAndVerify(with_list, request);
  CHECK(AsWrite(plan.edits.at(0)).offset == a * 4096);
  request.free_runs = {{list, 1}};
  with_list = listed.bytes();
  const auto behind = CommitAndVerify(with_list, request);
  CHECK(AsWrite(behind.edits.at(0)).offset == listed.pages() * 4096);
  CHECK(CheckOf(ViewFile(with_list)).meta.freelist_page == kNoFreelist);
}

TEST_CASE("The new meta page goes over the one that does not count") {
  TransactionRequest request;
  request.buckets.push_back({"in", false, {Set("k", "v")}});
  const auto commit = [&](TestFile& file) {
    Bytes bytes = file.bytes();
    return CommitAndVerify(bytes, request);
  };
  const auto fresh = [] {
    TestFile file;
    file.Finish(file.Leaf({TestFile::InlineBucket("in", {})}));
    return file;
  };
  TestFile torn = fresh();  // the newest one
  auto meta = torn.GetMeta(1);
  torn.SetMeta(1, meta, /*fix_checksum=*/meta.checksum == 0);
  meta.checksum = meta.checksum + 1;
  torn.SetMeta(1, meta, false);
  CHECK(commit(torn).transaction_id == 7);

  // Transaction numbers that no bbolt has written there.
  TestFile odd = fresh();
  meta = odd.GetMeta(1);
  meta.transaction_id = 8;
  odd.SetMeta(1, meta);
  const CommitPlan plan = commit(odd);
  CHECK(plan.transaction_id == 10);
  CHECK(plan.slot == 0);

  TestFile last = fresh();
  meta = last.GetMeta(1);
  meta.transaction_id = ~std::uint64_t{0};
  last.SetMeta(1, meta);
  CHECK(CodeOf(last.bytes(), request) == "bolt-meta-bounds");
}

// After a power cut the file holds some of the edits, in their order, the last one possibly torn.
TEST_CASE("A power cut at any point leaves the old state or the new one") {
  Bytes bytes = SmallFile();
  for (int round = 0; round < 3; ++round) {
    TransactionRequest request;
    const auto items = NumberedItems(400);
    const auto at = static_cast<std::size_t>(round) * 57 + 3;
    request.buckets.push_back({"t", false, {Set(items[at].key, std::string(9000, 'x'))}});
    request.buckets.push_back({"in", true, {Set("round", std::to_string(round))}});
    request.buckets.push_back({"nested", false, {Set("more", "1")}});
    if (round > 0) request.free_runs = CheckOf(ViewFile(bytes)).free_runs;
    const Content before = ContentOf(ViewFile(bytes));
    const CommitPlan plan = MustPlan(ViewFile(bytes), request);
    Content after = before;
    ApplyTo(after, request);
    REQUIRE(plan.edits.size() > 4);

    Bytes torn = bytes;
    for (std::size_t done = 0; done + 1 < plan.edits.size(); ++done) {
      const auto& write = AsWrite(plan.edits[done]);
      // Any part of a page: nothing of it counts yet.
      Bytes half = torn;
      testing::WriteInto(half, write.offset, ByteView(write.bytes).first(write.bytes.size() / 2));
      CHECK((ContentOf(ViewFile(half)) == before));
      testing::WriteInto(torn, write.offset, write.bytes);
      CHECK((ContentOf(ViewFile(torn)) == before));
      CHECK(CheckOf(ViewFile(torn)).clean());
    }
    const auto& meta = AsWrite(plan.edits.back());
    for (std::size_t length = 0; length <= meta.bytes.size(); ++length) {
      CAPTURE(length);
      Bytes cut = torn;
      testing::WriteInto(cut, meta.offset, ByteView(meta.bytes).first(length));
      const Content now = ContentOf(ViewFile(cut));
      CHECK((now == before || now == after));
      CHECK((length < meta.bytes.size() || now == after));
      // The other way round: the end came before the start.
      cut = torn;
      testing::WriteInto(cut, meta.offset + length, ByteView(meta.bytes).subspan(length));
      const Content turned = ContentOf(ViewFile(cut));
      CHECK((turned == before || turned == after));
    }
    // A sector that held the meta page comes back as zeros or as noise.
    for (const std::byte fill : {std::byte{0}, std::byte{0xa5}}) {
      Bytes lost = torn;
      testing::WriteInto(lost, meta.offset, Bytes(512, fill));
      CHECK((ContentOf(ViewFile(lost)) == before));
    }
    testing::WriteInto(torn, meta.offset, meta.bytes);
    bytes = torn;
  }
}

// Some pieces in a sea of zeros.
class SparseFile final : public ReadableFile {
 public:
  void Write(std::uint64_t offset, ByteView bytes) { pieces_[offset] = ToBytes(bytes); }
  std::uint64_t size() const override {
    return pieces_.rbegin()->first + pieces_.rbegin()->second.size();
  }
  Result<std::size_t> ReadAt(std::uint64_t offset, std::span<std::byte> into) const override {
    const std::uint64_t end = std::min<std::uint64_t>(size(), offset + into.size());
    if (end <= offset) return std::size_t{0};
    std::fill_n(into.begin(), end - offset, std::byte{0});
    for (const auto& [at, bytes] : pieces_) {
      const std::uint64_t from = std::max(at, offset);
      const std::uint64_t to = std::min<std::uint64_t>(at + bytes.size(), end);
      if (from >= to) continue;
      std::memcpy(into.data() + (from - offset), bytes.data() + (from - at), to - from);
    }
    return static_cast<std::size_t>(end - offset);
  }

 private:
  std::map<std::uint64_t, Bytes> pieces_;  // they do not overlap
};

// The last used page of the file lies at 5 GiB; what is between is a hole.
TEST_CASE("A backend beyond 4 GiB is committed to like any other") {
  constexpr std::uint64_t kPageSize = 16384;
  constexpr std::uint64_t kFar = (std::uint64_t{5} << 30) / kPageSize;
  constexpr std::uint64_t kShift = kFar - 2;
  TestFile near(kPageSize);
  const auto items = NumberedItems(400);
  const auto tree = near.Tree(items, 10);
  near.Finish(near.Leaf({TestFile::BucketAt("t", tree)}));
  // The whole tree moves to the far end.
  for (std::uint64_t page = 2; page < near.pages(); ++page) {
    auto header = near.Header(page);
    header.id = page + kShift;
    near.SetHeader(page, header);
    if (header.flags != kBranchPage) continue;
    for (std::size_t i = 0; i < header.count; ++i) {
      BranchElement element;
      std::memcpy(&element, near.Page(page) + 16 + i * 16, sizeof(element));
      near.SetChild(page, i, element.page + kShift);
    }
  }
  const ul64 new_tree = tree + kShift;
  std::memcpy(&near.KeyByte(near.root(), 0) + 1, &new_tree, sizeof(new_tree));
  for (const int slot : {0, 1}) {
    auto meta = near.GetMeta(slot);
    meta.root_page = meta.root_page + kShift;
    meta.high_water_mark = meta.high_water_mark + kShift;
    near.SetMeta(slot, meta);
  }
  SparseFile file;
  file.Write(0, ByteView(near.bytes()).first(kPageSize));
  file.Write(kPageSize, ByteView(near.bytes()).subspan(kPageSize, kPageSize));
  file.Write(kFar * kPageSize, ByteView(near.bytes()).subspan(2 * kPageSize));

  TransactionRequest request;
  request.buckets.push_back({"t", false, {Set(items[100].key, "far")}});
  Content expected = ContentOf(file);
  ApplyTo(expected, request);
  const CommitPlan plan = MustPlan(file, request);
  CHECK(plan.high_water_mark == near.pages() + kShift + 4);
  CHECK(AsWrite(plan.edits.at(0)).offset == (near.pages() + kShift) * kPageSize);
  for (const edit::Edit& edit : plan.edits) file.Write(AsWrite(edit).offset, AsWrite(edit).bytes);
  CHECK((ContentOf(file) == expected));
  const CheckReport report = CheckOf(file);
  CHECK(report.clean());
  CHECK(report.meta.high_water_mark == plan.high_water_mark);
  // The hole is free and may be used.
  REQUIRE_FALSE(report.free_runs.empty());
  CHECK(report.free_runs[0] == PageRun{2, kShift});
  request.free_runs = report.free_runs;
  request.buckets[0].keys = {Set(items[100].key, "near again")};
  const CommitPlan back = MustPlan(file, request);
  CHECK(back.high_water_mark == plan.high_water_mark);
  CHECK(AsWrite(back.edits.at(0)).offset == 2 * kPageSize);
  for (const edit::Edit& edit : back.edits) file.Write(AsWrite(edit).offset, AsWrite(edit).bytes);
  ApplyTo(expected, request);
  CHECK((ContentOf(file) == expected));
}

// What the engine does to a backend: members, confState and a revision far ahead.
void ChangeLikeTheEngine(const FileView& files, const std::string& path) {
  const auto file = files.Open(path);
  REQUIRE(file);
  const Content before = ContentOf(**file);
  TransactionRequest request;
  request.buckets.push_back({"members", true, {Set("8e9e05c52164694d", R"({"id":1})")}});
  request.buckets.push_back({"members_removed", true, {}});
  request.buckets.push_back({"meta", false, {Set("confState", R"({"voters":[1]})")}});
  request.buckets.push_back({"key", false, {Set(std::string(17, '\x7f'), "")}});
  Content expected = before;
  ApplyTo(expected, request);
  for (const bool in_free_pages : {false, true}) {
    if (in_free_pages) request.free_runs = CheckOf(**file).free_runs;
    auto plan = PlanCommit(**file, path, request);
    REQUIRE(plan);
    const auto overlay = edit::Overlay::Make(files, plan->edits);
    REQUIRE(overlay);
    const auto changed = (*overlay)->Open(path);
    REQUIRE(changed);
    const CheckReport report = CheckOf(**changed);
    CHECK(report.clean());
    CHECK((ContentOf(**changed) == expected));
    CHECK((ContentOf(**changed, 1 - plan->slot) == before));
    CHECK(plan->pages_written <= 8);
    // The same request again finds nothing to do.
    const auto again = PlanCommit(**changed, path, request);
    REQUIRE(again);
    CHECK(again->edits.empty());
  }
}

TEST_CASE("Real backends of every version take a commit") {
  rescue::testing::MemoryFileSystem files;
  files.AddFile("db", testing::RealBackend());
  ChangeLikeTheEngine(files, "db");
  CHECK(testing::ForEachBackend(rescue::testing::FixturePath("survivors"), ChangeLikeTheEngine) >=
        9);
}

}  // namespace
}  // namespace rescue::bolt
