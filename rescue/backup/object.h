// One object of a backup store: what its name says, and its plain bytes as a stream.
//
//     Full-00000000-00000318-1795252080.gz.final
//     kind start    last     unix time  |  |
//                             compression  last full before hibernation
//
// Names as etcd-backup-restore v0.44 makes them (pkg/snapstore/snapshot.go, GenerateSnapshotName;
// ParseSnapshot reads them back). Compression is around the whole object, digest included
// (pkg/compressor). FORMAT.md has the details.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "rescue/base/file.h"
#include "rescue/base/result.h"

namespace rescue::backup {

enum class ObjectKind {
  kFull,   // a backend with its SHA-256 behind it: what `etcdctl snapshot save` writes
  kDelta,  // "Incr": a JSON list of events with its SHA-256 behind it
};

enum class Compression { kNone, kGzip, kZlib, kLzw };

std::string_view Name(ObjectKind kind);          // "full", "delta"
std::string_view Name(Compression compression);  // "none", "gzip", "zlib", "lzw"

struct ObjectName {
  ObjectKind kind = ObjectKind::kFull;
  // Revisions of the key space. A full starts at 0; its last is a lower bound: what it holds may
  // reach a little further, because the name is made first. A delta holds exactly these.
  std::uint64_t start = 0;
  std::uint64_t last = 0;
  std::int64_t created = 0;  // seconds since 1970-01-01 UTC, by the clock of who wrote it
  Compression compression = Compression::kNone;
  bool final = false;

  bool operator==(const ObjectName&) const = default;
};

// Nothing when it is not the name of an object: other files may lie in a store. Numbers are decimal
// digits only, at most 2^63 - 1, start not above last (and at least 1 for a delta).
std::optional<ObjectName> ParseObjectName(std::string_view file_name);

// By the ending of any file name: ".gz", ".zlib", ".Z", with or without ".final" behind it.
Compression CompressionOf(std::string_view file_name);

// Plain bytes, front to back, in bounded memory.
class ByteSource {
 public:
  virtual ~ByteSource() = default;
  // Fills `into`; the count is short only at the end, where every further call gives 0.
  virtual Result<std::size_t> Read(std::span<std::byte> into) = 0;
  // Bytes of the stored object that were read so far, for progress.
  virtual std::uint64_t stored_position() const = 0;
  // A second stream that goes on from the same place; nullptr where that is not possible.
  virtual std::unique_ptr<ByteSource> Clone() const { return nullptr; }
};

struct OpenOptions {
  Compression compression = Compression::kNone;
  // More plain bytes than this are refused; nothing above it is ever decompressed.
  std::uint64_t limit = 0;
  // How messages call the object: its path in the store.
  std::string name;
};

// `file` must outlive the source. Errors of Read (kDataDamaged): "object-truncated" it ends in the
// middle, "object-corrupt" it is not what its ending says, or its own checksum (gzip, zlib) is
// wrong, "object-trailing-bytes" something follows the end; (kRefused) "object-too-large" more than
// the limit. Those of the file.
std::unique_ptr<ByteSource> OpenObject(const ReadableFile& file, OpenOptions options);

// The plain bytes of an object at any place: what lies before a place that was passed is
// decompressed again from the nearest of a bounded number of marks. size() needs one pass over all
// of it, which this does. `file` must outlive it. Memory: up to `cache` bytes and 32 MiB. Errors:
// those of OpenObject.
Result<std::unique_ptr<ReadableFile>> OpenSeekable(const ReadableFile& file, OpenOptions options,
                                                   std::uint64_t cache = std::uint64_t{64} << 20);

}  // namespace rescue::backup
