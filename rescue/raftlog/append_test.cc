#include "rescue/raftlog/append.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "rescue/edit/overlay.h"
#include "rescue/raftlog/log_fixture.h"

namespace rescue::raftlog {
namespace {

using namespace testing;  // NOLINT(google-build-using-namespace)

const std::vector<Entry> kRemoval = {
    {2, 27, EntryType::kConfChange, EncodeConfChange({0, ConfChangeType::kRemoveNode, 5, {}})}};

TEST_CASE("AppendsWhatEtcdHadWritten") {
  const std::string fixture =
      GENERATE("e3423-start", "e3530-start", "e371-start", "e3423-learner", "e3516-learner",
               "e3530-learner", "e3614-learner", "e371-learner");
  INFO(fixture);
  const Bytes segment = SegmentOf(fixture);
  const auto records = SplitRecords(segment);
  std::size_t compared = 0;
  // Each run of entries with the hard state behind it is one Save of etcd.
  for (std::size_t first = 1; first < records.size(); ++first) {
    if (records[first].type != RecordType::kEntry ||
        records[first - 1].type == RecordType::kEntry) {
      continue;
    }
    std::vector<Entry> entries;
    std::size_t last = first;
    for (; last < records.size() && records[last].type == RecordType::kEntry; ++last) {
      entries.push_back(*DecodeEntry(records[last].data));
    }
    if (last == records.size() || records[last].type != RecordType::kState) continue;
    const HardState state = *DecodeHardState(records[last].data);
    const std::size_t end = records[last].offset + records[last].frame_size;
    Bytes before = segment;
    before.resize(records[first].offset);
    before.resize(segment.size());
    const auto log = ReadSegment(before);
    REQUIRE(log);
    // The state that commits a received snapshot comes behind the entries; and before there is an
    // entry, nothing tells the wire form.
    if (log->last_index() + 1 != entries.front().index || log->entries.empty()) continue;
    const auto plan = PlanAppend(*log, entries, state);
    REQUIRE(plan);
    CHECK(plan->offset == records[first].offset);
    CHECK(plan->offset + plan->appended_bytes == end);
    CHECK(plan->crc == records[last].crc);
    CHECK(plan->cut_bytes == 0);
    CHECK(
        Equal(ByteView(Overwritten(before, plan->edits)).first(end), ByteView(segment).first(end)));
    ++compared;
  }
  CHECK(compared >= 20);
}

TEST_CASE("TheAppendedLogReadsCleanThroughTheOverlay") {
  const auto view = ViewOf({{SegmentName{}, SegmentOf("e3530-start")}});
  const auto log = ReadLog(*view, "wal");
  const auto plan = PlanAppend(*log, kRemoval, {2, 7, 27});
  REQUIRE(plan);
  CHECK(plan->edits.size() == 1);
  CHECK(plan->appended_bytes < 120);
  const auto overlay = edit::Overlay::Make(*view, plan->edits);
  REQUIRE(overlay);
  const auto result = ReadLog(**overlay, "wal");
  REQUIRE(result);
  CHECK(result->tail.kind == TailKind::kClean);
  CHECK(result->tail.crc == plan->crc);
  CHECK(result->last_index() == 27);
  CHECK(result->hard_state == HardState{2, 7, 27});
  CHECK(*ReadEntry(**overlay, *result, result->entries.back()) == kRemoval[0]);
}

TEST_CASE("TornBytesAreCutAndReported") {
  const auto clean = ReadSegment(SegmentOf("e3530-start"));
  Bytes torn = SegmentOf("e3530-start");
  const auto end = static_cast<std::size_t>(clean->tail.offset);
  std::fill(torn.begin() + static_cast<std::ptrdiff_t>(end) + 8,
            torn.begin() + static_cast<std::ptrdiff_t>(end) + 700, std::byte{0x77});
  const auto log = ReadSegment(torn);
  REQUIRE(log->tail.kind == TailKind::kTorn);
  const auto plan = PlanAppend(*log, kRemoval, {2, 7, 27});
  REQUIRE(plan);
  CHECK(plan->cut_bytes == 700);
  const Bytes result = Overwritten(torn, plan->edits);
  CHECK(result.size() == torn.size());
  CHECK(result ==
        Overwritten(SegmentOf("e3530-start"), PlanAppend(*clean, kRemoval, {2, 7, 27})->edits));
}

TEST_CASE("AFileThatEndsAtTheTailGrows") {
  Bytes segment = SegmentOf("e3530-start");
  segment.resize(EndOf(SplitRecords(segment)));
  const auto plan = PlanAppend(*ReadSegment(segment), kRemoval, {2, 7, 27});
  REQUIRE(plan);
  const Bytes result = Overwritten(segment, plan->edits);
  CHECK(result.size() == segment.size() + plan->appended_bytes);
  CHECK(ReadSegment(result)->last_index() == 27);
}

TEST_CASE("TooFewBytesForALengthWordBehindTheNewEndAreNoTornRecord") {
  // Found by tests/fuzz: a torn record in a file that ends 4 bytes behind what was appended.
  Bytes segment = SegmentOf("e3530-start");
  segment.resize(EndOf(SplitRecords(segment)));
  const std::size_t end = segment.size();
  const auto appended = PlanAppend(*ReadSegment(segment), kRemoval, {2, 1, 27});
  REQUIRE(appended);
  for (std::size_t more = 0; more <= 16; ++more) {
    INFO(more << " bytes more than the append");
    Bytes torn = segment;
    torn.resize(end + static_cast<std::size_t>(appended->appended_bytes) + more, std::byte{0xee});
    const auto plan = PlanAppend(*ReadSegment(torn), kRemoval, {2, 1, 27});
    REQUIRE(plan);
    const auto result = ReadSegment(Overwritten(torn, plan->edits));
    REQUIRE(result);
    CHECK(result->tail.kind == TailKind::kClean);
    CHECK(result->last_index() == 27);
  }
}

TEST_CASE("AnEmptyHardStateAndNothingElseIsNoEdit") {
  const auto plan = PlanAppend(*ReadSegment(SegmentOf("e3530-start")), {}, {});
  REQUIRE(plan);
  CHECK(plan->edits.empty());
}

TEST_CASE("EntriesMustContinueTheLog") {
  const auto log = ReadSegment(SegmentOf("e3530-start"));
  const auto code = [&](const std::vector<Entry>& entries, const HardState& state) {
    const auto plan = PlanAppend(*log, entries, state);
    return plan ? std::string() : plan.error().code;
  };
  const auto entry = [](std::uint64_t term, std::uint64_t index) {
    return Entry{term, index, EntryType::kNormal, {}};
  };
  CHECK(code({entry(2, 27), entry(3, 28)}, {3, 1, 28}).empty());
  CHECK(code({entry(2, 26)}, {2, 1, 26}) == "append-not-consecutive");
  CHECK(code({entry(2, 28)}, {2, 1, 26}) == "append-not-consecutive");
  CHECK(code({entry(2, 27), entry(2, 29)}, {2, 1, 26}) == "append-not-consecutive");
  CHECK(code({entry(1, 27)}, {2, 1, 26}) == "append-not-consecutive");
  CHECK(code({entry(2, 27)}, {2, 1, 28}) == "append-commit-beyond-log");
}

TEST_CASE("DamagedLogsAreNotContinuedUnasked") {
  Bytes damaged = SegmentOf("e3530-start");
  const auto records = SplitRecords(damaged);
  const RawRecord& bad = records[records.size() - 5];
  damaged[bad.offset + 12] ^= std::byte{1};
  const auto log = ReadSegment(damaged);
  REQUIRE(log->tail.kind == TailKind::kDamaged);
  const Entry next{2, log->last_index() + 1, EntryType::kNormal, {}};
  const HardState state{2, 1, next.index};
  CHECK(PlanAppend(*log, {&next, 1}, state).error().code == "append-damaged-log");
  const auto plan = PlanAppend(*log, {&next, 1}, state, {.drop_records_behind_damage = true});
  REQUIRE(plan);
  CHECK(plan->cut_bytes > 0);
  const auto result = ReadSegment(Overwritten(damaged, plan->edits));
  CHECK(result->tail.kind == TailKind::kClean);
  CHECK(result->last_index() == next.index);
}

TEST_CASE("DamageInAnEarlierSegmentCannotBeContinued") {
  RecordWriter second(1);
  second.WriteCrc();
  const auto log = ReadSegments({{{0, 0}, SegmentOf("e3530-start")}, {{1, 27}, second.bytes()}});
  REQUIRE(log->tail.kind == TailKind::kDamaged);
  const auto plan = PlanAppend(*log, kRemoval, {2, 7, 27}, {.drop_records_behind_damage = true});
  REQUIRE_FALSE(plan);
  CHECK(plan.error().code == "append-damaged-log");
}

TEST_CASE("ALostSegmentHeadIsWrittenAgain") {
  const Bytes first = SegmentOf("e3530-start");
  const auto lost = GENERATE(0, 1);  // records that are left of the second segment's head
  RecordWriter head(ReadSegment(first)->tail.crc);
  head.WriteCrc();
  Bytes second = lost == 1 ? head.Take() : Bytes();
  second.resize(8192);
  const auto log = ReadSegments({{{0, 0}, first}, {{1, 27}, second}});
  REQUIRE(log);
  REQUIRE(log->tail.kind == TailKind::kClean);
  REQUIRE(log->tail.segment == 1);
  const auto plan = PlanAppend(*log, kRemoval, {2, 7, 27});
  REQUIRE(plan);
  const Bytes repaired = Overwritten(second, plan->edits);
  const auto records = SplitRecords(repaired);
  REQUIRE(records.size() == 5);
  CHECK(records[0].type == RecordType::kCrc);
  CHECK(records[1].type == RecordType::kMetadata);
  CHECK(records[2].type == RecordType::kState);
  CHECK(ReadSegments({{{0, 0}, first}, {{1, 27}, repaired}})->last_index() == 27);
  // Also alone, as etcd may read it.
  CHECK(ReadSegments({{{1, 27}, repaired}})->last_index() == 27);
}

TEST_CASE("ALostSegmentHeadIsWrittenAgainWithTheSameBytes") {
  // Found by tests/fuzz: metadata with a field that we do not know. etcd compares the bytes.
  RecordWriter writer(0);
  writer.WriteCrc();
  Bytes metadata = EncodeMetadata({1, 2});
  Append(metadata, *ParseHex("1801"));
  writer.Write(RecordType::kMetadata, metadata);
  writer.Write(RecordType::kEntry, EncodeEntry({2, 26, EntryType::kNormal, {}}));
  RecordWriter head(writer.crc());
  head.WriteCrc();
  const Bytes first = writer.Take();
  const Bytes second = head.Take();
  const auto log = ReadSegments({{{0, 0}, first}, {{1, 27}, second}});
  REQUIRE(log);
  const auto plan = PlanAppend(*log, kRemoval, {2, 7, 27});
  REQUIRE(plan);
  const auto result = ReadSegments({{{0, 0}, first}, {{1, 27}, Overwritten(second, plan->edits)}});
  REQUIRE(result);
  CHECK(result->tail.kind == TailKind::kClean);
  CHECK(result->last_index() == 27);
}

TEST_CASE("FreshLogReadsBack") {
  FreshLog fresh;
  fresh.metadata = {0xa, 0xb};
  fresh.first_state = HardState{3, 0xa, 500};
  fresh.mark.emplace();
  fresh.mark->index = 500;
  fresh.mark->term = 3;
  fresh.mark->conf_state = ConfState{{0xa}, {}, {}, {}, false};
  fresh.entries = {{3, 501, EntryType::kNormal, ToBytes(AsBytes("x"))},
                   {4, 502, EntryType::kNormal, {}}};
  fresh.last_state = HardState{4, 0xa, 502};
  const auto bytes = EncodeFreshLog(fresh);
  REQUIRE(bytes);
  const auto log = ReadSegment(*bytes);
  REQUIRE(log);
  CHECK(log->tail.kind == TailKind::kClean);
  CHECK(log->metadata == fresh.metadata);
  CHECK(log->hard_state == fresh.last_state);
  REQUIRE(log->marks.size() == 2);
  CHECK(log->newest_mark()->conf_state == fresh.mark->conf_state);
  CHECK(log->last_index() == 502);
  CHECK(log->CanReplayAfter(500));
  fresh.entries[0].index = 502;
  CHECK(EncodeFreshLog(fresh).error().code == "append-not-consecutive");
}

}  // namespace
}  // namespace rescue::raftlog
