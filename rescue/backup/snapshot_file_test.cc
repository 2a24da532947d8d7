// Verdicts on snapshot files, one promise for each way in which one can be wrong.
#include "rescue/backup/snapshot_file.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <map>

#include "rescue/backup/store_testing.h"
#include "rescue/backup/survey.h"
#include "rescue/base/units.h"
#include "rescue/bolt/format.h"

namespace rescue::backup {
namespace {

using rescue::testing::MemoryFile;
using testing::WithDigest;

Bytes Backend() { return mvcc::testing::MakeBackend(testing::SampleHistory(300)).bytes(); }

SnapshotFile Judge(const Bytes& bytes,
                   JudgeOptions::Walk walk = JudgeOptions::Walk::kWhenItDecides) {
  const auto judged = JudgeSnapshot(*MemoryFile(bytes), {walk, true, {}});
  REQUIRE(judged);
  return *judged;
}

std::string AcceptCode(const SnapshotFile& snapshot, AcceptOptions options = {}) {
  const Status accepted = Accept(snapshot, options, "file");
  return accepted ? "" : accepted.error().code;
}

TEST_CASE("ASnapshotAsSavedIsTakenWithoutAWalk") {
  const auto judged = Judge(WithDigest(Backend()));
  CHECK(judged.verdict == Verdict::kTrailerMatches);
  CHECK(judged.revision == 301);
  CHECK(judged.backend_size == Backend().size());
  CHECK_FALSE(judged.check);
  CHECK(AcceptCode(judged).empty());
  CHECK(AcceptCode(judged, {false, true}).empty());
}

TEST_CASE("ABareBackendIsTakenWhenItsTreeIsConsistent") {
  Bytes bytes = Backend();
  const auto judged = Judge(bytes);
  CHECK(judged.verdict == Verdict::kNoTrailer);
  REQUIRE(judged.check);
  CHECK(AcceptCode(judged).empty());
  CHECK_FALSE(judged.reason.empty());
  // In a store it would have its digest.
  CHECK(AcceptCode(judged, {false, true}) == "snapshot-hash-missing");
  CHECK(AcceptCode(judged, {true, true}).empty());
  CHECK(AcceptCode(Judge(bytes, JudgeOptions::Walk::kNever)) == "snapshot-not-walked");
  // A file that grew ahead of its use, as a member's does.
  bytes.resize(bytes.size() + 64 * kKiB);
  CHECK(Judge(bytes).verdict == Verdict::kNoTrailer);
}

TEST_CASE("AZeroDigestNeedsConsentAndAConsistentTree") {
  Bytes bytes = Backend();
  bytes.resize(bytes.size() + kDigestSize);
  const auto judged = Judge(bytes);
  CHECK(judged.verdict == Verdict::kTrailerZero);
  CHECK(AcceptCode(judged) == "snapshot-hash-zero");
  CHECK(AcceptCode(judged, {true, false}).empty());
}

TEST_CASE("AWrongDigestNeedsConsentAndAConsistentTree") {
  Bytes bytes = WithDigest(Backend());
  bytes.back() ^= std::byte{1};
  const auto judged = Judge(bytes);
  CHECK(judged.verdict == Verdict::kTrailerDiffers);
  CHECK(judged.reason.find(ToHex(*judged.digest)) != std::string::npos);
  CHECK(AcceptCode(judged) == "snapshot-hash-mismatch");
  CHECK(AcceptCode(judged, {true, false}).empty());
}

TEST_CASE("ADamagedTreeIsNeverTaken") {
  // The root page of bucket key says that it is another page.
  auto backend = mvcc::testing::MakeBackend(testing::SampleHistory(300));
  auto header = backend.Header(5);
  header.id = 77;
  backend.SetHeader(5, header);
  const Bytes bare = backend.bytes();
  CHECK(AcceptCode(Judge(bare)) == "snapshot-damaged");
  Bytes wrong = WithDigest(bare);
  wrong.back() ^= std::byte{1};
  CHECK(AcceptCode(Judge(wrong)) == "snapshot-hash-mismatch");
  CHECK(AcceptCode(Judge(wrong), {true, false}) == "snapshot-damaged");
  // Saved like that: the digest fits, so only a walk that was asked for finds it.
  CHECK(Judge(WithDigest(bare)).verdict == Verdict::kTrailerMatches);
  CHECK(AcceptCode(Judge(WithDigest(bare), JudgeOptions::Walk::kAlways)) == "snapshot-damaged");
}

TEST_CASE("EveryTruncationIsCalledOne") {
  const Bytes whole = WithDigest(Backend());
  const std::size_t backend_size = whole.size() - kDigestSize;
  for (std::size_t size = 0; size < whole.size(); size += size < 9000 ? 7 : 509) {
    CAPTURE(size);
    const auto judged = Judge(Bytes(whole.begin(), whole.begin() + static_cast<long>(size)));
    const std::string code = AcceptCode(judged);
    if (size < 4096 + 80) {
      // Not even both meta pages are there.
      CHECK((code == "snapshot-not-a-backend" || code == "snapshot-truncated"));
    } else if (size != backend_size) {
      CHECK(code == "snapshot-truncated");
    }
  }
  for (std::size_t cut = 1; cut < kDigestSize; ++cut) {
    const auto judged = Judge(Bytes(whole.begin(), whole.end() - static_cast<long>(cut)));
    CHECK(judged.verdict == Verdict::kTruncated);
  }
  CHECK(Judge(Bytes(whole.begin(), whole.end() - kDigestSize)).verdict == Verdict::kNoTrailer);
}

TEST_CASE("BytesBehindTheDigestAreNoSnapshot") {
  Bytes bytes = WithDigest(Backend());
  bytes.resize(bytes.size() + 100);
  const auto judged = Judge(bytes);
  CHECK(judged.verdict == Verdict::kDamaged);
  CHECK(AcceptCode(judged) == "snapshot-damaged");
}

TEST_CASE("WhatIsNoBackendOfEtcdIsRefused") {
  bolt::testing::TestFile other;
  const auto root = other.Leaf({{"a", "b"}});
  other.Finish(other.Leaf({bolt::testing::TestFile::BucketAt("volumes", root)}));
  for (const Bytes& bytes : {Bytes(), Bytes(10), Bytes(100'000), WithDigest(Bytes(8192)),
                             ToBytes(AsBytes("{\"not\":\"a backend\"}")), other.bytes()}) {
    CHECK(AcceptCode(Judge(bytes)) == "snapshot-not-a-backend");
  }
}

TEST_CASE("TheDigestOfAStreamDoesNotDependOnItsPieces") {
  const Bytes content = WithDigest(Backend());
  for (const std::size_t piece : {1U, 7U, 31U, 32U, 33U, 64U, 4096U, 1'000'000U}) {
    SnapshotDigest digest;
    for (std::size_t at = 0; at < content.size(); at += piece) {
      digest.Update(ByteView(content).subspan(at, std::min(piece, content.size() - at)));
    }
    const auto outcome = digest.Finish();
    CHECK(outcome.size == content.size());
    CHECK(Equal(outcome.last, outcome.without_last));
  }
}

TEST_CASE("AStreamTellsFromItsStartHowLargeTheBackendIs") {
  const Bytes content = WithDigest(Backend());
  const auto size = DeclaredBackendSize(
      ByteView(content).first(std::min(content.size(), kDeclaredSizeNeeds)), "f");
  REQUIRE(size);
  CHECK(*size == content.size() - kDigestSize);
  const auto none = DeclaredBackendSize(AsBytes("short"), "f");
  REQUIRE_FALSE(none);
  CHECK(none.error().code == "snapshot-not-a-backend");
  // A meta page that claims more than any file can have.
  auto backend = mvcc::testing::MakeBackend(testing::SampleHistory(5));
  auto meta = backend.GetMeta(1);
  meta.high_water_mark = std::uint64_t{1} << 60;
  backend.SetMeta(1, meta);
  CHECK_FALSE(DeclaredBackendSize(backend.bytes(), "f"));
}

TEST_CASE("DamagedSnapshotsGetAVerdictAndNothingElse") {
  rescue::testing::ForRandomMutations(WithDigest(Backend()), 17, 1500, [](ByteView bytes) {
    const auto judged =
        JudgeSnapshot(*MemoryFile(ToBytes(bytes)), {JudgeOptions::Walk::kAlways, true, {}});
    REQUIRE(judged);
    const Status accepted = Accept(*judged, {true, false}, "file");
    if (!accepted) CHECK(accepted.error().code.starts_with("snapshot-"));
  });
}

}  // namespace
}  // namespace rescue::backup
