// For tests: a backend made by hand from a history of writes, with the records that a compaction
// leaves, and a slow, literal model of what etcd's key index would say.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "rescue/base/endian.h"
#include "rescue/bolt/database.h"
#include "rescue/bolt/test_file.h"
#include "rescue/mvcc/key_record.h"

namespace rescue::mvcc::testing {

struct Write {
  Revision revision;
  std::string key;
  std::string value;  // of a put
  bool tombstone = false;
  std::uint64_t lease = 0;
  std::uint64_t create_revision = 0;
  std::uint64_t version = 0;
};

inline std::string RevisionKey(const Revision& revision, bool tombstone = false) {
  const ub64 main(revision.main);
  const ub64 sub(revision.sub);
  return std::string(reinterpret_cast<const char*>(&main), sizeof(main)) + '_' +
         std::string(reinterpret_cast<const char*>(&sub), sizeof(sub)) + (tombstone ? "t" : "");
}

inline void AppendVarint(std::string& to, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) to += static_cast<char>((value & 0x7f) | 0x80);
  to += static_cast<char>(value);
}

// mvccpb.KeyValue, fields of value 0 left out.
inline std::string KeyValue(const Write& write) {
  std::string made = "\x0a";
  AppendVarint(made, write.key.size());
  made += write.key;
  if (write.tombstone) return made;
  const auto number = [&](char tag, std::uint64_t value) {
    if (value == 0) return;
    made += tag;
    AppendVarint(made, value);
  };
  number('\x10', write.create_revision);
  number('\x18', write.revision.main);
  number('\x20', write.version);
  if (!write.value.empty()) {
    made += '\x2a';
    AppendVarint(made, write.value.size());
    made += write.value;
  }
  number('\x30', write.lease);
  return made;
}

// What clients did, in order; every call but And() is a revision of its own.
class History {
 public:
  History& Put(const std::string& key, const std::string& value, std::uint64_t lease = 0) {
    ++main_;
    sub_ = 0;
    return AndPut(key, value, lease);
  }
  History& AndPut(const std::string& key, const std::string& value, std::uint64_t lease = 0) {
    auto& [create, version] = alive_[key];
    if (version++ == 0) create = main_;
    writes_.push_back({{main_, sub_++}, key, value, false, lease, create, version});
    return *this;
  }
  History& Delete(const std::string& key) {
    ++main_;
    sub_ = 0;
    return AndDelete(key);
  }
  History& AndDelete(const std::string& key) {
    alive_.erase(key);
    writes_.push_back({{main_, sub_++}, key, "", true, 0, 0, 0});
    return *this;
  }
  // What had happened when `revision` was the last one; to be looked at, not to be continued.
  History Until(std::uint64_t revision) const {
    History earlier = *this;
    std::erase_if(earlier.writes_,
                  [&](const Write& write) { return write.revision.main > revision; });
    earlier.main_ = revision;
    return earlier;
  }
  // Main and sub revision.
  using Place = std::pair<std::uint64_t, std::uint64_t>;
  static Place PlaceOf(const Write& write) { return {write.revision.main, write.revision.sub}; }
  std::uint64_t revision() const { return main_; }
  const std::vector<Write>& writes() const { return writes_; }

  // mvcc/key_index.go, keep: for each key the newest revision at or below `revision`, unless it is
  // a deletion.
  std::set<Place> Keep(std::uint64_t revision) const {
    std::map<std::string, const Write*> newest;
    for (const Write& write : writes_) {
      if (write.revision.main <= revision) newest[write.key] = &write;
    }
    std::set<Place> kept;
    for (const auto& [key, write] : newest) {
      if (!write->tombstone) kept.emplace(write->revision.main, write->revision.sub);
    }
    return kept;
  }

 private:
  std::uint64_t main_ = 1;
  std::uint64_t sub_ = 0;
  std::vector<Write> writes_;
  std::map<std::string, std::pair<std::uint64_t, std::uint64_t>> alive_;
};

struct Compaction {
  std::uint64_t scheduled = 0;
  std::uint64_t finished = 0;
  // Records below this revision were already deleted by the scheduled one.
  std::uint64_t reached = 0;
  bool keeps_tombstone = true;  // at the compact revision: 3.5.16 and later
};

// The records that are in the backend's key bucket after the compactions.
inline std::vector<Write> Remaining(const History& history, const Compaction& compaction) {
  std::vector<Write> left;
  const auto gone = [&](const Write& write, std::uint64_t at) {
    if (write.revision.main > at || history.Keep(at).contains(History::PlaceOf(write)))
      return false;
    return !(write.tombstone && write.revision.main == at && compaction.keeps_tombstone);
  };
  for (const Write& write : history.writes()) {
    if (gone(write, compaction.finished)) continue;
    if (write.revision.main < compaction.reached && gone(write, compaction.scheduled)) continue;
    left.push_back(write);
  }
  return left;
}

// A backend file with buckets key and meta.
inline bolt::testing::TestFile MakeBackend(const History& history,
                                           const Compaction& compaction = {}) {
  bolt::testing::TestFile file;
  std::vector<bolt::testing::Item> records;
  for (const Write& write : Remaining(history, compaction)) {
    records.push_back({RevisionKey(write.revision, write.tombstone), KeyValue(write)});
  }
  std::vector<bolt::testing::Item> meta;
  if (compaction.finished != 0) {
    meta.push_back({"finishedCompactRev", RevisionKey({compaction.finished, 0})});
  }
  if (compaction.scheduled != 0) {
    meta.push_back({"scheduledCompactRev", RevisionKey({compaction.scheduled, 0})});
  }
  const std::uint64_t key_root = file.Tree(records, 7);
  const std::uint64_t meta_root = file.Leaf(meta);
  file.Finish(file.Leaf({bolt::testing::TestFile::BucketAt("key", key_root),
                         bolt::testing::TestFile::BucketAt("meta", meta_root)}));
  return file;
}

}  // namespace rescue::mvcc::testing
