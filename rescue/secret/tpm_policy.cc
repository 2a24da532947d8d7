#include "rescue/secret/tpm_policy.h"

#include <openssl/evp.h>

#include <memory>
#include <new>
#include <vector>

#include "rescue/base/endian.h"

namespace rescue::secret {
namespace {

template <typename T>
ByteView BytesOf(const T& value) {
  return std::as_bytes(std::span(&value, 1));
}

// TPML_PCR_SELECTION with one bank, as it goes over the wire (Part 2, 10.9.7).
struct WireSelection {
  ub32 count = 1;
  ub16 hash = TPM2_ALG_SHA256;
  std::uint8_t size = 3;
  std::array<std::uint8_t, 3> bits{};
};
static_assert(sizeof(WireSelection) == 10);

PolicyDigest ExtendWithPcrs(const PolicyDigest& before, const PcrValues& values) {
  WireSelection selection;
  Bytes concatenated;
  for (const auto& [number, value] : values) {
    auto& byte = selection.bits.at(number / 8);
    byte = static_cast<std::uint8_t>(byte | (1U << (number % 8)));
    Append(concatenated, value);
  }
  const ub32 command = TPM2_CC_PolicyPCR;
  const PolicyDigest digest = Sha256Of({concatenated});
  return Sha256Of({before, BytesOf(command), BytesOf(selection), digest});
}

}  // namespace

PolicyDigest Sha256Of(std::initializer_list<ByteView> parts) {
  const std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> context(EVP_MD_CTX_new(),
                                                                   EVP_MD_CTX_free);
  // Only memory can fail here.
  bool ok = context && EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr) == 1;
  for (const ByteView part : parts) {
    ok = ok && EVP_DigestUpdate(context.get(), part.data(), part.size()) == 1;
  }
  PolicyDigest digest{};
  if (!ok || EVP_DigestFinal_ex(context.get(), reinterpret_cast<unsigned char*>(digest.data()),
                                nullptr) != 1) {
    throw std::bad_alloc();
  }
  return digest;
}

PolicyDigest PcrPolicy(const PcrValues& values) { return ExtendWithPcrs(PolicyDigest{}, values); }

PolicyDigest SealPolicy(const TpmName& signer, const PcrValues& literal, bool pin) {
  const ub32 authorize = TPM2_CC_PolicyAuthorize;
  const PolicyDigest named = Sha256Of({PolicyDigest{}, BytesOf(authorize), signer});
  // The second step adds policyRef, which is empty.
  PolicyDigest digest = ExtendWithPcrs(Sha256Of({named}), literal);
  if (pin) {
    const ub32 auth_value = TPM2_CC_PolicyAuthValue;
    digest = Sha256Of({digest, BytesOf(auth_value)});
  }
  return digest;
}

}  // namespace rescue::secret
