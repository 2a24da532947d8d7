#include "rescue/cli/seal.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <sstream>

#include "rescue/base/unique_fd.h"
#include "rescue/cli/console.h"
#include "rescue/cli/guard.h"
#include "rescue/secret/esp.h"
#include "rescue/secret/tpm_nv.h"
#include "rescue/secret/tpm_places.h"
#include "rescue/secret/tpm_seal.h"
#include "rescue/session/report.h"

namespace rescue::cli {
namespace {

using session::SealJob;

constexpr const char* kExamples = R"(
In the booted image the key is the image's own, and what was sealed is unsealed at once to see that
it can be. On another system name the image's key: --image-key image.crt's public key in PEM; the
secret then opens in a boot of that image with nothing added to its command line.

Examples:
  etcd-rescue seal-secret --secret prompt --to nv
  etcd-rescue seal-secret --secret master-secret.json --image-key image.pem --out tpm-secret
  etcd-rescue seal-secret --secret prompt --disk-key 78587c41-ed99-4337-8022-dc28be882f72 --out key
  etcd-rescue inspect --disk auto --secret tpm:tpm-secret
  etcd-rescue seal-secret --remove-nv)";

Status WriteFile(const std::string& path, ByteView blob, bool replace) {
  const int flags = O_WRONLY | O_CREAT | O_CLOEXEC | (replace ? O_TRUNC : O_EXCL);
  const UniqueFd fd(::open(path.c_str(), flags, 0600));
  if (!fd) return FailErrno("write", path, errno);
  if (::write(fd.get(), blob.data(), blob.size()) != static_cast<ssize_t>(blob.size()) ||
      ::fsync(fd.get()) != 0) {
    return FailErrno("write", path, errno);
  }
  return {};
}

// Where the blob went.
Result<std::string> Keep(const secret::Tpm& tpm, ByteView blob, const SealJob& wishes,
                         const std::string& out) {
  if (!out.empty()) {
    RETURN_IF_ERROR(WriteFile(out, blob, wishes.replace));
    return out;
  }
  if (wishes.to == SealJob::To::kNv) {
    RETURN_IF_ERROR(secret::StoreInNv(tpm, blob, wishes.replace));
    return fmt::format("the TPM's NV index 0x{:08x}", secret::kBlobIndex);
  }
  if (wishes.to == SealJob::To::kConsole) return std::string("the console");
  const auto esp = secret::FindEsp();
  if (!esp) {
    return Fail(ErrorKind::kRefused, "no-esp",
                "write the sealed secret: the ESP that this was booted from is not known",
                "boot the image by UEFI, or seal to nv or console");
  }
  RETURN_IF_ERROR(secret::WriteToEsp(*esp, blob, wishes.replace));
  return fmt::format("{} on the ESP", secret::kBlobOnEsp);
}

Result<SecretBytes> NewPin(const secret::Surroundings& around) {
  ASSIGN_OR_RETURN(SecretBytes pin, secret::ReadPin(around, "\r\nNew PIN: "));
  if (!around.pin_file.empty()) return pin;
  ASSIGN_OR_RETURN(const SecretBytes again, secret::ReadPin(around, "\r\nThe same PIN again: "));
  if (Equal(std::as_const(pin).Reveal(), again.Reveal())) return pin;
  return Fail(ErrorKind::kUsage, "bad-pin", "read the new PIN: the two are not the same",
              "start again");
}

Result<secret::SealWishes> Prepare(const SealJob& wishes, const secret::Surroundings& around) {
  secret::SealWishes seal;
  ASSIGN_OR_RETURN(seal.key, secret::ReadImageKey(around.image_key));
  seal.secure_boot = wishes.secure_boot;
  seal.here = around.image_key.empty() || !around.image_signature.empty();
  if (seal.here) {
    ASSIGN_OR_RETURN(seal.signatures, secret::ReadPcrSignatures(around.image_signature));
  }
  if (wishes.pin) {
    ASSIGN_OR_RETURN(seal.pin, NewPin(around));
  }
  return seal;
}

std::string BoundText(const secret::SealWishes& seal) {
  return fmt::format("opens only in images signed with key {}, PCR 12{} as {}{}",
                     ToHex(seal.key.fingerprint).substr(0, 16), seal.secure_boot ? " and 7" : "",
                     seal.here ? "now" : "in a boot without additions",
                     seal.pin.empty() ? "" : ", with the PIN");
}

}  // namespace

void DeclareSeal(CLI::App& app, SealOptions& options, const std::function<void()>& chosen) {
  auto* command = app.add_subcommand(
      "seal-secret", "bind the master secret, or one disk's key, to this machine's TPM");
  command->callback(chosen);
  command->footer(kExamples);
  command->add_option("--secret", options.secret, kSecretHelp);
  command->add_option("--disk-key", options.wishes.disk_key,
                      "seal only the key of the disk with this LUKS UUID");
  auto* out = command->add_option("--out", options.out, "write the sealed secret to this file");
  command
      ->add_option_function<std::string>(
          "--to",
          [&options](const std::string& word) {
            const auto to = session::ParseSealTo(word);
            if (!to) throw CLI::ValidationError("--to", to.error().message);
            options.wishes.to = *to;
          },
          "or keep it in: nv (the TPM), esp (beside the image), console (as text; default)")
      ->excludes(out);
  command->add_flag("--pcr7", options.wishes.secure_boot,
                    "also bind Secure Boot's state and keys (PCR 7)");
  command->add_flag("--with-pin", options.wishes.pin, "also ask for a PIN (see --pin)");
  command->add_flag("--replace", options.wishes.replace, "replace what is there");
  command->add_flag("--remove-nv", options.remove_nv,
                    "take the sealed secret out of the TPM again");
  AddSupply(*command, options.supply);
}

Result<Sealed> Seal(const SealJob& wishes, const std::string& out,
                    const std::function<Result<secret::Secret>()>& read,
                    const secret::Surroundings& around) {
  ASSIGN_OR_RETURN(const secret::Tpm tpm, secret::Tpm::Open(around.tpm));
  ASSIGN_OR_RETURN(secret::SealWishes seal, Prepare(wishes, around));
  ASSIGN_OR_RETURN(secret::Secret secret, read());
  if (!wishes.disk_key.empty()) {
    ASSIGN_OR_RETURN(secret, secret::KeyFor(secret, wishes.disk_key));
    seal.label = wishes.disk_key;
  }
  const std::string what = std::string(secret::Name(secret::KindOf(secret))) +
                           (seal.label.empty() ? "" : " of " + Printable(seal.label));
  ASSIGN_OR_RETURN(const Bytes blob, secret::SealSecret(tpm, secret, seal));
  ASSIGN_OR_RETURN(const std::string place, Keep(tpm, blob, wishes, out));
  Sealed sealed;
  sealed.text =
      fmt::format("sealed the {}: {} bytes in {}; {}", what, blob.size(), place, BoundText(seal));
  if (out.empty() && wishes.to == SealJob::To::kConsole) {
    std::istringstream lines(secret::ArmorBlob(blob));
    for (std::string line; std::getline(lines, line);) sealed.blob_lines.push_back(line);
  }
  return sealed;
}

int RunSeal(const SealOptions& options) {
  GuardSecrets();
  Console out(STDOUT_FILENO);
  Console talk(STDERR_FILENO);
  const secret::Surroundings around = Around(options.supply);
  Status status;
  if (options.remove_nv) {
    auto tpm = secret::Tpm::Open(around.tpm);
    status = tpm ? secret::RemoveFromNv(*tpm) : Status(Fail(std::move(tpm.error())));
    if (status) talk.Line("removed the sealed secret from the TPM");
  } else {
    const auto sealed =
        Seal(options.wishes, options.out, SecretFrom(options.secret, around), around);
    if (sealed) {
      out.Lines(sealed->blob_lines);
      talk.Line(sealed->text);
    } else {
      status = Fail(Error(sealed.error()));
    }
  }
  talk.Lines(SwapWarnings());
  if (!status) talk.Lines(session::ToText(status.error()));
  return status ? 0 : static_cast<int>(status.error().kind);
}

}  // namespace rescue::cli
