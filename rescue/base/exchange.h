// Calls that not every FileSystem has. They stand beside the interface (file.h), which most
// code needs and this does not.
#pragma once

#include <cstdint>
#include <string_view>

#include "rescue/base/file.h"
#include "rescue/base/unique_fd.h"

namespace rescue {

// A FileSystem that is also one of these is asked itself; a RealFileSystem need not be.
class ExchangingFileSystem {
 public:
  virtual ~ExchangingFileSystem() = default;
  virtual Status Exchange(std::string_view first, std::string_view second) = 0;
};

// Two existing entries change places, in one step that no crash divides (renameat2(2),
// RENAME_EXCHANGE: ext4, xfs, btrfs, tmpfs). As with Rename, both directories have to be synced.
// Error "unsupported" (kRefused) where that cannot be done.
Status Exchange(FileSystem& files, std::string_view first, std::string_view second);

// A ReadableFile that the kernel knows, too.
class DescribedFile {
 public:
  virtual ~DescribedFile() = default;
  virtual int descriptor() const = 0;
};

// Copies ranges of a file to the same place in another one, within the kernel (copy_file_range(2):
// the bytes do not pass through this process, and file systems that can share blocks do). There are
// no errors: the caller copies what was not copied by reading and writing, and that names what is
// wrong.
class RangeCopier {
 public:
  // `path` exists; `from` outlives the copier.
  RangeCopier(FileSystem& files, std::string_view path, const ReadableFile& from);
  // Gives how many bytes were copied: fewer than asked for, or none, where it cannot be done.
  std::uint64_t Copy(std::uint64_t offset, std::uint64_t length) const;

 private:
  int from_ = -1;
  UniqueFd to_;
};

// Starts to write out a range of a file, without waiting for it: a hint, which only a
// RealFileSystem takes (sync_file_range(2)). Nothing is durable by it.
void StartWriting(FileSystem& files, std::string_view path, std::uint64_t offset,
                  std::uint64_t length);

}  // namespace rescue
