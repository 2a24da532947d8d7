// Copies a backup's plain bytes into a file once, and hashes them meanwhile in a second thread: one
// core copies while another hashes, the disk writes, and none waits for the others.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "rescue/backup/object.h"
#include "rescue/base/checksum.h"
#include "rescue/base/file.h"
#include "rescue/base/result.h"

namespace rescue::backup {

struct Copied {
  std::uint64_t size = 0;  // plain bytes, all of them
  // `etcdctl snapshot save` puts the SHA-256 of everything before it into the last 32 bytes.
  Sha256Digest without_last{};
  Sha256Digest last{};
};

// `path` exists and is empty. `progress` is told how many plain bytes are copied. Memory: a few
// MiB. Errors: those of the source and of the file.
Result<Copied> CopyHashed(ByteSource& source, FileSystem& files, const std::string& path,
                          const std::function<void(std::uint64_t)>& progress = {});

// The same for a file that is stored as it is. Where the kernel can copy by itself, the bytes are
// hashed as they are read back from the copy, so that the digests are those of what was written.
Result<Copied> CopyFileHashed(const ReadableFile& source, FileSystem& files,
                              const std::string& path,
                              const std::function<void(std::uint64_t)>& progress = {});

}  // namespace rescue::backup
