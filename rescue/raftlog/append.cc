#include "rescue/raftlog/append.h"

#include <fmt/format.h>

#include <algorithm>

#include "rescue/raftlog/record.h"

namespace rescue::raftlog {
namespace {

constexpr std::string_view kPlanHint = "this is a flaw in the plan, not in the data: report it";

tl::unexpected<Error> Refuse(std::string code, std::string message) {
  return Fail(ErrorKind::kRefused, std::move(code), "append to log: " + std::move(message),
              std::string(kPlanHint));
}

// What Entries and hard state must fulfil behind (`last_index`, `last_term`).
Status CheckFollows(std::uint64_t last_index, std::uint64_t last_term,
                    std::span<const Entry> entries, const HardState& hard_state) {
  for (const Entry& entry : entries) {
    if (entry.index != last_index + 1 || entry.term < last_term) {
      return Refuse("append-not-consecutive",
                    fmt::format("entry {} of term {} cannot follow entry {} of term {}",
                                entry.index, entry.term, last_index, last_term));
    }
    last_index = entry.index;
    last_term = entry.term;
  }
  if (hard_state.commit > last_index) {
    return Refuse("append-commit-beyond-log",
                  fmt::format("commit index {} lies behind the last entry {}", hard_state.commit,
                              last_index));
  }
  return {};
}

void WriteEntries(RecordWriter& writer, std::span<const Entry> entries, WireForm form) {
  for (const Entry& entry : entries) writer.Write(RecordType::kEntry, EncodeEntry(entry, form));
}

// etcd writes no empty hard state. wal/wal.go, saveState.
void WriteState(RecordWriter& writer, const HardState& state) {
  if (state != HardState{}) writer.Write(RecordType::kState, EncodeHardState(state));
}

// What every segment starts with. wal/wal.go, cut.
void WriteMissingHead(RecordWriter& writer, const Log& log) {
  if (log.tail.lacks_crc_record) writer.WriteCrc();
  if (!log.tail.lacks_metadata_record) return;
  writer.Write(RecordType::kMetadata, log.metadata_record);
  if (log.hard_state) WriteState(writer, *log.hard_state);
}

Status CheckTail(const Log& log, const AppendOptions& options) {
  if (log.tail.kind != TailKind::kDamaged) return {};
  const bool in_last_segment = log.tail.segments_behind == 0;
  if (options.drop_records_behind_damage && in_last_segment) return {};
  return Fail(ErrorKind::kRefused, "append-damaged-log",
              "append to log: records are lost: " + log.tail.reason,
              in_last_segment ? "use the strategy restore, or agree to drop what follows"
                              : "use the strategy restore");
}

struct Position {
  std::uint64_t index = 0;
  std::uint64_t term = 0;
};

// Behind which entry the new ones go.
Result<Position> AppendPosition(const Log& log, std::span<const Entry> entries,
                                const AppendOptions& options) {
  if (!options.keep_through || *options.keep_through == log.last_index()) {
    return Position{log.last_index(), log.last_term()};
  }
  const std::uint64_t index = *options.keep_through;
  if (entries.empty() || index > log.last_index()) {
    return Refuse("append-replaces-nothing",
                  fmt::format("nothing would replace the entries behind {}", index));
  }
  if (const EntryRef* entry = log.Find(index)) return Position{index, entry->term};
  const SnapshotMark* mark = log.newest_mark();
  if (mark != nullptr && mark->index == index) return Position{index, mark->term};
  return Refuse("append-not-consecutive", fmt::format("the log holds no entry {}", index));
}

}  // namespace

Result<AppendPlan> PlanAppend(const Log& log, std::span<const Entry> entries,
                              const HardState& hard_state, const AppendOptions& options) {
  RETURN_IF_ERROR(CheckTail(log, options));
  ASSIGN_OR_RETURN(const Position position, AppendPosition(log, entries, options));
  RETURN_IF_ERROR(CheckFollows(position.index, position.term, entries, hard_state));
  RecordWriter writer(log.tail.crc);
  WriteMissingHead(writer, log);
  WriteEntries(writer, entries, log.wire_form);
  WriteState(writer, hard_state);
  if (options.mark) writer.Write(RecordType::kSnapshot, EncodeSnapshotMark(*options.mark));

  AppendPlan plan;
  plan.offset = log.tail.offset;
  plan.cut_bytes = log.tail.cut_bytes();
  plan.crc = writer.crc();
  Bytes bytes = writer.Take();
  plan.appended_bytes = bytes.size();
  // In the same write as the records: what was left behind the end must never look like their
  // continuation.
  bytes.resize(std::max<std::size_t>(bytes.size(), static_cast<std::size_t>(plan.cut_bytes)),
               std::byte{0});
  // A file that was cut at any byte may have a few left behind the new end: too few for the length
  // word of zeros that says so, which etcd would take for a torn record.
  const std::uint64_t end = plan.offset + plan.appended_bytes;
  if (!bytes.empty() && end < log.tail.file_size && log.tail.file_size - end < kLengthWordBytes) {
    bytes.resize(static_cast<std::size_t>(plan.appended_bytes + kLengthWordBytes));
  }
  if (!bytes.empty()) {
    plan.edits.push_back(edit::WriteRange{log.tail.path, plan.offset, std::move(bytes)});
  }
  return plan;
}

Result<Bytes> EncodeFreshLog(const FreshLog& log) {
  const std::uint64_t index = log.mark ? log.mark->index : 0;
  const std::uint64_t term = log.mark ? log.mark->term : 0;
  RETURN_IF_ERROR(CheckFollows(index, term, log.entries, log.last_state.value_or(HardState{})));
  RecordWriter writer(0);
  writer.WriteCrc();
  writer.Write(RecordType::kMetadata, EncodeMetadata(log.metadata));
  writer.Write(RecordType::kSnapshot, EncodeSnapshotMark({}));
  if (log.first_state) WriteState(writer, *log.first_state);
  if (log.mark) writer.Write(RecordType::kSnapshot, EncodeSnapshotMark(*log.mark));
  WriteEntries(writer, log.entries, log.wire_form);
  if (log.last_state) WriteState(writer, *log.last_state);
  return writer.Take();
}

}  // namespace rescue::raftlog
