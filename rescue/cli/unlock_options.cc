#include "rescue/cli/unlock_options.h"

#include <fmt/format.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>

#include "rescue/secret/source.h"
#include "rescue/session/job.h"

namespace rescue::cli {
namespace {

Result<SecretBytes> ReadSecret(const std::string& path) {
  if (path == "-") return secret::ReadSecretFd(STDIN_FILENO, "standard input");
  return secret::ReadSecretFile(path);
}

// Switches a terminal's echo off for as long as it lives.
class NoEcho {
 public:
  explicit NoEcho(int fd) : fd_(fd) {
    if (::tcgetattr(fd_, &before_) != 0) return;
    termios silent = before_;
    silent.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    changed_ = ::tcsetattr(fd_, TCSAFLUSH, &silent) == 0;
  }
  ~NoEcho() {
    if (changed_) (void)::tcsetattr(fd_, TCSAFLUSH, &before_);
  }
  NoEcho(const NoEcho&) = delete;
  NoEcho& operator=(const NoEcho&) = delete;

 private:
  int fd_;
  bool changed_ = false;
  termios before_{};
};

// One line that somebody types. A read from a terminal ends with the line.
Result<SecretBytes> AskTerminal() {
  const NoEcho quiet(STDIN_FILENO);
  constexpr std::string_view kPrompt = "passphrase (not shown): ";
  (void)!::write(STDERR_FILENO, kPrompt.data(), kPrompt.size());
  SecretBytes line(secret::kMaxSecretText);
  const ssize_t got = ::read(STDIN_FILENO, line.Reveal().data(), line.size());
  (void)!::write(STDERR_FILENO, "\n", 1);
  if (got <= 0) {
    return Fail(ErrorKind::kCannotUnlock, "no-secret", "read the passphrase: none was typed",
                "type it, or name a file with --passphrase-file");
  }
  line.Shrink(static_cast<std::size_t>(got));
  return line;
}

}  // namespace

void AddUnlock(CLI::App& command, UnlockOptions& options) {
  auto* key =
      command.add_option("--key-file", options.key_file,
                         "open with the whole content of this file, as cryptsetup does; '-' "
                         "reads standard input");
  command
      .add_option("--passphrase-file", options.passphrase_file,
                  "open with the passphrase in the first line of this file; '-' asks on the "
                  "terminal, or reads standard input")
      ->excludes(key);
  command
      .add_flag(
          "--token", options.token,
          "open with the disk's own systemd-tpm2 token and this machine's TPM; a passphrase is "
          "its PIN")
      ->excludes(key);
  command
      .add_option(
          "--profile", options.profile,
          "what the LUKS2 header may say: constellation (default), or luks2 for other nodes' "
          "disks")
      ->check(CLI::IsMember({"constellation", "luks2"}));
  command
      .add_option(
          "--accept", options.accept,
          "accept one refusal by name, as the refusal says it (header:CODE); may be repeated")
      ->allow_extra_args(false);
}

Result<secret::Secret> ReadKeyFile(const std::string& path) {
  ASSIGN_OR_RETURN(auto bytes, ReadSecret(path));
  return secret::Secret(secret::Passphrase{std::move(bytes)});
}

Result<secret::Secret> ReadPassphrase(const std::string& path) {
  SecretBytes bytes;
  if (path == "-" && ::isatty(STDIN_FILENO) == 1) {
    ASSIGN_OR_RETURN(bytes, AskTerminal());
  } else {
    ASSIGN_OR_RETURN(bytes, ReadSecret(path));
  }
  const auto text = bytes.Reveal();
  const auto end = std::find(text.begin(), text.end(), std::byte{'\n'});
  bytes.Shrink(static_cast<std::size_t>(end - text.begin()));
  if (bytes.empty()) {
    return Fail(ErrorKind::kCannotUnlock, "no-secret", "read the passphrase: its line is empty",
                "a passphrase is the first line of its file; for raw bytes use --key-file");
  }
  return secret::Secret(secret::Passphrase{std::move(bytes)});
}

Status TakeUnlock(const UnlockOptions& options, session::Request& request) {
  ASSIGN_OR_RETURN(request.policy.profile, session::ParseProfile(options.profile));
  for (const std::string& accepted : options.accept) {
    RETURN_IF_ERROR(session::AcceptByName(accepted, request.policy));
  }
  request.use_token = options.token;
  if (!options.key_file.empty()) {
    request.secret = [path = options.key_file] { return ReadKeyFile(path); };
  } else if (!options.passphrase_file.empty()) {
    request.secret = [path = options.passphrase_file] { return ReadPassphrase(path); };
  } else if (options.token) {
    request.secret = {};
  }
  return {};
}

}  // namespace rescue::cli
