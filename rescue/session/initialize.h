// Is a data directory fit to start etcd on, or is it to be restored? The verdicts are those of
// etcdbrctl's `initialize`, one to one, so that scripts around it can take ours.
//
// Source: etcd-backup-restore v0.44, pkg/initializer/validator (types.go, datavalidator.go). Where
// etcdbrctl starts an embedded etcd to find out what the log adds to the revision, the log is read.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "rescue/session/backups.h"
#include "rescue/session/pipeline.h"

namespace rescue::session {

enum class DirectoryState {
  kValid,
  kWrongVolume,     // safe_guard beside it names another owner
  kMissing,         // no data directory
  kBadStructure,    // member, member/snap or member/wal is missing
  kCorrupt,         // log, .snap or pages are damaged, or there is no backend
  kBackendCorrupt,  // the newest revision cannot be read from the backend
  kUnknown,         // it cannot be found out
  kBehindBackup,    // the backup reaches a later revision, log included
  kInUse,           // etcd holds its locks
};
std::string_view Name(DirectoryState state);           // "valid", "wrong-volume", ...
std::string_view EtcdbrctlName(DirectoryState state);  // "DataDirectoryValid", ...

enum class Validation {
  kSanity,  // structure, the backend's newest revision, revision against the backup
  kFull,    // and log, .snap files and every page of the backend
};

struct InitializeRequest {
  Validation validation = Validation::kSanity;
  std::string from;   // backups; empty: none, and no comparison
  std::string owner;  // what safe_guard must say; empty: not asked
};

struct DirectoryVerdict {
  DirectoryState state = DirectoryState::kUnknown;
  std::string reason;  // one line
  std::optional<SurvivorRevisions> survivor;
  std::uint64_t backup_revision = 0;  // 0: none
  // What to do; etcdbrctl does the same. kValid: nothing. kWrongVolume, kInUse, kUnknown: refuse.
  bool restore = false;
};

// `request` names the place (data directory or disk, secret); everything else in it is ignored.
// Fails only when it cannot even be asked (usage, unlocking, the backups).
Result<DirectoryVerdict> Validate(const Request& request, const InitializeRequest& wanted,
                                  Observer& observer, Outcome& outcome);

// Nothing for a valid directory; otherwise what the face has to say. kDataDamaged
// "initialize-restore" (the hint is the command that restores), kRefused "wrong-volume", "in-use",
// "initialize-unknown".
Status Judge(const DirectoryVerdict& verdict, const InitializeRequest& wanted);

nlohmann::json ToJson(const DirectoryVerdict& verdict);
std::vector<std::string> ToText(const DirectoryVerdict& verdict);

}  // namespace rescue::session
