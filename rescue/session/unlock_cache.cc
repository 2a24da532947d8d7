#include "rescue/session/unlock_cache.h"

namespace rescue::session {
namespace {

disk::Unlocked CopyOf(const disk::Unlocked& unlocked) {
  return {SecretBytes::CopyOf(unlocked.volume_key.Reveal()), unlocked.key_slot, unlocked.tried};
}

}  // namespace

std::optional<disk::Unlocked> UnlockCache::Find(const disk::Header& header) const {
  const auto found = keys_.find(header.uuid);
  if (found == keys_.end() || found->second.header != header.area_digest) return std::nullopt;
  return CopyOf(found->second.unlocked);
}

void UnlockCache::Keep(const disk::Header& header, const disk::Unlocked& unlocked) {
  keys_[header.uuid] = {header.area_digest, CopyOf(unlocked)};
}

}  // namespace rescue::session
