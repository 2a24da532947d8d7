#include "rescue/disk/arrival.h"
#include "rescue/node/node_state.h"
#include "rescue/session/report.h"
#include "rescue/session/stages.h"

namespace rescue::session {
namespace {

// A disk that may be opened: its header was checked, or it has none because it is not encrypted.
struct CheckedDisk {
  disk::FoundDisk found;
  std::optional<disk::Header> header;
};

struct UnlockedDisk {
  disk::FoundDisk found;
  std::optional<disk::Header> header;
  std::optional<disk::Unlocked> unlocked;
};

Status CheckConsent(const Request& request, const disk::FoundDisk& found) {
  const std::string& consent = request.consent_luks_uuid;
  if (!consent.empty() && consent != found.inside.uuid) {
    return Fail(ErrorKind::kRefused, "no-consent",
                fmt::format("use {}: its UUID is {}, the consent is for {}", found.path,
                            found.inside.uuid, consent),
                "correct the consent, or attach the disk that it names");
  }
  if (WritesData(request.command) && found.read_only) {
    return Fail(ErrorKind::kRefused, "disk-read-only",
                fmt::format("use {}: it cannot be written", found.path),
                "attach the disk writable, or use plan to see what would be done");
  }
  return {};
}

// Reads the header once more, whole this time, and judges it.
Result<disk::Header> ReadAndCheck(const Context& context, const disk::FoundDisk& found,
                                  DiskFacts& facts) {
  ASSIGN_OR_RETURN(disk::Header header, disk::ReadHeader(found.path));
  facts.findings = header.findings;
  BootQuestion question;
  question.header = &header;
  question.profile = facts.profile;
  facts.TakeBoot(JudgeBoot(question));
  ASSIGN_OR_RETURN(const auto findings,
                   disk::CheckHeader(header, found.size, context.request.policy));
  facts.findings.insert(facts.findings.end(), findings.begin(), findings.end());
  return header;
}

Result<disk::FoundDisk> FindNow(const std::string& selector) {
  if (!selector.empty()) return disk::ExamineDisk(selector);
  ASSIGN_OR_RETURN(const auto disks, disk::FindDisks());
  return disk::ChooseDisk(disks);
}

// A disk that is not there yet is waited for as long as the request allows; one too many is not.
Result<disk::FoundDisk> FindInTime(const Request& request) {
  if (request.wait_for_disk.count() == 0) return FindNow(*request.disk);
  const auto deadline = std::chrono::steady_clock::now() + request.wait_for_disk;
  disk::DiskArrivals arrivals;
  while (true) {
    auto found = FindNow(*request.disk);
    const bool absent =
        !found && (found.error().code == "no-state-disk" || found.error().code == "no-such-disk");
    if (!absent) return found;
    if (!arrivals.WaitUntil(deadline)) {
      found.error().message +=
          fmt::format("; none came within {} s", request.wait_for_disk.count());
      return found;
    }
  }
}

Result<CheckedDisk> FindStage(const Context& context) {
  StageScope stage = context.Begin(Stage::kFind);
  CheckedDisk checked;
  STAGE_ASSIGN(stage, checked.found, FindInTime(context.request));
  DiskFacts& facts = context.outcome.disk.emplace();
  facts.found = checked.found;
  facts.profile = context.request.policy.profile;
  STAGE_CHECK(stage, disk::CheckOpenable(checked.found.path, checked.found.inside));
  std::string text = disk::Describe(checked.found);
  if (checked.found.inside.kind == disk::ContentKind::kLuks2) {
    STAGE_ASSIGN(stage, checked.header, ReadAndCheck(context, checked.found, facts));
    facts.cost = disk::EstimateUnlock(*checked.header, disk::MeasureUnlockSpeed());
    text += "; " + Describe(*facts.cost);
  } else {
    facts.TakeBoot(JudgeBoot({}));
  }
  STAGE_CHECK(stage, CheckConsent(context.request, checked.found));
  stage.Succeed(std::move(text));
  return checked;
}

Result<disk::Unlocked> Unlock(const Context& context, const disk::Header& header) {
  if (context.request.use_token) {
    if (!context.request.secret) return disk::UnlockWithToken(header, nullptr);
    ASSIGN_OR_RETURN(const auto secret, context.request.secret());
    const auto* pin = std::get_if<secret::Passphrase>(&secret);
    return disk::UnlockWithToken(header, pin == nullptr ? nullptr : &pin->bytes);
  }
  ASSIGN_OR_RETURN(const auto secret, context.request.secret());
  ASSIGN_OR_RETURN(const auto key, secret::KeyFor(secret, header.uuid));
  return disk::UnlockKey(header, key);
}

Result<UnlockedDisk> UnlockKeys(const Context& context, CheckedDisk checked) {
  UnlockedDisk unlocked{std::move(checked.found), std::move(checked.header), std::nullopt};
  if (!unlocked.header) return unlocked;
  UnlockCache* const cache = context.request.unlocked;
  if (cache != nullptr) unlocked.unlocked = cache->Find(*unlocked.header);
  if (!unlocked.unlocked) {
    ASSIGN_OR_RETURN(unlocked.unlocked, Unlock(context, *unlocked.header));
    if (cache != nullptr) cache->Keep(*unlocked.header, *unlocked.unlocked);
  }
  context.outcome.disk->key_slot = unlocked.unlocked->key_slot;
  context.outcome.disk->token = unlocked.unlocked->token;
  return unlocked;
}

struct OpenDisk {
  std::unique_ptr<disk::Volume> volume;
  Target target;
};

Result<OpenDisk> Open(const Context& context, const UnlockedDisk& unlocked, disk::Access access) {
  OpenDisk open;
  ASSIGN_OR_RETURN(open.volume, unlocked.header ? disk::OpenVolume(unlocked.found, *unlocked.header,
                                                                   *unlocked.unlocked, access,
                                                                   context.request.policy.profile)
                                                : disk::OpenPlainVolume(unlocked.found, access));
  context.outcome.disk->file_system = open.volume->file_system();
  ASSIGN_OR_RETURN(open.target, OpenVolumeData(open.volume->files(), open.volume->mount_point(),
                                               context.request.journal_directory,
                                               context.request.log_directory));
  context.outcome.node = open.target.node;
  context.outcome.log_path = open.target.places.log_path;
  context.outcome.journal_path = open.target.journal.display_path;
  return open;
}

// What is known of the node's own conditions while the volume is open.
void JudgeOpenVolume(const Context& context, const UnlockedDisk& unlocked, const OpenDisk& open) {
  BootQuestion question;
  question.header = unlocked.header ? &*unlocked.header : nullptr;
  question.profile = context.request.policy.profile;
  question.basis = BootSafety::Basis::kVolume;
  question.file_system = open.volume->file_system();
  question.layout = &open.target.node->layout;
  question.node_state = &open.target.node->node_state;
  if (const Status unfinished = RefuseUnfinished(open.target); !unfinished) {
    question.unfinished_journal = open.target.journal.display_path;
  }
  context.outcome.disk->TakeBoot(JudgeBoot(question));
}

// The last word, from what is on the disk after it was closed: the header is read from it once
// more, the file system was probed after the unmount, the node's file was read when all was
// written.
Status JudgeSealedDisk(const Context& context, const UnlockedDisk& unlocked,
                       const node::Layout& layout, const node::NodeState& node_state,
                       const std::string& unfinished_journal, const disk::SealReport& report) {
  std::optional<disk::Header> header;
  if (unlocked.header) {
    ASSIGN_OR_RETURN(header, disk::ReadHeader(unlocked.found.path));
  }
  BootQuestion question;
  question.header = header ? &*header : nullptr;
  question.profile = context.request.policy.profile;
  question.basis = BootSafety::Basis::kSealedDisk;
  question.file_system = report.file_system;
  question.layout = &layout;
  question.node_state = &node_state;
  question.unfinished_journal = unfinished_journal;
  context.outcome.disk->TakeBoot(JudgeBoot(question));
  return {};
}

Result<disk::SealReport> Close(OpenDisk open) {
  // Files of the volume must not be open any more.
  open.target = Target{};
  return std::move(*open.volume).Seal();
}

Status SealStage(const Context& context, const UnlockedDisk& unlocked, OpenDisk& open) {
  StageScope stage = context.Begin(Stage::kSeal);
  const node::Layout layout = open.target.node->layout;
  STAGE_ASSIGN(stage, const auto node_state, node::ReadNodeState(open.volume->files(), layout));
  const std::string unfinished =
      RefuseUnfinished(open.target) ? std::string() : open.target.journal.display_path;
  STAGE_ASSIGN(stage, auto report, Close(std::move(open)));
  STAGE_CHECK(stage, JudgeSealedDisk(context, unlocked, layout, node_state, unfinished, report));
  stage.Succeed(report.has_header
                    ? fmt::format("closed, nothing left open; LUKS header unchanged (SHA-256 {})",
                                  ToHex(report.header_digest).substr(0, 16))
                    : std::string("closed, nothing left open"));
  context.outcome.sealed = std::move(report);
  return {};
}

disk::Access AccessFor(const Request& request) {
  // Nothing is tried out on the view then.
  if (RestoresBackup(request)) return disk::Access::kView;
  switch (request.command) {
    case Command::kInspect:
    case Command::kPlan:
    case Command::kVerify:
    case Command::kLook:
      return disk::Access::kView;
    case Command::kRehearse:
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

// `open` is the view at first and the disk itself at the end.
Status ApplyToDisk(const Context& context, const UnlockedDisk& unlocked, OpenDisk& open,
                   const etcd::RehearsedPlan& on_view) {
  RETURN_IF_ERROR(Close(std::move(open)));
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
  JudgeOpenVolume(context, unlocked, open);
  WriteReport(context.request, context.outcome, open.target);
  return SealStage(context, unlocked, open);
}

// A view lies in memory, where a restored backend has no room: there the backup is planned and, for
// a plan, proven; applying it proves what was built beside the old member before that moves.
Status RestoreOnDisk(const Context& context, const UnlockedDisk& unlocked, OpenDisk& open) {
  const bool plan_only = context.request.command != Command::kApply;
  RETURN_IF_ERROR(InspectOld(context, open.target));
  {
    ASSIGN_OR_RETURN(const auto run, PlanBackup(context, open.target, &open.volume->files()));
    RETURN_IF_ERROR(RehearseBackup(context, *run, /*always=*/plan_only));
  }
  if (plan_only) return SealStage(context, unlocked, open);
  RETURN_IF_ERROR(open.volume->CheckView());
  RETURN_IF_ERROR(CheckNotCancelled(context));
  RETURN_IF_ERROR(Close(std::move(open)));
  {
    StageScope stage = context.Begin(Stage::kApply);
    const std::string expected = context.outcome.plan->fingerprint;
    STAGE_ASSIGN(stage, open, Open(context, unlocked, disk::Access::kReadWrite));
    STAGE_ASSIGN(stage, auto lock, DataLock::Take(open.target.places, DataLock::Kind::kExclusive));
    STAGE_ASSIGN(stage, const auto run,
                 PrepareBackup(context, open.target, &open.volume->files(), expected));
    STAGE_ASSIGN(stage, auto text, ApplyBackup(context, open.target, *run));
    stage.Succeed(std::move(text));
  }
  RETURN_IF_ERROR(VerifyStage(context, open.target, /*check_backend=*/false));
  JudgeOpenVolume(context, unlocked, open);
  WriteReport(context.request, context.outcome, open.target);
  return SealStage(context, unlocked, open);
}

// Leaves `open` empty when it has closed the disk itself.
Status RunOnOpenDisk(const Context& context, const UnlockedDisk& unlocked, OpenDisk& open) {
  const Request& request = context.request;
  RETURN_IF_ERROR(CheckNotCancelled(context));
  if (request.command == Command::kLook) {
    RETURN_IF_ERROR(LookStage(context, open.target));
    return SealStage(context, unlocked, open);
  }
  if (request.command == Command::kUndo) {
    RETURN_IF_ERROR(UndoStage(context, open.target));
    return SealStage(context, unlocked, open);
  }
  if (request.command == Command::kVerify) {
    RETURN_IF_ERROR(RefuseUnfinished(open.target));
    RETURN_IF_ERROR(VerifyStage(context, open.target, request.check_backend));
    return SealStage(context, unlocked, open);
  }
  if (RestoresBackup(request)) return RestoreOnDisk(context, unlocked, open);
  ASSIGN_OR_RETURN(const auto findings, InspectStage(context, open.target));
  if (request.command == Command::kInspect) return SealStage(context, unlocked, open);
  RETURN_IF_ERROR(CheckNotCancelled(context));
  ASSIGN_OR_RETURN(auto plan, PlanStage(context, open.target, findings));
  std::optional<etcd::RehearsedPlan> rehearsed;
  {
    StageScope stage = context.Begin(Stage::kRehearse);
    STAGE_ASSIGN(stage, rehearsed,
                 RehearseOverlay(context, open.target, findings, std::move(plan)));
    if (request.command != Command::kPlan && !rehearsed->plan().nothing_to_do()) {
      STAGE_CHECK(stage, RehearseOnScratch(context, open, *rehearsed));
      stage.Succeed(RehearseText(*rehearsed) + "; applied and undone on the view");
    } else {
      stage.Succeed(RehearseText(*rehearsed));
    }
  }
  if (request.command != Command::kApply || rehearsed->plan().nothing_to_do()) {
    return SealStage(context, unlocked, open);
  }
  RETURN_IF_ERROR(CheckNotCancelled(context));
  return ApplyToDisk(context, unlocked, open, *rehearsed);
}

// After an error the disk is closed as carefully as after success, and what goes wrong then is
// heard. What was read through a view that overflowed is wrong, and so would be its error.
Status CloseAfterError(const Context& context, OpenDisk open, Error error) {
  if (const auto view = open.volume->CheckView(); !view) error = view.error();
  auto report = Close(std::move(open));
  if (report) {
    context.outcome.sealed = *std::move(report);
  } else if (report.error().code != error.code) {
    error.message += "; and then: " + report.error().message;
    error.hint += (error.hint.empty() ? "" : "; ") + report.error().hint;
  }
  return Fail(std::move(error));
}

std::string UnlockText(const UnlockedDisk& unlocked, const disk::Volume& volume) {
  std::string how = "no encryption";
  if (unlocked.unlocked) {
    how = fmt::format("key slot {}", unlocked.unlocked->key_slot);
    if (unlocked.unlocked->token >= 0) how += fmt::format(" by token {}", unlocked.unlocked->token);
  }
  return fmt::format(
      "{}, {} on {}{}", how, volume.file_system(), unlocked.found.inside.uuid,
      volume.access() == disk::Access::kReadWrite ? "" : "; on a view, the disk stays as it is");
}

}  // namespace

Status RunOnDisk(const Context& context) {
  ASSIGN_OR_RETURN(CheckedDisk checked, FindStage(context));
  RETURN_IF_ERROR(CheckNotCancelled(context));
  std::optional<UnlockedDisk> unlocked;
  OpenDisk open;
  {
    StageScope stage = context.Begin(Stage::kUnlock);
    STAGE_ASSIGN(stage, unlocked, UnlockKeys(context, std::move(checked)));
    STAGE_ASSIGN(stage, open, Open(context, *unlocked, AccessFor(context.request)));
    stage.Succeed(UnlockText(*unlocked, *open.volume));
  }
  JudgeOpenVolume(context, *unlocked, open);
  for (const auto& note : open.volume->notes()) context.outcome.disk->warnings.push_back(note);
  Status done = RunOnOpenDisk(context, *unlocked, open);
  if (done || !open.volume) return done;
  return CloseAfterError(context, std::move(open), std::move(done).error());
}

}  // namespace rescue::session
