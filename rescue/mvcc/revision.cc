#include "rescue/mvcc/revision.h"

#include <algorithm>

#include "rescue/base/endian.h"

namespace rescue::mvcc {

std::optional<Revision> DecodeRevision(ByteView key) {
  if (key.size() != kRevisionSize && key.size() != kTombstoneSize) return std::nullopt;
  if (key.size() == kTombstoneSize && key.back() != std::byte{'t'}) return std::nullopt;
  ByteReader reader(key);
  const auto main = reader.Read<ub64>();
  const auto separator = reader.Take(1);
  const auto sub = reader.Read<ub64>();
  if (!main || !separator || !sub || separator->front() != std::byte{'_'}) return std::nullopt;
  return Revision{main->Get(), sub->Get()};
}

std::array<std::byte, kTombstoneSize> EncodeRevision(Revision revision) {
  struct Text {
    ub64 main;
    std::array<char, 1> separator{'_'};
    ub64 sub;
    std::array<char, 1> mark{'t'};
  };
  static_assert(sizeof(Text) == kTombstoneSize);
  Text text;
  text.main = revision.main;
  text.sub = revision.sub;
  std::array<std::byte, kTombstoneSize> bytes{};
  std::ranges::copy(std::as_bytes(std::span(&text, 1)), bytes.begin());
  return bytes;
}

}  // namespace rescue::mvcc
