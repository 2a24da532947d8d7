// The ways in which a secret is supplied, chosen by a word on the command line or in a job.
// README.md says who else can read it in each of them.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "rescue/secret/secret.h"
#include "rescue/secret/tpm.h"

namespace rescue::secret {

inline constexpr const char* kSecretCredential = "etcd-rescue.master-secret";

enum class Supply {
  kFile,           // read from `path`
  kStandardInput,  // to its end
  kCredential,     // systemd's, etcd-rescue.master-secret
  kTpm,            // sealed; the blob is in `path`, or where FindBlob looks
  kPrompt,         // typed or pasted on a terminal
};

struct SupplyWish {
  Supply from = Supply::kFile;
  std::string path;

  bool operator==(const SupplyWish&) const = default;
};

// "-", "credential", "prompt", "tpm", "tpm:BLOB-FILE"; anything else is the name of a file (one
// that is called like these words is written ./tpm).
SupplyWish ParseSupply(std::string_view word);

// What there is around the program that supplies a secret.
struct Surroundings {
  std::string credentials;             // directory of systemd's credentials; empty: none
  std::vector<std::string> terminals;  // to ask on, all at once
  std::string tpm = kTpmDevice;
  std::string pin_file;  // empty: the PIN is asked for on the terminals
  // Asked instead of file and terminals, by faces that have a terminal in use.
  std::function<Result<SecretBytes>(const LockoutState&)> pin;
  bool spend_last_try = false;
  std::string image_key;  // files; empty: those of the booted image
  std::string image_signature;
};

// The process's own: $CREDENTIALS_DIRECTORY, and its controlling terminal.
Surroundings OwnSurroundings();

// A PIN, without its line break.
Result<SecretBytes> ReadPin(const Surroundings& around, const std::string& question);
Result<Secret> Obtain(const SupplyWish& wish, const Surroundings& around);

}  // namespace rescue::secret
