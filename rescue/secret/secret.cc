#include "rescue/secret/secret.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <optional>
#include <string>

#include "rescue/secret/hkdf_sha256_32.h"
#include "rescue/secret/scan.h"

namespace rescue::secret {
namespace {

// Constellation makes both 32 bytes long (internal/crypto, MasterSecretLengthDefault and
// RNGLengthDefault) and never shorter than 16 (MasterSecretLengthMin).
constexpr std::size_t kMinPart = 16;
constexpr std::size_t kMaxPart = 1024;
constexpr std::string_view kUriScheme = "kms://cluster-kms?";
constexpr std::string_view kForms =
    R"(give {"key": ..., "salt": ...}, a kms://cluster-kms?key=..&salt=.. URI, or the disk key of 32 )"
    "bytes as hexadecimal or base64";

tl::unexpected<Error> Bad(std::string_view what) {
  return Fail(ErrorKind::kCannotUnlock, "bad-secret", fmt::format("read the secret: {}", what),
              std::string(kForms));
}

bool IsSpace(std::byte byte) { return std::isspace(std::to_integer<unsigned char>(byte)) != 0; }

// Pasting from a terminal or a mail breaks lines anywhere; none of the forms has white space that
// means something.
void DropSpace(SecretBytes& text) {
  const auto bytes = text.Reveal();
  const auto end = std::remove_if(bytes.begin(), bytes.end(), IsSpace);
  text.Shrink(static_cast<std::size_t>(end - bytes.begin()));
}

Status CheckPart(const SecretBytes& part, std::string_view name) {
  if (part.size() >= kMinPart && part.size() <= kMaxPart) return {};
  return Bad(fmt::format("\"{}\" has {} bytes; a master secret's part has {} to {}", name,
                         part.size(), kMinPart, kMaxPart));
}

Result<Secret> Master(std::optional<ByteView> key_text, std::optional<ByteView> salt_text) {
  if (!key_text) return Bad("there is no \"key\"");
  if (!salt_text) return Bad("there is no \"salt\"");
  auto key = DecodeBase64(*key_text);
  if (!key) return Bad("\"key\" is not base64");
  auto salt = DecodeBase64(*salt_text);
  if (!salt) return Bad("\"salt\" is not base64");
  RETURN_IF_ERROR(CheckPart(*key, "key"));
  RETURN_IF_ERROR(CheckPart(*salt, "salt"));
  return MasterSecret{*std::move(key), *std::move(salt)};
}

Result<Secret> ParseJson(ByteView text) {
  const auto fields = ScanFlatJson(text);
  if (!fields) return Bad("it looks like JSON, but is not one object with text values");
  std::optional<ByteView> key;
  std::optional<ByteView> salt;
  for (const auto& [name, value] : *fields) {
    std::optional<ByteView>* slot = nullptr;
    if (AsText(name) == "key") slot = &key;
    if (AsText(name) == "salt") slot = &salt;
    if (slot == nullptr) return Bad("the JSON object has a field besides \"key\" and \"salt\"");
    if (slot->has_value()) return Bad("the JSON object has a field twice");
    *slot = value;
  }
  return Master(key, salt);
}

Result<Secret> ParseUri(SecretBytes& text) {
  // Percent signs come from a URI that was escaped once more on its way ("%3D" for "=").
  if (!UnescapePercent(text)) return Bad("the URI has a broken % sequence");
  std::optional<ByteView> key;
  std::optional<ByteView> salt;
  ByteView rest = std::as_const(text).Reveal().subspan(kUriScheme.size());
  while (!rest.empty()) {
    const auto end = std::find(rest.begin(), rest.end(), std::byte{'&'});
    const ByteView field = rest.first(static_cast<std::size_t>(end - rest.begin()));
    rest = rest.subspan(std::min(field.size() + 1, rest.size()));
    const std::string_view shown = AsText(field);
    if (shown.starts_with("key=") && !key) {
      key = field.subspan(4);
    } else if (shown.starts_with("salt=") && !salt) {
      salt = field.subspan(5);
    } else {
      return Bad("the URI has an unexpected or repeated parameter");
    }
  }
  return Master(key, salt);
}

}  // namespace

Result<Secret> ParseSecret(SecretBytes text) {
  DropSpace(text);
  if (text.empty()) return Bad("it is empty");
  const ByteView bytes = std::as_const(text).Reveal();
  if (bytes.front() == std::byte{'{'}) return ParseJson(bytes);
  const std::string_view shown = AsText(bytes);
  if (shown.starts_with(kUriScheme)) return ParseUri(text);
  if (shown.find("://") != std::string_view::npos) {
    return Bad("this URI is not of the cluster's own KMS; other key services cannot be asked");
  }
  // 64 hexadecimal digits are also valid base64 (of 48 bytes), so hexadecimal goes first.
  if (auto key = DecodeHex(bytes); key && key->size() == kDiskKeySize) {
    return DiskKey{*std::move(key)};
  }
  if (auto key = DecodeBase64(bytes); key && key->size() == kDiskKeySize) {
    return DiskKey{*std::move(key)};
  }
  return Bad(fmt::format("{} characters in no known form", bytes.size()));
}

Result<DiskKey> DeriveDiskKey(const MasterSecret& master, std::string_view luks_uuid) {
  std::string info = "key-" + std::string(luks_uuid);
  std::transform(info.begin(), info.end(), info.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  auto key = HkdfSha256To32(master.key.Reveal(), master.salt.Reveal(), AsBytes(info));
  if (!key) {
    return Fail(ErrorKind::kOther, "key-derivation",
                fmt::format("derive the key of disk {}: OpenSSL's HKDF failed", luks_uuid),
                "check the OpenSSL installation (openssl version)");
  }
  return DiskKey{*std::move(key)};
}

Result<DiskKey> KeyFor(const Secret& secret, std::string_view luks_uuid) {
  if (const auto* master = std::get_if<MasterSecret>(&secret)) {
    return DeriveDiskKey(*master, luks_uuid);
  }
  if (const auto* passphrase = std::get_if<Passphrase>(&secret)) {
    return DiskKey{SecretBytes::CopyOf(passphrase->bytes.Reveal())};
  }
  return DiskKey{SecretBytes::CopyOf(std::get<DiskKey>(secret).bytes.Reveal())};
}

}  // namespace rescue::secret
