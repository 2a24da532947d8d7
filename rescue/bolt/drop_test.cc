// Damaged pages are dropped: what is left is sound, and nothing is lost that the check did not
// name.
#include <fmt/format.h>

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <cstring>
#include <functional>
#include <optional>
#include <random>

#include "rescue/bolt/commit_testing.h"

namespace rescue::bolt {
namespace {

using testing::CheckOf;
using testing::CodeOf;
using testing::Content;
using testing::ContentOf;
using testing::NumberedItems;
using testing::Set;
using testing::TestFile;
using testing::ViewFile;

// Bytes of which one page may be unreadable.
class DamagedFile final : public ReadableFile {
 public:
  DamagedFile(ByteView bytes, std::optional<std::uint64_t> bad_at) : file_(bytes), bad_(bad_at) {}
  std::uint64_t size() const override { return file_.size(); }
  Result<std::size_t> ReadAt(std::uint64_t offset, std::span<std::byte> into) const override {
    if (bad_ && offset <= *bad_ && *bad_ - offset < into.size()) {
      return Fail(ErrorKind::kOther, "io", "read: Input/output error");
    }
    return file_.ReadAt(offset, into);
  }

 private:
  ViewFile file_;
  std::optional<std::uint64_t> bad_;
};

struct Damage {
  std::string name;
  // Changes the page's bytes; false when it does not apply to this page.
  std::function<bool(std::span<std::byte> page, std::uint64_t number, std::uint64_t pages)> apply;
  bool unreadable = false;
  // A reference to another page that is sound: what it pointed to is lost, and when the other page
  // fits at the new place, nothing there shows it.
  bool redirects = false;
};

template <typename T>
T Get(std::span<const std::byte> bytes, std::size_t at) {
  T value;
  std::memcpy(&value, bytes.subspan(at, sizeof(T)).data(), sizeof(T));
  return value;
}
template <typename T>
void Put(std::span<std::byte> bytes, std::size_t at, const T& value) {
  std::memcpy(bytes.subspan(at, sizeof(T)).data(), &value, sizeof(T));
}

using Page = std::span<std::byte>;
using Header = PageHeader;

Damage OfHeader(std::string name, const std::function<void(Header&, std::uint64_t)>& change) {
  return {std::move(name), [change](Page page, std::uint64_t number, std::uint64_t) {
            auto header = Get<Header>(page, 0);
            change(header, number);
            Put(page, 0, header);
            return true;
          }};
}

// Of one element of a leaf or a branch: the first, the middle one or the last.
template <typename Element>
Damage OfElement(const std::string& name, std::uint16_t type, int which,
                 const std::function<bool(Page page, Element&, std::size_t at, std::uint64_t number,
                                          std::uint64_t pages)>& change) {
  return {name + (which == 0   ? ", first"
                  : which == 1 ? ", middle"
                               : ", last"),
          [=](Page page, std::uint64_t number, std::uint64_t pages) {
            const auto header = Get<Header>(page, 0);
            if (header.id != number || header.flags != type || header.count == 0) return false;
            const std::size_t index = which == 0   ? 0
                                      : which == 1 ? header.count / 2U
                                                   : header.count - 1U;
            const std::size_t at = 16 + index * 16;
            auto element = Get<Element>(page, at);
            if (!change(page, element, at, number, pages)) return false;
            Put(page, at, element);
            return true;
          }};
}

std::vector<Damage> AllDamages() {
  std::vector<Damage> all;
  all.push_back({"unreadable", [](Page, std::uint64_t, std::uint64_t) { return true; }, true});
  for (const int fill : {0x00, 0xff, 0xa5}) {
    all.push_back({"filled with " + std::to_string(fill), [fill](Page page, auto, auto) {
                     std::fill(page.begin(), page.end(), static_cast<std::byte>(fill));
                     return true;
                   }});
  }
  all.push_back({"first sector zero", [](Page page, auto, auto) {
                   std::fill_n(page.begin(), 512, std::byte{0});
                   return true;
                 }});
  all.push_back(OfHeader("identity", [](Header& h, auto) { h.id = h.id + 1; }));
  for (const std::uint16_t type : std::vector<std::uint16_t>{0, 1, 2, 4, 0x10}) {
    all.push_back(
        OfHeader("type " + std::to_string(type), [type](Header& h, auto) { h.flags = type; }));
  }
  for (const std::uint16_t count : std::vector<std::uint16_t>{0, 0xff, 0xffff}) {
    all.push_back(
        OfHeader("count " + std::to_string(count), [count](Header& h, auto) { h.count = count; }));
  }
  for (const std::uint32_t overflow : {1U, 2U, 0xffffffffU}) {
    all.push_back(OfHeader("overflow " + std::to_string(overflow),
                           [overflow](Header& h, auto) { h.overflow = overflow; }));
  }
  for (const int which : {0, 1, 2}) {
    using L = LeafElement;
    const auto leaf = [&](const std::string& name, const std::function<void(L&)>& change) {
      all.push_back(OfElement<L>("leaf " + name, kLeafPage, which,
                                 [change](Page, L& e, std::size_t, auto, auto) {
                                   change(e);
                                   return true;
                                 }));
    };
    leaf("position", [](L& e) { e.position = 0xffffff; });
    leaf("key size", [](L& e) { e.key_size = 0; });
    leaf("value size", [](L& e) { e.value_size = 0xffffffff; });
    leaf("flags", [](L& e) { e.flags = 7; });
    // A bucket that has no header, or points anywhere.
    for (const std::uint64_t root : {std::uint64_t{1}, std::uint64_t{2}, ~std::uint64_t{0}}) {
      all.push_back(OfElement<L>("bucket at " + std::to_string(root), kLeafPage, which,
                                 [root](Page page, L& e, std::size_t at, auto, auto) {
                                   const std::size_t value = at + e.position + e.key_size;
                                   if (e.flags != 1 || value + 8 > page.size()) return false;
                                   Put(page, value, ul64(root));
                                   return true;
                                 }));
      all.back().redirects = root == 2;
    }
    all.push_back(
        OfElement<L>("bucket too short", kLeafPage, which, [](Page, L& e, std::size_t, auto, auto) {
          e.value_size = 7;
          return e.flags == 1;
        }));
    all.push_back(OfElement<L>("inline page", kLeafPage, which,
                               [](Page page, L& e, std::size_t at, auto, auto) {
                                 const std::size_t value = at + e.position + e.key_size;
                                 if (e.flags != 1 || e.value_size < 32) return false;
                                 page[value + 16 + 8] = std::byte{1};
                                 return true;
                               }));
    for (const int by : {-1, 1}) {
      all.push_back(OfElement<L>("leaf key by " + std::to_string(by), kLeafPage, which,
                                 [by](Page page, L& e, std::size_t at, auto, auto) {
                                   const std::size_t key = at + e.position;
                                   if (key >= page.size()) return false;
                                   page[key] =
                                       static_cast<std::byte>(static_cast<int>(page[key]) + by);
                                   return true;
                                 }));
    }
    using B = BranchElement;
    const auto branch =
        [&](const std::string& name,
            const std::function<std::uint64_t(const B&, std::uint64_t number, std::uint64_t pages)>&
                child) {
          all.push_back(OfElement<B>("child " + name, kBranchPage, which,
                                     [child](Page, B& e, std::size_t, auto number, auto pages) {
                                       e.page = child(e, number, pages);
                                       return true;
                                     }));
        };
    branch("0", [](const B&, auto, auto) { return std::uint64_t{0}; });
    branch("1", [](const B&, auto, auto) { return std::uint64_t{1}; });
    branch("itself", [](const B&, auto number, auto) { return number; });
    branch("the next page", [](const B& e, auto, auto) { return e.page + 1; });
    all.back().redirects = true;
    branch("the page before", [](const B& e, auto, auto) { return e.page - 1; });
    all.back().redirects = true;
    branch("beyond", [](const B&, auto, auto pages) { return pages; });
    branch("far beyond", [](const B&, auto, auto) { return ~std::uint64_t{0}; });
    for (const int by : {-1, 1}) {
      all.push_back(OfElement<B>("branch key by " + std::to_string(by), kBranchPage, which,
                                 [by](Page page, B& e, std::size_t at, auto, auto) {
                                   // The last byte, so that the branch itself stays in order.
                                   const std::size_t key = at + e.position + e.key_size - 1;
                                   page[key] =
                                       static_cast<std::byte>(static_cast<int>(page[key]) + by);
                                   return true;
                                 }));
    }
  }
  return all;
}

// Whether a problem's range holds the key of the bucket at `path`.
bool Covers(const PageProblem& problem, const std::string& path, const std::string& key) {
  if (problem.bucket != path) {
    // A bucket goes with the leaf that it is named in.
    const std::string prefix = problem.bucket.empty() ? "" : problem.bucket + "/";
    if (!problem.bucket.empty() && !path.starts_with(prefix)) return false;
    const std::string rest = path.substr(prefix.size());
    return !rest.empty() && Covers(problem, problem.bucket, rest.substr(0, rest.find('/')));
  }
  const std::string_view from = AsText(problem.from);
  const std::string_view until = AsText(problem.until);
  return key >= from && (until.empty() || key < until);
}

// The first key of `before` that `after` lacks or has another value for, and that no problem names.
std::string FirstUnnamedLoss(const Content& before, const Content& after,
                             const CheckReport& report) {
  const auto named = [&](const std::string& path, const std::string& key) {
    return std::any_of(report.problems.begin(), report.problems.end(),
                       [&](const auto& problem) { return Covers(problem, path, key); });
  };
  for (const auto& [path, bucket] : before) {
    const auto now = after.find(path);
    for (const auto& [key, value] : bucket.keys) {
      if (now != after.end() && now->second.keys.contains(key) &&
          now->second.keys.at(key) == value) {
        continue;
      }
      if (!named(path, key)) return fmt::format("{}: {}", path, key);
    }
  }
  return {};
}

struct Tally {
  int noticed = 0;
  int mended = 0;
  int root = 0;  // damage that only a backup can mend
};

TransactionRequest DropAll(const CheckReport& report) {
  TransactionRequest request;
  for (const auto& problem : report.problems) request.drop_pages.push_back(problem.drop_page);
  return request;
}

// Notices the damage, drops what the check says, and compares what is left with `whole`.
void DropAndVerify(const Bytes& damaged, std::optional<std::uint64_t> bad_at, const Content* whole,
                   Tally& tally) {
  const DamagedFile file(damaged, bad_at);
  CheckOptions options;
  options.max_problems = 1000;
  const CheckReport report = CheckOf(file, options);
  if (report.clean()) return;
  ++tally.noticed;
  REQUIRE(report.problem_count == report.problems.size());
  TransactionRequest request = DropAll(report);
  for (const bool in_free_pages : {false, true}) {
    if (in_free_pages) request.free_runs = report.free_runs;
    const auto plan = PlanCommit(file, "db", request);
    if (!plan) {
      INFO(plan.error().message);
      REQUIRE(plan.error().code == "bolt-drop-root");
      tally.root += in_free_pages ? 0 : 1;
      continue;
    }
    Bytes bytes = damaged;
    testing::CarryOut(*plan, bytes);
    const DamagedFile mended(bytes, bad_at);
    const CheckReport after = CheckOf(mended);
    REQUIRE(after.clean());
    // A value in an unreadable place would show here.
    const auto content = testing::TryContentOf(mended);
    REQUIRE(content);
    if (whole != nullptr) REQUIRE(FirstUnnamedLoss(*whole, *content, report).empty());
    tally.mended += in_free_pages ? 0 : 1;
  }
}

Tally DamageEveryPage(const Bytes& bytes, std::uint64_t page_size) {
  const Content whole = ContentOf(ViewFile(bytes));
  const std::uint64_t pages = bytes.size() / page_size;
  Tally tally;
  for (const Damage& damage : AllDamages()) {
    CAPTURE(damage.name);
    for (std::uint64_t page = 2; page < pages; ++page) {
      CAPTURE(page);
      Bytes damaged = bytes;
      const Page place(damaged.data() + page * page_size, static_cast<std::size_t>(page_size));
      if (!damage.apply(place, page, pages)) continue;
      // Keys that are other keys now, in order, are nothing that anyone could notice.
      const auto bad_at = damage.unreadable ? std::optional(page * page_size + 700) : std::nullopt;
      DropAndVerify(damaged, bad_at, damage.redirects ? nullptr : &whole, tally);
    }
  }
  return tally;
}

// Three levels, long values in continuation pages, buckets in buckets, inline ones, a free page,
// and a root that is a branch.
Bytes RichFile(std::uint64_t page_size) {
  TestFile file(page_size);
  auto items = NumberedItems(120);
  items[50].value.resize(3 * page_size, 'L');
  const auto tree = file.Tree(items, 4);
  file.Unused();
  const auto deep = file.Tree(NumberedItems(30), 5);
  const auto inner = file.Leaf({TestFile::BucketAt("deep", deep),
                                TestFile::InlineBucket("flat", NumberedItems(2)),
                                {"plain", "value"}});
  const auto left = file.Leaf({TestFile::InlineBucket("a", NumberedItems(3)),
                               TestFile::BucketAt("b", inner), TestFile::InlineBucket("c", {})});
  const auto right =
      file.Leaf({TestFile::BucketAt("t", tree), TestFile::InlineBucket("u", NumberedItems(4))});
  file.Finish(file.Branch({{"a", left}, {"t", right}}));
  return file.bytes();
}

TEST_CASE("Any one damaged page is dropped with what the check named, and nothing else") {
  for (const std::uint64_t page_size : {1024U, 4096U}) {
    CAPTURE(page_size);
    const Tally tally = DamageEveryPage(RichFile(page_size), page_size);
    CHECK(tally.noticed > 1000);
    // Only the root branch itself has no page above it.
    CHECK(tally.root < 30);
    CHECK(tally.mended + tally.root == tally.noticed);
  }
}

TEST_CASE("Any one damaged page of a real backend is dropped with what the check named") {
  const Tally tally = DamageEveryPage(testing::RealBackend(), 4096);
  CHECK(tally.noticed > 300);
  CHECK(tally.mended > tally.root);
  CHECK(tally.mended + tally.root == tally.noticed);
}

TEST_CASE("Dropping comes first, changes in the same transaction find the gap") {
  Bytes bytes = testing::SmallFile();
  const auto items = NumberedItems(400);
  bytes[std::size_t{5} * 4096] = std::byte{0xee};  // keys 30 to 39
  const CheckReport report = CheckOf(ViewFile(bytes));
  REQUIRE(report.problem_count == 1);
  CHECK(report.problems[0].drop_page == 5);
  TransactionRequest request = DropAll(report);
  request.buckets.push_back({"t", false, {Set(items[35].key, "new"), Set(items[5].key, "too")}});
  Content expected = ContentOf(ViewFile(testing::SmallFile()));
  for (std::size_t i = 30; i < 40; ++i) expected["t"].keys.erase(items[i].key);
  testing::ApplyTo(expected, request);
  testing::CarryOut(testing::MustPlan(ViewFile(bytes), request), bytes);
  CHECK(CheckOf(ViewFile(bytes)).clean());
  CHECK((ContentOf(ViewFile(bytes)) == expected));
}

TEST_CASE("A bucket whose root is damaged becomes empty and keeps its sequence") {
  Bytes bytes = testing::SmallFile();
  const auto t = (*Database::Open(ViewFile(bytes))->FindBucket(AsBytes("t")))->root_page();
  bytes[t * 4096] = std::byte{0xee};
  const CheckReport report = CheckOf(ViewFile(bytes));
  REQUIRE(report.problem_count == 1);
  CHECK(report.problems[0].from.empty());
  CHECK(report.problems[0].until.empty());
  testing::CarryOut(testing::MustPlan(ViewFile(bytes), DropAll(report)), bytes);
  const Content content = ContentOf(ViewFile(bytes));
  CHECK(content.at("t").keys.empty());
  CHECK(content.at("t").sequence == 5);
  CHECK(content.at("in").keys.size() == 3);
}

TEST_CASE("A page used twice stays where it belongs") {
  TestFile file;
  const auto items = NumberedItems(40);
  const auto tree = file.Tree(items, 10);
  file.Finish(file.Leaf({TestFile::BucketAt("t", tree)}));
  file.SetChild(tree, 2, 3);  // keys 20 to 29 cannot be reached any more
  Bytes bytes = file.bytes();
  const CheckReport report = CheckOf(ViewFile(bytes));
  REQUIRE(report.problem_count == 1);
  CHECK(report.problems[0].drop_page == 3);
  testing::CarryOut(testing::MustPlan(ViewFile(bytes), DropAll(report)), bytes);
  CHECK(CheckOf(ViewFile(bytes)).clean());
  const auto keys = ContentOf(ViewFile(bytes)).at("t").keys;
  CHECK(keys.size() == 30);
  CHECK(keys.contains(items[15].key));
}

TEST_CASE("A wrong freelist is gone with any commit, also when nothing else is to do") {
  TestFile file;
  const auto unused = file.Unused();
  const auto list = file.Freelist({unused, unused});
  file.Finish(file.Leaf({TestFile::InlineBucket("in", NumberedItems(3))}), list);
  Bytes bytes = file.bytes();
  const CheckReport report = CheckOf(ViewFile(bytes));
  REQUIRE(report.problem_count == 1);
  CHECK(report.problems[0].drop_page == 0);
  const auto plan = testing::MustPlan(ViewFile(bytes), DropAll(report));
  CHECK(plan.edits.size() == 1);  // the meta page
  CHECK(plan.pages_written == 0);
  testing::CarryOut(plan, bytes);
  CHECK(CheckOf(ViewFile(bytes)).clean());
}

TEST_CASE("A page without a problem is not dropped") {
  const Bytes bytes = testing::SmallFile();
  TransactionRequest request;
  request.drop_pages = {5};
  CHECK(CodeOf(bytes, request) == "bolt-drop-sound");
}

TEST_CASE("A long page with an unreadable continuation is noticed, and can be dropped") {
  TestFile file;
  auto items = NumberedItems(30);
  items[12].value.resize(3000000, 'L');
  const auto tree = file.Tree(items, 5);
  file.Finish(file.Leaf({TestFile::BucketAt("t", tree)}));
  Bytes bytes = file.bytes();
  const Content whole = ContentOf(ViewFile(bytes));
  Tally tally;
  DropAndVerify(bytes, 2000000, &whole, tally);
  CHECK(tally.mended == 1);
}

TEST_CASE("A thousand random damages can be dropped, or have hit the root") {
  const Bytes whole = RichFile(1024);
  const std::uint64_t pages = whole.size() / 1024;
  std::mt19937 random(3);  // NOLINT(cert-msc32-c,cert-msc51-cpp): the same damage every time
  int mended = 0;
  for (int i = 0; i < 1000; ++i) {
    Bytes damaged = whole;
    for (std::size_t changes = 1 + random() % 4; changes > 0; --changes) {
      const std::size_t at = (2 + random() % (pages - 2)) * 1024 + random() % 200;
      damaged[at] = random() % 2 == 0 ? static_cast<std::byte>(random() % (pages + 2))
                                      : static_cast<std::byte>(random());
    }
    const ViewFile file(damaged);
    CheckOptions options;
    options.max_problems = 1000;
    const CheckReport report = CheckOf(file, options);
    if (report.clean()) continue;
    CAPTURE(i);
    const auto plan = PlanCommit(file, "db", DropAll(report));
    if (!plan) {
      REQUIRE(plan.error().code == "bolt-drop-root");
      continue;
    }
    Bytes bytes = damaged;
    testing::CarryOut(*plan, bytes);
    REQUIRE(CheckOf(ViewFile(bytes)).clean());
    REQUIRE(testing::TryContentOf(ViewFile(bytes)));
    ++mended;
  }
  CHECK(mended > 500);
}

}  // namespace
}  // namespace rescue::bolt
