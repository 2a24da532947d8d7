// The byte layout of a bbolt file: constants and disk structs, nothing else. FORMAT.md explains
// them. Sources: bbolt internal/common/{types,page,meta,bucket}.go (1.4), db.go and page.go (1.3).
#pragma once

#include <cstddef>
#include <cstdint>

#include "rescue/base/endian.h"

namespace rescue::bolt {

// bbolt writes native integers; every platform that etcd supports is little-endian.
inline constexpr std::uint32_t kMagic = 0xED0CDAED;
inline constexpr std::uint32_t kVersion = 2;

// The operating system's page size when the file was made. bbolt itself looks for a second meta
// page at 1 KiB << 0..14 (db.go, getPageSizeFromSecondMeta).
inline constexpr std::uint64_t kMinPageSize = 1024;
inline constexpr std::uint64_t kMaxPageSize = std::uint64_t{1024} << 14;

// Page types; exactly one is set (page.go, IsValidPage).
inline constexpr std::uint16_t kBranchPage = 0x01;
inline constexpr std::uint16_t kLeafPage = 0x02;
inline constexpr std::uint16_t kMetaPage = 0x04;
inline constexpr std::uint16_t kFreelistPage = 0x10;

// LeafElement::flags of a bucket.
inline constexpr std::uint32_t kBucketElement = 0x01;

// bbolt's limits for what a writer may put (bucket.go, MaxKeySize and MaxValueSize).
inline constexpr std::uint32_t kMaxKeySize = 32768;
inline constexpr std::uint32_t kMaxValueSize = (std::uint32_t{1} << 31) - 2;

// A freelist page with this count holds the real one in its first entry (freelist.go, write).
inline constexpr std::uint16_t kFreelistCountElsewhere = 0xFFFF;

// Two keys a page at least, and page numbers of 64 bits: a real tree is never deeper than this.
inline constexpr int kMaxTreeDepth = 64;
// Levels of pages over all nested buckets that the full check follows. etcd nests none (so 6 levels
// are many); bbolt sets no limit.
inline constexpr int kMaxLevels = 256;

struct PageHeader {
  ul64 id;        // the page's own number
  ul16 flags;     // one of the page types
  ul16 count;     // elements
  ul32 overflow;  // pages that continue this one, directly behind it
};
static_assert(sizeof(PageHeader) == 16);

// Behind a page header of type kMetaPage.
struct MetaBody {
  ul32 magic;
  ul32 version;
  ul32 page_size;  // bytes
  ul32 flags;      // always 0
  ul64 root_page;
  ul64 root_sequence;
  ul64 freelist_page;
  ul64 high_water_mark;  // a page number
  ul64 transaction_id;
  ul64 checksum;  // FNV-1a, 64 bits, of the 56 bytes before it
};
static_assert(sizeof(MetaBody) == 64);
inline constexpr std::size_t kMetaChecksummed = offsetof(MetaBody, checksum);
static_assert(kMetaChecksummed == 56);

struct BranchElement {
  ul32 position;  // of the key, from the start of this element
  ul32 key_size;
  ul64 page;  // its keys are not below this key
};
static_assert(sizeof(BranchElement) == 16);

struct LeafElement {
  ul32 flags;
  ul32 position;  // of the key, from the start of this element; the value follows the key
  ul32 key_size;
  ul32 value_size;
};
static_assert(sizeof(LeafElement) == 16);

// Both kinds have one size, so the place of an element does not depend on the type of the page.
inline constexpr std::size_t kElementSize = 16;

// The value of a bucket element starts with this. When root_page is 0 a whole leaf page image
// follows.
struct BucketHeader {
  ul64 root_page;
  ul64 sequence;
};
static_assert(sizeof(BucketHeader) == 16);

}  // namespace rescue::bolt
