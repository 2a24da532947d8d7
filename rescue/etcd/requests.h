// What a normal log entry asks etcd to do. We never apply requests; we read them to say what lives
// only in the log, which alarms it would raise, and what members published about themselves.
//
// Source: InternalRaftRequest, raft_internal.proto, and Request, etcdserver.proto (etcd 3.4
// to 3.7).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "rescue/base/bytes.h"
#include "rescue/base/result.h"

namespace rescue::etcd {

enum class RequestKind {
  kEmpty,  // a new leader's no-op
  kPut,
  kDeleteRange,
  kTransaction,
  kCompaction,
  kLeaseGrant,
  kLeaseRevoke,
  kLeaseCheckpoint,
  kAlarm,
  kAuth,
  kMembership,  // a member's attributes, the cluster version or a downgrade
  kOther,
};

enum class AlarmType { kNone = 0, kNoSpace = 1, kCorrupt = 2 };

struct Alarm {
  std::uint64_t member_id = 0;
  AlarmType type = AlarmType::kNone;
  bool operator==(const Alarm&) const = default;
};

struct AlarmRequest {
  bool activate = false;  // otherwise it asks or deactivates
  bool deactivate = false;
  Alarm alarm;
  bool operator==(const AlarmRequest&) const = default;
};

struct PublishedAttributes {
  std::uint64_t member_id = 0;
  std::string name;
  std::vector<std::string> client_urls;
  bool operator==(const PublishedAttributes&) const = default;
};

struct Request {
  RequestKind kind = RequestKind::kOther;
  std::optional<AlarmRequest> alarm;
  std::optional<PublishedAttributes> published;
  std::string cluster_version;  // set by this request; empty otherwise
  bool v2_key = false;          // a key of the v2 API, which is kept in .snap files only

  // True when applying it may take a new revision.
  bool MayWrite() const {
    return kind == RequestKind::kPut || kind == RequestKind::kDeleteRange ||
           kind == RequestKind::kTransaction || kind == RequestKind::kLeaseRevoke;
  }
};

// Fails ("bad-request", kDataDamaged) for bytes that are neither form; the caller goes on.
Result<Request> DecodeRequest(ByteView data);

// Keys from `key` on, below `end`; an empty `end` means this key alone, "\0" means no limit
// (RangeRequest.range_end, rpc.proto).
struct KeyRange {
  Bytes key;
  Bytes end;
  bool operator==(const KeyRange&) const = default;
};
bool Overlap(const KeyRange& a, const KeyRange& b);

// How a request depends on the numbers of revisions: what it may write, and whose create or
// modification revision it compares with a number other than 0. When such a key was written shortly
// before, the answer depends on which revision that write was given.
struct RevisionUse {
  std::vector<KeyRange> writes;
  std::vector<KeyRange> compares;
};
// Fails like DecodeRequest. Transactions inside transactions are followed for 16 levels.
Result<RevisionUse> DecodeRevisionUse(ByteView data);

}  // namespace rescue::etcd
