#include "rescue/bolt/page.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

namespace rescue::bolt {
namespace {

tl::unexpected<Error> Damaged(std::string reason) {
  return Fail(ErrorKind::kDataDamaged, "bolt-page", std::move(reason),
              "run the full check to see every damaged page and the keys it affects");
}

// What a file of this size cannot hold is refused before memory is asked for.
Status FillFrom(const ReadableFile& file, std::uint64_t offset, Bytes& bytes, std::size_t from) {
  ASSIGN_OR_RETURN(const std::size_t got,
                   file.ReadAt(offset + from, std::span(bytes).subspan(from)));
  if (got != bytes.size() - from) return Damaged("the file became shorter while it was read");
  return {};
}

}  // namespace

PageInfo DecodeHeader(const PageHeader& header, std::uint64_t page_size) {
  return {page_size, header.id, header.flags, header.count, header.overflow};
}

PageDamage CheckHeader(const PageInfo& info, std::uint64_t page, std::uint64_t high_water_mark) {
  if (info.id != page) return PageDamage::kIdentity;
  if (!info.is_branch() && !info.is_leaf()) return PageDamage::kType;
  if (page >= high_water_mark || info.overflow >= high_water_mark - page) {
    return PageDamage::kExtent;
  }
  if (info.is_branch() && info.count == 0) return PageDamage::kEmptyBranch;
  if (info.element_table_end() > info.extent()) return PageDamage::kElementTable;
  return PageDamage::kNone;
}

std::string DescribeDamage(const PageInfo& info, PageDamage damage, std::uint32_t element) {
  switch (damage) {
    case PageDamage::kNone:
      return "no damage";
    case PageDamage::kIdentity:
      return fmt::format("identifies itself as page {}", info.id);
    case PageDamage::kType:
      return fmt::format("has type 0x{:x}, neither branch nor leaf", info.flags);
    case PageDamage::kExtent:
      return fmt::format("continues for {} pages, beyond the last used page", info.overflow);
    case PageDamage::kEmptyBranch:
      return "is a branch without children";
    case PageDamage::kElementTable:
      return fmt::format("counts {} elements, more than its {} bytes hold", info.count,
                         info.extent());
    case PageDamage::kKeySize:
      return fmt::format("element {}: key is empty or longer than {} bytes", element, kMaxKeySize);
    case PageDamage::kValueSize:
      return fmt::format("element {}: value is longer than {} bytes", element, kMaxValueSize);
    case PageDamage::kElementFlags:
      return fmt::format("element {}: is marked neither as key nor as bucket", element);
    case PageDamage::kBounds:
      return fmt::format("element {}: lies outside of the page or over another element", element);
    case PageDamage::kOrder:
      return fmt::format("element {}: key is not above the one before it", element);
    case PageDamage::kBucketInInline:
      return fmt::format("element {}: a bucket inside an inline bucket", element);
  }
  return "unknown damage";
}

Result<LoadedPage> LoadedPage::Load(const ReadableFile& file, const Meta& meta,
                                    std::uint64_t page) {
  if (page < 2 || page >= meta.high_water_mark) {
    return Damaged(fmt::format("does not exist: pages are 2 to {}", meta.high_water_mark - 1));
  }
  LoadedPage loaded;
  RETURN_IF_ERROR(loaded.ReadAndScan(file, meta, page));
  return loaded;
}

Status LoadedPage::ReadAndScan(const ReadableFile& file, const Meta& meta, std::uint64_t page) {
  file_ = &file;
  offset_ = page * meta.page_size;
  ASSIGN_OR_RETURN(Bytes bytes, ReadExactly(file, offset_, meta.page_size));
  info_ = DecodeHeader(*ByteReader(bytes).Read<PageHeader>(), meta.page_size);
  if (const auto damage = CheckHeader(info_, page, meta.high_water_mark);
      damage != PageDamage::kNone) {
    return Damaged(DescribeDamage(info_, damage, 0));
  }
  // The high water mark was checked against the file, so the extent is one that the file holds.
  const std::uint64_t wanted = info_.extent() <= std::max(kWholePage, meta.page_size)
                                   ? info_.extent()
                                   : info_.element_table_end();
  if (const std::size_t have = bytes.size(); wanted > have) {
    bytes.resize(static_cast<std::size_t>(wanted));
    RETURN_IF_ERROR(FillFrom(file, offset_, bytes, have));
  }
  bytes_ = std::make_shared<const Bytes>(std::move(bytes));

  // Keys of a page that is not in memory: the view of the one before must stay good.
  std::array<Bytes, 3> scratch;
  std::size_t turn = 0;
  std::optional<Error> failure;
  const auto key_at = [&](std::uint64_t at, std::uint32_t size) -> ByteView {
    auto piece = Piece(at, size, scratch[++turn % scratch.size()]);
    if (piece) return *piece;
    if (!failure) failure = piece.error();
    return {};
  };
  const ElementScan scan =
      ScanElements(info_, ByteView(*bytes_).subspan(sizeof(PageHeader)), info_.extent(), key_at);
  if (failure) return Fail(*std::move(failure));
  if (scan.damage != PageDamage::kNone) {
    return Damaged(DescribeDamage(info_, scan.damage, scan.element));
  }
  has_buckets_ = scan.has_buckets;
  return {};
}

Result<LoadedPage> LoadedPage::FromImage(std::shared_ptr<const Bytes> image) {
  const auto header = ByteReader(*image).Read<PageHeader>();
  if (!header) {
    return Damaged(fmt::format("inline page: {} bytes are too few for a header", image->size()));
  }
  LoadedPage loaded;
  loaded.info_ = DecodeHeader(*header, image->size());
  PageDamage damage = CheckHeader(loaded.info_, 0, 1);
  if (damage == PageDamage::kNone && !loaded.is_leaf()) damage = PageDamage::kType;
  std::uint32_t element = 0;
  if (damage == PageDamage::kNone) {
    const auto key_at = [&](std::uint64_t at, std::uint32_t size) {
      return ByteView(*image).subspan(static_cast<std::size_t>(at), size);
    };
    const ElementScan scan = ScanElements(
        loaded.info_, ByteView(*image).subspan(sizeof(PageHeader)), image->size(), key_at);
    damage = scan.damage;
    element = scan.element;
    if (damage == PageDamage::kNone && scan.has_buckets) damage = PageDamage::kBucketInInline;
  }
  if (damage != PageDamage::kNone) {
    return Damaged("inline page: " + DescribeDamage(loaded.info_, damage, element));
  }
  loaded.bytes_ = std::move(image);
  return loaded;
}

Element LoadedPage::At(std::uint32_t index) const {
  return DecodeElement(ByteView(*bytes_).subspan(sizeof(PageHeader)), index, is_leaf());
}

Result<ByteView> LoadedPage::Piece(std::uint64_t at, std::uint64_t size, Bytes& scratch) const {
  if (const auto slice = Slice(*bytes_, at, size)) return *slice;
  ASSIGN_OR_RETURN(scratch, ReadExactly(*file_, offset_ + at, size));
  return ByteView(scratch);
}

Result<ByteView> LoadedPage::Key(std::uint32_t index, Bytes& scratch) const {
  const Element element = At(index);
  return Piece(element.key_at, element.key_size, scratch);
}

Result<ByteView> LoadedPage::Value(std::uint32_t index, Bytes& scratch) const {
  const Element element = At(index);
  return Piece(element.value_at(), element.value_size, scratch);
}

Result<std::uint32_t> LoadedPage::LowerBound(ByteView key) const {
  std::uint32_t low = 0;
  std::uint32_t high = count();
  Bytes scratch;
  while (low < high) {
    const std::uint32_t middle = low + (high - low) / 2;
    ASSIGN_OR_RETURN(const ByteView at, Key(middle, scratch));
    if (KeyLess(at, key)) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

}  // namespace rescue::bolt
