// A member directory that stands somewhere else while it is being built, shown as the data
// directory that it will be part of: member/... is at the given place, and nothing else is there.
// Private to this room.
#pragma once

#include <string>

#include "rescue/base/file.h"

namespace rescue::backup {

class MemberAt final : public FileSystem {
 public:
  MemberAt(FileSystem& data, std::string place) : data_(data), place_(std::move(place)) {}

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
  Result<std::uint64_t> FreeSpace() const override { return data_.FreeSpace(); }

 private:
  Result<std::string> Place(std::string_view path) const;

  FileSystem& data_;
  std::string place_;
};

}  // namespace rescue::backup
