// For this room's tests: what happens to a TPM besides sealing, and images that are signed.
#pragma once

#include <fmt/format.h>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "rescue/secret/tpm_seal.h"
#include "tests/support/software_tpm.h"

namespace rescue::secret::testing {

inline void Must(TSS2_RC code, const char* what) {
  if (code != TSS2_RC_SUCCESS) throw std::runtime_error(fmt::format("{}: 0x{:x}", what, code));
}

inline Tpm OpenTpm(const rescue::testing::SoftwareTpm& tpm) {
  auto opened = Tpm::Open(tpm.path());
  if (!opened) throw std::runtime_error(opened.error().message);
  return *std::move(opened);
}

inline void Extend(const Tpm& tpm, unsigned pcr, std::string_view event) {
  const PolicyDigest digest = Sha256Of({AsBytes(event)});
  TPML_DIGEST_VALUES values{};
  values.count = 1;
  values.digests[0].hashAlg = TPM2_ALG_SHA256;
  std::memcpy(values.digests[0].digest.sha256, digest.data(), digest.size());
  Must(Esys_PCR_Extend(tpm.esys(), ESYS_TR_PCR0 + pcr, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE,
                       &values),
       "extend a PCR");
}

// TPM2_Clear: what was sealed before is lost.
inline void Clear(const Tpm& tpm) {
  Must(Esys_Clear(tpm.esys(), ESYS_TR_RH_LOCKOUT, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE),
       "clear the TPM");
}

// After how many wrong passwords it locks.
inline void SetLockout(const Tpm& tpm, std::uint32_t tries) {
  Must(Esys_DictionaryAttackParameters(tpm.esys(), ESYS_TR_RH_LOCKOUT, ESYS_TR_PASSWORD,
                                       ESYS_TR_NONE, ESYS_TR_NONE, tries, 3600, 86400),
       "set the lockout's parameters");
}

// An image's signing key, made new, and what systemd-measure does with it.
class Signer {
 public:
  Signer() : key_(EVP_RSA_gen(2048), EVP_PKEY_free) {
    const std::unique_ptr<BIO, void (*)(BIO*)> out(BIO_new(BIO_s_mem()), BIO_free_all);
    if (!key_ || PEM_write_bio_PUBKEY(out.get(), key_.get()) != 1) throw std::bad_alloc();
    char* text = nullptr;
    const long size = BIO_get_mem_data(out.get(), &text);
    pem_.assign(text, static_cast<std::size_t>(size));
  }

  const std::string& pem() const { return pem_; }
  ImageKey key() const { return ParseImageKey(pem_).value(); }

  // An entry of a signature file, for this policy digest.
  std::string Entry(const PolicyDigest& policy) const {
    const std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> context(EVP_MD_CTX_new(),
                                                                     EVP_MD_CTX_free);
    Bytes signature(256);
    std::size_t size = signature.size();
    if (EVP_DigestSignInit(context.get(), nullptr, EVP_sha256(), nullptr, key_.get()) != 1 ||
        EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(signature.data()), &size,
                       reinterpret_cast<const unsigned char*>(policy.data()), policy.size()) != 1) {
      throw std::runtime_error("cannot sign");
    }
    return fmt::format(R"({{"pcrs":[11],"pkfp":"{}","pol":"{}","sig":"{}"}})",
                       ToHex(key().fingerprint), ToHex(policy), ToBase64(signature));
  }

  // A signature file that allows these values of PCR 11.
  std::string File(const std::vector<PcrValue>& states) const {
    std::string list;
    for (const auto& state : states) {
      if (!list.empty()) list += ",";
      list += Entry(PcrPolicy({{kPcrImage, state}}));
    }
    return R"({"sha256":[)" + list + "]}";
  }

  std::vector<PcrSignature> Signatures(const std::vector<PcrValue>& states) const {
    return ParsePcrSignatures(File(states)).value();
  }

 private:
  std::shared_ptr<EVP_PKEY> key_;
  std::string pem_;
};

inline Secret SomeMaster() {
  return MasterSecret{SecretBytes::CopyOf(AsBytes("this is the key of 32 bytes long")),
                      SecretBytes::CopyOf(AsBytes("and this is the salt of 32 bytes"))};
}

inline bool SameMaster(const Secret& a, const Secret& b) {
  const auto* left = std::get_if<MasterSecret>(&a);
  const auto* right = std::get_if<MasterSecret>(&b);
  return left != nullptr && right != nullptr && Equal(left->key.Reveal(), right->key.Reveal()) &&
         Equal(left->salt.Reveal(), right->salt.Reveal());
}

}  // namespace rescue::secret::testing
