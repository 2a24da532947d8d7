#include "rescue/backup/snapshot_file.h"

#include <fmt/format.h>

#include <algorithm>

#include "rescue/base/units.h"
#include "rescue/bolt/database.h"
#include "rescue/bolt/meta.h"
#include "rescue/mvcc/key_record.h"

namespace rescue::backup {
namespace {

// The smallest sector: a backend is a multiple of it, a snapshot with its digest is not.
constexpr std::uint64_t kSector = 512;
// What a walk of the tree may remember: enough for 20 GiB of pages of 4 KiB.
constexpr std::uint64_t kWalkMemory = 192 * kMiB;

Status ReadDigest(const ReadableFile& file, const JudgeOptions& options, SnapshotFile& found) {
  SnapshotDigest digest;
  Bytes piece(kMiB);
  for (std::uint64_t at = 0; at < found.size;) {
    const auto want = static_cast<std::size_t>(std::min<std::uint64_t>(kMiB, found.size - at));
    ASSIGN_OR_RETURN(const std::size_t got, file.ReadAt(at, std::span(piece).first(want)));
    if (got == 0) {
      return Fail(ErrorKind::kDataDamaged, "snapshot-truncated",
                  "read the snapshot: it became shorter meanwhile",
                  "wait until whoever writes it is done");
    }
    digest.Update(ByteView(piece).first(got));
    at += got;
    if (options.progress) options.progress(at, found.size);
  }
  const auto result = digest.Finish();
  found.stored_digest = result.last;
  found.digest = result.without_last;
  return {};
}

void JudgeDigest(SnapshotFile& found) {
  if (found.stored_digest == found.digest) {
    found.verdict = Verdict::kTrailerMatches;
  } else if (found.stored_digest == Sha256Digest{}) {
    found.verdict = Verdict::kTrailerZero;
    found.reason = "the SHA-256 at its end is 32 zero bytes";
  } else {
    found.verdict = Verdict::kTrailerDiffers;
    found.reason = fmt::format("its SHA-256 is {}, the one at its end is {}", ToHex(*found.digest),
                               ToHex(*found.stored_digest));
  }
}

void SetDamaged(SnapshotFile& found, std::string reason) {
  found.verdict = Verdict::kDamaged;
  found.reason = std::move(reason);
}

std::string Describe(const bolt::CheckReport& check) {
  const auto& first = check.problems.front();
  return fmt::format("{} damaged page(s), the first is {}: {}", check.problem_count, first.page,
                     first.reason);
}

Status Walk(const ReadableFile& file, const JudgeOptions& options, SnapshotFile& found) {
  bolt::CheckOptions check;
  check.max_memory = kWalkMemory;
  check.progress = [&](std::uint64_t done, std::uint64_t total) {
    if (options.progress) options.progress(done, total);
    return true;
  };
  ASSIGN_OR_RETURN(found.check, bolt::Check(file, check));
  if (found.check->clean()) return {};
  const bool said_before =
      found.verdict == Verdict::kTrailerZero || found.verdict == Verdict::kTrailerDiffers;
  if (!said_before) SetDamaged(found, Describe(*found.check));
  return {};
}

// What no digest is needed for: the meta pages and the size. True when more can be found out.
Result<bool> JudgePages(const ReadableFile& file, SnapshotFile& found) {
  const auto database = bolt::Database::Open(file);
  if (!database) {
    const Error& error = database.error();
    if (!error.code.starts_with("bolt-")) return Fail(error);
    found.reason = error.message;
    if (error.code == "bolt-truncated") {
      found.verdict = Verdict::kTruncated;
    } else if (error.code == "bolt-meta-bounds") {
      found.verdict = Verdict::kDamaged;
    }
    return false;
  }
  found.page_size = database->meta().page_size;
  found.backend_size = database->meta().high_water_mark * found.page_size;
  const std::uint64_t behind = found.size - found.backend_size;
  if (found.size % kSector == 0 || found.has_trailer) return true;
  if (behind < kDigestSize) {
    found.verdict = Verdict::kTruncated;
    found.reason = fmt::format("only {} of the 32 bytes of its SHA-256 are there", behind);
  } else {
    SetDamaged(found,
               fmt::format("{} bytes are neither pages nor pages with a SHA-256", found.size));
  }
  return false;
}

Status ReadRevisions(const ReadableFile& file, SnapshotFile& found) {
  ASSIGN_OR_RETURN(const auto database, bolt::Database::Open(file));
  const auto read = [&]() -> Status {
    for (const std::string_view name : {std::string_view("meta"), mvcc::kKeyBucket}) {
      ASSIGN_OR_RETURN(const auto bucket, database.FindBucket(AsBytes(name)));
      if (bucket) continue;
      found.verdict = Verdict::kNotABackend;
      found.reason = fmt::format("it has no bucket {}: not a backend of etcd", name);
      return {};
    }
    ASSIGN_OR_RETURN(const auto bounds, mvcc::ReadRevisionBounds(database));
    found.revision = bounds.latest;
    found.compacted = bounds.compacted;
    return {};
  };
  if (Status status = read(); !status) {
    if (status.error().kind != ErrorKind::kDataDamaged) return status;
    if (found.verdict == Verdict::kTrailerMatches || found.verdict == Verdict::kNoTrailer) {
      SetDamaged(found, status.error().message);
    }
  }
  return {};
}

tl::unexpected<Error> Refuse(ErrorKind kind, std::string code, const SnapshotFile& snapshot,
                             std::string_view label, std::string hint) {
  return Fail(kind, std::move(code), fmt::format("check {}: {}", label, snapshot.reason),
              std::move(hint));
}

}  // namespace

std::string_view Name(Verdict verdict) {
  switch (verdict) {
    case Verdict::kTrailerMatches:
      return "trailer-matches";
    case Verdict::kNoTrailer:
      return "no-trailer";
    case Verdict::kTrailerZero:
      return "trailer-zero";
    case Verdict::kTrailerDiffers:
      return "trailer-differs";
    case Verdict::kTruncated:
      return "truncated";
    case Verdict::kNotABackend:
      return "not-a-backend";
    case Verdict::kDamaged:
      return "damaged";
  }
  return "?";
}

void SnapshotDigest::Update(ByteView bytes) {
  size_ += bytes.size();
  // The last 32 bytes so far may be the digest: they wait until more comes.
  if (bytes.size() >= kDigestSize) {
    hasher_.Update(held_);
    hasher_.Update(bytes.first(bytes.size() - kDigestSize));
    held_ = ToBytes(bytes.last(kDigestSize));
    return;
  }
  Append(held_, bytes);
  if (held_.size() > kDigestSize) {
    const std::size_t over = held_.size() - kDigestSize;
    hasher_.Update(ByteView(held_).first(over));
    held_.erase(held_.begin(), held_.begin() + static_cast<std::ptrdiff_t>(over));
  }
}

SnapshotDigest::Outcome SnapshotDigest::Finish() {
  Outcome outcome;
  outcome.size = size_;
  std::ranges::copy(held_, outcome.last.begin());
  outcome.without_last = hasher_.Finish();
  return outcome;
}

Result<SnapshotFile> JudgeSnapshot(const ReadableFile& file, const JudgeOptions& options) {
  SnapshotFile found;
  found.size = file.size();
  found.has_trailer = found.size % kSector == kDigestSize;
  ASSIGN_OR_RETURN(const bool readable, JudgePages(file, found));
  if (!readable) return found;
  found.verdict = Verdict::kNoTrailer;
  found.reason =
      found.has_trailer ? "its SHA-256 was not looked at" : "it has no SHA-256 at its end";
  if (found.has_trailer && options.digest) {
    found.reason.clear();
    RETURN_IF_ERROR(ReadDigest(file, options, found));
    JudgeDigest(found);
  }
  const bool decides = found.verdict != Verdict::kTrailerMatches;
  if (options.walk == JudgeOptions::Walk::kAlways ||
      (options.walk == JudgeOptions::Walk::kWhenItDecides && decides)) {
    RETURN_IF_ERROR(Walk(file, options, found));
  }
  if (found.verdict != Verdict::kDamaged) RETURN_IF_ERROR(ReadRevisions(file, found));
  return found;
}

Status Accept(const SnapshotFile& snapshot, const AcceptOptions& options, std::string_view label) {
  constexpr const char* kFetchAgain = "fetch it again, or use another snapshot";
  const std::string accept_hint =
      "fetch it again; or, if nothing better is left, --accept-hash-mismatch takes it when every "
      "page is in order";
  switch (snapshot.verdict) {
    case Verdict::kTrailerMatches:
      return {};
    case Verdict::kTruncated:
      return Refuse(ErrorKind::kDataDamaged, "snapshot-truncated", snapshot, label, kFetchAgain);
    case Verdict::kNotABackend:
      return Refuse(ErrorKind::kDataDamaged, "snapshot-not-a-backend", snapshot, label,
                    "name a snapshot of etcdctl, a copy of member/snap/db, or a backup store");
    case Verdict::kDamaged:
      return Refuse(ErrorKind::kDataDamaged, "snapshot-damaged", snapshot, label, kFetchAgain);
    case Verdict::kNoTrailer:
      if (options.in_store && !options.hash_mismatch) {
        return Refuse(ErrorKind::kRefused, "snapshot-hash-missing", snapshot, label, accept_hint);
      }
      break;
    case Verdict::kTrailerZero:
      if (options.hash_mismatch) break;
      return Refuse(ErrorKind::kRefused, "snapshot-hash-zero", snapshot, label, accept_hint);
    case Verdict::kTrailerDiffers:
      if (options.hash_mismatch) break;
      return Refuse(ErrorKind::kRefused, "snapshot-hash-mismatch", snapshot, label, accept_hint);
  }
  if (!snapshot.check) {
    return Refuse(ErrorKind::kRefused, "snapshot-not-walked", snapshot, label,
                  "check every page of it first");
  }
  if (snapshot.check->clean()) return {};
  return Fail(ErrorKind::kDataDamaged, "snapshot-damaged",
              fmt::format("check {}: {}", label, Describe(*snapshot.check)), kFetchAgain);
}

Result<std::uint64_t> DeclaredBackendSize(ByteView first_bytes, std::string_view label) {
  class FirstBytes final : public ReadableFile {
   public:
    explicit FirstBytes(ByteView bytes) : bytes_(bytes) {}
    std::uint64_t size() const override { return bytes_.size(); }
    Result<std::size_t> ReadAt(std::uint64_t offset, std::span<std::byte> into) const override {
      if (offset >= bytes_.size()) return std::size_t{0};
      const ByteView rest = bytes_.subspan(static_cast<std::size_t>(offset));
      const std::size_t count = std::min(rest.size(), into.size());
      std::copy_n(rest.begin(), count, into.begin());
      return count;
    }

   private:
    ByteView bytes_;
  };
  ASSIGN_OR_RETURN(const auto metas, bolt::ReadMetas(FirstBytes(first_bytes)));
  const bolt::Meta* newest = nullptr;
  for (const auto& meta : metas) {
    if (meta && (newest == nullptr || meta->transaction_id > newest->transaction_id)) {
      newest = &*meta;
    }
  }
  constexpr std::uint64_t kMost = std::uint64_t{1} << 50;
  if (newest == nullptr || newest->high_water_mark > kMost / newest->page_size) {
    return Fail(ErrorKind::kDataDamaged, "snapshot-not-a-backend",
                fmt::format("check {}: it does not start as a backend does", label),
                "name a snapshot of etcdctl, a copy of member/snap/db, or a backup store");
  }
  return newest->high_water_mark * newest->page_size;
}

}  // namespace rescue::backup
