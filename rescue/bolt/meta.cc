#include "rescue/bolt/meta.h"

#include <fmt/format.h>

#include <bit>

#include "rescue/base/checksum.h"

namespace rescue::bolt {
namespace {

constexpr std::size_t kMetaBytes = sizeof(PageHeader) + sizeof(MetaBody);
constexpr std::uint64_t kUsualPageSize = 4096;

bool IsPageSize(std::uint64_t size) {
  return std::has_single_bit(size) && size >= kMinPageSize && size <= kMaxPageSize;
}

tl::unexpected<MetaProblem> Unusable(int slot, std::string code, std::string reason) {
  return tl::unexpected<MetaProblem>(MetaProblem{slot, std::move(reason), std::move(code)});
}

// Nothing when the file ends before the meta page is complete.
Result<std::optional<MetaBody>> ReadBody(const ReadableFile& file, std::uint64_t offset) {
  if (offset > file.size() || file.size() - offset < kMetaBytes) {
    return std::optional<MetaBody>();
  }
  ASSIGN_OR_RETURN(const Bytes bytes,
                   ReadExactly(file, offset + sizeof(PageHeader), sizeof(MetaBody)));
  return ByteReader(bytes).Read<MetaBody>();
}

// bbolt's Meta.Validate (magic, version, checksum), and a page size that can be one. A page size of
// 0 in `expected` accepts any.
MetaSlot Judge(const MetaBody& body, int slot, std::uint64_t expected_page_size) {
  if (body.magic != kMagic) {
    return Unusable(
        slot, "bolt-meta-magic",
        fmt::format("magic number 0x{:08x} instead of 0x{:08x}", body.magic.Get(), kMagic));
  }
  if (body.version != kVersion) {
    return Unusable(slot, "bolt-meta-version",
                    fmt::format("format version {} instead of {}", body.version.Get(), kVersion));
  }
  if (const std::uint64_t sum = MetaChecksum(body); body.checksum != sum) {
    return Unusable(slot, "bolt-meta-checksum",
                    fmt::format("checksum {:016x} is wrong, the content gives {:016x}",
                                body.checksum.Get(), sum));
  }
  if (!IsPageSize(body.page_size)) {
    return Unusable(slot, "bolt-meta-page-size",
                    fmt::format("page size {} is not a power of two from {} to {}",
                                body.page_size.Get(), kMinPageSize, kMaxPageSize));
  }
  if (expected_page_size != 0 && body.page_size != expected_page_size) {
    return Unusable(slot, "bolt-meta-page-size",
                    fmt::format("page size {}, but the page lies at byte {}", body.page_size.Get(),
                                expected_page_size));
  }
  return Meta{body.page_size,
              body.root_page,
              body.root_sequence,
              body.freelist_page,
              body.high_water_mark,
              body.transaction_id,
              slot};
}

Result<MetaSlot> ReadSlot(const ReadableFile& file, int slot, std::uint64_t offset,
                          std::uint64_t expected_page_size) {
  ASSIGN_OR_RETURN(const std::optional<MetaBody> body, ReadBody(file, offset));
  if (!body) {
    return MetaSlot(Unusable(slot, "bolt-meta-missing",
                             fmt::format("the file ends at byte {}, before it", file.size())));
  }
  return Judge(*body, slot, expected_page_size);
}

// Meta 0 is bad, so the page size is unknown: bbolt looks for meta 1 at every page size there can
// be.
Result<MetaSlot> ProbeSecond(const ReadableFile& file) {
  for (std::uint64_t size = kMinPageSize; size <= kMaxPageSize; size *= 2) {
    ASSIGN_OR_RETURN(MetaSlot second, ReadSlot(file, 1, size, size));
    if (second) return second;
  }
  // None is valid. The usual place gives the most useful reason, unless meta 0 still names another.
  std::uint64_t likely = kUsualPageSize;
  ASSIGN_OR_RETURN(const std::optional<MetaBody> first, ReadBody(file, 0));
  if (first && first->magic == kMagic && IsPageSize(first->page_size)) likely = first->page_size;
  return ReadSlot(file, 1, likely, likely);
}

Status CheckBounds(const Meta& meta, const ReadableFile& file) {
  const std::uint64_t pages_in_file = file.size() / meta.page_size;
  if (meta.high_water_mark > pages_in_file) {
    return Fail(
        ErrorKind::kDataDamaged, "bolt-truncated",
        fmt::format("bbolt file: meta page {} counts {} pages of {} bytes, but the file ends "
                    "after {} ({} bytes)",
                    meta.slot, meta.high_water_mark, meta.page_size, pages_in_file, file.size()),
        "the file was cut off: use a complete copy, or restore from a backup");
  }
  const auto inside = [&](std::uint64_t page) { return page >= 2 && page < meta.high_water_mark; };
  if (!inside(meta.root_page)) {
    return Fail(ErrorKind::kDataDamaged, "bolt-meta-bounds",
                fmt::format("bbolt file: meta page {} has its root at page {}, outside 2 to {}",
                            meta.slot, meta.root_page, meta.high_water_mark),
                "restore from a backup");
  }
  return {};
}

std::string DescribeProblem(const MetaProblem& problem) {
  return fmt::format("meta page {}: {}", problem.slot, problem.reason);
}

}  // namespace

std::uint64_t MetaChecksum(const MetaBody& body) {
  return Fnv1a64(std::as_bytes(std::span(&body, 1)).first(kMetaChecksummed));
}

Result<std::array<MetaSlot, 2>> ReadMetas(const ReadableFile& file) {
  ASSIGN_OR_RETURN(MetaSlot first, ReadSlot(file, 0, 0, 0));
  if (first) {
    ASSIGN_OR_RETURN(MetaSlot second, ReadSlot(file, 1, first->page_size, first->page_size));
    return std::array<MetaSlot, 2>{std::move(first), std::move(second)};
  }
  ASSIGN_OR_RETURN(MetaSlot second, ProbeSecond(file));
  return std::array<MetaSlot, 2>{std::move(first), std::move(second)};
}

Result<ChosenMeta> ChooseMeta(const ReadableFile& file, std::optional<int> forced_slot) {
  if (forced_slot && *forced_slot != 0 && *forced_slot != 1) {
    return Fail(ErrorKind::kUsage, "bolt-slot",
                fmt::format("bbolt file: there is no meta page {}, only 0 and 1", *forced_slot));
  }
  if (file.size() < kMetaBytes) {
    return Fail(ErrorKind::kDataDamaged, "bolt-too-short",
                fmt::format("bbolt file: {} bytes are too few for a meta page", file.size()),
                "the file is empty or cut off: restore from a backup");
  }
  ASSIGN_OR_RETURN(const auto metas, ReadMetas(file));
  if (!metas[0] && !metas[1]) {
    return Fail(ErrorKind::kDataDamaged, "bolt-no-meta",
                fmt::format("bbolt file: neither meta page is valid; {}; {}",
                            DescribeProblem(metas[0].error()), DescribeProblem(metas[1].error())),
                "this is not a bbolt file, or its start was overwritten: restore from a backup");
  }
  int slot = metas[0] ? 0 : 1;
  if (metas[0] && metas[1] && metas[1]->transaction_id > metas[0]->transaction_id) slot = 1;
  slot = forced_slot.value_or(slot);

  const auto index = static_cast<std::size_t>(slot);
  if (!metas[index]) {
    return Fail(ErrorKind::kDataDamaged, metas[index].error().code,
                "bbolt file: " + DescribeProblem(metas[index].error()),
                "the other meta page is valid: use that one");
  }
  RETURN_IF_ERROR(CheckBounds(*metas[index], file));
  ChosenMeta chosen{*metas[index], std::nullopt};
  if (!metas[1 - index]) chosen.problem = metas[1 - index].error();
  return chosen;
}

}  // namespace rescue::bolt
