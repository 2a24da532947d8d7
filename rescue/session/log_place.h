// Where etcd's log lies: in member/wal of the data directory, behind a link there, or where
// --wal-dir says. Private to this room.
#pragma once

#include <memory>
#include <string>

#include "rescue/base/real_file_system.h"
#include "rescue/session/target.h"

namespace rescue::session {

struct LogPlace {
  std::unique_ptr<RealFileSystem> files;  // rooted at the log's directory; null: member/wal itself
  std::string display_path;               // as the operator knows it; empty: member/wal itself
};

// Both refuse (kRefused) a link that is not followed: "link-unsupported" for member and
// member/snap, "link-leaves-volume" for member/wal; "log-overlaps" when the log shares a directory
// with other files of etcd. kUsage "not-found" when `named` (--wal-dir) is no directory.

// `directory` is rooted at `path`, a directory on this machine, and so is `named`. The kernel
// follows a link at member/wal, as it does for etcd, but only to the same mounted file system.
Result<LogPlace> FindLogOnMachine(const RealFileSystem& directory, const std::string& path,
                                  const std::string& named);

// `named` is a path in the volume. Without it, the manifest's --wal-dir counts (kRefused
// "log-not-on-volume" when it is elsewhere), then a link at member/wal: as on the node, so far as
// the volume reaches.
Result<LogPlace> FindLogOnVolume(const RealFileSystem& volume, const RealFileSystem& directory,
                                 const NodeFacts& node, const std::string& named);

}  // namespace rescue::session
