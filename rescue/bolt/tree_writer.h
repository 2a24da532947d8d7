// Last half of a transaction: changed nodes get page numbers and become bytes, children first.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "rescue/base/bytes.h"
#include "rescue/base/result.h"
#include "rescue/bolt/database.h"
#include "rescue/bolt/node.h"

namespace rescue::bolt {

// Gives out consecutive pages: the first free run that is long enough, or the high water mark.
class PageAllocator {
 public:
  // The runs are in ascending order and do not overlap.
  PageAllocator(std::vector<PageRun> free_runs, std::uint64_t high_water_mark)
      : free_runs_(std::move(free_runs)), high_water_mark_(high_water_mark) {}

  std::uint64_t Take(std::uint64_t count);
  std::uint64_t high_water_mark() const { return high_water_mark_; }

 private:
  std::vector<PageRun> free_runs_;
  std::uint64_t high_water_mark_;
};

class TreeWriter {
 public:
  TreeWriter(const Meta& meta, std::vector<PageRun> free_runs)
      : page_size_(meta.page_size), allocator_(std::move(free_runs), meta.high_water_mark) {}

  // Writes what changed of the tree and gives the page of its root, never inline. The nodes are
  // used up. Errors: "bolt-limit" for a page that would be too long.
  Result<std::uint64_t> Write(Tree& tree);

  std::uint64_t high_water_mark() const { return allocator_.high_water_mark(); }
  // By page number; each is whole pages.
  std::map<std::uint64_t, Bytes>& pages() { return pages_; }

 private:
  Result<Bytes> BucketValue(Tree& tree);
  Result<std::vector<Item>> WriteNode(Node& node);
  Result<std::uint64_t> WritePage(std::span<const Item> items, bool is_leaf);

  std::uint64_t page_size_;
  PageAllocator allocator_;
  std::map<std::uint64_t, Bytes> pages_;
};

}  // namespace rescue::bolt
