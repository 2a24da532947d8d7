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

// Where etcd's files lie: the log need not be in the data directory.
struct DataPlaces {
  const RealFileSystem* directory = nullptr;  // rooted at the data directory
  const RealFileSystem* log = nullptr;        // rooted at the log's directory; null: member/wal
  std::string log_path;  // as the operator knows it; empty: member/wal in the data directory
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
  static Result<DataLock> Take(const DataPlaces& places, Kind kind);

 private:
  std::vector<UniqueFd> held_;
};

struct Target {
  // Rooted at the data directory, with the log at member/wal wherever it lies.
  std::unique_ptr<FileSystem> data;
  DataPlaces places;  // what stands behind `data`
  JournalPlace journal;
  std::optional<NodeFacts> node;
};

// `data_directory` and `journal_directory` are paths on this machine; an empty journal directory
// means beside the data directory: "<data directory>.etcd-rescue". `log_directory` is etcd's
// --wal-dir, a path on this machine; when it is empty, the log is at member/wal, where a link is
// followed as far as the file system of the data directory reaches. Errors: kUsage "not-found";
// kRefused "link-leaves-volume", "link-unsupported" (member or member/snap is a link),
// "log-overlaps" (the log is among other files of etcd).
Result<Target> OpenDirectory(const std::string& data_directory,
                             const std::string& journal_directory,
                             const std::string& log_directory = {});

// Finds the node layout in an open volume; `volume_path` is where it is mounted. An empty journal
// directory means beside the data directory on the volume itself, or inside it when the volume is
// the data directory. `log_directory` is a path in the volume; when it is empty, the log is where
// the manifest's --wal-dir says, or at member/wal, where a link is followed as on the node, so far
// as the volume reaches. Errors besides: those of OpenDirectory; kRefused "log-not-on-volume" (the
// manifest names another place).
Result<Target> OpenVolumeData(const RealFileSystem& volume, const std::string& volume_path,
                              const std::string& journal_directory,
                              const std::string& log_directory = {});

// Error kUnfinishedJournal "unfinished-journal" when an interrupted apply was left behind.
Status RefuseUnfinished(const Target& target);

}  // namespace rescue::session
