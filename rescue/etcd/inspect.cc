#include "rescue/etcd/inspect.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "rescue/base/units.h"

namespace rescue::etcd {
namespace {

// Members publish their attributes in entries of a few hundred bytes; larger ones at or below the
// consistent index are data that the backend already has.
constexpr std::uint64_t kLargestMembershipEntry = 4 * kKiB;

constexpr std::size_t kMostProblems = 1000;

void InspectBackend(const FileView& data, Findings& findings) {
  findings.backend_path = kBackendPath;
  auto backend = ReadBackend(data, findings.backend_path);
  if (backend) {
    findings.backend = *std::move(backend);
  } else {
    findings.backend_error = std::move(backend.error());
  }
}

// etcd renames <index>.snap.db over db when the snapshot that it starts from is ahead of the
// backend (server/storage/backend.go, RecoverSnapshotBackend).
void PreferReceivedBackend(const FileView& data, const std::vector<std::uint64_t>& received,
                           Findings& findings) {
  if (!findings.log || !findings.log->hard_state) return;
  const std::uint64_t ci = findings.ConsistentIndex();
  for (auto index = received.rbegin(); index != received.rend(); ++index) {
    const auto& marks = findings.log->marks;
    const bool vouched = std::any_of(marks.begin(), marks.end(), [&](const auto& mark) {
      return mark.index == *index && mark.index <= findings.CommitIndex();
    });
    if (!vouched || *index <= ci) continue;
    std::string path = JoinPath(kSnapDirectory, raftlog::FormatSnapDatabaseName(*index));
    auto backend = ReadBackend(data, path);
    if (!backend) {
      findings.notes.push_back(fmt::format("{}: {}", path, backend.error().message));
      continue;
    }
    findings.backend = *std::move(backend);
    findings.backend_error.reset();
    findings.backend_path = std::move(path);
    findings.received_index = *index;
    return;
  }
}

void CheckBackend(const FileView& data, const InspectOptions& options, Findings& findings) {
  if (!findings.backend || !options.check_backend) return;
  const auto file = data.Open(findings.backend_path);
  bolt::CheckOptions check_options;
  // Only what is listed can be repaired.
  check_options.max_problems = kMostProblems;
  check_options.progress = [&](std::uint64_t done, std::uint64_t total) {
    if (options.progress) options.progress(done, total);
    return true;
  };
  auto report =
      file ? bolt::Check(**file, check_options) : Result<bolt::CheckReport>(Fail(file.error()));
  if (report) {
    findings.check = *std::move(report);
  } else {
    findings.backend_error = std::move(report.error());
  }
}

// Returns the indexes of received backends.
std::vector<std::uint64_t> InspectSnaps(const FileView& data, Findings& findings) {
  auto listing = raftlog::ListSnaps(data, kSnapDirectory);
  if (!listing) {
    findings.notes.push_back(listing.error().message);
    return {};
  }
  for (const auto& name : listing->snaps) {
    const std::string path = JoinPath(kSnapDirectory, raftlog::FormatSnapName(name));
    auto snap = raftlog::ReadSnap(data, path);
    if (snap) {
      findings.snaps.push_back(*std::move(snap));
    } else {
      findings.unreadable_snaps.push_back(name);
      findings.notes.push_back(fmt::format("{}: {}", path, snap.error().message));
    }
  }
  for (const std::uint64_t index : listing->database_indexes) {
    findings.notes.push_back(
        fmt::format("{}: a backend received from a leader, not yet taken over",
                    JoinPath(kSnapDirectory, raftlog::FormatSnapDatabaseName(index))));
  }
  for (const auto& name : listing->broken) {
    findings.notes.push_back(
        fmt::format("{}: set aside by etcd as unreadable", JoinPath(kSnapDirectory, name)));
  }
  for (const auto& name : listing->leftovers) {
    findings.notes.push_back(
        fmt::format("{}: unfinished, etcd deletes it", JoinPath(kSnapDirectory, name)));
  }
  for (const auto& name : listing->foreign) {
    findings.notes.push_back(fmt::format("{}: not etcd's", JoinPath(kSnapDirectory, name)));
  }
  return std::move(listing->database_indexes);
}

void NoteConfChange(const raftlog::Entry& entry, Findings& findings) {
  ConfChangeAt at{entry.index, entry.term, std::nullopt};
  if (entry.type == raftlog::EntryType::kConfChange) {
    if (auto change = raftlog::DecodeConfChange(entry.data)) at.change = *std::move(change);
  }
  findings.conf_changes.push_back(std::move(at));
}

void NoteRequest(const raftlog::Entry& entry, bool in_tail, Findings& findings) {
  const auto request = DecodeRequest(entry.data);
  if (!request) {
    if (in_tail) ++findings.tail.undecodable;
    return;
  }
  if (request->v2_key) findings.v2_keys_in_log = true;
  if (request->published) findings.published.push_back({entry.index, *request->published});
  if (!request->cluster_version.empty()) findings.log_cluster_version = request->cluster_version;
  if (!in_tail) return;
  ++findings.tail.requests[request->kind];
  if (request->MayWrite()) ++findings.tail.may_write;
  if (request->alarm) findings.alarm_requests.push_back({entry.index, *request->alarm});
}

Status InspectEntries(const FileView& data, Findings& findings) {
  const raftlog::Log& log = *findings.log;
  const std::uint64_t ci = findings.ConsistentIndex();
  raftlog::EntryReader reader(data, log);
  for (const auto& ref : log.entries) {
    const bool in_tail = ref.index > ci;
    if (in_tail) {
      ++findings.tail.entries;
      if (ref.index > findings.CommitIndex()) ++findings.tail.above_commit;
    }
    const bool changes_members = ref.type != raftlog::EntryType::kNormal;
    if (!in_tail && !changes_members && ref.data_size > 0) ++findings.applied_requests;
    if (!changes_members && !in_tail &&
        (ref.data_size == 0 || ref.data_size > kLargestMembershipEntry)) {
      continue;
    }
    ASSIGN_OR_RETURN(const auto entry, reader.Read(ref));
    if (changes_members) {
      NoteConfChange(entry, findings);
    } else {
      NoteRequest(entry, in_tail, findings);
    }
  }
  return {};
}

void ReadLog(const FileView& data, Findings& findings) {
  auto log = raftlog::ReadLog(data, kLogDirectory);
  if (!log) {
    findings.log_error = std::move(log.error());
    return;
  }
  findings.log = *std::move(log);
  for (const auto& note : findings.log->notes) findings.notes.push_back(note);
}

}  // namespace

std::string Findings::ClusterVersion() const {
  if (backend && !backend->cluster_version.empty()) return backend->cluster_version;
  for (const auto& snap : snaps) {
    if (!snap.store.cluster_version.empty()) return snap.store.cluster_version;
  }
  return log_cluster_version;
}

unsigned Findings::MinorVersion() const {
  const std::string version = ClusterVersion();
  unsigned major = 0;
  unsigned minor = 0;
  const char* const end = version.data() + version.size();
  const auto first = std::from_chars(version.data(), end, major);
  if (first.ec != std::errc() || first.ptr == end || *first.ptr != '.') return 0;
  const auto second = std::from_chars(first.ptr + 1, end, minor);
  if (second.ec != std::errc() || major > 9 || minor > 999) return 0;
  return major * 1000 + minor;
}

std::uint64_t Findings::LastIndex() const { return log ? log->last_index() : 0; }

std::uint64_t Findings::CommitIndex() const {
  return log && log->hard_state ? log->hard_state->commit : 0;
}

bool Findings::HasV2Keys() const {
  return v2_keys_in_log || (!snaps.empty() && snaps.front().store.has_user_keys);
}

Result<Findings> Inspect(const FileView& data, const InspectOptions& options) {
  const auto member = data.Stat("member");
  if (!member || member->type != FileType::kDirectory) {
    if (!member && !IsNotFound(member.error())) return Fail(member.error());
    return Fail(ErrorKind::kDataDamaged, "no-data-directory",
                "inspect the data directory: it holds no member/ directory",
                "name etcd's --data-dir, the directory that holds member/");
  }
  Findings findings;
  InspectBackend(data, findings);
  const auto received = InspectSnaps(data, findings);
  ReadLog(data, findings);
  PreferReceivedBackend(data, received, findings);
  CheckBackend(data, options, findings);
  if (findings.log) RETURN_IF_ERROR(InspectEntries(data, findings));
  return findings;
}

}  // namespace rescue::etcd
