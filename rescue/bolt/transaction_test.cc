#include "rescue/bolt/transaction.h"

#include <catch2/catch_test_macros.hpp>

#include "rescue/bolt/commit_testing.h"

namespace rescue::bolt {
namespace {

using testing::AsWrite;
using testing::CarryOut;
using testing::CheckOf;
using testing::CodeOf;
using testing::CommitAndVerify;
using testing::Content;
using testing::ContentOf;
using testing::Delete;
using testing::MustPlan;
using testing::NumberedItems;
using testing::Set;
using testing::SmallFile;
using testing::TestFile;
using testing::ViewFile;

TEST_CASE("A changed key is seen afterwards, and nothing else is different") {
  for (const std::uint64_t page_size : {4096U, 16384U, 65536U}) {
    CAPTURE(page_size);
    const auto items = NumberedItems(400);
    Bytes bytes = SmallFile(page_size);
    const auto pages = bytes.size() / page_size;
    TransactionRequest request;
    request.buckets.push_back({"t", false, {Set(items[123].key, "other")}});
    const CommitPlan plan = CommitAndVerify(bytes, request);
    // A leaf, two branches above it, the root, and the meta page of the transaction after 7.
    CHECK(plan.transaction_id == 8);
    CHECK(plan.slot == 0);
    CHECK(plan.pages_written == 4);
    CHECK(plan.high_water_mark == pages + 4);
    CHECK(plan.bytes_written == 4 * page_size + 80);
    REQUIRE(plan.edits.size() == 5);
    for (std::size_t i = 0; i < 4; ++i) {
      CHECK(AsWrite(plan.edits[i]).offset == (pages + i) * page_size);
      CHECK(AsWrite(plan.edits[i]).bytes.size() == page_size);
    }
    CHECK(AsWrite(plan.edits[4]).offset == 0);
    CHECK(AsWrite(plan.edits[4]).bytes.size() == 80);
  }
}

TEST_CASE("A key of an inline bucket costs one page and the meta page") {
  Bytes bytes = SmallFile();
  TransactionRequest request;
  request.buckets.push_back({"in", false, {Set("new", "1")}});
  CHECK(CommitAndVerify(bytes, request).pages_written == 1);
}

TEST_CASE("A request that changes nothing gives no edits") {
  const Bytes bytes = SmallFile();
  const ViewFile file(bytes);
  const auto items = NumberedItems(400);
  const auto is_nothing = [&](const TransactionRequest& request) {
    const CommitPlan plan = MustPlan(file, request);
    return plan.edits.empty() && plan.transaction_id == 7 && plan.slot == 1 &&
           plan.high_water_mark == bytes.size() / 4096 && plan.bytes_written == 0;
  };
  CHECK(is_nothing({}));
  TransactionRequest request;
  request.buckets.push_back(
      {"t", false, {Delete("absent"), Set(items[7].key, items[7].value), Delete("zzz")}});
  request.buckets.push_back({"in", false, {}});
  CHECK(is_nothing(request));
  // Emptied and filled with the same: how members are rewritten, possibly for the second time.
  BucketChanges again{"in", true, {}};
  for (const auto& item : NumberedItems(3)) again.keys.push_back(Set(item.key, item.value));
  request.buckets.push_back(again);
  CHECK(is_nothing(request));
  request.buckets.back().keys.pop_back();
  CHECK_FALSE(is_nothing(request));
}

TEST_CASE("A missing bucket is made, inline as long as it fits, with its own pages beyond") {
  Bytes bytes = SmallFile();
  TransactionRequest request;
  request.buckets.push_back({"empty", false, {}});
  request.buckets.push_back({"some", false, {Set("a", "1"), Set("b", "")}});
  request.buckets.push_back({"zlarge", false, {Set("a", std::string(1100, 'x'))}});
  CommitAndVerify(bytes, request);
  const ViewFile file(bytes);
  const auto database = Database::Open(file);
  REQUIRE(database);
  CHECK((*database->FindBucket(AsBytes("empty")))->is_inline());
  CHECK((*database->FindBucket(AsBytes("some")))->is_inline());
  CHECK_FALSE((*database->FindBucket(AsBytes("zlarge")))->is_inline());
}

// bbolt inlines up to a quarter of a page, headers included.
TEST_CASE("A bucket changes between inline and own pages at a quarter of a page") {
  Bytes bytes = SmallFile();
  const auto is_inline = [&](std::string_view name) {
    const ViewFile file(bytes);
    const auto database = Database::Open(file);
    REQUIRE(database);
    return (*database->FindBucket(AsBytes(name)))->is_inline();
  };
  const auto with_value = [&](std::size_t size) {
    TransactionRequest request;
    request.buckets.push_back({"b", false, {Set("k", std::string(size, 'v'))}});
    CommitAndVerify(bytes, request);
    return is_inline("b");
  };
  constexpr std::size_t kMost = 1024 - 16 - 16 - 1;
  CHECK(with_value(kMost));
  CHECK_FALSE(with_value(kMost + 1));
  CHECK_FALSE(with_value(5000));
  CHECK(with_value(kMost));
  // A bucket that holds a bucket has its own page, however small.
  CHECK_FALSE(is_inline("nested"));
  TransactionRequest request;
  request.buckets.push_back({"nested", false, {Delete("plain")}});
  CommitAndVerify(bytes, request);
  CHECK_FALSE(is_inline("nested"));
}

TEST_CASE("Sequences of buckets, nested buckets and the root are kept") {
  TestFile built;
  built.Finish(built.Leaf({TestFile::InlineBucket("in", NumberedItems(3))}));
  auto meta = built.GetMeta(1);
  meta.root_sequence = 77;
  built.SetMeta(1, meta);
  Bytes bytes = built.bytes();
  TransactionRequest request;
  request.buckets.push_back({"in", true, {Set("only", std::string(3000, 'x'))}});
  CommitAndVerify(bytes, request);
  const Content content = ContentOf(ViewFile(bytes));
  CHECK(content.at("").sequence == 77);
  CHECK(content.at("in").sequence == 5);
}

TEST_CASE("Clearing forgets every key, nested buckets too, and does not look at the pages") {
  Bytes bytes = SmallFile();
  // Everything but the root leaf is damaged: forgetting needs none of it.
  const auto root = static_cast<std::uint64_t>(bytes.size() / 4096 - 1);
  Bytes damaged = bytes;
  std::fill(damaged.begin() + 8192, damaged.begin() + static_cast<long>(root * 4096), std::byte{0});
  TransactionRequest request;
  request.buckets.push_back({"t", true, {Set("one", "1")}});
  request.buckets.push_back({"nested", true, {}});
  CommitAndVerify(bytes, request);
  CarryOut(MustPlan(ViewFile(damaged), request), damaged);
  CHECK(CheckOf(ViewFile(damaged)).clean());
  CHECK((ContentOf(ViewFile(damaged)) == ContentOf(ViewFile(bytes))));
}

TEST_CASE("Deleting every key leaves an empty bucket") {
  Bytes bytes = SmallFile();
  TransactionRequest request;
  request.buckets.push_back({"t", false, {}});
  for (const auto& item : NumberedItems(400)) request.buckets[0].keys.push_back(Delete(item.key));
  CommitAndVerify(bytes, request);
  const ViewFile file(bytes);
  const auto database = Database::Open(file);
  REQUIRE(database);
  CHECK((*database->FindBucket(AsBytes("t")))->is_inline());
}

TEST_CASE("Many keys become a tree of half full pages, and a root branch of many buckets") {
  Bytes bytes = SmallFile();
  TransactionRequest request;
  request.buckets.push_back({"t", false, {}});
  for (const auto& item : NumberedItems(30000, 19, 90)) {
    request.buckets[0].keys.push_back(Set(item.key, item.value));
  }
  for (int i = 0; i < 300; ++i) {
    request.buckets.push_back({"bucket" + std::to_string(i), false, {Set("k", "v")}});
  }
  CommitAndVerify(bytes, request);
  const CheckReport report = CheckOf(ViewFile(bytes));
  CHECK(report.buckets.at(0).branch_pages == 1);
  CHECK(report.buckets.at(0).leaf_pages > 3);
  // And on: changes below a root that is a branch.
  TransactionRequest next;
  next.buckets.push_back({"bucket250", false, {Delete("k"), Set("l", "w")}});
  next.buckets.push_back({"aaaa", false, {Set("first", "1")}});
  next.buckets.push_back({"zzzz", false, {Set("last", "1")}});
  CHECK(CommitAndVerify(bytes, next).pages_written < 10);
}

TEST_CASE("Values longer than a page lie in continuation pages") {
  for (const std::size_t size : {4000U, 4096U, 8192U, 100000U, 3000000U}) {
    CAPTURE(size);
    Bytes bytes = SmallFile();
    const std::string key = NumberedItems(400)[200].key;
    TransactionRequest request;
    request.buckets.push_back({"t", false, {Set(key, std::string(size, 'L'))}});
    CommitAndVerify(bytes, request);
    // A neighbour on the long page is changed, then the long value goes.
    request.buckets[0].keys = {Set(key + "a", "short")};
    CommitAndVerify(bytes, request);
    request.buckets[0].keys = {Delete(key)};
    CommitAndVerify(bytes, request);
  }
}

TEST_CASE("A later change of the same key or bucket counts") {
  Bytes bytes = SmallFile();
  TransactionRequest request;
  request.buckets.push_back({"in", false, {Set("k", "1"), Set("k", "2"), Delete("j")}});
  request.buckets.push_back({"t", false, {Set("x", "1")}});
  request.buckets.push_back({"in", true, {Set("j", "3")}});
  request.buckets.push_back({"in", false, {Set("i", "4")}});
  CommitAndVerify(bytes, request);
  const Content content = ContentOf(ViewFile(bytes));
  CHECK(content.at("in").keys == std::map<std::string, std::string>{{"i", "4"}, {"j", "3"}});
}

TEST_CASE("What bbolt would not take is refused") {
  const Bytes bytes = SmallFile();
  const auto code = [&](BucketChanges changes) {
    TransactionRequest request;
    request.buckets.push_back(std::move(changes));
    return CodeOf(bytes, request);
  };
  CHECK(code({"", false, {Set("k", "v")}}) == "bolt-limit");
  CHECK(code({"t", false, {Set("", "v")}}) == "bolt-limit");
  CHECK(code({"t", false, {Set(std::string(32769, 'k'), "v")}}) == "bolt-limit");
  CHECK(code({std::string(32769, 'k'), false, {}}) == "bolt-limit");
  CHECK(code({"nested", false, {Set("deep", "v")}}) == "bolt-not-a-key");
  CHECK(code({"nested", false, {Delete("deep")}}) == "bolt-not-a-key");
  Bytes longest = bytes;
  TransactionRequest request;
  request.buckets.push_back({"t", false, {Set(std::string(32768, 'k'), "v")}});
  CommitAndVerify(longest, request);

  TestFile plain;
  plain.Finish(plain.Leaf({{"key", "not a bucket"}}));
  request.buckets = {{"key", false, {}}};
  CHECK(CodeOf(plain.bytes(), request) == "bolt-not-a-key");
}

TEST_CASE("A damaged page on the way is refused, elsewhere it does not matter") {
  Bytes bytes = SmallFile();
  bytes[std::size_t{5} * 4096] = std::byte{0xee};  // the leaf with keys 30 to 39
  const auto items = NumberedItems(400);
  TransactionRequest request;
  request.buckets.push_back({"t", false, {Set(items[35].key, "x")}});
  CHECK(CodeOf(bytes, request) == "bolt-page");
  request.buckets[0].keys = {Set(items[45].key, "x")};
  CHECK(PlanCommit(ViewFile(bytes), "db", request));
}

TEST_CASE("A page whose keys belong elsewhere is not taken for the parent's word") {
  TestFile file;
  const auto items = NumberedItems(40);
  const auto tree = file.Tree(items, 10);
  file.Finish(file.Leaf({TestFile::BucketAt("t", tree)}));
  file.SetChild(tree, 1, 4);
  file.SetChild(tree, 2, 3);
  TransactionRequest request;
  request.buckets.push_back({"t", false, {Set(items[15].key, "x")}});
  CHECK(CodeOf(file.bytes(), request) == "bolt-page");
  request.buckets[0].keys = {Set(items[25].key, "x")};
  CHECK(CodeOf(file.bytes(), request) == "bolt-page");
}

TEST_CASE("Trees that run in a circle end in an error") {
  TestFile file;
  const auto tree = file.Tree(NumberedItems(40), 10);
  file.Finish(file.Leaf({TestFile::BucketAt("t", tree)}));
  file.SetChild(tree, 0, tree);
  TransactionRequest request;
  request.buckets.push_back({"t", false, {Set("a", "x")}});
  const std::string code = CodeOf(file.bytes(), request);
  CHECK((code == "bolt-depth" || code == "bolt-page"));
}

// Counts what is read.
class CountedFile final : public ReadableFile {
 public:
  explicit CountedFile(const ReadableFile& file) : file_(file) {}
  std::uint64_t size() const override { return file_.size(); }
  Result<std::size_t> ReadAt(std::uint64_t offset, std::span<std::byte> into) const override {
    bytes_ += into.size();
    return file_.ReadAt(offset, into);
  }
  std::uint64_t bytes() const { return bytes_; }

 private:
  const ReadableFile& file_;
  mutable std::uint64_t bytes_ = 0;
};

TEST_CASE("Only the pages on the way to a change are read") {
  TestFile file;
  const auto items = NumberedItems(20000);
  const auto tree = file.Tree(items, 30);
  file.Finish(file.Leaf({TestFile::BucketAt("t", tree)}));
  const ViewFile view(file.bytes());
  const CountedFile counted(view);
  TransactionRequest request;
  request.buckets.push_back({"t", false, {Set(items[777].key, "x"), Set("zzz", "last")}});
  MustPlan(counted, request);
  CHECK(counted.bytes() < 40960);
}

}  // namespace
}  // namespace rescue::bolt
