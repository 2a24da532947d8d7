// The one pipeline behind every face of the product: find, unlock, inspect, plan, rehearse, apply,
// verify, seal. The program layer says what it wants, watches the stages and shows the outcome.
//
// On a state disk everything before apply happens on a view in memory (disk/volume.h), the apply
// included: it is carried out, verified and taken back there before the disk itself is opened.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "rescue/backup/restore.h"
#include "rescue/disk/unlock_cost.h"
#include "rescue/disk/volume.h"
#include "rescue/edit/executor.h"
#include "rescue/etcd/advice.h"
#include "rescue/etcd/plan.h"
#include "rescue/secret/secret.h"
#include "rescue/session/boot_safety.h"
#include "rescue/session/target.h"
#include "rescue/session/unlock_cache.h"
#include "rescue/session/wishes.h"

namespace rescue::session {

enum class Stage {
  kFind,
  kUnlock,
  kInspect,
  kPlan,
  kRehearse,
  kApply,
  kVerify,
  kUndo,
  kSeal,
  kLook
};
std::string_view Name(Stage stage);

struct StageTime {
  Stage stage = Stage::kFind;
  bool ok = false;
  std::chrono::milliseconds took{0};
  std::string text;  // one line: what came of it
};

// Long work within a stage.
struct Work {
  std::string object;                        // what is being read: the name of a file
  std::uint64_t done = 0;                    // bytes
  std::uint64_t total = 0;                   // bytes, of all objects of this kind of work
  std::uint64_t rate = 0;                    // bytes a second so far; 0: not known yet
  std::optional<std::chrono::seconds> left;  // nothing: not known yet
};

// Called when a stage starts and when it ends.
class Observer {
 public:
  virtual ~Observer() = default;
  virtual void Started(Stage /*stage*/) {}
  virtual void Ended(const StageTime& /*stage*/) {}
  // Bytes done and in all, of a long stage.
  virtual void Progress(Stage /*stage*/, std::uint64_t /*done*/, std::uint64_t /*total*/) {}
  // The same with more to say; about four times a second. Progress is called, too.
  virtual void Working(Stage /*stage*/, const Work& /*work*/) {}
};

// kLook opens the data directory, calls Request::look and closes it again: for everything that only
// reads (look.h). kRehearse is kApply up to the first byte that it would write: on a disk the plan
// is carried out, verified and taken back on a view.
enum class Command { kInspect, kPlan, kRehearse, kApply, kVerify, kUndo, kLook };

struct Request {
  Command command = Command::kInspect;
  // Exactly one of both: a data directory on this machine, or a disk ("" finds the only one).
  std::string data_directory;
  std::optional<std::string> disk;
  // How long a disk that is not there yet is waited for.
  std::chrono::seconds wait_for_disk{0};
  // Asked only when a disk is to be unlocked.
  std::function<Result<secret::Secret>()> secret;
  // Where volume keys are kept between runs of one face; not used when null. A disk whose key is in
  // it is opened without asking for the secret.
  UnlockCache* unlocked = nullptr;
  // Open the disk with its own tokens (systemd-tpm2) and this machine's TPM; a passphrase from
  // `secret`, when there is one, is the PIN.
  bool use_token = false;
  disk::HeaderPolicy policy;
  std::string journal_directory;  // empty: beside the data directory
  // etcd's --wal-dir: a path on this machine, for a disk one in its volume; empty: where member/wal
  // or the node's manifest says.
  std::string log_directory;
  // The disk that may be changed, by the UUID of its LUKS header or (unencrypted) file system; any
  // other is refused. Empty: whatever was found.
  std::string consent_luks_uuid;
  etcd::Wishes wishes;
  BackupWishes backup;  // of strategy restore, from a backup
  // The plan that the operator confirmed; kApply refuses ("plan-stale") to do any other. Empty:
  // whatever the wishes lead to.
  std::string confirmed_plan;
  // Plan what the advice recommends instead of wishes.strategy (kPlan only).
  bool recommend = false;
  bool check_backend = true;  // look at every page of the backend
  bool keep_report = true;    // beside the journal, after an apply
  // Asked between stages, as long as nothing is written; true ends the run with kRefused
  // "cancelled". Called by the thread that runs the pipeline. Not asked when empty.
  std::function<bool()> cancelled;
  // For kLook: what is to be done while the data directory is open, on the view of a disk; it must
  // not write. Gives one line for the stage.
  std::function<Result<std::string>(const Target&, Observer&)> look;
};

struct DiskFacts {
  disk::FoundDisk found;
  disk::Profile profile = disk::Profile::kConstellation;
  // About the header: its two copies, and what was accepted by name.
  std::vector<disk::HeaderFinding> findings;
  std::optional<disk::UnlockCost> cost;
  int key_slot = -1;        // -1: not unlocked, or not encrypted
  int token = -1;           // that opened it
  std::string file_system;  // "": not opened
  BootSafety boot;
  // The same in short: false when it is not safe, or not known to be.
  bool boot_safe = false;
  std::string boot_unsafe_reason;
  std::vector<std::string> warnings;

  void TakeBoot(BootSafety safety);
};

// Filled as far as the pipeline came, also when it ended with an error.
struct Outcome {
  std::vector<StageTime> stages;
  std::optional<DiskFacts> disk;
  std::optional<NodeFacts> node;
  std::string journal_path;
  std::string log_path;                     // empty: in the data directory
  std::vector<edit::JournalInfo> journals;  // that were there before
  std::optional<etcd::Findings> findings;   // as found
  std::optional<etcd::Advice> advice;       // when it was asked for, or the plan could not be made
  std::optional<etcd::Plan> plan;
  std::optional<etcd::BootVerdict> verdict;  // of the rehearsal, then of the verification
  std::optional<edit::ApplyOutcome> applied;
  std::optional<edit::UndoOutcome> undone;
  std::optional<backup::Built> built;  // of a restore from a backup
  std::optional<disk::SealReport> sealed;
};

// Runs one command. Nothing is changed unless the command is kApply or kUndo.
Status Run(const Request& request, Observer& observer, Outcome& outcome);

}  // namespace rescue::session
