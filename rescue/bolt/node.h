// A page of the tree in memory, as a transaction changes it, and how it becomes pages again.
//
// Only what changes is held as nodes; everything else stays a page number in its parent. Sources:
// bbolt node.go (split, splitIndex, write), bucket.go (inlineable, write), inode.go.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "rescue/base/bytes.h"

namespace rescue::bolt {

struct Node;

// The tree of one bucket. `root` is set when any of it changed; then `root_page` is stale.
struct Tree {
  std::uint64_t sequence = 0;
  std::uint64_t root_page = 0;  // 0: the bucket lies inline, or is new
  std::unique_ptr<Node> root;
};

// One element of a leaf or a branch.
struct Item {
  Bytes key;
  // Leaf: the value. Of a bucket that changed, `tree` is set and the value is stale.
  Bytes value;
  bool is_bucket = false;
  std::unique_ptr<Tree> tree;
  // Branch: the child. When it changed, `child` is set and the page number is stale.
  std::uint64_t page = 0;
  std::unique_ptr<Node> child;
};

struct Node {
  bool is_leaf = true;
  std::vector<Item> items;  // keys ascend strictly
};

// Bytes of a page with these items: header, elements, keys and values.
std::uint64_t ImageSize(std::span<const Item> items);

// bbolt's Bucket.inlineable: one leaf without buckets, not above a quarter of a page.
bool FitsInline(const Node& node, std::uint64_t page_size);

// Lengths of the pieces that become one page (with its continuation) each, in order. A piece is
// larger than a page only when it has few items, which is how long values come to lie in
// continuation pages (node.go, Node.split and splitIndex; half full, as bbolt's default).
std::vector<std::size_t> SplitLengths(std::span<const Item> items, std::uint64_t page_size);

// The bytes of page `id`, `pages` times `page_size` long, zero behind the last value. No item has
// a child or a tree any more.
Bytes EncodePage(std::span<const Item> items, bool is_leaf, std::uint64_t id, std::uint64_t pages,
                 std::uint64_t page_size);

// The value of a bucket element: of a bucket with its own pages, and of an inline one.
Bytes EncodeBucket(std::uint64_t root_page, std::uint64_t sequence);
Bytes EncodeInlineBucket(const Node& leaf, std::uint64_t sequence);

}  // namespace rescue::bolt
