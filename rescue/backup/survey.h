// Looks at backups before anything is decided: what each object holds, whether it is whole, and how
// far a restore would come. Reads; decides nothing.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "rescue/backup/snapshot_file.h"
#include "rescue/backup/store.h"

namespace rescue::backup {

// Pages in use of a compressed full; etcd advises against more than 8 GiB.
inline constexpr std::uint64_t kMaxFullSize = std::uint64_t{64} << 30;

struct SurveyedObject {
  StoreObject object;
  bool read = false;             // whole; false: only name and size are known
  std::optional<Error> problem;  // why it cannot be restored
  // Of a full that was read:
  std::optional<SnapshotFile> snapshot;
  // Of a delta that was read:
  std::uint64_t events = 0;
  std::uint64_t deletions = 0;
};

struct StoreSurvey {
  Store store;
  std::vector<SurveyedObject> objects;  // as in the store
  // The newest full's; absent without any full.
  std::optional<Chain> chain;
  // The last revision that a restore of `chain` reaches: before the first hole or damaged object.
  // 0 when its full is damaged.
  std::uint64_t reachable = 0;
  // What ends it there, when later revisions exist; the hint says what can be done.
  std::optional<Error> obstacle;
};

struct SurveyOptions {
  bool read = true;  // false: names and sizes only
  // Bytes of stored objects.
  std::function<void(std::uint64_t bytes_done, std::uint64_t bytes_total, const std::string& path)>
      progress;
};

// Fails only when the store cannot be read at all; damage is in the survey. Memory: one event, 64
// MiB of a compressed full, and 36 bytes for each of its pages when its tree is walked.
Result<StoreSurvey> SurveyStore(const FileView& view, const Store& store,
                                const SurveyOptions& options = {});

// A full, plain or compressed, as a file that can be read anywhere; `file` must outlive it. `path`
// says how it is compressed, and names it in messages. No more is decompressed than fits to what
// its own meta pages say. Errors: those of OpenSeekable and DeclaredBackendSize.
Result<std::unique_ptr<ReadableFile>> OpenFull(const ReadableFile& file, const std::string& path);

// The last revision that a full's content holds, without reading all of it when it is not
// compressed. For ChooseChain.
HeldRevision HeldIn(const FileView& view);

}  // namespace rescue::backup
