#include "rescue/etcd/keyspace.h"

#include <fmt/format.h>

#include <map>

#include "rescue/base/units.h"
#include "rescue/etcd/key_record.h"

namespace rescue::etcd {
namespace {

struct Live {
  ListedKey listed;  // without key and value
  Bytes record;      // its key in bucket "key"
};
using LiveKeys = std::map<std::string, Live, std::less<>>;

// What one key costs besides its name: the node of the map with what is in it.
constexpr std::uint64_t kBytesPerKey = sizeof(LiveKeys::value_type) + 64;

class Collector {
 public:
  explicit Collector(const RangeRequest& request) : request_(request) {}

  bool Matches(std::string_view key) const {
    return !key.empty() && key.starts_with(request_.prefix) && key >= request_.from;
  }
  void Take(const KeyRecord& record);
  bool too_large() const { return memory_ > request_.max_memory; }
  LiveKeys& live() { return live_; }

 private:
  const RangeRequest& request_;
  LiveKeys live_;
  std::uint64_t memory_ = 0;
};

void Collector::Take(const KeyRecord& record) {
  const std::string_view key = AsText(record.key);
  auto found = live_.find(key);
  if (record.tombstone) {
    if (found == live_.end()) return;
    memory_ -= kBytesPerKey + key.size();
    live_.erase(found);
    return;
  }
  if (found == live_.end()) {
    memory_ += kBytesPerKey + key.size();
    found = live_.emplace(std::string(key), Live{}).first;
  }
  ListedKey& listed = found->second.listed;
  listed.create_revision = record.create_revision;
  listed.mod_revision = record.mod_revision;
  listed.version = record.version;
  listed.lease = record.lease;
  listed.value_size = record.value.size();
  found->second.record.assign(record.raw_key.begin(), record.raw_key.end());
}

Result<Bytes> ReadValue(const bolt::Bucket& bucket, ByteView record_key) {
  ASSIGN_OR_RETURN(const auto value, bucket.Get(record_key));
  if (!value) {
    return Fail(ErrorKind::kDataDamaged, "bad-key-record",
                "read a value: its record is gone although it was there before",
                "look again when nothing else writes to the backend");
  }
  ASSIGN_OR_RETURN(const auto record, DecodeKeyRecord(record_key, *value));
  return ToBytes(record.value);
}

}  // namespace

Result<KeyListing> ListKeys(const bolt::Database& database, const RangeRequest& request) {
  ASSIGN_OR_RETURN(const auto bounds, ReadRevisionBounds(database));
  KeyListing range;
  range.latest_revision = bounds.latest;
  range.compact_revision = bounds.compacted;
  ASSIGN_OR_RETURN(range.revision, ChooseRevision(bounds, request.revision));

  Collector collector(request);
  RETURN_IF_ERROR(ForEachKeyRecord(database, [&](const KeyRecord& record) {
    if (record.revision.main > range.revision) return false;
    if (collector.Matches(AsText(record.key))) collector.Take(record);
    return !collector.too_large();
  }));
  if (collector.too_large()) {
    return Fail(ErrorKind::kRefused, "too-many-keys",
                fmt::format("list the keys: those that match need more than {} of memory",
                            FormatSize(request.max_memory)),
                "name a longer --prefix");
  }
  range.matching = collector.live().size();
  ASSIGN_OR_RETURN(const auto bucket, database.FindBucket(AsBytes(kKeyBucket)));
  for (auto& [key, live] : collector.live()) {
    if (request.limit != 0 && range.keys.size() >= request.limit) break;
    live.listed.key = ToBytes(AsBytes(key));
    if (request.values) {
      ASSIGN_OR_RETURN(live.listed.value, ReadValue(*bucket, live.record));
    }
    range.keys.push_back(std::move(live.listed));
  }
  return range;
}

}  // namespace rescue::etcd
