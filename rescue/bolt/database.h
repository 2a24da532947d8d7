// Reads a bbolt file: etcd's backend. Nothing here writes, maps memory or trusts a byte of the
// file.
//
// Every page is validated when it is touched (identity, bounds, order of keys), so a damaged page
// fails the call that needs it and no other. bolt::Check (check.h) looks at all of them. The format
// is described in FORMAT.md.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "rescue/base/bytes.h"
#include "rescue/base/file.h"
#include "rescue/base/result.h"

namespace rescue::bolt {

// Meta::freelist_page of a file that stores no list of free pages; etcd's never do
// (bbolt internal/common/types.go, PgidNoFreelist).
inline constexpr std::uint64_t kNoFreelist = ~std::uint64_t{0};

// One meta page, decoded: the root of everything that one transaction left behind.
struct Meta {
  std::uint64_t page_size = 0;  // bytes, a power of two from 1 KiB to 16 MiB; mostly 4 KiB
  std::uint64_t root_page = 0;  // of the bucket that holds the top-level buckets
  std::uint64_t root_sequence = 0;
  std::uint64_t freelist_page = kNoFreelist;
  std::uint64_t high_water_mark = 0;  // first page that was never used; not a size in bytes
  std::uint64_t transaction_id = 0;   // transaction N is written to slot N % 2
  int slot = 0;                       // 0 or 1: which of the two meta pages this is

  bool operator==(const Meta&) const = default;
};

// Consecutive pages.
struct PageRun {
  std::uint64_t first = 0;
  std::uint64_t count = 0;

  bool operator==(const PageRun&) const = default;
};

// Why the other meta page cannot be used, if it cannot.
struct MetaProblem {
  int slot = 0;
  std::string reason;  // one line: "checksum 0x... is wrong, the content gives 0x..."
  // "bolt-meta-magic", "bolt-meta-version", "bolt-meta-checksum", "bolt-meta-page-size" or
  // "bolt-meta-missing" (the file ends before it).
  std::string code;

  bool operator==(const MetaProblem&) const = default;
};

// A tree of keys and values: a small value that may be copied; it needs only the file.
class Bucket {
 public:
  // The views end with the call. A bucket's value is its raw header, see FORMAT.md.
  using Visitor = std::function<bool(ByteView key, ByteView value, bool is_bucket)>;

  // Nothing when the key is absent or names a bucket.
  Result<std::optional<Bytes>> Get(ByteView key) const;
  // Nothing when the name is absent or is a plain key.
  Result<std::optional<Bucket>> FindBucket(ByteView name) const;
  // Names of the buckets directly inside, in key order.
  Result<std::vector<std::string>> Buckets() const;
  // In key order from the first key that is not below `from`, until the visitor returns false.
  // Damage ends the walk with an error after everything before it was visited.
  Status ForEach(const Visitor& visit, ByteView from = {}) const;
  // The last key and its value; nothing when the bucket is empty. Reads one page a level.
  Result<std::optional<std::pair<Bytes, Bytes>>> Last() const;

  // 0 for a bucket that lies inside its parent's value.
  std::uint64_t root_page() const { return root_page_; }
  std::uint64_t sequence() const { return sequence_; }
  bool is_inline() const { return root_page_ == 0; }

 private:
  friend class Database;
  struct Found {
    bool is_bucket;
    Bytes value;
  };
  Bucket(const ReadableFile& file, const Meta& meta) : file_(&file), meta_(meta) {}
  Result<std::optional<Found>> Find(ByteView key) const;

  const ReadableFile* file_;
  Meta meta_;
  std::uint64_t root_page_ = 0;
  std::uint64_t sequence_ = 0;
  std::string path_;                          // for messages
  std::shared_ptr<const Bytes> inline_page_;  // the page image, when root_page_ is 0
};

class Database {
 public:
  // Chooses the meta page as bbolt does (db.go, DB.meta): the valid one with the larger
  // transaction; when the other one is not valid, problem() says why. The file must outlive what is
  // made here. The page size comes from the file, never from this machine.
  //
  // Errors (kDataDamaged): "bolt-too-short" no room for a meta page; "bolt-no-meta" neither is
  // valid; "bolt-truncated" the high water mark lies beyond the end of the file; "bolt-meta-bounds"
  // the meta page points to a page that cannot exist. Later calls on buckets add "bolt-page" for a
  // damaged page and "bolt-depth" for a tree too deep to be real.
  static Result<Database> Open(const ReadableFile& file);
  // Forces one meta page (0 or 1), to see what one transaction back would give. When it is not
  // valid the error's code is the one of MetaProblem; problem() is then about the other slot.
  static Result<Database> OpenAt(const ReadableFile& file, int slot);

  const Meta& meta() const { return meta_; }
  const std::optional<MetaProblem>& problem() const { return problem_; }

  // The bucket that holds the top-level buckets.
  Bucket Root() const;
  // Names of the top-level buckets, in key order.
  Result<std::vector<std::string>> Buckets() const { return Root().Buckets(); }
  Result<std::optional<Bucket>> FindBucket(ByteView name) const { return Root().FindBucket(name); }

 private:
  Database(const ReadableFile& file, const Meta& meta, std::optional<MetaProblem> problem)
      : file_(&file), meta_(meta), problem_(std::move(problem)) {}

  const ReadableFile* file_;
  Meta meta_;
  std::optional<MetaProblem> problem_;
};

}  // namespace rescue::bolt
