// One page: its header, its elements, and every rule about them that can be checked without looking
// at another page.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>

#include "rescue/base/bytes.h"
#include "rescue/base/file.h"
#include "rescue/base/result.h"
#include "rescue/bolt/database.h"
#include "rescue/bolt/format.h"

namespace rescue::bolt {

enum class PageDamage : std::uint8_t {
  kNone,
  kIdentity,        // says that it is another page
  kType,            // neither branch nor leaf
  kExtent,          // continues beyond the high water mark
  kEmptyBranch,     // a branch without children
  kElementTable,    // more elements than fit
  kKeySize,         // empty, or longer than bbolt writes
  kValueSize,       // longer than bbolt writes
  kElementFlags,    // neither key nor bucket
  kBounds,          // key or value outside of the page, or over another element
  kOrder,           // key not above the one before it
  kBucketInInline,  // an inline bucket holds a bucket
};

// A page header in native form.
struct PageInfo {
  std::uint64_t page_size = 0;
  std::uint64_t id = 0;
  std::uint16_t flags = 0;
  std::uint16_t count = 0;
  std::uint32_t overflow = 0;

  bool is_leaf() const { return flags == kLeafPage; }
  bool is_branch() const { return flags == kBranchPage; }
  // Bytes of the page with its continuation.
  std::uint64_t extent() const { return page_size * (std::uint64_t{overflow} + 1); }
  std::uint64_t element_table_end() const {
    return sizeof(PageHeader) + std::uint64_t{count} * kElementSize;
  }
};

PageInfo DecodeHeader(const PageHeader& header, std::uint64_t page_size);
// Identity, type, extent and room for the elements of a page that should be branch or leaf.
PageDamage CheckHeader(const PageInfo& info, std::uint64_t page, std::uint64_t high_water_mark);

struct Element {
  bool is_bucket = false;
  std::uint64_t child = 0;   // branch
  std::uint64_t key_at = 0;  // from the start of the page
  std::uint32_t key_size = 0;
  std::uint32_t value_size = 0;

  std::uint64_t value_at() const { return key_at + key_size; }
};

// Of ScanElements: the first damage, or the ends of the page.
struct ElementScan {
  PageDamage damage = PageDamage::kNone;
  std::uint32_t element = 0;  // where the damage is
  bool has_buckets = false;
  ByteView first;
  ByteView last;
};

// True when a sorts before b: bytes as unsigned numbers, a prefix before what extends it.
inline bool KeyLess(ByteView a, ByteView b) {
  // etcd's keys start with a revision of 8 bytes, which almost always decides.
  if (a.size() >= 8 && b.size() >= 8) {
    std::uint64_t left = 0;
    std::uint64_t right = 0;
    std::memcpy(&left, a.data(), 8);
    std::memcpy(&right, b.data(), 8);
    if (left != right) return __builtin_bswap64(left) < __builtin_bswap64(right);
  }
  const std::size_t common = a.size() < b.size() ? a.size() : b.size();
  const int order = common == 0 ? 0 : std::memcmp(a.data(), b.data(), common);
  return order != 0 ? order < 0 : a.size() < b.size();
}

// Reads element `index` out of the element table (the bytes behind the header).
inline Element DecodeElement(ByteView table, std::uint32_t index, bool is_leaf) {
  const std::size_t at = index * kElementSize;
  Element element;
  if (is_leaf) {
    LeafElement leaf;
    std::memcpy(&leaf, table.data() + at, sizeof(leaf));
    element.is_bucket = leaf.flags == kBucketElement;
    element.key_at = sizeof(PageHeader) + at + leaf.position;
    element.key_size = leaf.key_size;
    element.value_size = leaf.value_size;
  } else {
    BranchElement branch;
    std::memcpy(&branch, table.data() + at, sizeof(branch));
    element.child = branch.page;
    element.key_at = sizeof(PageHeader) + at + branch.position;
    element.key_size = branch.key_size;
  }
  return element;
}

// Every element in bounds, none over another, keys strictly ascending. `table` holds the elements
// of the header, `key_at(offset, size)` gives the bytes of a key that lies within the extent; its
// view must stay good until the call after the next. Keys and values must come in the order of the
// elements, as bbolt writes them (inode.go, WriteInodeToPage); gaps are accepted.
template <typename KeyAt>
ElementScan ScanElements(const PageInfo& info, ByteView table, std::uint64_t extent,
                         KeyAt&& key_at) {
  ElementScan scan;
  const bool is_leaf = info.is_leaf();
  std::uint64_t floor = info.element_table_end();
  ByteView previous;
  const auto damaged = [&](PageDamage damage, std::uint32_t element) {
    scan.damage = damage;
    scan.element = element;
    return scan;
  };
  for (std::uint32_t i = 0; i < info.count; ++i) {
    const Element element = DecodeElement(table, i, is_leaf);
    if (element.key_size == 0 || element.key_size > kMaxKeySize) {
      return damaged(PageDamage::kKeySize, i);
    }
    if (element.value_size > kMaxValueSize) return damaged(PageDamage::kValueSize, i);
    const std::uint64_t end = element.value_at() + element.value_size;
    if (element.key_at < floor || end > extent) return damaged(PageDamage::kBounds, i);
    floor = end;
    if (is_leaf) {
      std::uint32_t flags = 0;
      std::memcpy(&flags, table.data() + i * kElementSize, sizeof(flags));
      if (flags != 0) {
        if (!element.is_bucket) return damaged(PageDamage::kElementFlags, i);
        scan.has_buckets = true;
      }
    }
    const ByteView key = key_at(element.key_at, element.key_size);
    if (i == 0) {
      scan.first = key;
    } else if (!KeyLess(previous, key)) {
      return damaged(PageDamage::kOrder, i);
    }
    previous = key;
  }
  scan.last = previous;
  return scan;
}

// One line about damage, without the page number.
std::string DescribeDamage(const PageInfo& info, PageDamage damage, std::uint32_t element);

// A branch or leaf page that passed every check above. Pages up to kWholePage are held in memory;
// of larger ones (large values) only the elements, and keys and values are read when asked for.
class LoadedPage {
 public:
  static constexpr std::uint64_t kWholePage = std::uint64_t{1} << 20;

  // Errors are without the page number: "bolt-page" for damage, or what the file says.
  static Result<LoadedPage> Load(const ReadableFile& file, const Meta& meta, std::uint64_t page);
  // An inline bucket's page: the value of its bucket element behind the BucketHeader.
  static Result<LoadedPage> FromImage(std::shared_ptr<const Bytes> image);

  const PageInfo& info() const { return info_; }
  bool is_leaf() const { return info_.is_leaf(); }
  std::uint32_t count() const { return info_.count; }
  bool has_buckets() const { return has_buckets_; }

  Element At(std::uint32_t index) const;  // index < count()
  // The views are good as long as this page and `scratch` are.
  Result<ByteView> Key(std::uint32_t index, Bytes& scratch) const;
  Result<ByteView> Value(std::uint32_t index, Bytes& scratch) const;
  // The first element whose key is not below `key`; count() when there is none.
  Result<std::uint32_t> LowerBound(ByteView key) const;

 private:
  LoadedPage() = default;
  Status ReadAndScan(const ReadableFile& file, const Meta& meta, std::uint64_t page);
  Result<ByteView> Piece(std::uint64_t at, std::uint64_t size, Bytes& scratch) const;

  const ReadableFile* file_ = nullptr;
  std::uint64_t offset_ = 0;  // of the page in the file
  PageInfo info_;
  bool has_buckets_ = false;
  std::shared_ptr<const Bytes> bytes_;  // the whole page, or header and elements
};

}  // namespace rescue::bolt
