// Works out, without writing, all that a journal must know before the first edit: what the edits
// overwrite and what they will leave. Used by the executor only.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include "rescue/base/file.h"
#include "rescue/edit/executor.h"
#include "rescue/edit/journal.h"

namespace rescue::edit {

struct Draft {
  JournalPlan plan;
  std::vector<After> after;  // modification times are not known yet (0)
  std::vector<Growth> growth;
};

// Errors: "plan-stale" (kRefused) when an edit does not fit; "plan-too-large" (kRefused).
Result<Draft> MakeDraft(const FileView& data, const EditList& edits, std::string_view note);

// Calls `take` with the content that the plan saves, piece by piece, in the journal's order. Pieces
// of zeros (a preallocated log segment is mostly that) come as one, without bytes.
using TakePiece = std::function<Status(const SavedPiece& piece, ByteView bytes)>;
Status ForEachPiece(const FileView& data, const JournalPlan& plan, const TakePiece& take);

// Bytes that the journal of this draft takes, its last record included.
Result<std::uint64_t> JournalBytes(const FileView& data, const Draft& draft);
// Room for the records that are written while the edits are under way.
std::uint64_t TailBytes(const Draft& draft);

// The digest of the ranges of a file, as After has it.
Result<Sha256Digest> DigestOf(const FileView& view, std::string_view path,
                              const std::vector<Range>& ranges);

// What is at each of the paths, as JournalPlan::steps has it.
Result<std::string> NamesNow(const FileView& view, const std::vector<std::string>& paths);

}  // namespace rescue::edit
