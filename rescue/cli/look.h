// The commands that only look: hash, status, members, keys, compare; backups, snapshot save and
// initialize (look_backups.h). Nothing is written where they look, but by initialize when it was
// told to restore; a disk is looked at through a view.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "rescue/cli/unlock_options.h"

namespace rescue::cli {

enum class LookVerb { kHash, kStatus, kMembers, kKeys, kCompare, kBackups, kSave, kInitialize };

// Of the only one of them that may write.
struct InitializeOptions {
  std::string validation = "sanity";  // or "full"
  std::string owner;
  session::BackupWishes backup;  // without `from`
  etcd::Wishes wishes;           // name, URLs, token, bump
  std::string journal;
  bool yes = false;
};

struct LookOptions {
  LookVerb verb = LookVerb::kStatus;
  // One place in all, but for compare.
  std::string file;
  std::vector<std::string> data_directories;
  std::vector<std::string> disks;    // "auto": the only state disk
  std::vector<std::string> secrets;  // one for all disks, or one for each, in their order
  // --wal-dir: none, or one for each place (directories first); empty: where the place itself says
  std::vector<std::string> log_directories;
  UnlockOptions unlock;        // for all disks
  std::uint64_t revision = 0;  // 0: the latest
  std::uint64_t limit = 0;     // 0: no limit
  std::string prefix;
  std::string from;
  bool values = false;
  std::string from_backup;  // --from of backups and initialize
  std::string out;          // of snapshot save
  bool with_tail = false;   // the same
  InitializeOptions initialize;
  bool quick = false;
  bool json = false;
};

// Declares the commands on `app`. After a parse that met one of them, `chosen` was called and
// `options` holds what was said.
void DeclareLook(CLI::App& app, LookOptions& options, const std::function<void()>& chosen);

// Does it and prints; the exit code.
int RunLook(const LookOptions& options);

}  // namespace rescue::cli
