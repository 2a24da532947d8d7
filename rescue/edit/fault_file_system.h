// A FileSystem that fails on command: the twin that tests put between the code that writes and the
// files, to see what every single failure leaves behind.
//
// The usual loop: run once without a fault to see that it works, then fail operation 0, 1, 2 ...
// until a run is over before the fault came (FaultScript::fired is false).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "rescue/base/exchange.h"
#include "rescue/base/file.h"

namespace rescue::testing {

// What to do to which operation, and what has happened. Several file systems may share one.
struct FaultScript {
  enum class After {
    kNormal,  // one failure, everything later works
    kDead,    // everything later fails, too: the process or the machine died
  };

  // Counts from 0 over writes, creations, renames, truncations, removals, attributes, times, syncs.
  std::optional<std::uint64_t> fail_at;
  After after = After::kNormal;
  int error = 5;                      // errno: EIO, ENOSPC
  std::optional<std::size_t> tear{};  // a failing write puts this many bytes first
  bool effective = false;             // the failing operation is done, only its answer is bad

  std::uint64_t operations = 0;
  bool fired = false;
  std::vector<std::string> log;  // "write member/wal/0.wal", one line an operation
};

class FaultFileSystem final : public FileSystem, public ExchangingFileSystem {
 public:
  // Both must outlive this object.
  FaultFileSystem(FileSystem& base, FaultScript& script) : base_(base), script_(script) {}

  Result<std::unique_ptr<ReadableFile>> Open(std::string_view path) const override {
    return base_.Open(path);
  }
  Result<FileStatus> Stat(std::string_view path) const override { return base_.Stat(path); }
  Result<std::vector<DirectoryEntry>> List(std::string_view path) const override {
    return base_.List(path);
  }
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
  std::uint64_t StorageOf(std::string_view path) const override { return base_.StorageOf(path); }
  Result<std::uint64_t> FreeSpace() const override { return base_.FreeSpace(); }
  Result<std::uint64_t> FreeSpaceAt(std::string_view path) const override {
    return base_.FreeSpaceAt(path);
  }

 private:
  template <typename Operation>
  Status Run(std::string_view name, std::string_view path, Operation operation);
  bool Fails();

  FileSystem& base_;
  FaultScript& script_;
};

}  // namespace rescue::testing
