// Which log entries behind the backend's consistent index can be kept by a new log, and what they
// become there. Private to this room.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "rescue/etcd/plan.h"

namespace rescue::etcd {

struct CarryOptions {
  CommitLimit commit = CommitLimit::kLogEnd;
  std::uint64_t shift = 0;      // added to every index
  bool without_alarms = false;  // requests that set an alarm lose their content
  std::uint64_t bump = 0;       // the backend's newest revision is raised by this much
  // The member ID that stays, when it stays: what it published about itself is kept.
  std::optional<std::uint64_t> self;
};

struct Carried {
  std::vector<raftlog::Entry> entries;  // consecutive, from the consistent index + 1 + shift on
  std::uint64_t through = 0;            // last index of the old log that they stand for
  std::uint64_t emptied = 0;            // of these, entries whose content was taken out
  Loss loss;
  std::vector<std::string> lost;  // one line each
};

// Normal entries as they are. Configuration changes, and what former members published about
// themselves, become entries without content: in a cluster that does not know these members, etcd
// panics on the latter (membership/cluster.go, UpdateAttributes). Without a usable log nothing is
// carried, and the loss says so. Error: kRefused "tail-too-large".
Result<Carried> CarryTail(const FileView& data, const Findings& findings,
                          const CarryOptions& options);

}  // namespace rescue::etcd
