// What a file that is said to be a snapshot is worth: `etcdctl snapshot save` writes the backend's
// pages and their SHA-256 (32 bytes); a copy of member/snap/db has no digest; and a file may have
// been cut, changed, or be something else. etcd's tools call all of these "hash mismatch"; here
// they are told apart by size, digest, meta pages and, where that decides, a walk of the tree.
//
// Source: etcdutl/snapshot/v3_snapshot.go, hasChecksum (file size modulo 512 is 32).
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "rescue/backup/object.h"
#include "rescue/base/checksum.h"
#include "rescue/base/file.h"
#include "rescue/base/result.h"
#include "rescue/bolt/check.h"

namespace rescue::backup {

inline constexpr std::uint64_t kDigestSize = std::tuple_size_v<Sha256Digest>;

enum class Verdict {
  kTrailerMatches,  // the file is what was saved
  kNoTrailer,       // a bare backend; accepted, with a warning, when its tree is consistent
  kTrailerZero,     // the digest is 32 zero bytes: only with --accept-hash-mismatch
  kTrailerDiffers,  // file or digest were changed: only with --accept-hash-mismatch
  kTruncated,       // shorter than its own meta page says
  kNotABackend,     // no valid meta page
  kDamaged,         // the tree is not consistent, or the size is odd
};
// "trailer-matches", "no-trailer", ...: stable words.
std::string_view Name(Verdict verdict);

// Of a file's bytes while they stream by: the SHA-256 of all but the last 32, and those.
class SnapshotDigest {
 public:
  void Update(ByteView bytes);
  struct Outcome {
    std::uint64_t size = 0;       // all bytes
    Sha256Digest without_last{};  // of all but the last 32 bytes
    Sha256Digest last{};          // the last 32 bytes; all of them, when there are fewer
  };
  Outcome Finish();  // once

 private:
  Sha256Hasher hasher_;
  Bytes held_;  // the last bytes, not hashed yet
  std::uint64_t size_ = 0;
};

struct SnapshotFile {
  Verdict verdict = Verdict::kNotABackend;
  std::string reason;              // one line, for all but kTrailerMatches
  std::uint64_t size = 0;          // plain bytes, with the digest
  std::uint64_t backend_size = 0;  // bytes of the pages in use; the rest may be cut off
  std::uint64_t page_size = 0;
  bool has_trailer = false;  // the size says so
  std::optional<Sha256Digest> stored_digest;
  std::optional<Sha256Digest> digest;  // what it should be
  std::uint64_t revision = 0;          // of the last record; 1 for an empty key space
  std::uint64_t compacted = 0;
  std::optional<bolt::CheckReport> check;  // when the tree was walked
};

struct JudgeOptions {
  enum class Walk {
    kWhenItDecides,  // not when the digest matches
    kAlways,
    kNever,  // for a first look; kNoTrailer then says nothing about the tree
  };
  Walk walk = Walk::kWhenItDecides;
  bool digest = true;  // false: do not read all of it; the verdict is then kNoTrailer at best
  std::function<void(std::uint64_t bytes_done, std::uint64_t bytes_total)> progress;
};

// Fails only when the file cannot be read; what is wrong with it is the verdict.
Result<SnapshotFile> JudgeSnapshot(const ReadableFile& file, const JudgeOptions& options = {});

struct AcceptOptions {
  bool hash_mismatch = false;  // --accept-hash-mismatch: take it all the same, if its tree is whole
  // A full of a backup store always has its digest: one without is not what was saved.
  bool in_store = false;
};
// Whether it may be restored. Errors: kDataDamaged "snapshot-truncated", "snapshot-not-a-backend",
// "snapshot-damaged" (also of one whose digest is accepted); kRefused "snapshot-hash-missing",
// "snapshot-hash-zero", "snapshot-hash-mismatch" unless accepted; "snapshot-not-walked" when that
// needs a walk of the tree which the judge was told to leave out. `label` is the file's name for
// the message.
Status Accept(const SnapshotFile& snapshot, const AcceptOptions& options, std::string_view label);

// Plain bytes of the pages in use, from the meta pages at the start of a stream: what a full will
// need on disk before it is decompressed. Errors as Accept.
Result<std::uint64_t> DeclaredBackendSize(ByteView first_bytes, std::string_view label);
// How many first bytes that takes for every page size.
inline constexpr std::size_t kDeclaredSizeNeeds = (std::size_t{64} << 10) + 4096;

}  // namespace rescue::backup
