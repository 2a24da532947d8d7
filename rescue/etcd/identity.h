// Who the survivor is, and who else is in its cluster, also where the log cannot tell. For the
// plans of this room and of backup/.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "rescue/etcd/plan.h"

namespace rescue::etcd {

struct Identity {
  raftlog::Member self;                 // as last known; id 0 when nobody knows
  std::uint64_t cluster_id = 0;         // 0: only the log would tell
  std::vector<raftlog::Member> others;  // ascending ID, without removed ones
  std::vector<std::uint64_t> removed;   // ascending; may hold the survivor
  bool self_removed = false;
};

// From the replayed log where that works, else from whatever is left: the log's metadata, the
// backend, the newest .snap. `name` picks the survivor among the backend's members when the log is
// missing. Error: kUsage "no-name" when several members could be it.
Result<Identity> Identify(const Findings& findings, const std::string& name);

// True when the log does not belong to this backend: its metadata names a member that neither the
// backend nor a .snap nor the log itself knows, or the entry at the backend's consistent index has
// another term than the backend says (3.5 and later keep it).
bool LogIsForeign(const Findings& findings);

}  // namespace rescue::etcd
