// Walks one bucket's tree in key order, one page a level in memory.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "rescue/base/file.h"
#include "rescue/base/result.h"
#include "rescue/bolt/page.h"

namespace rescue::bolt {

// Where the pages of a bucket come from: the file, or the image inside the parent's value.
struct TreeSource {
  const ReadableFile* file = nullptr;
  const Meta* meta = nullptr;
  std::uint64_t root_page = 0;               // 0: inline
  std::shared_ptr<const Bytes> inline_page;  // when root_page is 0
};

class Cursor {
 public:
  explicit Cursor(TreeSource source) : source_(std::move(source)) {}

  // To the first element whose key is not below `key`.
  Status Seek(ByteView key);
  // To the last element.
  Status SeekLast();
  // One element on; at_end() after the last one.
  Status Next();
  bool at_end() const { return levels_.empty(); }

  // Only when not at_end(). The views are good as long as the cursor stays and `scratch` lives.
  Element element() const { return levels_.back().page.At(levels_.back().index); }
  Result<ByteView> Key(Bytes& scratch) const;
  Result<ByteView> Value(Bytes& scratch) const;

 private:
  struct Level {
    LoadedPage page;
    std::uint64_t number;
    std::uint32_t index;
  };

  Status Push(std::uint64_t page);
  // From the branch element that the last level stands on down to the leftmost leaf element.
  Status DescendLeft();
  // Leaves levels whose elements are used up, then goes down again.
  Status SkipUsedUp();

  TreeSource source_;
  std::vector<Level> levels_;
};

}  // namespace rescue::bolt
