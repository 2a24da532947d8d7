#include "rescue/edit/executor.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "rescue/base/exchange.h"
#include "rescue/base/units.h"
#include "rescue/edit/draft.h"
#include "rescue/edit/journal.h"
#include "rescue/edit/journal_writer.h"
#include "rescue/edit/names.h"
#include "rescue/edit/restore.h"
#include "rescue/edit/tree.h"

namespace rescue::edit {
namespace {

constexpr std::uint64_t kBlock = 4096;

// --- journals in their directory

struct Found {
  std::string name;
  std::uint32_t number = 0;
  std::uint64_t size = 0;
  Journal journal;

  JournalState state() const {
    if (!journal.complete) return JournalState::kIncomplete;
    return journal.after ? JournalState::kApplied : JournalState::kUnfinished;
  }
};

// Oldest first: List sorts by name, and names have a fixed width.
Result<std::vector<Found>> FindJournals(const FileView& files, std::string_view directory) {
  std::vector<Found> list;
  const auto entries = files.List(directory);
  if (!entries && IsNotFound(entries.error())) return list;
  if (!entries) return Fail(entries.error());
  for (const DirectoryEntry& entry : *entries) {
    const auto number = JournalNumber(entry.name);
    if (!number || entry.type != FileType::kRegular) continue;
    Found found{entry.name, *number, 0, {}};
    ASSIGN_OR_RETURN(const auto file, files.Open(JoinPath(directory, entry.name)));
    found.size = file->size();
    auto journal = ReadJournal(*file);
    if (!journal) return Fail(journal.error().Within("journal " + entry.name));
    found.journal = *std::move(journal);
    list.push_back(std::move(found));
  }
  return list;
}

Status RefuseUnfinished(const std::vector<Found>& journals) {
  for (const Found& found : journals) {
    if (found.state() != JournalState::kUnfinished) continue;
    return Fail(ErrorKind::kUnfinishedJournal, "unfinished-journal",
                fmt::format("apply: journal {} is from a change that was interrupted", found.name),
                "run undo first: it takes the interrupted change back");
  }
  return {};
}

// Removes the journal's own directory when nothing is in it; the directory that holds it keeps its
// modification time.
Status RemoveDirectory(FileSystem& files, std::string_view directory) {
  ASSIGN_OR_RETURN(const auto entries, files.List(directory));
  if (!entries.empty() || directory.empty()) return {};
  const std::string parent = ParentPath(directory);
  ASSIGN_OR_RETURN(const FileStatus before, files.Stat(parent));
  // Also after a failure: it may have been removed all the same.
  const auto removed = files.Remove(directory);
  RETURN_IF_ERROR(files.SetModified(parent, before.modified));
  RETURN_IF_ERROR(removed);
  return files.SyncDirectory(parent);
}

Status RemoveJournal(FileSystem& files, std::string_view directory, std::string_view name,
                     bool made_directory) {
  RETURN_IF_ERROR(files.Remove(JoinPath(directory, name)));
  RETURN_IF_ERROR(files.SyncDirectory(directory));
  return made_directory ? RemoveDirectory(files, directory) : Status();
}

// No edit was started behind these.
Status DiscardIncomplete(FileSystem& files, std::string_view directory,
                         const std::vector<Found>& journals) {
  for (const Found& found : journals) {
    if (found.state() != JournalState::kIncomplete) continue;
    const bool made_directory = (found.journal.flags & kMadeDirectory) != 0;
    RETURN_IF_ERROR(RemoveJournal(files, directory, found.name, made_directory));
  }
  return {};
}

// --- what is checked before the first write

std::uint64_t RoundUp(std::uint64_t bytes) { return (bytes + kBlock - 1) / kBlock * kBlock; }

Result<SpaceNeed> NeedOf(const FileView& data, const Draft& draft) {
  SpaceNeed need;
  ASSIGN_OR_RETURN(need.journal_bytes, JournalBytes(data, draft));
  need.growth = draft.growth;
  return need;
}

tl::unexpected<Error> NoSpace(std::string_view what, std::uint64_t needed, std::uint64_t free) {
  return Fail(ErrorKind::kRefused, "no-space",
              fmt::format("apply: {} {}, only {} free; nothing was changed", what,
                          FormatSize(needed), FormatSize(free)),
              "free some space, or keep the journal on another file system (--journal DIR)");
}

Status CheckSpace(const FileSystem& data, const FileSystem& journals, std::string_view directory,
                  const SpaceNeed& need) {
  // Two blocks more: the directory's own and one that its name may need.
  const std::uint64_t journal_need = RoundUp(need.journal_bytes) + 2 * kBlock;
  ASSIGN_OR_RETURN(const std::uint64_t journal_free, journals.FreeSpaceAt(directory));
  if (journal_need > journal_free) {
    return NoSpace("the journal needs", journal_need, journal_free);
  }
  for (const Growth& growth : need.growth) {
    ASSIGN_OR_RETURN(const std::uint64_t free, data.FreeSpaceAt(growth.path));
    if (growth.bytes > free) return NoSpace("the new files need", growth.bytes, free);
    const bool holds_both = growth.storage == journals.StorageOf(directory);
    if (holds_both && growth.bytes + journal_need > free) {
      return NoSpace("journal and new files need", journal_need + growth.bytes, free);
    }
  }
  return {};
}

// Asks for write access without changing anything: a write of no bytes opens the file for writing,
// a directory gets the time that it has.
Status CheckWritable(FileSystem& data, const JournalPlan& plan) {
  for (const Former& former : plan.former) {
    auto status = former.status.type == FileType::kRegular
                      ? data.WriteAt(former.path, 0, {})
                      : data.SetModified(former.path, former.status.modified);
    if (!status) return NothingChanged(std::move(status).error());
  }
  return {};
}

Status NeedBuilder(const EditList& edits, const Builder* builder) {
  if (builder != nullptr) return {};
  for (const Edit& edit : edits) {
    if (!std::holds_alternative<BuildDirectory>(edit)) continue;
    return Fail(ErrorKind::kOther, "no-builder",
                "apply: nothing is there that could " + Describe(edit));
  }
  return {};
}

// --- doing the edits

struct Performer {
  FileSystem& data;
  Builder* builder;

  Status operator()(const WriteRange& e) const { return data.WriteAt(e.path, e.offset, e.bytes); }
  Status operator()(const Truncate& e) const { return data.Truncate(e.path, e.size); }
  Status operator()(const CreateFile& e) const {
    RETURN_IF_ERROR(data.CreateFile(e.path, e.attributes));
    return e.content.empty() ? Status() : data.WriteAt(e.path, 0, e.content);
  }
  Status operator()(const MakeDirectory& e) const {
    return data.MakeDirectory(e.path, e.attributes);
  }
  Status operator()(const BuildDirectory& e) const {
    RETURN_IF_ERROR(data.MakeDirectory(e.path, e.attributes));
    RETURN_IF_ERROR(builder->Build(data, e));
    return SyncTree(data, e.path);
  }
  Status operator()(const Exchange& e) const { return rescue::Exchange(data, e.first, e.second); }
  Status operator()(const Rename& e) const { return data.Rename(e.from, e.to); }
  Status operator()(const Remove& e) const { return data.Remove(e.path); }
  Status operator()(const SetAttributes& e) const {
    return data.SetAttributes(e.path, e.attributes);
  }
};

// What was written and is not durable yet, and the order in which it has to become so: everything
// before the next name, and, in one file, everything above before what lies below it (the last
// write of a backend's transaction is a meta page, at its start).
class Unsynced {
 public:
  explicit Unsynced(FileSystem& data) : data_(data) {}

  Status Before(const Edit& edit) {
    if (ChangesNames(edit)) {
      // A path says where a directory is only until names move.
      const bool adds = std::holds_alternative<CreateFile>(edit) ||
                        std::holds_alternative<MakeDirectory>(edit) ||
                        std::holds_alternative<BuildDirectory>(edit);
      return adds ? SyncFiles() : SyncAll();
    }
    const auto* write = std::get_if<WriteRange>(&edit);
    if (write == nullptr) return {};
    const auto found = highest_.find(write->path);
    if (found == highest_.end() || write->offset >= found->second) return {};
    highest_.erase(found);
    return data_.SyncFile(write->path);
  }

  // A name is made durable at once; what it names is not.
  Status After(const Edit& edit) {
    if (ChangesNames(edit)) RETURN_IF_ERROR(SyncParents(edit));
    if (const auto* made = std::get_if<MakeDirectory>(&edit)) directories_.insert(made->path);
    if (const auto* made = std::get_if<CreateFile>(&edit)) highest_[made->path] = 0;
    if (const auto* cut = std::get_if<Truncate>(&edit)) highest_.try_emplace(cut->path, 0);
    if (const auto* write = std::get_if<WriteRange>(&edit)) {
      auto& highest = highest_[write->path];
      highest = std::max(highest, write->offset);
    }
    const auto* set = std::get_if<SetAttributes>(&edit);
    if (set == nullptr) return {};
    ASSIGN_OR_RETURN(const FileStatus status, data_.Stat(set->path));
    if (status.type == FileType::kDirectory) {
      directories_.insert(set->path);
    } else {
      highest_.try_emplace(set->path, 0);
    }
    return {};
  }

  Status SyncAll() {
    RETURN_IF_ERROR(SyncFiles());
    for (const std::string& path : directories_) RETURN_IF_ERROR(data_.SyncDirectory(path));
    directories_.clear();
    return {};
  }

 private:
  Status SyncFiles() {
    for (const auto& [path, highest] : highest_) RETURN_IF_ERROR(data_.SyncFile(path));
    highest_.clear();
    return {};
  }

  Status SyncParents(const Edit& edit) {
    std::set<std::string> parents;
    for (const std::string& path : PathsOf(edit)) parents.insert(ParentPath(path));
    for (const std::string& parent : parents) {
      RETURN_IF_ERROR(data_.SyncDirectory(parent));
      directories_.erase(parent);
    }
    return {};
  }

  FileSystem& data_;
  std::map<std::string, std::uint64_t> highest_;  // offset written so far, by path
  std::set<std::string> directories_;             // themselves, not what is in them
};

// Says in the journal what was built, so that taking it back does not remove what came later.
Status RecordBuilt(const FileSystem& data, JournalFile& file, const BuildDirectory& edit) {
  ASSIGN_OR_RETURN(const std::vector<After> built, DescribeTree(data, edit.path));
  RETURN_IF_ERROR(file.Record(kBuiltRecord, AsBytes(EncodeAfter(built))));
  file.journal.built.insert(file.journal.built.end(), built.begin(), built.end());
  return {};
}

Status PerformEdits(FileSystem& data, JournalFile& file, const EditList& edits, Builder* builder) {
  Unsynced unsynced(data);
  std::size_t step = 0;
  for (std::size_t i = 0; i < edits.size(); ++i) {
    RETURN_IF_ERROR(unsynced.Before(edits[i]));
    const bool names = ChangesNames(edits[i]);
    if (names && step == LastTellingStep(file.journal)) {
      RETURN_IF_ERROR(file.RecordStep(step, /*undoing=*/false));
    }
    auto done = std::visit(Performer{data, builder}, edits[i]);
    if (!done) {
      return Fail(done.error().Within(
          fmt::format("edit {} of {} ({})", i + 1, edits.size(), Describe(edits[i]))));
    }
    RETURN_IF_ERROR(unsynced.After(edits[i]));
    if (const auto* build = std::get_if<BuildDirectory>(&edits[i])) {
      RETURN_IF_ERROR(RecordBuilt(data, file, *build));
    }
    if (names) ++step;
  }
  return unsynced.SyncAll();
}

Result<std::vector<After>> ReadAfter(const FileView& data, std::vector<After> expected) {
  for (After& after : expected) {
    ASSIGN_OR_RETURN(const FileStatus status, data.Stat(after.path));
    ASSIGN_OR_RETURN(const Sha256Digest digest, DigestOf(data, after.path, after.written));
    if (status.size != after.size || digest != after.digest) {
      return Fail(ErrorKind::kOther, "io",
                  fmt::format("read back {}: it is not what was written", Printable(after.path)));
    }
    after.modified = status.modified;
  }
  return expected;
}

// What the builds have made, under the paths that it has at the end.
Status AddBuilt(const FileSystem& data, const Journal& journal, std::vector<After>& after) {
  const auto names = NameEdits(journal.plan.edits);
  for (After built : BuiltAt(journal, names.size())) {
    ASSIGN_OR_RETURN(const FileStatus status, data.Stat(built.path));
    if (status.size != built.size) {
      return Fail(ErrorKind::kOther, "io",
                  fmt::format("look at {}: it is not what was built", Printable(built.path)));
    }
    built.modified = status.modified;
    after.push_back(std::move(built));
  }
  return {};
}

Status CarryOut(FileSystem& data, JournalFile& file, const Draft& draft, Builder* builder) {
  const EditList& edits = draft.plan.edits;
  RETURN_IF_ERROR(PerformEdits(data, file, edits, builder));
  ASSIGN_OR_RETURN(std::vector<After> after, ReadAfter(data, draft.after));
  RETURN_IF_ERROR(AddBuilt(data, file.journal, after));
  // Set before the record is written: a failure may leave it readable, and a roll back must then
  // begin by taking it away.
  file.journal.after = std::move(after);
  return file.Record(kDoneRecord, AsBytes(EncodeAfter(*file.journal.after)));
}

tl::unexpected<Error> RollBack(FileSystem& data, JournalFile& file, const JournalPlace& place,
                               const Error& cause) {
  auto restored = Restore(data, file);
  if (restored) {
    restored = RemoveJournal(place.files, place.directory, place.name, place.make_directory);
  }
  if (restored) {
    return Fail(ErrorKind::kRolledBack, "apply-rolled-back",
                fmt::format("apply: {}; everything was taken back", cause.message),
                cause.hint.empty() ? "remove the cause and try again" : cause.hint);
  }
  return Fail(ErrorKind::kUnfinishedJournal, "rollback-failed",
              fmt::format("apply: {}; taking it back failed, too: {}", cause.message,
                          restored.error().message),
              fmt::format("keep journal {} and run undo once the disk works", place.name));
}

}  // namespace

Result<std::vector<JournalInfo>> ListJournals(const FileView& files, std::string_view directory) {
  ASSIGN_OR_RETURN(std::vector<Found> journals, FindJournals(files, directory));
  std::vector<JournalInfo> list;
  for (Found& found : journals) {
    JournalInfo info;
    info.name = found.name;
    info.number = found.number;
    info.state = found.state();
    info.size = found.size;
    info.plan_fingerprint = found.journal.plan.fingerprint;
    info.note = found.journal.plan.note;
    info.edits = std::move(found.journal.plan.edits);
    list.push_back(std::move(info));
  }
  return list;
}

std::uint64_t SpaceNeed::data_bytes() const {
  std::uint64_t bytes = 0;
  for (const Growth& one : growth) bytes += one.bytes;
  return bytes;
}

Result<SpaceNeed> ComputeSpaceNeed(const FileView& data, const EditList& edits) {
  ASSIGN_OR_RETURN(const Draft draft, MakeDraft(data, edits, {}));
  return NeedOf(data, draft);
}

Result<bool> HasRoomFor(const FileSystem& data, const SpaceNeed& need) {
  for (const Growth& growth : need.growth) {
    ASSIGN_OR_RETURN(const std::uint64_t free, data.FreeSpaceAt(growth.path));
    if (growth.bytes > free) return false;
  }
  return true;
}

Result<ApplyOutcome> Apply(FileSystem& data, FileSystem& journals,
                           std::string_view journal_directory, const EditList& edits,
                           std::string_view note, Builder* builder) {
  if (edits.empty()) return ApplyOutcome{};
  RETURN_IF_ERROR(NeedBuilder(edits, builder));
  ASSIGN_OR_RETURN(const auto present, FindJournals(journals, journal_directory));
  RETURN_IF_ERROR(RefuseUnfinished(present));
  ASSIGN_OR_RETURN(const Draft draft, MakeDraft(data, edits, note));
  ASSIGN_OR_RETURN(const SpaceNeed need, NeedOf(data, draft));
  RETURN_IF_ERROR(CheckSpace(data, journals, journal_directory, need));
  RETURN_IF_ERROR(CheckWritable(data, draft.plan));

  // The write order. After each step, everything of it is durable (fsync) before the next begins.
  //  1. Journals that never became complete are removed: no edit was started behind them.
  //  2. The journal's directory is made when it is absent, and its parent synced.
  //  3. The journal: header, plan, everything that will be overwritten, cut off or removed, and
  //     zeros for the records of steps 4, 6 and 8; file and directory synced.
  //  4. PREP. Before it, no edit has started; from here on, an interruption is rolled back.
  //  5. The edits, in order. One that changes names begins when all before it is durable, and its
  //     directories are synced after it. Of those that only write, cut or set attributes, undo
  //     accepts any part; in one file, a write below an earlier one begins when that is durable.
  //     A build fills its new directory, all of which is synced, and says in a BILT record what is
  //     in it.
  //  6. A STEP record before an edit after which the names alone would no longer tell how many
  //     edits are done, because they come back to what they were (LastTellingStep).
  //  7. What is not yet durable is synced, then everything is read back.
  //  8. DONE. Before it, an interruption is rolled back; after it, the change stands.
  RETURN_IF_ERROR(DiscardIncomplete(journals, journal_directory, present));  // 1
  ASSIGN_OR_RETURN(const JournalPlace place, ChoosePlace(journals, journal_directory));
  ASSIGN_OR_RETURN(Journal journal, WriteJournal(place, data, draft));  // 2 3 4
  JournalFile file{journals, place.path(), std::move(journal)};
  if (auto done = CarryOut(data, file, draft, builder); !done) {  // 5 6 7 8
    return RollBack(data, file, place, done.error());
  }

  ApplyOutcome outcome;
  outcome.journal_name = place.name;
  outcome.journal_bytes = need.journal_bytes;
  for (const Edit& edit : edits) outcome.data_bytes += BytesWritten(edit);
  return outcome;
}

Result<UndoOutcome> Undo(FileSystem& data, FileSystem& journals,
                         std::string_view journal_directory) {
  ASSIGN_OR_RETURN(auto present, FindJournals(journals, journal_directory));
  const auto newest = std::find_if(present.rbegin(), present.rend(),
                                   [](const Found& found) { return found.journal.complete; });
  if (newest == present.rend()) {
    RETURN_IF_ERROR(DiscardIncomplete(journals, journal_directory, present));
    return Fail(ErrorKind::kRefused, "nothing-to-undo",
                present.empty() ? "undo: there is no journal"
                                : "undo: the change was interrupted before it began, its journal "
                                  "was incomplete and is removed; nothing was changed");
  }
  RETURN_IF_ERROR(FindStep(data, newest->journal));
  UndoOutcome outcome{newest->name, newest->journal.plan.edits.size()};
  const bool made_directory = (newest->journal.flags & kMadeDirectory) != 0;
  JournalFile file{journals, JoinPath(journal_directory, newest->name), newest->journal};
  RETURN_IF_ERROR(Restore(data, file));
  RETURN_IF_ERROR(DiscardIncomplete(journals, journal_directory, present));
  RETURN_IF_ERROR(RemoveJournal(journals, journal_directory, outcome.journal_name, made_directory));
  return outcome;
}

}  // namespace rescue::edit
