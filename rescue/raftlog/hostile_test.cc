// A log cut at every length and damaged at random: reading never fails badly, what it accepts is
// consistent, and what it calls usable can be continued.
#include <catch2/catch_test_macros.hpp>

#include "rescue/raftlog/append.h"
#include "rescue/raftlog/log_fixture.h"

namespace rescue::raftlog {
namespace {

using namespace testing;  // NOLINT(google-build-using-namespace)
using rescue::testing::ForEveryTruncation;
using rescue::testing::ForRandomMutations;

// The first records of a real log with some zeros behind them: short, so that damage hits all of
// it.
Bytes ShortSample(const std::string& fixture) {
  Bytes segment = SegmentOf(fixture);
  segment.resize(SplitRecords(segment)[40].offset);
  segment.resize(segment.size() + 256);
  return segment;
}

bool IsConsecutive(const Log& log) {
  for (std::size_t i = 1; i < log.entries.size(); ++i) {
    if (log.entries[i].index != log.entries[i - 1].index + 1) return false;
  }
  return true;
}

// Entries keep to their file, and each can be fetched.
bool EntriesAreReadable(ByteView segment, const Log& log) {
  for (const EntryRef& ref : log.entries) {
    if (!Slice(segment, ref.data_offset, ref.data_size)) return false;
  }
  if (log.entries.empty()) return true;
  const auto view = ViewOf({{SegmentName{}, ToBytes(segment)}});
  return ReadEntry(*view, log, log.entries.back()).has_value();
}

// Appending one entry gives a clean log that ends with it.
bool CanBeContinued(ByteView segment, const Log& log) {
  if (log.last_index() == ~std::uint64_t{0}) return true;
  const Entry next{log.last_term(), log.last_index() + 1, EntryType::kNormal, {}};
  const auto plan = PlanAppend(log, {&next, 1}, {next.term, 1, next.index});
  if (log.tail.kind == TailKind::kDamaged) return !plan;
  if (!plan) return false;
  const auto result = ReadSegment(Overwritten(ToBytes(segment), plan->edits));
  return result && result->tail.kind == TailKind::kClean && result->last_index() == next.index &&
         result->statistics.records == log.statistics.records + 2;
}

struct Outcomes {
  int clean = 0, torn = 0, torn_unlike_etcd = 0, damaged = 0, refused = 0;

  void Count(const Result<Log>& log) {
    if (!log) {
      ++refused;
      return;
    }
    switch (log->tail.kind) {
      case TailKind::kClean:
        ++clean;
        break;
      case TailKind::kTorn:
        ++torn;
        break;
      case TailKind::kTornUnlikeEtcd:
        ++torn_unlike_etcd;
        break;
      case TailKind::kDamaged:
        ++damaged;
        break;
    }
  }
};

TEST_CASE("CutAtEveryLengthALogKeepsItsWholeRecords") {
  const Bytes segment = SegmentOf("e3614-learner");
  const auto records = SplitRecords(segment);
  const Log whole = *ReadSegment(segment);
  std::size_t complete = 0;
  ForEveryTruncation(ByteView(segment).first(EndOf(records)), [&](ByteView cut) {
    while (complete < records.size() &&
           records[complete].offset + records[complete].frame_size <= cut.size()) {
      ++complete;
    }
    const auto log = ReadSegment(cut);
    if (complete < 2) {
      if (log || log.error().code != "log-metadata-missing") FAIL("length " << cut.size());
      return;
    }
    const std::size_t end = records[complete - 1].offset + records[complete - 1].frame_size;
    const TailKind expected = cut.size() == end ? TailKind::kClean : TailKind::kTorn;
    const bool right = log && log->tail.kind == expected && log->tail.offset == end &&
                       log->statistics.records == complete && IsConsecutive(*log) &&
                       log->entries.size() <= whole.entries.size();
    if (!right) FAIL("length " << cut.size());
    if (cut.size() % 16 == 0 && !CanBeContinued(cut, *log)) FAIL("length " << cut.size());
  });
}

TEST_CASE("DamagedLogsAreReadWithoutHarm") {
  const Bytes segment = ShortSample("e3614-learner");
  Outcomes outcomes;
  int number = 0;
  ForRandomMutations(segment, 6, 10000, [&](ByteView damaged) {
    const auto log = ReadSegment(damaged);
    outcomes.Count(log);
    ++number;
    if (!log) return;
    if (!IsConsecutive(*log) || log->tail.offset > damaged.size()) FAIL("mutation " << number);
    if (!EntriesAreReadable(damaged, *log)) FAIL("mutation " << number);
    if (number % 4 == 0 && !CanBeContinued(damaged, *log)) FAIL("mutation " << number);
  });
  CHECK(outcomes.refused > 0);
  CHECK(outcomes.clean > 0);
  CHECK(outcomes.torn > 0);
  CHECK(outcomes.torn_unlike_etcd > 0);
  CHECK(outcomes.damaged > 5000);
}

TEST_CASE("DamagedLogsWithRightChecksumsAreReadWithoutHarm") {
  const Bytes segment = ShortSample("e371-learner");
  Outcomes outcomes;
  int number = 0;
  ForRandomMutations(
      segment, 7, 10000,
      [&](ByteView damaged) {
        const auto log = ReadSegment(damaged);
        outcomes.Count(log);
        ++number;
        if (!log) return;
        if (!IsConsecutive(*log) || log->tail.offset > damaged.size()) FAIL("mutation " << number);
        if (!EntriesAreReadable(damaged, *log)) FAIL("mutation " << number);
        if (number % 4 == 0 && !CanBeContinued(damaged, *log)) FAIL("mutation " << number);
      },
      RecomputeChecksums);
  CHECK(outcomes.clean > 1000);
  CHECK(outcomes.damaged > 1000);
}

TEST_CASE("FramesThatSeemToStartEverywhereDoNotTakeForever") {
  // Each 16 bytes look like a frame of 2 MiB: fetching each of them would mean two terabytes.
  constexpr std::size_t kFileBytes = std::size_t{16} << 20;
  Bytes segment = ShortSample("e3614-learner");
  segment.resize(segment.size() / 16 * 16);
  while (segment.size() < kFileBytes) {
    const ul64 word = EncodeLengthWord(std::uint64_t{2} << 20);
    Append(segment, std::as_bytes(std::span(&word, 1)));
    Append(segment, *ParseHex("0802100018001800"));
  }
  segment.resize(kFileBytes);
  const auto log = ReadSegment(segment);
  REQUIRE(log);
  CHECK(log->tail.records_behind == 0);
  CHECK(log->tail.kind == TailKind::kDamaged);  // it gave up, and that is not taken for an end
}

}  // namespace
}  // namespace rescue::raftlog
