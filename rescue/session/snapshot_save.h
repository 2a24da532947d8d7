// Writes a snapshot file from a stopped survivor's backend: what `etcdctl snapshot save` would have
// written, SHA-256 included. Nothing on the survivor is changed.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "rescue/base/checksum.h"
#include "rescue/session/target.h"

namespace rescue::session {

struct SaveRequest {
  std::string out;            // on this machine; must not exist
  bool with_tail = false;     // refuse when entries are in the log only
  bool check_backend = true;  // look at every page first
};

// What the snapshot holds, and what it does not.
struct SavedSnapshot {
  std::string out;
  std::uint64_t size = 0;  // bytes, with the SHA-256
  Sha256Digest digest{};
  std::uint64_t revision = 0;
  // Entries that the survivor's etcd would apply from its log at its next start.
  bool log_known = false;
  std::uint64_t first_index = 0;  // 0: none
  std::uint64_t last_index = 0;
  std::uint64_t entries = 0;
  std::uint64_t committed = 0;  // of these, known to be committed
  std::uint64_t may_write = 0;  // of these, requests that may change keys
};

// Writes to OUT.part, flushes, renames: OUT is whole or not there. Errors: kUsage "exists",
// "not-found"; kDataDamaged "backend-damaged"; kRefused "no-space", "tail-not-in-snapshot" (with
// `with_tail`: a snapshot holds the backend only; says which entries it would lack).
Result<SavedSnapshot> SaveSnapshot(
    const Target& target, const SaveRequest& request,
    const std::function<void(std::uint64_t, std::uint64_t)>& progress);

nlohmann::json ToJson(const SavedSnapshot& saved);
std::vector<std::string> ToText(const SavedSnapshot& saved);

}  // namespace rescue::session
