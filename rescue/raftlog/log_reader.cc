// ReadLog: one pass over all segments, in the order in which etcd reads them.
// etcd: wal/wal.go (ReadAll, ValidSnapshotEntries), wal/decoder.go, wal/repair.go.
#include <fmt/format.h>

#include <algorithm>

#include "rescue/base/checksum.h"
#include "rescue/base/units.h"
#include "rescue/raftlog/frame_reader.h"
#include "rescue/raftlog/log.h"

namespace rescue::raftlog {
namespace {

// Limits that only hostile logs reach; each mark may bring a ConfState.
constexpr std::size_t kMaxMarks = 65536;

constexpr std::byte kConfChangeIdTag{0x08};  // raftpb.ConfChange, field 1

// Why reading stops before the log's natural end.
struct Damage {
  TailKind kind = TailKind::kDamaged;  // when it is in the last segment with nothing behind it
  std::string code;
  std::string what;
};

class LogScanner {
 public:
  LogScanner(const FileView& view, std::string_view directory, const ReadOptions& options)
      : view_(view), options_(options) {
    log_.directory = std::string(directory);
  }

  Result<Log> Run();

 private:
  Status ListSegments();
  Status NoSegment() const;
  void AddSegment(const DirectoryEntry& entry, const SegmentName& name);
  Status CheckSizes();
  Status ScanSegment(std::uint32_t number);
  void TakeFrame(const Frame& frame);
  void TakeRecord(const Frame& frame, const Record& record);
  void TakeEntry(const Frame& frame, const Record& record);
  void TakeCrc(const Record& record);
  void TakeMetadata(const Record& record);
  void TakeMark(const Frame& frame, const Record& record);
  bool MakeRoomFor(std::uint64_t index);
  void Stop(TailKind kind, std::string code, std::string what);
  Status Finish(std::uint32_t number);
  Status ClassifyEnd(const ReadableFile& file, std::uint32_t number);
  void DropSuperseded();
  std::string Position(std::uint64_t offset) const {
    return fmt::format("{} at {}", log_.segments[number_].path, offset);
  }

  const FileView& view_;
  const ReadOptions options_;
  Log log_;
  std::uint32_t number_ = 0;  // of the segment being read
  std::uint64_t offset_ = 0;  // in it: end of the last good record
  std::uint32_t crc_ = 0;
  bool is_last_ = false;
  bool segment_has_crc_ = false;
  bool segment_has_metadata_ = false;
  std::uint64_t highest_mark_ = 0;
  std::optional<Bytes> metadata_;
  std::optional<Damage> damage_;
  bool too_many_records_ = false;
};

Status LogScanner::NoSegment() const {
  return Fail(ErrorKind::kDataDamaged, "log-missing",
              fmt::format("read log: no segment (*.wal) in {}", Printable(log_.directory)),
              "without a log only the strategy restore is possible");
}

Status LogScanner::ListSegments() {
  auto names = view_.List(log_.directory);
  if (!names && !IsNotFound(names.error())) return Fail(std::move(names).error());
  if (!names) return NoSegment();
  for (const DirectoryEntry& entry : *names) {
    const auto name = ParseSegmentName(entry.name);
    if (name && entry.type != FileType::kDirectory && entry.type != FileType::kOther) {
      AddSegment(entry, *name);
    } else if (entry.name.ends_with(".tmp")) {
      log_.notes.push_back(
          fmt::format("ignored {}: preallocated for the next segment", Printable(entry.name)));
    } else if (entry.name.ends_with(".broken")) {
      log_.notes.push_back(fmt::format("ignored {}: the copy that etcd made when it cut a torn log",
                                       Printable(entry.name)));
    } else {
      log_.notes.push_back(fmt::format("ignored {}: not a segment", Printable(entry.name)));
    }
  }
  if (log_.segments.empty()) return NoSegment();
  return {};
}

void LogScanner::AddSegment(const DirectoryEntry& entry, const SegmentName& name) {
  if (name.sequence < options_.from_sequence) {
    log_.notes.push_back(fmt::format("left out {}, as asked for", entry.name));
    return;
  }
  log_.segments.push_back(Segment{name, JoinPath(log_.directory, entry.name), 0, 0, 0});
}

Status LogScanner::CheckSizes() {
  for (Segment& segment : log_.segments) {
    ASSIGN_OR_RETURN(const auto file, view_.Open(segment.path));
    segment.size = file->size();
    if (segment.size > options_.max_segment_bytes) {
      return Fail(ErrorKind::kRefused, "log-too-large",
                  fmt::format("read log: {} has {}, at most {} are read", segment.path,
                              FormatSize(segment.size), FormatSize(options_.max_segment_bytes)),
                  "etcd's segments have 64 MB; this file does not come from etcd");
    }
  }
  return {};
}

void LogScanner::Stop(TailKind kind, std::string code, std::string what) {
  damage_ = Damage{kind, std::move(code), std::move(what)};
}

// Makes `index` the next one to append: drops what it overrides, or what a received snapshot
// skipped. False when entries are missing in between.
bool LogScanner::MakeRoomFor(std::uint64_t index) {
  auto& entries = log_.entries;
  if (entries.empty()) return true;
  if (index > entries.back().index + 1) {
    if (highest_mark_ < index - 1) return false;
    log_.superseded += entries.size();
    entries.clear();
    return true;
  }
  const std::uint64_t kept = index > entries.front().index ? index - entries.front().index : 0;
  log_.overridden += entries.size() - kept;
  entries.resize(static_cast<std::size_t>(kept));
  return true;
}

void LogScanner::TakeEntry(const Frame& frame, const Record& record) {
  const auto outline = DecodeEntryOutline(record.data);
  if (!outline || outline->index == 0) {
    Stop(TailKind::kDamaged, "log-record-malformed", "the entry cannot be decoded");
    return;
  }
  if (!MakeRoomFor(outline->index)) {
    Stop(TailKind::kDamaged, "log-hole",
         fmt::format("entry {} follows entry {}", outline->index, log_.entries.back().index));
    return;
  }
  if (log_.entries.size() >= options_.max_entries) {
    too_many_records_ = true;
    return;
  }
  EntryRef ref;
  ref.term = outline->term;
  ref.index = outline->index;
  ref.type = outline->type;
  ref.segment = number_;
  ref.record_offset = frame.offset;
  ref.data_offset = frame.offset + kLengthWordBytes + record.data_offset + outline->data_offset;
  ref.data_size = outline->data_size;
  log_.entries.push_back(ref);
  if (outline->type == EntryType::kNormal) {
    log_.wire_form = outline->form;
  } else if (outline->type == EntryType::kConfChange && outline->data_size > 0 &&
             record.data[static_cast<std::size_t>(outline->data_offset)] != kConfChangeIdTag) {
    // Before the first normal entry only a ConfChange without an id tells.
    log_.wire_form = WireForm::kEtcd37;
  }
}

void LogScanner::TakeCrc(const Record& record) {
  // A fresh chain (0) takes any value: the older segments were purged.
  if (crc_ != 0 && record.crc != crc_) {
    Stop(
        TailKind::kTornUnlikeEtcd, "log-crc-mismatch",
        fmt::format("the segment continues checksum {:08x}, but the one before it ends with {:08x}",
                    record.crc, crc_));
    return;
  }
  crc_ = record.crc;
  segment_has_crc_ = true;
}

void LogScanner::TakeMetadata(const Record& record) {
  if (metadata_ && !Equal(*metadata_, record.data)) {
    Stop(TailKind::kDamaged, "log-metadata-conflict",
         "member or cluster ID differ from those at the start of the log");
    return;
  }
  const auto metadata = DecodeMetadata(record.data);
  if (!metadata) {
    Stop(TailKind::kDamaged, "log-record-malformed", "the metadata cannot be decoded");
    return;
  }
  metadata_ = ToBytes(record.data);
  log_.metadata = *metadata;
  log_.metadata_record = ToBytes(record.data);
  segment_has_metadata_ = true;
}

void LogScanner::TakeMark(const Frame& frame, const Record& record) {
  auto mark = DecodeSnapshotMark(record.data);
  if (!mark) {
    Stop(TailKind::kDamaged, "log-record-malformed", "the snapshot record cannot be decoded");
    return;
  }
  mark->segment = number_;
  mark->offset = frame.offset;
  highest_mark_ = std::max(highest_mark_, mark->index);
  if (log_.marks.size() >= kMaxMarks) {
    too_many_records_ = true;
    return;
  }
  log_.marks.push_back(*std::move(mark));
}

void LogScanner::TakeRecord(const Frame& frame, const Record& record) {
  switch (record.type) {
    case static_cast<std::uint64_t>(RecordType::kMetadata):
      return TakeMetadata(record);
    case static_cast<std::uint64_t>(RecordType::kEntry):
      return TakeEntry(frame, record);
    case static_cast<std::uint64_t>(RecordType::kCrc):
      return TakeCrc(record);
    case static_cast<std::uint64_t>(RecordType::kSnapshot):
      return TakeMark(frame, record);
    case static_cast<std::uint64_t>(RecordType::kState): {
      const auto state = DecodeHardState(record.data);
      if (!state) {
        return Stop(TailKind::kDamaged, "log-record-malformed", "the hard state cannot be decoded");
      }
      log_.hard_state = *state;
      return;
    }
    default:
      return Stop(TailKind::kDamaged, "log-record-unknown",
                  fmt::format("record type {} is unknown", record.type));
  }
}

void LogScanner::TakeFrame(const Frame& frame) {
  // etcd takes a bad record for a torn write only in the last segment.
  const auto bad = [&](std::string code, std::string what) {
    const bool torn = is_last_ && HasZeroSector(frame);
    Stop(torn ? TailKind::kTorn : TailKind::kTornUnlikeEtcd,
         torn ? "log-torn-record" : std::move(code), std::move(what));
  };
  const auto record = DecodeRecord(frame.record());
  if (!record) return bad("log-record-malformed", "the record cannot be decoded");
  if (record->type != static_cast<std::uint64_t>(RecordType::kCrc)) {
    const std::uint32_t crc = Crc32c(crc_, record->data);
    if (crc != record->crc) {
      return bad("log-crc-mismatch",
                 fmt::format("checksum is {:08x}, the record says {:08x}", crc, record->crc));
    }
    // Before the payload is looked at, but not kept when that cannot be used.
    const std::uint32_t before = crc_;
    crc_ = crc;
    TakeRecord(frame, *record);
    if (damage_) crc_ = before;
  } else {
    TakeRecord(frame, *record);
  }
}

Status LogScanner::ScanSegment(std::uint32_t number) {
  number_ = number;
  is_last_ = number + 1 == log_.segments.size();
  Segment& segment = log_.segments[number];
  ASSIGN_OR_RETURN(const auto file, view_.Open(segment.path));
  FrameReader reader(*file);
  offset_ = 0;
  segment_has_crc_ = false;
  segment_has_metadata_ = false;
  while (true) {
    auto frame = reader.Read(offset_, options_.max_record_bytes);
    if (!frame) return Fail(std::move(frame.error().Within("read log: " + segment.path)));
    if (frame->kind == FrameKind::kZeroWord || frame->kind == FrameKind::kEndOfFile) break;
    if (frame->kind == FrameKind::kCutShort) {
      Stop(TailKind::kTorn, "log-torn-frame", "the record reaches past the end of the file");
      break;
    }
    TakeFrame(*frame);
    if (too_many_records_) {
      return Fail(ErrorKind::kRefused, "log-too-large",
                  fmt::format("read log: more than {} entries or {} snapshot records",
                              options_.max_entries, kMaxMarks),
                  "a log of this size does not come from etcd");
    }
    if (damage_) break;
    offset_ += frame->size.frame();
    ++segment.records;
    ++log_.statistics.records;
    log_.statistics.bytes += frame->size.frame();
    log_.statistics.largest_record = std::max(log_.statistics.largest_record, frame->size.record);
  }
  segment.used = offset_;
  if (!damage_ && offset_ == 0) {
    log_.notes.push_back(fmt::format("{} holds no record", segment.path));
  }
  return {};
}

// Sets the tail in segment `number`, where reading stopped at offset_.
Status LogScanner::Finish(std::uint32_t number) {
  const Segment& segment = log_.segments[number];
  Tail& tail = log_.tail;
  tail.segment = number;
  tail.path = segment.path;
  tail.offset = offset_;
  tail.crc = crc_;
  tail.file_size = segment.size;
  tail.lacks_crc_record = !segment_has_crc_;
  tail.lacks_metadata_record = !segment_has_metadata_;
  for (std::size_t i = number + std::size_t{1}; i < log_.segments.size(); ++i) {
    ++tail.segments_behind;
    tail.segment_bytes_behind += log_.segments[i].size;
  }
  ASSIGN_OR_RETURN(const auto file, view_.Open(segment.path));
  ASSIGN_OR_RETURN(tail.nonzero_end, FindNonzeroEnd(*file, tail.offset));
  return ClassifyEnd(*file, number);
}

Status LogScanner::ClassifyEnd(const ReadableFile& file, std::uint32_t number) {
  Tail& tail = log_.tail;
  if (!damage_) {
    if (tail.nonzero_end == tail.offset) return {};
    damage_ = Damage{TailKind::kTorn, "log-zeroed", "zeros, but not up to the end of the file"};
  }
  FrameReader reader(file);
  // Also inside the bad frame: its length may be what is wrong.
  ASSIGN_OR_RETURN(const RecordsBehind behind,
                   FindRecordsBehind(reader, tail.offset + kLengthWordBytes, tail.nonzero_end,
                                     options_.max_record_bytes));
  tail.records_behind = behind.count;
  tail.first_index_behind = behind.first_index;
  tail.last_index_behind = behind.last_index;
  const bool more = behind.count > 0 || behind.gave_up || tail.segments_behind > 0;
  tail.kind = more ? TailKind::kDamaged : damage_->kind;
  tail.code = damage_->code;
  number_ = number;
  tail.reason = fmt::format("{}: {}", Position(tail.offset), damage_->what);
  if (behind.count > 0) {
    tail.reason += fmt::format("; {} records follow", behind.count);
    if (behind.first_index != 0) {
      tail.reason += fmt::format(" (entries {} to {})", behind.first_index, behind.last_index);
    }
  }
  if (tail.segments_behind > 0) {
    tail.reason += fmt::format("; {} segments follow", tail.segments_behind);
  }
  return {};
}

// Entries below a received snapshot that nothing followed: etcd starts behind them.
void LogScanner::DropSuperseded() {
  const SnapshotMark* mark = log_.newest_mark();
  if (mark == nullptr || log_.entries.empty() || mark->index <= log_.entries.back().index) return;
  log_.superseded += log_.entries.size();
  log_.entries.clear();
}

Result<Log> LogScanner::Run() {
  RETURN_IF_ERROR(ListSegments());
  RETURN_IF_ERROR(CheckSizes());
  std::uint32_t number = 0;
  const auto count = static_cast<std::uint32_t>(log_.segments.size());
  while (true) {
    const std::uint64_t end_before = offset_;
    RETURN_IF_ERROR(ScanSegment(number));
    if (damage_ && number > 0 && offset_ == 0 && damage_->code == "log-crc-mismatch") {
      // Not continued by the next segment: the records between them are lost, so the log ends in
      // the segment before.
      --number;
      offset_ = end_before;
    }
    if (damage_ || number + 1 == count) break;
    const SegmentName& here = log_.segments[number].name;
    const SegmentName& next = log_.segments[number + 1].name;
    if (next.sequence != here.sequence + 1) {
      damage_ = Damage{
          TailKind::kDamaged, "log-segment-missing",
          fmt::format("segment {:x} is followed by segment {:x}", here.sequence, next.sequence)};
      break;
    }
    ++number;
  }
  if (!metadata_) {
    return Fail(ErrorKind::kDataDamaged, "log-metadata-missing",
                fmt::format("read log: {}: no metadata record{}", Position(offset_),
                            damage_ ? " before the damage: " + damage_->what : std::string()),
                "without a log only the strategy restore is possible");
  }
  RETURN_IF_ERROR(Finish(number));
  DropSuperseded();
  return std::move(log_);
}

}  // namespace

Result<Log> ReadLog(const FileView& view, std::string_view wal_directory,
                    const ReadOptions& options) {
  return LogScanner(view, wal_directory, options).Run();
}

}  // namespace rescue::raftlog
