// What several rooms' unit tests share. Nothing here is part of the product.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <string_view>

#include "rescue/base/bytes.h"
#include "rescue/base/file.h"

namespace rescue::testing {

// A folder under the system's temporary directory, gone with the object.
class TemporaryDirectory {
 public:
  TemporaryDirectory();
  ~TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

// The repository's own fixtures (tests/fixtures).
std::filesystem::path FixturePath(std::string_view relative);
// The larger fixtures beside the repository, when they are there.
std::optional<std::filesystem::path> SharedFixturePath(std::string_view relative);
// Unpacks a .tar.xz or .tar.gz (sparse) below `into`.
void UnpackArchive(const std::filesystem::path& archive, const std::filesystem::path& into);

Bytes ReadFileBytes(const std::filesystem::path& path);
void WriteFileBytes(const std::filesystem::path& path, ByteView bytes);

// A file in memory as ReadableFile.
std::unique_ptr<ReadableFile> MemoryFile(Bytes content);

// Calls `decode` with every prefix of `sample`, shortest first.
void ForEveryTruncation(ByteView sample, const std::function<void(ByteView)>& decode);
// Calls `decode` with `count` damaged copies of `sample`: bits flipped, bytes overwritten, pieces
// repeated, zeroed, removed or swapped; the same seed gives the same copies. `repair`, when given,
// may recompute checksums so that the damage gets past them.
void ForRandomMutations(ByteView sample, std::uint32_t seed, int count,
                        const std::function<void(ByteView)>& decode,
                        const std::function<void(Bytes&)>& repair = {});

}  // namespace rescue::testing
