#include "rescue/base/mounted_file_system.h"

#include <fmt/format.h>

#include <algorithm>

namespace rescue {
namespace {

// True when `path` is `directory` or below it.
bool IsWithin(std::string_view path, std::string_view directory) {
  if (!path.starts_with(directory)) return false;
  return path.size() == directory.size() || path[directory.size()] == '/';
}

}  // namespace

MountedFileSystem::MountedFileSystem(std::unique_ptr<FileSystem> below, std::string at,
                                     std::unique_ptr<FileSystem> mounted)
    : below_(std::move(below)), at_(std::move(at)), mounted_(std::move(mounted)) {}

std::pair<FileSystem*, std::string> MountedFileSystem::Find(std::string_view path) const {
  if (!IsWithin(path, at_)) return {below_.get(), std::string(path)};
  if (path.size() == at_.size()) return {mounted_.get(), ""};
  std::string rest(path.substr(at_.size() + 1));
  // "at/" is no clean path; without this it would come out as the mounted root.
  if (rest.empty()) return {below_.get(), std::string(path)};
  return {mounted_.get(), std::move(rest)};
}

Status MountedFileSystem::CheckChangeable(std::string_view operation, std::string_view path) const {
  // `at` and every directory above it hold the place together.
  if (!IsWithin(at_, path) || path.empty()) return {};
  return Fail(ErrorKind::kRefused, "mount-point",
              fmt::format("{} {}: it holds {}, which lies elsewhere", operation, Printable(path),
                          Printable(at_)));
}

Result<std::unique_ptr<ReadableFile>> MountedFileSystem::Open(std::string_view path) const {
  const auto [files, rest] = Find(path);
  return files->Open(rest);
}

Result<FileStatus> MountedFileSystem::Stat(std::string_view path) const {
  const auto [files, rest] = Find(path);
  return files->Stat(rest);
}

Result<std::vector<DirectoryEntry>> MountedFileSystem::List(std::string_view path) const {
  const auto [files, rest] = Find(path);
  ASSIGN_OR_RETURN(auto entries, files->List(rest));
  if (path != ParentPath(at_)) return entries;
  const std::string name = at_.substr(path.empty() ? 0 : path.size() + 1);
  std::erase_if(entries, [&](const DirectoryEntry& entry) { return entry.name == name; });
  const auto place = std::find_if(entries.begin(), entries.end(),
                                  [&](const DirectoryEntry& entry) { return entry.name > name; });
  entries.insert(place, {name, FileType::kDirectory});
  return entries;
}

std::uint64_t MountedFileSystem::StorageOf(std::string_view path) const {
  const auto [files, rest] = Find(path);
  return files->StorageOf(rest);
}

Status MountedFileSystem::WriteAt(std::string_view path, std::uint64_t offset, ByteView bytes) {
  const auto [files, rest] = Find(path);
  return files->WriteAt(rest, offset, bytes);
}

Status MountedFileSystem::CreateFile(std::string_view path, const Attributes& attributes) {
  RETURN_IF_ERROR(CheckChangeable("create", path));
  const auto [files, rest] = Find(path);
  return files->CreateFile(rest, attributes);
}

Status MountedFileSystem::MakeDirectory(std::string_view path, const Attributes& attributes) {
  RETURN_IF_ERROR(CheckChangeable("create", path));
  const auto [files, rest] = Find(path);
  return files->MakeDirectory(rest, attributes);
}

Status MountedFileSystem::Truncate(std::string_view path, std::uint64_t size) {
  const auto [files, rest] = Find(path);
  return files->Truncate(rest, size);
}

Status MountedFileSystem::Rename(std::string_view from, std::string_view to) {
  RETURN_IF_ERROR(CheckChangeable("rename", from));
  RETURN_IF_ERROR(CheckChangeable("rename", to));
  const auto [source, old_path] = Find(from);
  const auto [target, new_path] = Find(to);
  if (source != target) {
    return Fail(ErrorKind::kRefused, "across-file-systems",
                fmt::format("rename {} to {}: they lie in different places", Printable(from),
                            Printable(to)));
  }
  return source->Rename(old_path, new_path);
}

Status MountedFileSystem::Remove(std::string_view path) {
  RETURN_IF_ERROR(CheckChangeable("remove", path));
  const auto [files, rest] = Find(path);
  return files->Remove(rest);
}

Status MountedFileSystem::SetAttributes(std::string_view path, const Attributes& attributes) {
  const auto [files, rest] = Find(path);
  return files->SetAttributes(rest, attributes);
}

Status MountedFileSystem::SetModified(std::string_view path, TimeNs modified) {
  const auto [files, rest] = Find(path);
  return files->SetModified(rest, modified);
}

Status MountedFileSystem::SyncFile(std::string_view path) {
  const auto [files, rest] = Find(path);
  return files->SyncFile(rest);
}

Status MountedFileSystem::SyncDirectory(std::string_view path) {
  const auto [files, rest] = Find(path);
  return files->SyncDirectory(rest);
}

Result<std::uint64_t> MountedFileSystem::FreeSpace() const {
  ASSIGN_OR_RETURN(const std::uint64_t below, below_->FreeSpace());
  ASSIGN_OR_RETURN(const std::uint64_t mounted, mounted_->FreeSpace());
  return std::min(below, mounted);
}

Result<std::uint64_t> MountedFileSystem::FreeSpaceAt(std::string_view path) const {
  const auto [files, rest] = Find(path);
  return files->FreeSpaceAt(rest);
}

}  // namespace rescue
