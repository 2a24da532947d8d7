// A revision of etcd's key space, and how it is written as a key of bucket "key".
//
// 17 bytes: main, big-endian 64 bits; '_'; sub, big-endian 64 bits; a deletion (tombstone) has a
// 't' behind it (server/storage/mvcc/revision.go, RevToBytes; the same from 3.4 to 3.7). Main
// counts transactions that changed something, sub the changes within one, from 0.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "rescue/base/bytes.h"

namespace rescue::mvcc {

struct Revision {
  std::uint64_t main = 0;
  std::uint64_t sub = 0;
  // NOLINTNEXTLINE(modernize-use-nullptr): there is no pointer here
  auto operator<=>(const Revision&) const = default;
};

inline constexpr std::size_t kRevisionSize = 17;
inline constexpr std::size_t kTombstoneSize = 18;

// Reads "main_sub" (17 bytes), with or without a tombstone mark behind it (18 bytes).
std::optional<Revision> DecodeRevision(ByteView key);

// The 17 bytes, and the mark; a key without the mark is the first 17 of them.
std::array<std::byte, kTombstoneSize> EncodeRevision(Revision revision);

}  // namespace rescue::mvcc
