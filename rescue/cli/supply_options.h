// How the command line says where a secret comes from.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>
#include <vector>

#include "rescue/secret/supply.h"

namespace rescue::cli {

struct SupplyOptions {
  std::string tpm = secret::kTpmDevice;
  std::string pin;  // a file, or "prompt"; empty: asked for when it is needed
  bool spend_last_try = false;
  std::string image_key;
  std::string image_signature;
};

// The words that --secret takes, for every command's help.
inline constexpr const char* kSecretHelp =
    "file with the master secret or disk key; '-' reads standard input, 'prompt' asks on the "
    "terminal, 'tpm' or 'tpm:BLOB' unseals it, 'credential' is systemd's "
    "etcd-rescue.master-secret; "
    "default: that credential where there are credentials, else prompt";

// --tpm, --pin, --spend-last-try, --image-key, --image-signature.
void AddSupply(CLI::App& command, SupplyOptions& options);
// `consoles`: ask on these instead of on the controlling terminal, when there are any.
secret::Surroundings Around(const SupplyOptions& options,
                            const std::vector<std::string>& consoles = {});

// Reads the secret that --secret names.
std::function<Result<secret::Secret>()> SecretFrom(
    std::string option, secret::Surroundings around = secret::OwnSurroundings());

}  // namespace rescue::cli
