#include "rescue/etcd/swap.h"

#include <fmt/format.h>

#include <algorithm>

#include "rescue/etcd/inspect.h"

namespace rescue::etcd {
namespace {

constexpr std::string_view kAside = "before-restore";
constexpr std::string_view kFresh = "new";  // beside the old files, until it gets its name
// The last old segment, until the new log has its name: a number that no log gets to. See SetGuard.
constexpr std::string_view kGuard = "ffffffffffffffff-ffffffffffffffff.wal";
constexpr std::uint64_t kGuardSize = 4096;  // what is left of it while there is no room

struct OldFiles {
  std::vector<std::string> segments;  // names in the log's directory
  std::vector<std::string> snaps;     // names in member/snap
  bool has_log_directory = false;
};

Result<OldFiles> FindOldFiles(const FileView& data) {
  OldFiles files;
  const auto entries = data.List(kLogDirectory);
  if (!entries && !IsNotFound(entries.error())) return Fail(entries.error());
  files.has_log_directory = entries.has_value();
  if (entries) {
    for (const auto& entry : *entries) {
      if (raftlog::ParseSegmentName(entry.name)) files.segments.push_back(entry.name);
    }
  }
  ASSIGN_OR_RETURN(const auto listing, raftlog::ListSnaps(data, kSnapDirectory));
  for (const auto& name : listing.snaps) files.snaps.push_back(raftlog::FormatSnapName(name));
  return files;
}

// A name that is free in both directories, so that what belongs together has one name.
Result<std::string> FreeAsideName(const FileView& data) {
  for (int number = 1; number < 1000; ++number) {
    std::string name(kAside);
    if (number > 1) name += fmt::format("-{}", number);
    ASSIGN_OR_RETURN(const bool in_log, Exists(data, JoinPath(kLogDirectory, name)));
    ASSIGN_OR_RETURN(const bool in_snap, Exists(data, JoinPath(kSnapDirectory, name)));
    if (!in_log && !in_snap) return name;
  }
  return Fail(ErrorKind::kRefused, "too-many-restores",
              "plan restore: 999 earlier restores left their before-restore directories",
              "remove the ones that are not needed any more");
}

Status AddNewDirectory(const FileView& data, const std::string& path, std::string_view like,
                       edit::EditList& edits) {
  ASSIGN_OR_RETURN(auto attributes, AttributesLike(data, {std::string(like)}, "member", 0700));
  edits.push_back(edit::MakeDirectory{path, std::move(attributes)});
  return {};
}

class Swap {
 public:
  Swap(const FileView& data, const Findings& findings, const OldFiles& old,
       const NewSnapshot& snapshot, Bytes log)
      : data_(data),
        findings_(findings),
        old_(old),
        log_path_(JoinPath(kLogDirectory, raftlog::FormatSegmentName({0, 0}))),
        log_(std::move(log)),
        snap_path_(JoinPath(kSnapDirectory, raftlog::FormatSnapName({snapshot.metadata.term,
                                                                     snapshot.metadata.index}))),
        snap_(raftlog::EncodeSnapFile(snapshot.metadata, snapshot.store)) {}

  Result<edit::EditList> Beside(const bolt::CommitPlan& commit) {
    edit::EditList edits;
    ASSIGN_OR_RETURN(const std::string aside, FreeAsideName(data_));
    const std::string log_aside = JoinPath(kLogDirectory, aside);
    const std::string snap_aside = JoinPath(kSnapDirectory, aside);
    if (!old_.has_log_directory) {
      RETURN_IF_ERROR(AddNewDirectory(data_, std::string(kLogDirectory), kSnapDirectory, edits));
    }
    const auto& log_like = old_.has_log_directory ? kLogDirectory : kSnapDirectory;
    RETURN_IF_ERROR(AddNewDirectory(data_, log_aside, log_like, edits));
    RETURN_IF_ERROR(AddNewDirectory(data_, snap_aside, kSnapDirectory, edits));
    RETURN_IF_ERROR(Create(JoinPath(log_aside, kFresh), JoinPath(snap_aside, kFresh), edits));
    AddPages(commit, edits);
    for (std::size_t i = 0; i + 1 < old_.segments.size(); ++i) {
      MoveAside(kLogDirectory, log_aside, old_.segments[i], edits);
    }
    SetGuard(edits);
    for (const auto& name : old_.snaps) MoveAside(kSnapDirectory, snap_aside, name, edits);
    edits.push_back(edit::Rename{JoinPath(snap_aside, kFresh), snap_path_});
    AddMeta(commit, edits);
    if (findings_.received_index) {
      ASSIGN_OR_RETURN(const bool has_db, Exists(data_, kBackendPath));
      if (has_db) MoveAside(kSnapDirectory, snap_aside, "db", edits);
      edits.push_back(edit::Rename{findings_.backend_path, std::string(kBackendPath)});
    }
    edits.push_back(edit::Rename{JoinPath(log_aside, kFresh), log_path_});
    if (!old_.segments.empty()) {
      edits.push_back(edit::Rename{Guard(), JoinPath(log_aside, old_.segments.back())});
    }
    return edits;
  }

  Result<edit::EditList> Instead(const bolt::CommitPlan& commit) {
    edit::EditList edits;
    ASSIGN_OR_RETURN(const bool guarded, SetGuardInItsOwnRoom(edits));
    const auto cut = old_.segments.end() - (guarded ? 1 : 0);
    for (auto name = old_.segments.begin(); name != cut; ++name) {
      RemoveAtOnce(kLogDirectory, *name, edits);
    }
    for (const auto& name : old_.snaps) RemoveAtOnce(kSnapDirectory, name, edits);
    if (!old_.has_log_directory) {
      RETURN_IF_ERROR(AddNewDirectory(data_, std::string(kLogDirectory), kSnapDirectory, edits));
    }
    AddPages(commit, edits);
    RETURN_IF_ERROR(Create(log_path_, snap_path_, edits));
    AddMeta(commit, edits);
    if (findings_.received_index) {
      ASSIGN_OR_RETURN(const bool has_db, Exists(data_, kBackendPath));
      if (has_db) edits.push_back(edit::Remove{std::string(kBackendPath)});
      edits.push_back(edit::Rename{findings_.backend_path, std::string(kBackendPath)});
    }
    // Not cut first: behind the new log, etcd would take an empty guard for its next segment.
    if (guarded) edits.push_back(edit::Remove{Guard()});
    return edits;
  }

 private:
  static std::string Guard() { return JoinPath(kLogDirectory, kGuard); }

  // Without any segment there is no log to etcd: told to be a new cluster of one (kubeadm's first
  // control plane node is), it serves the backend without its tail and applies nothing that is
  // written next. With the guard alone it ends with "wal: file not found", with the guard behind
  // the new log with "wal: crc mismatch" (tried with 3.4.23, 3.5.16, 3.5.30).
  void SetGuard(edit::EditList& edits) const {
    if (old_.segments.empty() || old_.segments.back() == kGuard) return;
    edits.push_back(edit::Rename{JoinPath(kLogDirectory, old_.segments.back()), Guard()});
  }

  // The guard's new name may need a block while there is none: the zeros that etcd allocated ahead
  // in this segment give it. Of the guard itself, its head is enough. False: there are no zeros.
  Result<bool> SetGuardInItsOwnRoom(edit::EditList& edits) const {
    if (old_.segments.empty() || old_.segments.back() == kGuard || !findings_.log) return false;
    const std::string path = JoinPath(kLogDirectory, old_.segments.back());
    const auto& tail = findings_.log->tail;
    if (tail.path != path || tail.kind != raftlog::TailKind::kClean) return false;
    ASSIGN_OR_RETURN(const auto file, data_.Open(path));
    const std::uint64_t end = std::max(tail.offset, kGuardSize);
    if (file->size() <= end || file->allocated() < end + 2 * kGuardSize) return false;
    edits.push_back(edit::Truncate{path, end});
    edits.push_back(edit::Rename{path, Guard()});
    if (end > kGuardSize) edits.push_back(edit::Truncate{Guard(), kGuardSize});
    return true;
  }

  Status Create(const std::string& log_path, const std::string& snap_path, edit::EditList& edits) {
    std::vector<std::string> like_log;
    for (const auto& name : old_.segments) like_log.push_back(JoinPath(kLogDirectory, name));
    ASSIGN_OR_RETURN(auto log_attributes,
                     AttributesLike(data_, like_log, findings_.backend_path, 0600));
    edits.push_back(edit::CreateFile{log_path, std::move(log_), std::move(log_attributes)});

    std::vector<std::string> like_snap;
    for (const auto& name : old_.snaps) like_snap.push_back(JoinPath(kSnapDirectory, name));
    ASSIGN_OR_RETURN(auto snap_attributes,
                     AttributesLike(data_, like_snap, findings_.backend_path, 0644));
    edits.push_back(edit::CreateFile{snap_path, std::move(snap_), std::move(snap_attributes)});
    return {};
  }

  // The locks on the log keep its files open, and what is open keeps its storage after a removal:
  // only a truncation gives it back.
  static void RemoveAtOnce(std::string_view directory, const std::string& name,
                           edit::EditList& edits) {
    const std::string path = JoinPath(directory, name);
    edits.push_back(edit::Truncate{path, 0});
    edits.push_back(edit::Remove{path});
  }

  static void MoveAside(std::string_view directory, const std::string& aside,
                        const std::string& name, edit::EditList& edits) {
    edits.push_back(edit::Rename{JoinPath(directory, name), JoinPath(aside, name)});
  }

  static void AddPages(const bolt::CommitPlan& commit, edit::EditList& edits) {
    if (commit.edits.empty()) return;
    edits.insert(edits.end(), commit.edits.begin(), commit.edits.end() - 1);
  }
  static void AddMeta(const bolt::CommitPlan& commit, edit::EditList& edits) {
    if (!commit.edits.empty()) edits.push_back(commit.edits.back());
  }

  const FileView& data_;
  const Findings& findings_;
  const OldFiles& old_;
  std::string log_path_;
  Bytes log_;
  std::string snap_path_;
  Bytes snap_;
};

}  // namespace

Result<edit::EditList> PlanSwap(const FileView& data, const Findings& findings,
                                const bolt::CommitPlan& commit, const NewSnapshot& snapshot,
                                Bytes log, bool tight_space) {
  ASSIGN_OR_RETURN(const OldFiles old, FindOldFiles(data));
  Swap swap(data, findings, old, snapshot, std::move(log));
  return tight_space ? swap.Instead(commit) : swap.Beside(commit);
}

}  // namespace rescue::etcd
