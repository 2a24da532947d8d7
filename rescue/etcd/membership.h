// Who is in the cluster according to each of the places that say so, and where they differ.
//
// The places are written at different moments, so some differences are normal: a .snap knows
// nothing of changes behind its index, and etcd before 3.5.20 never updates a record in bucket
// members (server/etcdserver/api/membership/cluster.go). What they mean for the next start, boot.h
// says.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "rescue/etcd/findings.h"

namespace rescue::etcd {

enum class MembershipPlace {
  kSnapConfState,     // raft's configuration in the newest .snap
  kLog,               // that one and the configuration changes behind it, to the end of the log
  kBackendConfState,  // meta/confState, 3.5 and later
  kBackendMembers,    // buckets members and members_removed
  kStoreV2,           // v2 store inside the newest .snap
};
std::string_view Name(MembershipPlace place);

enum class MemberRole { kAbsent, kVoter, kLearner, kRemoved };
std::string_view Name(MemberRole role);

struct PlaceView {
  MembershipPlace place = MembershipPlace::kLog;
  bool present = false;
  std::string note;         // why it is not present; empty otherwise
  std::uint64_t index = 0;  // the log entry up to which it speaks
  // Of the members that it names; the others are absent.
  std::map<std::uint64_t, MemberRole> roles;

  MemberRole RoleOf(std::uint64_t id) const;
};

struct MembershipRow {
  std::uint64_t id = 0;
  bool survivor = false;
  // From the place that knows best: backend, v2 store, log.
  std::string name;
  std::vector<std::string> peer_urls;
  std::vector<MemberRole> roles;  // one a place, in the order of MembershipAudit::places
  // The places that are present do not say the same.
  bool differs = false;
};

struct MembershipAudit {
  std::uint64_t cluster_id = 0;  // 0 without a log
  std::uint64_t survivor = 0;    // 0 without a log
  std::vector<PlaceView> places;
  std::vector<MembershipRow> rows;       // ascending ID
  std::vector<std::string> differences;  // one line each
};

MembershipAudit AuditMembership(const Findings& findings);

}  // namespace rescue::etcd
