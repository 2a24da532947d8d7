#include "rescue/etcd/snapshot_status.h"

#include <fmt/format.h>

#include <algorithm>

#include "rescue/base/units.h"
#include "rescue/etcd/key_record.h"
#include "rescue/etcd/key_table.h"

namespace rescue::etcd {
namespace {

// The smallest sector: a backend is a multiple of it, a snapshot with its SHA-256 is not.
constexpr std::uint64_t kSector = 512;
constexpr std::uint64_t kDigestSize = std::tuple_size_v<Sha256Digest>;

Status ReadTrailer(const ReadableFile& file, SnapshotStatus& found) {
  if (!HasSnapshotTrailer(found.file_size)) return {};
  const std::uint64_t covered = found.file_size - kDigestSize;
  Sha256Hasher hasher;
  Bytes piece(kMiB);
  for (std::uint64_t at = 0; at < covered;) {
    const auto want = static_cast<std::size_t>(std::min<std::uint64_t>(kMiB, covered - at));
    ASSIGN_OR_RETURN(const std::size_t got, file.ReadAt(at, std::span(piece).first(want)));
    if (got == 0) {
      return Fail(ErrorKind::kDataDamaged, "bolt-truncated",
                  "read the snapshot: it became shorter while it was read",
                  "wait until whoever writes it is done");
    }
    hasher.Update(ByteView(piece).first(got));
    at += got;
  }
  ASSIGN_OR_RETURN(const Bytes stored, ReadExactly(file, covered, kDigestSize));
  found.stored_digest.emplace();
  std::copy(stored.begin(), stored.end(), found.stored_digest->begin());
  found.digest = hasher.Finish();
  found.trailer =
      found.stored_digest == found.digest ? SnapshotTrailer::kMatches : SnapshotTrailer::kDiffers;
  return {};
}

Status CheckPages(const ReadableFile& file, const SnapshotStatusOptions& options,
                  SnapshotStatus& found) {
  if (!options.check) return {};
  bolt::CheckOptions check;
  check.progress = [&](std::uint64_t done, std::uint64_t total) {
    if (options.progress) options.progress(done, total);
    return true;
  };
  ASSIGN_OR_RETURN(found.check, bolt::Check(file, check));
  if (found.check->clean()) return {};
  return Fail(ErrorKind::kDataDamaged, "backend-damaged",
              fmt::format("check the pages: {} problem(s), the first on page {}: {}",
                          found.check->problem_count, found.check->problems.front().page,
                          found.check->problems.front().reason),
              "use another survivor or snapshot; `plan` says what a rescue would lose");
}

// Every bucket's name and records into the hash; the records of bucket "key" are also counted.
class Walk {
 public:
  explicit Walk(SnapshotStatus& found) : found_(found) {}

  Status Bucket(const bolt::Database& database, const std::string& name);

 private:
  // False ends the walk; failure_ says why.
  bool Count(const Result<KeyRecord>& record);

  SnapshotStatus& found_;
  KeyTable alive_;
  std::optional<Error> failure_;
};

bool Walk::Count(const Result<KeyRecord>& record) {
  if (!record) {
    failure_ = record.error();
    return false;
  }
  found_.revision = record->revision.main;
  std::uint64_t* const lives = alive_.At(record->key);
  if (lives == nullptr) {
    failure_ = Error{ErrorKind::kRefused, "too-many-keys",
                     fmt::format("count the keys: more than {}", KeyTable::kMaxKeys),
                     "use etcdutl on a machine with enough memory"};
    return false;
  }
  if (*lives == 1) --found_.live_keys;
  *lives = record->tombstone ? 0 : 1;
  found_.live_keys += *lives;
  return true;
}

Status Walk::Bucket(const bolt::Database& database, const std::string& name) {
  ASSIGN_OR_RETURN(const auto bucket, database.FindBucket(AsBytes(name)));
  if (!bucket) return {};
  found_.hash = Crc32c(found_.hash, AsBytes(name));
  const bool is_key_bucket = name == kKeyBucket;
  RETURN_IF_ERROR(bucket->ForEach([&](ByteView key, ByteView value, bool is_bucket) {
    // bbolt gives a nested bucket's name with no value; etcd never makes one.
    if (is_bucket) value = {};
    found_.hash = Crc32c(Crc32c(found_.hash, key), value);
    ++found_.total_keys;
    return !is_key_bucket || Count(DecodeKeyRecord(key, value));
  }));
  if (failure_) return Fail(*std::move(failure_));
  return {};
}

Status ReadStorageVersion(const bolt::Database& database, SnapshotStatus& found) {
  ASSIGN_OR_RETURN(const auto meta, database.FindBucket(AsBytes("meta")));
  if (!meta) return {};
  ASSIGN_OR_RETURN(const auto version, meta->Get(AsBytes("storageVersion")));
  if (version) found.storage_version = Printable(*version, 32);
  return {};
}

}  // namespace

std::string_view Name(SnapshotTrailer trailer) {
  switch (trailer) {
    case SnapshotTrailer::kAbsent:
      return "absent";
    case SnapshotTrailer::kMatches:
      return "matches";
    case SnapshotTrailer::kDiffers:
      return "differs";
  }
  return "?";
}

bool HasSnapshotTrailer(std::uint64_t size) { return size % kSector == kDigestSize; }

Status ReadSnapshotStatus(const ReadableFile& file, const SnapshotStatusOptions& options,
                          SnapshotStatus& found) {
  found = SnapshotStatus{};
  found.file_size = file.size();
  RETURN_IF_ERROR(ReadTrailer(file, found));
  ASSIGN_OR_RETURN(const auto database, bolt::Database::Open(file));
  found.total_size = database.meta().high_water_mark * database.meta().page_size;
  Status pages = CheckPages(file, options, found);
  if (!pages && pages.error().code != "backend-damaged") return pages;
  RETURN_IF_ERROR(ReadStorageVersion(database, found));
  ASSIGN_OR_RETURN(const auto names, database.Buckets());
  Walk walk(found);
  for (const auto& name : names) {
    auto walked = walk.Bucket(database, name);
    // What the check says about the same damage is more useful.
    if (!walked) return pages ? walked : pages;
  }
  return pages;
}

}  // namespace rescue::etcd
