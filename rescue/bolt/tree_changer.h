// First half of a transaction: loads the pages on the paths that change, and changes them in
// memory.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "rescue/base/bytes.h"
#include "rescue/base/file.h"
#include "rescue/base/result.h"
#include "rescue/bolt/database.h"
#include "rescue/bolt/node.h"
#include "rescue/bolt/tree_verifier.h"

namespace rescue::bolt {

struct BucketEdit;

// One key to set or delete; in the root, one bucket to change.
struct KeyEdit {
  ByteView key;
  std::optional<ByteView> value;       // nothing: delete
  const BucketEdit* bucket = nullptr;  // when set, `value` does not count
};

// What happens to one bucket: keys ascend strictly.
struct BucketEdit {
  bool clear = false;
  std::optional<std::uint64_t> root_page;  // another tree; the rest does not count then
  std::vector<KeyEdit> keys;
};

class TreeChanger {
 public:
  TreeChanger(const ReadableFile& file, const Meta& meta) : file_(file), meta_(meta) {}

  // Takes out what `cuts` names; the root itself is not among it. Pages that lose all their
  // elements go, too. Comes before any Change. Error: "bolt-drop-root" when nothing is left.
  Status Cut(Tree& root, const CutPlan& cuts);
  // Gives whether anything is different afterwards.
  Result<bool> Change(Tree& root, std::span<const KeyEdit> buckets);

  // The pages that were looked at, in the order of looking.
  const std::vector<PageRun>& pages_read() const { return pages_read_; }

 private:
  // Keys of a page are not below `lower` and below `until`; nothing: no limit.
  struct Limits {
    std::optional<ByteView> lower;
    std::optional<ByteView> until;
  };

  Result<Node> Load(std::uint64_t page, const Limits& limits, int depth);
  Result<Tree> OpenBucket(const Item& item) const;
  // Loads the root of a tree that has only a page number.
  Status LoadRoot(Tree& tree);

  Status CutNode(Node& node, std::uint64_t page, const Limits& limits, const CutPlan& cuts,
                 int depth);
  Status CutBranch(Node& node, std::uint64_t page, const Limits& limits, const CutPlan& cuts,
                   int depth);
  Status CutLeaf(Node& node, std::uint64_t page, const CutPlan& cuts);

  Result<bool> ChangeTree(Tree& tree, std::span<const KeyEdit> edits);
  Result<bool> ChangeNode(Node& node, std::span<const KeyEdit> edits, const Limits& limits,
                          int depth);
  Result<bool> ChangeBranch(Node& node, std::span<const KeyEdit> edits, const Limits& limits,
                            int depth);
  Result<bool> ChangeLeaf(Node& node, std::span<const KeyEdit> edits);
  Result<bool> ChangeItem(Item& item, const KeyEdit& edit);
  Result<bool> ChangeBucket(Item& item, const BucketEdit& edit);

  const ReadableFile& file_;
  const Meta& meta_;
  std::vector<PageRun> pages_read_;
  std::set<std::uint64_t> cut_done_;  // holders that were loaded by Cut: each once at most
  int cut_level_ = 0;                 // over all nested buckets
};

}  // namespace rescue::bolt
