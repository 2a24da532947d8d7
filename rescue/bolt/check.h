// The full check of a bbolt file: every page below the high water mark is reachable exactly once or
// free, every page is what it says it is, every key is in its place, and a stored freelist agrees.
//
// The file is read once, front to back, in large pieces; each page leaves a summary of 36 bytes and
// the tree is then verified in memory. bbolt's own check walks the tree in key order, which is one
// random 4 KiB read a page: on a cloud disk with 120 reads a second that is an hour for 2 GiB
// instead of a minute and a half.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "rescue/base/bytes.h"
#include "rescue/base/file.h"
#include "rescue/base/result.h"
#include "rescue/bolt/database.h"

namespace rescue::bolt {

enum class ProblemKind {
  kPage,       // the page's own content: type, identity, bounds, order of its keys; or unreadable
  kReference,  // the tree: out of bounds, used twice, wrong type for its place, too deep
  kKeyOrder,   // keys of this page outside what the pages above it promise
  kBucket,     // a bucket's header or inline page inside a leaf
  kFreelist,   // the stored list of free pages only: no key is affected, it can be rebuilt
};

struct PageProblem {
  std::uint64_t page = 0;
  std::string bucket;  // printable path, levels joined by '/', "" for none (or the root)
  std::string reason;  // one line without the page number
  ProblemKind kind = ProblemKind::kPage;
  // Keys of the bucket that may be affected: from `from` on, below `until`; empty = no limit.
  Bytes from;
  Bytes until;
  // What TransactionRequest::drop_pages must name so that the problem is gone: all keys between
  // `from` and `until` go with it, and when the page is the root of a bucket or the problem is the
  // bucket itself (kBucket), all keys of the bucket. Usually the page itself; of a reference to a
  // page that cannot exist, that number; 0 for kFreelist: every commit leaves the list out.
  std::uint64_t drop_page = 0;
};

struct BucketStatistics {
  std::string name;  // printable path, "" for the root
  bool is_inline = false;
  std::uint64_t keys = 0;  // without buckets
  std::uint64_t leaf_pages = 0;
  std::uint64_t branch_pages = 0;
  std::uint64_t overflow_pages = 0;  // continuation pages of both
  std::uint64_t depth = 0;           // levels of pages; 0 for an inline bucket
};

struct CheckReport {
  Meta meta;                           // the one that was checked
  std::optional<MetaProblem> problem;  // of the other one
  std::uint64_t pages = 0;             // the high water mark
  std::uint64_t reachable = 0;      // in the tree, with overflow, both meta pages and the freelist
  std::uint64_t free = 0;           // below the high water mark, not reachable
  std::uint64_t bytes_read = 0;     // all reads, also the second looks at pages
  std::uint64_t problem_count = 0;  // all that were found, also those beyond the limit
  std::vector<PageProblem>
      problems;  // in the order of the tree, at most CheckOptions::max_problems
  std::vector<BucketStatistics> buckets;
  // The longest runs of `free` pages, at most CheckOptions::max_free_runs, in ascending order. What
  // hangs below a damaged page cannot be reached, so it counts as free.
  std::vector<PageRun> free_runs;

  bool clean() const { return problem_count == 0; }
};

struct CheckOptions {
  // Called about once a mebibyte; false cancels the check (error "cancelled").
  std::function<bool(std::uint64_t bytes_done, std::uint64_t bytes_total)> progress;
  std::optional<int> slot;         // check what this meta page shows instead of the newest
  std::size_t max_problems = 100;  // described; all are counted
  std::size_t max_buckets = 1000;  // with statistics of their own; all are checked
  std::size_t max_free_runs = 64;  // listed
  // Refuse (kRefused, "bolt-too-large") a file whose summaries would need more than this many
  // bytes.
  std::uint64_t max_memory = std::uint64_t{2} << 30;
};

// An error when the file cannot be checked at all (see Database::Open); damage is in the report.
Result<CheckReport> Check(const ReadableFile& file, const CheckOptions& options = {});

}  // namespace rescue::bolt
