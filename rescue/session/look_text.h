// What the commands that only look have found, as lines for people: at most 80 columns wide, but
// for keys, values and reasons, which are as long as they are.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "rescue/etcd/compare.h"
#include "rescue/etcd/findings.h"
#include "rescue/etcd/hash.h"
#include "rescue/etcd/keyspace.h"
#include "rescue/etcd/membership.h"
#include "rescue/etcd/snapshot_status.h"

namespace rescue::session {

// What the log holds beyond the backend; nothing when that is not known (a file).
struct LogOnly {
  std::uint64_t entries = 0;
  std::uint64_t may_write = 0;  // of these
};
std::vector<std::string> ToText(const LogOnly& log);

std::vector<std::string> ToText(const etcd::KeySpaceHash& hash);
std::vector<std::string> ToText(const etcd::SnapshotStatus& status);
std::vector<std::string> ToText(const etcd::KeyListing& range);
std::vector<std::string> ToText(const etcd::MembershipAudit& audit);
std::vector<std::string> ToText(const etcd::Comparison& comparison);

}  // namespace rescue::session
