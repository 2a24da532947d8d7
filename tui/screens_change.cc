// Parameters, Review, Apply, Report.
#include <algorithm>

#include "rescue/base/units.h"
#include "rescue/session/report.h"
#include "rescue/session/wishes.h"
#include "tui/screens.h"

namespace rescue::tui {
namespace {

// ---- Parameters ----

// One field of the form: how it is shown, and how it is set.
struct FormField {
  Field field;
  std::string* text = nullptr;
  bool* on = nullptr;
};

const etcd::Alternative& Chosen(const Model& model) {
  return model.look.advice->alternatives[*model.alternative];
}

FormField TextField(std::string label, std::string& text, std::string note, std::string error) {
  return {{std::move(label), Field::Kind::kText, text, false, std::move(note), std::move(error)},
          &text,
          nullptr};
}

FormField Toggle(std::string label, bool& on, std::string note, std::string error = {}) {
  return {{std::move(label), Field::Kind::kToggle, "", on, std::move(note), std::move(error)},
          nullptr,
          &on};
}

template <typename T>
std::string Wrong(const Result<T>& result) {
  return result ? "" : result.error().message + "; " + result.error().hint;
}

void AddRestoreFields(const etcd::Wishes& wishes, WishForm& form, std::vector<FormField>& fields) {
  fields.push_back(TextField("member name", form.name, "as etcd's --name on this node",
                             form.name.empty() ? "a member needs a name" : ""));
  if (!wishes.keep_ids) {
    fields.push_back(TextField("cluster token", form.token,
                               "the new IDs derive from it: another token, other IDs",
                               form.token.empty() ? "new IDs need a token" : ""));
  }
}

std::string LossText(const etcd::Alternative& way) {
  std::string text = "it loses " + etcd::Describe(way.loss);
  for (const auto& lost : way.lost) text += "; " + lost;
  return text;
}

void AddAcceptance(const etcd::Alternative& way, WishForm& form, std::vector<FormField>& fields) {
  if (way.wishes.accept_cut_tail) {
    fields.push_back(Toggle("cut the log's end", form.accept_cut_tail,
                            "the last record is damaged in a way etcd would refuse; what is cut "
                            "goes to the journal",
                            form.accept_cut_tail ? "" : "this way needs your yes"));
  }
  if (way.wishes.accept_loss) {
    fields.push_back(Toggle("accept the loss", form.accept_loss, LossText(way),
                            form.accept_loss ? "" : "this way needs your yes: " + LossText(way)));
  }
}

bool UrlsAreAsFound(const Model& model, const WishForm& form) {
  return model.look.plan &&
         form.peer_urls == session::JoinPeerUrls(model.look.plan->survivor.peer_urls);
}

// In the order in which they are asked; what does not apply to the chosen way is left out.
std::vector<FormField> FormFields(const Model& model, WishForm& form) {
  const etcd::Alternative& way = Chosen(model);
  const bool restore = way.wishes.strategy == etcd::Strategy::kRestore;
  std::vector<FormField> fields;
  const auto urls = session::ParsePeerUrls(form.peer_urls);
  // What is on the disk already may stay, whatever we think of it.
  const bool as_found = UrlsAreAsFound(model, form);
  fields.push_back(TextField(
      "peer URLs", form.peer_urls,
      as_found && !urls ? "as on the disk; but it only reaches the machine itself, and no other "
                          "member could join there"
                        : "the survivor's from now on, as in --initial-advertise-peer-urls",
      as_found ? "" : Wrong(urls)));
  if (restore) AddRestoreFields(way.wishes, form, fields);
  fields.push_back(TextField("raise revision by", form.bump,
                             "0 or empty: not at all; 1000000000 makes watchers notice",
                             Wrong(session::ParseBump(form.bump))));
  const bool bumps = session::ParseBump(form.bump).value_or(0) > 0;
  fields.push_back(Toggle("mark compacted", form.mark_compacted,
                          "with a raised revision: watchers list again",
                          form.mark_compacted && !bumps ? "only with a raised revision" : ""));
  if (model.look.findings && model.look.findings->backend &&
      !model.look.findings->backend->alarms.empty()) {
    fields.push_back(Toggle("clear alarms", form.clear_alarms, "of lost members, too"));
  }
  fields.push_back(Toggle("drop the unknown", form.known_only,
                          "yes drops log entries above the last known commit index, which may "
                          "have been acknowledged"));
  AddAcceptance(way, form, fields);
  return fields;
}

View ShowParameters(const Model& model) {
  View view = Blank(model);
  view.body = {Labelled("way", Chosen(model).flags, Style::kStrong)};
  // Only for looking: nothing is set through these pointers here.
  WishForm copy = model.form;
  for (auto& field : FormFields(model, copy)) view.fields.push_back(std::move(field.field));
  view.choices = {{"Make the plan and rehearse it; nothing is written", {}, true, std::nullopt}};
  view.question = "Continue";
  view.commands = {{Action::kContinue, 0, 0, "Next"},
                   {Action::kBack, 'b', 0, "Back"},
                   {Action::kDetails, 'd', 3, "Details"}};
  AddUsual(view);
  return view;
}

etcd::Wishes WishesOf(const Model& model) {
  const WishForm& form = model.form;
  etcd::Wishes wishes = Chosen(model).wishes;
  wishes.accept_cut_tail = wishes.accept_cut_tail && form.accept_cut_tail;
  wishes.accept_loss = wishes.accept_loss && form.accept_loss;
  if (!UrlsAreAsFound(model, form))
    wishes.peer_urls = session::ParsePeerUrls(form.peer_urls).value();
  wishes.bump_revision = session::ParseBump(form.bump).value();
  wishes.mark_compacted = form.mark_compacted;
  wishes.clear_alarms = form.clear_alarms;
  wishes.commit = form.known_only ? etcd::CommitLimit::kKnown : etcd::CommitLimit::kLogEnd;
  if (wishes.strategy == etcd::Strategy::kRestore) {
    wishes.name = form.name;
    if (!wishes.keep_ids) {
      // A token that somebody chose says that this very cluster is wanted.
      wishes.token_is_random = wishes.token_is_random && form.token == wishes.token;
      wishes.token = form.token;
    }
  }
  return wishes;
}

Effects MakePlan(Model& model) {
  const auto fields = FormFields(model, model.form);
  for (std::size_t i = 0; i < fields.size(); ++i) {
    if (fields[i].field.error.empty()) continue;
    model.spots[Screen::kParameters].focus = static_cast<int>(i);
    model.notice = {Text("This field has to be put right first.", Style::kWarn)};
    return {};
  }
  return Start(model, "Making the plan", false,
               PlanTask{model.place, WishesOf(model), model.setup.journal_directory});
}

Effects ChooseInParameters(Model& model, std::size_t) { return MakePlan(model); }

Effects FillParameter(Model& model, std::size_t number, std::string_view value) {
  auto fields = FormFields(model, model.form);
  if (number >= fields.size()) return {};
  auto& field = fields[number];
  if (field.text != nullptr) *field.text = std::string(value);
  if (field.on != nullptr) *field.on = value == "yes";
  model.notice.clear();
  return {};
}

Effects ActOnParameters(Model& model, Action action) {
  if (action == Action::kContinue) return MakePlan(model);
  if (action == Action::kBack) GoTo(model, Screen::kPath);
  return {};
}

// ---- Review ----

// What has to be typed: it cannot be right by accident, and belongs to this plan only.
std::string Word(const Model& model) {
  if (model.review_undo) return "undo";
  return model.plan.plan->fingerprint.substr(0, 4);
}

void DescribeUndoPlan(const Model& model, View& view) {
  view.body = {
      Text("Taking the last apply back", Style::kStrong),
      Labelled("where", model.place.Name()),
      Labelled("journal",
               model.applied && model.result.applied
                   ? model.result.applied->journal_name + " in " + model.result.journal_path
                   : model.look.journals.back().name + " in " + model.look.journal_path),
      Text(""),
      Text("Every touched file gets back the bytes, size, owner, mode and time that it had before. "
           "If anything has changed it since, nothing is written."),
  };
}

void DescribePlan(const Model& model, View& view) {
  const auto& plan = *model.plan.plan;
  view.body = FromReport(session::ToText(model.plan, session::Section::kPlan));
  // The section begins with a gap, which a screen does not need.
  if (!view.body.empty() && view.body.front().text.empty()) view.body.erase(view.body.begin());
  if (plan.nothing_to_do()) return;
  std::vector<Line> head = {Labelled("change", model.place.Name(), Style::kStrong)};
  head.push_back(
      Labelled("revision",
               plan.revision_after > plan.revision_before
                   ? fmt::format("{} becomes {}", plan.revision_before, plan.revision_after)
                   : fmt::format("{}, not raised", model.look.findings->backend
                                                       ? model.look.findings->backend->latest.main
                                                       : plan.revision_before)));
  if (plan.lost.empty()) {
    head.push_back(Labelled("lost", etcd::Describe(plan.loss), Style::kGood));
  }
  view.body.insert(view.body.begin() + 1, head.begin(), head.end());
  view.body.push_back(Labelled("undo", "a journal in " + model.plan.journal_path));
  for (auto& line : FromReport(session::ToText(model.plan, session::Section::kResult))) {
    if (!line.text.empty()) view.body.push_back(std::move(line));
  }
}

View ShowReview(const Model& model) {
  View view = Blank(model);
  const bool nothing = !model.review_undo && model.plan.plan->nothing_to_do();
  if (model.review_undo) {
    DescribeUndoPlan(model, view);
  } else {
    DescribePlan(model, view);
  }
  if (!nothing) {
    Field field;
    field.label =
        model.review_undo ? "Type undo to start" : fmt::format("Type {} to write", Word(model));
    field.kind = Field::Kind::kConfirm;
    field.value = model.typed_confirmation;
    field.note = model.review_undo ? "then Enter" : "the plan's first 4 characters; then Enter";
    view.question = field.label + ", or /b to go back";
    view.fields.push_back(std::move(field));
    // Off the field letters are keys again, for lines that swallow function keys.
    view.choices = {{"Show all of it first", {}, true, std::nullopt}};
  } else {
    view.question = "Continue";
  }
  view.commands = {{Action::kContinue, 0, 0,
                    nothing             ? "Continue"
                    : model.review_undo ? "Undo"
                                        : "Apply"},
                   {Action::kBack, 'b', 0, "Back"},
                   {Action::kDetails, 'd', 3, "Details"}};
  AddUsual(view);
  return view;
}

Effects StartUndo(Model& model) {
  // After an apply the keys are gone; before one they are still there.
  if (NeedsSecret(model) && model.applied) {
    GoTo(model, Screen::kSecret);
    model.for_undo = true;
    model.step = SecretStep::kSource;
    model.tries = 0;
    return {};
  }
  model.for_undo = true;
  return Start(model, "Taking the last apply back", true,
               UndoTask{model.place, std::nullopt, model.setup.journal_directory});
}

Effects ContinueFromReview(Model& model) {
  if (!model.review_undo && model.plan.plan->nothing_to_do()) {
    model.result = std::move(model.plan);
    model.plan = {};
    model.result_status = {};
    GoTo(model, Screen::kReport);
    return With(ForgetKeys{});
  }
  if (model.typed_confirmation != Word(model)) {
    if (!model.typed_confirmation.empty()) {
      model.notice = {
          Text(fmt::format("That is not {}; nothing was written.", Word(model)), Style::kWarn)};
      model.typed_confirmation.clear();
    }
    return {};
  }
  model.typed_confirmation.clear();
  if (model.review_undo) return StartUndo(model);
  ApplyTask task{model.place, WishesOf(model), model.plan.plan->fingerprint,
                 model.setup.journal_directory};
  GoTo(model, Screen::kApply);
  return Start(model, "Applying the plan", true, std::move(task));
}

Effects FillConfirmation(Model& model, std::size_t, std::string_view value) {
  constexpr std::size_t kLongest = 16;
  model.typed_confirmation = std::string(value.substr(0, kLongest));
  return {};
}

Effects ShowAllOfIt(Model& model, std::size_t) { return Do(model, Action::kDetails); }

Effects ActOnReview(Model& model, Action action) {
  if (action == Action::kContinue) return ContinueFromReview(model);
  if (action != Action::kBack) return {};
  model.typed_confirmation.clear();
  if (model.review_undo) {
    model.review_undo = false;
    GoTo(model, model.applied ? Screen::kReport : Screen::kPath);
    return {};
  }
  GoTo(model, Screen::kParameters);
  return {};
}

// ---- Apply: its screen is the running task's ----

View ShowApply(const Model& model) { return ShowWork(model); }
Effects ActOnApply(Model&, Action) { return {}; }

// ---- Report ----

bool Nothing(const Model& model) { return !model.applied && !model.undone; }

std::string Verdict(const Model& model) {
  if (!model.result_status) {
    return fmt::format("FAILED (exit code {}): {}",
                       static_cast<int>(model.result_status.error().kind),
                       model.result_status.error().message);
  }
  if (model.undone) return "UNDONE: every touched file is as it was before";
  if (Nothing(model)) return "NOTHING TO DO: the survivor already is the only member";
  return fmt::format("RESCUED: member {} leads cluster {} alone",
                     Hex16(model.result.plan->survivor.id), Hex16(model.result.plan->cluster_id));
}

// What session says about the disk and the result. On a small screen the end is out of sight, so
// that what is to be known and done now comes first.
void AddReportLines(const Model& model, std::vector<Line>& body) {
  std::vector<Line> later;
  std::string label;
  const auto add = [&](Line line) {
    if (line.text.empty() || line.label == "state disk") return;
    if (!line.label.empty()) label = line.label;
    const bool first = label == "boot" || label == "WARNING" || label == "next";
    (first ? body : later).push_back(std::move(line));
  };
  for (auto& line : FromReport(session::ToText(model.result, session::Section::kDisk))) {
    add(std::move(line));
  }
  if (model.result.sealed) body.push_back(Labelled("disk", "closed, nothing left open"));
  for (auto& line : FromReport(session::ToText(model.result, session::Section::kResult))) {
    add(std::move(line));
  }
  std::ranges::move(later, std::back_inserter(body));
}

struct ReportChoice {
  enum class Kind { kSave, kSaveOnDisk, kUndo, kPowerOff, kReboot, kLeave };
  Kind kind = Kind::kLeave;
  std::optional<disk::FoundDisk> disk;
};

std::vector<ReportChoice> ReportChoices(const Model& model) {
  using Kind = ReportChoice::Kind;
  std::vector<ReportChoice> choices;
  if (model.setup.appliance) {
    choices.push_back({Kind::kPowerOff, {}});
    choices.push_back({Kind::kReboot, {}});
  } else {
    choices.push_back({Kind::kLeave, {}});
    choices.push_back({Kind::kSave, {}});
  }
  for (const auto& disk : OtherDisks(model)) choices.push_back({Kind::kSaveOnDisk, disk});
  if (model.applied && model.result.applied && !model.undone) {
    choices.push_back({Kind::kUndo, {}});
  }
  return choices;
}

std::string Label(const Model& model, const ReportChoice& choice) {
  switch (choice.kind) {
    case ReportChoice::Kind::kSave:
      return model.report_saved ? "Save the report again" : "Save the report to the path above";
    case ReportChoice::Kind::kSaveOnDisk:
      return fmt::format("Save the report on {} ({})", choice.disk->path, choice.disk->content);
    case ReportChoice::Kind::kUndo:
      return "Undo: take the apply back, to the byte";
    case ReportChoice::Kind::kPowerOff:
      return "Power off";
    case ReportChoice::Kind::kReboot:
      return "Reboot";
    case ReportChoice::Kind::kLeave:
      break;
  }
  return "Leave the wizard";
}

View ShowReport(const Model& model) {
  View view = Blank(model);
  view.body = {Text(Verdict(model), model.result_status ? Style::kGood : Style::kBad)};
  if (!model.result_status && !model.result_status.error().hint.empty()) {
    view.body.push_back(Labelled("what next", model.result_status.error().hint));
  }
  view.body.push_back(Labelled("where", model.place.Name()));
  AddReportLines(model, view.body);
  Field path;
  path.label = "report";
  path.value = model.report_path;
  path.note = model.report_saved      ? "saved: .txt and .json"
              : model.setup.appliance ? "name on the disk below; .txt and .json are added"
                                      : ".txt and .json are added";
  // An appliance has no place of its own where a report would stay.
  const bool can_save = !model.setup.appliance || !OtherDisks(model).empty();
  if (can_save) view.fields.push_back(std::move(path));
  for (const auto& choice : ReportChoices(model)) {
    view.choices.push_back({Label(model, choice), {}, true, std::nullopt});
  }
  // The path is rarely changed; what to do next is.
  if (!model.spots.contains(Screen::kReport)) view.focus = can_save ? 1 : 0;
  view.question = "Number";
  view.commands = {{Action::kContinue, 0, 0, "Choose"}, {Action::kDetails, 'd', 3, "Details"}};
  if (!model.setup.appliance) {
    view.commands.push_back({Action::kSave, 's', 7, "Save report"});
  }
  if (model.applied && model.result.applied && !model.undone) {
    view.commands.push_back({Action::kUndo, 'u', 6, "Undo"});
  }
  if (model.setup.appliance) {
    view.commands.push_back({Action::kPowerOff, 'o', 8, "Power off"});
  }
  AddUsual(view);
  return view;
}

Effects SaveIt(Model& model, std::optional<disk::FoundDisk> disk) {
  const auto command = model.undone ? session::Command::kUndo : session::Command::kApply;
  std::string text = "etcd-rescue: " + Verdict(model) + "\n\n";
  for (const auto& line : session::ToText(model.result)) text += line + "\n";
  if (!model.result_status) {
    for (const auto& line : session::ToText(model.result_status.error())) text += line + "\n";
  }
  auto json = session::ToJson(command, model.result, model.result_status)
                  .dump(2, ' ', false, nlohmann::json::error_handler_t::replace);
  return Start(
      model, "Saving the report", false,
      SaveTask{model.report_path, std::move(disk), std::move(text), std::move(json) + "\n"});
}

Effects ActOnReport(Model& model, Action action) {
  switch (action) {
    case Action::kSave:
      return SaveIt(model, std::nullopt);
    case Action::kUndo:
      AskForUndo(model);
      return {};
    case Action::kPowerOff:
      return With(ForgetKeys{}, Leave{Leave::How::kPowerOff, 0});
    case Action::kReboot:
      return With(ForgetKeys{}, Leave{Leave::How::kReboot, 0});
    default:
      return {};
  }
}

Effects ChooseInReport(Model& model, std::size_t choice) {
  const ReportChoice chosen = ReportChoices(model)[choice];
  switch (chosen.kind) {
    case ReportChoice::Kind::kSave:
      return ActOnReport(model, Action::kSave);
    case ReportChoice::Kind::kSaveOnDisk:
      return SaveIt(model, chosen.disk);
    case ReportChoice::Kind::kUndo:
      return ActOnReport(model, Action::kUndo);
    case ReportChoice::Kind::kPowerOff:
      return ActOnReport(model, Action::kPowerOff);
    case ReportChoice::Kind::kReboot:
      return ActOnReport(model, Action::kReboot);
    case ReportChoice::Kind::kLeave:
      break;
  }
  const int code = model.result_status ? 0 : static_cast<int>(model.result_status.error().kind);
  return With(ForgetKeys{}, Leave{Leave::How::kExit, code});
}

Effects FillReportPath(Model& model, std::size_t, std::string_view value) {
  model.report_path = std::string(value);
  model.report_saved = false;
  return {};
}

}  // namespace

const ScreenFunctions kParametersScreen = {ShowParameters, ChooseInParameters, nullptr,
                                           FillParameter, ActOnParameters};
const ScreenFunctions kReviewScreen = {ShowReview, ShowAllOfIt, nullptr, FillConfirmation,
                                       ActOnReview};
const ScreenFunctions kApplyScreen = {ShowApply, nullptr, nullptr, nullptr, ActOnApply};
const ScreenFunctions kReportScreen = {ShowReport, ChooseInReport, nullptr, FillReportPath,
                                       ActOnReport};

void AskForUndo(Model& model) {
  model.review_undo = true;
  model.spots.erase(Screen::kReview);
  model.typed_confirmation.clear();
  GoTo(model, Screen::kReview);
}

}  // namespace rescue::tui
