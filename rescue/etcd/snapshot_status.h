// What a backend or a snapshot file is worth at a glance: the numbers of `etcdutl snapshot status`.
//
// A snapshot that `etcdctl snapshot save` wrote is the backend's pages followed by their SHA-256
// (32 bytes); etcd tells it from a bare backend by the file's size
// (etcdutl/snapshot/v3_snapshot.go, hasChecksum).
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "rescue/base/checksum.h"
#include "rescue/base/file.h"
#include "rescue/base/result.h"
#include "rescue/bolt/check.h"

namespace rescue::etcd {

enum class SnapshotTrailer {
  kAbsent,   // a bare backend; `etcdutl snapshot restore` then wants --skip-hash-check
  kMatches,  // the file is what was saved
  kDiffers,  // the file or its last 32 bytes were changed
};
std::string_view Name(SnapshotTrailer trailer);

// Present when `size`, a file's, says that the last 32 bytes are a SHA-256.
bool HasSnapshotTrailer(std::uint64_t size);

struct SnapshotStatus {
  // CRC-32C over every bucket's name and all its keys and values, in order.
  std::uint32_t hash = 0;
  std::uint64_t revision = 0;    // of the last record; 0 without any
  std::uint64_t total_keys = 0;  // "totalKey" of etcdutl 3.5 (and 3.4): records of all buckets
  std::uint64_t live_keys = 0;   // "totalKey" of etcdutl 3.6 and later: keys that are not deleted
  std::uint64_t total_size = 0;  // bytes of the pages in use; the file may be longer
  std::string storage_version;   // "3.6.0"; empty before 3.6
  std::uint64_t file_size = 0;
  SnapshotTrailer trailer = SnapshotTrailer::kAbsent;
  std::optional<Sha256Digest> stored_digest;  // the trailer
  std::optional<Sha256Digest> digest;         // what it should be
  std::optional<bolt::CheckReport> check;     // absent when not asked for
};

struct SnapshotStatusOptions {
  // Every page is checked first; the numbers of a damaged file mean nothing. That also reads the
  // file front to back, which on a slow disk is what takes the time anyway.
  bool check = true;
  std::function<void(std::uint64_t done, std::uint64_t total)> progress;  // of the check
};

// Errors: those of bolt::Database::Open, of bolt::Check ("bolt-too-large") and of the walk
// (key_record.h); "backend-damaged" (kDataDamaged) when the check finds damage: `found` then still
// has what could be read. A trailer that differs is no error here.
Status ReadSnapshotStatus(const ReadableFile& file, const SnapshotStatusOptions& options,
                          SnapshotStatus& found);

}  // namespace rescue::etcd
