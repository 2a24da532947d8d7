// The wizard's states that tests look at, with the outcome of real runs on a real survivor and
// disks made up around it. For tests only.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "tests/support/fixtures.h"
#include "tui/model.h"

namespace rescue::tui::testing {

// An engine that runs the task at once, on a data directory, and dresses the outcome up as that of
// a state disk.
class Story {
 public:
  Story();

  Model model;

  // Keys as a person has them: "enter", "esc", "tab", "down", "f3" ..., or text that is typed.
  void Press(const std::string& key);
  void Type(std::string_view text);
  // On the secret's screen: type it, end it, and let the pause pass.
  void Unlock(const std::string& secret);
  // Runs what was started and lets the model hear of it.
  void Work();
  // Lets the model hear of some stages only: the picture while it works.
  void WorkHalf();
  // The next task fails with this.
  void FailNext(Error error) { failure_ = std::move(error); }
  // The next task ends with the TPM wanting a PIN.
  void AskForPin(session::PinTries tries) { pin_tries_ = tries; }

  std::vector<Effect> others;  // effects that are no tasks
  int started = 0;

  static disk::FoundDisk Disk(const std::string& path, const std::string& uuid);

 private:
  void Take(Effects effects);
  Finished Do(const Task& task);
  Finished Run(const Task& task);
  void DressUp(session::Outcome& outcome) const;

  std::string Directory(const Task& task);

  std::optional<rescue::testing::TemporaryDirectory> own_;  // once something is written
  std::optional<Task> task_;
  std::optional<Error> failure_;
  std::optional<session::PinTries> pin_tries_;
};

struct Scene {
  std::string name;
  View view;
};
// Every screen, in the order of the way through; played once a process.
const std::vector<Scene>& AllScenes();

}  // namespace rescue::tui::testing
