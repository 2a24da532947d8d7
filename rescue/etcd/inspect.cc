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

void InspectBackend(const FileView& data, const InspectOptions& options, Findings& findings) {
  auto backend = ReadBackend(data, kBackendPath);
  if (!backend) {
    findings.backend_error = std::move(backend.error());
    return;
  }
  findings.backend = *std::move(backend);
  if (!options.check_backend) return;
  const auto file = data.Open(kBackendPath);
  bolt::CheckOptions check_options;
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

void InspectSnaps(const FileView& data, Findings& findings) {
  const auto listing = raftlog::ListSnaps(data, kSnapDirectory);
  if (!listing) {
    findings.notes.push_back(listing.error().message);
    return;
  }
  for (const auto& name : listing->snaps) {
    const std::string path = JoinPath(kSnapDirectory, raftlog::FormatSnapName(name));
    auto snap = raftlog::ReadSnap(data, path);
    if (snap) {
      findings.snaps.push_back(*std::move(snap));
    } else {
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

Status InspectLog(const FileView& data, Findings& findings) {
  auto log = raftlog::ReadLog(data, kLogDirectory);
  if (!log) {
    findings.log_error = std::move(log.error());
    return {};
  }
  findings.log = *std::move(log);
  for (const auto& note : findings.log->notes) findings.notes.push_back(note);
  return InspectEntries(data, findings);
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

Result<Findings> Inspect(const FileView& data, const InspectOptions& options) {
  const auto member = data.Stat("member");
  if (!member || member->type != FileType::kDirectory) {
    if (!member && !IsNotFound(member.error())) return Fail(member.error());
    return Fail(ErrorKind::kDataDamaged, "no-data-directory",
                "inspect the data directory: it holds no member/ directory",
                "name etcd's --data-dir, the directory that holds member/");
  }
  Findings findings;
  InspectBackend(data, options, findings);
  InspectSnaps(data, findings);
  RETURN_IF_ERROR(InspectLog(data, findings));
  return findings;
}

}  // namespace rescue::etcd
