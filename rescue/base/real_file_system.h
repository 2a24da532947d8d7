// A directory of the running system as FileSystem. Every path is resolved below the directory by
// the kernel (openat2 with RESOLVE_BENEATH), so hostile links on a rescued disk cannot lead
// outside.
#pragma once

#include <cstdint>
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
  // The same, but links that are absolute or climb are resolved as if this directory were "/", as
  // on the machine that it belongs to; they never lead to another mounted file system.
  Result<std::unique_ptr<RealFileSystem>> OpenAsRoot(std::string_view path) const;

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
  // The number of the mounted file system; it holds everything below but what is mounted there.
  std::uint64_t StorageOf(std::string_view path) const override;
  Result<std::uint64_t> FreeSpace() const override;

  // What a symbolic link says.
  Result<std::string> ReadLink(std::string_view path) const;
  // What tells a file or directory from every other on this machine (a link is not followed).
  struct Identity {
    std::uint64_t device = 0;  // the mounted file system
    std::uint64_t inode = 0;

    bool operator==(const Identity&) const = default;
  };
  Result<Identity> IdentityOf(std::string_view path) const;

  // A descriptor for calls that this interface does not have (locks); flags as for openat(2).
  Result<UniqueFd> OpenDescriptor(std::string_view path, int flags) const;

 private:
  explicit RealFileSystem(UniqueFd root) : root_(std::move(root)) {}

  UniqueFd root_;
};

}  // namespace rescue
