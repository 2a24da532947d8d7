// Second half of the full check: the tree, from the summaries of the first half.
#pragma once

#include <cstdint>
#include <set>

#include "rescue/base/file.h"
#include "rescue/bolt/check.h"
#include "rescue/bolt/page_table.h"

namespace rescue::bolt {

// One element of a page: a branch's child, or a leaf's bucket.
struct Reference {
  std::uint64_t holder = 0;  // the page
  std::uint32_t element = 0;

  bool operator<(const Reference& other) const {
    return holder != other.holder ? holder < other.holder : element < other.element;
  }
};

// Where the tree is to be cut so that problems are gone.
struct CutPlan {
  std::set<Reference> references;   // a child leaves its branch, a bucket becomes empty
  std::set<std::uint64_t> holders;  // every page on the way to one of them
};

// Collects the references behind all problems (also those beyond the report's limit) whose
// drop_page is wanted.
struct CutFinder {
  std::set<std::uint64_t> wanted;
  CutPlan plan;
  std::set<std::uint64_t> found;  // of `wanted`
  bool cuts_root = false;         // the root of all buckets has such a problem
};

// Walks every bucket from report.meta's root, marks the pages in use, and adds problems and bucket
// statistics to the report. Reads only pages that hold buckets, that were deferred, that are
// damaged (to say how), or whose keys the summaries cannot tell apart.
void VerifyTree(const ReadableFile& file, const CheckOptions& options, PageTable& table,
                CheckReport& report, CutFinder* cuts = nullptr);

}  // namespace rescue::bolt
