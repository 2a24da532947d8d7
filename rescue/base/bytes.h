// Byte buffers, views on them, and a bounded reader that cannot run past the end.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace rescue {

using Bytes = std::vector<std::byte>;
using ByteView = std::span<const std::byte>;

inline ByteView AsBytes(std::string_view text) { return std::as_bytes(std::span(text)); }
inline std::string_view AsText(ByteView bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
inline Bytes ToBytes(ByteView view) { return {view.begin(), view.end()}; }
void Append(Bytes& to, ByteView more);
inline bool Equal(ByteView a, ByteView b) { return AsText(a) == AsText(b); }

// Lower-case hexadecimal, two digits a byte.
std::string ToHex(ByteView bytes);
// Accepts upper and lower case; nothing for an odd length or a foreign character.
std::optional<Bytes> ParseHex(std::string_view text);
// RFC 4648 section 4, padding optional on input; white space is not accepted.
std::string ToBase64(ByteView bytes);
std::optional<Bytes> ParseBase64(std::string_view text);

// Text from a disk for a message: control and non-ASCII bytes as \xNN, at most `limit` characters.
std::string Printable(ByteView bytes, std::size_t limit = 120);
inline std::string Printable(std::string_view text, std::size_t limit = 120) {
  return Printable(AsBytes(text), limit);
}

// Reads disk structures front to back. Every read is checked against the end of the view; after a
// failed read the reader stays where it was.
class ByteReader {
 public:
  explicit ByteReader(ByteView bytes) : bytes_(bytes) {}

  std::size_t position() const { return position_; }
  std::size_t left() const { return bytes_.size() - position_; }

  // T is an endian type (endian.h) or a struct made only of them.
  template <typename T>
  std::optional<T> Read() {
    static_assert(std::is_trivially_copyable_v<T> && alignof(T) == 1);
    if (left() < sizeof(T)) return std::nullopt;
    T value;
    std::memcpy(&value, bytes_.data() + position_, sizeof(T));
    position_ += sizeof(T);
    return value;
  }

  std::optional<ByteView> Take(std::size_t count) {
    if (left() < count) return std::nullopt;
    ByteView taken = bytes_.subspan(position_, count);
    position_ += count;
    return taken;
  }

 private:
  ByteView bytes_;
  std::size_t position_ = 0;
};

// A bounded piece of a view; nothing when any part of it lies outside.
inline std::optional<ByteView> Slice(ByteView bytes, std::uint64_t offset, std::uint64_t count) {
  if (offset > bytes.size() || count > bytes.size() - offset) return std::nullopt;
  return bytes.subspan(static_cast<std::size_t>(offset), static_cast<std::size_t>(count));
}

}  // namespace rescue
