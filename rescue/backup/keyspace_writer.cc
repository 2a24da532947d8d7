#include "rescue/backup/keyspace_writer.h"

#include <fmt/format.h>

#include <utility>

#include "rescue/base/exchange.h"
#include "rescue/mvcc/key_record.h"
#include "rescue/raftlog/proto.h"

namespace rescue::backup {
namespace {

// A look at one record costs a few reads; a delta that repeats more than this many was made by
// someone else's clock, and its digest has to do.
constexpr std::uint64_t kMostCompared = 20'000;

}  // namespace

void EncodeKeyRecord(const Event& event, std::string& into) {
  into.clear();
  raftlog::ProtoWriter writer(into);
  writer.add_bytes(1, event.key.data(), event.key.size());
  if (event.tombstone) return;
  if (event.create_revision != 0) writer.add_uint64(2, event.create_revision);
  if (event.main != 0) writer.add_uint64(3, event.main);
  if (event.version != 0) writer.add_uint64(4, event.version);
  if (!event.value.empty()) writer.add_bytes(5, event.value.data(), event.value.size());
  if (event.lease != 0) writer.add_uint64(6, event.lease);
}

Result<KeyspaceWriter> KeyspaceWriter::Open(FileSystem& files, std::string path) {
  ASSIGN_OR_RETURN(auto file, files.Open(path));
  FileSystem* const target = &files;
  auto appender = bolt::BucketAppender::Open(
      *file, std::string(mvcc::kKeyBucket),
      [target, path = std::move(path)](std::uint64_t offset, ByteView bytes) -> Status {
        RETURN_IF_ERROR(target->WriteAt(path, offset, bytes));
        StartWriting(*target, path, offset, bytes.size());
        return {};
      });
  if (!appender) return Fail(std::move(appender).error());
  ASSIGN_OR_RETURN(const auto database, bolt::Database::Open(*file));
  ASSIGN_OR_RETURN(const auto bounds, mvcc::ReadRevisionBounds(database));
  ASSIGN_OR_RETURN(auto bucket, database.FindBucket(AsBytes(mvcc::kKeyBucket)));
  mvcc::Revision last;
  if (!appender->last_key().empty()) {
    const auto revision = mvcc::DecodeRevision(appender->last_key());
    if (!revision) {
      return Fail(ErrorKind::kDataDamaged, "bad-key-record",
                  "bucket key: the last record's key is not a revision",
                  "check the backup (status); use another one");
    }
    last = *revision;
  }
  // The newest writes may have been compacted away: their revisions count all the same.
  if (bounds.latest > last.main) last = {bounds.latest, ~std::uint64_t{0}};
  KeyspaceWriter writer(std::move(file), *std::move(appender), *std::move(bucket));
  writer.compacted_ = bounds.compacted;
  writer.base_ = writer.reached_ = last;
  return writer;
}

Status KeyspaceWriter::Apply(const Event& event) {
  const mvcc::Revision revision{event.main, event.sub};
  if (event.main == 0 || (last_event_.main != 0 && revision <= last_event_)) {
    return Fail(ErrorKind::kDataDamaged, "delta-order",
                fmt::format("write revision {}.{}: it does not come after {}.{}", event.main,
                            event.sub, last_event_.main, last_event_.sub),
                "use another backup");
  }
  last_event_ = revision;
  const auto encoded = mvcc::EncodeRevision(revision);
  const ByteView key =
      ByteView(encoded).first(event.tombstone ? mvcc::kTombstoneSize : mvcc::kRevisionSize);
  EncodeKeyRecord(event, record_);
  if (event.main <= base_.main) return Compare(event, key);
  RETURN_IF_ERROR(appender_.Append(key, AsBytes(record_)));
  reached_ = revision;
  return {};
}

// A record that is older than the last compaction may be gone.
Status KeyspaceWriter::Compare(const Event& event, ByteView key) {
  if (++repeated_ > kMostCompared) return {};
  ASSIGN_OR_RETURN(const auto present, bucket_.Get(key));
  if (present ? Equal(*present, AsBytes(record_)) : event.main <= compacted_) return {};
  return Fail(ErrorKind::kDataDamaged, "delta-disagrees",
              fmt::format("compare revision {}.{} of the delta with the full backup: {}",
                          event.main, event.sub, present ? "it says otherwise" : "it is not there"),
              "full and delta are not of the same etcd: use another backup, or the full alone "
              "(--to-revision)");
}

Status KeyspaceWriter::Finish() { return appender_.Finish(); }

}  // namespace rescue::backup
