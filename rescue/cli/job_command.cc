#include "rescue/cli/job_command.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "rescue/base/file.h"
#include "rescue/base/real_file_system.h"
#include "rescue/base/units.h"
#include "rescue/cli/guard.h"
#include "rescue/cli/options.h"
#include "rescue/session/image_mark.h"
#include "rescue/session/report.h"

namespace rescue::cli {
namespace {

Result<Bytes> ReadJobFile(const std::string& path) {
  std::string directory = ParentPath(path);
  if (directory.empty()) directory = path.starts_with('/') ? "/" : ".";
  ASSIGN_OR_RETURN(const auto files, RealFileSystem::OpenRoot(directory));
  return ReadWhole(*files, path.substr(path.rfind('/') + 1), kLargestJob);
}

Result<session::Job> ReadJob(const JobOptions& options) {
  // One that is there and cannot be read is an error, not a reason to take another.
  const auto there = std::ranges::find_if(options.jobs, [](const std::string& path) {
    return ::access(path.c_str(), F_OK) == 0 || errno != ENOENT;
  });
  const auto text = ReadJobFile(there == options.jobs.end() ? options.jobs.front() : *there);
  if (!text) {
    return Fail(ErrorKind::kUsage, "bad-job", "read the job: " + text.error().message,
                "name a readable job document of at most 1 MiB");
  }
  return session::ParseJob(AsText(*text));
}

session::JobHelp HelpFor(const session::Job& job, const JobOptions& options) {
  const auto around = Around(SupplyOptions{}, options.consoles);
  session::JobHelp help;
  help.wait_for_disk = std::chrono::seconds(options.wait_for_disk);
  help.secret = SecretFrom(options.secret.empty() ? job.secret_from : options.secret, around);
  help.seal = [secret = help.secret, around](const session::SealJob& wishes) {
    return Seal(wishes, "", secret, around);
  };
  return help;
}

}  // namespace

void ShowEnd(Console& console, const session::JobEnd& end, bool report) {
  console.Lines(end.blob_lines);
  console.Line("");
  if (report) console.Lines(session::ToText(end.outcome), "  ");
  for (const auto& warning : end.warnings) console.Line("  warning: " + warning);
  console.Lines(SwapWarnings(), "  ");
  if (!end.status) console.Lines(session::ToText(end.status.error()), "  ");
  console.Line("");
  // The last line, always: automation waits for it.
  console.Line(fmt::format("RESULT exit={} {}", end.exit_code(), end.text));
}

int RunJob(const JobOptions& options) {
  GuardSecrets();
  Console console(STDOUT_FILENO);
  for (const auto& device : options.consoles) console.Add(device);
  console.Line("etcd-rescue " RESCUE_VERSION ": one job, unattended");
  if (const auto mark = session::ImageMark(); !mark.empty()) console.Line(mark);
  const auto job = ReadJob(options);
  session::JobEnd end;
  if (job) {
    StageLines lines(console);
    end = session::RunJob(*job, HelpFor(*job, options), lines);
  } else {
    end.text = job.error().message;
    end.status = Fail(Error(job.error()));
  }
  ShowEnd(console, end, !job || job->report.console);
  // What is no job says nothing about its end: the machine stays, with the reason on its screen.
  if (job && options.appliance) {
    console.Drain();
    session::CarryOut(
        session::ActionAfter(*job, end.status.has_value(), session::AtEnd::kPowerOff));
  }
  return end.exit_code();
}

namespace {

std::string DescribeJob(const session::Job& job) {
  if (job.seal) return "seals the secret to the machine's TPM";
  return fmt::format("{} of {}, if its UUID is {}", etcd::Name(job.wishes.strategy),
                     job.disk.empty() ? "the only state disk" : Printable(job.disk, 80),
                     Printable(job.consent_luks_uuid, 60));
}

}  // namespace

int CheckJob(const JobOptions& options) {
  const auto job = ReadJob(options);
  if (!job) {
    Console(STDERR_FILENO).Lines(session::ToText(job.error()));
    return static_cast<int>(job.error().kind);
  }
  Console(STDOUT_FILENO).Line("the job is good: " + DescribeJob(*job));
  return 0;
}

}  // namespace rescue::cli
