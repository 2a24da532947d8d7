// Looks at backups before deciding: what is there, how far it leads, and whether the survivor has
// more. Nothing is written.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "rescue/backup/survey.h"
#include "rescue/etcd/findings.h"
#include "rescue/session/backup_place.h"

namespace rescue::session {

// What a survivor's disk says about its newest revision.
struct SurvivorRevisions {
  bool has_backend = false;
  std::uint64_t backend = 0;
  // Log entries behind the backend that may each have taken a revision: what the survivor has once
  // etcd has applied its log lies between `backend` and `backend` + `log_only`.
  std::uint64_t log_only = 0;
  bool log_known = false;
};
SurvivorRevisions RevisionsOf(const etcd::Findings& findings);

enum class WhoHasMore { kBackup, kSurvivor, kSame, kUnclear };
std::string_view Name(WhoHasMore who);  // "backup", "survivor", "same", "unclear"
WhoHasMore Compare(std::uint64_t reachable, const SurvivorRevisions& survivor);

struct BackupListing {
  std::string from;
  // A store:
  std::optional<backup::StoreSurvey> survey;
  std::vector<backup::ForeignFile> foreign;
  std::uint64_t foreign_count = 0;
  // Or a file; its size as stored:
  std::optional<backup::SnapshotFile> snapshot;
  backup::Compression compression = backup::Compression::kNone;
  std::uint64_t stored_size = 0;

  std::uint64_t reachable = 0;    // 0: nothing can be restored
  std::optional<Error> obstacle;  // why not, or why not more
  std::optional<SurvivorRevisions> survivor;
};

using BackupProgress = std::function<void(std::uint64_t done, std::uint64_t total)>;

// `read`: every object is read and proven; otherwise names and sizes only. Errors: those of
// ListStore and OnlyStore. A file that cannot be restored is an obstacle, not an error.
Result<BackupListing> ListBackups(const OpenBackups& backups, bool read,
                                  const BackupProgress& progress = {});

nlohmann::json ToJson(const BackupListing& listing);
std::vector<std::string> ToText(const BackupListing& listing);

}  // namespace rescue::session
