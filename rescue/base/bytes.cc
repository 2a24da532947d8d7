#include "rescue/base/bytes.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include "rescue/base/secret_bytes.h"

namespace rescue {
namespace {

std::optional<std::uint8_t> HexDigit(char c) {
  if (c >= '0' && c <= '9') return static_cast<std::uint8_t>(c - '0');
  if (c >= 'a' && c <= 'f') return static_cast<std::uint8_t>(c - 'a' + 10);
  if (c >= 'A' && c <= 'F') return static_cast<std::uint8_t>(c - 'A' + 10);
  return std::nullopt;
}

bool IsBase64Character(char c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' ||
         c == '/';
}

}  // namespace

// Here and not in the header: inlined with a view of known size, g++ 12 sees an overflow that is
// not there (-Warray-bounds).
void Append(Bytes& to, ByteView more) { to.insert(to.end(), more.begin(), more.end()); }

std::string ToHex(ByteView bytes) {
  static constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  text.reserve(bytes.size() * 2);
  for (std::byte b : bytes) {
    const auto value = std::to_integer<unsigned>(b);
    text.push_back(kDigits[value >> 4]);
    text.push_back(kDigits[value & 15]);
  }
  return text;
}

std::optional<Bytes> ParseHex(std::string_view text) {
  if (text.size() % 2 != 0) return std::nullopt;
  Bytes bytes;
  bytes.reserve(text.size() / 2);
  for (std::size_t i = 0; i < text.size(); i += 2) {
    const auto high = HexDigit(text[i]);
    const auto low = HexDigit(text[i + 1]);
    if (!high || !low) return std::nullopt;
    bytes.push_back(static_cast<std::byte>(*high << 4 | *low));
  }
  return bytes;
}

std::string ToBase64(ByteView bytes) {
  std::string text(4 * ((bytes.size() + 2) / 3) + 1, '\0');
  const int length = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                                     reinterpret_cast<const unsigned char*>(bytes.data()),
                                     static_cast<int>(bytes.size()));
  text.resize(static_cast<std::size_t>(length));
  return text;
}

std::optional<Bytes> ParseBase64(std::string_view text) {
  if (text.ends_with('=')) {
    if (text.size() % 4 != 0) return std::nullopt;
    text.remove_suffix(text.ends_with("==") ? 2 : 1);
  }
  if (text.size() % 4 == 1) return std::nullopt;
  for (char c : text) {
    if (!IsBase64Character(c)) return std::nullopt;
  }
  std::string padded(text);
  while (padded.size() % 4 != 0) padded.push_back('=');
  Bytes bytes(padded.size() / 4 * 3);
  const int length = EVP_DecodeBlock(reinterpret_cast<unsigned char*>(bytes.data()),
                                     reinterpret_cast<const unsigned char*>(padded.data()),
                                     static_cast<int>(padded.size()));
  Wipe({reinterpret_cast<std::byte*>(padded.data()), padded.size()});
  if (length < 0) return std::nullopt;
  bytes.resize(text.size() * 3 / 4);
  return bytes;
}

std::string Printable(ByteView bytes, std::size_t limit) {
  std::string text;
  for (std::byte b : bytes) {
    if (text.size() >= limit) return text + "...";
    const auto value = std::to_integer<unsigned>(b);
    if (value >= 0x20 && value < 0x7f) {
      text.push_back(static_cast<char>(value));
    } else {
      text += fmt::format("\\x{:02x}", value);
    }
  }
  return text;
}

}  // namespace rescue
