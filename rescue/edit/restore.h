// Takes the edits of a journal back, from any point that applying or an earlier taking back has
// reached. Used by the executor only.
#pragma once

#include <cstdint>
#include <string>

#include "rescue/base/file.h"
#include "rescue/edit/journal.h"

namespace rescue::edit {

// A journal on its file system, opened for the records that follow PREP.
struct JournalFile {
  FileSystem& files;
  std::string path;
  Journal journal;

  // Writes a record at the journal's end and makes it durable.
  Status Record(std::string_view kind, ByteView payload);
  Status RecordStep(std::size_t step, bool undoing);
};

// While applying: the last step (see names.h) up to which the names alone tell which one is
// reached, counted from the step that the journal says. All of them differ; the one after it has
// the names of one of them, or does not exist.
std::size_t LastTellingStep(const Journal& journal);

// How many name edits are done, as the files themselves show: what the journal says, or more up to
// LastTellingStep; while taking back, what the journal says or one less.
// Errors: "changed-since" (kRefused) when the data directory is not as an interrupted or finished
// run of these edits leaves it. Writes nothing.
Result<std::size_t> FindStep(const FileView& data, const Journal& journal);

// Makes every touched entry what it was, durably, and proves it. Errors: those of FindStep before
// anything is written; "restore-failed" (kUnfinishedJournal) after that: then it can be repeated.
Status Restore(FileSystem& data, JournalFile& file);

}  // namespace rescue::edit
