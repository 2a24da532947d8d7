// A secret that is sealed to a TPM, as a blob or as text, and the PCR signatures of an image.
//
// Promise: what DecodeBlob accepts, EncodeBlob writes to the same bytes. The mutator computes size
// and checksum anew, and sometimes wraps the blob into text.
#include "rescue/base/endian.h"
#include "rescue/secret/image_key.h"
#include "rescue/secret/tpm_places.h"
#include "tests/fuzz/fuzz.h"

namespace rescue::secret {
namespace {

using fuzz::Random;

constexpr std::size_t kSizeAt = 10;
constexpr std::size_t kRoom = 256;

void CheckSignatures(ByteView input) {
  const auto signatures = ParsePcrSignatures(AsText(input));
  if (!signatures) {
    PROMISE(signatures.error().code == "bad-image-signature");
    return;
  }
  PROMISE(!signatures->empty());
  for (const auto& one : *signatures) {
    PROMISE(!one.signature.empty() && one.signature.size() <= TPM2_MAX_RSA_KEY_BYTES);
  }
}

void Check(ByteView input) {
  CheckSignatures(input);
  const Bytes bytes = UnarmorBlob(input);
  const auto blob = DecodeBlob(bytes);
  if (!blob) {
    PROMISE(blob.error().code == "bad-tpm-blob");
    PROMISE(blob.error().message.find('\n') == std::string::npos);
    return;
  }
  const Bytes written = EncodeBlob(*blob);
  PROMISE(written.size() <= bytes.size());
  PROMISE(Equal(written, ByteView(bytes).first(written.size())));
  PROMISE(DecodeBlob(UnarmorBlob(AsBytes(ArmorBlob(written)))) == *blob);
}

void Repair(Bytes& blob) {
  if (blob.size() < kSizeAt + 2 + sizeof(PolicyDigest)) return;
  const ub16 size = static_cast<std::uint16_t>(blob.size());
  std::memcpy(blob.data() + kSizeAt, &size, sizeof(size));
  const std::size_t covered = blob.size() - sizeof(PolicyDigest);
  const PolicyDigest digest = Sha256Of({ByteView(blob).first(covered)});
  std::memcpy(blob.data() + covered, digest.data(), digest.size());
}

}  // namespace
}  // namespace rescue::secret

using namespace rescue;  // NOLINT(google-build-using-namespace): the hooks are global

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  secret::Check(fuzz::Input(data, size));
  return 0;
}

std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max_size,
                                    unsigned int seed) {
  fuzz::Random random(seed);
  if (fuzz::Pick(random, 4) == 0) return LLVMFuzzerMutate(data, size, max_size);
  Bytes blob = secret::UnarmorBlob(fuzz::Input(data, size));
  fuzz::Mutate(blob, secret::kRoom);
  secret::Repair(blob);
  if (fuzz::Pick(random, 8) == 0) blob = ToBytes(AsBytes(secret::ArmorBlob(blob)));
  return fuzz::Output(blob, data, max_size);
}
