#include "rescue/secret/payload.h"

#include <fmt/format.h>

#include <algorithm>

namespace rescue::secret {
namespace {

// One byte of version, one of the length of the first part; the rest is the second part.
constexpr std::byte kVersion{1};
constexpr std::size_t kHead = 2;

struct Parts {
  ByteView first;
  ByteView second;
};

Parts PartsOf(const Secret& secret) {
  if (const auto* master = std::get_if<MasterSecret>(&secret)) {
    return {master->key.Reveal(), master->salt.Reveal()};
  }
  if (const auto* passphrase = std::get_if<Passphrase>(&secret)) {
    return {passphrase->bytes.Reveal(), {}};
  }
  return {std::get<DiskKey>(secret).bytes.Reveal(), {}};
}

tl::unexpected<Error> Bad() {
  return Fail(ErrorKind::kCannotUnlock, "bad-tpm-blob",
              "unseal the secret: the TPM gave bytes that are no secret of this program",
              "seal the secret again with seal-secret, or supply it in another way");
}

}  // namespace

SealedKind KindOf(const Secret& secret) {
  if (std::holds_alternative<MasterSecret>(secret)) return SealedKind::kMasterSecret;
  if (std::holds_alternative<Passphrase>(secret)) return SealedKind::kPassphrase;
  return SealedKind::kDiskKey;
}

Result<SecretBytes> EncodePayload(const Secret& secret) {
  const Parts parts = PartsOf(secret);
  const std::size_t size = kHead + parts.first.size() + parts.second.size();
  if (size > kMaxPayload || parts.first.size() > 0xff) {
    return Fail(ErrorKind::kUsage, "secret-too-long",
                fmt::format("seal the secret: it has {} bytes, a TPM seals at most {}",
                            size - kHead, kMaxPayload - kHead),
                "seal the disk key instead (--disk-key LUKS-UUID)");
  }
  SecretBytes payload(size);
  const auto bytes = payload.Reveal();
  bytes[0] = kVersion;
  bytes[1] = static_cast<std::byte>(parts.first.size());
  const auto rest = std::copy(parts.first.begin(), parts.first.end(), bytes.begin() + kHead);
  std::copy(parts.second.begin(), parts.second.end(), rest);
  return payload;
}

Result<Secret> DecodePayload(SealedKind kind, ByteView payload) {
  if (payload.size() <= kHead || payload[0] != kVersion) return Bad();
  const auto length = std::to_integer<std::size_t>(payload[1]);
  const ByteView rest = payload.subspan(kHead);
  if (length == 0 || length > rest.size()) return Bad();
  const ByteView first = rest.first(length);
  const ByteView second = rest.subspan(length);
  switch (kind) {
    case SealedKind::kMasterSecret:
      if (second.empty()) return Bad();
      return MasterSecret{SecretBytes::CopyOf(first), SecretBytes::CopyOf(second)};
    case SealedKind::kDiskKey:
      if (first.size() != kDiskKeySize || !second.empty()) return Bad();
      return DiskKey{SecretBytes::CopyOf(first)};
    case SealedKind::kPassphrase:
      if (!second.empty()) return Bad();
      return Passphrase{SecretBytes::CopyOf(first)};
  }
  return Bad();
}

}  // namespace rescue::secret
