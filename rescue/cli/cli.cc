#include "rescue/cli/cli.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "rescue/cli/console.h"
#include "rescue/cli/guard.h"
#include "rescue/cli/job_command.h"
#include "rescue/cli/options.h"
#include "rescue/cli/serve_command.h"
#include "rescue/session/report.h"

namespace rescue::cli {
namespace {

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
  talk.Lines(SwapWarnings());
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
    for (const auto& disk : *disks) {
      out.Line(disk::Describe(disk));
      out.Lines(session::DescribeHeaderFindings(disk));
    }
    if (disks->empty()) out.Line("no disks");
  }
  return 0;
}

// A key belongs into the program that needs it: not on a screen, nor in a file that somebody
// forgets.
Status CheckGoesToAPipe() {
  struct stat status {};
  if (::fstat(STDOUT_FILENO, &status) == 0 &&
      (S_ISFIFO(status.st_mode) || S_ISSOCK(status.st_mode))) {
    return {};
  }
  return Fail(ErrorKind::kRefused, "not-a-pipe",
              "print the disk's key: standard output is no pipe, the key would be shown or kept",
              "pipe it into the program that needs it, or insist with --force");
}

Status PrintKey(const KeyOptions& options) {
  if (!options.force) RETURN_IF_ERROR(CheckGoesToAPipe());
  ASSIGN_OR_RETURN(const auto secret, SecretFrom(options.secret, Around(options.supply))());
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

int RunWizard(const WizardWords& words) {
  GuardSecrets();
  tui::WizardOptions options = words.options;
  if (words.face != "auto") {
    options.face =
        words.face == "line" ? tui::WizardOptions::Face::kLines : tui::WizardOptions::Face::kScreen;
  }
  tui::CompleteFromSurroundings(options);
  return tui::RunWizard(options, tui::MakeSessionEngine());
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
      return options.job.check ? CheckJob(options.job) : RunJob(options.job);
    case Verb::kServe:
      return RunServe(options.serve);
    case Verb::kDeriveKey:
      return RunDeriveKey(options.key);
    case Verb::kSeal:
      return RunSeal(options.seal);
    case Verb::kLook:
      return RunLook(options.look);
    case Verb::kWizard:
      return RunWizard(options.wizard);
    case Verb::kButtons:
      return RunButtons(options.buttons);
    case Verb::kFetchJob:
      return RunFetchJob(options.fetch);
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
