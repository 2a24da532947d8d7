// A directory with all that is in it, as BuildDirectory makes it: to make it durable, to describe
// it in the journal, and to take it away. Used by the executor only.
#pragma once

#include <string_view>
#include <vector>

#include "rescue/base/file.h"
#include "rescue/edit/journal.h"

namespace rescue::edit {

// All three refuse ("build-tree", kRefused) what no builder makes: more than kMaxBuiltEntries
// entries, a tree deeper than a few levels; and, but for RemoveTree, anything that is neither file
// nor directory.
inline constexpr std::size_t kMaxBuiltEntries = 64;

// Every file, then every directory that holds it.
Status SyncTree(FileSystem& data, std::string_view path);
// The regular files, sorted by path. Short ones with the digest of all they hold; of long ones,
// size and time are what tells a change.
Result<std::vector<After>> DescribeTree(const FileView& data, std::string_view path);
// Links are removed, not followed. What is gone already is no error.
Status RemoveTree(FileSystem& data, std::string_view path);

// Journal::built under the paths that it has when `step` name edits are done; what is removed by
// then is left out.
std::vector<After> BuiltAt(const Journal& journal, std::size_t step);

}  // namespace rescue::edit
