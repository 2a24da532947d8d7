#include "rescue/cli/look.h"

#include <fmt/format.h>
#include <unistd.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <variant>

#include "rescue/base/units.h"
#include "rescue/cli/console.h"
#include "rescue/cli/guard.h"
#include "rescue/cli/look_backups.h"
#include "rescue/cli/options.h"
#include "rescue/etcd/inspect.h"
#include "rescue/etcd/look_json.h"
#include "rescue/session/look.h"
#include "rescue/session/look_text.h"
#include "rescue/session/report.h"

namespace rescue::cli {
namespace {

using nlohmann::json;

// ---- what can be said ----

constexpr const char* kHashExamples = R"(
The number that `etcdctl endpoint hashkv --rev N` and `etcdutl hashkv --rev N` print.

Examples:
  etcd-rescue hash --data-dir /var/lib/etcd
  etcd-rescue hash --disk auto --secret master-secret.json --rev 81234
  etcd-rescue hash snapshot.db)";

constexpr const char* kStatusExamples = R"(
The numbers of `etcdutl snapshot status`, after a check of every page.

Examples:
  etcd-rescue status snapshot.db
  etcd-rescue status Full-00000000-00081234-1795252080.gz
  etcd-rescue status --data-dir /var/lib/etcd --json)";

constexpr const char* kMembersExamples = R"(
Examples:
  etcd-rescue members --data-dir /var/lib/etcd
  etcd-rescue members --disk /dev/vdb --secret master-secret.json)";

constexpr const char* kKeysExamples = R"(
Keys and values are shown with \xNN for what is not text; --json has them in base64.

Examples:
  etcd-rescue keys --data-dir /var/lib/etcd --prefix /registry/pods/ --limit 20
  etcd-rescue keys --data-dir /var/lib/etcd --prefix /registry/secrets/ --rev 81234
  etcd-rescue keys snapshot.db --from /registry/m --values --json)";

constexpr const char* kCompareExamples = R"(
Exit code 6 when the survivors hold different data, 7 when they are of different clusters.

Examples:
  etcd-rescue compare --data-dir node-a/etcd --data-dir node-b/etcd
  etcd-rescue compare --disk /dev/vdb --disk /dev/vdc --secret master-secret.json)";

// ---- doing it ----

// Reads the secret once, however many disks ask for it: standard input can be read only once.
class SharedSecret {
 public:
  explicit SharedSecret(std::function<Result<secret::Secret>()> read) : read_(std::move(read)) {}

  Result<secret::Secret> Copy() {
    if (!secret_) {
      ASSIGN_OR_RETURN(secret_, read_());
    }
    if (const auto* passphrase = std::get_if<secret::Passphrase>(&*secret_)) {
      return secret::Secret(
          secret::Passphrase{SecretBytes::CopyOf(std::as_const(passphrase->bytes).Reveal())});
    }
    if (const auto* key = std::get_if<secret::DiskKey>(&*secret_)) {
      return secret::Secret(secret::DiskKey{SecretBytes::CopyOf(key->bytes.Reveal())});
    }
    const auto& master = std::get<secret::MasterSecret>(*secret_);
    return secret::Secret(
        secret::MasterSecret{SecretBytes::CopyOf(std::as_const(master.key).Reveal()),
                             SecretBytes::CopyOf(std::as_const(master.salt).Reveal())});
  }

 private:
  std::function<Result<secret::Secret>()> read_;
  std::optional<secret::Secret> secret_;
};

tl::unexpected<Error> Usage(std::string message, std::string hint) {
  return Fail(ErrorKind::kUsage, "no-target", std::move(message), std::move(hint));
}

}  // namespace

void AddLookPlaces(CLI::App& command, LookOptions& options, bool with_file) {
  auto* directory = command
                        .add_option("--data-dir", options.data_directories,
                                    "etcd's data directory (it holds member/)")
                        ->allow_extra_args(false);
  auto* disk =
      command
          .add_option(
              "--disk", options.disks,
              "state disk: a device, an image file, a LUKS UUID, or 'auto' for the only one")
          ->allow_extra_args(false);
  command
      .add_option(
          "--wal-dir", options.log_directories,
          "where etcd's log lies, when not in the data directory; for each --data-dir, then "
          "each --disk, in their order ('' where nothing is to be said)")
      ->allow_extra_args(false);
  if (with_file) {
    command.add_option("file", options.file, "a snapshot file, or a backend (member/snap/db)")
        ->excludes(directory)
        ->excludes(disk);
  }
  command.add_option("--secret", options.secrets, kSecretHelp)->allow_extra_args(false);
  AddUnlock(command, options.unlock);
  command.add_flag("--json", options.json, "one JSON document on standard output");
}

CLI::App* AddLook(CLI::App& app, LookOptions& options, const std::function<void()>& chosen,
                  LookVerb verb, const char* name, const char* description) {
  CLI::App* command = app.add_subcommand(name, description);
  command->callback([&options, chosen, verb] {
    options.verb = verb;
    chosen();
  });
  return command;
}

Result<std::vector<session::Request>> MakeLookRequests(const LookOptions& options) {
  if (options.secrets.size() > 1 && options.secrets.size() != options.disks.size()) {
    return Usage("choose the secrets: neither one for all disks nor one for each",
                 "give --secret once, or once for every --disk");
  }
  std::vector<session::Request> requests;
  for (const auto& directory : options.data_directories) {
    requests.emplace_back().data_directory = directory;
  }
  std::vector<std::shared_ptr<SharedSecret>> secrets;
  for (const auto& option : options.secrets) {
    secrets.push_back(std::make_shared<SharedSecret>(SecretFrom(option)));
  }
  session::Request common;
  common.secret = SecretFrom("");
  RETURN_IF_ERROR(TakeUnlock(options.unlock, common));
  if (secrets.empty()) secrets.push_back(std::make_shared<SharedSecret>(common.secret));
  for (std::size_t i = 0; i < options.disks.size(); ++i) {
    auto& request = requests.emplace_back();
    request.disk = options.disks[i] == "auto" ? "" : options.disks[i];
    request.policy = common.policy;
    request.use_token = common.use_token;
    // A token needs no secret, and its PIN is asked for only when there is one.
    if (!common.secret) continue;
    request.secret = [secret = secrets[secrets.size() > 1 ? i : 0]] { return secret->Copy(); };
  }
  if (!options.log_directories.empty() && options.log_directories.size() != requests.size()) {
    return Usage("choose the logs: not one for each data directory and disk",
                 "give --wal-dir once for every --data-dir and --disk, or not at all");
  }
  for (std::size_t i = 0; i < options.log_directories.size(); ++i) {
    requests[i].log_directory = options.log_directories[i];
  }
  for (auto& request : requests) {
    request.command = session::Command::kLook;
    request.check_backend = !options.quick;
  }
  return requests;
}

namespace {

struct Found : LookFound {
  template <typename T>
  void Take(const T& value) {
    document = etcd::ToJson(value);
    lines = session::ToText(value);
  }
};

Status LookAtBackend(const LookOptions& options, const ReadableFile& file, Found& found) {
  if (options.verb == LookVerb::kStatus) {
    etcd::SnapshotStatusOptions wanted;
    wanted.check = !options.quick;
    etcd::SnapshotStatus status;
    const Status read = etcd::ReadSnapshotStatus(file, wanted, status);
    // Nothing else is known of a file that cannot be opened as a backend.
    if (read || read.error().code == "backend-damaged") found.Take(status);
    const auto verdict = session::VerdictOf(status, read);
    found.document["verdict"] = backup::Name(verdict);
    found.lines.push_back(fmt::format("{:<12} {}", "verdict", backup::Name(verdict)));
    RETURN_IF_ERROR(read);
    if (verdict == backup::Verdict::kTrailerZero) {
      return Fail(ErrorKind::kDataDamaged, "snapshot-hash-zero",
                  "verify the snapshot: its SHA-256 is 32 zero bytes",
                  "fetch the file again, or use another snapshot");
    }
    if (status.trailer != etcd::SnapshotTrailer::kDiffers) return {};
    return Fail(ErrorKind::kDataDamaged, "snapshot-hash-mismatch",
                "verify the snapshot: its SHA-256 is not the one at its end",
                "fetch the file again, or use another snapshot");
  }
  ASSIGN_OR_RETURN(const auto database, bolt::Database::Open(file));
  if (options.verb == LookVerb::kHash) {
    etcd::HashOptions wanted;
    wanted.revision = options.revision;
    ASSIGN_OR_RETURN(const auto hash, etcd::HashKeySpace(database, wanted));
    found.Take(hash);
    return {};
  }
  etcd::RangeRequest wanted;
  wanted.prefix = options.prefix;
  wanted.from = options.from;
  wanted.limit = options.limit;
  wanted.revision = options.revision;
  wanted.values = options.values;
  ASSIGN_OR_RETURN(const auto range, etcd::ListKeys(database, wanted));
  found.Take(range);
  return {};
}

void NoteLog(const etcd::Findings& findings, Found& found) {
  if (!findings.log || !findings.backend) return;
  const session::LogOnly log{findings.tail.entries, findings.tail.may_write};
  found.document["log_only"] = {{"entries", log.entries}, {"may_write", log.may_write}};
  for (auto& line : session::ToText(log)) found.lines.push_back(std::move(line));
}

Result<std::string> LookAtTarget(const LookOptions& options, const session::Target& target,
                                 Found& found) {
  etcd::InspectOptions quick;
  quick.check_backend = false;
  ASSIGN_OR_RETURN(const auto findings, etcd::Inspect(*target.data, quick));
  if (options.verb == LookVerb::kMembers) {
    const auto audit = etcd::AuditMembership(findings);
    found.Take(audit);
    return fmt::format("{} members in {} places, {} differences", audit.rows.size(),
                       audit.places.size(), audit.differences.size());
  }
  if (findings.backend_error) return Fail(*findings.backend_error);
  // The one that etcd would use at its next start.
  ASSIGN_OR_RETURN(const auto file, target.data->Open(findings.backend_path));
  RETURN_IF_ERROR(LookAtBackend(options, *file, found));
  NoteLog(findings, found);
  return fmt::format("{}: {} read", findings.backend_path, FormatSize(file->size()));
}

Status LookAtOne(const LookOptions& options, session::Observer& observer, session::Outcome& outcome,
                 Found& found) {
  if (IsAboutBackups(options.verb)) return LookAtBackups(options, observer, outcome, found);
  if (options.verb == LookVerb::kStatus && IsDelta(options.file)) {
    return LookAtDelta(options.file, found);
  }
  if (!options.file.empty()) {
    return session::LookAtFile(options.file, [&](const ReadableFile& file) {
      return LookAtBackend(options, file, found);
    });
  }
  ASSIGN_OR_RETURN(auto requests, MakeLookRequests(options));
  if (requests.size() != 1) {
    return Usage(fmt::format("choose what to look at: {} places were named", requests.size()),
                 options.verb == LookVerb::kMembers
                     ? "name a data directory (--data-dir) or a state disk (--disk)"
                     : "name a file, a data directory (--data-dir) or a state disk (--disk)");
  }
  requests.front().look = [&](const session::Target& target, session::Observer&) {
    return LookAtTarget(options, target, found);
  };
  return session::Run(requests.front(), observer, outcome);
}

Status LookAtAll(const LookOptions& options, session::Observer& observer,
                 std::vector<session::Outcome>& outcomes, Found& found) {
  ASSIGN_OR_RETURN(const auto requests, MakeLookRequests(options));
  if (requests.size() < 2) {
    return Usage("choose what to compare: at least two survivors are needed",
                 "give --data-dir or --disk once for each");
  }
  ASSIGN_OR_RETURN(const auto comparison, session::CompareSurvivors(requests, observer, outcomes));
  found.Take(comparison);
  return etcd::Judge(comparison);
}

const char* Name(LookVerb verb) {
  switch (verb) {
    case LookVerb::kHash:
      return "hash";
    case LookVerb::kStatus:
      return "status";
    case LookVerb::kMembers:
      return "members";
    case LookVerb::kKeys:
      return "keys";
    case LookVerb::kCompare:
      return "compare";
    case LookVerb::kBackups:
      return "backups";
    case LookVerb::kSave:
      return "snapshot-save";
    case LookVerb::kInitialize:
      return "initialize";
  }
  return "?";
}

// The frame is that of every other command (session/report.h); what was found lies under the
// command's name.
json Document(LookVerb verb, const std::vector<session::Outcome>& outcomes, const Found& found,
              const Status& status) {
  json document = session::FrameJson(Name(verb), status);
  json disks = json::array();
  for (const auto& outcome : outcomes) {
    if (outcome.disk) disks.push_back(session::ToJson(outcome.disk->found));
  }
  if (!disks.empty()) document["disks"] = std::move(disks);
  if (!found.document.empty()) document[Name(verb)] = found.document;
  return document;
}

class Silent final : public session::Observer {};

}  // namespace

void DeclareLook(CLI::App& app, LookOptions& options, const std::function<void()>& chosen) {
  const char* const quick = "do not check every page of the backend";
  auto* hash = AddLook(app, options, chosen, LookVerb::kHash, "hash",
                       "hash of the key space at a revision, to compare with other members");
  AddLookPlaces(*hash, options, /*with_file=*/true);
  hash->add_option("--rev", options.revision, "hash up to this revision; default: the latest")
      ->check(CLI::NonNegativeNumber);
  hash->footer(kHashExamples);

  auto* status =
      AddLook(app, options, chosen, LookVerb::kStatus, "status",
              "hash, revision, keys and size of a snapshot or a backend; what a delta holds");
  AddLookPlaces(*status, options, /*with_file=*/true);
  status->add_flag("--quick", options.quick, quick);
  status->footer(kStatusExamples);

  auto* members = AddLook(app, options, chosen, LookVerb::kMembers, "members",
                          "who is in the cluster, according to every place that says so");
  AddLookPlaces(*members, options, /*with_file=*/false);
  members->footer(kMembersExamples);

  auto* keys = AddLook(app, options, chosen, LookVerb::kKeys, "keys",
                       "list keys with revisions, lease and size");
  AddLookPlaces(*keys, options, /*with_file=*/true);
  keys->add_option("--prefix", options.prefix, "keys that start with this");
  keys->add_option("--from", options.from, "keys from this one on");
  keys->add_option("--limit", options.limit, "at most so many keys")->check(CLI::NonNegativeNumber);
  keys->add_option("--rev", options.revision, "as they were at this revision; default: the latest")
      ->check(CLI::NonNegativeNumber);
  keys->add_flag("--values", options.values, "show the values, too");
  keys->footer(kKeysExamples);

  auto* compare = AddLook(app, options, chosen, LookVerb::kCompare, "compare",
                          "which of several survivors is ahead, and do they hold the same data");
  AddLookPlaces(*compare, options, /*with_file=*/false);
  compare->add_flag("--quick", options.quick, quick);
  compare->footer(kCompareExamples);
  DeclareBackups(app, options, chosen);
}

int RunLook(const LookOptions& options) {
  Console out(STDOUT_FILENO);
  Console talk(STDERR_FILENO);
  StageLines lines(talk);
  Silent silent;
  session::Observer& observer = options.json ? static_cast<session::Observer&>(silent) : lines;
  if (!options.disks.empty()) GuardSecrets();

  Found found;
  std::vector<session::Outcome> outcomes(1);
  const Status status = options.verb == LookVerb::kCompare
                            ? LookAtAll(options, observer, outcomes, found)
                            : LookAtOne(options, observer, outcomes.front(), found);
  if (options.json) {
    // Names come from disks: what is not UTF-8 is replaced rather than thrown.
    out.Line(Document(options.verb, outcomes, found, status)
                 .dump(2, ' ', false, json::error_handler_t::replace));
  } else {
    out.Lines(found.lines);
  }
  if (!status) talk.Lines(session::ToText(status.error()));
  return status ? 0 : static_cast<int>(status.error().kind);
}

}  // namespace rescue::cli
