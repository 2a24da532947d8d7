#include "rescue/backup/object.h"

#include <array>
#include <charconv>
#include <limits>
#include <utility>

namespace rescue::backup {
namespace {

constexpr std::string_view kFinal = ".final";
constexpr std::array<std::pair<std::string_view, Compression>, 3> kEndings = {
    {{".gz", Compression::kGzip}, {".zlib", Compression::kZlib}, {".Z", Compression::kLzw}}};

// Takes `ending` off; false when it is not there.
bool TakeEnding(std::string_view& name, std::string_view ending) {
  if (!name.ends_with(ending)) return false;
  name.remove_suffix(ending.size());
  return true;
}

Compression TakeCompression(std::string_view& name) {
  for (const auto& [ending, compression] : kEndings) {
    if (TakeEnding(name, ending)) return compression;
  }
  return Compression::kNone;
}

// Decimal digits only, not above Go's int64.
std::optional<std::uint64_t> ParseNumber(std::string_view digits) {
  if (digits.empty() || digits.find_first_not_of("0123456789") != std::string_view::npos) {
    return std::nullopt;
  }
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(digits.begin(), digits.end(), number);
  constexpr auto kMax = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  if (error != std::errc() || end != digits.end() || number > kMax) return std::nullopt;
  return number;
}

// The piece before the next '-', which is taken off with it.
std::string_view TakePiece(std::string_view& text) {
  const std::size_t end = text.find('-');
  const std::string_view piece = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  return piece;
}

}  // namespace

std::string_view Name(ObjectKind kind) { return kind == ObjectKind::kFull ? "full" : "delta"; }

std::string_view Name(Compression compression) {
  switch (compression) {
    case Compression::kNone:
      return "none";
    case Compression::kGzip:
      return "gzip";
    case Compression::kZlib:
      return "zlib";
    case Compression::kLzw:
      return "lzw";
  }
  return "?";
}

std::optional<ObjectName> ParseObjectName(std::string_view file_name) {
  ObjectName name;
  name.final = TakeEnding(file_name, kFinal);
  name.compression = TakeCompression(file_name);
  const std::string_view kind = TakePiece(file_name);
  if (kind != "Full" && kind != "Incr") return std::nullopt;
  name.kind = kind == "Full" ? ObjectKind::kFull : ObjectKind::kDelta;
  const auto start = ParseNumber(TakePiece(file_name));
  const auto last = ParseNumber(TakePiece(file_name));
  const auto created = ParseNumber(file_name);
  if (!start || !last || !created || *start > *last) return std::nullopt;
  if (name.kind == ObjectKind::kDelta && *start == 0) return std::nullopt;
  name.start = *start;
  name.last = *last;
  name.created = static_cast<std::int64_t>(*created);
  return name;
}

Compression CompressionOf(std::string_view file_name) {
  TakeEnding(file_name, kFinal);
  return TakeCompression(file_name);
}

}  // namespace rescue::backup
