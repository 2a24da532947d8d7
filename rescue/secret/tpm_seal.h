// Sealing a secret to this machine's TPM, so that only the image whose key is named gets it back,
// in the state in which it may have it. README.md says what that protects from, FORMAT.md how it is
// stored.
#pragma once

#include <functional>

#include "rescue/secret/image_key.h"
#include "rescue/secret/payload.h"
#include "rescue/secret/tpm.h"
#include "rescue/secret/tpm_blob.h"

namespace rescue::secret {

struct SealWishes {
  ImageKey key;
  // True: the image with that key runs here; PCR values are taken as they are now, and what was
  // sealed is unsealed at once to see that it can be. False: for a boot of that image later on this
  // machine; PCR 12 must then be all zeros.
  bool here = true;
  std::vector<PcrSignature> signatures;  // of the image that runs here
  bool secure_boot = false;              // bind PCR 7, too; needs `here`
  SecretBytes pin;                       // empty: none
  std::string label;                     // for people, at most 64 bytes
};

// Returns the blob's bytes. The TPM holds nothing of it afterwards. Errors: those of UnsealSecret,
// "secret-too-long", "bad-pin", "no-pcr-value".
Result<Bytes> SealSecret(const Tpm& tpm, const Secret& secret, const SealWishes& wishes);

struct UnsealWishes {
  ImageKey key;                          // of the image that runs here
  std::vector<PcrSignature> signatures;  // of the image that runs here
  // Asked when the secret was sealed with a PIN, after everything else was found right. Without it
  // such a secret is refused ("tpm-pin-needed").
  std::function<Result<SecretBytes>(const LockoutState&)> pin;
  // A wrong PIN now would lock the TPM; false refuses ("tpm-last-try").
  bool spend_last_try = false;
};

// Errors, all kCannotUnlock:
//   bad-tpm-blob      no sealed secret, damaged, or refused by the TPM as changed
//   tpm-other         sealed to another TPM
//   tpm-cleared       sealed to this TPM, which was cleared since
//   tpm-other-image   the running image is signed with another key
//   tpm-pcr-11, -12, -7     what was measured differs; both values are named
//   tpm-pin-needed, tpm-wrong-pin, tpm-last-try, tpm-lockout
//   tpm-signature     the image's signature is not valid
//   tpm-error, tpm-hierarchy-password, tpm-no-sha256
Result<Secret> UnsealSecret(const Tpm& tpm, ByteView blob, const UnsealWishes& wishes);

}  // namespace rescue::secret
