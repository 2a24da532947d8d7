#include "rescue/secret/hkdf_sha256_32.h"

#include <openssl/core_names.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#include <memory>
#include <string>

namespace rescue::secret {
namespace {

// OpenSSL's parameters are not const, but HKDF only reads them.
OSSL_PARAM Octets(const char* name, ByteView bytes) {
  return OSSL_PARAM_construct_octet_string(name, const_cast<std::byte*>(bytes.data()),
                                           bytes.size());
}

}  // namespace

std::optional<SecretBytes> HkdfSha256To32(ByteView input_key, ByteView salt, ByteView info) {
  const std::unique_ptr<EVP_KDF, void (*)(EVP_KDF*)> kdf(
      EVP_KDF_fetch(nullptr, OSSL_KDF_NAME_HKDF, nullptr), EVP_KDF_free);
  if (!kdf) return std::nullopt;
  const std::unique_ptr<EVP_KDF_CTX, void (*)(EVP_KDF_CTX*)> context(EVP_KDF_CTX_new(kdf.get()),
                                                                     EVP_KDF_CTX_free);
  std::string digest = "SHA256";
  const OSSL_PARAM parameters[] = {
      OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest.data(), 0),
      Octets(OSSL_KDF_PARAM_KEY, input_key), Octets(OSSL_KDF_PARAM_SALT, salt),
      Octets(OSSL_KDF_PARAM_INFO, info), OSSL_PARAM_construct_end()};
  SecretBytes out(32);
  auto* bytes = reinterpret_cast<unsigned char*>(out.Reveal().data());
  if (!context || EVP_KDF_derive(context.get(), bytes, out.size(), parameters) != 1) {
    return std::nullopt;
  }
  return out;
}

}  // namespace rescue::secret
