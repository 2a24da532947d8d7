// What an inspection found out about one data directory: plain values, nothing of it is a decision.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "rescue/bolt/check.h"
#include "rescue/etcd/backend.h"
#include "rescue/raftlog/log.h"
#include "rescue/raftlog/snap.h"

namespace rescue::etcd {

// A configuration change as it stands in the log.
struct ConfChangeAt {
  std::uint64_t index = 0;
  std::uint64_t term = 0;
  // Empty for an entry that cannot be decoded, and for ConfChangeV2, which no etcd applies.
  std::optional<raftlog::ConfChange> change;
};

struct PublishedAt {
  std::uint64_t index = 0;
  PublishedAttributes attributes;
};

struct AlarmAt {
  std::uint64_t index = 0;
  AlarmRequest request;
};

// Entries behind the backend's consistent index: what would be lost with the log.
struct LogTail {
  std::uint64_t entries = 0;
  std::uint64_t above_commit = 0;  // of these, above the last known commit index
  std::uint64_t may_write = 0;     // requests that may have taken a revision
  std::map<RequestKind, std::uint64_t> requests;
  std::uint64_t undecodable = 0;
};

struct Findings {
  // The backend that etcd would use at its next start: member/snap/db, or one that was received
  // from a leader and not taken over yet (member/snap/<index>.snap.db).
  std::string backend_path;
  std::optional<std::uint64_t> received_index;  // snapshot index of a received one
  std::optional<Backend> backend;
  std::optional<Error> backend_error;
  std::optional<bolt::CheckReport> check;  // absent when a quick inspection was asked for

  std::optional<raftlog::Log> log;
  std::optional<Error> log_error;
  LogTail tail;
  // Entries with a request at or below the consistent index: what a joining member would replay.
  std::uint64_t applied_requests = 0;
  std::vector<ConfChangeAt> conf_changes;  // the whole log's, ascending index
  std::vector<PublishedAt> published;      // the whole log's, ascending index
  std::vector<AlarmAt> alarm_requests;     // behind the consistent index
  std::string log_cluster_version;         // the last one that the log sets

  bool v2_keys_in_log = false;                      // requests of the v2 API were seen
  std::vector<raftlog::SnapFile> snaps;             // readable ones, newest first
  std::vector<raftlog::SnapName> unreadable_snaps;  // newest first
  std::vector<std::string> notes;  // files that were passed over and why, odd records

  // Cluster version, from the backend, else the newest .snap, else the log; "" when unknown.
  std::string ClusterVersion() const;
  // Of its first two numbers: 3005 for "3.5.0"; 0 when unknown.
  unsigned MinorVersion() const;
  std::uint64_t ConsistentIndex() const { return backend ? backend->consistent_index : 0; }
  // Index of the last usable log entry, 0 without any.
  std::uint64_t LastIndex() const;
  std::uint64_t CommitIndex() const;
  // Keys or users of the v2 API exist, in the newest .snap or in the log.
  bool HasV2Keys() const;
};

}  // namespace rescue::etcd
