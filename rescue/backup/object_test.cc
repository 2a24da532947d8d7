// Names, and plain bytes from every compression.
#include "rescue/backup/object.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/generators/catch_generators_range.hpp>
#include <random>

#include "rescue/backup/store_testing.h"
#include "rescue/base/units.h"

namespace rescue::backup {
namespace {

using rescue::testing::MemoryFile;
using testing::Compress;

constexpr Compression kAll[] = {Compression::kNone, Compression::kGzip, Compression::kZlib,
                                Compression::kLzw};

Result<Bytes> ReadAll(ByteSource& source, std::size_t piece = 1000) {
  Bytes all;
  Bytes buffer(piece);
  for (;;) {
    ASSIGN_OR_RETURN(const std::size_t count, source.Read(buffer));
    Append(all, ByteView(buffer).first(count));
    if (count < piece) return all;
  }
}

Result<Bytes> Expand(ByteView stored, Compression compression, std::uint64_t limit = kGiB) {
  const auto file = MemoryFile(ToBytes(stored));
  return ReadAll(*OpenObject(*file, {compression, limit, "object"}));
}

Bytes Noise(std::size_t size, unsigned letters) {
  std::minstd_rand random(size + letters);
  Bytes bytes(size);
  for (auto& byte : bytes) byte = static_cast<std::byte>(random() % letters);
  return bytes;
}

TEST_CASE("ReadsWhatAnObjectsNameSays") {
  const auto name = ParseObjectName("Full-00000000-00000318-1795252080.gz.final");
  REQUIRE(name);
  CHECK(*name == ObjectName{ObjectKind::kFull, 0, 318, 1795252080, Compression::kGzip, true});
  CHECK(ParseObjectName("Incr-00000319-00000502-1795252080.Z") ==
        ObjectName{ObjectKind::kDelta, 319, 502, 1795252080, Compression::kLzw, false});
  CHECK(ParseObjectName("Incr-123456789012-9223372036854775807-1.zlib") ==
        ObjectName{ObjectKind::kDelta, 123456789012, 9223372036854775807, 1, Compression::kZlib,
                   false});
}

TEST_CASE("LeavesOtherNamesAlone") {
  const char* const name =
      GENERATE("", "Full", "Full-", "Full---", "README.txt", "Full-00000000-00000310", "Incr-1-2",
               "full-00000000-00000310-1795252067", "Full-00000000-00000310-1795252067.bz2",
               "Full-00000000-00000310-1795252067.final.gz", "Full-00000000-00000310-1795252067-1",
               "Full-00000310-00000309-1795252067", "Full--1-00000310-1795252067",
               "Full-0x1-310-1795252067", "Full-00000000-+310-1795252067",
               "Full-00000000- 310-1795252067", "Full-00000000-9223372036854775808-1795252067",
               "Full-00000000-99999999999999999999999-1795252067",
               "Full-00000000-00000310-18446744073709551616", "Incr-00000000-00000310-1795252067",
               "Full-00000000-00000310-1795252067.gz.gz", "xFull-00000000-00000310-1795252067",
               "Full-00000000-00000310-1795252067.gz.tmp", "Full-00000000-00000310-");
  CAPTURE(name);
  CHECK_FALSE(ParseObjectName(name));
}

TEST_CASE("GivesBackWhatWasCompressed") {
  const auto compression = GENERATE(from_range(kAll));
  CAPTURE(Name(compression));
  for (const std::size_t size :
       std::initializer_list<std::size_t>{0, 1, 2, 255, 999, 1000, 1001, 70'000, 300'000}) {
    for (const unsigned letters : {1U, 2U, 7U, 256U}) {
      CAPTURE(size, letters);
      const Bytes plain = Noise(size, letters);
      const auto expanded = Expand(Compress(plain, compression), compression);
      REQUIRE(expanded);
      CHECK(Equal(*expanded, plain));
    }
  }
}

TEST_CASE("EveryTruncationOfACompressedObjectIsNamed") {
  for (const auto compression : kAll) {
    if (compression == Compression::kNone) continue;
    CAPTURE(Name(compression));
    const Bytes stored = Compress(Noise(900, 5), compression);
    for (std::size_t size = 0; size < stored.size(); ++size) {
      const auto expanded = Expand(ByteView(stored).first(size), compression);
      CAPTURE(size);
      REQUIRE_FALSE(expanded);
      CHECK(expanded.error().code == "object-truncated");
    }
  }
}

TEST_CASE("BytesBehindACompressedObjectAreRefused") {
  for (const auto compression : {Compression::kGzip, Compression::kZlib, Compression::kLzw}) {
    Bytes stored = Compress(Noise(900, 5), compression);
    stored.push_back(std::byte{0});
    const auto expanded = Expand(stored, compression);
    REQUIRE_FALSE(expanded);
    CHECK(expanded.error().code == "object-trailing-bytes");
  }
}

TEST_CASE("AnotherFormatThanTheEndingSaysIsRefused") {
  const Bytes plain = Noise(5000, 200);
  for (const auto stored_as : kAll) {
    for (const auto named : {Compression::kGzip, Compression::kZlib}) {
      if (stored_as == named) continue;
      const auto expanded = Expand(Compress(plain, stored_as), named);
      REQUIRE_FALSE(expanded);
      CHECK(expanded.error().code == "object-corrupt");
    }
  }
}

TEST_CASE("NothingBeyondTheLimitIsDecompressed") {
  const auto compression = GENERATE(from_range(kAll));
  CAPTURE(Name(compression));
  const Bytes stored = Compress(Noise(5000, 3), compression);
  CHECK(Expand(stored, compression, 5000));
  const auto expanded = Expand(stored, compression, 4999);
  REQUIRE_FALSE(expanded);
  CHECK(expanded.error().code == "object-too-large");
}

TEST_CASE("AStreamGoesOnFromWhereItWasCloned") {
  const auto compression = GENERATE(from_range(kAll));
  CAPTURE(Name(compression));
  const Bytes plain = Noise(200'000, 9);
  const auto file = MemoryFile(Compress(plain, compression));
  const auto source = OpenObject(*file, {compression, kGiB, "object"});
  Bytes first(123'457);
  REQUIRE(source->Read(first) == first.size());
  const auto clone = source->Clone();
  REQUIRE(clone);
  for (auto* stream : {clone.get(), source.get()}) {
    const auto rest = ReadAll(*stream);
    REQUIRE(rest);
    CHECK(Equal(*rest, ByteView(plain).subspan(first.size())));
  }
}

TEST_CASE("ACompressedObjectCanBeReadAnywhere") {
  const auto compression = GENERATE(from_range(kAll));
  CAPTURE(Name(compression));
  const Bytes plain = Noise(3'500'000, 40);
  const auto stored = MemoryFile(Compress(plain, compression));
  // Room for two blocks only, so that most reads decompress again.
  const auto file = OpenSeekable(*stored, {compression, kGiB, "object"}, 512 * kKiB);
  REQUIRE(file);
  REQUIRE((*file)->size() == plain.size());
  std::minstd_rand random(3);  // NOLINT(cert-msc32-c,cert-msc51-cpp): can be repeated
  for (int i = 0; i < 60; ++i) {
    const std::size_t offset = random() % (plain.size() + 10);
    Bytes piece(random() % 300'000);
    const auto count = (*file)->ReadAt(offset, piece);
    REQUIRE(count);
    const std::size_t expected =
        offset >= plain.size() ? 0 : std::min(piece.size(), plain.size() - offset);
    REQUIRE(*count == expected);
    const auto at = plain.begin() + static_cast<std::ptrdiff_t>(std::min(offset, plain.size()));
    CHECK(std::equal(at, at + static_cast<std::ptrdiff_t>(expected), piece.begin()));
  }
}

TEST_CASE("DamagedCompressionNeverReadsBeyondItsBuffers") {
  for (const auto compression : {Compression::kGzip, Compression::kZlib, Compression::kLzw}) {
    const Bytes stored = Compress(Noise(3000, 20), compression);
    rescue::testing::ForRandomMutations(stored, 5, 2000, [&](ByteView bytes) {
      const auto expanded = Expand(bytes, compression, 100'000);
      if (expanded) CHECK(expanded->size() <= 100'000);
    });
  }
}

}  // namespace
}  // namespace rescue::backup
