#include "rescue/bolt/check.h"

#include <algorithm>
#include <catch2/catch_test_macros.hpp>

#include "rescue/bolt/page_table.h"
#include "rescue/bolt/test_file.h"
#include "tests/support/fixtures.h"

namespace rescue::bolt {
namespace {

using rescue::testing::MemoryFile;
using testing::Item;
using testing::NumberedItems;
using testing::TestFile;

CheckReport MustCheck(const TestFile& file, const CheckOptions& options = {}) {
  const auto readable = MemoryFile(file.bytes());
  auto report = Check(*readable, options);
  REQUIRE(report);
  CHECK(report->reachable + report->free == report->pages);
  CHECK(report->problems.size() == std::min<std::uint64_t>(report->problem_count, 100));
  return *std::move(report);
}

bool Has(const CheckReport& report, ProblemKind kind, std::uint64_t page, std::string_view words) {
  for (const PageProblem& problem : report.problems) {
    UNSCOPED_INFO("page " << problem.page << " in '" << problem.bucket << "': " << problem.reason);
  }
  return std::any_of(report.problems.begin(), report.problems.end(), [&](const auto& problem) {
    return problem.kind == kind && problem.page == page &&
           problem.reason.find(words) != std::string::npos;
  });
}

// The only problem there is.
bool HasOnly(const CheckReport& report, ProblemKind kind, std::uint64_t page,
             std::string_view words) {
  return Has(report, kind, page, words) && report.problem_count == 1;
}

// Bucket "t" with 40 keys in leaves 2 to 5 (10 keys each) below branch 6, root leaf 7.
struct Small {
  TestFile file;
  std::vector<Item> items;
  std::uint64_t branch;

  explicit Small(std::size_t key_size = 17, std::uint64_t page_size = 4096)
      : file(page_size), items(NumberedItems(40, key_size)), branch(file.Tree(items, 10)) {
    file.Finish(file.Leaf({TestFile::BucketAt("t", branch)}));
  }
};

TEST_CASE("An intact file is clean, with its pages and keys counted") {
  for (const std::uint64_t page_size : {1024U, 4096U, 16384U, 65536U}) {
    CAPTURE(page_size);
    TestFile built(page_size);
    const auto tree = built.Tree(NumberedItems(1000, 17), 7);  // 143 leaves, 21 + 3 + 1 branches
    const auto unused = built.Unused();
    const auto large = built.Leaf({{"a", "1"}, {"b", std::string(3 * page_size, 'x')}});
    const auto inner = built.Leaf({TestFile::BucketAt("large", large), {"plain", "2"}});
    built.Finish(built.Leaf({TestFile::BucketAt("a", tree), TestFile::BucketAt("b", inner),
                             TestFile::InlineBucket("c", NumberedItems(3)),
                             TestFile::InlineBucket("d", {})}));
    const auto report = MustCheck(built);
    CHECK(report.clean());
    CHECK(report.pages == built.pages());
    CHECK(report.free == 1);
    CHECK(unused != 0);
    CHECK(report.bytes_read >= (built.pages() - 2) * page_size);
    REQUIRE(report.buckets.size() == 6);
    CHECK(report.buckets[0].name.empty());
    CHECK(report.buckets[0].keys == 0);
    CHECK(report.buckets[1].name == "a");
    CHECK(report.buckets[1].keys == 1000);
    CHECK(report.buckets[1].leaf_pages == 143);
    CHECK(report.buckets[1].branch_pages == 25);
    CHECK(report.buckets[1].depth == 4);
    CHECK(report.buckets[2].name == "b");
    CHECK(report.buckets[2].keys == 1);
    CHECK(report.buckets[3].name == "b/large");
    CHECK(report.buckets[3].overflow_pages == 3);
    CHECK(report.buckets[4].is_inline);
    CHECK(report.buckets[4].keys == 3);
    CHECK(report.buckets[5].keys == 0);
  }
}

TEST_CASE("Long keys that share their start are told apart") {
  Small small(600, 16384);
  CHECK(MustCheck(small.file).clean());
  small.file.SetChild(small.branch, 0, 3);
  small.file.SetChild(small.branch, 1, 2);
  const auto report = MustCheck(small.file);
  CHECK(Has(report, ProblemKind::kKeyOrder, 3, "ends with key"));
  CHECK(Has(report, ProblemKind::kKeyOrder, 2, "starts with key"));
}

TEST_CASE("Exchanged children are found on both pages") {
  Small small;
  small.file.SetChild(small.branch, 1, 4);
  small.file.SetChild(small.branch, 2, 3);
  const auto report = MustCheck(small.file);
  CHECK(Has(report, ProblemKind::kKeyOrder, 4, "ends with key"));
  CHECK(Has(report, ProblemKind::kKeyOrder, 3, "starts with key"));
  CHECK(report.problem_count == 2);
}

TEST_CASE("A last child is held to the limit of the pages above its parent") {
  TestFile built;
  const auto items = NumberedItems(40);
  const auto tree = built.Tree(items, 4);  // two levels of branches over ten leaves
  built.Finish(built.Leaf({TestFile::BucketAt("t", tree)}));
  REQUIRE(MustCheck(built).clean());
  // Page 5 is the last leaf of the first branch; its last key becomes larger than the second
  // branch's first, and stays the largest of its page.
  auto* key = &built.KeyByte(5, 3);
  key[0] = std::byte{'z'};
  const auto report = MustCheck(built);
  CHECK(HasOnly(report, ProblemKind::kKeyOrder, 5, "ends with key"));
}

TEST_CASE("A page used by two parents, or by two buckets, is reported once") {
  Small small;
  small.file.SetChild(small.branch, 2, 3);
  const auto twice = MustCheck(small.file);
  CHECK(HasOnly(twice, ProblemKind::kReference, 3, "used twice"));
  CHECK(twice.problems[0].bucket == "t");
  CHECK(twice.problems[0].from == ToBytes(AsBytes(small.items[20].key)));
  CHECK(twice.problems[0].until == ToBytes(AsBytes(small.items[30].key)));

  TestFile shared;
  const auto leaf = shared.Leaf({{"k", "v"}});
  shared.Finish(shared.Leaf({TestFile::BucketAt("a", leaf), TestFile::BucketAt("b", leaf)}));
  const auto report = MustCheck(shared);
  CHECK(HasOnly(report, ProblemKind::kReference, leaf, "used twice"));
  CHECK(report.problems[0].bucket == "b");
}

TEST_CASE("A circle is a page used twice") {
  Small small;
  small.file.SetChild(small.branch, 0, small.branch);
  CHECK(HasOnly(MustCheck(small.file), ProblemKind::kReference, small.branch, "used twice"));
}

TEST_CASE("Children outside of the file, and the meta pages, are refused") {
  for (const std::uint64_t child :
       {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{8}, ~std::uint64_t{0}}) {
    Small small;
    small.file.SetChild(small.branch, 3, child);
    CHECK(HasOnly(MustCheck(small.file), ProblemKind::kReference, small.branch, "points to page"));
  }
}

TEST_CASE("A page that names another number, or no type, lists the keys it held") {
  Small wrong_id;
  auto header = wrong_id.file.Header(3);
  header.id = 4;
  wrong_id.file.SetHeader(3, header);
  const auto identity = MustCheck(wrong_id.file);
  CHECK(HasOnly(identity, ProblemKind::kPage, 3, "identifies itself as page 4"));
  CHECK(identity.problems[0].from == ToBytes(AsBytes(wrong_id.items[10].key)));
  CHECK(identity.problems[0].until == ToBytes(AsBytes(wrong_id.items[20].key)));

  for (const std::uint16_t type : std::vector<std::uint16_t>{0, 3, 4, 0x10, 0x102}) {
    Small wrong_type;
    header = wrong_type.file.Header(5);
    header.flags = type;
    wrong_type.file.SetHeader(5, header);
    const auto report = MustCheck(wrong_type.file);
    CHECK(HasOnly(report, ProblemKind::kPage, 5, "has type"));
    CHECK(report.problems[0].until.empty());
  }
}

TEST_CASE("Damage inside a page is named with its element") {
  const auto damaged = [](auto change, std::string_view words) {
    Small small;
    LeafElement element = small.file.LeafAt(3, 4);
    change(element);
    small.file.SetLeaf(3, 4, element);
    CHECK(HasOnly(MustCheck(small.file), ProblemKind::kPage, 3, words));
  };
  damaged([](LeafElement& e) { e.position = 0; }, "element 4: lies outside");
  damaged([](LeafElement& e) { e.position = 0xffffffff; }, "element 4: lies outside");
  damaged([](LeafElement& e) { e.position = e.position - 1; }, "element 4: lies outside");
  damaged([](LeafElement& e) { e.key_size = 0; }, "element 4: key is empty");
  damaged([](LeafElement& e) { e.key_size = 32769; }, "element 4: key is empty or longer");
  damaged([](LeafElement& e) { e.key_size = 32768; }, "element 4: lies outside");
  damaged([](LeafElement& e) { e.value_size = 41; }, "element 5: lies outside");
  damaged([](LeafElement& e) { e.value_size = 0x7ffffffe; }, "element 4: lies outside");
  damaged([](LeafElement& e) { e.value_size = 0xffffffff; }, "element 4: value is longer");
  damaged([](LeafElement& e) { e.flags = 2; }, "element 4: is marked neither");

  Small unsorted;
  unsorted.file.KeyByte(3, 4) = std::byte{'j'};
  CHECK(HasOnly(MustCheck(unsorted.file), ProblemKind::kPage, 3, "element 4: key is not above"));

  Small equal;
  std::copy_n(&equal.file.KeyByte(3, 3), 17, &equal.file.KeyByte(3, 4));
  CHECK(HasOnly(MustCheck(equal.file), ProblemKind::kPage, 3, "element 4: key is not above"));

  Small too_many;
  auto header = too_many.file.Header(3);
  header.count = 0xffff;
  too_many.file.SetHeader(3, header);
  CHECK(HasOnly(MustCheck(too_many.file), ProblemKind::kPage, 3, "counts 65535 elements"));
}

TEST_CASE("Empty pages are fine only where a bucket starts") {
  TestFile empty;
  empty.Finish(empty.Leaf({TestFile::BucketAt("t", empty.Leaf({}))}));
  CHECK(MustCheck(empty).clean());

  Small leaf;
  auto header = leaf.file.Header(4);
  header.count = 0;
  leaf.file.SetHeader(4, header);
  CHECK(HasOnly(MustCheck(leaf.file), ProblemKind::kReference, 4, "empty leaf"));

  Small branch;
  header = branch.file.Header(branch.branch);
  header.count = 0;
  branch.file.SetHeader(branch.branch, header);
  CHECK(HasOnly(MustCheck(branch.file), ProblemKind::kPage, branch.branch, "without children"));
}

TEST_CASE("Continuation pages belong to one page only and end at the high water mark") {
  Small overlapping;
  auto header = overlapping.file.Header(3);
  header.overflow = 1;
  overlapping.file.SetHeader(3, header);
  const auto report = MustCheck(overlapping.file);
  CHECK(Has(report, ProblemKind::kReference, 4, "used twice"));

  Small beyond;
  header = beyond.file.Header(5);
  header.overflow = 0xffffffff;
  beyond.file.SetHeader(5, header);
  CHECK(HasOnly(MustCheck(beyond.file), ProblemKind::kPage, 5, "continues for"));
}

TEST_CASE("Damage in free pages is no problem") {
  Small small;
  TestFile& file = small.file;
  const auto unused = file.Unused();
  file.Finish(file.root());
  REQUIRE(MustCheck(file).clean());
  auto header = file.Header(unused);
  header.count = 0xfff0;
  file.SetHeader(unused, header);
  CHECK(MustCheck(file).clean());
  header.overflow = 0xffffffff;
  file.SetHeader(unused, header);
  CHECK(MustCheck(file).clean());
  CHECK(MustCheck(file).free == 1);
}

TEST_CASE("Inline buckets are checked where they lie") {
  const auto damaged = [](const std::string& value, std::string_view words) {
    CAPTURE(words);
    TestFile built;
    const auto root = built.Leaf({{"in", value, true}, {"other", "x"}});
    built.Finish(root);
    const auto report = MustCheck(built);
    CHECK(HasOnly(report, ProblemKind::kBucket, root, words));
    CHECK(report.problems[0].bucket == "in");
    const auto file = MemoryFile(built.bytes());
    const auto database = Database::Open(*file);
    REQUIRE(database);
    const auto bucket = database->FindBucket(AsBytes("in"));
    CHECK((!bucket || !(*bucket)->Last()));
  };
  const std::string intact = TestFile::InlineBucket("in", NumberedItems(4)).value;
  constexpr std::size_t kHeader = sizeof(BucketHeader);
  damaged("short", "header has only 5 bytes");
  damaged(intact.substr(0, kHeader + 15), "15 bytes are too few");
  damaged(intact.substr(0, intact.size() - 1), "element 3: lies outside");
  const auto changed = [&](std::size_t at, char to) {
    std::string value = intact;
    value[at] = to;
    return value;
  };
  damaged(changed(kHeader + 0, 9), "identifies itself as page 9");
  damaged(changed(kHeader + 8, 1), "has type 0x1");
  damaged(changed(kHeader + 10, 100), "counts 100 elements");
  damaged(changed(kHeader + 12, 1), "continues for 1 pages");
  damaged(changed(kHeader + 16, 1), "element 0: a bucket inside");
  damaged(changed(kHeader + 16 + 4, 1), "element 0: lies outside");
  damaged(changed(intact.size() - 57, 'a'), "element 3: key is not above");
}

TEST_CASE("Buckets nested too deep end at the limit") {
  TestFile built;
  std::uint64_t page = built.Leaf({{"k", "v"}});
  for (int i = 0; i < 200; ++i) page = built.Leaf({TestFile::BucketAt("b", page)});
  built.Finish(page);
  CHECK(MustCheck(built).clean());
  for (int i = 0; i < 100; ++i) page = built.Leaf({TestFile::BucketAt("b", page)});
  built.Finish(page);
  const auto report = MustCheck(built);
  CHECK(report.problem_count == 1);
  CHECK(report.problems.at(0).reason == "lies deeper than 256 levels");
  CHECK(report.problems.at(0).bucket.size() <= 403);
}

TEST_CASE("A freelist that agrees is clean in both forms, also when it is empty or unsorted") {
  for (const bool count_in_first_entry : {false, true}) {
    Small small;
    TestFile& file = small.file;
    const auto a = file.Unused();
    const auto b = file.Unused();
    file.Finish(file.root(), file.Freelist({b, a}, count_in_first_entry));
    const auto report = MustCheck(file);
    CHECK(report.clean());
    CHECK(report.free == 2);
  }
  Small small;
  small.file.Finish(small.file.root(), small.file.Freelist({}));
  CHECK(MustCheck(small.file).clean());
}

TEST_CASE("A freelist of more than 65534 pages is read over its continuation pages") {
  TestFile file(1024);
  const auto root = file.Leaf({{"k", "v"}});
  std::vector<std::uint64_t> free;
  free.reserve(70000);
  for (int i = 0; i < 70000; ++i) free.push_back(file.Unused());
  file.Finish(root, file.Freelist(free, true));
  const auto report = MustCheck(file);
  CHECK(report.clean());
  CHECK(report.free == 70000);
  free.back() = free.front();
  file.Finish(root, file.Freelist(free, true));
  CHECK(Has(MustCheck(file), ProblemKind::kFreelist, free.front(), "in the freelist twice"));
}

TEST_CASE("What a freelist gets wrong is named, and blamed on the freelist") {
  const auto with = [](std::vector<std::uint64_t> more, std::string_view words,
                       std::uint64_t page) {
    CAPTURE(words);
    Small small;
    const auto unused = small.file.Unused();
    more.push_back(unused);
    const auto list = small.file.Freelist(more);
    small.file.Finish(small.file.root(), list);
    CHECK(HasOnly(MustCheck(small.file), ProblemKind::kFreelist, page == 0 ? list : page, words));
  };
  with({8}, "in the freelist twice", 8);
  with({4}, "in the freelist, but in use", 4);
  with({9}, "in the freelist, but in use", 9);  // the list itself
  with({1}, "names page 1", 0);
  with({10}, "names page 10", 0);
  with({~std::uint64_t{0}}, "names page 18446744073709551615", 0);
}

TEST_CASE("A freelist page that is none is named") {
  const auto freelist_at = [](std::uint64_t page, std::string_view words) {
    CAPTURE(words);
    Small small;
    small.file.Finish(small.file.root(), page);
    CHECK(HasOnly(MustCheck(small.file), ProblemKind::kFreelist, page, words));
  };
  freelist_at(0, "cannot lie here");
  freelist_at(1, "cannot lie here");
  freelist_at(8, "cannot lie here");
  freelist_at(3, "has type 0x2");

  const auto changed = [](auto change, std::string_view words) {
    CAPTURE(words);
    Small small;
    const auto list = small.file.Freelist({});
    small.file.Finish(small.file.root(), list);
    auto header = small.file.Header(list);
    change(header);
    small.file.SetHeader(list, header);
    CHECK(HasOnly(MustCheck(small.file), ProblemKind::kFreelist, list, words));
  };
  changed([](PageHeader& header) { header.id = 3; }, "identifies itself as page 3");
  changed([](PageHeader& header) { header.overflow = 1; }, "continues for 1 pages");
  changed([](PageHeader& header) { header.count = 511; }, "counts 511 pages");

  Small huge;
  const auto list = huge.file.Freelist({}, true, std::uint64_t{1} << 60);
  huge.file.Finish(huge.file.root(), list);
  CHECK(HasOnly(MustCheck(huge.file), ProblemKind::kFreelist, list, "counts 1152921504606846976"));

  Small over;
  const auto before = over.file.Freelist({});
  const auto root = over.file.Leaf({TestFile::BucketAt("t", over.branch)});
  auto header = over.file.Header(before);
  header.overflow = 1;
  over.file.SetHeader(before, header);
  over.file.Finish(root, before);
  CHECK(HasOnly(MustCheck(over.file), ProblemKind::kFreelist, before, "lies over page 9"));
}

TEST_CASE("Pages that are neither used nor listed are one problem") {
  Small small;
  const auto a = small.file.Unused();
  const auto b = small.file.Unused();
  const auto c = small.file.Unused();
  small.file.Finish(small.file.root(), small.file.Freelist({b}));
  CHECK(HasOnly(MustCheck(small.file), ProblemKind::kFreelist, a, "2 pages in all"));
  CHECK(c > b);
}

// Pages whose content starts or ends at the survey's windows, and pages longer than one.
TEST_CASE("Pages are checked the same wherever the window ends") {
  TestFile built(4096);
  std::vector<Item> items = NumberedItems(700);
  for (std::size_t i = 0; i < items.size(); ++i) items[i].value.resize(i * 37 % 30000, 'v');
  items[90].value.resize(1040000, 'v');   // just below one window
  items[290].value.resize(1048576, 'v');  // just above
  items[300].value.resize(5000000, 'v');
  const auto tree = built.Tree(items, 3);
  built.Finish(built.Leaf({TestFile::BucketAt("t", tree)}));
  const auto report = MustCheck(built);
  CHECK(report.clean());
  CHECK(report.free == 0);
  CHECK(report.buckets.at(1).keys == 700);
  // One look at everything, and a second look at a few pages only.
  CHECK(report.bytes_read < built.bytes().size() + 100000);

  // The second key of a long page lies behind the first one's long value.
  for (std::uint64_t page = 2; page < built.pages(); ++page) {
    const auto header = built.Header(page);
    if (header.id != page || header.flags != kLeafPage || header.overflow < 200) continue;
    CAPTURE(page, header.overflow.Get());
    TestFile damaged = built;
    damaged.KeyByte(page, 2) = std::byte{'a'};
    CHECK(HasOnly(MustCheck(damaged), ProblemKind::kPage, page, "element 2: key is not above"));
  }
}

// A file of which some bytes cannot be read.
class BadSector final : public ReadableFile {
 public:
  BadSector(const ReadableFile& file, std::uint64_t at) : file_(file), at_(at) {}
  std::uint64_t size() const override { return file_.size(); }
  Result<std::size_t> ReadAt(std::uint64_t offset, std::span<std::byte> into) const override {
    if (offset <= at_ && at_ - offset < into.size()) {
      return Fail(ErrorKind::kOther, "io", "read: Input/output error");
    }
    return file_.ReadAt(offset, into);
  }

 private:
  const ReadableFile& file_;
  std::uint64_t at_;
};

TEST_CASE("An unreadable sector costs the page it lies in, and nothing when that is free") {
  Small small;
  const auto unused = small.file.Unused();
  small.file.Finish(small.file.root());
  const auto file = MemoryFile(small.file.bytes());
  const BadSector in_leaf(*file, 3 * 4096 + 700);
  const auto report = Check(in_leaf);
  REQUIRE(report);
  CHECK(HasOnly(*report, ProblemKind::kPage, 3, "Input/output error"));
  CHECK(report->buckets.at(1).keys == 30);
  const BadSector in_free(*file, unused * 4096);
  const auto fine = Check(in_free);
  REQUIRE(fine);
  CHECK(fine->clean());
  const BadSector in_meta(*file, 20);
  CHECK_FALSE(Check(in_meta));
}

TEST_CASE("Branches that find no room in the table are read again") {
  // More old branch elements among the free pages than the table takes: 59 fit a page of 1 KiB.
  TestFile built(1024);
  std::vector<testing::Child> children;
  children.reserve(59);
  for (int i = 0; i < 59; ++i) children.emplace_back(std::string(1, static_cast<char>('!' + i)), 2);
  const std::uint64_t old_pages = PageTable::kSpareChildren / 58 + 2;
  for (std::uint64_t i = 0; i < old_pages; ++i) built.Branch(children);
  const auto items = NumberedItems(400);
  const auto tree = built.Tree(items, 10);
  built.Finish(built.Leaf({TestFile::BucketAt("t", tree)}));
  const auto report = MustCheck(built);
  CHECK(report.clean());
  CHECK(report.free == old_pages);
  CHECK(report.buckets.at(1).keys == 400);
  built.SetChild(tree, 0, 2);
  CHECK_FALSE(MustCheck(built).clean());
}

TEST_CASE("Either meta page can be checked") {
  TestFile built;
  const auto older = built.Leaf({{"k", "older"}});
  const auto newer = built.Leaf({{"k", "newer"}});
  built.Finish(newer, kNoFreelist, older);
  built.KeyByte(newer, 0) = std::byte{'j'};
  auto header = built.Header(newer);
  header.flags = kMetaPage;
  built.SetHeader(newer, header);
  CHECK(HasOnly(MustCheck(built), ProblemKind::kPage, newer, "has type"));
  CheckOptions options;
  options.slot = 0;
  const auto report = MustCheck(built, options);
  CHECK(report.clean());
  CHECK(report.meta.transaction_id == 6);
}

TEST_CASE("Problems are bounded in the report and all counted") {
  TestFile built;
  const auto tree = built.Tree(NumberedItems(1000), 2);
  const auto leaf = std::uint64_t{2};
  for (std::uint64_t page = leaf; page < leaf + 500; ++page) {
    auto header = built.Header(page);
    header.flags = 0;
    built.SetHeader(page, header);
  }
  built.Finish(built.Leaf({TestFile::BucketAt("t", tree)}));
  const auto report = MustCheck(built);
  CHECK(report.problem_count == 500);
  CHECK(report.problems.size() == 100);
}

TEST_CASE("Progress is told and may cancel") {
  TestFile built;
  built.Finish(built.Leaf({{"k", std::string(5000000, 'v')}}));
  const auto file = MemoryFile(built.bytes());
  CheckOptions options;
  std::vector<std::uint64_t> seen;
  options.progress = [&](std::uint64_t done, std::uint64_t total) {
    CHECK(total == built.bytes().size());
    seen.push_back(done);
    return true;
  };
  REQUIRE(Check(*file, options));
  CHECK(seen.size() >= 5);
  CHECK(std::is_sorted(seen.begin(), seen.end()));
  CHECK(seen.back() == built.bytes().size());
  options.progress = [](std::uint64_t, std::uint64_t) { return false; };
  const auto cancelled = Check(*file, options);
  REQUIRE_FALSE(cancelled);
  CHECK(cancelled.error().code == "cancelled");
}

TEST_CASE("A file whose summaries need too much memory is refused before it is asked for") {
  Small small;
  const auto file = MemoryFile(small.file.bytes());
  CheckOptions options;
  options.max_memory = 1000;
  const auto refused = Check(*file, options);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().kind == ErrorKind::kRefused);
  CHECK(refused.error().code == "bolt-too-large");
}

}  // namespace
}  // namespace rescue::bolt
