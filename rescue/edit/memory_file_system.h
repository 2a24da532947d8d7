// A FileSystem in memory for tests, which loses at Crash() what was not made durable.
//
// Content, size, attributes and times of an entry become durable by SyncFile or SyncDirectory on
// it, names by SyncDirectory on a directory that holds them (a rename is atomic and durable with
// either of its directories, as on a journaling file system). Nothing else becomes durable, so a
// forgotten sync shows. Time is a counter: every change of an entry gets a new one.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "rescue/base/exchange.h"
#include "rescue/base/file.h"

namespace rescue::testing {

// What survives of the changes that were not synced.
enum class Unsynced {
  kLost,
  kKept,
  kRandomSubset,  // each change by itself; a write in pieces of 512 bytes, each by itself
};

class MemoryFileSystem final : public FileSystem, public ExchangingFileSystem {
 public:
  MemoryFileSystem();
  ~MemoryFileSystem() override;
  MemoryFileSystem(const MemoryFileSystem&) = default;
  MemoryFileSystem& operator=(const MemoryFileSystem&) = default;

  // Everything so far becomes durable.
  void SyncAll();
  void Crash(Unsynced unsynced, std::uint32_t seed = 0);
  // As a mount with "ro": every change fails with "read-only".
  void SetReadOnly(bool read_only) { read_only_ = read_only; }
  // What FreeSpace answers; writes are not held against it.
  void SetFreeSpace(std::uint64_t bytes) { free_space_ = bytes; }
  // Creates missing parent directories too.
  void AddFile(std::string_view path, ByteView content, const Attributes& attributes = {});

  Result<std::unique_ptr<ReadableFile>> Open(std::string_view path) const override;
  Result<FileStatus> Stat(std::string_view path) const override;
  Result<std::vector<DirectoryEntry>> List(std::string_view path) const override;
  Status WriteAt(std::string_view path, std::uint64_t offset, ByteView bytes) override;
  Status CreateFile(std::string_view path, const Attributes& attributes) override;
  Status MakeDirectory(std::string_view path, const Attributes& attributes) override;
  Status Truncate(std::string_view path, std::uint64_t size) override;
  Status Rename(std::string_view from, std::string_view to) override;
  Status Exchange(std::string_view first, std::string_view second) override;
  Status Remove(std::string_view path) override;
  Status SetAttributes(std::string_view path, const Attributes& attributes) override;
  Status SetModified(std::string_view path, TimeNs modified) override;
  Status SyncFile(std::string_view path) override;
  Status SyncDirectory(std::string_view path) override;
  std::uint64_t StorageOf(std::string_view /*path*/) const override {
    return reinterpret_cast<std::uintptr_t>(this);
  }
  Result<std::uint64_t> FreeSpace() const override { return free_space_; }

 private:
  using Id = std::uint64_t;
  struct Inode {
    FileStatus status;
    Bytes content;
    std::map<std::string, Id> entries;
  };
  using Image = std::map<Id, Inode>;
  struct Change {
    std::set<Id> synced_by;
    std::function<void(Image&)> apply;
  };

  Result<Id> Find(std::string_view path) const;
  Result<Id> FindRegular(std::string_view operation, std::string_view path) const;
  // The directory of the last name of `path`.
  Result<std::pair<Id, std::string>> FindParent(std::string_view path) const;
  Status Writable(std::string_view operation, std::string_view path) const;
  void Do(Change change);
  Status Add(std::string_view path, FileType type, const Attributes& attributes);
  void Sync(Id id);

  Image now_;
  Image durable_;
  std::vector<Change> pending_;
  Id next_ = 1;
  TimeNs clock_ = 1'000'000'000'000'000'000;
  bool read_only_ = false;
  std::uint64_t free_space_ = std::uint64_t{1} << 40;
};

}  // namespace rescue::testing
