// The stored list of free pages, when there is one. etcd stores none in any version from 3.4 to 3.7
// (bbolt's option NoFreelistSync) and finds free pages by walking the tree, but a tool may have
// written one.
#pragma once

#include "rescue/base/file.h"
#include "rescue/base/result.h"
#include "rescue/bolt/check.h"
#include "rescue/bolt/page_table.h"

namespace rescue::bolt {

// After the tree was verified: the list's own pages, double entries, entries out of range, entries
// that are in use, and pages that are neither listed nor in use. Adds to the report's problems and
// marks the list's pages as used. Fails only when the file cannot be read.
Status VerifyFreelist(const ReadableFile& file, const CheckOptions& options, PageTable& table,
                      CheckReport& report);

}  // namespace rescue::bolt
