// One FileSystem shown at a path of another, so that what lies in two places reads and changes as
// one tree: etcd's log need not be in its data directory (--wal-dir, or a link at member/wal).
//
//   below:    member/            mounted:  0000000000000000-0000000000000000.wal
//             member/snap/db
//   together: member/snap/db, member/wal/0000000000000000-0000000000000000.wal
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "rescue/base/file.h"

namespace rescue {

class MountedFileSystem final : public FileSystem {
 public:
  // `at` must be a clean path other than "", and its parent a directory of `below`. What `below`
  // itself has at `at` (nothing, a link, a directory) is hidden.
  MountedFileSystem(std::unique_ptr<FileSystem> below, std::string at,
                    std::unique_ptr<FileSystem> mounted);

  Result<std::unique_ptr<ReadableFile>> Open(std::string_view path) const override;
  Result<FileStatus> Stat(std::string_view path) const override;
  Result<std::vector<DirectoryEntry>> List(std::string_view path) const override;
  std::uint64_t StorageOf(std::string_view path) const override;
  Status WriteAt(std::string_view path, std::uint64_t offset, ByteView bytes) override;
  // Creating, renaming and removing: `at` itself is fixed (kRefused "mount-point"), and nothing
  // moves from one of the two to the other (kRefused "across-file-systems").
  Status CreateFile(std::string_view path, const Attributes& attributes) override;
  Status MakeDirectory(std::string_view path, const Attributes& attributes) override;
  Status Truncate(std::string_view path, std::uint64_t size) override;
  Status Rename(std::string_view from, std::string_view to) override;
  Status Remove(std::string_view path) override;
  Status SetAttributes(std::string_view path, const Attributes& attributes) override;
  Status SetModified(std::string_view path, TimeNs modified) override;
  Status SyncFile(std::string_view path) override;
  Status SyncDirectory(std::string_view path) override;
  // The smaller of both: what fits there fits in either.
  Result<std::uint64_t> FreeSpace() const override;
  Result<std::uint64_t> FreeSpaceAt(std::string_view path) const override;

 private:
  // Which of the two holds a path, and the path there.
  std::pair<FileSystem*, std::string> Find(std::string_view path) const;
  // For calls that change names.
  Status CheckChangeable(std::string_view operation, std::string_view path) const;

  std::unique_ptr<FileSystem> below_;
  std::string at_;
  std::unique_ptr<FileSystem> mounted_;
};

}  // namespace rescue
