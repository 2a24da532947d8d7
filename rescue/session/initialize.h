// Is a data directory fit to start etcd on? If not, it is restored from a backup, when that was
// agreed to. The verdicts are those of etcdbrctl's `initialize`, one to one, so that scripts around
// it can take ours.
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
  std::string owner;         // what safe_guard must say; empty: not asked
  bool may_restore = false;  // otherwise it is only said what would be done
};

struct DirectoryVerdict {
  DirectoryState state = DirectoryState::kUnknown;
  std::string reason;  // one line
  std::optional<SurvivorRevisions> survivor;
  std::uint64_t backup_revision = 0;  // 0: none
  // What to do; etcdbrctl does the same. kValid: nothing. kWrongVolume, kInUse, kUnknown: refuse.
  bool restore = false;
};

// `request` names the place (data directory or disk, secret) and the backups
// (Request::backup.from; empty: none, and no comparison; with a limit, no further than that).
// Everything else in it is ignored. Fails only when it cannot even be asked (usage, unlocking, the
// backups, an unfinished journal).
Result<DirectoryVerdict> Validate(const Request& request, const InitializeRequest& wanted,
                                  Observer& observer, Outcome& outcome);

struct Initialized {
  DirectoryVerdict found;  // before anything was done
  Outcome validation;      // of the run that only looked
  // Of the restore, or of the plan for it when it was not agreed to.
  std::optional<Outcome> restore;
  bool restored = false;
};

// Validates, and then does what the verdict asks for: nothing; a refusal; or the restore that
// kApply does for `request` (wishes, backup, journal), with its plan, journal, verification and
// undo. What was found is in `done` also when it ends with an error: kDataDamaged
// "initialize-restore" (it has to be restored, but there is no backup or it was not agreed to),
// kRefused "wrong-volume", "in-use", "initialize-unknown"; kUsage "backup-on-volume"; those of
// Validate and of Run.
Status Initialize(const Request& request, const InitializeRequest& wanted, Observer& observer,
                  Initialized& done);

nlohmann::json ToJson(const Initialized& done);
std::vector<std::string> ToText(const Initialized& done);

}  // namespace rescue::session
