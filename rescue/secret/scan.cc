#include "rescue/secret/scan.h"

#include <cstdint>

namespace rescue::secret {
namespace {

std::optional<std::uint32_t> Base64Digit(std::byte byte) {
  const char c = std::to_integer<char>(byte);
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  if (c == '+' || c == '-') return 62;
  if (c == '/' || c == '_') return 63;
  return std::nullopt;
}

std::optional<unsigned> HexDigit(std::byte byte) {
  const char c = std::to_integer<char>(byte);
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return std::nullopt;
}

// A view that shrinks from the front.
class Scanner {
 public:
  explicit Scanner(ByteView text) : text_(text) {}
  bool done() const { return text_.empty(); }

  bool Take(char expected) {
    if (text_.empty() || text_.front() != std::byte(expected)) return false;
    text_ = text_.subspan(1);
    return true;
  }

  // "...": what is between the quotes; no escapes.
  std::optional<ByteView> TakeString() {
    if (!Take('"')) return std::nullopt;
    for (std::size_t i = 0; i < text_.size(); ++i) {
      if (text_[i] == std::byte{'\\'}) return std::nullopt;
      if (text_[i] != std::byte{'"'}) continue;
      const ByteView found = text_.first(i);
      text_ = text_.subspan(i + 1);
      return found;
    }
    return std::nullopt;
  }

 private:
  ByteView text_;
};

}  // namespace

std::optional<SecretBytes> DecodeBase64(ByteView text) {
  for (int padding = 0; padding < 2 && !text.empty() && text.back() == std::byte{'='}; ++padding) {
    text = text.first(text.size() - 1);
  }
  if (text.empty() || text.size() % 4 == 1) return std::nullopt;
  SecretBytes out(text.size() * 3 / 4);
  const auto bytes = out.Reveal();
  std::uint32_t bits = 0;
  int count = 0;
  std::size_t at = 0;
  for (const std::byte byte : text) {
    const auto digit = Base64Digit(byte);
    if (!digit) return std::nullopt;
    bits = (bits << 6) | *digit;
    count += 6;
    if (count < 8) continue;
    count -= 8;
    bytes[at++] = static_cast<std::byte>(bits >> count);
  }
  // Bits that are left over belong to no byte and must be zero.
  if ((bits & ((1U << count) - 1)) != 0) return std::nullopt;
  return out;
}

std::optional<SecretBytes> DecodeHex(ByteView text) {
  if (text.empty() || text.size() % 2 != 0) return std::nullopt;
  SecretBytes out(text.size() / 2);
  const auto bytes = out.Reveal();
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const auto high = HexDigit(text[2 * i]);
    const auto low = HexDigit(text[2 * i + 1]);
    if (!high || !low) return std::nullopt;
    bytes[i] = static_cast<std::byte>(*high << 4 | *low);
  }
  return out;
}

bool UnescapePercent(SecretBytes& text) {
  const auto bytes = text.Reveal();
  std::size_t to = 0;
  for (std::size_t from = 0; from < bytes.size(); ++to) {
    if (bytes[from] != std::byte{'%'}) {
      bytes[to] = bytes[from++];
      continue;
    }
    if (bytes.size() - from < 3) return false;
    const auto high = HexDigit(bytes[from + 1]);
    const auto low = HexDigit(bytes[from + 2]);
    if (!high || !low) return false;
    bytes[to] = static_cast<std::byte>(*high << 4 | *low);
    from += 3;
  }
  text.Shrink(to);
  return true;
}

std::optional<std::vector<JsonField>> ScanFlatJson(ByteView text) {
  Scanner scanner(text);
  std::vector<JsonField> fields;
  if (!scanner.Take('{')) return std::nullopt;
  if (scanner.Take('}')) return scanner.done() ? std::optional(fields) : std::nullopt;
  while (true) {
    const auto name = scanner.TakeString();
    if (!name || !scanner.Take(':')) return std::nullopt;
    const auto value = scanner.TakeString();
    if (!value) return std::nullopt;
    fields.emplace_back(*name, *value);
    if (scanner.Take(',')) continue;
    if (!scanner.Take('}') || !scanner.done()) return std::nullopt;
    return fields;
  }
}

}  // namespace rescue::secret
