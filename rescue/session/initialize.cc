#include "rescue/session/initialize.h"

#include <fmt/format.h>

#include <filesystem>

#include "rescue/etcd/inspect.h"

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
  Status AskBackups() {
    if (wanted_.from.empty()) return {};
    ASSIGN_OR_RETURN(auto backups, OpenBackups::Open(wanted_.from));
    ASSIGN_OR_RETURN(const auto listing,
                     ListBackups(backups, wanted_.validation == Validation::kFull,
                                 [&](std::uint64_t done, std::uint64_t total) {
                                   observer_.Progress(Stage::kLook, done, total);
                                 }));
    backup_revision_ = listing.reachable;
    return backups.Close();
  }

  Result<DirectoryVerdict> Ask(const Target& target) {
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
  RETURN_IF_ERROR(validator.AskBackups());
  std::optional<DirectoryVerdict> verdict;
  std::error_code error;
  if (!request.disk && !fs::exists(request.data_directory, error) && !error) {
    verdict =
        Verdict(DirectoryState::kMissing, fmt::format("there is no {}", request.data_directory));
  } else {
    Request look = request;
    look.command = Command::kLook;
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

Status Judge(const DirectoryVerdict& verdict, const InitializeRequest& wanted) {
  const std::string message =
      fmt::format("validate the data directory: {} ({}): {}", Name(verdict.state),
                  EtcdbrctlName(verdict.state), verdict.reason);
  switch (verdict.state) {
    case DirectoryState::kValid:
      return {};
    case DirectoryState::kWrongVolume:
      return Fail(ErrorKind::kRefused, "wrong-volume", message,
                  "attach the volume of this etcd; nothing was changed");
    case DirectoryState::kInUse:
      return Fail(ErrorKind::kRefused, "in-use", message, "stop etcd first");
    case DirectoryState::kUnknown:
      return Fail(ErrorKind::kRefused, "initialize-unknown", message,
                  "look at the kernel's log: the disk may fail; nothing was changed");
    default:
      break;
  }
  if (wanted.from.empty() || verdict.backup_revision == 0) {
    return Fail(ErrorKind::kDataDamaged, "initialize-restore", message,
                "there is no backup to restore: name one with --from, or rescue what is left "
                "(plan says what would be lost)");
  }
  return Fail(ErrorKind::kDataDamaged, "initialize-restore", message,
              fmt::format("restore revision {}: apply --strategy restore --from {} --yes",
                          verdict.backup_revision, wanted.from));
}

nlohmann::json ToJson(const DirectoryVerdict& verdict) {
  nlohmann::json document = {{"state", Name(verdict.state)},
                             {"etcdbrctl_state", EtcdbrctlName(verdict.state)},
                             {"reason", verdict.reason},
                             {"restore", verdict.restore},
                             {"backup_revision", verdict.backup_revision}};
  if (verdict.survivor) {
    document["backend_revision"] = verdict.survivor->backend;
    document["log_only_writes"] = verdict.survivor->log_only;
  }
  return document;
}

std::vector<std::string> ToText(const DirectoryVerdict& verdict) {
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
  row("to do", verdict.state == DirectoryState::kValid ? "nothing"
               : verdict.restore                       ? "restore from the backup"
                                                       : "nothing was done: see the error");
  return lines;
}

}  // namespace rescue::session
