#include "rescue/cli/supply_options.h"

#include <unistd.h>

namespace rescue::cli {
namespace {

// What is meant when nothing was said.
Result<secret::SupplyWish> DefaultSupply(const secret::Surroundings& around) {
  if (!around.credentials.empty()) return secret::SupplyWish{secret::Supply::kCredential, {}};
  if (::isatty(STDIN_FILENO) == 1) return secret::SupplyWish{secret::Supply::kPrompt, {}};
  return Fail(ErrorKind::kCannotUnlock, "no-secret", "read the secret: none was given",
              "name a file with --secret, pass '-' and pipe it in, or use --secret tpm");
}

}  // namespace

void AddSupply(CLI::App& command, SupplyOptions& options) {
  command.add_option("--tpm", options.tpm, "the TPM: a device, or a software TPM's Unix socket")
      ->capture_default_str();
  command.add_option("--pin", options.pin,
                     "file with the PIN of the sealed secret, or 'prompt' (default where one is "
                     "needed)");
  command.add_flag("--spend-last-try", options.spend_last_try,
                   "try a PIN even when a wrong one would lock the TPM");
  command.add_option("--image-key", options.image_key,
                     "PEM file of the key that signs the image; default: the booted image's");
  command.add_option("--image-signature", options.image_signature,
                     "file with the image's PCR signatures; default: the booted image's");
}

secret::Surroundings Around(const SupplyOptions& options,
                            const std::vector<std::string>& consoles) {
  secret::Surroundings around = secret::OwnSurroundings();
  if (!consoles.empty()) around.terminals = consoles;
  around.tpm = options.tpm;
  if (options.pin != "prompt") around.pin_file = options.pin;
  around.spend_last_try = options.spend_last_try;
  around.image_key = options.image_key;
  around.image_signature = options.image_signature;
  return around;
}

std::function<Result<secret::Secret>()> SecretFrom(std::string option,
                                                   secret::Surroundings around) {
  return [option = std::move(option), around = std::move(around)]() -> Result<secret::Secret> {
    if (!option.empty()) return secret::Obtain(secret::ParseSupply(option), around);
    ASSIGN_OR_RETURN(const auto wish, DefaultSupply(around));
    return secret::Obtain(wish, around);
  };
}

}  // namespace rescue::cli
