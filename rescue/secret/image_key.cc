#include "rescue/secret/image_key.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <tss2/tss2_mu.h>

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "rescue/base/unique_fd.h"
#include "rescue/base/units.h"

namespace rescue::secret {
namespace {

using nlohmann::json;

constexpr std::size_t kMaxFile = 64 * kKiB;
constexpr std::size_t kMaxSignatures = 64;
constexpr std::uint32_t kUsualExponent = 65537;

template <typename T, void (*kFree)(T*)>
struct OpensslFree {
  void operator()(T* value) const { kFree(value); }
};
template <typename T, void (*kFree)(T*)>
using OpensslPtr = std::unique_ptr<T, OpensslFree<T, kFree>>;

tl::unexpected<Error> BadKey(std::string_view why) {
  return Fail(ErrorKind::kCannotUnlock, "bad-image-key",
              fmt::format("read the image's public key: {}", why),
              "give the PEM file of the RSA key that signs the image's PCR states");
}

tl::unexpected<Error> BadSignatures(std::string_view why) {
  return Fail(ErrorKind::kCannotUnlock, "bad-image-signature",
              fmt::format("read the image's PCR signatures: {}", why),
              "build the image with a signing key (image/build does)");
}

// Of an RSA key: one of its two numbers.
std::optional<Bytes> Number(const EVP_PKEY* key, const char* name) {
  BIGNUM* raw = nullptr;
  if (EVP_PKEY_get_bn_param(key, name, &raw) != 1) return std::nullopt;
  const OpensslPtr<BIGNUM, BN_free> number(raw);
  Bytes bytes(static_cast<std::size_t>(BN_num_bytes(raw)));
  (void)BN_bn2bin(raw, reinterpret_cast<unsigned char*>(bytes.data()));
  return bytes;
}

std::optional<PolicyDigest> Digest(std::string_view hex) {
  const auto bytes = ParseHex(hex);
  PolicyDigest digest{};
  if (!bytes || bytes->size() != digest.size()) return std::nullopt;
  std::copy(bytes->begin(), bytes->end(), digest.begin());
  return digest;
}

// Nothing for an entry that lacks a field or has a wrong one.
std::optional<PcrSignature> ReadEntry(const json& entry) {
  const auto text = [&](const char* field) -> std::string {
    const auto found = entry.find(field);
    return found != entry.end() && found->is_string() ? found->get<std::string>() : std::string();
  };
  PcrSignature read;
  const auto signer = Digest(text("pkfp"));
  const auto policy = Digest(text("pol"));
  auto signature = ParseBase64(text("sig"));
  if (!signer || !policy || !signature || signature->empty()) return std::nullopt;
  if (signature->size() > TPM2_MAX_RSA_KEY_BYTES) return std::nullopt;
  return PcrSignature{*signer, *policy, *std::move(signature)};
}

bool IsAboutImagePcr(const json& entry) {
  const auto pcrs = entry.find("pcrs");
  return pcrs != entry.end() && *pcrs == json::array({kPcrImage});
}

// The first of `paths` that exists; small files only.
Result<std::string> ReadFirst(const std::vector<std::string>& paths, std::string_view what) {
  for (const auto& path : paths) {
    const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
    if (!fd && errno == ENOENT) continue;
    if (!fd) return FailErrno("open", path, errno);
    std::string text(kMaxFile + 1, '\0');
    std::size_t have = 0;
    while (have < text.size()) {
      const ssize_t got = ::read(fd.get(), text.data() + have, text.size() - have);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return FailErrno("read", path, errno);
      if (got == 0) break;
      have += static_cast<std::size_t>(got);
    }
    if (have > kMaxFile) return FailErrno("read", path, EFBIG);
    text.resize(have);
    return text;
  }
  return Fail(ErrorKind::kCannotUnlock, "no-image-key",
              fmt::format("read the image's {}: {} does not exist", what, paths.front()),
              "this needs the appliance, booted by UEFI, built with a signing key and with a TPM "
              "attached; elsewhere name the file");
}

}  // namespace

Result<ImageKey> ParseImageKey(std::string_view pem) {
  if (pem.size() > kMaxFile) return BadKey("it is too long");
  const OpensslPtr<BIO, BIO_free_all> input(
      BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  if (!input) return BadKey("no memory");
  const OpensslPtr<EVP_PKEY, EVP_PKEY_free> key(
      PEM_read_bio_PUBKEY(input.get(), nullptr, nullptr, nullptr));
  if (!key) return BadKey("it is not a public key in PEM");
  if (EVP_PKEY_get_base_id(key.get()) != EVP_PKEY_RSA) return BadKey("it is not an RSA key");
  unsigned char* der_raw = nullptr;
  const int der_size = i2d_PublicKey(key.get(), &der_raw);
  if (der_size <= 0) return BadKey("it cannot be encoded");
  const Bytes der = ToBytes(std::as_bytes(std::span(der_raw, static_cast<std::size_t>(der_size))));
  OPENSSL_free(der_raw);
  auto modulus = Number(key.get(), OSSL_PKEY_PARAM_RSA_N);
  const auto exponent = Number(key.get(), OSSL_PKEY_PARAM_RSA_E);
  if (!modulus || !exponent) return BadKey("it lacks a number");
  if (modulus->size() < 256 || modulus->size() > TPM2_MAX_RSA_KEY_BYTES || exponent->size() > 4) {
    return BadKey(
        fmt::format("{} bits, or its exponent, are not what a TPM takes", modulus->size() * 8));
  }
  ImageKey read{Sha256Of({der}), *std::move(modulus), 0};
  for (const std::byte byte : *exponent) {
    read.exponent = read.exponent << 8 | std::to_integer<std::uint32_t>(byte);
  }
  return read;
}

Result<std::vector<PcrSignature>> ParsePcrSignatures(std::string_view text) {
  if (text.size() > kMaxFile) return BadSignatures("it is too long");
  const json document = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!document.is_object()) return BadSignatures("it is not a JSON object");
  const auto bank = document.find("sha256");
  if (bank == document.end() || !bank->is_array())
    return BadSignatures("it has no list \"sha256\"");
  if (bank->size() > kMaxSignatures) return BadSignatures("it has too many entries");
  std::vector<PcrSignature> signatures;
  for (const json& entry : *bank) {
    if (!entry.is_object()) return BadSignatures("an entry is not an object");
    if (!IsAboutImagePcr(entry)) continue;
    auto signature = ReadEntry(entry);
    if (!signature) return BadSignatures("an entry has a wrong pkfp, pol or sig");
    signatures.push_back(*std::move(signature));
  }
  if (signatures.empty()) return BadSignatures("none is about PCR 11");
  return signatures;
}

TPM2B_PUBLIC PublicArea(const ImageKey& key) {
  TPM2B_PUBLIC area{};
  area.publicArea.type = TPM2_ALG_RSA;
  area.publicArea.nameAlg = TPM2_ALG_SHA256;
  area.publicArea.objectAttributes = TPMA_OBJECT_SIGN_ENCRYPT | TPMA_OBJECT_USERWITHAUTH;
  TPMS_RSA_PARMS& rsa = area.publicArea.parameters.rsaDetail;
  rsa.symmetric.algorithm = TPM2_ALG_NULL;
  rsa.scheme.scheme = TPM2_ALG_NULL;
  rsa.keyBits = static_cast<TPMI_RSA_KEY_BITS>(key.modulus.size() * 8);
  // Zero stands for the usual one, and some TPMs take nothing else for it.
  rsa.exponent = key.exponent == kUsualExponent ? 0 : key.exponent;
  TPM2B_PUBLIC_KEY_RSA& modulus = area.publicArea.unique.rsa;
  modulus.size = static_cast<UINT16>(key.modulus.size());
  std::memcpy(modulus.buffer, key.modulus.data(), key.modulus.size());
  return area;
}

Result<TpmName> NameOf(const ImageKey& key) {
  const TPM2B_PUBLIC area = PublicArea(key);
  std::array<uint8_t, sizeof(TPMT_PUBLIC)> wire{};
  std::size_t size = 0;
  const TSS2_RC code =
      Tss2_MU_TPMT_PUBLIC_Marshal(&area.publicArea, wire.data(), wire.size(), &size);
  if (code != TSS2_RC_SUCCESS) return FailTpm("name the image's key", code);
  const PolicyDigest digest = Sha256Of({std::as_bytes(std::span(wire).first(size))});
  TpmName name{std::byte{TPM2_ALG_SHA256 >> 8}, std::byte{TPM2_ALG_SHA256 & 0xff}};
  std::copy(digest.begin(), digest.end(), name.begin() + 2);
  return name;
}

Result<ImageKey> ReadImageKey(const std::string& path) {
  const std::vector<std::string> usual = {"/.extra/tpm2-pcr-public-key.pem",
                                          "/run/systemd/tpm2-pcr-public-key.pem"};
  ASSIGN_OR_RETURN(const std::string text,
                   ReadFirst(path.empty() ? usual : std::vector{path}, "public key"));
  return ParseImageKey(text);
}

Result<std::vector<PcrSignature>> ReadPcrSignatures(const std::string& path) {
  const std::vector<std::string> usual = {"/.extra/tpm2-pcr-signature.json",
                                          "/run/systemd/tpm2-pcr-signature.json"};
  ASSIGN_OR_RETURN(const std::string text,
                   ReadFirst(path.empty() ? usual : std::vector{path}, "PCR signatures"));
  return ParsePcrSignatures(text);
}

}  // namespace rescue::secret
