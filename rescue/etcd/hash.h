// The hash over the history of the key space: the number that `etcdctl endpoint hashkv` and
// `etcdutl hashkv` print. Two members that give the same number for the same revision and the same
// compact revision hold the same data.
//
// The rule (mvcc/hash.go, kvHasher; mvcc/kvstore.go, hashByRev; the same from 3.4 to 3.7):
// CRC-32C over "key" and then over every record's key and value, in order, of the revisions up to
// the wanted one; of those at or below the compact revision only what a reader at the wanted
// revision can still see, so that the number does not depend on how far a compaction got. If no key
// lives at the wanted revision, nothing is left out (but a tombstone at the compact revision).
//
// Three differences to a running server:
//  - Since 3.5.5 a server that has compacted since its start remembers the hash that it computed
//    while it compacted revision C, and answers with it when asked for exactly C; that one covers
//    records that are gone from the backend. After a restart it gives the number given here.
//  - 3.4 before 3.4.27 and 3.5 before 3.5.10 refuse the compact revision itself.
//  - Writes that are in the log only are not covered; a server has applied them.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "rescue/base/result.h"
#include "rescue/bolt/database.h"

namespace rescue::etcd {

struct KeySpaceHash {
  std::uint32_t hash = 0;
  std::uint64_t revision = 0;          // the one that was hashed
  std::uint64_t compact_revision = 0;  // that belongs to the hash; 0: none, which etcd prints as -1
  std::uint64_t latest_revision = 0;   // of the backend
  bool compaction_pending = false;     // see RevisionBounds
  std::uint64_t records = 0;           // that were hashed

  bool operator==(const KeySpaceHash&) const = default;
};

struct HashOptions {
  std::uint64_t revision = 0;  // 0: the latest
  // Hash as if everything up to here had been compacted: the only way to compare members that were
  // compacted at different revisions. Not below the backend's own compact revision and not above
  // the hashed one ("revision-compacted", "revision-future"). What no reader can see is then left
  // out in any case.
  std::optional<std::uint64_t> compact_revision;
  // Bytes of records done, in all passes, and an upper bound.
  std::function<void(std::uint64_t, std::uint64_t)> progress;
};

// Memory: one bit a record and 32 to 64 bytes a key, of those at or below the compact revision.
// Errors: those of ForEachKeyRecord and ChooseRevision (key_record.h); "too-many-keys" (kRefused).
Result<KeySpaceHash> HashKeySpace(const bolt::Database& database, const HashOptions& options = {});

}  // namespace rescue::etcd
