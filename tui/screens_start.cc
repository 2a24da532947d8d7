// Welcome, Disks.
#include <algorithm>

#include "tui/screens.h"

namespace rescue::tui {
namespace {

// ---- Welcome ----

View ShowWelcome(const Model& model) {
  View view = Blank(model);
  view.body = {
      Text("This rescues etcd from the last survivor of a cluster that lost its quorum."),
      Text(""),
      Text("  1  It looks: which disk, which member, what log and backend hold."),
      Text("  2  It plans: every change, what is kept and what is lost, in numbers."),
      Text("  3  It asks you to confirm that plan by typing a word."),
      Text("  4  It writes, behind a journal that can take it all back, and verifies."),
      Text(""),
      Text("Nothing is changed before you confirm. Until then you can go back on every screen.",
           Style::kStrong),
      Text(""),
      Text(NeedsSecret(model)
               ? "Have the cluster's master secret ready (constellation-mastersecret.json)."
               : "etcd must be stopped on this machine."),
      Text("All other members are given up for good: they must never start again with their old "
           "data."),
  };
  view.question = "Continue";
  view.commands = {{Action::kContinue, 0, 0, "Continue"}};
  AddUsual(view);
  return view;
}

Effects Rescan(Model& model) {
  if (NeedsSecret(model)) {
    return Start(model, "Looking for disks", false,
                 FindTask{model.setup.disks, model.setup.tpm, model.setup.after});
  }
  return {};
}

Effects ActOnWelcome(Model& model, Action action) {
  if (action != Action::kContinue) return {};
  GoTo(model, Screen::kDisks);
  if (!NeedsSecret(model)) {
    model.marks.resize(model.setup.data_directories.size(), true);
    return {};
  }
  return model.found ? Effects{} : Rescan(model);
}

// ---- Disks ----

std::size_t Places(const Model& model) {
  return NeedsSecret(model) ? model.disks.size() : model.setup.data_directories.size();
}

bool IsCandidate(const Model& model, std::size_t i) {
  return !NeedsSecret(model) || model.disks[i].is_candidate;
}

View ShowDisks(const Model& model) {
  View view = Blank(model);
  const bool disks = NeedsSecret(model);
  view.multiple = true;
  std::size_t candidates = 0;
  for (std::size_t i = 0; i < Places(model); ++i) {
    Choice choice;
    choice.selectable = IsCandidate(model, i);
    if (choice.selectable) {
      choice.marked = model.marks[i];
      ++candidates;
    }
    if (disks) {
      const auto& disk = model.disks[i];
      // The same words as `disks`: what it is up to the colon, why in a line of its own.
      const std::string text = disk::Describe(disk);
      const auto why = text.rfind(": " + disk.why);
      choice.label = text.substr(0, why);
      choice.details = {Text(disk.why)};
      std::string drive = disk.model;
      if (!disk.serial.empty()) drive += (drive.empty() ? "" : ", ") + ("serial " + disk.serial);
      if (!drive.empty()) choice.details.push_back(Text(drive));
    } else {
      choice.label = model.setup.data_directories[i];
    }
    view.choices.push_back(std::move(choice));
  }
  if (candidates == 0) {
    view.body = {Text("No state disk was found.", Style::kBad),
                 Text("Attach the broken node's state disk to this machine, then look again (r). "
                      "Every disk that is there is listed below with the reason why it is none.")};
  } else {
    view.body = {Text(
        disks ? "Which state disk is to be rescued?" : "Which data directory is to be rescued?",
        Style::kStrong)};
    if (Places(model) > 1) {
      view.body.push_back(
          Text("With several survivors of one cluster mark all of them: they are compared first, "
               "and one is chosen. The others are never changed."));
    }
  }
  view.question = "Numbers, separated by commas";
  if (candidates > 0) view.commands.push_back({Action::kContinue, 0, 0, "Continue"});
  if (candidates > 1) view.body.push_back(Text("Space marks, Enter continues."));
  if (disks) view.commands.push_back({Action::kRescan, 'r', 5, "Look again"});
  view.commands.push_back({Action::kBack, 'b', 0, "Back"});
  AddUsual(view);
  return view;
}

Effects ContinueFromDisks(Model& model) {
  model.places.clear();
  for (std::size_t i = 0; i < Places(model); ++i) {
    if (!IsCandidate(model, i) || !model.marks[i]) continue;
    if (NeedsSecret(model)) {
      model.places.push_back({"", model.disks[i].path, model.disks[i].luks_uuid});
    } else {
      model.places.push_back({model.setup.data_directories[i], "", ""});
    }
  }
  if (model.places.empty()) {
    model.notice = {Text("Mark a disk first: Space marks.", Style::kWarn)};
    return {};
  }
  model.comparison.reset();
  if (!NeedsSecret(model)) return LookAtPlaces(model, std::nullopt);
  GoTo(model, Screen::kSecret);
  model.step = SecretStep::kSource;
  model.for_undo = false;
  model.tries = 0;
  return {};
}

Effects ChooseDisk(Model& model, std::size_t choice) {
  // Enter on the only thing there is to choose says enough.
  if (std::ranges::none_of(model.marks, [](bool mark) { return mark; })) model.marks[choice] = true;
  return ContinueFromDisks(model);
}

Effects MarkDisk(Model& model, std::size_t choice) {
  model.marks[choice] = !model.marks[choice];
  model.notice.clear();
  return {};
}

Effects ActOnDisks(Model& model, Action action) {
  if (action == Action::kContinue) return ContinueFromDisks(model);
  if (action == Action::kRescan) return Rescan(model);
  if (action == Action::kBack) GoTo(model, Screen::kWelcome);
  return {};
}

}  // namespace

const ScreenFunctions kWelcomeScreen = {ShowWelcome, nullptr, nullptr, nullptr, ActOnWelcome};
const ScreenFunctions kDisksScreen = {ShowDisks, ChooseDisk, MarkDisk, nullptr, ActOnDisks};

Effects LookAtPlaces(Model& model, std::optional<SecretFrom> secret) {
  return Start(model,
               model.places.size() > 1 ? "Comparing the survivors" : "Looking at the survivor",
               false, LookTask{model.places, std::move(secret), model.setup.journal_directory});
}

}  // namespace rescue::tui
