// What the full check keeps of every page: one summary a page and one entry a branch element, so
// that the tree can be verified in memory after one pass over the file.
//
// Sizes: 36 bytes a page below the high water mark and 28 bytes a branch element. Each page in use
// has one branch element, so an intact file needs 64 bytes a page at most: 128 MiB for 8 GiB of 4
// KiB pages. Free pages keep their old content and may hold old branch pages, so the number of
// entries is capped; a branch that found no room is read again when the tree is verified.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <deque>
#include <optional>
#include <vector>

#include "rescue/base/bytes.h"

namespace rescue::bolt {

// 64 bits of a key's content: equal keys have equal hashes. Not meant to withstand someone who
// builds collisions: whoever can do that can as well write a file that is intact and says what they
// want.
std::uint64_t HashKey(ByteView key);

enum class KeyOrder { kLess, kEqual, kGreater, kUnknown };

// A key in 20 bytes. Up to 18 bytes it is exact, which covers all of etcd's large bucket (revisions
// of 17 bytes, 18 for tombstones); of a longer one the first 10 bytes and the hash are kept.
class PackedKey {
 public:
  PackedKey() = default;
  explicit PackedKey(ByteView key) : size_(static_cast<std::uint16_t>(key.size())) {
    if (key.size() <= kExact) {
      std::memcpy(bytes_.data(), key.data(), key.size());
    } else {
      const std::uint64_t hash = HashKey(key);
      std::memcpy(bytes_.data(), key.data(), kPrefix);
      std::memcpy(bytes_.data() + kPrefix, &hash, sizeof(hash));
    }
  }

  std::uint64_t Hash() const;
  // kUnknown when the kept bytes cannot tell: two keys of which one is long share their prefix.
  static KeyOrder Compare(const PackedKey& a, const PackedKey& b);

 private:
  static constexpr std::size_t kExact = 18;
  static constexpr std::size_t kPrefix = kExact - sizeof(std::uint64_t);

  bool exact() const { return size_ <= kExact; }
  ByteView known() const {
    return std::as_bytes(std::span(bytes_)).first(exact() ? std::size_t{size_} : kPrefix);
  }

  std::uint16_t size_ = 0;  // bytes of the whole key, at most kMaxKeySize
  std::array<std::uint8_t, kExact> bytes_{};
};
static_assert(sizeof(PackedKey) == 20);

enum class PageKind : std::uint8_t {
  kNotAPage,    // no branch or leaf that passes LoadedPage's checks, or not looked at
  kUnreadable,  // the read failed
  kLeaf,
  kBranch,
  kDeferred,  // looks like one, but must be read by itself (long, or no room for its children)
};

struct PageSummary {
  static constexpr std::uint8_t kUsed = 1;        // by the tree, a meta page or the freelist
  static constexpr std::uint8_t kListedFree = 2;  // in the stored freelist
  static constexpr std::uint8_t kHasBuckets = 4;

  std::uint32_t overflow = 0;
  std::uint16_t count = 0;
  PageKind kind = PageKind::kNotAPage;
  std::uint8_t flags = 0;
  // Leaf: hash of the first key. Branch: where its children start in the table; the first of them
  // has the first key. Two halves for alignment.
  std::array<std::uint32_t, 2> word{};
  PackedKey last;  // leaf only: the last key

  void SetWord(std::uint64_t value) { std::memcpy(word.data(), &value, sizeof(value)); }
  std::uint64_t Word() const {
    std::uint64_t value = 0;
    std::memcpy(&value, word.data(), sizeof(value));
    return value;
  }
};
static_assert(sizeof(PageSummary) == 36);

struct BranchEntry {
  std::array<std::uint32_t, 2> child_page{};  // two halves for alignment
  PackedKey key;

  BranchEntry(std::uint64_t page, PackedKey packed) : key(packed) {
    std::memcpy(child_page.data(), &page, sizeof(page));
  }
  std::uint64_t child() const {
    std::uint64_t page = 0;
    std::memcpy(&page, child_page.data(), sizeof(page));
    return page;
  }
};
static_assert(sizeof(BranchEntry) == 28);

class PageTable {
 public:
  // Old branch pages among the free ones are remembered up to this number.
  static constexpr std::uint64_t kSpareChildren = std::uint64_t{1} << 20;

  explicit PageTable(std::uint64_t pages) : summaries_(pages) {}

  static std::uint64_t MemoryNeeded(std::uint64_t pages) {
    return pages * (sizeof(PageSummary) + sizeof(BranchEntry)) +
           kSpareChildren * sizeof(BranchEntry);
  }

  std::uint64_t pages() const { return summaries_.size(); }
  PageSummary& operator[](std::uint64_t page) { return summaries_[page]; }
  const PageSummary& operator[](std::uint64_t page) const { return summaries_[page]; }

  bool HasRoomFor(std::uint64_t children) const {
    return children_.size() + children <= pages() + kSpareChildren;
  }
  std::uint64_t children() const { return children_.size(); }
  void AddChild(std::uint64_t page, PackedKey key) { children_.emplace_back(page, key); }
  const BranchEntry& child(std::uint64_t index) const { return children_[index]; }

 private:
  std::vector<PageSummary> summaries_;
  std::deque<BranchEntry> children_;  // grows without copying what it holds
};

}  // namespace rescue::bolt
