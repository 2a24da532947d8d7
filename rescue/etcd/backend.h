// What etcd keeps in its backend (member/snap/db), read without applying or changing anything.
//
// Sources: server/storage/schema (3.5, 3.6, 3.7) and mvcc/backend, membership/store.go (3.4):
// buckets meta, members, members_removed, cluster, alarm, auth, lease and key.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "rescue/base/file.h"
#include "rescue/bolt/database.h"
#include "rescue/etcd/requests.h"
#include "rescue/mvcc/revision.h"
#include "rescue/raftlog/member.h"
#include "rescue/raftlog/raft.h"

namespace rescue::etcd {

using mvcc::DecodeRevision;
using mvcc::Revision;

struct Backend {
  std::uint64_t file_size = 0;
  bolt::Meta meta;
  std::string meta_problem;  // why the other meta page is not valid; empty when it is

  // Index of the last log entry that the backend has applied, and its term (3.5 and later).
  std::uint64_t consistent_index = 0;
  std::uint64_t term = 0;
  std::optional<raftlog::ConfState> conf_state;  // 3.5 and later
  std::string cluster_version;                   // "3.5.0"; empty when never set
  std::string storage_version;                   // "3.6.0"; 3.6 and later
  std::string downgrade;                         // target version while a downgrade is enabled

  std::vector<raftlog::Member> members;  // ascending ID
  std::vector<std::uint64_t> removed;    // ascending

  Revision latest;                // of the last key record
  bool latest_is_marker = false;  // it has neither key nor value: a bump put it there
  std::uint64_t compacted = 0;    // revisions up to this one are compacted or scheduled to be
  std::vector<Alarm> alarms;
  bool auth_enabled = false;
  std::uint64_t leases = 0;

  std::vector<std::string> problems;  // records that could not be understood, one line each
};

// Fails when the file is missing ("backend-missing") or cannot be read as bbolt at all.
Result<Backend> ReadBackend(const FileView& data, std::string_view path);

}  // namespace rescue::etcd
