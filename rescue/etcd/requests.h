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
  std::optional<AlarmRequest> alarm;             // kAlarm only
  std::optional<PublishedAttributes> published;  // kMembership only
  std::string cluster_version;  // kMembership only: set by this request; empty otherwise
  bool v2_key = false;          // a key of the v2 API, which is kept in .snap files only

  // True when applying it may take a new revision.
  bool MayWrite() const {
    return kind == RequestKind::kPut || kind == RequestKind::kDeleteRange ||
           kind == RequestKind::kTransaction || kind == RequestKind::kLeaseRevoke;
  }
};

// Fails ("bad-request", kDataDamaged) for bytes that are neither form; the caller goes on.
Result<Request> DecodeRequest(ByteView data);

// The same request for a key space whose new revisions start `by` higher: every revision above
// `above` that it compares, reads at or compacts is raised by that much; revisions up to `above`
// are the same in both. Nothing when there is none such, so that the request can stay as it is.
// What this is for: a client compares the revision that its own last write was given
// (TxnRequest.compare), and when both writes live only in the log, a bump between backend and log
// would let the second one fail, although it was acknowledged. Seen on 1 of 9 killed survivors.
Result<std::optional<Bytes>> ShiftRevisions(ByteView data, std::uint64_t above, std::uint64_t by);

}  // namespace rescue::etcd
