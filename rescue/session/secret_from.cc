#include "rescue/session/secret_from.h"

#include <fmt/format.h>

#include "rescue/secret/source.h"
#include "rescue/secret/supply.h"
#include "rescue/secret/tpm_places.h"
#include "rescue/session/other_disk.h"

namespace rescue::session {
namespace {

Result<secret::Secret> FromTpm(const SecretFrom& from, std::optional<PinTries>& tries,
                               secret::Surroundings around) {
  around.spend_last_try = from.spend_last_try;
  around.pin = [&](const secret::LockoutState& state) -> Result<SecretBytes> {
    if (!from.pin.empty()) return SecretBytes::CopyOf(from.pin.Reveal());
    tries = PinTries{state.tries_left(), state.allowed};
    return Fail(ErrorKind::kCannotUnlock, "tpm-pin-needed",
                fmt::format("unseal the secret: it was sealed with a PIN; {} of {} tries are left",
                            state.tries_left(), state.allowed),
                "type the PIN");
  };
  return secret::Obtain({secret::Supply::kTpm, ""}, around);
}

}  // namespace

Result<secret::Secret> ReadSecret(const SecretFrom& from, std::optional<PinTries>& tries) {
  return ReadSecret(from, tries, secret::OwnSurroundings());
}

Result<secret::Secret> ReadSecret(const SecretFrom& from, std::optional<PinTries>& tries,
                                  secret::Surroundings around) {
  if (from.tpm) return FromTpm(from, tries, std::move(around));
  if (from.disk) {
    ASSIGN_OR_RETURN(auto text, ReadSecretOn(*from.disk, from.file));
    return secret::ParseSecret(std::move(text));
  }
  if (!from.file.empty()) {
    ASSIGN_OR_RETURN(auto text, secret::ReadSecretFile(from.file));
    return secret::ParseSecret(std::move(text));
  }
  return secret::ParseSecret(SecretBytes::CopyOf(from.typed.Reveal()));
}

Result<std::string> FindSealedSecret() {
  const secret::Surroundings around = secret::OwnSurroundings();
  ASSIGN_OR_RETURN(const secret::Tpm tpm, secret::Tpm::Open(around.tpm));
  ASSIGN_OR_RETURN(secret::FoundBlob blob, secret::FindBlob(tpm, "", around.credentials));
  return std::move(blob.place);
}

Result<secret::Secret> NoSecretKept() {
  return Fail(ErrorKind::kCannotUnlock, "no-secret", "unlock the disk: its key was forgotten",
              "give the secret again");
}

}  // namespace rescue::session
