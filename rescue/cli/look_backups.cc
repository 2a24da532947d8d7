#include "rescue/cli/look_backups.h"

#include <fmt/format.h>

#include "rescue/backup/events.h"
#include "rescue/backup/json.h"
#include "rescue/etcd/inspect.h"
#include "rescue/session/backups.h"
#include "rescue/session/initialize.h"
#include "rescue/session/snapshot_save.h"

namespace rescue::cli {
namespace {

constexpr const char* kFromHelp =
    "a snapshot file or the folder of a backup store; on another disk: LABEL=BACKUP:/path, "
    "UUID=...:/path or /dev/vdc1:/path (mounted read-only)";

constexpr const char* kBackupsExamples = R"(
Reads every object and proves it; exit code 6 when the newest set cannot be restored to its end.
With --data-dir or --disk it says who has more, the backup or the survivor.

Examples:
  etcd-rescue backups --from /mnt/backups/etcd-main
  etcd-rescue backups --from LABEL=BACKUP:/etcd-main --disk auto --secret master-secret.json
  etcd-rescue backups --from snapshot.db --json)";

constexpr const char* kSaveExamples = R"(
What `etcdctl snapshot save` would have written, from a survivor that is stopped.

Examples:
  etcd-rescue snapshot save --data-dir /var/lib/etcd --out before.db
  etcd-rescue snapshot save --disk auto --secret master-secret.json --out before.db)";

constexpr const char* kInitializeExamples = R"(
For automation, before etcd starts. Verdicts are those of etcdbrctl's initialize: a valid directory
is left alone; one that is not valid is restored from --from as `apply` does it, with journal,
verification and undo; a wrong volume is refused. Without --yes it says what it would do.

Exit code 0: valid, or restored; 6: to be restored, and there is no --yes or no backup; 7: refused
(wrong volume, in use); 9: an earlier restore was interrupted, undo takes it back. Others as apply.

Examples:
  etcd-rescue initialize --data-dir /var/etcd/data/new.etcd --validation full
  etcd-rescue initialize --data-dir /var/etcd/data/new.etcd --from /backups/etcd-main \
    --owner shoot--a --name etcd-main-0 --peer-url https://etcd-main-0:2380 --yes)";

session::BackupProgress ProgressOf(session::Observer& observer) {
  return [&observer](std::uint64_t done, std::uint64_t total) {
    observer.Progress(session::Stage::kLook, done, total);
  };
}

Result<session::Request> OnlyRequest(const LookOptions& options) {
  ASSIGN_OR_RETURN(auto requests, MakeLookRequests(options));
  if (requests.size() == 1) return std::move(requests.front());
  return Fail(ErrorKind::kUsage, "no-target",
              fmt::format("choose what to work on: {} places were named", requests.size()),
              "name a data directory (--data-dir) or a state disk (--disk)");
}

Status Backups(const LookOptions& options, session::Observer& observer, session::Outcome& outcome,
               LookFound& found) {
  ASSIGN_OR_RETURN(auto backups, session::OpenBackups::Open(options.from_backup));
  ASSIGN_OR_RETURN(auto listing,
                   session::ListBackups(backups, !options.quick, ProgressOf(observer)));
  if (!options.data_directories.empty() || !options.disks.empty()) {
    ASSIGN_OR_RETURN(auto request, OnlyRequest(options));
    request.look = [&](const session::Target& target, session::Observer&) -> Result<std::string> {
      etcd::InspectOptions inspect;
      inspect.check_backend = false;
      ASSIGN_OR_RETURN(const auto findings, etcd::Inspect(*target.data, inspect));
      listing.survivor = session::RevisionsOf(findings);
      return fmt::format("the survivor's backend is at revision {}", listing.survivor->backend);
    };
    RETURN_IF_ERROR(session::Run(request, observer, outcome));
  }
  found.document = session::ToJson(listing);
  found.lines = session::ToText(listing);
  RETURN_IF_ERROR(backups.Close());
  if (listing.obstacle) return Fail(*listing.obstacle);
  return {};
}

Status Save(const LookOptions& options, session::Observer& observer, session::Outcome& outcome,
            LookFound& found) {
  ASSIGN_OR_RETURN(auto request, OnlyRequest(options));
  request.look = [&](const session::Target& target, session::Observer&) -> Result<std::string> {
    ASSIGN_OR_RETURN(const auto saved,
                     session::SaveSnapshot(target, {options.out, options.with_tail, !options.quick},
                                           ProgressOf(observer)));
    found.document = session::ToJson(saved);
    found.lines = session::ToText(saved);
    return fmt::format("{} written", saved.out);
  };
  return session::Run(request, observer, outcome);
}

Status Initialize(const LookOptions& options, session::Observer& observer,
                  session::Outcome& outcome, LookFound& found) {
  ASSIGN_OR_RETURN(auto request, OnlyRequest(options));
  const InitializeOptions& words = options.initialize;
  request.backup = words.backup;
  request.backup.from = options.from_backup;
  request.wishes = words.wishes;
  request.journal_directory = words.journal;
  session::InitializeRequest wanted;
  wanted.validation =
      words.validation == "full" ? session::Validation::kFull : session::Validation::kSanity;
  wanted.owner = words.owner;
  wanted.may_restore = words.yes;
  session::Initialized done;
  Status status = session::Initialize(request, wanted, observer, done);
  outcome = done.validation;
  // Of an error before the first look there is nothing to say.
  if (status || !done.found.reason.empty()) {
    found.document = session::ToJson(done);
    found.lines = session::ToText(done);
  }
  return status;
}

void DeclareInitialize(CLI::App& app, LookOptions& options, const std::function<void()>& chosen) {
  InitializeOptions& words = options.initialize;
  auto* initialize = AddLook(app, options, chosen, LookVerb::kInitialize, "initialize",
                             "leave a valid data directory alone, restore any other");
  AddLookPlaces(*initialize, options, /*with_file=*/false);
  initialize
      ->add_option("--validation", words.validation,
                   "sanity (structure, revision) or full (and every page, the log)")
      ->check(CLI::IsMember({"sanity", "full"}));
  auto* from = initialize->add_option("--from", options.from_backup, kFromHelp);
  initialize->add_option("--owner", words.owner,
                         "what safe_guard beside the data directory must say (etcdbrctl puts the "
                         "pod's namespace there)");
  initialize->add_flag("--yes", words.yes, "really restore")->needs(from);
  initialize->add_option("--name", words.wishes.name,
                         "the member's name; default: as the data directory says");
  initialize->add_option("--peer-url", words.wishes.peer_urls,
                         "the member's peer URL; may be repeated; default: as the data directory "
                         "says");
  initialize->add_option("--initial-cluster-token", words.wishes.token,
                         "what the new IDs derive from; default: random");
  initialize->add_option("--bump-revision", words.wishes.bump_revision,
                         "raise the newest revision by this much");
  initialize->add_flag("--mark-compacted", words.wishes.mark_compacted,
                       "with --bump-revision: mark older revisions compacted");
  initialize
      ->add_option("--to-revision", words.backup.to_revision,
                   "restore no further than this revision, and ask for no more")
      ->needs(from);
  initialize
      ->add_flag("--discard-old", words.backup.discard_old,
                 "remove the old member first, when there is no room for both; no undo brings it "
                 "back")
      ->needs(from);
  initialize
      ->add_flag("--accept-hash-mismatch", words.backup.accept_hash_mismatch,
                 "take a snapshot whose digest is zero or another, if its tree is whole")
      ->needs(from);
  initialize->add_option("--journal", words.journal,
                         "where the undo journal lies; default: beside the data directory");
  initialize->footer(kInitializeExamples);
}

}  // namespace

void DeclareBackups(CLI::App& app, LookOptions& options, const std::function<void()>& chosen) {
  auto* backups = AddLook(app, options, chosen, LookVerb::kBackups, "backups",
                          "list snapshots and deltas, gaps and damage, and who has more");
  backups->add_option("--from", options.from_backup, kFromHelp)->required();
  AddLookPlaces(*backups, options, /*with_file=*/false);
  backups->add_flag("--quick", options.quick, "names and sizes only: read no object");
  backups->footer(kBackupsExamples);

  auto* snapshot = app.add_subcommand("snapshot", "snapshot files from a stopped survivor");
  snapshot->require_subcommand(1);
  auto* save = AddLook(*snapshot, options, chosen, LookVerb::kSave, "save",
                       "write the backend as etcdctl does, with its SHA-256");
  AddLookPlaces(*save, options, /*with_file=*/false);
  save->add_option("--out", options.out, "the new file")->required();
  save->add_flag("--with-tail", options.with_tail,
                 "refuse when entries are only in the log, which no snapshot can hold");
  save->add_flag("--quick", options.quick, "do not check every page of the backend");
  save->footer(kSaveExamples);

  DeclareInitialize(app, options, chosen);
}

bool IsAboutBackups(LookVerb verb) {
  return verb == LookVerb::kBackups || verb == LookVerb::kSave || verb == LookVerb::kInitialize;
}

Status LookAtBackups(const LookOptions& options, session::Observer& observer,
                     session::Outcome& outcome, LookFound& found) {
  if (options.verb == LookVerb::kBackups) return Backups(options, observer, outcome, found);
  if (options.verb == LookVerb::kSave) return Save(options, observer, outcome, found);
  return Initialize(options, observer, outcome, found);
}

bool IsDelta(const std::string& path) {
  const auto name = backup::ParseObjectName(path.substr(path.rfind('/') + 1));
  return name && name->kind == backup::ObjectKind::kDelta;
}

Status LookAtDelta(const std::string& path, LookFound& found) {
  ASSIGN_OR_RETURN(const auto place, session::OpenBackups::Open(path));
  ASSIGN_OR_RETURN(const auto file, place.files().Open(place.path()));
  const auto name = backup::ParseObjectName(path.substr(path.rfind('/') + 1));
  if (!name) {
    return Fail(ErrorKind::kUsage, "not-found", fmt::format("{} is no delta", path),
                "name an object of a backup store");
  }
  backup::SurveyedObject object;
  object.object = {path, *name, file->size(), 0};
  object.read = true;
  const auto read = [&]() -> Status {
    backup::EventReader events(
        backup::OpenObject(*file, {name->compression, backup::kMaxDeltaSize, path}), *name, path);
    for (;;) {
      ASSIGN_OR_RETURN(const backup::Event* event, events.Next());
      if (event == nullptr) return {};
      ++object.events;
      if (event->tombstone) ++object.deletions;
    }
  };
  Status status = read();
  if (!status) object.problem = status.error();
  found.document = backup::ToJson(object);
  found.lines = {
      fmt::format("{:<12} revisions {} to {}, made {}", "delta", name->start, name->last,
                  backup::TimeText(name->created)),
      fmt::format("{:<12} {}, {} of them deletions", "events", object.events, object.deletions),
      fmt::format("{:<12} {}", "verdict", status ? "whole: its SHA-256 matches" : "DAMAGED")};
  return status;
}

}  // namespace rescue::cli
