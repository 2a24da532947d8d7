// How a log's end is classified: what etcd does by itself, what it refuses, what is lost.
#include <catch2/catch_test_macros.hpp>

#include "rescue/raftlog/log_fixture.h"

namespace rescue::raftlog {
namespace {

using namespace testing;  // NOLINT(google-build-using-namespace)

// A real log, its last record (an entry with data of `kDataBytes`) and what the test may break.
constexpr std::size_t kDataBytes = 3000;

struct Sample {
  Bytes segment;       // with zeros behind the last record
  std::size_t offset;  // of the last record
  std::size_t end;     // behind it
  std::uint32_t crc;   // before it
};

Sample MakeSample() {
  Bytes segment = SegmentOf("e3530-start");
  const auto records = SplitRecords(segment);
  Sample sample;
  sample.offset = EndOf(records);
  sample.crc = records.back().crc;
  RecordWriter writer(sample.crc);
  writer.Write(RecordType::kEntry,
               EncodeEntry({2, 27, EntryType::kNormal, Bytes(kDataBytes, std::byte{0x5a})}));
  segment.resize(sample.offset);
  Append(segment, writer.bytes());
  sample.end = segment.size();
  segment.resize(segment.size() + 8192);
  sample.segment = std::move(segment);
  return sample;
}

// What a writer leaves that went on behind a bad record.
void AddValidRecord(Sample& sample, std::size_t at) {
  RecordWriter writer(0x12345678);
  writer.Write(RecordType::kEntry, EncodeEntry({2, 28, EntryType::kNormal, {}}));
  std::copy(writer.bytes().begin(), writer.bytes().end(),
            sample.segment.begin() + static_cast<std::ptrdiff_t>(at));
}

void Zero(Sample& sample, std::size_t from, std::size_t to) {
  std::fill(sample.segment.begin() + static_cast<std::ptrdiff_t>(from),
            sample.segment.begin() + static_cast<std::ptrdiff_t>(to), std::byte{0});
}

// Checks what holds for every bad last record, and returns the tail.
Tail BadTail(const Sample& sample) {
  const auto log = ReadSegment(sample.segment);
  REQUIRE(log);
  CHECK(log->last_index() == 26);
  CHECK(log->tail.offset == sample.offset);
  CHECK(log->tail.crc == sample.crc);
  CHECK(log->tail.file_size == sample.segment.size());
  CHECK_FALSE(log->tail.code.empty());
  CHECK(log->tail.reason.find(std::to_string(sample.offset)) != std::string::npos);
  return log->tail;
}

TEST_CASE("TheSampleIsClean") {
  const Sample sample = MakeSample();
  const auto log = ReadSegment(sample.segment);
  REQUIRE(log);
  CHECK(log->tail.kind == TailKind::kClean);
  CHECK(log->tail.offset == sample.end);
  CHECK(log->last_index() == 27);
}

TEST_CASE("FileCutInTheLastRecordIsTorn") {
  Sample sample = MakeSample();
  for (const std::size_t kept : {1U, 7U, 8U, 9U, 100U, 512U, 3000U}) {
    sample.segment.resize(sample.end);
    Sample cut = sample;
    cut.segment.resize(sample.offset + kept);
    const Tail tail = BadTail(cut);
    CHECK(tail.kind == TailKind::kTorn);
    CHECK(tail.code == "log-torn-frame");
    CHECK(tail.cut_bytes() <= kept);
    if (kept >= 100) CHECK(tail.cut_bytes() == kept);  // before that, zeros of the length word
  }
}

TEST_CASE("HeaderOnlyIsTorn") {
  Sample sample = MakeSample();
  Zero(sample, sample.offset + 8, sample.end);
  const Tail tail = BadTail(sample);
  CHECK(tail.kind == TailKind::kTorn);
  CHECK(tail.code == "log-torn-record");
  CHECK(tail.cut_bytes() <= 8);
}

TEST_CASE("SecondHalfOfTheRecordMissingIsTorn") {
  Sample sample = MakeSample();
  Zero(sample, sample.offset + 1500, sample.end);
  const Tail tail = BadTail(sample);
  CHECK(tail.kind == TailKind::kTorn);
  CHECK(tail.nonzero_end == sample.offset + 1500);
}

TEST_CASE("OneZeroedSectorIsTorn") {
  Sample sample = MakeSample();
  const std::size_t sector = (sample.offset + 1023) / 512 * 512;
  Zero(sample, sector, sector + 512);
  const Tail tail = BadTail(sample);
  CHECK(tail.kind == TailKind::kTorn);
  CHECK(tail.code == "log-torn-record");
  CHECK(tail.nonzero_end >= sample.end - 8);
}

TEST_CASE("ZerosInsideOneSectorAreRefusedByEtcd") {
  Sample sample = MakeSample();
  const std::size_t sector = (sample.offset + 1023) / 512 * 512;
  Zero(sample, sector + 8, sector + 512);
  const Tail tail = BadTail(sample);
  CHECK(tail.kind == TailKind::kTornUnlikeEtcd);
  CHECK(tail.code == "log-crc-mismatch");
  CHECK(tail.records_behind == 0);
}

TEST_CASE("WrongChecksumIsRefusedByEtcd") {
  Sample sample = MakeSample();
  sample.segment[sample.offset + 100] ^= std::byte{1};
  const Tail tail = BadTail(sample);
  CHECK(tail.kind == TailKind::kTornUnlikeEtcd);
  CHECK(tail.code == "log-crc-mismatch");
}

TEST_CASE("UndecodableRecordIsRefusedByEtcd") {
  Sample sample = MakeSample();
  sample.segment[sample.offset + 8] = std::byte{0x0b};  // a group: nobody reads that
  const Tail tail = BadTail(sample);
  CHECK(tail.kind == TailKind::kTornUnlikeEtcd);
  CHECK(tail.code == "log-record-malformed");
}

TEST_CASE("LengthBeyondTheFileIsTorn") {
  Sample sample = MakeSample();
  sample.segment[sample.offset + 5] = std::byte{1};
  const Tail tail = BadTail(sample);
  CHECK(tail.kind == TailKind::kTorn);
  CHECK(tail.code == "log-torn-frame");
}

TEST_CASE("LengthWordZeroedIsOverlookedByEtcd") {
  Sample sample = MakeSample();
  Zero(sample, sample.offset, sample.offset + 8);
  const Tail tail = BadTail(sample);
  CHECK(tail.kind == TailKind::kTorn);
  CHECK(tail.code == "log-zeroed");
  CHECK(tail.cut_bytes() > kDataBytes);
}

TEST_CASE("ValidRecordsBehindABadOneAreDamage") {
  const auto breakages = {
      +[](Sample& sample) { sample.segment[sample.offset + 100] ^= std::byte{1}; },
      +[](Sample& sample) { Zero(sample, sample.offset, sample.offset + 8); },
      +[](Sample& sample) { Zero(sample, sample.offset + 8, sample.end); },
      +[](Sample& sample) { sample.segment[sample.offset + 5] = std::byte{1}; },
      +[](Sample& sample) { sample.segment[sample.offset + 8] = std::byte{0x0b}; },
      +[](Sample& sample) { Zero(sample, sample.offset, sample.end); },
  };
  for (const auto& damage : breakages) {
    Sample sample = MakeSample();
    damage(sample);
    AddValidRecord(sample, sample.end);
    Tail tail = BadTail(sample);
    CHECK(tail.kind == TailKind::kDamaged);
    CHECK(tail.records_behind == 1);
    CHECK(tail.first_index_behind == 28);
    CHECK(tail.last_index_behind == 28);
    CHECK(tail.segments_behind == 0);
    // Also behind a stretch of zeros, as when pages were written out of order.
    AddValidRecord(sample, sample.end + 4096);
    tail = BadTail(sample);
    CHECK(tail.records_behind == 2);
  }
}

TEST_CASE("ADamagedRecordInTheMiddleReportsWhatFollows") {
  const Bytes segment = SegmentOf("e3614-learner");
  const auto records = SplitRecords(segment);
  const RawRecord& bad = records[40];
  Bytes damaged = segment;
  damaged[bad.offset + bad.frame_size / 2] ^= std::byte{4};
  const auto log = ReadSegment(damaged);
  REQUIRE(log);
  CHECK(log->tail.kind == TailKind::kDamaged);
  CHECK(log->tail.offset == bad.offset);
  CHECK(log->tail.records_behind == records.size() - 41);
  CHECK(log->tail.last_index_behind == 220);
  CHECK(log->last_index() + 2 >= log->tail.first_index_behind);
}

TEST_CASE("SmallRecordsAreFoundInBothWireForms") {
  for (const char* fixture : {"e3423-start", "e371-start"}) {
    Bytes segment = SegmentOf(fixture);
    const auto records = SplitRecords(segment);
    // Everything behind the metadata and the first mark becomes unreachable.
    segment[records[3].offset + 12] ^= std::byte{1};
    const auto log = ReadSegment(segment);
    REQUIRE(log);
    CHECK(log->tail.kind == TailKind::kDamaged);
    CHECK(log->tail.records_behind == records.size() - 4);
  }
}

}  // namespace
}  // namespace rescue::raftlog
