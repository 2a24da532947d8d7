// The stages of a restore from a backup.
//
// Unlike the other plans this one holds no content: the backup is read when the plan is carried
// out. So the rehearsal is another one. `plan` reads and proves the whole backup. `apply` proves it
// while it is copied, beside the old member; what was built is inspected and booted in the
// simulator before anything of the old member moves. When the old member has to go first
// (--discard-old), the whole backup is proven before that.
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "rescue/backup/restore.h"
#include "rescue/disk/crypt.h"
#include "rescue/session/backup_place.h"
#include "rescue/session/report.h"
#include "rescue/session/stages.h"

namespace rescue::session {

struct RestoreRun {
  std::optional<OpenBackups> elsewhere;    // on this machine, or on another disk
  std::unique_ptr<RealFileSystem> volume;  // on the state disk itself
  backup::Source source;
  backup::RestorePlan restore;
};

namespace {

// What a restore needs beside the page cache: buffers, and the check's 64 bytes a page.
constexpr std::uint64_t kBuffers = std::uint64_t{64} << 20;
constexpr std::uint64_t kCheckBytesPerPage = 64;
constexpr std::uint64_t kSmallestPage = 4096;

// Turns bytes done into rate and time left, a few times a second.
class Meter {
 public:
  Meter(Observer& observer, Stage stage) : observer_(observer), stage_(stage) {}

  void operator()(std::string_view object, std::uint64_t done, std::uint64_t total) {
    const auto now = Clock::now();
    if (total != total_ || done < done_) began_ = now, first_ = done;
    done_ = done;
    total_ = total;
    if (now - told_ < std::chrono::milliseconds(250) && done < total) return;
    told_ = now;
    Work work;
    work.object = object;
    work.done = done;
    work.total = total;
    const auto took = std::chrono::duration<double>(now - began_).count();
    if (took > 0.2 && done > first_) {
      work.rate = static_cast<std::uint64_t>(static_cast<double>(done - first_) / took);
      if (work.rate > 0 && total >= done)
        work.left = std::chrono::seconds((total - done) / work.rate);
    }
    observer_.Progress(stage_, done, total);
    observer_.Working(stage_, work);
  }

 private:
  Observer& observer_;
  Stage stage_;
  Clock::time_point began_ = Clock::now();
  Clock::time_point told_;
  std::uint64_t first_ = 0;
  std::uint64_t done_ = 0;
  std::uint64_t total_ = 0;
};

// Of a member, or of what an earlier run had set aside to be discarded.
Result<std::uint64_t> StorageOf(const FileView& data, std::string_view member) {
  std::uint64_t bytes = 0;
  for (const char* part : {"snap", "wal"}) {
    const std::string directory = JoinPath(member, part);
    const auto entries = data.List(directory);
    if (!entries && IsNotFound(entries.error())) continue;
    if (!entries) return Fail(entries.error());
    for (const DirectoryEntry& entry : *entries) {
      if (entry.type != FileType::kRegular) continue;
      ASSIGN_OR_RETURN(const auto file, data.Open(JoinPath(directory, entry.name)));
      bytes += file->allocated();
    }
  }
  return bytes;
}

Status CheckMemory(const backup::Source& source) {
  const std::uint64_t needed =
      kBuffers + source.restored_bytes() / kSmallestPage * kCheckBytesPerPage;
  const auto available = disk::AvailableMemory();
  if (!available || *available >= needed) return {};
  return Fail(ErrorKind::kRefused, "no-memory",
              fmt::format("restore {}: it needs {} of memory, {} are available", source.label,
                          FormatSize(needed), FormatSize(*available)),
              "use a machine with more memory");
}

// Before the first write: does the new member fit beside the old one, or instead of it?
Status CheckRoom(const Target& target, const RestoreRun& run, bool discards) {
  const std::uint64_t needed = run.source.restored_bytes();
  ASSIGN_OR_RETURN(const std::uint64_t free, target.data->FreeSpaceAt("member"));
  ASSIGN_OR_RETURN(const bool has_old, Exists(*target.data, "member"));
  ASSIGN_OR_RETURN(std::uint64_t old, StorageOf(*target.data, "member"));
  ASSIGN_OR_RETURN(const std::uint64_t left_over, StorageOf(*target.data, backup::kDiscarded));
  old += left_over;
  if (needed + kSmallestPage * 16 <= free + (discards ? old : 0)) return {};
  const bool would_fit = !discards && old > 0 && needed <= free + old;
  return Fail(ErrorKind::kRefused, "no-space",
              fmt::format("restore {}: the restored member needs up to {}, {} are free{}",
                          run.source.label, FormatSize(needed), FormatSize(free),
                          has_old ? fmt::format(" beside the old one ({})", FormatSize(old)) : ""),
              would_fit
                  ? "free some space; --discard-old removes the old member first, and no undo "
                    "brings it back then"
                  : "free some space, or use a larger disk");
}

Status OpenSourceOf(const BackupWishes& wishes, const RealFileSystem* volume, RestoreRun& run) {
  const backup::SourceWishes source{wishes.to_revision, wishes.accept_hash_mismatch};
  const BackupPlace place = ParseBackupPlace(wishes.from);
  if (volume != nullptr && place.disk.empty()) {
    ASSIGN_OR_RETURN(run.volume, volume->OpenBelow(""));
    const std::string path =
        std::filesystem::path(place.path).lexically_normal().relative_path().string();
    ASSIGN_OR_RETURN(run.source, backup::OpenSource(*run.volume, path == "." ? "" : path,
                                                    wishes.from + " on the volume", source));
    return {};
  }
  ASSIGN_OR_RETURN(auto open, OpenBackups::Open(wishes.from));
  run.elsewhere.emplace(std::move(open));
  ASSIGN_OR_RETURN(run.source, backup::OpenSource(run.elsewhere->files(), run.elsewhere->path(),
                                                  run.elsewhere->label(), source));
  return {};
}

std::string PlanText(const RestoreRun& run) {
  return fmt::format(
      "restore from {}: {} to read{}, {} at most to write; the old member is {}", run.source.label,
      FormatSize(run.source.stored_bytes()),
      run.source.deltas.empty() ? "" : fmt::format(" ({} deltas)", run.source.deltas.size()),
      FormatSize(run.source.restored_bytes()),
      run.restore.discards_old            ? "discarded"
      : run.restore.plan.edits.size() > 3 ? "kept beside"
                                          : "not there");
}

}  // namespace

bool RestoresBackup(const Request& request) {
  return !request.backup.from.empty() &&
         (request.command == Command::kPlan || request.command == Command::kRehearse ||
          request.command == Command::kApply);
}

Status InspectOld(const Context& context, const Target& target) {
  ASSIGN_OR_RETURN(const bool present, Exists(*target.data, "member"));
  if (present) {
    const auto findings = InspectStage(context, target);
    if (findings || findings.error().kind == ErrorKind::kDataDamaged) return {};
    return Fail(findings.error());
  }
  StageScope stage = context.Begin(Stage::kInspect);
  STAGE_ASSIGN(stage, context.outcome.journals,
               edit::ListJournals(*target.journal.files, target.journal.directory));
  stage.Succeed("the data directory holds no member");
  return {};
}

Result<std::shared_ptr<RestoreRun>> PrepareBackup(const Context& context, const Target& target,
                                                  const RealFileSystem* volume,
                                                  const std::string& expected) {
  RETURN_IF_ERROR(RefuseUnfinished(target));
  if (target.places.log != nullptr) {
    return Fail(ErrorKind::kRefused, "log-elsewhere",
                fmt::format("plan restore: etcd's log lies outside of the data directory, in {}",
                            target.places.log_path),
                "restore into a data directory with the log inside, then move the log");
  }
  const BackupWishes& wishes = context.request.backup;
  auto run = std::make_shared<RestoreRun>();
  RETURN_IF_ERROR(OpenSourceOf(wishes, volume, *run));
  etcd::Wishes member = context.request.wishes;
  if (target.node && target.node->manifest) {
    const auto& manifest = *target.node->manifest;
    if (member.name.empty()) member.name = manifest.name;
    if (member.peer_urls.empty()) member.peer_urls = manifest.initial_advertise_peer_urls;
  }
  const auto& findings = context.outcome.findings;
  ASSIGN_OR_RETURN(run->restore,
                   backup::PlanRestoreFrom(*target.data, findings ? &*findings : nullptr,
                                           run->source, member, wishes.discard_old));
  RETURN_IF_ERROR(CheckRoom(target, *run, wishes.discard_old));
  RETURN_IF_ERROR(CheckMemory(run->source));
  if (!expected.empty() && run->restore.plan.fingerprint != expected) {
    return Fail(ErrorKind::kRefused, "plan-stale",
                "plan: the data gives another plan now than the one confirmed",
                "something changed the data meanwhile; look at the new plan");
  }
  context.outcome.plan = run->restore.plan;
  return run;
}

Result<std::shared_ptr<RestoreRun>> PlanBackup(const Context& context, const Target& target,
                                               const RealFileSystem* volume) {
  StageScope stage = context.Begin(Stage::kPlan);
  STAGE_ASSIGN(stage, auto run,
               PrepareBackup(context, target, volume, context.request.confirmed_plan));
  stage.Succeed(PlanText(*run));
  return run;
}

Status RehearseBackup(const Context& context, RestoreRun& run, bool always) {
  StageScope stage = context.Begin(Stage::kRehearse);
  if (!always && !context.request.backup.discard_old) {
    stage.Succeed(
        "the backup is proven while it is copied; what is built is booted in the simulator before "
        "it takes the old member's place");
    return {};
  }
  STAGE_ASSIGN(stage, const auto verified,
               backup::Verify(run.source, Meter(context.observer, Stage::kRehearse)));
  context.outcome.plan->revision_after = verified.revision + run.restore.wishes.bump_revision;
  stage.Succeed(fmt::format("the backup is sound: {}, {} changes behind it, revision {}",
                            Name(verified.base.verdict), verified.events, verified.revision));
  return {};
}

Result<std::string> ApplyBackup(const Context& context, const Target& target, RestoreRun& run) {
  // Also what an interrupted run has left of the member.
  if (context.request.backup.discard_old) {
    RETURN_IF_ERROR(backup::DiscardMember(*target.data));
  }
  backup::RestoreBuilder builder(run.source, run.restore, Meter(context.observer, Stage::kApply));
  auto applied = edit::Apply(*target.data, *target.journal.files, target.journal.directory,
                             run.restore.plan.edits, "restore from a backup", &builder);
  context.outcome.built = builder.built();
  if (!applied) return Fail(std::move(applied).error());
  const backup::Built& built = builder.built();
  applied->data_bytes = built.copied_bytes + built.delta_bytes;
  context.outcome.applied = *applied;
  etcd::Plan& plan = *context.outcome.plan;
  plan.revision_after = built.revision + run.restore.wishes.bump_revision;
  if (built.unknown_leases > 0) {
    plan.warnings.push_back(
        fmt::format("{} leases that keys name are in no backup: these keys keep "
                    "the lease's ID and never expire",
                    built.unknown_leases));
  }
  return fmt::format("revision {}: {} copied{}, {} changes of deltas behind revision {}; {}",
                     built.revision, FormatSize(built.copied_bytes),
                     built.digest_matches ? ", its digest matches" : "", built.applied,
                     built.base_revision, ApplyText(*applied, target));
}

Result<MadeDirectory> MadeDirectory::Make(const Request& request) {
  if (request.disk || !RestoresBackup(request)) return MadeDirectory("");
  const std::filesystem::path path = request.data_directory;
  struct stat found {};
  if (::stat(path.c_str(), &found) == 0 || errno != ENOENT) return MadeDirectory("");
  if (request.command != Command::kApply) {
    return Fail(ErrorKind::kUsage, "not-found",
                fmt::format("plan a restore into {}: there is no such directory, and a plan makes "
                            "none",
                            path.string()),
                "apply makes it; for a plan, make an empty one first");
  }
  if (::mkdir(path.c_str(), 0700) != 0) return FailErrno("create", path.string(), errno);
  return MadeDirectory(path.string());
}

MadeDirectory::~MadeDirectory() {
  if (!path_.empty()) (void)::rmdir(path_.c_str());
}

}  // namespace rescue::session
