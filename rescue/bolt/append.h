// Appends keys behind the last one of a bucket, page by page, in a file that nobody else uses yet:
// a backend that was just copied and that a backup's later revisions are written to.
//
// PlanCommit (transaction.h) holds all that it changes in memory and writes half-full pages where
// keys come in between. Here keys only grow, so each page is written once, full, at the end of the
// file: memory is one page a level and one buffer, writes are sequential. Nothing that the newest
// meta page shows is overwritten before Finish writes the other one.
//
//        root                 the right edge is loaded, the rest stays where it is
//       /    \                new pages go behind the high water mark
//     ...   right  <- AddChild
//           /   \             .
//         ...  last leaf  <- Append
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "rescue/base/bytes.h"
#include "rescue/base/file.h"
#include "rescue/base/result.h"
#include "rescue/bolt/database.h"

namespace rescue::bolt {

class BucketAppender {
 public:
  // Writes bytes at an offset of the file that was opened.
  using Sink = std::function<Status(std::uint64_t offset, ByteView bytes)>;

  // The file must outlive the appender. Errors: those of Database::Open; "bolt-no-bucket"
  // (kDataDamaged) when the bucket is absent; "bolt-page" when a page of its right edge is damaged.
  static Result<BucketAppender> Open(const ReadableFile& file, std::string bucket, Sink sink);

  // Errors: "bolt-order" (kRefused) for a key not above the last one; "bolt-limit" (kRefused) for
  // one beyond bbolt's limits.
  Status Append(ByteView key, ByteView value);
  // Writes what is left, then the new root and meta page. Nothing is written when nothing was
  // appended. The sink has to be made durable afterwards; the order does not matter, because nobody
  // uses the file yet. No call may follow.
  Status Finish();

  // Of the bucket, also before anything was appended; empty for an empty bucket.
  const Bytes& last_key() const { return last_key_; }
  std::uint64_t appended() const { return appended_; }
  std::uint64_t bytes_written() const { return bytes_written_; }

 private:
  struct Branch {
    std::vector<std::pair<Bytes, std::uint64_t>> children;  // first key, page
    std::uint64_t key_bytes = 0;
  };
  struct LeafItem {
    std::uint32_t key_size = 0;
    std::uint32_t value_size = 0;
  };

  BucketAppender(const ReadableFile& file, const Meta& meta, std::string bucket, Sink sink)
      : file_(&file), meta_(meta), bucket_(std::move(bucket)), sink_(std::move(sink)) {}
  Status LoadRightEdge(const Bucket& bucket);
  Status LoadLeaf(std::uint64_t page);
  Status AddToLeaf(ByteView key, ByteView value);
  std::uint64_t LeafSize() const;
  Result<std::uint64_t> WriteLeaf();
  Status AddChild(std::size_t level, Bytes key, std::uint64_t page);
  Result<std::uint64_t> WriteBranch(Branch& branch, std::size_t count);
  Result<std::uint64_t> WriteRightEdge();
  // Room for a page image in the buffer; gives its number and the bytes to fill.
  Result<std::pair<std::uint64_t, std::span<std::byte>>> TakePage(std::uint64_t bytes);
  Status FlushBuffer();

  const ReadableFile* file_;
  Meta meta_;
  std::string bucket_;
  Sink sink_;

  std::vector<LeafItem> leaf_;
  Bytes leaf_bytes_;              // keys and values of leaf_, one behind the other
  std::vector<Branch> branches_;  // the level above the leaves first
  std::uint64_t next_page_ = 0;
  Bytes buffer_;  // pages that end at next_page_
  Bytes last_key_;
  std::uint64_t appended_ = 0;
  std::uint64_t bytes_written_ = 0;
};

}  // namespace rescue::bolt
