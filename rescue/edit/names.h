// What a list of edits does to names: which path an entry had before, and has after, some of them.
// Used by the journal and the executor only.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "rescue/edit/edit.h"

namespace rescue::edit {

// Creates, moves or removes a name (CreateFile, MakeDirectory, BuildDirectory, Rename, Exchange,
// Remove).
bool ChangesNames(const Edit& edit);

// The edits of the list that change names, in order. A step is a position in this sequence: at step
// k the first k of them are done. Pointers into `edits`.
std::vector<const Edit*> NameEdits(const EditList& edits);

// Every path that appears as an argument of a name edit, and both places of an Exchange's marker;
// sorted, each once.
std::vector<std::string> NamedPaths(const EditList& edits);

// The path that `path` (valid when `done` name edits are done) had before the first of them;
// nothing for an entry that one of them made.
std::optional<std::string> FormerPath(const std::vector<const Edit*>& names, std::size_t done,
                                      std::string_view path);

// Where an entry that is at `path` at step `from` is at the later step `to`; nothing when it is
// removed by then.
std::optional<std::string> LaterPath(const std::vector<const Edit*>& names, std::size_t from,
                                     std::size_t to, std::string_view path);

// All paths that an edit names.
std::vector<std::string> PathsOf(const Edit& edit);

}  // namespace rescue::edit
