#include "tui/model.h"

#include <algorithm>

#include "tui/screens.h"

namespace rescue::tui {
namespace {

constexpr std::size_t kLogLines = 2000;

bool Offers(const View& view, Action action) {
  return std::ranges::any_of(view.commands, [&](const auto& c) { return c.action == action; });
}

void OpenOverlay(Model& model, Overlay overlay) {
  model.overlay = overlay;
  model.overlay_spot = {};
  // The safe answer.
  if (overlay == Overlay::kQuit) model.overlay_spot.focus = 1;
}

void CloseOverlay(Model& model) { model.overlay = Overlay::kNone; }

Effects LeaveOrWelcome(Model& model) {
  if (!model.setup.appliance) {
    const int code =
        model.applied || model.undone
            ? (model.result_status ? 0 : static_cast<int>(model.result_status.error().kind))
            : static_cast<int>(ErrorKind::kRefused);
    return With(ForgetKeys{}, Leave{Leave::How::kExit, code});
  }
  // There is nothing behind the wizard on an appliance: it begins anew.
  WipeSecret(model);
  Setup setup = std::move(model.setup);
  std::deque<std::string> log = std::move(model.log);
  const std::int64_t now = model.now;
  model = Model{};
  model.setup = std::move(setup);
  model.log = std::move(log);
  model.now = now;
  return With(ForgetKeys{});
}

Effects DoInOverlay(Model& model, Action action) {
  if (model.overlay == Overlay::kQuit && action == Action::kYes) {
    CloseOverlay(model);
    return LeaveOrWelcome(model);
  }
  if (model.overlay == Overlay::kQuit && action == Action::kPowerOff) {
    return With(ForgetKeys{}, Leave{Leave::How::kPowerOff, 0});
  }
  CloseOverlay(model);
  return {};
}

// Commands that are the same everywhere; nothing when the screen has to answer.
std::optional<Effects> DoCommon(Model& model, Action action) {
  switch (action) {
    case Action::kHelp:
      OpenOverlay(model, Overlay::kHelp);
      return Effects{};
    case Action::kLog:
      OpenOverlay(model, Overlay::kLog);
      return Effects{};
    case Action::kDetails:
      OpenOverlay(model, Overlay::kDetails);
      return Effects{};
    case Action::kQuit:
      OpenOverlay(model, Overlay::kQuit);
      return Effects{};
    case Action::kLines:
      return With(UseLines{});
    default:
      return std::nullopt;
  }
}

}  // namespace

std::string_view Title(Screen screen) {
  switch (screen) {
    case Screen::kWelcome:
      return "Welcome";
    case Screen::kDisks:
      return "Disks";
    case Screen::kSecret:
      return "Secret";
    case Screen::kCompare:
      return "Compare";
    case Screen::kDiagnosis:
      return "Diagnosis";
    case Screen::kPath:
      return "Choose path";
    case Screen::kParameters:
      return "Parameters";
    case Screen::kReview:
      return "Review";
    case Screen::kApply:
      return "Apply";
    case Screen::kReport:
      return "Report";
  }
  return "";
}

const ScreenFunctions& FunctionsOf(Screen screen) {
  switch (screen) {
    case Screen::kWelcome:
      return kWelcomeScreen;
    case Screen::kDisks:
      return kDisksScreen;
    case Screen::kSecret:
      return kSecretScreen;
    case Screen::kCompare:
      return kCompareScreen;
    case Screen::kDiagnosis:
      return kDiagnosisScreen;
    case Screen::kPath:
      return kPathScreen;
    case Screen::kParameters:
      return kParametersScreen;
    case Screen::kReview:
      return kReviewScreen;
    case Screen::kApply:
      return kApplyScreen;
    case Screen::kReport:
      break;
  }
  return kReportScreen;
}

View Show(const Model& model) {
  if (model.overlay != Overlay::kNone) return ShowOverlay(model);
  if (model.work.running) return ShowWork(model);
  return FunctionsOf(model.screen).show(model);
}

Effects Do(Model& model, Action action) {
  const View view = Show(model);
  if (!Offers(view, action)) return {};
  if (model.overlay != Overlay::kNone) return DoInOverlay(model, action);
  if (auto done = DoCommon(model, action)) return *std::move(done);
  if (model.work.running) {
    if (action == Action::kBack) model.work.abandoned = true;
    return {};
  }
  return FunctionsOf(model.screen).act(model, action);
}

Effects Choose(Model& model, std::size_t choice) {
  const View view = Show(model);
  if (choice >= view.choices.size() || !view.choices[choice].selectable) return {};
  if (model.overlay == Overlay::kQuit) {
    constexpr Action kAnswers[] = {Action::kYes, Action::kNo, Action::kPowerOff};
    return DoInOverlay(model, kAnswers[choice]);
  }
  const auto function = FunctionsOf(model.screen).choose;
  if (model.work.running || function == nullptr) return {};
  model.spots[model.screen].focus = static_cast<int>(view.fields.size() + choice);
  return function(model, choice);
}

Effects Mark(Model& model, std::size_t choice) {
  const auto function = FunctionsOf(model.screen).mark;
  return function == nullptr ? Effects{} : function(model, choice);
}

Effects Fill(Model& model, std::size_t field, std::string_view value) {
  const auto function = FunctionsOf(model.screen).fill;
  return function == nullptr ? Effects{} : function(model, field, value);
}

void TypeSecret(Model& model, ByteView bytes) {
  constexpr std::size_t kRoom = std::size_t{64} * 1024;  // as secret/source.h takes
  if (model.secret.empty()) model.secret = SecretBytes(kRoom);
  for (const std::byte byte : bytes) {
    // What is longer is no secret; the bytes that stay make it a wrong one.
    if (model.secret_size == model.secret.size()) return;
    model.secret.Reveal()[model.secret_size++] = byte;
  }
}

Effects SecretEnds(Model& model) {
  model.secret_ends = 0;
  if (model.screen != Screen::kSecret || model.step != SecretStep::kTyping ||
      model.secret_size == 0)
    return {};
  return kSecretScreen.act(model, Action::kContinue);
}

Effects Hear(Model& model, Report report) {
  Work& work = model.work;
  if (auto* began = std::get_if<StageBegan>(&report)) {
    work.stage = began->stage;
    work.stage_began = model.now;
    work.done = work.total = 0;
    return {};
  }
  if (auto* ended = std::get_if<StageEnded>(&report)) {
    const auto& stage = ended->stage;
    Log(model, fmt::format("{:<9} {:<6} {}", session::Name(stage.stage), stage.ok ? "ok" : "FAILED",
                           stage.text));
    work.stages.push_back(stage);
    work.stage.reset();
    return {};
  }
  if (auto* progressed = std::get_if<Progressed>(&report)) {
    work.done = progressed->done;
    work.total = progressed->total;
    return {};
  }
  auto& finished = std::get<Finished>(report);
  if (!finished.status) {
    for (const auto& line : ErrorLines(finished.status.error())) Log(model, line.text);
  }
  work.running = false;
  work.stage.reset();
  if (work.abandoned) {
    model.notice = {Text("Stopped; nothing was changed.")};
    return {};
  }
  return Arrive(model, std::move(finished));
}

Effects Tick(Model& model) {
  if (model.secret_ends != 0 && model.now >= model.secret_ends) return SecretEnds(model);
  return {};
}

std::int64_t NextTick(const Model& model) { return model.secret_ends; }

void Log(Model& model, std::string line) {
  model.log.push_back(std::move(line));
  if (model.log.size() > kLogLines) model.log.pop_front();
}

// ---- what the screens share ----

View Blank(const Model& model) {
  View view;
  view.title = Title(model.screen);
  const bool secret = model.setup.data_directories.empty();
  const int before = static_cast<int>(model.screen);
  // Compare belongs to the diagnosis; without a disk there is no secret.
  view.step = before + 1 - (model.screen >= Screen::kDiagnosis ? 1 : 0) -
              (!secret && model.screen > Screen::kSecret ? 1 : 0);
  view.steps = secret ? 9 : 8;
  const auto spot = model.spots.find(model.screen);
  if (spot != model.spots.end()) {
    view.focus = spot->second.focus;
    view.scroll = spot->second.scroll;
  } else {
    view.focus = 0;
  }
  view.notice = model.notice;
  return view;
}

void AddUsual(View& view) {
  view.commands.push_back({Action::kHelp, 'h', 1, "Help"});
  view.commands.push_back({Action::kLog, 'l', 2, "Log"});
  view.commands.push_back({Action::kQuit, 'q', 10, "Quit"});
  view.commands.push_back({Action::kLines, 't', 9, "Line mode"});
  // A focus that is out of range or rests on nothing moves to the first thing that can have it.
  const int fields = static_cast<int>(view.fields.size());
  const auto can = [&](int item) {
    return item >= 0 && item < view.items() &&
           (item < fields || view.choices[static_cast<std::size_t>(item - fields)].selectable);
  };
  if (can(view.focus)) return;
  view.focus = -1;
  for (int item = 0; item < view.items() && view.focus < 0; ++item) {
    if (can(item)) view.focus = item;
  }
}

void GoTo(Model& model, Screen screen) {
  model.screen = screen;
  model.notice.clear();
  model.spots[screen].scroll = 0;
}

Effects Start(Model& model, std::string what, bool writes, Task task) {
  model.work = Work{};
  model.work.running = true;
  model.work.writes = writes;
  Log(model, "-- " + what);
  model.work.what = std::move(what);
  model.work.began = model.work.stage_began = model.now;
  model.notice.clear();
  return With(StartTask{std::move(task)});
}

void WipeSecret(Model& model) {
  model.secret = SecretBytes();
  model.secret_size = 0;
  model.secret_ends = 0;
  model.pasting = false;
}

bool NeedsSecret(const Model& model) { return model.setup.data_directories.empty(); }

std::vector<Line> ErrorLines(const Error& error) {
  std::vector<Line> lines = {Text("error: " + error.message, Style::kBad)};
  if (!error.hint.empty()) lines.push_back(Text("what next: " + error.hint));
  return lines;
}

}  // namespace rescue::tui
