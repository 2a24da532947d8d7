// A directory of the running system as FileSystem. Every path is resolved below the directory by
// the kernel (openat2 with RESOLVE_BENEATH), so hostile links on a rescued disk cannot lead
// outside.
#pragma once

#include <memory>
#include <string>

#include "rescue/base/file.h"
#include "rescue/base/unique_fd.h"

namespace rescue {

class RealFileSystem final : public FileSystem {
 public:
  // Opens an existing directory by its path on the running system.
  static Result<std::unique_ptr<RealFileSystem>> OpenRoot(const std::string& directory);
  // Opens a directory below this one; it becomes the root of the new file system.
  Result<std::unique_ptr<RealFileSystem>> OpenBelow(std::string_view path) const;

  Result<std::unique_ptr<ReadableFile>> Open(std::string_view path) const override;
  Result<FileStatus> Stat(std::string_view path) const override;
  Result<std::vector<DirectoryEntry>> List(std::string_view path) const override;
  Status WriteAt(std::string_view path, std::uint64_t offset, ByteView bytes) override;
  Status CreateFile(std::string_view path, const Attributes& attributes) override;
  Status MakeDirectory(std::string_view path, const Attributes& attributes) override;
  Status Truncate(std::string_view path, std::uint64_t size) override;
  Status Rename(std::string_view from, std::string_view to) override;
  Status Remove(std::string_view path) override;
  Status SetAttributes(std::string_view path, const Attributes& attributes) override;
  Status SetModified(std::string_view path, TimeNs modified) override;
  Status SyncFile(std::string_view path) override;
  Status SyncDirectory(std::string_view path) override;
  Result<std::uint64_t> FreeSpace() const override;

  // A descriptor for calls that this interface does not have (locks); flags as for openat(2).
  Result<UniqueFd> OpenDescriptor(std::string_view path, int flags) const;

 private:
  explicit RealFileSystem(UniqueFd root) : root_(std::move(root)) {}

  UniqueFd root_;
};

}  // namespace rescue
