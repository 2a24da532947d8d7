// Reading etcd's write-ahead log: a directory of segment files (FORMAT.md).
//
// ReadLog verifies the whole chain and returns an index of the entries plus an exact description of
// where and how the log ends. It never writes. append.h continues a log at that end.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "rescue/base/file.h"
#include "rescue/base/result.h"
#include "rescue/raftlog/raft.h"

namespace rescue::raftlog {

// "%016x-%016x.wal": the file's number in the chain and the first entry index that it may hold.
// etcd: wal/util.go, walName.
struct SegmentName {
  std::uint64_t sequence = 0;
  std::uint64_t first_index = 0;
  bool operator==(const SegmentName&) const = default;
};
std::string FormatSegmentName(const SegmentName& name);
// Nothing for any other name, among them "0.tmp" and "*.wal.broken".
std::optional<SegmentName> ParseSegmentName(std::string_view file_name);

struct Segment {
  SegmentName name;
  std::string path;        // in the view
  std::uint64_t size = 0;  // of the file, bytes
  std::uint64_t used = 0;  // end of its last good record
  std::uint64_t records = 0;
};

// Where one entry lies. Offsets are absolute in the segment's file.
struct EntryRef {
  std::uint64_t term = 0;
  std::uint64_t index = 0;
  std::uint64_t record_offset = 0;  // of the frame's length word
  std::uint64_t data_offset = 0;    // of the entry's data
  std::uint64_t data_size = 0;      // bytes; 0 = no operation
  std::uint32_t segment = 0;        // in Log::segments
  EntryType type = EntryType::kNormal;
};

// A snapshot record: from `index` on, the log can be replayed over the snapshot of that index.
// {0, 0} is written when a log is created. conf_state is there since etcd 3.5.
struct SnapshotMark {
  std::uint64_t index = 0;
  std::uint64_t term = 0;
  std::optional<ConfState> conf_state;
  std::uint32_t segment = 0;
  std::uint64_t offset = 0;  // of the frame's length word
};

// etcdserverpb.Metadata: whose log this is. The same in every segment.
struct Metadata {
  std::uint64_t node_id = 0;
  std::uint64_t cluster_id = 0;
  bool operator==(const Metadata&) const = default;
};

enum class TailKind {
  // Only zeros, or the end of the file, after the last record.
  kClean,
  // What etcd cuts off (or overlooks) by itself at its next start: a frame that is longer than the
  // file, a bad record with a 512-byte sector of zeros in it, or leftovers behind a zero length
  // word. Nothing valid follows.
  kTorn,
  // The last record is bad in a way that etcd refuses ("crc mismatch", no sector of zeros in it),
  // but nothing valid follows, so it is the end of the log all the same.
  kTornUnlikeEtcd,
  // Records are lost: valid ones follow the bad one, the damage lies in an earlier segment, a
  // segment is missing, or the records contradict each other. The log up to the damage is usable.
  kDamaged,
};

// Where the log ends. Everything before `offset` of `segment` is verified.
struct Tail {
  TailKind kind = TailKind::kClean;
  std::uint32_t segment = 0;      // in Log::segments
  std::string path;               // of that segment
  std::uint64_t offset = 0;       // end of the last good record: where the next one goes
  std::uint32_t crc = 0;          // running checksum there
  std::uint64_t file_size = 0;    // of that segment
  std::uint64_t nonzero_end = 0;  // behind the last byte that is not zero; == offset: only zeros
  // The segment's head is lost, which happens only when damage hits a fresh segment. The next
  // append writes it again, since etcd may start reading at this segment.
  bool lacks_crc_record = false;
  bool lacks_metadata_record = false;
  // Unless kClean: why the log ends here, as a stable code and as one line with the position.
  // Codes: log-torn-frame, log-torn-record, log-zeroed (zero length word, leftovers behind it),
  // log-crc-mismatch, log-record-malformed, log-record-unknown, log-hole, log-segment-missing,
  // log-metadata-conflict.
  std::string code;
  std::string reason;

  // What can still be recognised behind the end (kDamaged; otherwise 0). Indexes are those of
  // readable entries in the same segment, 0 = none.
  std::uint64_t records_behind = 0;
  std::uint64_t first_index_behind = 0;
  std::uint64_t last_index_behind = 0;
  // Segments after this one, and their bytes in use by file size.
  std::uint64_t segments_behind = 0;
  std::uint64_t segment_bytes_behind = 0;

  // Bytes that the next append cuts off (0 for kClean).
  std::uint64_t cut_bytes() const { return nonzero_end - offset; }
};

struct LogStatistics {
  std::uint64_t records = 0;
  std::uint64_t bytes = 0;           // of good frames
  std::uint64_t largest_record = 0;  // bytes; etcd 3.4 refuses records of 10 MiB and more
};

struct Log {
  std::string directory;
  std::vector<Segment> segments;  // every segment file, also those behind damage; by sequence
  Metadata metadata;
  Bytes metadata_record;                // the same as it lies there; etcd compares the bytes
  std::optional<HardState> hard_state;  // the last one
  std::vector<SnapshotMark> marks;      // in log order
  // The entries after overrides: consecutive indexes, the newest version of each. They start
  // behind a mark when older segments were purged or a snapshot was received.
  std::vector<EntryRef> entries;
  std::uint64_t overridden = 0;  // entries that later ones replaced (leader changes)
  std::uint64_t superseded = 0;  // entries dropped because a received snapshot skipped ahead
  // Of the last entry that tells: what an append continues. kEtcd34 when there is none.
  WireForm wire_form = WireForm::kEtcd34;
  Tail tail;
  LogStatistics statistics;
  std::vector<std::string> notes;  // one line each: ignored files, oddities that etcd tolerates

  // The newest mark that etcd would start from: the highest index that the last hard state has
  // committed; nullptr when there is none. etcd: wal/wal.go, ValidSnapshotEntries.
  const SnapshotMark* newest_mark() const;
  // Index of the last entry, or of newest_mark() when that is higher (a snapshot was received and
  // nothing after it); 0 for a fresh log. The next entry gets last_index() + 1.
  std::uint64_t last_index() const;
  // Term of that entry or mark.
  std::uint64_t last_term() const;
  // True when a state that contains everything up to `index` can be brought to last_index(): every
  // entry in between is there, and `index` is not beyond the log.
  bool CanReplayAfter(std::uint64_t index) const;
  // The entry of that index; nullptr when the log does not hold it.
  const EntryRef* Find(std::uint64_t index) const;
};

struct ReadOptions {
  // Segments with a lower sequence are left out, for logs whose older part is lost.
  std::uint64_t from_sequence = 0;
  // Limits against hostile files; beyond them ReadLog fails with "log-too-large" (kRefused).
  // etcd preallocates 64 000 000 bytes, and one record may push a segment past that.
  std::uint64_t max_segment_bytes = std::uint64_t{1} << 30;
  std::uint64_t max_record_bytes = std::uint64_t{256} << 20;
  std::uint64_t max_entries = std::uint64_t{8} << 20;  // 48 bytes of memory each
};

// Reads all segments in `wal_directory`, streaming. Damage does not fail: it ends the log (Tail).
// Fails when nothing is usable: "log-missing" (no segment), "log-metadata-missing" (damage before
// the metadata record), both kDataDamaged; "log-too-large"; or the view's own errors.
Result<Log> ReadLog(const FileView& view, std::string_view wal_directory,
                    const ReadOptions& options = {});

// Reads entries of a log with their data; keeps the segment's file open between calls. The log and
// the view must outlive it. Fails with "log-changed" when the place no longer holds that entry.
class EntryReader {
 public:
  EntryReader(const FileView& view, const Log& log);
  ~EntryReader();
  Result<Entry> Read(const EntryRef& ref);

 private:
  const FileView& view_;
  const Log& log_;
  struct OpenSegment;
  std::unique_ptr<OpenSegment> open_;
};

// One entry; for many, use EntryReader.
Result<Entry> ReadEntry(const FileView& view, const Log& log, const EntryRef& ref);

// The entries with `after` < index <= `through` that change the membership (kConfChange and
// kConfChangeV2), in order.
Result<std::vector<Entry>> ReadConfChangeEntries(const FileView& view, const Log& log,
                                                 std::uint64_t after, std::uint64_t through);

}  // namespace rescue::raftlog
