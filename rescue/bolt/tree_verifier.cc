#include "rescue/bolt/tree_verifier.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "rescue/bolt/page.h"

namespace rescue::bolt {
namespace {

// A limit for keys: the key of one branch element. The place is kept so that the exact key can be
// read again for a comparison that the packed one cannot decide, and for the report.
struct Bound {
  std::uint64_t page = 0;  // 0: no limit
  std::uint32_t element = 0;
  PackedKey key;

  bool limits() const { return page != 0; }
};

// What holds below one place of the tree.
struct Place {
  Bound lower;  // keys are not below it
  Bound upper;  // keys are below it
  std::uint64_t parent = 0;
  int depth = 0;  // levels of this bucket above; 0 for its root page
};

struct BucketWalk {
  std::string path;
  BucketStatistics statistics;
};

// A branch or leaf in use: from the table, or loaded by itself.
struct Node {
  bool is_leaf = false;
  bool has_buckets = false;
  std::uint32_t count = 0;
  std::uint32_t overflow = 0;
  std::uint64_t first_hash = 0;              // when count > 0
  PackedKey last;                            // when count > 0
  std::uint64_t children_start = 0;          // of a branch, in the table
  std::vector<BranchEntry> loaded_children;  // of a branch that has no children in the table
};

class TreeVerifier {
 public:
  TreeVerifier(const ReadableFile& file, const CheckOptions& options, PageTable& table,
               CheckReport& report, CutFinder* cuts)
      : file_(file),
        options_(options),
        table_(table),
        report_(report),
        meta_(report.meta),
        cuts_(cuts) {}

  void Run() {
    table_[0].flags |= PageSummary::kUsed;
    table_[1].flags |= PageSummary::kUsed;
    VerifyBucket(meta_.root_page, 0, "");
  }

 private:
  void VerifyBucket(std::uint64_t root, std::uint64_t parent, std::string path) {
    BucketWalk walk{std::move(path), {}};
    walk.statistics.name = walk.path;
    // Its place in the list is taken before the buckets inside come.
    const std::size_t index = report_.buckets.size();
    const bool listed = index < options_.max_buckets;
    if (listed) report_.buckets.push_back(walk.statistics);
    Place place;
    place.parent = parent;
    VerifyPage(root, place, walk);
    if (listed) report_.buckets[index] = std::move(walk.statistics);
  }

  void VerifyPage(std::uint64_t page, const Place& place, BucketWalk& walk) {
    if (page < 2 || page >= meta_.high_water_mark) {
      Problem(
          ProblemKind::kReference, place.parent,
          fmt::format("points to page {}, but pages are 2 to {}", page, meta_.high_water_mark - 1),
          place, walk, page);
      return;
    }
    if (place.depth >= kMaxTreeDepth || level_ >= kMaxLevels) {
      Problem(ProblemKind::kReference, page, fmt::format("lies deeper than {} levels", level_),
              place, walk);
      return;
    }
    if (!Claim(page, place, walk)) return;
    const auto node = Describe(page, place, walk);
    if (!node) return;
    ++level_;
    VerifyNode(page, *node, place, walk);
    --level_;
  }

  // Takes the page and its continuation for this place of the tree. Every page is taken once at
  // most, which also bounds the work on a hostile file.
  bool Claim(std::uint64_t page, const Place& place, const BucketWalk& walk) {
    PageSummary& summary = table_[page];
    if ((summary.flags & PageSummary::kUsed) != 0) {
      Problem(ProblemKind::kReference, page,
              fmt::format("is used twice, here below page {}", place.parent), place, walk);
      return false;
    }
    summary.flags |= PageSummary::kUsed;
    return ClaimContinuation(page, 1, summary.overflow, place, walk);
  }

  bool ClaimContinuation(std::uint64_t page, std::uint64_t from, std::uint64_t to,
                         const Place& place, const BucketWalk& walk) {
    for (std::uint64_t i = from; i <= to; ++i) {
      if ((table_[page + i].flags & PageSummary::kUsed) != 0) {
        Problem(ProblemKind::kReference, page,
                fmt::format("continues over page {}, which is used elsewhere", page + i), place,
                walk);
        return false;
      }
      table_[page + i].flags |= PageSummary::kUsed;
    }
    return true;
  }

  // What the summary says, or a second look at the page itself when it says too little.
  std::optional<Node> Describe(std::uint64_t page, const Place& place, const BucketWalk& walk) {
    const PageSummary& summary = table_[page];
    if (summary.kind != PageKind::kLeaf && summary.kind != PageKind::kBranch) {
      return Load(page, place, walk);
    }
    Node node;
    node.is_leaf = summary.kind == PageKind::kLeaf;
    node.has_buckets = (summary.flags & PageSummary::kHasBuckets) != 0;
    node.count = summary.count;
    node.overflow = summary.overflow;
    if (node.is_leaf) {
      node.first_hash = summary.Word();
      node.last = summary.last;
    } else {
      node.children_start = summary.Word();
      node.first_hash = Child(node, 0).key.Hash();
      node.last = Child(node, node.count - 1).key;
    }
    return node;
  }

  std::optional<Node> Load(std::uint64_t page, const Place& place, const BucketWalk& walk) {
    auto node = TryLoad(page);
    if (!node) {
      Problem(ProblemKind::kPage, page, node.error().message, place, walk);
      return std::nullopt;
    }
    // Usually claimed already; not when the page could not be read at the first attempt.
    if (!ClaimContinuation(page, table_[page].overflow + std::uint64_t{1}, node->overflow, place,
                           walk) ||
        !ContinuationIsReadable(page, node->overflow, place, walk)) {
      return std::nullopt;
    }
    return *std::move(node);
  }

  // Of a long page only the elements were looked at here; the survey saw the rest.
  bool ContinuationIsReadable(std::uint64_t page, std::uint64_t overflow, const Place& place,
                              const BucketWalk& walk) {
    for (std::uint64_t next = page + 1; next <= page + overflow; ++next) {
      if (table_[next].kind != PageKind::kUnreadable) continue;
      const auto again = ReadExactly(file_, next * meta_.page_size, meta_.page_size);
      if (again) continue;
      Problem(ProblemKind::kPage, page,
              fmt::format("its continuation, page {}: {}", next, again.error().message), place,
              walk);
      return false;
    }
    return true;
  }

  Result<Node> TryLoad(std::uint64_t page) {
    ASSIGN_OR_RETURN(const LoadedPage loaded, LoadedPage::Load(file_, meta_, page));
    Node node;
    node.is_leaf = loaded.is_leaf();
    node.has_buckets = loaded.has_buckets();
    node.count = loaded.count();
    node.overflow = loaded.info().overflow;
    if (node.count == 0) return node;
    Bytes scratch;
    ASSIGN_OR_RETURN(const ByteView first, loaded.Key(0, scratch));
    node.first_hash = HashKey(first);
    ASSIGN_OR_RETURN(const ByteView last, loaded.Key(node.count - 1, scratch));
    node.last = PackedKey(last);
    if (node.is_leaf) return node;
    node.loaded_children.reserve(node.count);
    for (std::uint32_t i = 0; i < node.count; ++i) {
      ASSIGN_OR_RETURN(const ByteView key, loaded.Key(i, scratch));
      node.loaded_children.emplace_back(loaded.At(i).child, PackedKey(key));
    }
    return node;
  }

  const BranchEntry& Child(const Node& node, std::uint32_t index) const {
    return node.loaded_children.empty() ? table_.child(node.children_start + index)
                                        : node.loaded_children[index];
  }

  void VerifyNode(std::uint64_t page, const Node& node, const Place& place, BucketWalk& walk) {
    BucketStatistics& statistics = walk.statistics;
    ++(node.is_leaf ? statistics.leaf_pages : statistics.branch_pages);
    statistics.overflow_pages += node.overflow;
    statistics.depth = std::max(statistics.depth, static_cast<std::uint64_t>(place.depth) + 1);
    if (node.count == 0) {
      if (place.depth == 0) return;  // an empty bucket
      Problem(ProblemKind::kReference, page,
              fmt::format("is an empty leaf below page {}", place.parent), place, walk);
      return;
    }
    VerifyLimits(page, node, place, walk);
    if (!node.is_leaf) {
      VerifyChildren(page, node, place, walk);
      return;
    }
    statistics.keys += node.count;
    if (node.has_buckets) VerifyBucketsIn(page, place, walk);
  }

  // The first and the last key against what the pages above promise. Inside the page the order is
  // known to be right.
  void VerifyLimits(std::uint64_t page, const Node& node, const Place& place,
                    const BucketWalk& walk) {
    // bbolt keeps the branch's key equal to the first key, so the hashes decide almost always.
    if (place.lower.limits() && node.first_hash != place.lower.key.Hash()) {
      const auto first = ExactKey(page, 0);
      const auto limit = ExactKey(place.lower.page, place.lower.element);
      if (first && limit && KeyLess(*first, *limit)) {
        Problem(ProblemKind::kKeyOrder, page,
                fmt::format("starts with key {}, but page {} promises none below {}",
                            Printable(*first), place.lower.page, Printable(*limit)),
                place, walk);
      }
    }
    if (!place.upper.limits()) return;
    const KeyOrder order = PackedKey::Compare(node.last, place.upper.key);
    if (order == KeyOrder::kLess) return;
    const auto last = ExactKey(page, node.count - 1);
    const auto limit = ExactKey(place.upper.page, place.upper.element);
    if (last && limit && !KeyLess(*last, *limit)) {
      Problem(ProblemKind::kKeyOrder, page,
              fmt::format("ends with key {}, but page {} promises only keys below {}",
                          Printable(*last), place.upper.page, Printable(*limit)),
              place, walk);
    }
  }

  // Nothing when the page has become unreadable; that is a problem of its own only for the report
  // of the page itself.
  std::optional<Bytes> ExactKey(std::uint64_t page, std::uint32_t element) const {
    const auto loaded = LoadedPage::Load(file_, meta_, page);
    if (!loaded || element >= loaded->count()) return std::nullopt;
    Bytes scratch;
    const auto key = loaded->Key(element, scratch);
    if (!key) return std::nullopt;
    return ToBytes(*key);
  }

  void VerifyChildren(std::uint64_t page, const Node& node, const Place& place, BucketWalk& walk) {
    for (std::uint32_t i = 0; i < node.count; ++i) {
      Place below;
      below.parent = page;
      below.depth = place.depth + 1;
      below.lower = {page, i, Child(node, i).key};
      below.upper = i + 1 < node.count ? Bound{page, i + 1, Child(node, i + 1).key} : place.upper;
      path_.push_back({page, i});
      VerifyPage(Child(node, i).child(), below, walk);
      path_.pop_back();
    }
  }

  void VerifyBucketsIn(std::uint64_t page, const Place& place, BucketWalk& walk) {
    const auto loaded = LoadedPage::Load(file_, meta_, page);
    if (!loaded) {
      Problem(ProblemKind::kPage, page, loaded.error().message, place, walk);
      return;
    }
    for (std::uint32_t i = 0; i < loaded->count(); ++i) {
      if (!loaded->At(i).is_bucket) continue;
      --walk.statistics.keys;
      Bytes key_scratch;
      Bytes value_scratch;
      const auto key = loaded->Key(i, key_scratch);
      const auto value = loaded->Value(i, value_scratch);
      if (!key || !value) {
        Problem(ProblemKind::kPage, page, (key ? value : key).error().message, place, walk);
        continue;
      }
      path_.push_back({page, i});
      VerifyBucketElement(page, *value, PathBelow(walk.path, *key));
      path_.pop_back();
    }
  }

  // Paths come from the disk and are kept in the report, so their length has a limit.
  static std::string PathBelow(const std::string& path, ByteView name) {
    constexpr std::size_t kLongest = 400;
    std::string below = path.empty() ? Printable(name) : path + "/" + Printable(name);
    if (below.size() > kLongest) below = "..." + below.substr(below.size() - kLongest);
    return below;
  }

  void VerifyBucketElement(std::uint64_t page, ByteView value, std::string path) {
    ByteReader reader(value);
    const auto header = reader.Read<BucketHeader>();
    if (!header) {
      BucketProblem(page, std::move(path),
                    fmt::format("the bucket's header has only {} bytes", value.size()));
      return;
    }
    if (header->root_page != 0) {
      VerifyBucket(header->root_page, page, std::move(path));
      return;
    }
    const auto image = std::make_shared<const Bytes>(ToBytes(*reader.Take(reader.left())));
    const auto inline_page = LoadedPage::FromImage(image);
    if (!inline_page) {
      BucketProblem(page, std::move(path), inline_page.error().message);
      return;
    }
    if (report_.buckets.size() >= options_.max_buckets) return;
    BucketStatistics statistics;
    statistics.name = std::move(path);
    statistics.is_inline = true;
    statistics.keys = inline_page->count();
    report_.buckets.push_back(std::move(statistics));
  }

  void BucketProblem(std::uint64_t page, std::string path, std::string reason) {
    Problem(ProblemKind::kBucket, page, std::move(reason), Place{},
            BucketWalk{std::move(path), {}});
  }

  // The last step of the path is the reference that must go so that the problem is gone.
  void Problem(ProblemKind kind, std::uint64_t page, std::string reason, const Place& place,
               const BucketWalk& walk) {
    Problem(kind, page, std::move(reason), place, walk, page);
  }

  void Problem(ProblemKind kind, std::uint64_t page, std::string reason, const Place& place,
               const BucketWalk& walk, std::uint64_t drop_page) {
    ++report_.problem_count;
    if (cuts_ != nullptr && cuts_->wanted.contains(drop_page)) Cut(drop_page);
    if (report_.problems.size() >= options_.max_problems) return;
    PageProblem problem{page, walk.path, std::move(reason), kind, {}, {}, drop_page};
    const auto exact = [&](const Bound& bound) {
      return bound.limits() ? ExactKey(bound.page, bound.element).value_or(Bytes()) : Bytes();
    };
    problem.from = exact(place.lower);
    problem.until = exact(place.upper);
    if (kind == ProblemKind::kKeyOrder) Widen(problem);
    report_.problems.push_back(std::move(problem));
  }

  // Which of the two is wrong, the page or the key above it, cannot be known, so what the page
  // holds is affected, too.
  void Widen(PageProblem& problem) const {
    const auto loaded = LoadedPage::Load(file_, meta_, problem.page);
    if (!loaded || loaded->count() == 0) return;
    Bytes scratch;
    if (const auto first = loaded->Key(0, scratch); first && KeyLess(*first, problem.from)) {
      problem.from = ToBytes(*first);
    }
    const auto last = loaded->Key(loaded->count() - 1, scratch);
    if (!last || problem.until.empty() || KeyLess(*last, problem.until)) return;
    problem.until = ToBytes(*last);
    problem.until.push_back(std::byte{0});  // the next key that there can be
  }

  void Cut(std::uint64_t drop_page) {
    cuts_->found.insert(drop_page);
    if (path_.empty()) {
      cuts_->cuts_root = true;
      return;
    }
    cuts_->plan.references.insert(path_.back());
    for (const Reference& step : path_) cuts_->plan.holders.insert(step.holder);
  }

  const ReadableFile& file_;
  const CheckOptions& options_;
  PageTable& table_;
  CheckReport& report_;
  const Meta& meta_;
  CutFinder* cuts_;
  std::vector<Reference> path_;  // from the root of all buckets to where the walk is
  int level_ = 0;
};

}  // namespace

void VerifyTree(const ReadableFile& file, const CheckOptions& options, PageTable& table,
                CheckReport& report, CutFinder* cuts) {
  TreeVerifier(file, options, table, report, cuts).Run();
}

}  // namespace rescue::bolt
