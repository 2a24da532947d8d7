// What the commands that only look have found, as JSON; the rules are those of json.h.
#pragma once

#include <nlohmann/json.hpp>

#include "rescue/etcd/compare.h"
#include "rescue/etcd/hash.h"
#include "rescue/etcd/keyspace.h"
#include "rescue/etcd/membership.h"
#include "rescue/etcd/snapshot_status.h"

namespace rescue::etcd {

nlohmann::json ToJson(const KeySpaceHash& hash);
nlohmann::json ToJson(const SnapshotStatus& status);
// Keys and values are base64, as in etcd's own JSON.
nlohmann::json ToJson(const KeyListing& range);
nlohmann::json ToJson(const MembershipAudit& audit);
nlohmann::json ToJson(const Comparison& comparison);

}  // namespace rescue::etcd
