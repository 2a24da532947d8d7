// A data directory that is open for work: on this machine, or inside the volume of a state disk.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "rescue/base/real_file_system.h"
#include "rescue/edit/executor.h"
#include "rescue/node/layout.h"
#include "rescue/node/manifest.h"
#include "rescue/node/node_state.h"

namespace rescue::session {

// What the node's other files say. Absent for a bare data directory.
struct NodeFacts {
  node::Layout layout;
  std::optional<node::Manifest> manifest;
  node::NodeState node_state;
  std::vector<std::string> warnings;  // one line each
};

// Where the journals of a data directory lie: a directory in a file system.
struct JournalPlace {
  std::unique_ptr<RealFileSystem> files;
  std::string directory;     // in `files`
  std::string display_path;  // as the operator knows it
};

// Keeps an etcd (and a second etcd-rescue) away from a data directory while it lives.
class DataLock {
 public:
  enum class Kind {
    kObserve,    // fails when etcd runs; takes nothing that needs a writable file system
    kExclusive,  // the locks that etcd itself takes
  };
  // etcd holds flock(2) on the backend and an open-file-description write lock on every log segment
  // it may still write (client/pkg/fileutil/lock_linux.go, bbolt's bolt_unix.go). Error: kRefused
  // "in-use".
  static Result<DataLock> Take(const RealFileSystem& data, Kind kind);

 private:
  std::vector<UniqueFd> held_;
};

struct Target {
  std::unique_ptr<RealFileSystem> data;  // rooted at the data directory
  JournalPlace journal;
  std::optional<NodeFacts> node;
};

// `data_directory` and `journal_directory` are paths on this machine; an empty journal directory
// means beside the data directory: "<data directory>.etcd-rescue". Error: kUsage "not-found".
Result<Target> OpenDirectory(const std::string& data_directory,
                             const std::string& journal_directory);

// Finds the node layout in an open volume; `volume_path` is where it is mounted. An empty journal
// directory means beside the data directory on the volume itself, or inside it when the volume is
// the data directory.
Result<Target> OpenVolumeData(const RealFileSystem& volume, const std::string& volume_path,
                              const std::string& journal_directory);

// Error kUnfinishedJournal "unfinished-journal" when an interrupted apply was left behind.
Status RefuseUnfinished(const Target& target);

}  // namespace rescue::session
