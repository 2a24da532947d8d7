// What a restore reads: one snapshot file, or the full and the deltas of a backup store that lead
// to the wanted revision. Chosen by names, sizes and first bytes; what it holds is proven when it
// is read (Verify, or the restore itself).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "rescue/backup/object.h"
#include "rescue/backup/snapshot_file.h"
#include "rescue/backup/store.h"
#include "rescue/base/file.h"
#include "rescue/base/result.h"

namespace rescue::backup {

struct SourceWishes {
  std::optional<std::uint64_t> to_revision;
  bool accept_hash_mismatch = false;

  bool operator==(const SourceWishes&) const = default;
};

struct Source {
  const FileView* files = nullptr;
  std::string label;  // as the operator named it
  SourceWishes wishes;

  // A snapshot file, a copy of a backend, or the full of a store.
  std::string base_path;
  std::uint64_t base_size = 0;  // bytes as stored
  Compression base_compression = Compression::kNone;
  std::uint64_t backend_bytes = 0;  // plain bytes of the pages in use
  bool in_store = false;
  std::vector<StoreObject> deltas;  // in the order in which they are applied
  // The revision to end with; 0 for a snapshot file, which says so only inside.
  std::uint64_t target = 0;
  // Of the base, where it can be looked at without reading it all (not compressed).
  std::optional<std::uint64_t> base_revision;
  std::string cluster_version;         // the same; empty when it is not known
  std::vector<std::string> notes;      // for people, one line each
  std::uint64_t stored_bytes() const;  // of all that has to be read
  // Bytes of storage that the restored backend takes at most.
  std::uint64_t restored_bytes() const;
};

// `path` is a file or a folder in `files`, which must outlive the source. Errors: those of
// ListStore, OnlyStore, ChooseChain and Accept; kUsage "revision-in-snapshot" for --to-revision
// with a snapshot file that holds another one.
Result<Source> OpenSource(const FileView& files, const std::string& path, std::string label,
                          const SourceWishes& wishes);

// The base's plain bytes at any place.
Result<std::unique_ptr<ReadableFile>> OpenPlainBase(const Source& source,
                                                    const ReadableFile& stored);
std::unique_ptr<ByteSource> StreamBase(const Source& source, const ReadableFile& stored);

// Which object is being read, how many of its stored bytes are done, and of how many.
using SourceProgress =
    std::function<void(std::string_view object, std::uint64_t done, std::uint64_t total)>;

struct Verified {
  SnapshotFile base;
  std::uint64_t revision = 0;  // that a restore ends with
  std::uint64_t events = 0;    // in the deltas, those that the base holds already included
};

// Reads everything and proves it, without writing: digests, the base's tree where its digest does
// not decide, every event of every delta. Errors: those of Accept and EventReader; kDataDamaged
// "revision-not-reached" when the deltas end before the promised revision.
Result<Verified> Verify(const Source& source, const SourceProgress& progress = {});

}  // namespace rescue::backup
