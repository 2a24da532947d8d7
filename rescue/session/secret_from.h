// The secret as a face that asks for everything itself has it: typed there, in a file of this
// machine or of another disk, or sealed to the TPM. (The command line's words are secret/supply.h.)
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "rescue/base/secret_bytes.h"
#include "rescue/disk/find.h"
#include "rescue/secret/secret.h"

namespace rescue::secret {
struct Surroundings;
}

namespace rescue::session {

struct SecretFrom {
  SecretBytes typed;                    // used when `file` is empty
  std::string file;                     // a credential is one, too
  std::optional<disk::FoundDisk> disk;  // where `file` is; nothing: this machine
  bool tpm = false;                     // sealed to the machine's TPM; nothing else counts then
  SecretBytes pin;                      // of the sealed secret; empty: none was typed
  bool spend_last_try = false;          // the operator was told that a wrong PIN locks the TPM now
};

// Wrong PINs that the TPM takes until it locks, when the PIN was asked for.
struct PinTries {
  std::uint32_t left = 0;
  std::uint32_t allowed = 0;
  bool operator==(const PinTries&) const = default;
};

// Can be called more than once. Errors: kCannotUnlock, those of secret/supply.h and of
// ReadSecretOn. A PIN that is wanted and empty is "tpm-pin-needed"; `tries` is filled then.
Result<secret::Secret> ReadSecret(const SecretFrom& from, std::optional<PinTries>& tries);
// The same with another TPM and image than those of this machine.
Result<secret::Secret> ReadSecret(const SecretFrom& from, std::optional<PinTries>& tries,
                                  secret::Surroundings around);

// In which place there is a secret that was sealed to this machine's TPM ("the TPM's NV index
// 0x..."); whether the TPM gives it away is seen when it is asked. Errors: kCannotUnlock
// "no-tpm-blob", "tpm-absent" and others of secret/tpm.h.
Result<std::string> FindSealedSecret();

// For runs that count on what unlocking gave before (UnlockCache): error kCannotUnlock "no-secret".
Result<secret::Secret> NoSecretKept();

}  // namespace rescue::session
