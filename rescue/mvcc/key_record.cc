#include "rescue/mvcc/key_record.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "rescue/raftlog/proto.h"

namespace rescue::mvcc {
namespace {

tl::unexpected<Error> BadRecord(ByteView key, std::string_view reason) {
  return Fail(
      ErrorKind::kDataDamaged, "bad-key-record",
      fmt::format("bucket key: record {}: {}",
                  ToHex(key.first(std::min<std::size_t>(key.size(), kTombstoneSize))), reason),
      "check the backend (inspect); if it is damaged, use another survivor or a backup");
}

Result<std::uint64_t> ReadRevisionOf(const bolt::Bucket& meta, std::string_view name) {
  ASSIGN_OR_RETURN(const auto value, meta.Get(AsBytes(name)));
  if (!value) return std::uint64_t{0};
  const auto revision = DecodeRevision(*value);
  if (!revision) {
    return Fail(ErrorKind::kDataDamaged, "bad-compact-revision",
                fmt::format("bucket meta: {} is not a revision", name),
                "check the backend (inspect); use another survivor or a backup");
  }
  return revision->main;
}

}  // namespace

Result<KeyRecord> DecodeKeyRecord(ByteView key, ByteView value) {
  KeyRecord record;
  const auto revision = DecodeRevision(key);
  if (!revision) return BadRecord(key, "its key is not a revision");
  record.revision = *revision;
  record.tombstone = key.size() == kTombstoneSize;
  record.raw_key = key;
  record.raw_value = value;
  const Status read = raftlog::ReadFields(value, "KeyValue", [&](raftlog::ProtoReader& field) {
    switch (field.tag()) {
      case 1:
        return raftlog::TakeBytes(field, record.key);
      case 2:
        return raftlog::TakeUint64(field, record.create_revision);
      case 3:
        return raftlog::TakeUint64(field, record.mod_revision);
      case 4:
        return raftlog::TakeUint64(field, record.version);
      case 5:
        return raftlog::TakeBytes(field, record.value);
      case 6:
        return raftlog::TakeUint64(field, record.lease);
      default:
        field.skip();
        return true;
    }
  });
  if (!read) return BadRecord(key, "its value is not a key-value message");
  return record;
}

Status ForEachKeyRecord(const bolt::Database& database,
                        const std::function<bool(const KeyRecord&)>& visit) {
  ASSIGN_OR_RETURN(const auto bucket, database.FindBucket(AsBytes(kKeyBucket)));
  if (!bucket) return {};
  std::optional<Error> failure;
  RETURN_IF_ERROR(bucket->ForEach([&](ByteView key, ByteView value, bool is_bucket) {
    const auto record = is_bucket ? BadRecord(key, "is a bucket") : DecodeKeyRecord(key, value);
    if (record) return visit(*record);
    failure = record.error();
    return false;
  }));
  if (failure) return Fail(*std::move(failure));
  return {};
}

Result<RevisionBounds> ReadRevisionBounds(const bolt::Database& database) {
  RevisionBounds bounds;
  ASSIGN_OR_RETURN(const auto meta, database.FindBucket(AsBytes("meta")));
  if (meta) {
    ASSIGN_OR_RETURN(const auto finished, ReadRevisionOf(*meta, "finishedCompactRev"));
    ASSIGN_OR_RETURN(const auto scheduled, ReadRevisionOf(*meta, "scheduledCompactRev"));
    bounds.compacted = std::max(finished, scheduled);
    bounds.compaction_pending = scheduled > finished;
  }
  ASSIGN_OR_RETURN(const auto bucket, database.FindBucket(AsBytes(kKeyBucket)));
  if (bucket) {
    ASSIGN_OR_RETURN(const auto last, bucket->Last());
    if (last) {
      const auto revision = DecodeRevision(last->first);
      if (!revision) return BadRecord(last->first, "its key is not a revision");
      bounds.latest = std::max(bounds.latest, revision->main);
    }
  }
  // The last write may have been a deletion that was compacted away.
  bounds.latest = std::max(bounds.latest, bounds.compacted);
  return bounds;
}

Result<std::uint64_t> ChooseRevision(const RevisionBounds& bounds, std::uint64_t wanted) {
  if (wanted == 0) return bounds.latest;
  if (wanted < bounds.compacted) {
    return Fail(ErrorKind::kUsage, "revision-compacted",
                fmt::format("look at revision {}: revisions below {} were compacted", wanted,
                            bounds.compacted),
                fmt::format("choose a revision from {} to {}", bounds.compacted, bounds.latest));
  }
  if (wanted > bounds.latest) {
    return Fail(ErrorKind::kUsage, "revision-future",
                fmt::format("look at revision {}: the backend ends at {}", wanted, bounds.latest),
                fmt::format("choose a revision from {} to {}",
                            std::max<std::uint64_t>(bounds.compacted, 1), bounds.latest));
  }
  return wanted;
}

}  // namespace rescue::mvcc
