#include "rescue/etcd/hash.h"

#include <fmt/format.h>

#include <vector>

#include "rescue/base/checksum.h"
#include "rescue/etcd/key_record.h"
#include "rescue/etcd/key_table.h"

namespace rescue::etcd {
namespace {

tl::unexpected<Error> TooManyKeys() {
  return Fail(ErrorKind::kRefused, "too-many-keys",
              fmt::format("hash the key space: more than {} keys", KeyTable::kMaxKeys),
              "hash this backend with etcdutl on a machine with enough memory");
}

// Of the records at or below the compact revision, which ones can a reader at `revision` see?
class Visible {
 public:
  Visible(std::uint64_t revision, std::uint64_t compacted)
      : revision_(revision), compacted_(compacted) {}

  // One pass over the records up to the revision.
  Status Find(const bolt::Database& database,
              const std::function<void(const KeyRecord&)>& progress);
  // `position`: of a record at or below the compact revision, counted from 0.
  bool At(std::uint64_t position) const { return position < kept_.size() && kept_[position]; }
  bool any() const { return count_ > 0; }

 private:
  bool Note(const KeyRecord& record);
  void Drop(std::uint64_t& position);

  std::uint64_t revision_;
  std::uint64_t compacted_;
  KeyTable last_;  // position of each key's newest visible record
  std::vector<bool> kept_;
  std::uint64_t count_ = 0;
};

void Visible::Drop(std::uint64_t& position) {
  if (position == KeyTable::kNone) return;
  kept_[position] = false;
  position = KeyTable::kNone;
  --count_;
}

bool Visible::Note(const KeyRecord& record) {
  if (record.revision.main > compacted_) {
    // Newer records only matter where they hide an older one.
    if (std::uint64_t* const position = last_.Find(record.key)) Drop(*position);
    return true;
  }
  std::uint64_t* const position = last_.At(record.key);
  if (position == nullptr) return false;
  Drop(*position);
  kept_.push_back(!record.tombstone);
  if (record.tombstone) return true;
  *position = kept_.size() - 1;
  ++count_;
  return true;
}

Status Visible::Find(const bolt::Database& database,
                     const std::function<void(const KeyRecord&)>& progress) {
  bool full = false;
  RETURN_IF_ERROR(ForEachKeyRecord(database, [&](const KeyRecord& record) {
    if (record.revision.main > revision_) return false;
    // Nothing at or below the compact revision: no key is there to be hidden.
    if (record.revision.main > compacted_ && last_.size() == 0) return false;
    progress(record);
    full = !Note(record);
    return !full;
  }));
  if (full) return TooManyKeys();
  return {};
}

// Rare: only an unfinished compaction of a key space in which little or nothing is left needs it.
Result<bool> AnyKeyLives(const bolt::Database& database, std::uint64_t revision) {
  KeyTable keys;
  std::uint64_t alive = 0;
  bool full = false;
  RETURN_IF_ERROR(ForEachKeyRecord(database, [&](const KeyRecord& record) {
    if (record.revision.main > revision) return false;
    std::uint64_t* const lives = keys.At(record.key);
    full = lives == nullptr;
    if (full) return false;
    if (*lives == 1) --alive;
    *lives = record.tombstone ? 0 : 1;
    alive += *lives;
    return true;
  }));
  if (full) return TooManyKeys();
  return alive > 0;
}

Result<std::uint64_t> ChooseCompactRevision(const RevisionBounds& bounds,
                                            const HashOptions& options, std::uint64_t revision) {
  const std::uint64_t wanted = options.compact_revision.value_or(bounds.compacted);
  if (wanted < bounds.compacted) {
    return Fail(
        ErrorKind::kUsage, "revision-compacted",
        fmt::format("hash as if compacted at {}: it was compacted at {}", wanted, bounds.compacted),
        "choose the higher of the two compact revisions");
  }
  if (wanted > revision) {
    return Fail(ErrorKind::kUsage, "revision-future",
                fmt::format("hash revision {} as if compacted at {}", revision, wanted),
                "choose a compact revision that is not above the hashed one");
  }
  return wanted;
}

}  // namespace

Result<KeySpaceHash> HashKeySpace(const bolt::Database& database, const HashOptions& options) {
  ASSIGN_OR_RETURN(const auto bounds, ReadRevisionBounds(database));
  KeySpaceHash made;
  ASSIGN_OR_RETURN(made.revision, ChooseRevision(bounds, options.revision));
  ASSIGN_OR_RETURN(made.compact_revision, ChooseCompactRevision(bounds, options, made.revision));
  made.latest_revision = bounds.latest;
  made.compaction_pending = bounds.compaction_pending;

  const std::uint64_t total =
      2 * database.meta().high_water_mark * database.meta().page_size;  // two passes
  std::uint64_t done = 0;
  const auto progress = [&](const KeyRecord& record) {
    done += record.raw_key.size() + record.raw_value.size();
    if (options.progress) options.progress(done, total);
  };
  Visible visible(made.revision, made.compact_revision);
  RETURN_IF_ERROR(visible.Find(database, progress));
  bool leave_out = visible.any() || options.compact_revision.has_value();
  if (!leave_out) {
    ASSIGN_OR_RETURN(leave_out, AnyKeyLives(database, made.revision));
  }

  std::uint64_t position = 0;
  made.hash = Crc32c(0, AsBytes(kKeyBucket));
  RETURN_IF_ERROR(ForEachKeyRecord(database, [&](const KeyRecord& record) {
    const std::uint64_t main = record.revision.main;
    if (main > made.revision) return false;
    progress(record);
    if (main <= made.compact_revision && leave_out && !visible.At(position++)) return true;
    if (main == made.compact_revision && record.tombstone) return true;
    made.hash = Crc32c(Crc32c(made.hash, record.raw_key), record.raw_value);
    ++made.records;
    return true;
  }));
  return made;
}

}  // namespace rescue::etcd
