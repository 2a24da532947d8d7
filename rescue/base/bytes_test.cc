#include "rescue/base/bytes.h"

#include <catch2/catch_test_macros.hpp>

#include "rescue/base/endian.h"

namespace rescue {

TEST_CASE("Hexadecimal goes there and back, and foreign text is refused") {
  const Bytes bytes = {std::byte{0}, std::byte{0x1f}, std::byte{0xff}};
  CHECK(ToHex(bytes) == "001fff");
  CHECK(ParseHex("001fFF") == bytes);
  CHECK(ParseHex("") == Bytes{});
  CHECK_FALSE(ParseHex("0"));
  CHECK_FALSE(ParseHex("0g"));
  CHECK_FALSE(ParseHex(" 0"));
}

TEST_CASE("Base64 agrees with the vectors of RFC 4648") {
  const std::pair<const char*, const char*> vectors[] = {{"", ""},
                                                         {"f", "Zg=="},
                                                         {"fo", "Zm8="},
                                                         {"foo", "Zm9v"},
                                                         {"foob", "Zm9vYg=="},
                                                         {"fooba", "Zm9vYmE="},
                                                         {"foobar", "Zm9vYmFy"}};
  for (const auto& [plain, encoded] : vectors) {
    CHECK(ToBase64(AsBytes(plain)) == encoded);
    const auto decoded = ParseBase64(encoded);
    REQUIRE(decoded);
    CHECK(AsText(*decoded) == plain);
  }
}

TEST_CASE("Base64 may lack its padding, but nothing else") {
  CHECK(AsText(*ParseBase64("Zm9vYg")) == "foob");
  for (const char* wrong :
       {"Z", "Zm9vY", "Zg===", "====", "=", "Zg=", "Z=g=", "Zm9v\n", "Zm 9v", "Zm9_", "Zm9-"}) {
    CAPTURE(wrong);
    CHECK_FALSE(ParseBase64(wrong));
  }
}

TEST_CASE("Text from a disk cannot carry control characters into a message") {
  CHECK(Printable(std::string_view("a\n\x1b[1m\x7f\xff")) == "a\\x0a\\x1b[1m\\x7f\\xff");
  CHECK(Printable(std::string_view("abcdef"), 3) == "abc...");
  CHECK(Printable(std::string_view("abc"), 3) == "abc");
}

TEST_CASE("A reader never passes the end and stays where it was") {
  const Bytes bytes = *ParseHex("0102030405");
  ByteReader reader(bytes);
  CHECK(reader.Read<ul16>()->Get() == 0x0201);
  CHECK_FALSE(reader.Read<ul32>());
  CHECK(reader.position() == 2);
  CHECK(reader.Read<ub16>()->Get() == 0x0304);
  CHECK_FALSE(reader.Take(2));
  CHECK(reader.left() == 1);
  CHECK(reader.Take(1));
  CHECK(reader.Take(0));
  CHECK_FALSE(reader.Read<ul16>());
  CHECK_FALSE(reader.Take(static_cast<std::size_t>(-1)));
}

TEST_CASE("A slice lies inside or is refused, also when offset and count overflow") {
  const Bytes bytes(10);
  CHECK(Slice(bytes, 0, 10)->size() == 10);
  CHECK(Slice(bytes, 10, 0)->empty());
  CHECK_FALSE(Slice(bytes, 11, 0));
  CHECK_FALSE(Slice(bytes, 5, 6));
  CHECK_FALSE(Slice(bytes, 5, ~std::uint64_t{0}));
  CHECK_FALSE(Slice(bytes, ~std::uint64_t{0}, 5));
}

TEST_CASE("Endian integers lie on disk as their name says") {
  struct Disk {
    ul16 a;
    ub16 b;
    ul32 c;
    ub64 d;
  };
  const Disk disk{0x0102, 0x0102, 0x01020304, 0x0102030405060708};
  CHECK(ToHex(std::as_bytes(std::span(&disk, 1))) ==
        "0201010204030201"
        "0102030405060708");
  CHECK(disk.c == 0x01020304U);
  CHECK(disk.d == 0x0102030405060708U);
  CHECK(ul64(~std::uint64_t{0}).Get() == ~std::uint64_t{0});
}

}  // namespace rescue
