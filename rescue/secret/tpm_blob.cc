#include "rescue/secret/tpm_blob.h"

#include <fmt/format.h>

#include <algorithm>

#include "rescue/base/endian.h"

namespace rescue::secret {
namespace {

constexpr std::string_view kMagic = "etcdSEAL";
constexpr std::uint16_t kVersion = 1;
constexpr std::uint8_t kFlagPin = 1;
constexpr std::uint8_t kFlagImage = 2;
constexpr std::uint8_t kFlagIdentity = 4;
constexpr std::size_t kMaxLabel = 64;
constexpr std::size_t kMaxArea = 768;
constexpr unsigned kPcrCount = 24;

// FORMAT.md, "Header".
struct Header {
  std::array<char, 8> magic{};
  ub16 version = kVersion;
  ub16 size;  // of the whole file
  std::uint8_t kind = 0;
  std::uint8_t flags = 0;
  ub32 literal;  // bit N: PCR N
};
static_assert(sizeof(Header) == 18);

tl::unexpected<Error> Bad(std::string_view why) {
  return Fail(ErrorKind::kCannotUnlock, "bad-tpm-blob",
              fmt::format("read the sealed secret: {}", why),
              "seal the secret again with seal-secret, or supply it in another way");
}

template <typename T>
ByteView BytesOf(const T& value) {
  return std::as_bytes(std::span(&value, 1));
}

void AppendSized(Bytes& to, ByteView field) {
  const ub16 size = static_cast<std::uint16_t>(field.size());
  Append(to, BytesOf(size));
  Append(to, field);
}

// Reads one field after the other; after the first that is missing, `ok` is false.
struct FieldReader {
  ByteReader reader;
  bool ok = true;

  template <std::size_t N>
  std::array<std::byte, N> Fixed() {
    std::array<std::byte, N> field{};
    const auto bytes = reader.Take(N);
    if (bytes) std::copy(bytes->begin(), bytes->end(), field.begin());
    ok = ok && bytes.has_value();
    return field;
  }

  ByteView Sized(std::size_t limit) {
    const auto size = reader.Read<ub16>();
    const auto bytes =
        size && *size <= limit ? reader.Take(*size) : std::optional<ByteView>(std::nullopt);
    ok = ok && bytes.has_value();
    return bytes.value_or(ByteView{});
  }
};

bool IsKnown(std::uint8_t kind) {
  return kind >= static_cast<std::uint8_t>(SealedKind::kMasterSecret) &&
         kind <= static_cast<std::uint8_t>(SealedKind::kPassphrase);
}

// Everything between header and checksum.
Result<SealedBlob> ReadFields(const Header& header, ByteView fields) {
  FieldReader reader{ByteReader(fields)};
  SealedBlob blob;
  blob.kind = static_cast<SealedKind>(header.kind);
  blob.pin = (header.flags & kFlagPin) != 0;
  for (unsigned number = 0; number < kPcrCount; ++number) {
    if (((header.literal >> number) & 1) == 0) continue;
    blob.literal[number] = reader.Fixed<sizeof(PcrValue)>();
  }
  if ((header.flags & kFlagImage) != 0) blob.image = reader.Fixed<sizeof(PcrValue)>();
  blob.signer = reader.Fixed<sizeof(PolicyDigest)>();
  blob.storage_key = reader.Fixed<sizeof(TpmName)>();
  if ((header.flags & kFlagIdentity) != 0) blob.identity = reader.Fixed<sizeof(TpmName)>();
  blob.label = AsText(reader.Sized(kMaxLabel));
  blob.public_area = ToBytes(reader.Sized(kMaxArea));
  blob.private_area = ToBytes(reader.Sized(kMaxArea));
  if (!reader.ok) return Bad("a field runs past its end");
  if (reader.reader.left() != 0) return Bad("there is more in it than its fields");
  if (blob.public_area.empty() || blob.private_area.empty())
    return Bad("the sealed object is missing");
  return blob;
}

}  // namespace

std::string_view Name(SealedKind kind) {
  switch (kind) {
    case SealedKind::kMasterSecret:
      return "master secret";
    case SealedKind::kDiskKey:
      return "disk key";
    case SealedKind::kPassphrase:
      return "passphrase";
  }
  return "secret";
}

Bytes EncodeBlob(const SealedBlob& blob) {
  Bytes fields;
  Header header;
  std::copy(kMagic.begin(), kMagic.end(), header.magic.begin());
  header.kind = static_cast<std::uint8_t>(blob.kind);
  header.flags =
      static_cast<std::uint8_t>((blob.pin ? kFlagPin : 0) | (blob.image ? kFlagImage : 0) |
                                (blob.identity ? kFlagIdentity : 0));
  std::uint32_t literal = 0;
  for (const auto& [number, value] : blob.literal) {
    literal |= 1U << number;
    Append(fields, value);
  }
  header.literal = literal;
  if (blob.image) Append(fields, *blob.image);
  Append(fields, blob.signer);
  Append(fields, blob.storage_key);
  if (blob.identity) Append(fields, *blob.identity);
  AppendSized(fields, AsBytes(blob.label));
  AppendSized(fields, blob.public_area);
  AppendSized(fields, blob.private_area);
  header.size = static_cast<std::uint16_t>(sizeof(header) + fields.size() + sizeof(PolicyDigest));
  Bytes file = ToBytes(BytesOf(header));
  Append(file, fields);
  Append(file, Sha256Of({file}));
  return file;
}

Result<SealedBlob> DecodeBlob(ByteView bytes) {
  const auto header = ByteReader(bytes).Read<Header>();
  if (!header || std::string_view(header->magic.data(), header->magic.size()) != kMagic) {
    return Bad("this is not a secret that etcd-rescue sealed");
  }
  if (header->version != kVersion) {
    return Bad(fmt::format("its format is version {}, this program knows {}", header->version.Get(),
                           kVersion));
  }
  if (bytes.size() > kMaxBlob || header->size < sizeof(Header) + sizeof(PolicyDigest) ||
      header->size > bytes.size()) {
    return Bad(
        fmt::format("{} bytes, it says {}: it was cut off", bytes.size(), header->size.Get()));
  }
  // What follows is not part of it: an NV index may be larger than what it holds.
  const ByteView file = bytes.first(header->size);
  const ByteView covered = file.first(file.size() - sizeof(PolicyDigest));
  if (!Equal(Sha256Of({covered}), file.last(sizeof(PolicyDigest)))) {
    return Bad("its checksum is wrong: it is damaged");
  }
  constexpr std::uint8_t kFlags = kFlagPin | kFlagImage | kFlagIdentity;
  if (!IsKnown(header->kind) || (header->flags & ~kFlags) != 0) {
    return Bad("it needs a newer etcd-rescue");
  }
  if ((header->literal >> kPcrKernelConfig & 1) == 0 || header->literal >> kPcrCount != 0) {
    return Bad("it does not bind PCR 12");
  }
  return ReadFields(*header, covered.subspan(sizeof(Header)));
}

}  // namespace rescue::secret
