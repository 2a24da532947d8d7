// The key space as a client would see it at one revision, read from the backend alone: a look
// before deciding.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "rescue/base/bytes.h"
#include "rescue/base/result.h"
#include "rescue/bolt/database.h"

namespace rescue::etcd {

struct RangeRequest {
  std::string prefix;          // keys that start with it; empty: all
  std::string from;            // keys that are not below it; empty: all
  std::uint64_t limit = 0;     // keys in the answer, the lowest ones; 0: all
  std::uint64_t revision = 0;  // 0: the latest
  bool values = false;
  // Refuse ("too-many-keys", kRefused) when the keys that match would need more than this many
  // bytes of memory.
  std::uint64_t max_memory = std::uint64_t{512} << 20;
};

struct ListedKey {
  Bytes key;
  std::uint64_t create_revision = 0;
  std::uint64_t mod_revision = 0;
  std::uint64_t version = 0;
  std::uint64_t lease = 0;       // 0: none
  std::uint64_t value_size = 0;  // bytes
  std::optional<Bytes> value;    // when asked for

  bool operator==(const ListedKey&) const = default;
};

struct KeyListing {
  std::uint64_t revision = 0;          // the one that was looked at
  std::uint64_t latest_revision = 0;   // of the backend
  std::uint64_t compact_revision = 0;  // lower ones cannot be looked at
  std::uint64_t matching = 0;          // keys, with those beyond the limit
  std::vector<ListedKey> keys;         // ascending
};

// One pass over the records; values are then read one by one. Errors: those of ForEachKeyRecord and
// ChooseRevision (key_record.h).
Result<KeyListing> ListKeys(const bolt::Database& database, const RangeRequest& request);

}  // namespace rescue::etcd
