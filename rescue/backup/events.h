// The events of a delta object, one by one, in the order in which etcd made them.
//
//     [{"etcdEvent":{"type":1,"kv":{...}},"time":"..."}, ...]SHA-256 of the list (32 bytes)
//
// etcd-backup-restore v0.44 writes them (pkg/snapshot/snapshotter/snapshotter.go,
// handleDeltaWatchEvents and TakeDeltaSnapshot; event = mvccpb.Event as Go's JSON). The list is
// parsed as it streams by: memory is bounded by the largest event, whatever the object's size.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "rescue/backup/object.h"
#include "rescue/base/result.h"

namespace rescue::backup {

// One change of one key: what a record of bucket "key" says (mvcc/key_record.h).
struct Event {
  bool tombstone = false;
  // The revision: `sub` counts the changes within one transaction from 0; the store does not say
  // it, but events come in that order.
  std::uint64_t main = 0;
  std::uint64_t sub = 0;
  std::string_view key;    // never empty
  std::string_view value;  // empty for a tombstone, as the three below are 0
  std::uint64_t create_revision = 0;
  std::uint64_t version = 0;
  std::uint64_t lease = 0;  // 0: none. The lease itself is not in a delta

  bool operator==(const Event&) const = default;
};

// Larger values than any etcd accepts (its default is 1.5 MiB for a whole request).
inline constexpr std::uint64_t kMaxKeySize = std::uint64_t{4} << 20;     // bytes, decoded
inline constexpr std::uint64_t kMaxValueSize = std::uint64_t{32} << 20;  // bytes, decoded
// Plain size of a delta: etcdbrctl takes one when its events reach 100 MiB.
inline constexpr std::uint64_t kMaxDeltaSize = std::uint64_t{4} << 30;
// Changes in one transaction: a range that is deleted, or a lease that ends, may have many.
inline constexpr std::uint64_t kMaxTransaction = std::uint64_t{1} << 20;

// Reads one delta. Between the first Next() and the one that gives nothing, nothing is proven: the
// digest comes last. So what was read from an object counts only when Next() has given nullptr.
//
// Errors (kDataDamaged, with the object's name, the byte or the revision):
//   "delta-json"           not the JSON that etcdbrctl writes: syntax, types, unknown or repeated
//                          fields, base64, numbers that are negative, too large or no integers
//   "delta-truncated"      the list, or the digest behind it, ends early
//   "delta-trailing-bytes" something follows the digest
//   "delta-hash-mismatch"  the SHA-256 behind the list is another
//   "delta-event"          an event that etcd does not make: no key, a put whose create revision,
//                          version and revision do not fit, a deletion with a value
//   "delta-order"          revisions go back
//   "delta-hole"           a revision is missing between two events, or before the first
//   "delta-empty"          no events, although the name promises revisions
//   "delta-short"          it ends before the last revision of the name
//   "delta-beyond-name"    a revision after the last one of the name
//   "delta-duplicate-key"  a transaction changes a key twice
// (kRefused) "delta-too-large": a key, a value or a transaction beyond the limits above. And those
// of ByteSource. After an error the reader gives the same error again.
class EventReader {
 public:
  // `name` is the object's; `label` how messages call it. The source ends with the reader.
  EventReader(std::unique_ptr<ByteSource> source, const ObjectName& name, std::string label);
  ~EventReader();
  EventReader(EventReader&&) noexcept;
  EventReader& operator=(EventReader&&) noexcept;

  // The next event, good until the next call; nullptr after the last one, when the digest, the
  // last revision and the end of the object have been verified.
  Result<const Event*> Next();

  std::uint64_t events() const;           // given so far
  std::uint64_t stored_position() const;  // bytes of the object read so far

 private:
  class Parser;
  std::unique_ptr<Parser> parser_;
};

}  // namespace rescue::backup
