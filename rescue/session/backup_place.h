// Where backups lie: a file or a folder on this machine, or on another attached disk.
//
//     /mnt/backups/etcd-main           a path
//     LABEL=BACKUP:/etcd-main          a disk by label, UUID, serial or device, and a path on it
//     /dev/vdc1:/snapshots/a.db
//     UUID=1234-ABCD                   all of that disk
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "rescue/base/real_file_system.h"
#include "rescue/base/result.h"

namespace rescue::session {

struct BackupPlace {
  std::string disk;  // as disk::ExamineDisk takes it; empty: on this machine
  std::string path;  // on this machine, or below the disk's root

  bool operator==(const BackupPlace&) const = default;
};
BackupPlace ParseBackupPlace(std::string_view from);

// Open for reading while it lives. A disk is mounted read-only, its journal is not replayed, and
// it is unmounted at the end.
class OpenBackups {
 public:
  // Errors: kUsage "not-found", "no-backup-disk"; those of disk::ExamineDisk and of mounting.
  static Result<OpenBackups> Open(std::string_view from);
  ~OpenBackups();
  OpenBackups(OpenBackups&& other) noexcept;
  OpenBackups& operator=(OpenBackups&& other) = delete;

  const FileView& files() const { return *files_; }
  // Of the file or folder, below files().
  const std::string& path() const { return path_; }
  bool is_file() const { return is_file_; }
  // As the operator named it.
  const std::string& label() const { return label_; }
  // Unmounts; what is read afterwards fails.
  Status Close();

 private:
  OpenBackups() = default;

  std::unique_ptr<RealFileSystem> files_;
  std::string path_;
  bool is_file_ = false;
  std::string label_;
  std::string mount_point_;  // empty: nothing is mounted
};

}  // namespace rescue::session
