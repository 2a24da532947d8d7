#include "rescue/bolt/tree_changer.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "rescue/bolt/format.h"
#include "rescue/bolt/page.h"

namespace rescue::bolt {
namespace {

tl::unexpected<Error> Damaged(std::string reason) {
  return Fail(ErrorKind::kDataDamaged, "bolt-page", std::move(reason),
              "run the full check: it names every damaged page, and what giving it up would lose");
}

Result<Node> CopyOf(const LoadedPage& page) {
  Node node;
  node.is_leaf = page.is_leaf();
  node.items.reserve(page.count());
  Bytes scratch;
  for (std::uint32_t i = 0; i < page.count(); ++i) {
    const Element element = page.At(i);
    Item item;
    ASSIGN_OR_RETURN(const ByteView key, page.Key(i, scratch));
    item.key = ToBytes(key);
    item.page = element.child;
    item.is_bucket = element.is_bucket;
    if (node.is_leaf) {
      ASSIGN_OR_RETURN(const ByteView value, page.Value(i, scratch));
      item.value = ToBytes(value);
    }
    node.items.push_back(std::move(item));
  }
  return node;
}

// A branch that lost all its children: its parent drops it.
bool IsGone(const Node& node) { return node.items.empty(); }

bool IsGoneChild(const Item& item) { return item.child && IsGone(*item.child); }

// A bucket that lost everything is an empty leaf.
void KeepLeafWhenEmpty(Tree& tree) {
  if (tree.root && IsGone(*tree.root)) tree.root->is_leaf = true;
}

std::unique_ptr<Tree> EmptyTree(std::uint64_t sequence) {
  auto tree = std::make_unique<Tree>();
  tree->sequence = sequence;
  tree->root = std::make_unique<Node>();
  return tree;
}

std::optional<BucketHeader> HeaderOf(const Item& item) {
  if (item.tree) return BucketHeader{item.tree->root_page, item.tree->sequence};
  return ByteReader(item.value).Read<BucketHeader>();
}

std::uint64_t SequenceOf(const Item& item) {
  const auto header = HeaderOf(item);
  return header ? header->sequence.Get() : 0;
}

}  // namespace

Result<Node> TreeChanger::Load(std::uint64_t page, const Limits& limits, int depth) {
  if (depth >= kMaxTreeDepth) {
    return Fail(ErrorKind::kDataDamaged, "bolt-depth",
                fmt::format("page {}: more than {} levels deep, so the tree runs in a circle", page,
                            kMaxTreeDepth),
                "run the full check to see where the tree is damaged");
  }
  const auto within = [&](Error error) {
    return Fail(std::move(error.Within(fmt::format("page {}", page))));
  };
  const auto loaded = LoadedPage::Load(file_, meta_, page);
  if (!loaded) return within(loaded.error());
  pages_read_.push_back({page, std::uint64_t{loaded->info().overflow} + 1});
  auto node = CopyOf(*loaded);
  if (!node) return within(std::move(node).error());
  if (node->items.empty()) {
    if (depth > 0) return Damaged(fmt::format("page {}: an empty leaf below a branch", page));
    return node;
  }
  // The new parent will start with these keys, so they must be in their place.
  if ((limits.lower && KeyLess(node->items.front().key, *limits.lower)) ||
      (limits.until && !KeyLess(node->items.back().key, *limits.until))) {
    return Damaged(fmt::format("page {}: holds keys that do not belong below its parent", page));
  }
  return node;
}

Result<Tree> TreeChanger::OpenBucket(const Item& item) const {
  ByteReader reader(item.value);
  const auto header = reader.Read<BucketHeader>();
  if (!header) {
    return Damaged(fmt::format("the bucket's header has only {} bytes", item.value.size()));
  }
  Tree tree;
  tree.sequence = header->sequence;
  tree.root_page = header->root_page;
  if (tree.root_page != 0) return tree;
  const auto image = std::make_shared<const Bytes>(ToBytes(*reader.Take(reader.left())));
  ASSIGN_OR_RETURN(const LoadedPage page, LoadedPage::FromImage(image));
  ASSIGN_OR_RETURN(Node node, CopyOf(page));
  tree.root = std::make_unique<Node>(std::move(node));
  return tree;
}

Status TreeChanger::LoadRoot(Tree& tree) {
  if (tree.root) return {};
  ASSIGN_OR_RETURN(Node node, Load(tree.root_page, {}, 0));
  tree.root = std::make_unique<Node>(std::move(node));
  return {};
}

Status TreeChanger::Cut(Tree& root, const CutPlan& cuts) {
  if (cuts.references.empty()) return {};
  const std::uint64_t page = root.root_page;
  RETURN_IF_ERROR(LoadRoot(root));
  RETURN_IF_ERROR(CutNode(*root.root, page, {}, cuts, 0));
  if (!IsGone(*root.root)) return {};
  return Fail(ErrorKind::kDataDamaged, "bolt-drop-root",
              "drop damaged pages: none of the buckets would be left", "restore from a backup");
}

Status TreeChanger::CutNode(Node& node, std::uint64_t page, const Limits& limits,
                            const CutPlan& cuts, int depth) {
  if (cut_level_ >= kMaxLevels) {
    return Damaged(fmt::format("page {}: lies deeper than {} levels", page, kMaxLevels));
  }
  ++cut_level_;
  auto status =
      node.is_leaf ? CutLeaf(node, page, cuts) : CutBranch(node, page, limits, cuts, depth);
  --cut_level_;
  return status;
}

Status TreeChanger::CutBranch(Node& node, std::uint64_t page, const Limits& limits,
                              const CutPlan& cuts, int depth) {
  std::vector<Item> kept;
  kept.reserve(node.items.size());
  for (std::uint32_t i = 0; i < node.items.size(); ++i) {
    if (!cuts.references.contains({page, i})) kept.push_back(std::move(node.items[i]));
  }
  node.items = std::move(kept);
  for (std::size_t i = 0; i < node.items.size(); ++i) {
    Item& item = node.items[i];
    if (!cuts.holders.contains(item.page) || !cut_done_.insert(item.page).second) continue;
    Limits below{ByteView(item.key), limits.until};
    if (i + 1 < node.items.size()) below.until = ByteView(node.items[i + 1].key);
    ASSIGN_OR_RETURN(Node child, Load(item.page, below, depth + 1));
    RETURN_IF_ERROR(CutNode(child, item.page, below, cuts, depth + 1));
    item.child = std::make_unique<Node>(std::move(child));
  }
  std::erase_if(node.items, IsGoneChild);
  return {};
}

Status TreeChanger::CutLeaf(Node& node, std::uint64_t page, const CutPlan& cuts) {
  for (std::uint32_t i = 0; i < node.items.size(); ++i) {
    Item& item = node.items[i];
    if (!item.is_bucket) continue;
    if (cuts.references.contains({page, i})) {
      item.tree = EmptyTree(SequenceOf(item));
      continue;
    }
    const auto header = HeaderOf(item);
    if (!header || !cuts.holders.contains(header->root_page) ||
        !cut_done_.insert(header->root_page).second) {
      continue;
    }
    auto tree = std::make_unique<Tree>();
    tree->sequence = header->sequence;
    tree->root_page = header->root_page;
    RETURN_IF_ERROR(LoadRoot(*tree));
    RETURN_IF_ERROR(CutNode(*tree->root, tree->root_page, {}, cuts, 0));
    KeepLeafWhenEmpty(*tree);
    item.tree = std::move(tree);
  }
  return {};
}

Result<bool> TreeChanger::Change(Tree& root, std::span<const KeyEdit> buckets) {
  return ChangeTree(root, buckets);
}

Result<bool> TreeChanger::ChangeTree(Tree& tree, std::span<const KeyEdit> edits) {
  if (edits.empty()) return false;
  const bool was_changed = tree.root != nullptr;
  RETURN_IF_ERROR(LoadRoot(tree));
  ASSIGN_OR_RETURN(const bool changed, ChangeNode(*tree.root, edits, {}, 0));
  KeepLeafWhenEmpty(tree);
  if (!changed && !was_changed) tree.root.reset();
  return changed;
}

Result<bool> TreeChanger::ChangeNode(Node& node, std::span<const KeyEdit> edits,
                                     const Limits& limits, int depth) {
  return node.is_leaf ? ChangeLeaf(node, edits) : ChangeBranch(node, edits, limits, depth);
}

// Each edit goes to the last child that does not start above it; what is below the first child
// goes to the first.
Result<bool> TreeChanger::ChangeBranch(Node& node, std::span<const KeyEdit> edits,
                                       const Limits& limits, int depth) {
  bool changed = false;
  for (std::size_t i = 0; i < node.items.size() && !edits.empty(); ++i) {
    Item& item = node.items[i];
    Limits below{ByteView(item.key), limits.until};
    auto end = edits.end();
    if (i + 1 < node.items.size()) {
      below.until = ByteView(node.items[i + 1].key);
      const auto is_below = [&](const KeyEdit& edit) { return KeyLess(edit.key, *below.until); };
      end = std::partition_point(edits.begin(), edits.end(), is_below);
    }
    const std::span<const KeyEdit> here(edits.begin(), end);
    edits = edits.subspan(here.size());
    if (here.empty()) continue;
    if (item.child) {
      ASSIGN_OR_RETURN(const bool differs, ChangeNode(*item.child, here, below, depth + 1));
      changed = changed || differs;
      continue;
    }
    ASSIGN_OR_RETURN(Node child, Load(item.page, below, depth + 1));
    ASSIGN_OR_RETURN(const bool differs, ChangeNode(child, here, below, depth + 1));
    if (!differs) continue;
    item.child = std::make_unique<Node>(std::move(child));
    changed = true;
  }
  std::erase_if(node.items, IsGoneChild);
  return changed;
}

// Merges two ascending lists.
Result<bool> TreeChanger::ChangeLeaf(Node& node, std::span<const KeyEdit> edits) {
  std::vector<Item> merged;
  merged.reserve(node.items.size() + edits.size());
  bool changed = false;
  auto item = node.items.begin();
  for (const KeyEdit& edit : edits) {
    while (item != node.items.end() && KeyLess(item->key, edit.key)) {
      merged.push_back(std::move(*item++));
    }
    const bool found = item != node.items.end() && Equal(item->key, edit.key);
    if (!found && !edit.value && edit.bucket == nullptr) continue;
    if (found && !edit.value && edit.bucket == nullptr && !item->is_bucket) {
      ++item;
      changed = true;
      continue;
    }
    if (found) {
      merged.push_back(std::move(*item++));
    } else {
      Item made;
      made.key = ToBytes(edit.key);
      made.is_bucket = edit.bucket != nullptr;
      if (made.is_bucket) made.tree = EmptyTree(0);
      merged.push_back(std::move(made));
      changed = true;
    }
    ASSIGN_OR_RETURN(const bool differs, ChangeItem(merged.back(), edit));
    changed = changed || differs;
  }
  std::move(item, node.items.end(), std::back_inserter(merged));
  node.items = std::move(merged);
  return changed;
}

Result<bool> TreeChanger::ChangeItem(Item& item, const KeyEdit& edit) {
  if (item.is_bucket != (edit.bucket != nullptr)) {
    return Fail(ErrorKind::kRefused, "bolt-not-a-key",
                fmt::format("key {} is a {}", Printable(item.key),
                            item.is_bucket ? "bucket" : "plain key where a bucket is wanted"),
                "this file was not made by etcd; run the full check");
  }
  if (edit.bucket != nullptr) {
    auto changed = ChangeBucket(item, *edit.bucket);
    if (changed) return changed;
    return Fail(std::move(
        changed.error().Within(fmt::format("change bbolt bucket {}", Printable(item.key)))));
  }
  if (Equal(item.value, *edit.value)) return false;
  item.value = ToBytes(*edit.value);
  return true;
}

Result<bool> TreeChanger::ChangeBucket(Item& item, const BucketEdit& edit) {
  const bool was_changed = item.tree != nullptr;
  if (edit.root_page) {
    const std::uint64_t sequence = SequenceOf(item);
    item.tree = std::make_unique<Tree>();
    item.tree->sequence = sequence;
    item.tree->root_page = *edit.root_page;
    return true;
  }
  if (edit.clear) {
    item.tree = EmptyTree(SequenceOf(item));
  } else if (!was_changed) {
    ASSIGN_OR_RETURN(Tree tree, OpenBucket(item));
    item.tree = std::make_unique<Tree>(std::move(tree));
  }
  ASSIGN_OR_RETURN(const bool differs, ChangeTree(*item.tree, edit.keys));
  if (was_changed) return differs || edit.clear;
  // A bucket that is emptied and filled again with the same is no change, as far as it lies inline.
  const Tree& tree = *item.tree;
  const bool same = edit.clear
                        ? FitsInline(*tree.root, meta_.page_size) &&
                              Equal(EncodeInlineBucket(*tree.root, tree.sequence), item.value)
                        : !differs;
  if (same) item.tree.reset();
  return !same;
}

}  // namespace rescue::bolt
