#include "rescue/bolt/cursor.h"

#include <fmt/format.h>

namespace rescue::bolt {

Status Cursor::Push(std::uint64_t page) {
  if (source_.root_page == 0) {
    ASSIGN_OR_RETURN(LoadedPage loaded, LoadedPage::FromImage(source_.inline_page));
    levels_.push_back({std::move(loaded), 0, 0});
    return {};
  }
  if (levels_.size() >= kMaxTreeDepth) {
    return Fail(ErrorKind::kDataDamaged, "bolt-depth",
                fmt::format("page {}: more than {} levels deep, so the tree runs in a circle", page,
                            kMaxTreeDepth),
                "run the full check to see where the tree is damaged");
  }
  auto loaded = LoadedPage::Load(*source_.file, *source_.meta, page);
  if (!loaded) return Fail(std::move(loaded.error().Within(fmt::format("page {}", page))));
  if (loaded->count() == 0 && !levels_.empty()) {
    return Fail(ErrorKind::kDataDamaged, "bolt-page",
                fmt::format("page {}: an empty leaf below a branch", page),
                "run the full check to see every damaged page and the keys it affects");
  }
  levels_.push_back({*std::move(loaded), page, 0});
  return {};
}

Status Cursor::Seek(ByteView key) {
  levels_.clear();
  RETURN_IF_ERROR(Push(source_.root_page));
  while (true) {
    Level& level = levels_.back();
    ASSIGN_OR_RETURN(level.index, level.page.LowerBound(key));
    if (level.page.is_leaf()) return SkipUsedUp();
    // The child before the first one that starts above the key, except when it starts at the key.
    Bytes scratch;
    bool starts_here = false;
    if (level.index < level.page.count()) {
      ASSIGN_OR_RETURN(const ByteView start, level.page.Key(level.index, scratch));
      starts_here = Equal(start, key);
    }
    if (!starts_here && level.index > 0) --level.index;
    RETURN_IF_ERROR(Push(level.page.At(level.index).child));
  }
}

Status Cursor::SeekLast() {
  levels_.clear();
  RETURN_IF_ERROR(Push(source_.root_page));
  while (true) {
    Level& level = levels_.back();
    if (level.page.count() == 0) {
      levels_.clear();  // an empty bucket
      return {};
    }
    level.index = level.page.count() - 1;
    if (level.page.is_leaf()) return {};
    RETURN_IF_ERROR(Push(level.page.At(level.index).child));
  }
}

Status Cursor::DescendLeft() {
  while (!levels_.back().page.is_leaf()) {
    const Level& level = levels_.back();
    RETURN_IF_ERROR(Push(level.page.At(level.index).child));
  }
  return {};
}

Status Cursor::SkipUsedUp() {
  while (!levels_.empty() && levels_.back().index >= levels_.back().page.count()) {
    levels_.pop_back();
    if (!levels_.empty()) ++levels_.back().index;
  }
  return levels_.empty() ? Status() : DescendLeft();
}

Status Cursor::Next() {
  ++levels_.back().index;
  return SkipUsedUp();
}

Result<ByteView> Cursor::Key(Bytes& scratch) const {
  return levels_.back().page.Key(levels_.back().index, scratch);
}

Result<ByteView> Cursor::Value(Bytes& scratch) const {
  return levels_.back().page.Value(levels_.back().index, scratch);
}

}  // namespace rescue::bolt
