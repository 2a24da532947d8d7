// A compressed object as a file that can be read anywhere.
#include <fmt/format.h>

#include <algorithm>
#include <list>
#include <map>
#include <utility>
#include <vector>

#include "rescue/backup/object.h"
#include "rescue/base/units.h"

namespace rescue::backup {
namespace {

constexpr std::uint64_t kBlock = 256 * kKiB;
// A mark is a decompressor in the middle of its work: up to 50 KiB.
constexpr std::size_t kMaxMarks = 512;

// For an object that is stored as it is; `file` stays where it is.
class SameFile final : public ReadableFile {
 public:
  explicit SameFile(const ReadableFile& file) : file_(&file) {}
  std::uint64_t size() const override { return file_->size(); }
  Result<std::size_t> ReadAt(std::uint64_t offset, std::span<std::byte> into) const override {
    return file_->ReadAt(offset, into);
  }

 private:
  const ReadableFile* file_;
};

// The blocks that were used last.
class BlockCache {
 public:
  explicit BlockCache(std::uint64_t limit) : limit_(std::max<std::uint64_t>(limit / kBlock, 1)) {}

  // Nullptr when it is not there; good until the next Put.
  const Bytes* Get(std::uint64_t number) {
    const auto found = places_.find(number);
    if (found == places_.end()) return nullptr;
    blocks_.splice(blocks_.begin(), blocks_, found->second);
    return &blocks_.front().second;
  }

  void Put(std::uint64_t number, Bytes block) {
    if (places_.contains(number)) return;
    if (blocks_.size() == limit_) {
      places_.erase(blocks_.back().first);
      blocks_.pop_back();
    }
    blocks_.emplace_front(number, std::move(block));
    places_[number] = blocks_.begin();
  }

 private:
  using Blocks = std::list<std::pair<std::uint64_t, Bytes>>;
  std::uint64_t limit_;
  Blocks blocks_;  // the one that was used last first
  std::map<std::uint64_t, Blocks::iterator> places_;
};

class Seekable final : public ReadableFile {
 public:
  explicit Seekable(std::uint64_t cache) : cache_(cache) {}

  // One pass over everything: size and marks.
  Status Index(std::unique_ptr<ByteSource> source) {
    marks_[0] = source->Clone();
    for (;;) {
      ASSIGN_OR_RETURN(Bytes block, ReadBlock(*source));
      size_ += block.size();
      const bool at_end = block.size() < kBlock;
      if (!block.empty()) cache_.Put(marked_until_, std::move(block));
      if (at_end) return {};
      ++marked_until_;
      if (marked_until_ % spacing_ == 0) AddMark(*source);
    }
  }

  std::uint64_t size() const override { return size_; }

  Result<std::size_t> ReadAt(std::uint64_t offset, std::span<std::byte> into) const override {
    std::size_t done = 0;
    while (done < into.size() && offset + done < size_) {
      const std::uint64_t at = offset + done;
      ASSIGN_OR_RETURN(const Bytes* block, Block(at / kBlock));
      const auto begin = static_cast<std::size_t>(at % kBlock);
      const std::size_t count = std::min(block->size() - begin, into.size() - done);
      std::copy_n(block->begin() + static_cast<std::ptrdiff_t>(begin), count,
                  into.begin() + static_cast<std::ptrdiff_t>(done));
      done += count;
    }
    return done;
  }

 private:
  static Result<Bytes> ReadBlock(ByteSource& source) {
    Bytes block(kBlock);
    ASSIGN_OR_RETURN(const std::size_t count, source.Read(block));
    block.resize(count);
    return block;
  }

  void AddMark(const ByteSource& source) {
    if (marks_.size() == kMaxMarks) {
      spacing_ *= 2;
      std::erase_if(marks_, [&](const auto& mark) { return mark.first % spacing_ != 0; });
      if (marked_until_ % spacing_ != 0) return;
    }
    marks_[marked_until_] = source.Clone();
  }

  Result<const Bytes*> Block(std::uint64_t number) const {
    if (const Bytes* block = cache_.Get(number)) return block;
    // From the nearest mark, or from where the last call stopped when that is nearer.
    auto mark = std::prev(marks_.upper_bound(number));
    if (!current_ || current_block_ > number || current_block_ < mark->first) {
      current_ = mark->second->Clone();
      current_block_ = mark->first;
    }
    while (current_block_ <= number) {
      auto block = ReadBlock(*current_);
      if (!block) {
        current_ = nullptr;
        return Fail(std::move(block).error());
      }
      cache_.Put(current_block_++, *std::move(block));
    }
    const Bytes* block = cache_.Get(number);
    // The object changed under us when it is shorter than it was in the first pass.
    const std::uint64_t expected = std::min(kBlock, size_ - number * kBlock);
    if (block == nullptr || block->size() != expected) {
      return Fail(ErrorKind::kDataDamaged, "object-truncated",
                  "read a compressed object: it changed meanwhile",
                  "wait until whoever writes it is done");
    }
    return block;
  }

  std::uint64_t size_ = 0;
  std::uint64_t marked_until_ = 0;  // block
  std::uint64_t spacing_ = 4;       // blocks between two marks
  std::map<std::uint64_t, std::unique_ptr<ByteSource>> marks_;
  mutable BlockCache cache_;
  mutable std::unique_ptr<ByteSource> current_;
  mutable std::uint64_t current_block_ = 0;
};

}  // namespace

Result<std::unique_ptr<ReadableFile>> OpenSeekable(const ReadableFile& file, OpenOptions options,
                                                   std::uint64_t cache) {
  if (options.compression == Compression::kNone && file.size() <= options.limit) {
    return std::make_unique<SameFile>(file);
  }
  auto seekable = std::make_unique<Seekable>(cache);
  RETURN_IF_ERROR(seekable->Index(OpenObject(file, std::move(options))));
  return seekable;
}

}  // namespace rescue::backup
