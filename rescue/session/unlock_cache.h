// What unlocking gave, kept by a face that runs several commands on the same disk, so that the
// operator types the secret once and argon2id is paid once.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "rescue/disk/volume.h"

namespace rescue::session {

// Volume keys in secret memory, found by LUKS UUID and the digest of the header area that they were
// opened with: another header, even on the same disk, finds nothing. Not thread-safe.
class UnlockCache {
 public:
  std::optional<disk::Unlocked> Find(const disk::Header& header) const;
  void Keep(const disk::Header& header, const disk::Unlocked& unlocked);
  void Clear() { keys_.clear(); }
  bool empty() const { return keys_.empty(); }

 private:
  struct Key {
    Sha256Digest header{};
    disk::Unlocked unlocked;
  };
  std::map<std::string, Key> keys_;  // by LUKS UUID
};

}  // namespace rescue::session
