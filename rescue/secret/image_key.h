// The key that signs an image's PCR 11 states, and those signatures, as systemd-stub hands them to
// the system that it boots (systemd 257: systemd-measure(1), systemd-stub(7);
// src/shared/tpm2-util.c, tpm2_load_pcr_signature).
//
// Both come from the booted image itself and are not trusted: the TPM checks the signature, and a
// sealed secret names the key.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "rescue/base/result.h"
#include "rescue/secret/tpm_policy.h"

namespace rescue::secret {

struct ImageKey {
  // SHA-256 of the key as RSAPublicKey (PKCS #1) in DER, without what says that it is RSA; "pkfp"
  // in signature files (systemd: src/shared/openssl-util.c, pubkey_fingerprint).
  PolicyDigest fingerprint{};
  Bytes modulus;               // RSA, big-endian
  std::uint32_t exponent = 0;  // RSA
};

// One allowed state of PCR 11.
struct PcrSignature {
  PolicyDigest signer{};  // the key's fingerprint
  PolicyDigest policy{};  // PcrPolicy of PCR 11
  Bytes signature;        // RSASSA-PKCS1-v1_5 with SHA-256 over `policy`
};

// A public key in PEM ("BEGIN PUBLIC KEY"); RSA of 2048 to 4096 bits. Errors: kCannotUnlock
// "bad-image-key".
Result<ImageKey> ParseImageKey(std::string_view pem);

// {"sha256": [{"pcrs": [11], "pkfp": hex, "pol": hex, "sig": base64}, ...]}; entries about other
// PCRs and other banks are left out. Errors: kCannotUnlock "bad-image-signature".
Result<std::vector<PcrSignature>> ParsePcrSignatures(std::string_view json);

// The public area that is loaded into the TPM to check a signature, and its name.
TPM2B_PUBLIC PublicArea(const ImageKey& key);
Result<TpmName> NameOf(const ImageKey& key);

// Both files of the image that this system was booted from; empty paths mean where systemd-stub and
// systemd put them (/.extra, /run/systemd). Errors: kCannotUnlock "no-image-key".
Result<ImageKey> ReadImageKey(const std::string& path);
Result<std::vector<PcrSignature>> ReadPcrSignatures(const std::string& path);

}  // namespace rescue::secret
