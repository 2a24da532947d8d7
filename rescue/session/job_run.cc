#include "rescue/session/job_run.h"

#include <fmt/format.h>

#include <csignal>
#include <optional>

#include "rescue/base/units.h"
#include "rescue/session/other_disk.h"
#include "rescue/session/report.h"

namespace rescue::session {
namespace {

using nlohmann::json;

Request RequestFor(const Job& job, const JobHelp& help) {
  Request request;
  request.command = Command::kApply;
  request.disk = job.disk;
  request.wait_for_disk = help.wait_for_disk;
  if (!job.use_token) request.secret = help.secret;
  request.use_token = job.use_token;
  request.unlocked = help.unlocked;
  request.cancelled = help.cancelled;
  request.wishes = job.wishes;
  request.backup = job.backup;
  request.log_directory = job.log_directory;
  request.consent_luks_uuid = job.consent_luks_uuid;
  request.policy = job.policy;
  request.keep_report = job.report.volume;
  return request;
}

Result<disk::FoundDisk> FindReportDisk(const ReportWish& wish) {
  const auto wrong = [&](const std::string& reason) {
    return Fail(ErrorKind::kUsage, "bad-report-disk",
                fmt::format("keep the report on {}: {}", Printable(wish.disk, 80), reason),
                "attach a disk with vfat or ext4 for it, or take report.disk out of the job");
  };
  auto found = disk::ExamineDisk(wish.disk);
  if (!found) return wrong(found.error().message);
  if (!CanHoldFiles(*found)) return wrong("it has neither vfat nor ext4, or is a state disk");
  if (found->read_only) return wrong("it cannot be written");
  return found;
}

void KeepReport(const disk::FoundDisk& disk, const std::string& path, JobEnd& end) {
  std::string text;
  for (const auto& line : ToText(end.outcome)) text += line + "\n";
  if (!end.status) {
    for (const auto& line : ToText(end.status.error())) text += line + "\n";
  }
  text += fmt::format("RESULT exit={} {}\n", end.exit_code(), end.text);
  const auto document = ToJson(Command::kApply, end.outcome, end.status);
  const Status saved = SaveReportOn(
      disk, path, text, document.dump(2, ' ', false, json::error_handler_t::replace) + "\n");
  if (!saved) end.warnings.push_back("the report could not be kept: " + saved.error().message);
}

Status Rescue(const Job& job, const JobHelp& help, Observer& observer, JobEnd& end,
              std::optional<disk::FoundDisk>& report_disk) {
  if (!job.report.disk.empty()) {
    ASSIGN_OR_RETURN(report_disk, FindReportDisk(job.report));
  }
  RETURN_IF_ERROR(help.run(RequestFor(job, help), observer, end.outcome));
  end.text = ResultText(end.outcome);
  return {};
}

Status SealOnly(const SealJob& job, const JobHelp& help, JobEnd& end) {
  ASSIGN_OR_RETURN(auto sealed, help.seal(job));
  end.text = std::move(sealed.text);
  end.blob_lines = std::move(sealed.blob_lines);
  return {};
}

}  // namespace

std::string ResultText(const Outcome& outcome) {
  if (outcome.plan && outcome.plan->nothing_to_do()) {
    return "nothing to do: the survivor already is the only member";
  }
  return fmt::format("rescued: member {} leads cluster {} alone; undo journal {} in {}",
                     Hex16(outcome.plan->survivor.id), Hex16(outcome.plan->cluster_id),
                     outcome.applied->journal_name, outcome.journal_path);
}

JobEnd RunJob(const Job& job, const JobHelp& help, Observer& observer) {
  JobEnd end;
  std::optional<disk::FoundDisk> report_disk;
  end.status =
      job.seal ? SealOnly(*job.seal, help, end) : Rescue(job, help, observer, end, report_disk);
  if (!end.status) end.text = end.status.error().message;
  if (report_disk) KeepReport(*report_disk, job.report.path, end);
  return end;
}

AtEnd ActionAfter(const Job& job, bool ok, AtEnd standard) {
  return ok ? job.at_end.value_or(standard) : job.at_failure.value_or(AtEnd::kWait);
}

void CarryOut(AtEnd at_end) {
  // PID 1's own signals for an orderly power-off and reboot (systemd(1)).
  if (at_end == AtEnd::kPowerOff) (void)::kill(1, SIGRTMIN + 4);
  if (at_end == AtEnd::kReboot) (void)::kill(1, SIGRTMIN + 5);
}

}  // namespace rescue::session
