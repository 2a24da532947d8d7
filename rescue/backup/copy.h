// Copies a backup's plain bytes into a file once, and hashes them meanwhile in a second thread: a
// disk writes while a core hashes, so that neither waits for the other.
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

}  // namespace rescue::backup
