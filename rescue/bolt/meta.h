// The two meta pages: finding the page size, judging each page, choosing one.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <tl/expected.hpp>

#include "rescue/base/file.h"
#include "rescue/base/result.h"
#include "rescue/bolt/database.h"
#include "rescue/bolt/format.h"

namespace rescue::bolt {

// The checksum that bbolt would store: Meta.Sum64 in internal/common/meta.go.
std::uint64_t MetaChecksum(const MetaBody& body);

// Either what a meta page says or why it cannot be used.
using MetaSlot = tl::expected<Meta, MetaProblem>;

// Both slots as they are; fails only when the file cannot be read.
Result<std::array<MetaSlot, 2>> ReadMetas(const ReadableFile& file);

struct ChosenMeta {
  Meta meta;
  std::optional<MetaProblem> problem;  // of the other slot
};

// The meta page that bbolt would use, or the forced one, with its page numbers checked against the
// file. Errors: see Database::Open and OpenAt.
Result<ChosenMeta> ChooseMeta(const ReadableFile& file, std::optional<int> forced_slot);

}  // namespace rescue::bolt
