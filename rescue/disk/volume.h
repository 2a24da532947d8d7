// From a checked header to a mounted volume and back to a sealed disk.
//
//   kView, kScratchView:  disk (read-only) <- snapshot, store in memory <- [integrity] <- crypt <-
//   ext4 kReadWrite:           disk                                          <- [integrity] <-
//   crypt <- ext4
//
// Needs root and the kernel's dm-crypt, dm-integrity, dm-snapshot and loop. Not thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "rescue/base/real_file_system.h"
#include "rescue/base/result.h"
#include "rescue/base/secret_bytes.h"
#include "rescue/disk/find.h"
#include "rescue/disk/header.h"
#include "rescue/secret/secret.h"

namespace rescue::disk {

// The volume key, found once; it opens the view and later the disk without paying argon2id again.
struct Unlocked {
  SecretBytes volume_key;
  int key_slot = 0;
  int tried = 0;  // key slots
};

// Works on the in-memory copy of a checked header alone; no device is touched. Errors
// (kCannotUnlock): "wrong-secret" (names the UUID and how many key slots were tried),
// "not-enough-memory" (needs N MiB, has M).
Result<Unlocked> UnlockKey(const Header& header, const secret::DiskKey& key);

enum class Access {
  kView,         // the disk stays byte-identical; mounted read-only, journals replayed in memory
  kScratchView,  // the same, but mounted writable: a rehearsal of apply, forgotten at the end
  kReadWrite,    // the disk itself
};

struct ViewUsage {
  std::uint64_t used = 0;  // bytes of the store in memory
  std::uint64_t size = 0;
};

struct SealReport {
  std::vector<std::string> closed;  // what was closed, in order: "/run/...", "etcd-rescue-...", ...
  Sha256Digest header_digest{};     // of the header area, read again from the disk
  bool header_identical = false;    // always true in a report; Seal fails otherwise
  ViewUsage view;                   // zero without a view
};

class Volume {
 public:
  // Closes what is still open, as far as that works. Use Seal() to hear about it.
  ~Volume();
  Volume(const Volume&) = delete;
  Volume& operator=(const Volume&) = delete;

  const FoundDisk& disk() const;
  const Header& header() const;
  int key_slot() const;
  Access access() const;
  const std::string& file_system() const;  // "ext4"
  const std::string& mount_point() const;
  // Rooted at the mount point. Must not be used, and no file from it be open, when sealing.
  RealFileSystem& files();
  const std::vector<std::string>& notes() const;

  // Fails (kRefused, "view-full") when the store in memory overflowed: what was read since then is
  // not to be trusted. Always well for kReadWrite.
  Result<ViewUsage> CheckView() const;

  // Flushes, unmounts, closes, and proves it: no mapping, mount or loop device of ours is left, the
  // disk can be opened exclusively, the header area has the same SHA-256 as before. Errors
  // (kOther): "not-sealed" (names what is left), "header-changed", "flush-failed".
  Result<SealReport> Seal() &&;

 private:
  friend Result<std::unique_ptr<Volume>> OpenVolume(const FoundDisk&, const Header&,
                                                    const Unlocked&, Access);
  struct Parts;
  explicit Volume(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

// `header` must have passed CheckHeader for this disk. Errors: kRefused "disk-in-use",
// "disk-read-only" (kReadWrite only), "no-device-mapper"; kVolumeRefused "header-changed" (the disk
// no longer says what was checked), "table-mismatch" (the kernel mapped something else than what
// was checked), "no-file-system", "mount-failed", "activation-failed". Nothing is left open after
// an error.
Result<std::unique_ptr<Volume>> OpenVolume(const FoundDisk& disk, const Header& header,
                                           const Unlocked& unlocked, Access access);

}  // namespace rescue::disk
