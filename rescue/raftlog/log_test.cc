#include "rescue/raftlog/log.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/generators/catch_generators_range.hpp>

#include "rescue/raftlog/log_fixture.h"

namespace rescue::raftlog {
namespace {

using namespace testing;  // NOLINT(google-build-using-namespace)

constexpr const char* kFixtures[] = {"e3423-learner", "e3516-learner", "e3530-learner",
                                     "e3614-learner", "e371-learner",  "e3423-start",
                                     "e3530-start",   "e371-start"};

const Metadata kMetadata{1, 2};

// A segment as etcd starts one: the running checksum, metadata, and then what the test adds.
RecordWriter SegmentHead(std::uint32_t crc = 0) {
  RecordWriter writer(crc);
  writer.WriteCrc();
  writer.Write(RecordType::kMetadata, EncodeMetadata(kMetadata));
  return writer;
}

void WriteEntry(RecordWriter& writer, std::uint64_t index, std::uint64_t term = 1) {
  writer.Write(RecordType::kEntry,
               EncodeEntry({term, index, EntryType::kNormal, ToBytes(AsBytes("data"))}));
}

void WriteMark(RecordWriter& writer, std::uint64_t index, std::uint64_t term = 1) {
  SnapshotMark mark;
  mark.index = index;
  mark.term = term;
  writer.Write(RecordType::kSnapshot, EncodeSnapshotMark(mark));
}

void WriteState(RecordWriter& writer, const HardState& state) {
  writer.Write(RecordType::kState, EncodeHardState(state));
}

std::vector<std::uint64_t> IndexesOf(const Log& log) {
  std::vector<std::uint64_t> indexes;
  for (const EntryRef& ref : log.entries) indexes.push_back(ref.index);
  return indexes;
}

using Indexes = std::vector<std::uint64_t>;

TEST_CASE("ReadsLogsOfEveryVersion") {
  struct Expected {
    const char* fixture;
    std::uint64_t node_id, first, last, commit;
    std::size_t records, marks;
    WireForm form;
  };
  const auto expected = GENERATE(values<Expected>({
      {"e3423-learner", 0xfcc0d98221a7de30, 161, 221, 220, 127, 2, WireForm::kEtcd34},
      {"e3516-learner", 0x8729647508840a6d, 160, 220, 219, 127, 2, WireForm::kEtcd34},
      {"e3530-learner", 0, 161, 221, 220, 127, 2, WireForm::kEtcd34},
      {"e3614-learner", 0, 160, 220, 219, 127, 2, WireForm::kEtcd34},
      {"e371-learner", 0, 160, 220, 219, 125, 2, WireForm::kEtcd37},
      {"e3423-start", 0xa4252f6ba9ec2cb2, 1, 25, 25, 52, 1, WireForm::kEtcd34},
      {"e3530-start", 0x44b6c56bd3d241a8, 1, 26, 26, 52, 1, WireForm::kEtcd34},
      {"e371-start", 0x20fcc199f48d579a, 1, 26, 26, 52, 1, WireForm::kEtcd37},
  }));
  INFO(expected.fixture);
  const auto log = ReadSegment(SegmentOf(expected.fixture));
  REQUIRE(log);
  CHECK(log->tail.kind == TailKind::kClean);
  CHECK(log->tail.reason.empty());
  CHECK(log->tail.offset == EndOf(SplitRecords(SegmentOf(expected.fixture))));
  CHECK(log->tail.cut_bytes() == 0);
  if (expected.node_id != 0) CHECK(log->metadata.node_id == expected.node_id);
  CHECK(log->metadata.cluster_id != 0);
  CHECK(log->entries.front().index == expected.first);
  CHECK(log->last_index() == expected.last);
  CHECK(log->last_term() == 2);
  CHECK(log->hard_state->commit == expected.commit);
  CHECK(log->statistics.records == expected.records);
  CHECK(log->marks.size() == expected.marks);
  CHECK(log->wire_form == expected.form);
  CHECK(log->notes.empty());
  for (std::size_t i = 1; i < log->entries.size(); ++i) {
    CHECK(log->entries[i].index == log->entries[i - 1].index + 1);
  }
}

TEST_CASE("EveryRecordIsReencodedByteForByte") {
  const std::string fixture = GENERATE(from_range(std::begin(kFixtures), std::end(kFixtures)));
  INFO(fixture);
  const Bytes segment = SegmentOf(fixture);
  const WireForm form = ReadSegment(segment)->wire_form;
  RecordWriter writer(0);
  const auto records = SplitRecords(segment);
  for (const RawRecord& record : records) {
    switch (record.type) {
      case RecordType::kCrc:
        writer.WriteCrc();
        break;
      case RecordType::kMetadata:
        writer.Write(record.type, EncodeMetadata(*DecodeMetadata(record.data)));
        break;
      case RecordType::kState:
        writer.Write(record.type, EncodeHardState(*DecodeHardState(record.data)));
        break;
      case RecordType::kSnapshot:
        writer.Write(record.type, EncodeSnapshotMark(*DecodeSnapshotMark(record.data)));
        break;
      case RecordType::kEntry: {
        Entry entry = *DecodeEntry(record.data);
        if (entry.type == EntryType::kConfChange) {
          entry.data = EncodeConfChange(*DecodeConfChange(entry.data), form);
        }
        writer.Write(record.type, EncodeEntry(entry, form));
      }
    }
  }
  REQUIRE(records.size() > 50);
  CHECK(Equal(writer.bytes(), ByteView(segment).first(EndOf(records))));
}

TEST_CASE("SegmentNamesHaveOneSpelling") {
  const std::string name = "000000000000000a-00000000000004ff.wal";
  CHECK(ParseSegmentName(name) == SegmentName{10, 0x4ff});
  CHECK(FormatSegmentName({10, 0x4ff}) == name);
  for (const char* other :
       {"0.tmp", "000000000000000A-00000000000004ff.wal", "a-4ff.wal", "", ".wal",
        "000000000000000a-00000000000004ff.wal.broken", "000000000000000a_00000000000004ff.wal"}) {
    CHECK_FALSE(ParseSegmentName(other));
  }
}

TEST_CASE("ReadsEntriesAndConfChangesBack") {
  const auto view = ViewOf({{SegmentName{}, SegmentOf("e3530-start")}});
  const auto log = ReadLog(*view, "wal");
  REQUIRE(log);
  EntryReader reader(*view, *log);
  for (const EntryRef& ref : log->entries) {
    const auto entry = reader.Read(ref);
    REQUIRE(entry);
    CHECK(entry->index == ref.index);
    CHECK(entry->data.size() == ref.data_size);
    const auto file = view->Open(log->segments[ref.segment].path);
    CHECK(ReadExactly(**file, ref.data_offset, ref.data_size) == entry->data);
    CHECK(ReadEntry(*view, *log, ref) == entry);
  }
  const auto changes = ReadConfChangeEntries(*view, *log, 0, log->last_index());
  REQUIRE(changes);
  REQUIRE(changes->size() == 3);
  const auto change = DecodeConfChange(changes->at(0).data);
  CHECK(change->type == ConfChangeType::kAddNode);
  CHECK(change->node_id == 0x1b7d01f4b9d3b424);
  CHECK(ReadConfChangeEntries(*view, *log, 1, 2)->size() == 1);
}

TEST_CASE("AnEntryThatIsNoLongerThereIsNotReturned") {
  const auto log = ReadSegment(SegmentOf("e3530-start"));
  Bytes changed = SegmentOf("e3530-start");
  const EntryRef ref = log->entries[10];
  std::fill_n(changed.begin() + static_cast<std::ptrdiff_t>(ref.record_offset), 16, std::byte{0});
  CHECK(ReadEntry(*ViewOf({{SegmentName{}, changed}}), *log, ref).error().code == "log-changed");
  const Bytes other = SegmentOf("e371-start");
  CHECK_FALSE(ReadEntry(*ViewOf({{SegmentName{}, other}}), *log, ref));
}

TEST_CASE("LaterEntriesReplaceEarlierOnes") {
  RecordWriter writer = SegmentHead();
  for (std::uint64_t index = 1; index <= 5; ++index) WriteEntry(writer, index);
  WriteEntry(writer, 3, 2);
  WriteEntry(writer, 4, 2);
  const auto log = ReadSegment(writer.bytes());
  REQUIRE(log);
  CHECK(IndexesOf(*log) == Indexes{1, 2, 3, 4});
  CHECK(log->overridden == 3);
  CHECK(log->Find(3)->term == 2);
  CHECK(log->Find(5) == nullptr);
  CHECK(log->last_term() == 2);
}

TEST_CASE("EntriesBelowTheFirstRestartTheLog") {
  RecordWriter writer = SegmentHead();
  WriteEntry(writer, 10);
  WriteEntry(writer, 8, 2);
  WriteEntry(writer, 9, 2);
  const auto log = ReadSegment(writer.bytes());
  REQUIRE(log);
  CHECK(IndexesOf(*log) == Indexes{8, 9});
  CHECK(log->overridden == 1);
}

TEST_CASE("AReceivedSnapshotMaySkipEntries") {
  RecordWriter writer = SegmentHead();
  WriteMark(writer, 0, 0);
  WriteEntry(writer, 1);
  WriteEntry(writer, 2);
  WriteMark(writer, 100, 3);
  WriteState(writer, {3, 0, 100});

  SECTION("nothing after it: the log ends at the snapshot") {
    const auto log = ReadSegment(writer.bytes());
    REQUIRE(log);
    CHECK(log->entries.empty());
    CHECK(log->superseded == 2);
    CHECK(log->newest_mark()->index == 100);
    CHECK(log->last_index() == 100);
    CHECK(log->last_term() == 3);
    CHECK(log->CanReplayAfter(100));
    CHECK_FALSE(log->CanReplayAfter(99));
  }
  SECTION("entries follow it") {
    WriteEntry(writer, 101, 3);
    const auto log = ReadSegment(writer.bytes());
    REQUIRE(log);
    CHECK(log->tail.kind == TailKind::kClean);
    CHECK(IndexesOf(*log) == Indexes{101});
    CHECK(log->superseded == 2);
    CHECK(log->CanReplayAfter(100));
    CHECK(log->CanReplayAfter(101));
    CHECK_FALSE(log->CanReplayAfter(102));
    CHECK_FALSE(log->CanReplayAfter(2));
  }
}

TEST_CASE("AMarkThatWasNeverCommittedDoesNotCount") {
  RecordWriter writer = SegmentHead();
  WriteMark(writer, 0, 0);
  WriteEntry(writer, 1);
  WriteState(writer, {1, 1, 1});
  WriteMark(writer, 100, 3);
  const auto log = ReadSegment(writer.bytes());
  REQUIRE(log);
  CHECK(log->newest_mark()->index == 0);
  CHECK(log->last_index() == 1);
}

TEST_CASE("AHoleEndsTheLog") {
  RecordWriter writer = SegmentHead();
  WriteEntry(writer, 1);
  WriteState(writer, {1, 1, 1});
  const std::size_t hole = writer.bytes().size();
  WriteEntry(writer, 3);
  WriteState(writer, {1, 1, 3});
  const auto log = ReadSegment(writer.bytes());
  REQUIRE(log);
  CHECK(log->tail.kind == TailKind::kDamaged);
  CHECK(log->tail.code == "log-hole");
  CHECK(log->tail.offset == hole);
  CHECK(log->hard_state->commit == 1);
  CHECK(IndexesOf(*log) == Indexes{1});
  CHECK(log->tail.records_behind == 1);
}

TEST_CASE("AFreshLogHasNoEntries") {
  RecordWriter writer = SegmentHead();
  WriteMark(writer, 0, 0);
  const auto log = ReadSegment(writer.bytes());
  REQUIRE(log);
  CHECK(log->last_index() == 0);
  CHECK(log->last_term() == 0);
  CHECK_FALSE(log->hard_state);
  CHECK(log->CanReplayAfter(0));
  CHECK(log->newest_mark()->index == 0);
}

TEST_CASE("ChecksumsChainAcrossSegments") {
  RecordWriter first = SegmentHead();
  WriteEntry(first, 1);
  RecordWriter second = SegmentHead(first.crc());
  WriteState(second, {1, 1, 1});
  WriteEntry(second, 2);
  const Bytes first_bytes = first.bytes();

  SECTION("whole") {
    const auto log = ReadSegments({{{0, 0}, first_bytes}, {{1, 2}, second.bytes()}});
    REQUIRE(log);
    CHECK(log->tail.kind == TailKind::kClean);
    CHECK(log->tail.segment == 1);
    CHECK(log->tail.crc == second.crc());
    CHECK(IndexesOf(*log) == Indexes{1, 2});
    CHECK(log->entries[1].segment == 1);
  }
  SECTION("the older segment was purged") {
    const auto log = ReadSegments({{{1, 2}, second.bytes()}});
    REQUIRE(log);
    CHECK(log->tail.kind == TailKind::kClean);
    CHECK(IndexesOf(*log) == Indexes{2});
  }
  SECTION("zeros after the first segment are passed over") {
    Bytes padded = first_bytes;
    padded.resize(padded.size() + 512);
    const auto log = ReadSegments({{{0, 0}, padded}, {{1, 2}, second.bytes()}});
    REQUIRE(log);
    CHECK(log->tail.kind == TailKind::kClean);
  }
  SECTION("a segment between them is missing") {
    const auto log = ReadSegments({{{0, 0}, first_bytes}, {{2, 2}, second.bytes()}});
    REQUIRE(log);
    CHECK(log->tail.kind == TailKind::kDamaged);
    CHECK(log->tail.code == "log-segment-missing");
    CHECK(log->tail.segment == 0);
    CHECK(log->tail.offset == first_bytes.size());
    CHECK(log->tail.segments_behind == 1);
    CHECK(log->tail.segment_bytes_behind == second.bytes().size());
    CHECK(log->segments.size() == 2);
    ReadOptions newer;
    newer.from_sequence = 2;
    const auto rest = ReadSegments({{{0, 0}, first_bytes}, {{2, 2}, second.bytes()}}, newer);
    REQUIRE(rest);
    CHECK(rest->tail.kind == TailKind::kClean);
    CHECK(IndexesOf(*rest) == Indexes{2});
    CHECK(rest->notes.size() == 1);
  }
  SECTION("records at the end of the first segment are lost") {
    RecordWriter longer = first;
    WriteEntry(longer, 2);
    RecordWriter next = SegmentHead(longer.crc());
    WriteEntry(next, 3);
    const auto log = ReadSegments({{{0, 0}, first_bytes}, {{1, 3}, next.bytes()}});
    REQUIRE(log);
    CHECK(log->tail.kind == TailKind::kDamaged);
    CHECK(log->tail.code == "log-crc-mismatch");
    CHECK(log->tail.segment == 0);
    CHECK(log->tail.offset == first_bytes.size());
    CHECK(IndexesOf(*log) == Indexes{1});
  }
  SECTION("damage in the first segment keeps what is before it") {
    Bytes damaged = first_bytes;
    damaged.back() = std::byte{0xee};  // in the entry's padding: harmless
    CHECK(ReadSegments({{{0, 0}, damaged}, {{1, 2}, second.bytes()}})->tail.kind ==
          TailKind::kClean);
    damaged[damaged.size() - 12] ^= std::byte{1};
    const auto log = ReadSegments({{{0, 0}, damaged}, {{1, 2}, second.bytes()}});
    REQUIRE(log);
    CHECK(log->tail.kind == TailKind::kDamaged);
    CHECK(log->tail.segments_behind == 1);
    CHECK(log->tail.segment == 0);
    CHECK(log->entries.empty());
  }
  SECTION("metadata of another member") {
    RecordWriter other(first.crc());
    other.WriteCrc();
    other.Write(RecordType::kMetadata, EncodeMetadata({7, 8}));
    const auto log = ReadSegments({{{0, 0}, first_bytes}, {{1, 2}, other.bytes()}});
    REQUIRE(log);
    CHECK(log->tail.kind == TailKind::kDamaged);
    CHECK(log->tail.code == "log-metadata-conflict");
    CHECK(log->metadata == kMetadata);
  }
}

TEST_CASE("RecordsThatMakeNoSenseEndTheLog") {
  RecordWriter writer = SegmentHead();
  const auto code_after = [&](RecordType type, ByteView data) {
    RecordWriter bad = writer;
    bad.Write(type, data);
    WriteEntry(bad, 1);
    const auto log = ReadSegment(bad.bytes());
    REQUIRE(log);
    CHECK(log->tail.kind == TailKind::kDamaged);
    CHECK(log->tail.records_behind == 1);
    CHECK(log->tail.crc == writer.crc());
    return log->tail.code;
  };
  const Bytes garbage = ToBytes(AsBytes("\xff\xff"));
  CHECK(code_after(static_cast<RecordType>(6), garbage) == "log-record-unknown");
  CHECK(code_after(RecordType::kEntry, garbage) == "log-record-malformed");
  CHECK(code_after(RecordType::kState, garbage) == "log-record-malformed");
  CHECK(code_after(RecordType::kSnapshot, garbage) == "log-record-malformed");
  CHECK(code_after(RecordType::kEntry, EncodeEntry({1, 0, EntryType::kNormal, {}})) ==
        "log-record-malformed");
}

TEST_CASE("ALogWithoutSegmentsIsMissing") {
  MemoryFileSystem files;
  CHECK(ReadLog(files, "wal").error().code == "log-missing");
  files.AddFile("wal/0.tmp", {});
  const auto log = ReadLog(files, "wal");
  REQUIRE_FALSE(log);
  CHECK(log.error().code == "log-missing");
  CHECK(log.error().kind == ErrorKind::kDataDamaged);
}

TEST_CASE("ALogWithoutMetadataIsUnusable") {
  CHECK(ReadSegment({}).error().code == "log-metadata-missing");
  CHECK(ReadSegment(Bytes(4096)).error().code == "log-metadata-missing");
  RecordWriter writer(0);
  writer.WriteCrc();
  WriteEntry(writer, 1);
  CHECK(ReadSegment(writer.bytes()).error().code == "log-metadata-missing");
}

TEST_CASE("ForeignFilesAreNoted") {
  const auto view = ViewOf({{SegmentName{}, SegmentOf("e3530-start")}});
  view->AddFile("wal/0.tmp", {});
  view->AddFile("wal/0000000000000000-0000000000000000.wal.broken", {});
  view->AddFile("wal/notes.txt", {});
  const auto log = ReadLog(*view, "wal");
  REQUIRE(log);
  CHECK(log->segments.size() == 1);
  CHECK(log->notes.size() == 3);
}

TEST_CASE("LimitsAreKept") {
  const SegmentContents segments = {{SegmentName{}, SegmentOf("e3530-start")}};
  ReadOptions options;
  options.max_entries = 25;
  CHECK(ReadSegments(segments, options).error().code == "log-too-large");
  options.max_entries = 26;
  CHECK(ReadSegments(segments, options));
  options.max_record_bytes = 16;
  CHECK(ReadSegments(segments, options).error().code == "log-too-large");
  options = {};
  options.max_segment_bytes = 1000;
  const auto log = ReadSegments(segments, options);
  REQUIRE_FALSE(log);
  CHECK(log.error().code == "log-too-large");
  CHECK(log.error().kind == ErrorKind::kRefused);
}

}  // namespace
}  // namespace rescue::raftlog
