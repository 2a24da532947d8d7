#include "rescue/edit/fault_file_system.h"

#include <algorithm>

namespace rescue::testing {

bool FaultFileSystem::Fails() {
  const std::uint64_t number = script_.operations++;
  if (!script_.fail_at || number < *script_.fail_at) return false;
  if (number > *script_.fail_at && script_.after == FaultScript::After::kNormal) return false;
  script_.fired = true;
  return true;
}

template <typename Operation>
Status FaultFileSystem::Run(std::string_view name, std::string_view path, Operation operation) {
  script_.log.push_back(std::string(name) + " " + std::string(path));
  const bool first = script_.operations == script_.fail_at;
  if (!Fails()) return operation();
  if (first && script_.effective) RETURN_IF_ERROR(operation());
  return FailErrno(name, Printable(path), script_.error);
}

Status FaultFileSystem::WriteAt(std::string_view path, std::uint64_t offset, ByteView bytes) {
  const bool torn = script_.operations == script_.fail_at && script_.tear && !script_.effective;
  if (torn) {
    RETURN_IF_ERROR(
        base_.WriteAt(path, offset, bytes.first(std::min(*script_.tear, bytes.size()))));
  }
  return Run("write", path, [&] { return base_.WriteAt(path, offset, bytes); });
}

Status FaultFileSystem::CreateFile(std::string_view path, const Attributes& attributes) {
  return Run("create", path, [&] { return base_.CreateFile(path, attributes); });
}

Status FaultFileSystem::MakeDirectory(std::string_view path, const Attributes& attributes) {
  return Run("create-directory", path, [&] { return base_.MakeDirectory(path, attributes); });
}

Status FaultFileSystem::Truncate(std::string_view path, std::uint64_t size) {
  return Run("truncate", path, [&] { return base_.Truncate(path, size); });
}

Status FaultFileSystem::Rename(std::string_view from, std::string_view to) {
  return Run("rename", std::string(from) + " " + std::string(to),
             [&] { return base_.Rename(from, to); });
}

Status FaultFileSystem::Exchange(std::string_view first, std::string_view second) {
  return Run("exchange", std::string(first) + " " + std::string(second),
             [&] { return rescue::Exchange(base_, first, second); });
}

Status FaultFileSystem::Remove(std::string_view path) {
  return Run("remove", path, [&] { return base_.Remove(path); });
}

Status FaultFileSystem::SetAttributes(std::string_view path, const Attributes& attributes) {
  return Run("set-attributes", path, [&] { return base_.SetAttributes(path, attributes); });
}

Status FaultFileSystem::SetModified(std::string_view path, TimeNs modified) {
  return Run("set-modified", path, [&] { return base_.SetModified(path, modified); });
}

Status FaultFileSystem::SyncFile(std::string_view path) {
  return Run("sync", path, [&] { return base_.SyncFile(path); });
}

Status FaultFileSystem::SyncDirectory(std::string_view path) {
  return Run("sync-directory", path, [&] { return base_.SyncDirectory(path); });
}

}  // namespace rescue::testing
