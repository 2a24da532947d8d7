#include "rescue/secret/tpm_places.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "rescue/base/unique_fd.h"
#include "rescue/secret/esp.h"
#include "rescue/secret/tpm_nv.h"

namespace rescue::secret {
namespace {

constexpr std::string_view kBegin = "-----BEGIN ETCD-RESCUE TPM SECRET-----";
constexpr std::string_view kEnd = "-----END ETCD-RESCUE TPM SECRET-----";
constexpr std::size_t kLine = 64;
// A blob as text is a third longer, with line breaks of two bytes.
constexpr std::size_t kMaxFile = 2 * kMaxBlob;

// Nothing when there is no such file; an error when it is there and cannot be a blob.
Result<std::optional<Bytes>> ReadSmall(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
  if (!fd && errno == ENOENT) return std::nullopt;
  if (!fd) return FailErrno("read the sealed secret", Printable(path), errno);
  Bytes content(kMaxFile + 1);
  std::size_t have = 0;
  while (have < content.size()) {
    const ssize_t got = ::read(fd.get(), content.data() + have, content.size() - have);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return FailErrno("read the sealed secret", Printable(path), errno);
    if (got == 0) break;
    have += static_cast<std::size_t>(got);
  }
  if (have > kMaxFile) return FailErrno("read the sealed secret", Printable(path), EFBIG);
  content.resize(have);
  return std::optional<Bytes>(std::move(content));
}

FoundBlob Found(std::string place, const Bytes& content) {
  return {std::move(place), UnarmorBlob(content)};
}

}  // namespace

std::string ArmorBlob(ByteView blob) {
  std::string text = std::string(kBegin) + "\n";
  const std::string digits = ToBase64(blob);
  for (std::size_t at = 0; at < digits.size(); at += kLine) text += digits.substr(at, kLine) + "\n";
  return text + std::string(kEnd) + "\n";
}

Bytes UnarmorBlob(ByteView bytes) {
  const std::string_view text = AsText(bytes);
  const std::size_t begin = text.find(kBegin);
  const std::size_t end = text.find(kEnd);
  if (begin == std::string_view::npos || end == std::string_view::npos || end < begin) {
    return ToBytes(bytes);
  }
  std::string digits(text.substr(begin + kBegin.size(), end - begin - kBegin.size()));
  std::erase_if(digits, [](char c) { return std::strchr(" \t\r\n", c) != nullptr; });
  auto blob = ParseBase64(digits);
  return blob ? *std::move(blob) : ToBytes(bytes);
}

Result<FoundBlob> FindBlob(const Tpm& tpm, const std::string& file,
                           const std::string& credentials) {
  std::string looked;
  if (!file.empty() || !credentials.empty()) {
    const std::string path = file.empty() ? credentials + "/" + kBlobCredential : file;
    ASSIGN_OR_RETURN(const auto content, ReadSmall(path));
    const std::string place =
        file.empty() ? std::string("the credential ") + kBlobCredential : "the file " + file;
    if (content) return Found(place, *content);
    looked = place;
  }
  if (file.empty()) {
    const auto esp = FindEsp();
    if (esp) {
      ASSIGN_OR_RETURN(const auto content, ReadFromEsp(*esp, kBlobOnEsp, kMaxFile));
      if (content) return Found(std::string(kBlobOnEsp) + " on the ESP", *content);
    }
    ASSIGN_OR_RETURN(const auto content, ReadFromNv(tpm));
    if (content) return Found(fmt::format("the TPM's NV index 0x{:08x}", kBlobIndex), *content);
    looked += fmt::format("{}{}, the TPM's NV index 0x{:08x}", looked.empty() ? "" : ", ",
                          esp ? std::string(kBlobOnEsp) + " on the ESP" : "(no ESP was found)",
                          kBlobIndex);
  }
  return Fail(ErrorKind::kCannotUnlock, "no-tpm-blob",
              fmt::format("find a sealed secret: there is none in {}", Printable(looked, 300)),
              "seal one first (seal-secret), or supply the secret in another way");
}

}  // namespace rescue::secret
