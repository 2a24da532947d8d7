// The wizard's state and how it changes: one model, whatever the number of consoles. No terminal,
// no thread, no clock in here; everything that happens comes in as a call, and what is to be done
// about it goes out as effects.
//
//   Press, Fill, Choose, Mark, Do, Hear, Tick ──> Model ──> Effects
//                                                   └─ Show ──> View
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "tui/engine.h"
#include "tui/keys.h"
#include "tui/view.h"

namespace rescue::tui {

enum class Screen {
  kWelcome,
  kDisks,
  kSecret,
  kCompare,  // only with several survivors
  kDiagnosis,
  kPath,
  kParameters,
  kReview,
  kApply,
  kReport,
};
std::string_view Title(Screen screen);

// Shown over the screen, which stays as it is.
enum class Overlay { kNone, kHelp, kLog, kDetails, kQuit };

// What the program was started with.
struct Setup {
  std::vector<std::string> data_directories;
  std::vector<std::string> disks;  // these only; none: whatever is found
  std::string secret_file;
  bool tpm = false;        // the machine has one
  std::string credential;  // path of the credential with the secret; empty without one
  std::string journal_directory;
  std::string report_path;  // where a report is saved unless the operator says otherwise
  std::string after;        // disks are looked at once this file is there; at once when empty
  bool appliance = false;   // the machine is ours: power off and reboot instead of an exit
};

// The fields of the parameters screen as they were typed.
struct WishForm {
  std::string peer_urls;
  std::string name;
  std::string token;
  std::string bump;
  bool mark_compacted = false;
  bool clear_alarms = false;
  bool known_only = false;
  bool accept_cut_tail = false;
  bool accept_loss = false;
};

// The task that is running, or ran last.
struct Work {
  bool running = false;
  bool writes = false;     // it changes the disk: no way back until it has ended
  bool abandoned = false;  // stay where we are when it has ended
  std::string what;
  std::vector<session::StageTime> stages;
  std::optional<session::Stage> stage;
  std::uint64_t done = 0;
  std::uint64_t total = 0;
  std::int64_t began = 0;        // milliseconds
  std::int64_t stage_began = 0;  // the same
};

// Where a screen was left, and found again by back.
struct Spot {
  int focus = 0;
  int scroll = 0;
};

// What the secret screen asks for: where from, the secret itself, its path on another disk, or the
// PIN of what is sealed to the TPM.
enum class SecretStep { kSource, kTyping, kPath, kPin };

struct Model {
  Setup setup;
  Screen screen = Screen::kWelcome;
  Overlay overlay = Overlay::kNone;
  std::map<Screen, Spot> spots;
  Spot overlay_spot;
  std::vector<Line> notice;
  std::deque<std::string> log;
  Work work;
  std::int64_t now = 0;  // milliseconds, of a clock that only goes forward

  // Disks
  bool found = false;  // the disks were looked for
  std::vector<disk::FoundDisk> disks;
  std::vector<bool> marks;                    // of disks, or of data directories
  std::optional<Result<std::string>> sealed;  // where a secret is that the TPM may give away
  // Secret
  SecretStep step = SecretStep::kSource;
  std::optional<disk::FoundDisk> secret_disk;
  std::string secret_path = "constellation-mastersecret.json";
  SecretBytes secret;
  std::size_t secret_size = 0;
  bool pasting = false;
  std::int64_t secret_ends = 0;  // 0: not yet; else when a pause after Enter has lasted
  int tries = 0;
  std::optional<session::PinTries> pin_tries;
  bool spend_last_try = false;  // a wrong PIN now locks the TPM, and that was said
  bool for_undo = false;        // the secret is asked for to take an apply back
  // Compare, Diagnosis
  std::vector<Place> places;  // that were chosen
  std::optional<etcd::Comparison> comparison;
  std::vector<session::Outcome> compared;
  Place place;  // the one to be rescued
  session::Outcome look;
  Status look_status;
  // Path, Parameters, Review
  std::optional<std::size_t> alternative;  // position in look.advice
  WishForm form;
  session::Outcome plan;
  bool review_undo = false;  // what is confirmed is not a plan, but taking an apply back
  std::string typed_confirmation;
  // Apply, Report
  session::Outcome result;
  Status result_status;
  bool applied = false;  // result is of an apply
  bool undone = false;   // result is of an undo
  std::string report_path;
  bool report_saved = false;

  // How much of the body the console in charge shows; set after each drawing.
  int page = 10;
  int body_rows = 0;
  int first_row = 0;
};

// ---- what is to be done ----

struct StartTask {
  Task task;
};
struct ForgetKeys {};
struct Repaint {};
struct UseLines {};
struct Leave {
  enum class How { kExit, kPowerOff, kReboot };
  How how = How::kExit;
  int exit_code = 0;
};
using Effect = std::variant<StartTask, ForgetKeys, Repaint, UseLines, Leave>;
using Effects = std::vector<Effect>;

// ---- what happens ----

// A key on the console in charge.
Effects Press(Model& model, const Key& key);
// The same by meaning, for line mode: a choice is taken; its box changes; a field gets a value; a
// command is given (ignored unless it is among Show(model).commands).
Effects Choose(Model& model, std::size_t choice);
Effects Mark(Model& model, std::size_t choice);
Effects Fill(Model& model, std::size_t field, std::string_view value);
Effects Do(Model& model, Action action);
// Bytes of the secret, from a line without echo; then that it is complete.
void TypeSecret(Model& model, ByteView bytes);
Effects SecretEnds(Model& model);

Effects Hear(Model& model, Report report);
// Time passes; `model.now` was set.
Effects Tick(Model& model);
// When Tick has to be called at the latest; 0: not needed.
std::int64_t NextTick(const Model& model);

// A line for the log screen, from whatever source.
void Log(Model& model, std::string line);

View Show(const Model& model);
// What other consoles see while `owner` is in charge; `asking`: whether to take over.
View ShowMirror(const Model& model, std::string_view owner, bool asking);

}  // namespace rescue::tui
