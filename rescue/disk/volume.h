// From a checked header to a mounted volume and back to a sealed disk.
//
//   kView, kScratchView:  disk (read-only) <- snapshot, store in memory <- [integrity] <- crypt <-
//   ext4 kReadWrite:           disk                                          <- [integrity] <-
//   crypt <- ext4
//
// A disk without encryption takes the same way without integrity and crypt, and may have xfs.
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
  int tried = 0;   // key slots
  int token = -1;  // that gave the key; -1: a secret did
};

// Works on the in-memory copy of a checked header alone; no device is touched. Errors
// (kCannotUnlock): "wrong-secret" (names the UUID and how many key slots were tried),
// "disk-not-initialised" (likewise, and the token says that no secret ever opened it),
// "not-enough-memory" (needs N MiB, has M), "unlock-failed".
Result<Unlocked> UnlockKey(const Header& header, const secret::DiskKey& key);

// The same with the header's systemd-tpm2 tokens, one after the other, through libcryptsetup's
// plugin, which asks this machine's TPM; `pin` may be null. Errors (kCannotUnlock): "no-token",
// "token-plugin-missing", "no-tpm", "pin-needed" (or wrong), "token-failed".
Result<Unlocked> UnlockWithToken(const Header& header, const SecretBytes* pin);

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
  bool header_identical = false;    // always true for LUKS2; Seal fails otherwise
  bool has_header = false;          // false: the disk is not encrypted
  // What libblkid saw on the volume after it was unmounted; "" when it does not know it any more.
  std::string file_system;
  ViewUsage view;  // zero without a view
};

class Volume {
 public:
  // Closes what is still open, as far as that works. Use Seal() to hear about it.
  ~Volume();
  Volume(const Volume&) = delete;
  Volume& operator=(const Volume&) = delete;

  const FoundDisk& disk() const;
  int key_slot() const;
  Access access() const;
  const std::string& file_system() const;  // "ext4", "xfs"
  const std::string& mount_point() const;
  // Rooted at the mount point. Must not be used, and no file from it be open, when sealing.
  RealFileSystem& files();
  const std::vector<std::string>& notes() const;

  // Fails (kRefused, "view-full") when the store in memory overflowed: what was read since then is
  // not to be trusted. Always well for kReadWrite.
  Result<ViewUsage> CheckView() const;

  // Flushes, unmounts, closes, and proves it: no mapping, mount or loop device of ours is left, no
  // key in the kernel's keyring, the disk can be opened exclusively, the header area has the same
  // SHA-256 as before. Errors (kOther): "not-sealed" (names what is left, and who holds it),
  // "header-changed", "flush-failed"; kRefused "view-full" (everything is closed, but what was read
  // is not to be trusted).
  Result<SealReport> Seal() &&;

 private:
  friend Result<std::unique_ptr<Volume>> OpenVolume(const FoundDisk&, const Header&,
                                                    const Unlocked&, Access, Profile);
  friend Result<std::unique_ptr<Volume>> OpenPlainVolume(const FoundDisk&, Access);
  struct Parts;
  explicit Volume(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

// `header` must have passed CheckHeader for this disk. Errors: kRefused "disk-in-use",
// "disk-read-only" (kReadWrite only), "no-device-mapper"; kVolumeRefused "header-changed" (the disk
// no longer says what was checked), "table-mismatch" (the kernel mapped something else than what
// was checked), "no-file-system", "file-system-bounds", "mount-failed", "activation-failed".
// Nothing is left open after an error. xfs is allowed with Profile::kLuks2 only.
Result<std::unique_ptr<Volume>> OpenVolume(const FoundDisk& disk, const Header& header,
                                           const Unlocked& unlocked, Access access,
                                           Profile profile = Profile::kConstellation);

// A disk with a file system and no encryption. Errors as above.
Result<std::unique_ptr<Volume>> OpenPlainVolume(const FoundDisk& disk, Access access);

}  // namespace rescue::disk
