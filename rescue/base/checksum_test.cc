#include "rescue/base/checksum.h"

#include <catch2/catch_test_macros.hpp>

namespace rescue {

TEST_CASE("CRC-32C agrees with RFC 3720 and can be continued") {
  CHECK(Crc32c(0, {}) == 0);
  CHECK(Crc32c(0, AsBytes("123456789")) == 0xe3069283);
  CHECK(Crc32c(0, Bytes(32)) == 0x8a9136aa);
  CHECK(Crc32c(0, Bytes(32, std::byte{0xff})) == 0x62a8ab43);
  CHECK(Crc32c(Crc32c(0, AsBytes("1234")), AsBytes("56789")) == 0xe3069283);
}

TEST_CASE("FNV-1a agrees with its authors' vectors") {
  CHECK(Fnv1a64({}) == 0xcbf29ce484222325);
  CHECK(Fnv1a64(AsBytes("a")) == 0xaf63dc4c8601ec8c);
  CHECK(Fnv1a64(AsBytes("foobar")) == 0x85944171f73967e8);
}

TEST_CASE("SHA-256 agrees with FIPS 180, in one piece and in many") {
  const std::string abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
  CHECK(ToHex(Sha256(AsBytes("abc"))) == abc);
  Sha256Hasher hasher;
  hasher.Update(AsBytes("a"));
  Sha256Hasher moved = std::move(hasher);
  moved.Update({});
  moved.Update(AsBytes("bc"));
  CHECK(ToHex(moved.Finish()) == abc);
}

TEST_CASE("Sha1OfTheStandardsExample") {
  CHECK(ToHex(Sha1(AsBytes("abc"))) == "a9993e364706816aba3e25717850c26c9cd0d89d");  // FIPS 180-4
}

}  // namespace rescue
