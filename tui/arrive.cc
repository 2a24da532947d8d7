// Where the wizard goes when a task has ended.
#include <algorithm>

#include "tui/screens.h"

namespace rescue::tui {
namespace {

constexpr int kTries = 3;

void ArriveAtDisks(Model& model, Finished finished) {
  model.found = finished.status.has_value();
  if (!finished.status) {
    model.notice = ErrorLines(finished.status.error());
    return;
  }
  // Marks survive a second look as long as the disk does.
  std::vector<bool> marks;
  for (const auto& disk : finished.disks) {
    const auto before = std::ranges::find(model.disks, disk.path, &disk::FoundDisk::path);
    const auto position = static_cast<std::size_t>(before - model.disks.begin());
    marks.push_back(before != model.disks.end() && disk.is_candidate && model.marks[position]);
  }
  model.disks = std::move(finished.disks);
  model.sealed = std::move(finished.sealed);
  model.marks = std::move(marks);
  // The only state disk is the one that is meant.
  const auto chosen = disk::ChooseDisk(model.disks);
  if (!chosen || std::ranges::count(model.marks, true) > 0) return;
  for (std::size_t i = 0; i < model.disks.size(); ++i) {
    model.marks[i] = model.disks[i].path == chosen->path;
    if (model.marks[i]) model.spots[Screen::kDisks].focus = static_cast<int>(i);
  }
}

// Whether the TPM wants a PIN, for the first time or again. Only a wrong one is a try.
bool AsksForPin(Model& model, const Error& error) {
  if (error.code == "tpm-pin-needed") {
    model.notice.clear();
  } else if (error.code == "tpm-last-try") {
    model.spend_last_try = true;
    model.notice = {
        Text("error: " + error.message, Style::kBad),
        Text("This is the last try. Type the PIN only if you are sure of it; Esc goes back. The "
             "TPM forgets wrong tries as time passes.",
             Style::kWarn)};
  } else {
    return false;
  }
  model.step = SecretStep::kPin;
  return true;
}

// Wrong secrets are counted; everything else is said where the operator stands.
Effects Refused(Model& model, const Error& error) {
  model.notice = ErrorLines(error);
  if (model.screen != Screen::kSecret || error.kind != ErrorKind::kCannotUnlock) return {};
  WipeSecret(model);
  if (AsksForPin(model, error)) return {};
  if (error.code == "tpm-wrong-pin") model.spend_last_try = false;
  if (++model.tries < kTries) return {};
  model.tries = 0;
  model.step = SecretStep::kSource;
  const std::vector<Line> notice = model.notice;
  const bool for_undo = std::exchange(model.for_undo, false);
  GoTo(model, for_undo ? Screen::kReport : Screen::kDisks);
  model.notice = notice;
  model.notice.push_back(
      Text("Three tries did not open the disk. Look for the right secret, and "
           "for the right disk.",
           Style::kWarn));
  return With(ForgetKeys{});
}

Effects ArriveAtLook(Model& model, Finished finished) {
  if (finished.comparison) {
    model.comparison = std::move(finished.comparison);
    model.compared = std::move(finished.compared);
    GoTo(model, Screen::kCompare);
    model.spots[Screen::kCompare].focus =
        static_cast<int>(model.comparison->recommended.value_or(0));
    return {};
  }
  // Without findings there is nothing to show: the disk did not open, or etcd still runs.
  if (!finished.status && !finished.outcome.findings) {
    return Refused(model, finished.status.error());
  }
  model.look = std::move(finished.outcome);
  model.look_status = std::move(finished.status);
  model.place = model.places.front();
  if (model.look.disk) {
    for (const auto& place : model.places) {
      if (place.disk == model.look.disk->found.path) model.place = place;
    }
  } else if (model.screen == Screen::kCompare) {
    model.place = model.places[static_cast<std::size_t>(model.spots[Screen::kCompare].focus)];
  }
  model.alternative.reset();
  model.spots.erase(Screen::kPath);
  GoTo(model, Screen::kDiagnosis);
  return {};
}

Effects ArriveAtReview(Model& model, Finished finished) {
  if (!finished.status) {
    model.notice = ErrorLines(finished.status.error());
    return {};
  }
  model.plan = std::move(finished.outcome);
  model.review_undo = false;
  model.typed_confirmation.clear();
  model.spots.erase(Screen::kReview);
  GoTo(model, Screen::kReview);
  return {};
}

Effects ArriveAtReport(Model& model, Finished finished, bool undo) {
  if (undo && !finished.status && finished.status.error().kind == ErrorKind::kCannotUnlock) {
    return Refused(model, finished.status.error());
  }
  model.result = std::move(finished.outcome);
  model.result_status = std::move(finished.status);
  model.applied = model.applied || !undo;
  model.undone = undo && model.result_status.has_value();
  model.for_undo = false;
  model.review_undo = false;
  model.report_saved = false;
  if (model.report_path.empty()) model.report_path = model.setup.report_path;
  model.spots.erase(Screen::kReport);
  GoTo(model, Screen::kReport);
  model.spots.erase(Screen::kReport);
  return With(ForgetKeys{});
}

}  // namespace

Effects Arrive(Model& model, Finished finished) {
  model.pin_tries = finished.pin_tries;
  switch (finished.what) {
    case TaskKind::kFind:
      ArriveAtDisks(model, std::move(finished));
      return {};
    case TaskKind::kLook:
      return ArriveAtLook(model, std::move(finished));
    case TaskKind::kPlan:
      return ArriveAtReview(model, std::move(finished));
    case TaskKind::kApply:
      return ArriveAtReport(model, std::move(finished), false);
    case TaskKind::kUndo:
      return ArriveAtReport(model, std::move(finished), true);
    case TaskKind::kSave:
      break;
  }
  model.report_saved = finished.status.has_value();
  model.notice = finished.status ? std::vector<Line>{Text("The report was saved.", Style::kGood)}
                                 : ErrorLines(finished.status.error());
  return {};
}

}  // namespace rescue::tui
