// First half of the full check: one pass over the file in physical order, a summary for every page.
#pragma once

#include "rescue/base/file.h"
#include "rescue/base/result.h"
#include "rescue/bolt/check.h"
#include "rescue/bolt/page_table.h"

namespace rescue::bolt {

// Fills `table`, which has one place for every page below the high water mark. What a page claims
// is recorded, not judged: free pages keep old content, so only the tree can say which pages
// matter. Pages that cannot be read are marked and passed over. Fails when the file became shorter
// ("bolt-page") or the progress callback wants it ("cancelled").
Status Survey(const ReadableFile& file, const Meta& meta, const CheckOptions& options,
              PageTable& table);

}  // namespace rescue::bolt
