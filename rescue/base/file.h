// The one interface through which the project sees files.
//
// Pure code (bolt, raftlog, etcd, node) reads through FileView and ReadableFile and never writes.
// Only the executor (edit/) writes, through FileSystem. Real directories, overlays of planned edits
// and the fault-injecting twin of the tests all stand behind these classes.
//
// Paths are relative to the view's root, separated by '/', without empty, "." or ".." components;
// "" is the root itself. A path that leaves the root (also through a symbolic link) is an error.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "rescue/base/bytes.h"
#include "rescue/base/result.h"

namespace rescue {

enum class FileType { kRegular, kDirectory, kSymlink, kOther };

// What must survive when a file is replaced: owner, permission bits and extended attributes
// (SELinux labels among them).
struct Attributes {
  std::uint32_t mode = 0600;  // permission bits only (07777)
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::map<std::string, Bytes> xattrs;

  bool operator==(const Attributes&) const = default;
};

// Nanoseconds since 1970-01-01 UTC.
using TimeNs = std::int64_t;

struct FileStatus {
  FileType type = FileType::kOther;
  std::uint64_t size = 0;  // bytes; 0 for anything but a regular file
  Attributes attributes;
  TimeNs modified = 0;

  bool operator==(const FileStatus&) const = default;
};

struct DirectoryEntry {
  std::string name;
  FileType type = FileType::kOther;

  bool operator==(const DirectoryEntry&) const = default;
};

class ReadableFile {
 public:
  virtual ~ReadableFile() = default;
  // Size in bytes when the file was opened.
  virtual std::uint64_t size() const = 0;
  // Bytes of storage that cutting the file to nothing gives back; not its size where the file has
  // holes, and 0 where that is not known.
  virtual std::uint64_t allocated() const { return 0; }
  // How many bytes of a range inside the file have no storage of their own yet (holes, blocks
  // shared with another file), so that writing them needs free space; 0 where that is not known.
  virtual std::uint64_t unallocated(std::uint64_t /*offset*/, std::uint64_t /*length*/) const {
    return 0;
  }
  // Fills `into` from `offset`; the count is short only at the end of the file.
  virtual Result<std::size_t> ReadAt(std::uint64_t offset, std::span<std::byte> into) const = 0;
};

class FileView {
 public:
  virtual ~FileView() = default;
  virtual Result<std::unique_ptr<ReadableFile>> Open(std::string_view path) const = 0;
  // Of the entry itself: a symbolic link is not followed.
  virtual Result<FileStatus> Stat(std::string_view path) const = 0;
  // Sorted by name, without "." and "..".
  virtual Result<std::vector<DirectoryEntry>> List(std::string_view path) const = 0;
  // A number for the storage that holds a path, or would hold it: paths with different numbers do
  // not share their free space.
  virtual std::uint64_t StorageOf(std::string_view /*path*/) const { return 0; }
};

// What the executor may do. Nothing is durable before SyncFile (content, size, attributes) or
// SyncDirectory (names).
class FileSystem : public FileView {
 public:
  // Overwrites or extends; the file must exist. All or an error (which may leave a part written).
  virtual Status WriteAt(std::string_view path, std::uint64_t offset, ByteView bytes) = 0;
  // New, empty, regular; fails when the name exists.
  virtual Status CreateFile(std::string_view path, const Attributes& attributes) = 0;
  virtual Status MakeDirectory(std::string_view path, const Attributes& attributes) = 0;
  virtual Status Truncate(std::string_view path, std::uint64_t size) = 0;
  // Fails when `to` exists.
  virtual Status Rename(std::string_view from, std::string_view to) = 0;
  // A file, a symbolic link or an empty directory.
  virtual Status Remove(std::string_view path) = 0;
  virtual Status SetAttributes(std::string_view path, const Attributes& attributes) = 0;
  virtual Status SetModified(std::string_view path, TimeNs modified) = 0;
  virtual Status SyncFile(std::string_view path) = 0;
  virtual Status SyncDirectory(std::string_view path) = 0;
  // Bytes that an unprivileged writer could still use.
  virtual Result<std::uint64_t> FreeSpace() const = 0;
  // The same for the storage that holds a path, or would hold it.
  virtual Result<std::uint64_t> FreeSpaceAt(std::string_view /*path*/) const { return FreeSpace(); }
};

// Exactly `count` bytes from `offset`, or an error that names the position.
Result<Bytes> ReadExactly(const ReadableFile& file, std::uint64_t offset, std::uint64_t count);
// The whole file, refused when it is larger than `limit` bytes.
Result<Bytes> ReadWhole(const FileView& view, std::string_view path, std::uint64_t limit);
// True when the path exists; an error only when that cannot be found out.
Result<bool> Exists(const FileView& view, std::string_view path);
// Error codes of FileView: "not-found" for a missing name, "io" for anything else.
bool IsNotFound(const Error& error);

// "a/b" + "c" -> "a/b/c"; "" + "c" -> "c".
std::string JoinPath(std::string_view directory, std::string_view name);
// "a/b/c" -> "a/b"; "c" -> "".
std::string ParentPath(std::string_view path);
// True for a path that the interfaces above accept.
bool IsCleanPath(std::string_view path);

}  // namespace rescue
