#include "rescue/session/initialize.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "rescue/etcd/inspect.h"
#include "rescue/etcd/json.h"
#include "rescue/session/report.h"

namespace rescue::session {
namespace {

namespace fs = std::filesystem;

// etcdbrctl keeps it beside the data directory, with the pod's namespace in it.
constexpr std::string_view kOwnerFile = "safe_guard";
constexpr std::uint64_t kLargestOwner = 4096;

struct State {
  DirectoryState state;
  std::string_view name;
  std::string_view etcdbrctl;
};
constexpr State kStates[] = {
    {DirectoryState::kValid, "valid", "DataDirectoryValid"},
    {DirectoryState::kWrongVolume, "wrong-volume", "WrongVolumeMounted"},
    {DirectoryState::kMissing, "missing", "DataDirectoryNotExist"},
    {DirectoryState::kBadStructure, "bad-structure", "DataDirectoryInvStruct"},
    {DirectoryState::kCorrupt, "corrupt", "DataDirectoryCorrupt"},
    {DirectoryState::kBackendCorrupt, "backend-corrupt", "BoltDBCorrupt"},
    {DirectoryState::kUnknown, "unknown", "DataDirectoryStatusUnknown"},
    {DirectoryState::kBehindBackup, "behind-backup", "RevisionConsistencyError"},
    {DirectoryState::kInUse, "in-use", "FailToOpenBoltDBError"},
};

const State& Describe(DirectoryState state) { return kStates[static_cast<std::size_t>(state)]; }

DirectoryVerdict Verdict(DirectoryState state, std::string reason) {
  DirectoryVerdict verdict;
  verdict.state = state;
  verdict.reason = std::move(reason);
  verdict.restore = state == DirectoryState::kMissing || state == DirectoryState::kBadStructure ||
                    state == DirectoryState::kCorrupt || state == DirectoryState::kBackendCorrupt ||
                    state == DirectoryState::kBehindBackup;
  return verdict;
}

// The first of etcdbrctl's questions that is answered with no, in its order.
class Validator {
 public:
  Validator(const InitializeRequest& wanted, Observer& observer)
      : wanted_(wanted), observer_(observer) {}

  // The last revision that the backups reach; reads all of them only for a full validation.
  Status AskBackups(const BackupWishes& wishes) {
    if (wishes.from.empty()) return {};
    ASSIGN_OR_RETURN(auto backups, OpenBackups::Open(wishes.from));
    ASSIGN_OR_RETURN(const auto listing,
                     ListBackups(backups, wanted_.validation == Validation::kFull,
                                 [&](std::uint64_t done, std::uint64_t total) {
                                   observer_.Progress(Stage::kLook, done, total);
                                 }));
    backup_revision_ = listing.reachable;
    // What is restored up to there would count as behind for ever.
    if (wishes.to_revision) backup_revision_ = std::min(backup_revision_, *wishes.to_revision);
    return backups.Close();
  }

  Result<DirectoryVerdict> Ask(const Target& target) {
    // Half of it may be the one that was restored.
    RETURN_IF_ERROR(RefuseUnfinished(target));
    for (const std::string_view folder :
         {std::string_view("member"), etcd::kSnapDirectory, etcd::kLogDirectory}) {
      const auto status = target.data->Stat(folder);
      if (!status && !IsNotFound(status.error())) return Fail(status.error());
      if (!status || status->type != FileType::kDirectory) {
        return Verdict(DirectoryState::kBadStructure, fmt::format("{} is no folder", folder));
      }
    }
    etcd::InspectOptions options;
    options.check_backend = wanted_.validation == Validation::kFull;
    options.progress = [&](std::uint64_t done, std::uint64_t total) {
      observer_.Progress(Stage::kLook, done, total);
    };
    ASSIGN_OR_RETURN(const auto findings, etcd::Inspect(*target.data, options));
    auto verdict = AskFindings(findings);
    if (findings.backend) verdict.survivor = RevisionsOf(findings);
    return verdict;
  }

  std::uint64_t backup_revision() const { return backup_revision_; }

 private:
  DirectoryVerdict AskFindings(const etcd::Findings& findings) {
    if (findings.backend_error) {
      const bool missing = findings.backend_error->code == "backend-missing";
      return Verdict(missing ? DirectoryState::kCorrupt : DirectoryState::kBackendCorrupt,
                     findings.backend_error->message);
    }
    const SurvivorRevisions survivor = RevisionsOf(findings);
    if (survivor.backend + survivor.log_only < backup_revision_) {
      return Verdict(
          DirectoryState::kBehindBackup,
          fmt::format("it ends at revision {}, with its log at {} at most; the backup "
                      "reaches {}",
                      survivor.backend, survivor.backend + survivor.log_only, backup_revision_));
    }
    if (wanted_.validation == Validation::kFull) {
      if (findings.log_error) {
        return Verdict(DirectoryState::kCorrupt, findings.log_error->message);
      }
      // etcd passes over damaged .snap files as long as one is left.
      if (findings.snaps.empty() && !findings.unreadable_snaps.empty()) {
        return Verdict(DirectoryState::kCorrupt, "none of its .snap files can be read");
      }
      if (findings.check && !findings.check->clean()) {
        return Verdict(DirectoryState::kCorrupt,
                       fmt::format("backend: {} damaged page(s)", findings.check->problem_count));
      }
    }
    if (survivor.backend < backup_revision_) {
      return Verdict(DirectoryState::kValid,
                     "its log may lead to the backup's revision: etcd shows it when it starts");
    }
    return Verdict(DirectoryState::kValid, "");
  }

  const InitializeRequest& wanted_;
  Observer& observer_;
  std::uint64_t backup_revision_ = 0;
};

// Nothing when the volume is the right one, or nobody asked.
std::optional<DirectoryVerdict> AskOwner(const std::string& data_directory,
                                         const std::string& owner) {
  if (owner.empty() || data_directory.empty()) return std::nullopt;
  const fs::path parent = fs::absolute(data_directory).lexically_normal().parent_path();
  const auto files = RealFileSystem::OpenRoot(parent.string());
  if (!files) return std::nullopt;  // nothing is there, not even the volume: missing
  const auto content = ReadWhole(**files, kOwnerFile, kLargestOwner);
  if (!content) {
    if (IsNotFound(content.error())) return std::nullopt;
    return Verdict(DirectoryState::kWrongVolume, content.error().message);
  }
  if (AsText(*content) == owner) return std::nullopt;
  return Verdict(DirectoryState::kWrongVolume,
                 fmt::format("{} belongs to {}, not to {}", (parent / kOwnerFile).string(),
                             Printable(*content), Printable(owner)));
}

// Some failures of opening are answers.
std::optional<DirectoryState> StateOf(const Error& error) {
  if (error.code == "in-use") return DirectoryState::kInUse;
  if (error.code == "no-data-directory") return DirectoryState::kBadStructure;
  if (error.code == "io") return DirectoryState::kUnknown;
  return std::nullopt;
}

}  // namespace

std::string_view Name(DirectoryState state) { return Describe(state).name; }
std::string_view EtcdbrctlName(DirectoryState state) { return Describe(state).etcdbrctl; }

Result<DirectoryVerdict> Validate(const Request& request, const InitializeRequest& wanted,
                                  Observer& observer, Outcome& outcome) {
  if (auto wrong = AskOwner(request.data_directory, wanted.owner)) return *std::move(wrong);
  Validator validator(wanted, observer);
  RETURN_IF_ERROR(validator.AskBackups(request.backup));
  std::optional<DirectoryVerdict> verdict;
  std::error_code error;
  if (!request.disk && !fs::exists(request.data_directory, error) && !error) {
    verdict =
        Verdict(DirectoryState::kMissing, fmt::format("there is no {}", request.data_directory));
  } else {
    Request look = request;
    look.command = Command::kLook;
    look.backup = {};
    look.look = [&](const Target& target, Observer&) -> Result<std::string> {
      ASSIGN_OR_RETURN(verdict, validator.Ask(target));
      return std::string(Name(verdict->state));
    };
    if (Status looked = Run(look, observer, outcome); !looked) {
      const auto state = StateOf(looked.error());
      if (!state) return Fail(std::move(looked).error());
      verdict = Verdict(*state, looked.error().message);
    }
  }
  verdict->backup_revision = validator.backup_revision();
  return *std::move(verdict);
}

namespace {

std::string Found(const DirectoryVerdict& verdict) {
  return fmt::format("validate the data directory: {} ({}): {}", Name(verdict.state),
                     EtcdbrctlName(verdict.state), verdict.reason);
}

// Nothing for a directory that is to be left or to be restored.
Status RefuseState(const DirectoryVerdict& verdict) {
  switch (verdict.state) {
    case DirectoryState::kWrongVolume:
      return Fail(ErrorKind::kRefused, "wrong-volume", Found(verdict),
                  "attach the volume of this etcd; nothing was changed");
    case DirectoryState::kInUse:
      return Fail(ErrorKind::kRefused, "in-use", Found(verdict), "stop etcd first");
    case DirectoryState::kUnknown:
      return Fail(ErrorKind::kRefused, "initialize-unknown", Found(verdict),
                  "look at the kernel's log: the disk may fail; nothing was changed");
    default:
      return {};
  }
}

// The restore looks there for a path without a disk, and validation does not.
Status RefuseVolume(const Request& request) {
  if (!request.disk || request.backup.from.empty() ||
      !ParseBackupPlace(request.backup.from).disk.empty()) {
    return {};
  }
  return Fail(ErrorKind::kUsage, "backup-on-volume",
              fmt::format("initialize a disk from {}: it names no disk", request.backup.from),
              "name the disk with the backups (LABEL=NAME:/PATH), or restore with apply --from");
}

// What a plan in the directory would refuse, where none can be made because there is no directory.
Status CheckNamed(const etcd::Wishes& wishes) {
  if (wishes.name.empty()) {
    return Fail(ErrorKind::kUsage, "no-name",
                "plan restore: there is no data directory that says which member this is",
                "give its name with --name (etcd's --name on this node)");
  }
  if (!wishes.peer_urls.empty()) return {};
  return Fail(ErrorKind::kUsage, "no-peer-url",
              "plan restore: there is no data directory that says this member's peer URL",
              "give --peer-url (etcd's --initial-advertise-peer-urls on this node)");
}

Request RestoreRequest(const Request& request, Command command) {
  Request restore = request;
  restore.command = command;
  restore.wishes.strategy = etcd::Strategy::kRestore;
  return restore;
}

// Says what would be done, and that it was not.
Status PlanOnly(const Request& request, Observer& observer, Initialized& done) {
  if (done.found.state == DirectoryState::kMissing) {
    RETURN_IF_ERROR(CheckNamed(request.wishes));
  } else {
    done.restore.emplace();
    RETURN_IF_ERROR(Run(RestoreRequest(request, Command::kPlan), observer, *done.restore));
  }
  return Fail(ErrorKind::kDataDamaged, "initialize-restore", Found(done.found),
              fmt::format("run the same command with --yes: it restores revision {} from {}; "
                          "nothing was changed",
                          done.found.backup_revision, request.backup.from));
}

}  // namespace

Status Initialize(const Request& request, const InitializeRequest& wanted, Observer& observer,
                  Initialized& done) {
  RETURN_IF_ERROR(RefuseVolume(request));
  // 1. Look. The secret of a disk is asked for once.
  UnlockCache unlocked;
  Request place = request;
  if (place.unlocked == nullptr) place.unlocked = &unlocked;
  ASSIGN_OR_RETURN(done.found, Validate(place, wanted, observer, done.validation));
  RETURN_IF_ERROR(RefuseState(done.found));
  // 2. Most starts end here.
  if (!done.found.restore) return {};
  if (request.backup.from.empty() || done.found.backup_revision == 0) {
    return Fail(ErrorKind::kDataDamaged, "initialize-restore", Found(done.found),
                "there is no backup to restore: name one with --from, or rescue what is left "
                "(plan says what would be lost)");
  }
  // 3. Restore, or say what that would do.
  if (!wanted.may_restore) return PlanOnly(place, observer, done);
  done.restore.emplace();
  RETURN_IF_ERROR(Run(RestoreRequest(place, Command::kApply), observer, *done.restore));
  done.restored = true;
  return {};
}

nlohmann::json ToJson(const Initialized& done) {
  const DirectoryVerdict& verdict = done.found;
  nlohmann::json document = {
      {"state", Name(verdict.state)}, {"etcdbrctl_state", EtcdbrctlName(verdict.state)},
      {"reason", verdict.reason},     {"restore", verdict.restore},
      {"restored", done.restored},    {"backup_revision", verdict.backup_revision}};
  if (verdict.survivor) {
    document["backend_revision"] = verdict.survivor->backend;
    document["log_only_writes"] = verdict.survivor->log_only;
  }
  if (!done.restore) return document;
  if (done.restore->plan) document["plan"] = etcd::ToJson(*done.restore->plan);
  if (done.restored) {
    document["revision"] = done.restore->plan->revision_after;
    document["journal"] = done.restore->journal_path;
  }
  return document;
}

std::vector<std::string> ToText(const Initialized& done) {
  const DirectoryVerdict& verdict = done.found;
  std::vector<std::string> lines = {fmt::format("{:<12} {} ({} of etcdbrctl)", "directory",
                                                Name(verdict.state), EtcdbrctlName(verdict.state))};
  const auto row = [&](std::string_view label, const std::string& text) {
    lines.push_back(fmt::format("{:<12} {}", label, text));
  };
  if (!verdict.reason.empty()) row("because", verdict.reason);
  if (verdict.survivor) {
    row("revision", fmt::format("{} in the backend, up to {} more in the log",
                                verdict.survivor->backend, verdict.survivor->log_only));
  }
  if (verdict.backup_revision > 0) {
    row("backup", fmt::format("reaches revision {}", verdict.backup_revision));
  }
  row(done.restored ? "done" : "to do", verdict.state == DirectoryState::kValid ? "nothing"
                                        : done.restored   ? "restored from the backup"
                                        : verdict.restore ? "restore from the backup"
                                                          : "nothing was done: see the error");
  if (!done.restore) return lines;
  for (const Section section : {Section::kPlan, Section::kResult}) {
    const auto more = ToText(*done.restore, section);
    if (more.empty()) continue;
    lines.emplace_back();
    lines.insert(lines.end(), more.begin(), more.end());
  }
  return lines;
}

}  // namespace rescue::session
