// Where a new journal goes, and writing it up to PREP. Used by the executor only.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "rescue/base/file.h"
#include "rescue/edit/draft.h"
#include "rescue/edit/journal.h"

namespace rescue::edit {

// 12 of "0012.journal"; nothing for any other name.
std::optional<std::uint32_t> JournalNumber(std::string_view name);

struct JournalPlace {
  FileSystem& files;
  std::string directory;
  std::string name;
  bool make_directory = false;
  TimeNs parent_modified = 0;  // when the directory is to be made

  std::string path() const { return JoinPath(directory, name); }
};

// The next free number in the directory. Writes nothing.
Result<JournalPlace> ChoosePlace(FileSystem& files, std::string_view directory);

// Steps 2 to 4 of the write order in Apply; gives the journal as read back from the file. A failure
// leaves no journal behind, as far as the file system still works.
Result<Journal> WriteJournal(const JournalPlace& place, const FileView& data, const Draft& draft);

// Says of a failure before PREP that nothing was changed; a file system that cannot be written is
// "read-only" (kRefused).
tl::unexpected<Error> NothingChanged(Error error);

}  // namespace rescue::edit
