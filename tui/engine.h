// The work behind the screens, one task at a time: each is one run of session's pipeline, on a
// thread of its own. Between two tasks nothing is open.
//
//   wizard ── Start(task) ──> worker thread ── session::Run ──┐
//          <── Take(): progress, stages, what came of it ─────┘   fd() says when
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "rescue/session/look.h"
#include "rescue/session/other_disk.h"
#include "rescue/session/pipeline.h"
#include "rescue/session/secret_from.h"

namespace rescue::tui {

using session::SecretFrom;

// One data directory, or one disk.
struct Place {
  std::string data_directory;  // empty for a disk
  std::string disk;            // path
  std::string luks_uuid;
  std::string Name() const { return data_directory.empty() ? disk : data_directory; }
  bool is_disk() const { return data_directory.empty(); }
  bool operator==(const Place&) const = default;
};

// Which disks are there, and is a secret sealed to the TPM?
struct FindTask {
  std::vector<std::string> disks;  // these only, when there are any
  bool tpm = false;                // the machine has one
  std::string after;               // a file that is to be there first; none when empty
};
// Diagnosis of one place, with the recommended plan; comparison of several.
struct LookTask {
  std::vector<Place> places;
  std::optional<SecretFrom> secret;  // nothing: the disks were opened before
  std::string journal_directory;
};
// What would be done with these wishes; nothing is written.
struct PlanTask {
  Place place;
  etcd::Wishes wishes;
  std::string journal_directory;
};
// The plan that was confirmed, and no other.
struct ApplyTask {
  Place place;
  etcd::Wishes wishes;
  std::string confirmed_plan;
  std::string journal_directory;
};
struct UndoTask {
  Place place;
  std::optional<SecretFrom> secret;
  std::string journal_directory;
};
// The report as PATH.txt and PATH.json, on this machine or on another disk.
struct SaveTask {
  std::string path;
  std::optional<disk::FoundDisk> disk;
  std::string text;
  std::string json;
};
using Task = std::variant<FindTask, LookTask, PlanTask, ApplyTask, UndoTask, SaveTask>;

// ---- what comes back ----

struct StageBegan {
  session::Stage stage{};
};
struct StageEnded {
  session::StageTime stage;
};
struct Progressed {
  session::Stage stage{};
  std::uint64_t done = 0;
  std::uint64_t total = 0;
};
// In the order of Task.
enum class TaskKind { kFind, kLook, kPlan, kApply, kUndo, kSave };
// The task is over. Which fields are filled depends on it.
struct Finished {
  TaskKind what = TaskKind::kFind;
  Status status;
  std::optional<session::PinTries> pin_tries;  // a PIN is wanted
  std::vector<disk::FoundDisk> disks;
  std::optional<Result<std::string>> sealed;  // where, when the TPM was looked at
  session::Outcome outcome;
  std::optional<etcd::Comparison> comparison;
  std::vector<session::Outcome> compared;  // one for each place of a comparison
};
using Report = std::variant<StageBegan, StageEnded, Progressed, Finished>;

class Engine {
 public:
  virtual ~Engine() = default;
  // Only when the last task has finished.
  virtual void Start(Task task) = 0;
  // Readable when Take() has something.
  virtual int fd() const = 0;
  // In the order in which it happened; of several Progressed in a row only the last.
  virtual std::vector<Report> Take() = 0;
  // Wipes what opened the disks.
  virtual void Forget() = 0;
};

std::unique_ptr<Engine> MakeSessionEngine();

}  // namespace rescue::tui
