// The log: one input is a chain of segments, one behind the other. A segment starts at every
// checksum record that a metadata record follows.
//
// Promises: what ReadLog accepts is consecutive, lies inside the files and can be fetched; what it
// calls usable can be continued, and reads back as what it was plus what was appended; entries can
// be carried into a fresh log.
#include <algorithm>

#include "rescue/edit/overlay.h"
#include "rescue/raftlog/append.h"
#include "rescue/raftlog/log_fixture.h"
#include "tests/fuzz/fuzz.h"

namespace rescue::raftlog {
namespace {

using fuzz::Pick;
using fuzz::Random;
using testing::RawRecord;
using testing::SegmentContents;
using testing::SplitRecords;

constexpr std::size_t kRoom = 256;         // bytes by which one mutation may grow a record
constexpr std::size_t kMaxRecords = 2000;  // keeps one run short

// -- the target

SegmentContents SplitSegments(ByteView input) {
  const auto records = SplitRecords(input);
  SegmentContents segments;
  std::size_t begin = 0;
  const auto cut = [&](std::size_t end) {
    const SegmentName name{segments.size(), begin == 0 ? 0 : std::uint64_t{begin}};
    segments.emplace_back(name, ToBytes(input.subspan(begin, end - begin)));
    begin = end;
  };
  for (std::size_t i = 1; i + 1 < records.size(); ++i) {
    const bool head =
        records[i].type == RecordType::kCrc && records[i + 1].type == RecordType::kMetadata;
    if (head) cut(records[i].offset);
  }
  cut(input.size());
  return segments;
}

void CheckTail(const Log& log, const SegmentContents& segments) {
  const Tail& tail = log.tail;
  PROMISE(tail.segment < segments.size());
  const Bytes& content = segments[tail.segment].second;
  PROMISE(tail.file_size == content.size());
  PROMISE(tail.offset <= tail.nonzero_end && tail.nonzero_end <= tail.file_size);
  PROMISE(tail.offset == log.segments[tail.segment].used);
  PROMISE((tail.kind == TailKind::kClean) == tail.code.empty());
  PROMISE(tail.kind != TailKind::kClean || tail.cut_bytes() == 0);
  PROMISE(tail.kind == TailKind::kDamaged || tail.segments_behind == 0);
  const auto rest = ByteView(content).subspan(static_cast<std::size_t>(tail.nonzero_end));
  PROMISE(std::all_of(rest.begin(), rest.end(), [](std::byte b) { return b == std::byte{0}; }));
}

std::vector<Entry> FetchEntries(const FileView& view, const Log& log,
                                const SegmentContents& segments) {
  EntryReader reader(view, log);
  std::vector<Entry> entries;
  for (std::size_t i = 0; i < log.entries.size(); ++i) {
    const EntryRef& ref = log.entries[i];
    PROMISE(i == 0 || ref.index == log.entries[i - 1].index + 1);
    PROMISE(ref.segment <= log.tail.segment);
    const std::uint64_t used = log.segments[ref.segment].used;
    PROMISE(ref.record_offset < ref.data_offset && ref.data_offset <= used);
    PROMISE(ref.data_size <= used - ref.data_offset);
    auto entry = reader.Read(ref);
    PROMISE(entry.has_value());
    PROMISE(entry->index == ref.index && entry->term == ref.term && entry->type == ref.type);
    const auto data = Slice(segments[ref.segment].second, ref.data_offset, ref.data_size);
    PROMISE(data && Equal(*data, entry->data));
    PROMISE(log.Find(ref.index) == &ref);
    entries.push_back(*std::move(entry));
  }
  PROMISE(log.CanReplayAfter(log.last_index()));
  return entries;
}

void CheckSame(const FileView& view, const Log& log, const std::vector<Entry>& expected) {
  PROMISE(log.entries.size() == expected.size());
  EntryReader reader(view, log);
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const auto entry = reader.Read(log.entries[i]);
    PROMISE(entry && *entry == expected[i]);
  }
}

// What our strategies append: a removal and a no-op, and a state that commits them.
void CheckContinuation(const FileView& view, const Log& log, std::vector<Entry> entries) {
  if (log.last_index() > ~std::uint64_t{0} - 2) return;
  const std::uint64_t last = log.last_index();
  const std::vector<Entry> more = {
      {log.last_term(), last + 1, EntryType::kConfChange,
       EncodeConfChange({0, ConfChangeType::kRemoveNode, 7, {}}, log.wire_form)},
      {log.last_term(), last + 2, EntryType::kNormal, {}}};
  const HardState state{log.last_term(), 1, last + 2};
  AppendOptions options;
  options.drop_records_behind_damage = (log.tail.crc & 1) != 0;
  const auto plan = PlanAppend(log, more, state, options);
  const bool refused = log.tail.kind == TailKind::kDamaged &&
                       !(options.drop_records_behind_damage && log.tail.segments_behind == 0);
  PROMISE(plan.has_value() == !refused);
  if (!plan) {
    PROMISE(plan.error().code == "append-damaged-log");
    return;
  }
  PROMISE(plan->edits.size() == 1 && plan->offset == log.tail.offset);
  const auto overlay = edit::Overlay::Make(view, plan->edits);
  PROMISE(overlay.has_value());
  const auto result = ReadLog(**overlay, "wal");
  PROMISE(result.has_value());
  if (result->tail.kind != TailKind::kClean) (void)std::fputs(result->tail.reason.c_str(), stderr);
  PROMISE(result->tail.kind == TailKind::kClean);
  PROMISE(result->tail.crc == plan->crc);
  PROMISE(result->hard_state == state);
  PROMISE(result->metadata == log.metadata);
  PROMISE(result->last_index() == last + 2);
  PROMISE(result->tail.offset == plan->offset + plan->appended_bytes);
  entries.insert(entries.end(), more.begin(), more.end());
  // What lies below a mark that the new commit index makes valid no longer counts.
  const std::size_t kept = result->entries.size();
  PROMISE(kept <= entries.size() && kept >= more.size());
  if (kept < entries.size()) PROMISE(result->newest_mark() != nullptr);
  entries.erase(entries.begin(), entries.end() - static_cast<std::ptrdiff_t>(kept));
  CheckSame(**overlay, *result, entries);
}

// What the strategy restore does: the tail of the log behind a mark, under a new name.
void CheckCarrying(const Log& log, std::vector<Entry> entries) {
  if (entries.empty() || entries.front().index == 0) return;
  entries.erase(entries.begin(), entries.begin() + static_cast<std::ptrdiff_t>(entries.size() / 2));
  const SnapshotMark mark{entries.front().index - 1, entries.front().term,
                          ConfState{{9}, {}, {}, {}, false}, 0, 0};
  FreshLog fresh;
  fresh.metadata = {9, 10};
  fresh.first_state = HardState{mark.term, 9, mark.index};
  fresh.mark = mark;
  fresh.entries = entries;
  fresh.last_state = HardState{entries.back().term, 9, entries.back().index};
  fresh.wire_form = log.wire_form;
  const auto content = EncodeFreshLog(fresh);
  const bool sorted =
      std::is_sorted(entries.begin(), entries.end(),
                     [](const Entry& a, const Entry& b) { return a.term < b.term; });
  PROMISE(content.has_value() == sorted);
  if (!content) {
    PROMISE(content.error().code == "append-not-consecutive");
    return;
  }
  const auto view = testing::ViewOf({{SegmentName{}, *content}});
  const auto result = ReadLog(*view, "wal");
  PROMISE(result && result->tail.kind == TailKind::kClean);
  PROMISE(result->metadata == fresh.metadata);
  PROMISE(result->hard_state == fresh.last_state);
  PROMISE(result->newest_mark() != nullptr && result->newest_mark()->index == mark.index);
  PROMISE(result->newest_mark()->conf_state == mark.conf_state);
  PROMISE(result->CanReplayAfter(mark.index));
  CheckSame(*view, *result, entries);
}

void Check(ByteView input) {
  const SegmentContents segments = SplitSegments(input);
  const auto view = testing::ViewOf(segments);
  const auto log = ReadLog(*view, "wal");
  if (!log) {
    PROMISE(log.error().code == "log-metadata-missing" || log.error().code == "log-too-large");
    return;
  }
  CheckTail(*log, segments);
  const std::vector<Entry> entries = FetchEntries(*view, *log, segments);
  const auto changes = ReadConfChangeEntries(*view, *log, 0, log->last_index());
  PROMISE(changes.has_value());
  CheckContinuation(*view, *log, entries);
  CheckCarrying(*log, entries);
}

// -- the mutator

Bytes Rewrite(const std::vector<RawRecord>& records, ByteView rest) {
  RecordWriter writer(0);
  for (const RawRecord& record : records) {
    if (record.type == RecordType::kCrc) {
      writer.WriteCrc();
    } else {
      writer.Write(record.type, record.data);
    }
  }
  Bytes bytes = writer.Take();
  Append(bytes, rest);
  return bytes;
}

RawRecord Made(RecordType type, Bytes data) {
  RawRecord record;
  record.type = type;
  record.data = std::move(data);
  return record;
}

// Terms and indexes around those that are there: overrides, holes, snapshots that skip ahead.
std::uint64_t Near(Random& random, std::uint64_t value) {
  switch (Pick(random, 8)) {
    case 0:
      return 0;
    case 1:
      return ~std::uint64_t{0} - Pick(random, 3);
    default:
      return value + Pick(random, 9) - 4;
  }
}

void ChangeNumbers(RawRecord& record, Random& random) {
  if (record.type == RecordType::kEntry) {
    auto entry = DecodeEntry(record.data);
    if (!entry) return;
    if (Pick(random, 2) == 0) entry->index = Near(random, entry->index);
    if (Pick(random, 3) == 0) entry->term = Near(random, entry->term);
    if (Pick(random, 4) == 0) entry->type = static_cast<EntryType>(Pick(random, 3));
    record.data = EncodeEntry(*entry, static_cast<WireForm>(Pick(random, 2)));
  } else if (record.type == RecordType::kState) {
    auto state = DecodeHardState(record.data);
    if (!state) return;
    state->commit = Near(random, state->commit);
    state->term = Near(random, state->term);
    record.data = EncodeHardState(*state);
  } else if (record.type == RecordType::kSnapshot) {
    auto mark = DecodeSnapshotMark(record.data);
    if (!mark) return;
    mark->index = Near(random, mark->index);
    mark->term = Near(random, mark->term);
    record.data = EncodeSnapshotMark(*mark);
  } else {
    fuzz::Mutate(record.data, kRoom);
  }
}

// A new segment begins at `at`.
void InsertSegmentHead(std::vector<RawRecord>& records, std::size_t at) {
  const auto metadata = std::find_if(records.begin(), records.end(), [](const RawRecord& record) {
    return record.type == RecordType::kMetadata;
  });
  Bytes data = metadata == records.end() ? EncodeMetadata({1, 2}) : metadata->data;
  const auto place = records.begin() + static_cast<std::ptrdiff_t>(at);
  records.insert(place, {Made(RecordType::kCrc, {}), Made(RecordType::kMetadata, std::move(data))});
}

void ChangeRecords(std::vector<RawRecord>& records, Bytes& rest, Random& random) {
  const std::size_t at = Pick(random, records.size());
  const auto place = records.begin() + static_cast<std::ptrdiff_t>(at);
  switch (Pick(random, 10)) {
    case 0:
      records.erase(place);
      return;
    case 1:
      records.insert(place, RawRecord(*place));
      return;
    case 2:
      return std::swap(*place, records[Pick(random, records.size())]);
    case 3:
      place->type = static_cast<RecordType>(Pick(random, 7));
      return;
    case 4:
      return InsertSegmentHead(records, at);
    case 5:
      records.insert(place,
                     Made(RecordType::kSnapshot,
                          EncodeSnapshotMark({Near(random, at), Near(random, 2),
                                              ConfState{{1, 2}, {3}, {}, {}, false}, 0, 0})));
      return;
    case 6:
      fuzz::Mutate(rest, kRoom);
      return;
    case 7:
      return fuzz::Mutate(place->data, kRoom);
    default:
      return ChangeNumbers(*place, random);
  }
}

Bytes MutateLog(ByteView input, Random& random) {
  auto records = SplitRecords(input);
  Bytes rest = ToBytes(input.subspan(testing::EndOf(records)));
  if (records.empty()) records.push_back(Made(RecordType::kCrc, {}));
  for (std::size_t changes = 1 + Pick(random, 3); changes > 0 && !records.empty(); --changes) {
    ChangeRecords(records, rest, random);
  }
  if (records.size() > kMaxRecords) records.resize(kMaxRecords);
  return Rewrite(records, rest);
}

}  // namespace
}  // namespace rescue::raftlog

using namespace rescue;  // NOLINT(google-build-using-namespace): the hooks are global

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  raftlog::Check(fuzz::Input(data, size));
  return 0;
}

std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max_size,
                                    unsigned int seed) {
  fuzz::Random random(seed);
  // Now and then without mending anything: wrong checksums and torn frames are inputs, too.
  if (fuzz::Pick(random, 6) == 0) return LLVMFuzzerMutate(data, size, max_size);
  return fuzz::Output(raftlog::MutateLog(fuzz::Input(data, size), random), data, max_size);
}

std::size_t LLVMFuzzerCustomCrossOver(const std::uint8_t* data1, std::size_t size1,
                                      const std::uint8_t* data2, std::size_t size2,
                                      std::uint8_t* out, std::size_t max_out_size,
                                      unsigned int seed) {
  fuzz::Random random(seed);
  auto first = raftlog::testing::SplitRecords(fuzz::Input(data1, size1));
  const auto second = raftlog::testing::SplitRecords(fuzz::Input(data2, size2));
  first.resize(fuzz::Pick(random, first.size() + 1));
  const auto from = static_cast<std::ptrdiff_t>(fuzz::Pick(random, second.size() + 1));
  first.insert(first.end(), second.begin() + from, second.end());
  return fuzz::Output(raftlog::Rewrite(first, {}), out, max_out_size);
}
