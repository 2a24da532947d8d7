// Second half of the full check: the tree, from the summaries of the first half.
#pragma once

#include "rescue/base/file.h"
#include "rescue/bolt/check.h"
#include "rescue/bolt/page_table.h"

namespace rescue::bolt {

// Walks every bucket from report.meta's root, marks the pages in use, and adds problems and bucket
// statistics to the report. Reads only pages that hold buckets, that were deferred, that are
// damaged (to say how), or whose keys the summaries cannot tell apart.
void VerifyTree(const ReadableFile& file, const CheckOptions& options, PageTable& table,
                CheckReport& report);

}  // namespace rescue::bolt
