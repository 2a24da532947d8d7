// Compare, Diagnosis, Choose path.
#include <algorithm>

#include "rescue/base/units.h"
#include "rescue/session/look_text.h"
#include "rescue/session/report.h"
#include "rescue/session/wishes.h"
#include "tui/screens.h"

namespace rescue::tui {
namespace {

// ---- Compare ----

// What came of the comparison before the table that it came from: on a small screen the table's end
// is out of sight.
std::vector<Line> VerdictFirst(std::vector<Line> lines) {
  const auto last_gap =
      std::find_if(lines.rbegin(), lines.rend(), [](const Line& l) { return l.text.empty(); });
  auto verdict = last_gap.base();
  // The hash's revision belongs to the table.
  if (verdict != lines.end() && verdict->label.empty()) ++verdict;
  std::rotate(lines.begin(), verdict, lines.end());
  lines.insert(lines.begin() + (lines.end() - verdict), Text(""));
  return lines;
}

View ShowCompare(const Model& model) {
  View view = Blank(model);
  const auto& comparison = *model.comparison;
  view.body = VerdictFirst(FromReport(session::ToText(comparison)));
  for (std::size_t i = 0; i < comparison.survivors.size(); ++i) {
    Choice choice;
    choice.label = "rescue " + comparison.survivors[i].label;
    if (comparison.recommended == i) choice.label += "  (recommended)";
    choice.selectable = comparison.survivors[i].usable();
    view.choices.push_back(std::move(choice));
  }
  view.question = "Number";
  view.commands = {{Action::kContinue, 0, 0, "Continue"}, {Action::kBack, 'b', 0, "Back"}};
  AddUsual(view);
  return view;
}

Effects ChooseSurvivor(Model& model, std::size_t choice) {
  return Start(model, "Looking at the survivor", false,
               LookTask{{model.places[choice]}, std::nullopt, model.setup.journal_directory});
}

Effects BackToSecret(Model& model) {
  model.step = SecretStep::kSource;
  model.tries = 0;
  GoTo(model, NeedsSecret(model) ? Screen::kSecret : Screen::kDisks);
  return With(ForgetKeys{});
}

Effects ActOnCompare(Model& model, Action action) {
  if (action == Action::kBack) return BackToSecret(model);
  return {};
}

// ---- Diagnosis ----

void AddBootVerdict(const Model& model, std::vector<Line>& body) {
  const auto& findings = model.look.findings;
  if (!findings || !findings->log) return;
  const auto verdict = etcd::SimulateBoot(*findings, etcd::RuleFor(*findings));
  if (verdict.leads_alone) {
    body.push_back(Labelled("as it is", "etcd would start and lead alone", Style::kGood));
  } else {
    body.push_back(Labelled("as it is", "etcd would not serve: " + verdict.reason, Style::kWarn));
  }
}

void AddUnfinished(const Model& model, std::vector<Line>& body) {
  if (model.look_status) return;
  for (auto& line : ErrorLines(model.look_status.error())) body.push_back(std::move(line));
  body.push_back(Text(""));
}

View ShowDiagnosis(const Model& model) {
  View view = Blank(model);
  AddUnfinished(model, view.body);
  view.body.push_back(Labelled("rescue", model.place.Name(), Style::kStrong));
  AddBootVerdict(model, view.body);
  for (const auto section :
       {session::Section::kFindings, session::Section::kDisk, session::Section::kNode}) {
    for (auto& line : FromReport(session::ToText(model.look, section))) {
      view.body.push_back(std::move(line));
    }
  }
  view.question = "Continue";
  view.commands = {{Action::kContinue, 0, 0, "Continue"},
                   {Action::kBack, 'b', 0, "Back"},
                   {Action::kDetails, 'd', 3, "Details"}};
  AddUsual(view);
  return view;
}

Effects ActOnDiagnosis(Model& model, Action action) {
  if (action == Action::kContinue) {
    GoTo(model, Screen::kPath);
    return {};
  }
  if (action != Action::kBack) return {};
  if (model.comparison) {
    GoTo(model, Screen::kCompare);
    return {};
  }
  return BackToSecret(model);
}

// ---- Choose path ----

// What can be chosen: an alternative of the advice, or undo.
struct Way {
  std::optional<std::size_t> alternative;
};

std::vector<Way> Ways(const Model& model) {
  std::vector<Way> ways;
  if (const auto& advice = model.look.advice) {
    if (advice->recommended) ways.push_back({advice->recommended});
    for (std::size_t i = 0; i < advice->alternatives.size(); ++i) {
      if (advice->recommended != i) ways.push_back({i});
    }
  }
  if (!model.look.journals.empty()) ways.push_back({std::nullopt});
  return ways;
}

std::string WhatItDoes(const etcd::Wishes& wishes) {
  if (wishes.strategy == etcd::Strategy::kForceNewCluster) {
    return "same cluster and member ID, the log goes on";
  }
  return wishes.keep_ids ? "same cluster and member ID, a new log behind the backend"
                         : "a new cluster with new IDs, from the survivor's own backend";
}

Choice DescribeAlternative(const etcd::Alternative& way, bool recommended) {
  Choice choice;
  choice.label = way.flags;
  if (recommended) choice.label += "  RECOMMENDED";
  choice.details.push_back(Text(WhatItDoes(way.wishes)));
  if (way.error) {
    choice.selectable = false;
    choice.details.push_back(Text("not possible: " + way.error->message, Style::kDim));
    return choice;
  }
  choice.details.push_back(
      Text("loses " + etcd::Describe(way.loss), way.loss.none() ? Style::kGood : Style::kWarn));
  return choice;
}

Choice DescribeUndo(const Model& model) {
  const auto& journal = model.look.journals.back();
  Choice choice;
  choice.label = "undo: take the last apply back";
  const bool unfinished = journal.state != edit::JournalState::kApplied;
  choice.details = {
      Text(fmt::format("journal {} ({}{}) in {}", journal.name, FormatSize(journal.size),
                       unfinished ? ", its apply did not finish" : "", model.look.journal_path))};
  return choice;
}

View ShowPath(const Model& model) {
  View view = Blank(model);
  for (const auto& way : Ways(model)) {
    if (way.alternative) {
      view.choices.push_back(
          DescribeAlternative(model.look.advice->alternatives[*way.alternative],
                              model.look.advice->recommended == way.alternative));
    } else {
      view.choices.push_back(DescribeUndo(model));
    }
  }
  view.body = {Text("Which way is to be taken?", Style::kStrong)};
  if (model.look.advice) {
    std::string label = "because";
    for (const auto& reason : model.look.advice->reasons) {
      view.body.push_back(Labelled(std::exchange(label, ""), reason));
    }
  } else {
    AddUnfinished(model, view.body);
  }
  view.question = "Number";
  const bool any = std::ranges::any_of(view.choices, &Choice::selectable);
  if (any) view.commands.push_back({Action::kContinue, 0, 0, "Choose"});
  view.commands.push_back({Action::kBack, 'b', 0, "Back"});
  view.commands.push_back({Action::kDetails, 'd', 3, "Details"});
  AddUsual(view);
  return view;
}

// The survivor as the recommended plan leaves it, when there is one.
const raftlog::Member* KnownSurvivor(const Model& model) {
  return model.look.plan ? &model.look.plan->survivor : nullptr;
}

WishForm PrefilledForm(const Model& model, const etcd::Wishes& wishes) {
  WishForm form;
  if (const auto* survivor = KnownSurvivor(model)) {
    form.peer_urls = session::JoinPeerUrls(survivor->peer_urls);
    form.name = survivor->name;
  }
  if (!wishes.name.empty()) form.name = wishes.name;
  if (!wishes.peer_urls.empty()) form.peer_urls = session::JoinPeerUrls(wishes.peer_urls);
  form.token = wishes.token;
  return form;
}

Effects ChooseWay(Model& model, std::size_t choice) {
  const Way way = Ways(model)[choice];
  if (!way.alternative) {
    AskForUndo(model);
    return {};
  }
  const auto& alternative = model.look.advice->alternatives[*way.alternative];
  // Going back and on again keeps what was typed.
  if (model.alternative != way.alternative) {
    model.form = PrefilledForm(model, alternative.wishes);
    model.spots.erase(Screen::kParameters);
  }
  model.alternative = way.alternative;
  GoTo(model, Screen::kParameters);
  return {};
}

Effects ActOnPath(Model& model, Action action) {
  if (action == Action::kBack) GoTo(model, Screen::kDiagnosis);
  return {};
}

}  // namespace

const ScreenFunctions kCompareScreen = {ShowCompare, ChooseSurvivor, nullptr, nullptr,
                                        ActOnCompare};
const ScreenFunctions kDiagnosisScreen = {ShowDiagnosis, nullptr, nullptr, nullptr, ActOnDiagnosis};
const ScreenFunctions kPathScreen = {ShowPath, ChooseWay, nullptr, nullptr, ActOnPath};

}  // namespace rescue::tui
