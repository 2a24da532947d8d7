// The only code that writes to a data directory: carries out a list of edits behind a journal, and
// takes one back.
//
// A journal is a file NNNN.journal in its own directory (FORMAT.md). It holds the edits, what they
// overwrite, and how every touched file looked before; it is complete and durable before the first
// edit starts, and says so once the last edit is durable. From the journals alone follows what an
// interrupted run has left (State).
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "rescue/base/file.h"
#include "rescue/edit/edit.h"

namespace rescue::edit {

enum class JournalState {
  kIncomplete,  // never became complete: no edit was started, it may be thrown away
  kUnfinished,  // complete, but its edits may be done in part: must be rolled back first
  kApplied,     // all its edits are durable; can be undone
};

struct JournalInfo {
  std::string name;  // in the journal directory
  std::uint32_t number = 0;
  JournalState state = JournalState::kIncomplete;
  std::string plan_fingerprint;  // edit::Fingerprint of its edits
  std::string note;              // what the caller wanted to be remembered
  std::uint64_t size = 0;        // bytes of the journal file
  EditList edits;
};

// All journals in the directory, oldest first; none when the directory does not exist.
// `directory` is a path in `files` ("" = its root).
Result<std::vector<JournalInfo>> ListJournals(const FileView& files, std::string_view directory);

// By how much the files of one storage grow at most while the edits are done, in order: what a cut
// gave back is there for what follows.
struct Growth {
  std::uint64_t storage = 0;  // FileView::StorageOf
  std::string path;           // one that lies there
  std::uint64_t bytes = 0;    // whole blocks
};

// What has to fit before the first write.
struct SpaceNeed {
  std::uint64_t journal_bytes = 0;
  std::vector<Growth> growth;  // of the data directory, one for each storage

  std::uint64_t data_bytes() const;  // of all together
};
Result<SpaceNeed> ComputeSpaceNeed(const FileView& data, const EditList& edits);
// Whether the growth fits; the journal is not looked at.
Result<bool> HasRoomFor(const FileSystem& data, const SpaceNeed& need);

// Fills the directories of BuildDirectory edits.
class Builder {
 public:
  virtual ~Builder() = default;
  // The directory is there and empty. What is written has to lie below it; the executor makes all
  // of it durable at once afterwards. An error takes the whole change back, so what was built can
  // be judged here before anything else is touched.
  virtual Status Build(FileSystem& data, const BuildDirectory& edit) = 0;
};

struct ApplyOutcome {
  std::string journal_name;
  std::uint64_t journal_bytes = 0;
  std::uint64_t data_bytes = 0;  // bytes written into the data directory
};

// Applies the edits to `data`, journal in `journal_directory` of `journals` (made 0700 when absent;
// the journal is 0600). Errors: "unfinished-journal" (kUnfinishedJournal) when one is there;
// "no-space" (kRefused) before anything is written; "apply-rolled-back" (kRolledBack) when an edit
// failed and all was taken back; "rollback-failed" (kUnfinishedJournal) when that failed, too.
// Edits that build need a builder.
Result<ApplyOutcome> Apply(FileSystem& data, FileSystem& journals,
                           std::string_view journal_directory, const EditList& edits,
                           std::string_view note, Builder* builder = nullptr);

struct UndoOutcome {
  std::string journal_name;
  std::size_t edits_undone = 0;
};

// Takes back the newest journal (rolls back an unfinished one), proves that every touched file has
// its former content, size, attributes and modification time, and removes the journal. Refuses
// ("changed-since", kRefused) when a touched file no longer is as the journal left it; nothing is
// written then. "nothing-to-undo" (kRefused) when there is no journal.
Result<UndoOutcome> Undo(FileSystem& data, FileSystem& journals,
                         std::string_view journal_directory);

}  // namespace rescue::edit
