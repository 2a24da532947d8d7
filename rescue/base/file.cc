#include "rescue/base/file.h"

#include <fmt/format.h>

namespace rescue {

Result<Bytes> ReadExactly(const ReadableFile& file, std::uint64_t offset, std::uint64_t count) {
  // Checked before the allocation: the count may come from a damaged file.
  if (offset > file.size() || count > file.size() - offset) {
    return Fail(
        ErrorKind::kDataDamaged, "out-of-file",
        fmt::format("read {} bytes at {}: the file ends at {}", count, offset, file.size()));
  }
  Bytes bytes(static_cast<std::size_t>(count));
  ASSIGN_OR_RETURN(const std::size_t got, file.ReadAt(offset, bytes));
  if (got != bytes.size()) {
    return Fail(ErrorKind::kOther, "io",
                fmt::format("read {} bytes at {}: only {} came", count, offset, got));
  }
  return bytes;
}

Result<Bytes> ReadWhole(const FileView& view, std::string_view path, std::uint64_t limit) {
  ASSIGN_OR_RETURN(const auto file, view.Open(path));
  if (file->size() > limit) {
    return Fail(ErrorKind::kDataDamaged, "too-large",
                fmt::format("read {}: {} bytes, at most {} are expected", Printable(path),
                            file->size(), limit));
  }
  auto bytes = ReadExactly(*file, 0, file->size());
  if (!bytes) return Fail(std::move(bytes.error().Within(Printable(path))));
  return bytes;
}

Result<bool> Exists(const FileView& view, std::string_view path) {
  const auto status = view.Stat(path);
  if (status) return true;
  if (IsNotFound(status.error())) return false;
  return Fail(status.error());
}

bool IsNotFound(const Error& error) { return error.code == "not-found"; }

std::string JoinPath(std::string_view directory, std::string_view name) {
  if (directory.empty()) return std::string(name);
  if (name.empty()) return std::string(directory);
  return fmt::format("{}/{}", directory, name);
}

std::string ParentPath(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? std::string() : std::string(path.substr(0, slash));
}

bool IsCleanPath(std::string_view path) {
  if (path.empty()) return true;
  std::size_t start = 0;
  while (true) {
    const std::size_t slash = path.find('/', start);
    const std::string_view part = path.substr(
        start, slash == std::string_view::npos ? std::string_view::npos : slash - start);
    if (part.empty() || part == "." || part == ".." || part.find('\0') != part.npos) return false;
    if (slash == std::string_view::npos) return true;
    start = slash + 1;
  }
}

}  // namespace rescue
