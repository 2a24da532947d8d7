#include "rescue/cli/options.h"

#include "rescue/session/job.h"

namespace rescue::cli {
namespace {

constexpr const char* kFooter = R"(
Examples:
  etcd-rescue disks
  etcd-rescue inspect --disk /dev/vdb --secret master-secret.json
  etcd-rescue plan    --data-dir /var/lib/etcd
  etcd-rescue apply   --data-dir /var/lib/etcd --yes
  etcd-rescue apply   --data-dir /var/lib/etcd --strategy restore --yes
  etcd-rescue apply   --disk auto --strategy restore --from LABEL=BACKUP:/etcd-main --yes
  etcd-rescue undo    --data-dir /var/lib/etcd --yes

Exit codes:
  0 done, or nothing to do          6 data damaged beyond the chosen strategy
  1 anything else                   7 refused for safety (in use, no space, not confirmed)
  2 usage                           8 apply failed and was rolled back
  3 no unambiguous state disk       9 unfinished journal found
  4 cannot unlock                  10 verification failed after apply
  5 header or volume refused)";

void AddTarget(CLI::App& command, TargetOptions& options) {
  auto* directory = command.add_option("--data-dir", options.data_directory,
                                       "etcd's data directory (it holds member/)");
  command
      .add_option("--disk", options.disk,
                  "state disk: a device, an image file, UUID=, LABEL=, SERIAL=, or 'auto' for the "
                  "only one")
      ->excludes(directory);
  command.add_option("--secret", options.secret, kSecretHelp);
  AddSupply(command, options.supply);
  AddUnlock(command, options.unlock);
  command.add_option("--journal", options.journal,
                     "where the undo journal lies; default: beside the data directory");
  command.add_option("--wal-dir", options.log_directory,
                     "where etcd's log lies, when not in the data directory; with --disk a path in "
                     "its volume; default: member/wal (a link is followed), or what the node's "
                     "manifest says");
  command.add_flag("--json", options.json, "one JSON document on standard output");
}

void AddWishes(CLI::App& command, TargetOptions& options) {
  etcd::Wishes& wishes = options.wishes;
  command.add_option("--strategy", options.strategy,
                     "force-new-cluster (same IDs, log continued) or restore (new cluster from the "
                     "survivor's backend, log tail carried); plan without it recommends one, apply "
                     "takes force-new-cluster");
  command.add_option(
      "--commit", options.commit,
      "which log entries count: log-end (default, all) or known (drops what lies above "
      "the last known commit index)");
  command.add_option("--peer-url", wishes.peer_urls,
                     "the survivor's peer URL from now on; may be repeated");
  command.add_option("--bump-revision", wishes.bump_revision,
                     "raise the newest revision by this much");
  command.add_flag(
      "--mark-compacted", wishes.mark_compacted,
      "with --bump-revision: mark older revisions compacted, so that watchers list again");
  command.add_flag("--clear-alarms", wishes.clear_alarms, "clear all alarms, of lost members too");
  command.add_flag("--keep-ids", wishes.keep_ids, "restore: keep cluster and member ID");
  command.add_option("--initial-cluster-token", wishes.token,
                     "restore: what the new IDs derive from; default: random");
  command.add_option("--name", wishes.name, "restore: the survivor's name; default: as it was");
  auto* from = command.add_option(
      "--from", options.backup.from,
      "restore from a backup instead of the survivor's backend: a snapshot file, a copy of a "
      "backend, or a folder with backups; with --disk a path in its volume; on another disk: "
      "LABEL=NAME:/PATH (also UUID=, SERIAL=, or a device)");
  command
      .add_option("--to-revision", options.backup.to_revision,
                  "with --from: stop at this revision (point in time)")
      ->needs(from);
  command
      .add_flag("--discard-old", options.backup.discard_old,
                "with --from: remove the old member first, when there is no room for both; no undo "
                "brings it back")
      ->needs(from);
  command
      .add_flag(
          "--accept-hash-mismatch", options.backup.accept_hash_mismatch,
          "with --from: take a snapshot whose digest is zero or another, if its tree is whole")
      ->needs(from);
  command.add_flag("--accept-cut-tail", wishes.accept_cut_tail,
                   "cut off a last log record that is damaged in a way etcd would refuse");
  command.add_flag("--accept-loss", wishes.accept_loss,
                   "go on although the plan loses what it prints (damaged pages, missing entries)");
  command.add_flag("--quick", options.quick, "do not check every page of the backend");
}

CLI::App* AddVerb(CLI::App& app, Options& options, Verb verb, const char* name,
                  const char* description) {
  CLI::App* command = app.add_subcommand(name, description);
  command->callback([&options, verb] { options.verb = verb; });
  return command;
}

constexpr const char* kWizardExamples = R"(
Examples:
  etcd-rescue wizard
  etcd-rescue wizard --data-dir /var/lib/etcd
  etcd-rescue wizard --ui line --disk /dev/vdb --secret master-secret.json)";

void DeclareWizard(CLI::App& app, Options& options) {
  tui::WizardOptions& wizard = options.wizard.options;
  auto* command = AddVerb(app, options, Verb::kWizard, "wizard",
                          "the whole way, screen by screen or question by question");
  auto* directory = command
                        ->add_option("--data-dir", wizard.setup.data_directories,
                                     "etcd's data directory; may be repeated for several survivors")
                        ->allow_extra_args(false);
  command
      ->add_option("--disk", wizard.setup.disks,
                   "only this disk or image file; may be repeated; default: whatever is found")
      ->excludes(directory)
      ->allow_extra_args(false);
  command->add_option("--secret", wizard.setup.secret_file,
                      "file with the secret, offered beside typing it");
  command->add_option("--journal", wizard.setup.journal_directory,
                      "where the undo journal lies; default: beside the data directory");
  command
      ->add_option("--ui", options.wizard.face,
                   "screen, line (numbered questions, one at a time), or auto: line on terminals "
                   "that can do no more")
      ->check(CLI::IsMember({"auto", "screen", "line"}));
  command->add_flag("--mono", wizard.mono, "no colours; so does NO_COLOR in the environment");
  command
      ->add_option("--console", wizard.consoles,
                   "use this terminal; may be repeated: the first key takes the wizard, the others "
                   "watch")
      ->allow_extra_args(false);
  command->add_flag("--appliance", wizard.setup.appliance,
                    "the machine is there for this only: offers power-off and reboot");
  // The appliance's own; nobody types it, so no help lists it.
  command->add_option("--after", wizard.setup.after)->group("");
  command->footer(kWizardExamples);
}

}  // namespace

void Declare(CLI::App& app, Options& options) {
  app.footer(kFooter);
  app.require_subcommand(1);
  TargetOptions& target = options.target;

  auto* inspect =
      AddVerb(app, options, Verb::kInspect, "inspect", "say what is there; nothing is written");
  AddTarget(*inspect, target);
  inspect->add_flag("--quick", target.quick, "do not check every page of the backend");
  auto* plan = AddVerb(app, options, Verb::kPlan, "plan",
                       "compute and rehearse the changes; nothing is written");
  AddTarget(*plan, target);
  AddWishes(*plan, target);
  auto* apply = AddVerb(app, options, Verb::kApply, "apply",
                        "plan, rehearse, write behind an undo journal, verify");
  AddTarget(*apply, target);
  AddWishes(*apply, target);
  apply->add_flag("--yes", target.yes, "really change the data");
  auto* verify = AddVerb(app, options, Verb::kVerify, "verify",
                         "check that the survivor would start and lead alone");
  AddTarget(*verify, target);
  verify->add_flag("--quick", target.quick, "do not check every page of the backend");
  auto* undo = AddVerb(app, options, Verb::kUndo, "undo", "take the last apply back, to the byte");
  AddTarget(*undo, target);
  undo->add_flag("--yes", target.yes, "really change the data");

  DeclareLook(app, options.look, [&options] { options.verb = Verb::kLook; });
  auto* disks = AddVerb(app, options, Verb::kDisks, "disks",
                        "list disks and why each is a state disk or not");
  disks->add_flag("--json", target.json, "one JSON document on standard output");
  auto* run = AddVerb(app, options, Verb::kRun, "run", "do a whole job unattended");
  run->add_option("--job", options.job.jobs,
                  "the job document (see README); of several, the first that exists")
      ->required()
      ->allow_extra_args(false);
  run->add_option("--secret", options.job.secret, "as elsewhere; default: what the job says");
  run->add_option("--console", options.job.consoles,
                  "also write the progress to this terminal; may be repeated")
      ->allow_extra_args(false);
  run->add_flag("--check", options.job.check,
                "only say whether the job is one, and which field is wrong; nothing is done");
  run->add_flag("--appliance", options.job.appliance,
                "the machine is there for this only: power it off or reboot it as the job says");
  run->add_option("--wait-for-disk", options.job.wait_for_disk,
                  "wait so many seconds for a disk that is not there yet (default: 0)");
  DeclareServe(app, options.serve, [&options] { options.verb = Verb::kServe; });
  DeclareWizard(app, options);
  DeclareButtons(app, options.buttons, [&options] { options.verb = Verb::kButtons; });
  DeclareFetchJob(app, options.fetch, [&options] { options.verb = Verb::kFetchJob; });
  auto* key = AddVerb(app, options, Verb::kDeriveKey, "derive-key",
                      "print a disk's key, derived from the master secret, in hexadecimal");
  key->add_option("--luks-uuid", options.key.luks_uuid, "the disk's LUKS UUID")->required();
  key->add_option("--secret", options.key.secret, kSecretHelp)->required();
  key->add_flag("--force", options.key.force, "also where it would be shown or kept: no pipe");
  AddSupply(*key, options.key.supply);
  DeclareSeal(app, options.seal, [&options] { options.verb = Verb::kSeal; });
}

Result<session::Request> MakeRequest(session::Command command, const TargetOptions& options) {
  session::Request request;
  request.command = command;
  if (options.data_directory.empty() && options.disk.empty()) {
    return Fail(ErrorKind::kUsage, "no-target", "choose what to work on: nothing was named",
                "name a data directory (--data-dir) or a state disk (--disk)");
  }
  request.data_directory = options.data_directory;
  if (!options.disk.empty()) request.disk = options.disk == "auto" ? "" : options.disk;
  request.secret = SecretFrom(options.secret, Around(options.supply));
  RETURN_IF_ERROR(TakeUnlock(options.unlock, request));
  request.journal_directory = options.journal;
  request.log_directory = options.log_directory;
  request.wishes = options.wishes;
  if (!options.strategy.empty()) {
    ASSIGN_OR_RETURN(request.wishes.strategy, session::ParseStrategy(options.strategy));
  }
  request.backup = options.backup;
  if (!request.backup.from.empty()) {
    if (!options.strategy.empty() && request.wishes.strategy != etcd::Strategy::kRestore) {
      return Fail(ErrorKind::kUsage, "not-for-strategy",
                  "restore from a backup: --from belongs to --strategy restore");
    }
    request.wishes.strategy = etcd::Strategy::kRestore;
  }
  request.recommend =
      options.strategy.empty() && request.backup.from.empty() && command == session::Command::kPlan;
  ASSIGN_OR_RETURN(request.wishes.commit, session::ParseCommitLimit(options.commit));
  request.check_backend = !options.quick;
  return request;
}

}  // namespace rescue::cli
