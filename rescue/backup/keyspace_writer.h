// Writes what a backup's deltas say into the key space of a backend that was just copied, exactly
// as etcd would have: one record a change, with the revision, create revision, version and lease
// that the event carries.
//
// Revisions only grow, so records are appended at the right edge of bucket "key" (bolt/append.h).
// What the backend holds already is skipped, and compared as far as that is cheap: a full backup
// mostly reaches a little further than its name says, so the first delta repeats some revisions.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "rescue/backup/events.h"
#include "rescue/base/file.h"
#include "rescue/base/result.h"
#include "rescue/bolt/append.h"
#include "rescue/bolt/database.h"
#include "rescue/mvcc/revision.h"

namespace rescue::backup {

class KeyspaceWriter {
 public:
  // `path` is a backend that nobody else uses; `files` must outlive the writer. Errors: those of
  // bolt::BucketAppender::Open; "bad-key-record" when the last record is none.
  static Result<KeyspaceWriter> Open(FileSystem& files, std::string path);

  // In the order of revisions. Errors (kDataDamaged): "delta-order" for a change that does not come
  // after the one before it; "delta-disagrees" for one that the backend holds otherwise.
  Status Apply(const Event& event);
  // The new root; the file is to be synced afterwards. Once.
  Status Finish();

  std::uint64_t base_revision() const { return base_.main; }  // what the backend came with
  std::uint64_t revision() const { return reached_.main; }    // of the newest record
  std::uint64_t applied() const { return appender_.appended(); }
  std::uint64_t repeated() const { return repeated_; }  // changes that were there already
  std::uint64_t bytes_written() const { return appender_.bytes_written(); }

 private:
  KeyspaceWriter(std::unique_ptr<ReadableFile> file, bolt::BucketAppender appender,
                 bolt::Bucket bucket)
      : file_(std::move(file)), appender_(std::move(appender)), bucket_(std::move(bucket)) {}
  Status Compare(const Event& event, ByteView key);

  std::unique_ptr<ReadableFile> file_;
  bolt::BucketAppender appender_;
  bolt::Bucket bucket_;  // as it was before
  std::uint64_t compacted_ = 0;
  mvcc::Revision base_;
  mvcc::Revision reached_;
  mvcc::Revision last_event_;
  std::uint64_t repeated_ = 0;
  std::string record_;
};

// The value of an event's record: mvccpb.KeyValue, of a tombstone with nothing but the key
// (server/storage/mvcc/kvstore_txn.go, put and delete).
void EncodeKeyRecord(const Event& event, std::string& into);

}  // namespace rescue::backup
