#include "rescue/session/report.h"
#include "rescue/session/stages.h"

namespace rescue::session {
namespace {

struct UnlockedDisk {
  disk::FoundDisk found;
  disk::Header header;
  disk::Unlocked unlocked;
};

struct CheckedDisk {
  disk::FoundDisk found;
  disk::Header header;
};

Result<CheckedDisk> FindStage(const Context& context) {
  StageScope stage = context.Begin(Stage::kFind);
  CheckedDisk checked;
  if (context.request.disk->empty()) {
    STAGE_ASSIGN(stage, const auto disks, disk::FindDisks());
    STAGE_ASSIGN(stage, checked.found, disk::ChooseDisk(disks));
  } else {
    STAGE_ASSIGN(stage, checked.found, disk::ExamineDisk(*context.request.disk));
  }
  DiskFacts& facts = context.outcome.disk.emplace();
  facts.found = checked.found;
  STAGE_ASSIGN(stage, checked.header, disk::ReadHeader(checked.found.path));
  facts.boot_safe = checked.header.boot_safe;
  facts.boot_unsafe_reason = checked.header.boot_unsafe_reason;
  facts.warnings = checked.header.warnings;
  STAGE_CHECK(stage, disk::CheckHeader(checked.header, checked.found.size));
  const std::string& consent = context.request.consent_luks_uuid;
  if (!consent.empty() && consent != checked.header.uuid) {
    return Fail(stage.Failed({ErrorKind::kRefused, "no-consent",
                              fmt::format("use {}: its LUKS UUID is {}, the consent is for {}",
                                          checked.found.path, checked.header.uuid, consent),
                              "correct the consent, or attach the disk that it names"}));
  }
  if (WritesData(context.request.command) && checked.found.read_only) {
    return Fail(stage.Failed({ErrorKind::kRefused, "disk-read-only",
                              fmt::format("use {}: it cannot be written", checked.found.path),
                              "attach the disk writable, or use plan to see what would be done"}));
  }
  stage.Succeed(disk::Describe(checked.found));
  return checked;
}

Result<UnlockedDisk> UnlockKeys(const Context& context, CheckedDisk checked) {
  UnlockCache* const cache = context.request.unlocked;
  std::optional<disk::Unlocked> known = cache ? cache->Find(checked.header) : std::nullopt;
  if (!known) {
    ASSIGN_OR_RETURN(const auto secret, context.request.secret());
    ASSIGN_OR_RETURN(const auto key, secret::KeyFor(secret, checked.header.uuid));
    ASSIGN_OR_RETURN(known, disk::UnlockKey(checked.header, key));
    if (cache) cache->Keep(checked.header, *known);
  }
  disk::Unlocked unlocked = *std::move(known);
  context.outcome.disk->key_slot = unlocked.key_slot;
  return UnlockedDisk{std::move(checked.found), std::move(checked.header), std::move(unlocked)};
}

struct OpenDisk {
  std::unique_ptr<disk::Volume> volume;
  Target target;
};

Result<OpenDisk> Open(const Context& context, const UnlockedDisk& unlocked, disk::Access access) {
  OpenDisk open;
  ASSIGN_OR_RETURN(open.volume,
                   disk::OpenVolume(unlocked.found, unlocked.header, unlocked.unlocked, access));
  ASSIGN_OR_RETURN(open.target, OpenVolumeData(open.volume->files(), open.volume->mount_point(),
                                               context.request.journal_directory,
                                               context.request.log_directory));
  context.outcome.node = open.target.node;
  context.outcome.log_path = open.target.places.log_path;
  context.outcome.journal_path = open.target.journal.display_path;
  return open;
}

Result<disk::SealReport> Close(OpenDisk open) {
  // Files of the volume must not be open any more.
  open.target = Target{};
  return std::move(*open.volume).Seal();
}

Status SealStage(const Context& context, OpenDisk open) {
  StageScope stage = context.Begin(Stage::kSeal);
  STAGE_ASSIGN(stage, auto report, Close(std::move(open)));
  stage.Succeed(fmt::format("closed, nothing left open; LUKS header unchanged (SHA-256 {})",
                            ToHex(report.header_digest).substr(0, 16)));
  context.outcome.sealed = std::move(report);
  return {};
}

disk::Access AccessFor(Command command) {
  switch (command) {
    case Command::kInspect:
    case Command::kPlan:
    case Command::kVerify:
    case Command::kLook:
      return disk::Access::kView;
    case Command::kApply:
      return disk::Access::kScratchView;
    case Command::kUndo:
      return disk::Access::kReadWrite;
  }
  return disk::Access::kView;
}

// A rehearsal that was killed leaves its journal; it belongs to a view that is gone.
Status RemoveRehearsal(FileSystem& files, const std::string& directory) {
  const auto entries = files.List(directory);
  if (!entries && IsNotFound(entries.error())) return {};
  if (!entries) return Fail(entries.error());
  for (const auto& entry : *entries) {
    RETURN_IF_ERROR(files.Remove(JoinPath(directory, entry.name)));
  }
  return files.Remove(directory);
}

// Applies, verifies and takes back on the view, so that the disk only ever sees what has worked.
Status RehearseOnScratch(const Context& context, const OpenDisk& open,
                         const etcd::RehearsedPlan& rehearsed) {
  // A journal that is kept elsewhere is not part of the view: the rehearsal's lies beside it, and
  // is gone afterwards. On the view there may be no room for it.
  const JournalPlace& real = open.target.journal;
  const std::string scratch = context.request.journal_directory.empty()
                                  ? "etcd-rescue.rehearsal"
                                  : real.directory + ".rehearsal";
  RETURN_IF_ERROR(RemoveRehearsal(*real.files, scratch));
  const auto rehearse = [&]() -> Status {
    ASSIGN_OR_RETURN(const auto applied, edit::Apply(*open.target.data, *real.files, scratch,
                                                     rehearsed.plan().edits, "rehearsal"));
    RETURN_IF_ERROR(VerifyData(context, open.target, /*check_backend=*/false));
    RETURN_IF_ERROR(edit::Undo(*open.target.data, *real.files, scratch));
    return {};
  };
  const Status rehearsal = rehearse();
  RETURN_IF_ERROR(RemoveRehearsal(*real.files, scratch));
  RETURN_IF_ERROR(rehearsal);
  RETURN_IF_ERROR(open.volume->CheckView());
  return {};
}

// Opens the disk itself, makes the plan again and insists on getting the same one.
Result<OpenDisk> OpenForApply(const Context& context, const UnlockedDisk& unlocked,
                              const etcd::Plan& expected,
                              std::optional<etcd::RehearsedPlan>& rehearsed) {
  ASSIGN_OR_RETURN(OpenDisk open, Open(context, unlocked, disk::Access::kReadWrite));
  ASSIGN_OR_RETURN(auto findings,
                   InspectData(context, open.target, /*check_backend=*/false, Stage::kApply));
  // The plan depends on what the check found; the pages themselves are the same as on the view.
  findings.check = context.outcome.findings->check;
  etcd::Wishes wishes = CompleteWishes(context, open.target, findings);
  wishes.strategy = expected.strategy;
  wishes.tight_space = expected.tight_space;
  ASSIGN_OR_RETURN(auto plan, etcd::MakePlan(*open.target.data, findings, wishes));
  if (plan.fingerprint != expected.fingerprint) {
    return Fail(ErrorKind::kRefused, "plan-stale",
                "open the disk for writing: it gives another plan than the one rehearsed",
                "something changed the disk meanwhile; plan again");
  }
  ASSIGN_OR_RETURN(rehearsed, etcd::Rehearse(*open.target.data, findings, std::move(plan)));
  return open;
}

Status ApplyToDisk(const Context& context, const UnlockedDisk& unlocked, OpenDisk view,
                   const etcd::RehearsedPlan& on_view) {
  RETURN_IF_ERROR(Close(std::move(view)));
  OpenDisk open;
  {
    StageScope stage = context.Begin(Stage::kApply);
    std::optional<etcd::RehearsedPlan> rehearsed;
    STAGE_ASSIGN(stage, open, OpenForApply(context, unlocked, on_view.plan(), rehearsed));
    STAGE_ASSIGN(stage, auto lock, DataLock::Take(open.target.places, DataLock::Kind::kExclusive));
    STAGE_ASSIGN(stage, context.outcome.applied, ApplyPlan(open.target, *rehearsed));
    stage.Succeed(ApplyText(*context.outcome.applied, open.target));
  }
  const bool check_backend =
      context.request.check_backend && context.outcome.plan->backend_pages > 0;
  RETURN_IF_ERROR(VerifyStage(context, open.target, check_backend));
  WriteReport(context.request, context.outcome, open.target);
  return SealStage(context, std::move(open));
}

Status RunOnOpenDisk(const Context& context, const UnlockedDisk& unlocked, OpenDisk open) {
  const Request& request = context.request;
  if (request.command == Command::kLook) {
    RETURN_IF_ERROR(LookStage(context, open.target));
    RETURN_IF_ERROR(open.volume->CheckView());
    return SealStage(context, std::move(open));
  }
  if (request.command == Command::kUndo) {
    RETURN_IF_ERROR(UndoStage(context, open.target));
    return SealStage(context, std::move(open));
  }
  if (request.command == Command::kVerify) {
    RETURN_IF_ERROR(RefuseUnfinished(open.target));
    RETURN_IF_ERROR(VerifyStage(context, open.target, request.check_backend));
    return SealStage(context, std::move(open));
  }
  ASSIGN_OR_RETURN(const auto findings, InspectStage(context, open.target));
  if (request.command == Command::kInspect) return SealStage(context, std::move(open));
  ASSIGN_OR_RETURN(auto plan, PlanStage(context, open.target, findings));
  std::optional<etcd::RehearsedPlan> rehearsed;
  {
    StageScope stage = context.Begin(Stage::kRehearse);
    STAGE_ASSIGN(stage, rehearsed,
                 RehearseOverlay(context, open.target, findings, std::move(plan)));
    if (request.command == Command::kApply && !rehearsed->plan().nothing_to_do()) {
      STAGE_CHECK(stage, RehearseOnScratch(context, open, *rehearsed));
      stage.Succeed(RehearseText(*rehearsed) + "; applied and undone on the view");
    } else {
      stage.Succeed(RehearseText(*rehearsed));
    }
  }
  if (request.command == Command::kPlan || rehearsed->plan().nothing_to_do()) {
    return SealStage(context, std::move(open));
  }
  return ApplyToDisk(context, unlocked, std::move(open), *rehearsed);
}

}  // namespace

Status RunOnDisk(const Context& context) {
  ASSIGN_OR_RETURN(CheckedDisk checked, FindStage(context));
  std::optional<UnlockedDisk> unlocked;
  OpenDisk open;
  {
    StageScope stage = context.Begin(Stage::kUnlock);
    STAGE_ASSIGN(stage, unlocked, UnlockKeys(context, std::move(checked)));
    STAGE_ASSIGN(stage, open, Open(context, *unlocked, AccessFor(context.request.command)));
    stage.Succeed(fmt::format("key slot {}, {} on {}{}", unlocked->unlocked.key_slot,
                              open.volume->file_system(), unlocked->header.uuid,
                              open.volume->access() == disk::Access::kReadWrite
                                  ? ""
                                  : "; on a view, the disk stays as it is"));
  }
  for (const auto& note : open.volume->notes()) context.outcome.disk->warnings.push_back(note);
  return RunOnOpenDisk(context, *unlocked, std::move(open));
}

}  // namespace rescue::session
