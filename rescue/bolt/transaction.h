// One write transaction on a bbolt file, planned as edits: copy-on-write, as bbolt itself commits.
//
// Nothing that the newest valid meta page shows is overwritten: changed pages get new places, and
// the last edit, one meta page, makes them count. Until then (and when that write is torn) the file
// shows what it showed before. A list of free pages is never stored, as etcd never does; bbolt
// finds the free pages by walking the tree when it opens the file.
//
// Sources: bbolt tx.go (Tx.Commit), node.go (split, spill), bucket.go (inlineable, spill).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "rescue/base/bytes.h"
#include "rescue/base/file.h"
#include "rescue/base/result.h"
#include "rescue/bolt/database.h"
#include "rescue/edit/edit.h"

namespace rescue::bolt {

// A key that is set, or (without a value) deleted; deleting an absent key is no error.
struct KeyChange {
  Bytes key;
  std::optional<Bytes> value;
  bool operator==(const KeyChange&) const = default;
};

// Changes in one top-level bucket, which is made when it is absent. Only plain keys: changing a key
// that names a bucket fails.
struct BucketChanges {
  std::string bucket;
  bool clear = false;  // first forget every key that is there
  std::vector<KeyChange> keys;
  bool operator==(const BucketChanges&) const = default;
};

// A bucket that lies inside the root bucket gets another tree, which is in the file already.
struct BucketRoot {
  std::string bucket;
  std::uint64_t root_page = 0;
  bool operator==(const BucketRoot&) const = default;
};

struct TransactionRequest {
  std::vector<BucketChanges> buckets;
  // Not for a bucket that is among `buckets`, too. Whether the tree is sound is not looked at here.
  std::vector<BucketRoot> roots;
  // From here on pages may be taken; 0: from the file's own mark. Pages below it that are not part
  // of `roots` are lost until bbolt opens the file.
  std::uint64_t high_water_mark = 0;
  // Damaged pages to take out of the tree with all that hangs below them: PageProblem::drop_page.
  // Their parents are rewritten without them (an emptied parent goes, too; a bucket whose root
  // goes, or whose header or inline page is damaged, becomes an empty bucket). What is taken out
  // are the places where a problem with this drop_page is, so a page that is used twice stays where
  // it belongs. Finding them reads the whole file once, as the check does.
  std::vector<std::uint64_t> drop_pages;
  // Pages that the newest valid state does not use (CheckReport::free_runs): new pages are put
  // there first, so that a file system without a free block is no obstacle. What finds no room goes
  // to the high water mark, where the file may have to grow.
  std::vector<PageRun> free_runs;
};

struct CommitPlan {
  // In the order in which they must become durable: new pages by ascending offset, then the meta
  // page. Each is a WriteRange of whole pages (the meta page: its first 80 bytes).
  edit::EditList edits;
  std::uint64_t transaction_id = 0;   // of the new meta page
  int slot = 0;                       // where it lies: always transaction_id % 2
  std::uint64_t high_water_mark = 0;  // afterwards
  std::uint64_t bytes_written = 0;
  std::uint64_t pages_written = 0;  // without the meta page
};

// `path` is the file's name for the edits. A request that changes nothing gives no edits. The same
// file and request always give the same bytes. A later change of a key (or bucket) counts.
//
// Errors: those of Database::Open; "bolt-page" when a page that has to be rewritten is damaged and
// not dropped; "bolt-not-a-key" (kRefused) for a key that names a bucket, or a bucket that names a
// key; "bolt-drop-root" (kDataDamaged) when the root of all buckets, or all that is in it, would
// have to be dropped; "bolt-drop-sound" (kRefused) for a page to drop without a problem;
// "bolt-free-run" (kRefused) for a free run that holds pages in use; "bolt-limit" (kRefused) for a
// key or value beyond bbolt's limits.
Result<CommitPlan> PlanCommit(const ReadableFile& file, const std::string& path,
                              const TransactionRequest& request);

}  // namespace rescue::bolt
