#include "rescue/edit/restore.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "rescue/base/exchange.h"
#include "rescue/edit/draft.h"
#include "rescue/edit/names.h"
#include "rescue/edit/tree.h"

namespace rescue::edit {
namespace {

tl::unexpected<Error> Changed(std::string_view path, std::string_view reason) {
  return Fail(ErrorKind::kRefused, "changed-since",
              fmt::format("take back: {} {}", Printable(path), reason),
              "the data directory was used after the change: taking it back would lose what came "
              "since");
}

tl::unexpected<Error> NotRestored(std::string_view path, std::string_view reason) {
  return Fail(ErrorKind::kUnfinishedJournal, "restore-failed",
              fmt::format("check {} after taking back: {}", Printable(path), reason),
              "the journal is kept: look at the disk, then run undo again");
}

std::string_view Shown(std::string_view path) { return path.empty() ? "." : path; }

// --- before anything is written

Status CheckFormerEntries(const FileView& data, const JournalPlan& plan, std::size_t step) {
  const auto names = NameEdits(plan.edits);
  for (const Former& former : plan.former) {
    const auto path = LaterPath(names, 0, step, former.path);
    if (!path) continue;
    const auto status = data.Stat(*path);
    if (!status && !IsNotFound(status.error())) return Fail(status.error());
    if (!status || status->type != former.status.type) {
      return Changed(Shown(*path), "is not there any more");
    }
    if (status->size < former.min_size || status->size > former.max_size) {
      return Changed(Shown(*path), fmt::format("has {} bytes, between {} and {} are expected",
                                               status->size, former.min_size, former.max_size));
    }
  }
  return {};
}

// A directory that the plan made will be removed: only what the plan put there may be in it.
Status CheckNewDirectories(const FileView& data, const JournalPlan& plan, std::size_t step) {
  const auto names = NameEdits(plan.edits);
  std::set<std::string> known;
  for (const Former& former : plan.former) known.insert(former.path);
  for (std::size_t i = 0; i < step; ++i) {
    const auto* made = std::get_if<MakeDirectory>(names[i]);
    if (made == nullptr) continue;
    const auto path = LaterPath(names, i + 1, step, made->path);
    if (!path) continue;
    ASSIGN_OR_RETURN(const auto entries, data.List(*path));
    for (const DirectoryEntry& entry : entries) {
      const std::string child = JoinPath(*path, entry.name);
      const auto former = FormerPath(names, step, child);
      if (former && !known.contains(*former)) return Changed(child, "is new");
    }
  }
  return {};
}

// What a build has made is removed: nobody may have used it since, and nothing else may be in it.
// Without a record of it the build was not finished, and nothing was done after it.
Status CheckBuilt(const FileView& data, const Journal& journal, std::size_t step) {
  if (journal.undoing || journal.built.empty()) return {};
  const JournalPlan& plan = journal.plan;
  const auto names = NameEdits(plan.edits);
  std::set<std::string> expected;
  for (const After& built : BuiltAt(journal, step)) {
    const auto status = data.Stat(built.path);
    if (!status && !IsNotFound(status.error())) return Fail(status.error());
    if (!status || status->type != FileType::kRegular) {
      return Changed(built.path, "is not there any more");
    }
    if (status->size != built.size || status->modified != built.modified) {
      return Changed(built.path, "was written to since");
    }
    expected.insert(built.path);
  }
  for (std::size_t i = 0; i < step; ++i) {
    const auto* made = std::get_if<CreateFile>(names[i]);
    if (made == nullptr) continue;
    if (const auto path = LaterPath(names, i + 1, step, made->path)) expected.insert(*path);
  }
  for (std::size_t i = 0; i < step; ++i) {
    const auto* build = std::get_if<BuildDirectory>(names[i]);
    if (build == nullptr) continue;
    const auto path = LaterPath(names, i + 1, step, build->path);
    if (!path) continue;
    ASSIGN_OR_RETURN(const auto present, DescribeTree(data, *path));
    for (const After& file : present) {
      if (!expected.contains(file.path)) return Changed(file.path, "is new");
    }
  }
  return {};
}

Status CheckAfter(const FileView& data, const std::vector<After>& list) {
  for (const After& after : list) {
    const auto status = data.Stat(after.path);
    if (!status && !IsNotFound(status.error())) return Fail(status.error());
    if (!status || status->type != FileType::kRegular) {
      return Changed(after.path, "is not there any more");
    }
    if (status->size != after.size) return Changed(after.path, "has another size now");
    if (status->modified != after.modified) return Changed(after.path, "was written to since");
    ASSIGN_OR_RETURN(const Sha256Digest digest, DigestOf(data, after.path, after.written));
    if (digest != after.digest) return Changed(after.path, "has other content now");
  }
  return {};
}

// --- names

Status SyncParents(FileSystem& data, const Edit& edit) {
  std::set<std::string> parents;
  for (const std::string& path : PathsOf(edit)) parents.insert(ParentPath(path));
  for (const std::string& parent : parents) RETURN_IF_ERROR(data.SyncDirectory(parent));
  return {};
}

// Attributes of what is made again follow later, with the content.
struct Reverse {
  FileSystem& data;
  bool directory;  // what a removed entry was

  Status operator()(const CreateFile& e) const { return data.Remove(e.path); }
  Status operator()(const MakeDirectory& e) const { return data.Remove(e.path); }
  Status operator()(const BuildDirectory& e) const { return RemoveTree(data, e.path); }
  Status operator()(const Exchange& e) const { return rescue::Exchange(data, e.first, e.second); }
  Status operator()(const Rename& e) const { return data.Rename(e.to, e.from); }
  Status operator()(const Remove& e) const {
    ASSIGN_OR_RETURN(const FileStatus parent, data.Stat(ParentPath(e.path)));
    Attributes attributes;
    attributes.mode = directory ? 0700 : 0600;
    attributes.uid = parent.attributes.uid;
    attributes.gid = parent.attributes.gid;
    return directory ? data.MakeDirectory(e.path, attributes) : data.CreateFile(e.path, attributes);
  }
  template <typename Other>
  Status operator()(const Other&) const {
    return {};
  }
};

Status ReverseNames(FileSystem& data, JournalFile& file, std::size_t step) {
  const JournalPlan& plan = file.journal.plan;
  const auto names = NameEdits(plan.edits);
  while (step > 0) {
    const Edit& edit = *names[step - 1];
    bool directory = false;
    if (const auto* remove = std::get_if<Remove>(&edit)) {
      const auto at = std::lower_bound(plan.paths.begin(), plan.paths.end(), remove->path);
      directory = plan.steps[step - 1][static_cast<std::size_t>(at - plan.paths.begin())] == 'd';
    }
    RETURN_IF_ERROR(std::visit(Reverse{data, directory}, edit));
    RETURN_IF_ERROR(SyncParents(data, edit));
    --step;
    RETURN_IF_ERROR(file.RecordStep(step, /*undoing=*/true));
  }
  return {};
}

// --- content and status

Result<Bytes> SavedBytes(const ReadableFile& journal, const SavedPiece& piece, std::uint64_t from,
                         std::uint64_t length) {
  if (piece.zero) return Bytes(static_cast<std::size_t>(length));
  return ReadExactly(journal, piece.position + from, length);
}

// Calls `visit` with each stretch of saved content of a file, at most kPieceBytes long, and whether
// it belongs to a long run of zeros.
template <typename Visit>
Status ForEachSaved(const JournalFile& file, std::size_t former, Visit visit) {
  ASSIGN_OR_RETURN(const auto journal, file.files.Open(file.path));
  for (const SavedPiece& piece : file.journal.saved) {
    if (piece.former != former) continue;
    for (std::uint64_t at = 0; at < piece.length; at += kPieceBytes) {
      const std::uint64_t length = std::min<std::uint64_t>(kPieceBytes, piece.length - at);
      ASSIGN_OR_RETURN(const Bytes bytes, SavedBytes(*journal, piece, at, length));
      RETURN_IF_ERROR(visit(piece.offset + at, bytes, piece.zero && piece.length > kPieceBytes));
    }
  }
  return {};
}

Status RestoreStatus(FileSystem& data, const Former& former) {
  ASSIGN_OR_RETURN(const FileStatus now, data.Stat(former.path));
  if (now.attributes != former.status.attributes) {
    RETURN_IF_ERROR(data.SetAttributes(former.path, former.status.attributes));
  }
  return data.SetModified(former.path, former.status.modified);
}

// A long run of zeros is a preallocated log segment that was cut off or removed: what reads as
// zeros is left alone, so that putting it back needs no space. Everything else is always written:
// after a failed sync the page cache cannot be asked what is on the disk.
Status FillWithZeros(FileSystem& data, std::string_view path, std::uint64_t offset,
                     const Bytes& zeros) {
  ASSIGN_OR_RETURN(const auto current, data.Open(path));
  ASSIGN_OR_RETURN(const Bytes there, ReadExactly(*current, offset, zeros.size()));
  return there == zeros ? Status() : data.WriteAt(path, offset, zeros);
}

Status RestoreFile(FileSystem& data, const JournalFile& file, std::size_t index) {
  const Former& former = file.journal.plan.former[index];
  ASSIGN_OR_RETURN(const FileStatus now, data.Stat(former.path));
  if (now.size != former.status.size) {
    RETURN_IF_ERROR(data.Truncate(former.path, former.status.size));
  }
  RETURN_IF_ERROR(
      ForEachSaved(file, index, [&](std::uint64_t offset, const Bytes& bytes, bool long_zeros) {
        return long_zeros ? FillWithZeros(data, former.path, offset, bytes)
                          : data.WriteAt(former.path, offset, bytes);
      }));
  RETURN_IF_ERROR(RestoreStatus(data, former));
  return data.SyncFile(former.path);
}

Status RestoreEntries(FileSystem& data, const JournalFile& file) {
  const std::vector<Former>& list = file.journal.plan.former;
  for (std::size_t i = 0; i < list.size(); ++i) {
    if (list[i].status.type == FileType::kRegular) RETURN_IF_ERROR(RestoreFile(data, file, i));
  }
  for (const Former& former : list) {
    if (former.status.type != FileType::kDirectory) continue;
    RETURN_IF_ERROR(RestoreStatus(data, former));
    RETURN_IF_ERROR(data.SyncDirectory(former.path));
  }
  return {};
}

Status Prove(const FileSystem& data, const JournalFile& file) {
  const JournalPlan& plan = file.journal.plan;
  ASSIGN_OR_RETURN(const std::string names, NamesNow(data, plan.paths));
  if (names != plan.steps.front()) return NotRestored(".", "a name is not as it was");
  for (std::size_t i = 0; i < plan.former.size(); ++i) {
    const Former& former = plan.former[i];
    ASSIGN_OR_RETURN(const FileStatus now, data.Stat(former.path));
    if (now != former.status) {
      return NotRestored(Shown(former.path), "size, attributes or time are not as they were");
    }
    if (former.saved.empty()) continue;
    ASSIGN_OR_RETURN(const auto current, data.Open(former.path));
    RETURN_IF_ERROR(
        ForEachSaved(file, i, [&](std::uint64_t offset, const Bytes& bytes, bool) -> Status {
          ASSIGN_OR_RETURN(const Bytes there, ReadExactly(*current, offset, bytes.size()));
          if (there != bytes) return NotRestored(former.path, "its content is not as it was");
          return {};
        }));
  }
  return {};
}

Status RestoreFrom(FileSystem& data, JournalFile& file, std::size_t step) {
  // From here on the journal says that its edits are not complete, whatever happens; without names
  // and without the last record it says so already.
  if (step > 0 || file.journal.after) {
    RETURN_IF_ERROR(file.RecordStep(step, /*undoing=*/true));
    file.journal.after.reset();
  }
  RETURN_IF_ERROR(ReverseNames(data, file, step));
  RETURN_IF_ERROR(RestoreEntries(data, file));
  return Prove(data, file);
}

}  // namespace

Status JournalFile::Record(std::string_view kind, ByteView payload) {
  const Bytes record = EncodeRecord(kind, payload);
  RETURN_IF_ERROR(files.WriteAt(path, journal.end, record));
  RETURN_IF_ERROR(files.SyncFile(path));
  journal.end += record.size();
  return {};
}

Status JournalFile::RecordStep(std::size_t step, bool undoing) {
  const DiskStep disk{static_cast<std::uint32_t>(step), undoing ? 1U : 0U};
  RETURN_IF_ERROR(Record(kStepRecord, std::as_bytes(std::span(&disk, 1))));
  journal.step = static_cast<std::uint32_t>(step);
  journal.undoing = undoing;
  return {};
}

std::size_t LastTellingStep(const Journal& journal) {
  const std::vector<std::string>& steps = journal.plan.steps;
  std::set<std::string_view> seen;
  std::size_t step = journal.step;
  while (step < steps.size() && seen.insert(steps[step]).second) ++step;
  return step - 1;
}

Result<std::size_t> FindStep(const FileView& data, const Journal& journal) {
  const JournalPlan& plan = journal.plan;
  ASSIGN_OR_RETURN(const std::string names, NamesNow(data, plan.paths));
  std::vector<std::size_t> candidates = {journal.step};
  if (journal.after) {
    candidates = {plan.steps.size() - 1};
  } else if (journal.undoing && journal.step > 0) {
    candidates.push_back(journal.step - 1);
  } else if (!journal.undoing) {
    for (std::size_t step = journal.step; step < LastTellingStep(journal); ++step) {
      candidates.push_back(step + 1);
    }
  }
  for (const std::size_t step : candidates) {
    if (plan.steps[step] != names) continue;
    RETURN_IF_ERROR(CheckFormerEntries(data, plan, step));
    RETURN_IF_ERROR(CheckNewDirectories(data, plan, step));
    RETURN_IF_ERROR(CheckBuilt(data, journal, step));
    if (journal.after) RETURN_IF_ERROR(CheckAfter(data, *journal.after));
    return step;
  }
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (names[i] != plan.steps[journal.step][i]) {
      return Changed(plan.paths[i], "was made, moved or removed");
    }
  }
  return Changed(".", "has other names now");
}

Status Restore(FileSystem& data, JournalFile& file) {
  ASSIGN_OR_RETURN(const std::size_t step, FindStep(data, file.journal));
  auto done = RestoreFrom(data, file, step);
  if (done) return {};
  Error error = std::move(done).error();
  if (error.code == "restore-failed") return Fail(std::move(error));
  return Fail(ErrorKind::kUnfinishedJournal, "restore-failed", "take back: " + error.message,
              "the journal is kept: remove the cause, then run undo");
}

}  // namespace rescue::edit
