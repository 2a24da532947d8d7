// The checksums and digests of the formats we read, and SHA-256 for fingerprints.
#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "rescue/base/bytes.h"

namespace rescue {

// CRC-32C (Castagnoli) of `bytes`, continued from `crc` (0 at the start): the chaining that Go's
// crc32.Update does with crc32.MakeTable(crc32.Castagnoli).
std::uint32_t Crc32c(std::uint32_t crc, ByteView bytes);

// FNV-1a, 64 bits (bbolt's meta checksum).
std::uint64_t Fnv1a64(ByteView bytes);

using Sha256Digest = std::array<std::byte, 32>;
Sha256Digest Sha256(ByteView bytes);

// etcd derives member and cluster IDs with it; never for security.
using Sha1Digest = std::array<std::byte, 20>;
Sha1Digest Sha1(ByteView bytes);

// SHA-256 of a stream.
class Sha256Hasher {
 public:
  Sha256Hasher();
  ~Sha256Hasher();
  Sha256Hasher(Sha256Hasher&&) noexcept;
  Sha256Hasher& operator=(Sha256Hasher&&) noexcept;
  void Update(ByteView bytes);
  Sha256Digest Finish();  // once

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

}  // namespace rescue
