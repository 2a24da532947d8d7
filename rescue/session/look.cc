#include "rescue/session/look.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>

#include <cerrno>
#include <filesystem>
#include <memory>
#include <optional>
#include <system_error>

#include "rescue/backup/survey.h"
#include "rescue/bolt/database.h"
#include "rescue/etcd/hash.h"
#include "rescue/etcd/inspect.h"

namespace rescue::session {
namespace {

namespace fs = std::filesystem;

struct OpenSurvivor {
  const Target* target = nullptr;
  std::string backend_path;
  etcd::SurvivorSummary summary;
};

std::string LabelOf(const Request& request, const Outcome& outcome) {
  if (!request.disk) return request.data_directory;
  return outcome.disk ? outcome.disk->found.path : *request.disk;
}

Result<etcd::KeySpaceHash> HashAt(const OpenSurvivor& survivor,
                                  const etcd::CommonRevision& common) {
  ASSIGN_OR_RETURN(const auto file, survivor.target->data->Open(survivor.backend_path));
  ASSIGN_OR_RETURN(const auto database, bolt::Database::Open(*file));
  etcd::HashOptions options;
  options.revision = common.revision;
  options.compact_revision = common.compact_revision;
  return etcd::HashKeySpace(database, options);
}

// All are open at this moment.
etcd::Comparison CompareOpen(std::vector<OpenSurvivor>& open) {
  std::vector<etcd::SurvivorSummary> summaries;
  summaries.reserve(open.size());
  for (auto& survivor : open) summaries.push_back(std::move(survivor.summary));
  if (const auto common = etcd::FindCommonRevision(summaries)) {
    for (std::size_t i = 0; i < open.size(); ++i) {
      if (!summaries[i].has_backend) continue;
      auto hash = HashAt(open[i], *common);
      if (hash) {
        summaries[i].hash = *hash;
      } else {
        summaries[i].damage.push_back(hash.error().message);
      }
    }
  }
  return etcd::Compare(std::move(summaries));
}

class Opener {
 public:
  Opener(const std::vector<Request>& requests, Observer& observer, std::vector<Outcome>& outcomes)
      : requests_(requests), observer_(observer), outcomes_(outcomes) {}

  // Opens survivor number `next` and, while it is open, the ones after it.
  Status Open(std::size_t next);

  std::optional<etcd::Comparison> comparison;

 private:
  Result<std::string> Look(std::size_t number, const Target& target);

  const std::vector<Request>& requests_;
  Observer& observer_;
  std::vector<Outcome>& outcomes_;
  std::vector<OpenSurvivor> open_;
};

Status Opener::Open(std::size_t next) {
  if (next == requests_.size()) {
    comparison = CompareOpen(open_);
    return {};
  }
  Request request = requests_[next];
  request.command = Command::kLook;
  request.look = [this, next](const Target& target, Observer&) { return Look(next, target); };
  return Run(request, observer_, outcomes_[next]);
}

Result<std::string> Opener::Look(std::size_t number, const Target& target) {
  OpenSurvivor survivor;
  survivor.target = &target;
  etcd::InspectOptions options;
  options.check_backend = requests_[number].check_backend;
  options.progress = [&](std::uint64_t done, std::uint64_t total) {
    observer_.Progress(Stage::kLook, done, total);
  };
  ASSIGN_OR_RETURN(const auto findings, etcd::Inspect(*target.data, options));
  survivor.backend_path = findings.backend_path;
  survivor.summary = etcd::Summarize(findings, LabelOf(requests_[number], outcomes_[number]));
  if (target.node && target.node->manifest) {
    survivor.summary.server_version = target.node->manifest->version;
  }
  const std::string text =
      fmt::format("log ends at term {}, index {}; revision {}", survivor.summary.last_term,
                  survivor.summary.last_index, survivor.summary.revision);
  open_.push_back(std::move(survivor));
  RETURN_IF_ERROR(Open(number + 1));
  return text;
}

}  // namespace

Status LookAtFile(const std::string& path,
                  const std::function<Status(const ReadableFile& file)>& look) {
  std::error_code error;
  const fs::path real = fs::canonical(path, error);
  if (error) {
    return Fail(ErrorKind::kUsage, "not-found", fmt::format("open {}: {}", path, error.message()),
                "name a snapshot file or a backend (member/snap/db)");
  }
  if (!fs::is_regular_file(real, error)) {
    return Fail(ErrorKind::kUsage, "not-a-file", fmt::format("open {}: it is no file", path),
                "name a snapshot file or a backend; for a data directory use --data-dir");
  }
  ASSIGN_OR_RETURN(const auto folder, RealFileSystem::OpenRoot(real.parent_path().string()));
  const std::string name = real.filename().string();
  ASSIGN_OR_RETURN(const UniqueFd lock, folder->OpenDescriptor(name, O_RDONLY));
  if (::flock(lock.get(), LOCK_SH | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return FailErrno("lock", path, errno);
    return Fail(ErrorKind::kRefused, "in-use",
                fmt::format("open {}: another process is writing to it", path),
                "stop etcd first, or save a snapshot and look at that");
  }
  ASSIGN_OR_RETURN(const auto stored, folder->Open(name));
  ASSIGN_OR_RETURN(const auto file, backup::OpenFull(*stored, name));
  return look(*file);
}

backup::Verdict VerdictOf(const etcd::SnapshotStatus& status, const Status& read) {
  using backup::Verdict;
  if (!read) {
    const std::string& code = read.error().code;
    if (code == "bolt-truncated") return Verdict::kTruncated;
    return code == "bolt-too-short" || code == "bolt-no-meta" ? Verdict::kNotABackend
                                                              : Verdict::kDamaged;
  }
  switch (status.trailer) {
    case etcd::SnapshotTrailer::kMatches:
      return Verdict::kTrailerMatches;
    case etcd::SnapshotTrailer::kAbsent:
      return Verdict::kNoTrailer;
    case etcd::SnapshotTrailer::kDiffers:
      break;
  }
  return status.stored_digest == Sha256Digest{} ? Verdict::kTrailerZero : Verdict::kTrailerDiffers;
}

Result<etcd::Comparison> CompareSurvivors(const std::vector<Request>& requests, Observer& observer,
                                          std::vector<Outcome>& outcomes) {
  outcomes.clear();
  outcomes.resize(requests.size());
  Opener opener(requests, observer, outcomes);
  RETURN_IF_ERROR(opener.Open(0));
  return *std::move(opener.comparison);
}

}  // namespace rescue::session
