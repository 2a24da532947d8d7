#include "rescue/cli/serve_command.h"

#include <fmt/format.h>
#include <unistd.h>

#include <filesystem>

#include "rescue/cli/console.h"
#include "rescue/cli/guard.h"
#include "rescue/cli/job_command.h"
#include "rescue/cli/seal.h"
#include "rescue/rpc/port.h"
#include "rescue/rpc/serve.h"
#include "rescue/session/report.h"
#include "tui/messages.h"

namespace rescue::cli {
namespace {

constexpr const char* kExamples = R"(
It speaks JSON-RPC 2.0 in RFC 7464 records; the methods are in rescue/rpc/PROTOCOL.md, and
image/rescue-client speaks them from the host.

Examples:
  etcd-rescue serve
  etcd-rescue serve --port /dev/virtio-ports/org.etcd-rescue.0
  etcd-rescue serve --port auto --appliance --console /dev/tty1)";

// Nobody types here: a secret that would be asked for is refused with these words.
Result<secret::Secret> SecretFor(const std::string& from, const SupplyOptions& supply) {
  if (from == "prompt") {
    return Fail(ErrorKind::kCannotUnlock, "no-secret",
                "read the secret: over JSON-RPC nobody is asked for it",
                "give it to the method unlock, or as a credential");
  }
  secret::Surroundings around = Around(supply);
  around.terminals.clear();
  if (from.empty() && around.credentials.empty()) {
    return Fail(ErrorKind::kCannotUnlock, "no-secret", "read the secret: none was given",
                "give it to the method unlock, or as a credential");
  }
  return SecretFrom(from.empty() ? "credential" : from, around)();
}

bool IsSameDevice(const std::string& a, const std::string& b) {
  std::error_code error;
  return std::filesystem::equivalent(a, b, error);
}

rpc::Help HelpFor(const ServeWords& words, Console& console, StageLines& lines) {
  rpc::Help help;
  help.secret = [&words](const std::string& from) { return SecretFor(from, words.supply); };
  help.seal = [&words](const session::SealJob& wishes, const std::string& from) {
    secret::Surroundings around = Around(words.supply);
    around.terminals.clear();
    return Seal(
        wishes, "", [&words, from] { return SecretFor(from, words.supply); }, around);
  };
  help.appliance = words.appliance;
  help.show_stage = [&lines](const session::StageTime& stage) { lines.Ended(stage); };
  help.show_line = [&console](const std::string& line) { console.Line(line); };
  help.show_end = [&console](const session::JobEnd& end) { ShowEnd(console, end, true); };
  return help;
}

Result<int> ServeOn(const ServeWords& words, Console& console) {
  std::string port = words.port;
  if (port == "auto") {
    ASSIGN_OR_RETURN(port, rpc::ChoosePort(rpc::LookForPorts()));
  }
  for (const auto& device : words.consoles) {
    if (port.empty() || !IsSameDevice(device, port)) console.Add(device);
  }
  console.Line(fmt::format("etcd-rescue {}: JSON-RPC on {}", RESCUE_VERSION,
                           port.empty() ? "standard input and output" : port));
  // The kernel must not write between our records; what it says is in its log.
  const tui::QuietKernel quiet(words.appliance);
  StageLines lines(console);
  return rpc::Serve({port, HelpFor(words, console, lines)});
}

}  // namespace

void DeclareServe(CLI::App& app, ServeWords& words, const std::function<void()>& chosen) {
  auto* command = app.add_subcommand("serve", "do what a program asks for by JSON-RPC");
  command->callback(chosen);
  command->footer(kExamples);
  command->add_option("--port", words.port,
                      "speak on this device; 'auto': the virtio-serial port org.etcd-rescue.0, or "
                      "a serial line if etcd-rescue.console=rpc asks for it; default: standard "
                      "input and output");
  command
      ->add_option("--console", words.consoles,
                   "show people the progress on this terminal; may be repeated")
      ->allow_extra_args(false);
  command->add_flag("--appliance", words.appliance,
                    "the machine is there for this only: it may be powered off and rebooted");
  AddSupply(*command, words.supply);
}

int RunServe(const ServeWords& words) {
  GuardSecrets();
  Console console(STDERR_FILENO);
  const auto served = ServeOn(words, console);
  if (served) return *served;
  for (const auto& device : words.consoles) console.Add(device);
  console.Lines(session::ToText(served.error()));
  return static_cast<int>(served.error().kind);
}

}  // namespace rescue::cli
