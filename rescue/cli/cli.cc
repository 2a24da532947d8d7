#include "rescue/cli/cli.h"

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "rescue/base/file.h"
#include "rescue/base/real_file_system.h"
#include "rescue/base/units.h"
#include "rescue/cli/console.h"
#include "rescue/cli/guard.h"
#include "rescue/cli/options.h"
#include "rescue/session/job.h"
#include "rescue/session/report.h"

namespace rescue::cli {
namespace {

constexpr std::uint64_t kLargestJob = kMiB;

int ExitCode(const Status& status) { return status ? 0 : static_cast<int>(status.error().kind); }

// One JSON document is standard output's whole content; keys and texts come from disks, so
// anything that is not UTF-8 is replaced rather than thrown.
void PrintJson(Console& out, const nlohmann::json& document) {
  out.Line(document.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
}

Status NotConfirmed(const session::Outcome& outcome, session::Command command) {
  if (command == session::Command::kPlan && outcome.plan && outcome.plan->nothing_to_do())
    return {};
  return Fail(ErrorKind::kRefused, "not-confirmed",
              "change the data: not confirmed, nothing was written",
              "look at the plan, then run the same command with --yes");
}

// apply and undo without --yes: show what would happen, as far as that can be done without writing.
session::Command Unconfirmed(session::Command command) {
  return command == session::Command::kApply ? session::Command::kPlan : session::Command::kInspect;
}

class Silent final : public session::Observer {};

int RunTarget(session::Command command, const TargetOptions& options) {
  Console out(STDOUT_FILENO);
  Console talk(STDERR_FILENO);
  StageLines lines(talk);
  Silent silent;
  session::Outcome outcome;
  const bool writes = command == session::Command::kApply || command == session::Command::kUndo;
  const bool confirmed = !writes || options.yes;
  const session::Command done = confirmed ? command : Unconfirmed(command);

  Status status;
  auto request = MakeRequest(done, options);
  if (request) {
    if (request->disk) GuardSecrets();
    status = session::Run(*request, options.json ? static_cast<session::Observer&>(silent) : lines,
                          outcome);
    if (status && !confirmed) status = NotConfirmed(outcome, done);
  } else {
    status = Fail(std::move(request.error()));
  }
  if (options.json) {
    PrintJson(out, session::ToJson(done, outcome, status));
  } else {
    out.Lines(session::ToText(outcome));
  }
  if (!status) talk.Lines(session::ToText(status.error()));
  return ExitCode(status);
}

int RunDisks(const TargetOptions& options) {
  Console out(STDOUT_FILENO);
  Console talk(STDERR_FILENO);
  const auto disks = disk::FindDisks();
  if (!disks) {
    talk.Lines(session::ToText(disks.error()));
    return static_cast<int>(disks.error().kind);
  }
  if (options.json) {
    auto list = nlohmann::json::array();
    for (const auto& disk : *disks) list.push_back(session::ToJson(disk));
    PrintJson(out, {{"version", 1}, {"command", "disks"}, {"disks", std::move(list)}});
  } else {
    for (const auto& disk : *disks) out.Line(disk::Describe(disk));
    if (disks->empty()) out.Line("no disks");
  }
  return 0;
}

Result<Bytes> ReadJobFile(const std::string& path) {
  std::string directory = ParentPath(path);
  if (directory.empty()) directory = path.starts_with('/') ? "/" : ".";
  ASSIGN_OR_RETURN(const auto files, RealFileSystem::OpenRoot(directory));
  return ReadWhole(*files, path.substr(path.rfind('/') + 1), kLargestJob);
}

Result<session::Request> RequestForJob(const JobOptions& options) {
  const auto text = ReadJobFile(options.job);
  if (!text) {
    return Fail(ErrorKind::kUsage, "bad-job", "read the job: " + text.error().message,
                "name a readable job document of at most 1 MiB");
  }
  ASSIGN_OR_RETURN(const auto job, session::ParseJob(AsText(*text)));
  session::Request request;
  request.command = session::Command::kApply;
  request.disk = job.disk;
  request.secret = SecretFrom(options.secret);
  request.wishes = job.wishes;
  request.log_directory = job.log_directory;
  request.consent_luks_uuid = job.consent_luks_uuid;
  return request;
}

std::string ResultText(const session::Outcome& outcome, const Status& status) {
  if (!status) return status.error().message;
  if (outcome.plan && outcome.plan->nothing_to_do()) {
    return "nothing to do: the survivor already is the only member";
  }
  return fmt::format("rescued: member {} leads cluster {} alone; undo journal {} in {}",
                     Hex16(outcome.plan->survivor.id), Hex16(outcome.plan->cluster_id),
                     outcome.applied->journal_name, outcome.journal_path);
}

int RunJob(const JobOptions& options) {
  GuardSecrets();
  Console console(STDOUT_FILENO);
  for (const auto& device : options.consoles) console.Add(device);
  StageLines lines(console);
  session::Outcome outcome;
  console.Line("etcd-rescue " RESCUE_VERSION ": one job, unattended");
  Status status;
  const auto request = RequestForJob(options);
  if (request) {
    status = session::Run(*request, lines, outcome);
  } else {
    status = Fail(request.error());
  }
  console.Line("");
  console.Lines(session::ToText(outcome), "  ");
  if (!status) console.Lines(session::ToText(status.error()), "  ");
  console.Line("");
  // The last line, always: automation waits for it.
  console.Line(fmt::format("RESULT exit={} {}", ExitCode(status), ResultText(outcome, status)));
  return ExitCode(status);
}

Status PrintKey(const KeyOptions& options) {
  ASSIGN_OR_RETURN(const auto secret, SecretFrom(options.secret)());
  ASSIGN_OR_RETURN(const auto key, secret::KeyFor(secret, options.luks_uuid));
  // Digits go from secret memory straight to the descriptor.
  constexpr std::string_view kDigits = "0123456789abcdef";
  const ByteView bytes = key.bytes.Reveal();
  SecretBytes line(bytes.size() * 2 + 1);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const auto value = std::to_integer<unsigned>(bytes[i]);
    line.Reveal()[2 * i] = static_cast<std::byte>(kDigits[value >> 4]);
    line.Reveal()[2 * i + 1] = static_cast<std::byte>(kDigits[value & 15]);
  }
  line.Reveal()[line.size() - 1] = std::byte{'\n'};
  if (::write(STDOUT_FILENO, line.Reveal().data(), line.size()) !=
      static_cast<ssize_t>(line.size())) {
    return FailErrno("write", "standard output", errno);
  }
  return {};
}

int RunDeriveKey(const KeyOptions& options) {
  GuardSecrets();
  const Status status = PrintKey(options);
  if (!status) Console(STDERR_FILENO).Lines(session::ToText(status.error()));
  return ExitCode(status);
}

int Dispatch(const Options& options) {
  switch (options.verb) {
    case Verb::kInspect:
      return RunTarget(session::Command::kInspect, options.target);
    case Verb::kPlan:
      return RunTarget(session::Command::kPlan, options.target);
    case Verb::kApply:
      return RunTarget(session::Command::kApply, options.target);
    case Verb::kVerify:
      return RunTarget(session::Command::kVerify, options.target);
    case Verb::kUndo:
      return RunTarget(session::Command::kUndo, options.target);
    case Verb::kDisks:
      return RunDisks(options.target);
    case Verb::kRun:
      return RunJob(options.job);
    case Verb::kDeriveKey:
      return RunDeriveKey(options.key);
    case Verb::kLook:
      return RunLook(options.look);
  }
  return static_cast<int>(ErrorKind::kUsage);
}

}  // namespace

int Main(int argc, const char* const* argv) {
  CLI::App app{"Rescues etcd from the last survivor of a cluster that lost its quorum.",
               "etcd-rescue"};
  app.set_version_flag("--version", "etcd-rescue " RESCUE_VERSION);
  Options options;
  Declare(app, options);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : static_cast<int>(ErrorKind::kUsage);
  }
  try {
    return Dispatch(options);
  } catch (const std::exception& error) {
    // Only the language itself throws here (memory); whatever was open closes on the way.
    Console(STDERR_FILENO).Line(fmt::format("error: {}", error.what()));
    return static_cast<int>(ErrorKind::kOther);
  }
}

}  // namespace rescue::cli
