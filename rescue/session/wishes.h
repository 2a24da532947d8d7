// Wishes as people type them: checked before a plan is made, so that a face can say what is wrong
// with a field while it is being filled in.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "rescue/base/result.h"

namespace rescue::session {

// Strategy restore from a backup instead of the survivor's own backend.
struct BackupWishes {
  // A snapshot file, a copy of a backend, or a folder with backups: a path on this machine, for a
  // disk one in its volume; or on another disk: "LABEL=BACKUP:/etcd", "UUID=...:/etcd",
  // "SERIAL=...:/etcd", "/dev/vdc1:/etcd". Empty: no backup.
  std::string from;
  std::optional<std::uint64_t> to_revision;  // point in time; nothing: as far as the backup reaches
  bool accept_hash_mismatch = false;
  bool discard_old = false;  // remove the old member first: there is no room for both

  bool operator==(const BackupWishes&) const = default;
};

// Peer URLs separated by commas or blanks; none for an empty text. Errors: kUsage "bad-peer-url",
// also for a URL that only reaches the machine itself: the next members could not join there.
Result<std::vector<std::string>> ParsePeerUrls(std::string_view text);
std::string JoinPeerUrls(const std::vector<std::string>& urls);

// By how much the newest revision is raised: a whole number, 0 or nothing for not at all. Error:
// kUsage "bad-bump".
Result<std::uint64_t> ParseBump(std::string_view text);

}  // namespace rescue::session
