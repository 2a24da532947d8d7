#include "rescue/bolt/tree_writer.h"

#include <fmt/format.h>

#include <limits>
#include <utility>

namespace rescue::bolt {
namespace {

// A root branch with one child is that child (node.go, Node.rebalance).
void CollapseRoot(Tree& tree) {
  while (tree.root && !tree.root->is_leaf && tree.root->items.size() == 1) {
    Item only = std::move(tree.root->items.front());
    tree.root_page = only.page;
    tree.root = std::move(only.child);
  }
}

}  // namespace

std::uint64_t PageAllocator::Take(std::uint64_t count) {
  for (PageRun& run : free_runs_) {
    if (run.count < count) continue;
    run.count -= count;
    return std::exchange(run.first, run.first + count);
  }
  return std::exchange(high_water_mark_, high_water_mark_ + count);
}

Result<std::uint64_t> TreeWriter::Write(Tree& tree) {
  CollapseRoot(tree);
  if (!tree.root) return tree.root_page;
  ASSIGN_OR_RETURN(std::vector<Item> pieces, WriteNode(*tree.root));
  while (pieces.size() > 1) {
    Node above{false, std::move(pieces)};
    ASSIGN_OR_RETURN(pieces, WriteNode(above));
  }
  tree.root.reset();
  tree.root_page = pieces.front().page;
  return tree.root_page;
}

Result<Bytes> TreeWriter::BucketValue(Tree& tree) {
  CollapseRoot(tree);
  if (tree.root && FitsInline(*tree.root, page_size_)) {
    return EncodeInlineBucket(*tree.root, tree.sequence);
  }
  ASSIGN_OR_RETURN(const std::uint64_t root, Write(tree));
  return EncodeBucket(root, tree.sequence);
}

// The branch elements for the pages that the node became.
Result<std::vector<Item>> TreeWriter::WriteNode(Node& node) {
  std::vector<Item> items;
  items.reserve(node.items.size());
  for (Item& item : node.items) {
    if (item.child) {
      ASSIGN_OR_RETURN(std::vector<Item> pieces, WriteNode(*item.child));
      std::move(pieces.begin(), pieces.end(), std::back_inserter(items));
      continue;
    }
    if (item.tree) {
      ASSIGN_OR_RETURN(item.value, BucketValue(*item.tree));
      item.tree.reset();
    }
    items.push_back(std::move(item));
  }
  std::vector<Item> written;
  std::span<const Item> rest(items);
  for (const std::size_t length : SplitLengths(rest, page_size_)) {
    Item piece;
    if (length > 0) piece.key = rest.front().key;
    ASSIGN_OR_RETURN(piece.page, WritePage(rest.first(length), node.is_leaf));
    written.push_back(std::move(piece));
    rest = rest.subspan(length);
  }
  return written;
}

Result<std::uint64_t> TreeWriter::WritePage(std::span<const Item> items, bool is_leaf) {
  const std::uint64_t size = ImageSize(items);
  // Positions have 32 bits. bbolt does not look, and writes a page that cannot be read.
  if (size > std::numeric_limits<std::uint32_t>::max()) {
    return Fail(ErrorKind::kRefused, "bolt-limit",
                fmt::format("write bbolt page: {} values need {} bytes together, more than 4 GiB",
                            items.size(), size),
                "leave the large values as they are");
  }
  const std::uint64_t count = (size + page_size_ - 1) / page_size_;
  const std::uint64_t page = allocator_.Take(count);
  pages_.emplace(page, EncodePage(items, is_leaf, page, count, page_size_));
  return page;
}

}  // namespace rescue::bolt
