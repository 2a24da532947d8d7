// The records of bucket "key", where etcd keeps every revision of every key that was not compacted.
//
// A record's key is its revision (revision.h), so the bucket's order is the order in
// which the writes happened. Its value is mvccpb.KeyValue; a deletion (tombstone) has only the key
// in it. Sources: mvcc/revision.go, api/mvccpb/kv.proto, mvcc/kvstore.go (restore).
#pragma once

#include <cstdint>
#include <functional>

#include "rescue/base/bytes.h"
#include "rescue/base/result.h"
#include "rescue/bolt/database.h"
#include "rescue/mvcc/revision.h"

namespace rescue::mvcc {

inline constexpr std::string_view kKeyBucket = "key";

struct KeyRecord {
  Revision revision;
  bool tombstone = false;
  ByteView key;  // empty in the record that `etcdutl snapshot restore --bump-revision` leaves
  std::uint64_t create_revision = 0;  // these three are 0 in a tombstone
  std::uint64_t mod_revision = 0;
  std::uint64_t version = 0;
  ByteView value;
  std::uint64_t lease = 0;  // 0: none
  // As they lie in the backend.
  ByteView raw_key;
  ByteView raw_value;
};

// The views end with `key` and `value`. Error "bad-key-record" (kDataDamaged).
Result<KeyRecord> DecodeKeyRecord(ByteView key, ByteView value);

// In the order of revisions, until the visitor returns false. The views end with the call. A
// missing bucket has no records. Errors: those of bolt, and "bad-key-record" with the revision.
Status ForEachKeyRecord(const bolt::Database& database,
                        const std::function<bool(const KeyRecord&)>& visit);

// Which revisions a server that started on this backend would answer for (mvcc/kvstore.go,
// restore).
struct RevisionBounds {
  std::uint64_t latest = 1;         // an empty key space is at revision 1
  std::uint64_t compacted = 0;      // of the last compaction, also one that was not finished
  bool compaction_pending = false;  // etcd resumes it when it starts
};
Result<RevisionBounds> ReadRevisionBounds(const bolt::Database& database);

// `wanted`, or the latest for 0. Errors (kUsage): "revision-compacted", "revision-future".
Result<std::uint64_t> ChooseRevision(const RevisionBounds& bounds, std::uint64_t wanted);

}  // namespace rescue::mvcc
