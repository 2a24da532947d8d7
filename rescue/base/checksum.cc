#include "rescue/base/checksum.h"

#include <isa-l/crc.h>
#include <openssl/evp.h>

#include <algorithm>
#include <limits>
#include <new>

namespace rescue {

std::uint32_t Crc32c(std::uint32_t crc, ByteView bytes) {
  // The library takes an int length and neither pre- nor post-inverts.
  std::uint32_t state = ~crc;
  while (!bytes.empty()) {
    const std::size_t now = std::min<std::size_t>(bytes.size(), std::size_t{1} << 30);
    // The library's signature lacks const; it only reads.
    auto* data = reinterpret_cast<unsigned char*>(const_cast<std::byte*>(bytes.data()));
    state = crc32_iscsi(data, static_cast<int>(now), state);
    bytes = bytes.subspan(now);
  }
  return ~state;
}

std::uint64_t Fnv1a64(ByteView bytes) {
  std::uint64_t hash = 0xcbf29ce484222325;  // FNV offset basis
  for (std::byte b : bytes) {
    hash ^= std::to_integer<std::uint64_t>(b);
    hash *= 0x100000001b3;  // FNV prime
  }
  return hash;
}

struct Sha256Hasher::Context {
  EVP_MD_CTX* md = EVP_MD_CTX_new();
  Context() {
    if (md == nullptr || EVP_DigestInit_ex(md, EVP_sha256(), nullptr) != 1) throw std::bad_alloc();
  }
  ~Context() { EVP_MD_CTX_free(md); }
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;
};

Sha256Hasher::Sha256Hasher() : context_(std::make_unique<Context>()) {}
Sha256Hasher::~Sha256Hasher() = default;
Sha256Hasher::Sha256Hasher(Sha256Hasher&&) noexcept = default;
Sha256Hasher& Sha256Hasher::operator=(Sha256Hasher&&) noexcept = default;

void Sha256Hasher::Update(ByteView bytes) {
  EVP_DigestUpdate(context_->md, bytes.data(), bytes.size());
}

Sha256Digest Sha256Hasher::Finish() {
  Sha256Digest digest;
  EVP_DigestFinal_ex(context_->md, reinterpret_cast<unsigned char*>(digest.data()), nullptr);
  return digest;
}

Sha256Digest Sha256(ByteView bytes) {
  Sha256Hasher hasher;
  hasher.Update(bytes);
  return hasher.Finish();
}

Sha1Digest Sha1(ByteView bytes) {
  Sha1Digest digest;
  if (EVP_Digest(bytes.data(), bytes.size(), reinterpret_cast<unsigned char*>(digest.data()),
                 nullptr, EVP_sha1(), nullptr) != 1) {
    throw std::bad_alloc();
  }
  return digest;
}

}  // namespace rescue
