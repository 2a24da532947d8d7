// What is shown over or instead of a screen: the running task, help, log, details, the question
// whether to leave; and what other consoles see.
#include <algorithm>

#include "rescue/base/units.h"
#include "rescue/session/report.h"
#include "tui/screens.h"

namespace rescue::tui {
namespace {

View Over(const Model& model, std::string title) {
  View view;
  view.title = std::move(title);
  view.boxed = true;
  view.scroll = model.overlay_spot.scroll;
  view.focus = -1;
  view.question = "Enter closes";
  view.commands = {{Action::kContinue, 0, 0, "Close"}, {Action::kBack, 'b', 0, ""}};
  return view;
}

View ShowHelp(const Model& model) {
  View view = Over(model, fmt::format("Help: {}", Title(model.screen)));
  view.body = HelpFor(model);
  return view;
}

View ShowLog(const Model& model) {
  View view = Over(model, "Log");
  for (const auto& line : model.log) view.body.push_back(Text(line));
  if (view.body.empty()) view.body.push_back(Text("Nothing has happened yet."));
  view.at_end = true;
  return view;
}

View ShowDetails(const Model& model) {
  View view = Over(model, "Details");
  const bool over = model.screen == Screen::kReport;
  const bool planned = model.screen == Screen::kReview && model.plan.plan;
  const auto& outcome = over ? model.result : planned ? model.plan : model.look;
  view.body = FromReport(session::ToText(outcome));
  return view;
}

View ShowQuit(const Model& model) {
  View view = Over(model, "Leave?");
  const bool written = model.applied || model.undone;
  view.body = {Text("Leave the wizard?", Style::kStrong),
               Text(written ? "What was written stays; it can still be undone later."
                            : "Nothing was changed. What was typed is forgotten.")};
  view.choices = {{model.setup.appliance ? "Yes, back to the start" : "Yes, leave", {}, true, {}},
                  {"No, go on", {}, true, {}}};
  view.commands = {
      {Action::kYes, 'y', 0, "Yes"}, {Action::kNo, 'n', 0, "No"}, {Action::kBack, 0, 0, ""}};
  if (model.setup.appliance) {
    view.choices.push_back({"Power the machine off", {}, true, {}});
    view.commands.push_back({Action::kPowerOff, 'o', 8, "Power off"});
  }
  view.focus = model.overlay_spot.focus;
  view.question = "Number";
  return view;
}

std::string StageWord(session::Stage stage) {
  switch (stage) {
    case session::Stage::kFind:
      return "checking the disk's header";
    case session::Stage::kUnlock:
      return "unlocking";
    case session::Stage::kInspect:
    case session::Stage::kLook:
      return "reading log and backend";
    case session::Stage::kPlan:
      return "planning";
    case session::Stage::kRehearse:
      return "rehearsing the whole plan";
    case session::Stage::kApply:
      return "writing";
    case session::Stage::kVerify:
      return "verifying what was written";
    case session::Stage::kUndo:
      return "taking back";
    case session::Stage::kSeal:
      return "closing the disk";
  }
  return "";
}

std::string RateText(const Model& model) {
  const Work& work = model.work;
  std::string text = fmt::format("{} of {}", FormatSize(work.done), FormatSize(work.total));
  const std::int64_t took = model.now - work.stage_began;
  if (took < 1000 || work.done == 0) return text;
  const std::uint64_t rate = work.done * 1000 / static_cast<std::uint64_t>(took);
  if (rate == 0) return text;
  const std::uint64_t left = (work.total - std::min(work.done, work.total)) / rate;
  return text + fmt::format(", {}/s, {} s left", FormatSize(rate), left);
}

}  // namespace

View ShowWork(const Model& model) {
  const Work& work = model.work;
  View view = Blank(model);
  view.focus = -1;
  view.scroll = 0;
  // The newest stage stays in sight.
  view.at_end = true;
  view.body = {Text(work.what, Style::kStrong)};
  for (const auto& stage : work.stages) {
    const auto seconds = FormatSeconds(stage.took);
    view.body.push_back(Labelled(
        fmt::format("{:<9}{}", session::Name(stage.stage), stage.ok ? "ok" : "FAIL"),
        fmt::format("{}  {}", seconds, stage.text), stage.ok ? Style::kPlain : Style::kBad));
  }
  Gauge gauge;
  gauge.text = "working";
  if (work.stage) {
    gauge.done = work.done;
    gauge.total = work.total;
    gauge.text = fmt::format("{}: {}", session::Name(*work.stage), StageWord(*work.stage));
    if (work.total > 0) gauge.text += ", " + RateText(model);
  }
  gauge.text += fmt::format("; {} s in all", (model.now - work.began) / 1000);
  view.gauge = std::move(gauge);
  if (work.writes) {
    view.notice = {
        Text("This cannot be stopped half-way: what is written has been rehearsed, and will be "
             "verified. If the power fails meanwhile, the journal takes it back.")};
  } else if (work.abandoned) {
    view.notice = {Text("Going back as soon as this step has ended.")};
  } else {
    view.notice = {Text("Nothing is changed on the disk by this.")};
    view.commands = {{Action::kBack, 'b', 0, "Stop and go back"}};
  }
  view.commands.push_back({Action::kHelp, 'h', 1, "Help"});
  view.commands.push_back({Action::kLog, 'l', 2, "Log"});
  return view;
}

View ShowOverlay(const Model& model) {
  switch (model.overlay) {
    case Overlay::kHelp:
      return ShowHelp(model);
    case Overlay::kLog:
      return ShowLog(model);
    case Overlay::kDetails:
      return ShowDetails(model);
    case Overlay::kQuit:
    case Overlay::kNone:
      break;
  }
  return ShowQuit(model);
}

View ShowMirror(const Model& model, std::string_view owner, bool asking) {
  View view = Blank(model);
  view.focus = -1;
  view.scroll = 0;
  view.notice.clear();
  if (owner.empty()) {
    view.title = "Welcome";
    view.body = {Text("etcd-rescue waits for you on every console.", Style::kStrong),
                 Text("Press Enter to use it on this one.")};
    view.question = "Enter";
    view.commands = {{Action::kContinue, 0, 0, "Use this console"}};
    return view;
  }
  view.body = {Text(fmt::format("The wizard is in use on {}.", owner), Style::kStrong),
               Labelled("there", fmt::format("{}, step {} of {}", Title(model.screen), view.step,
                                             view.steps))};
  if (!model.place.Name().empty()) view.body.push_back(Labelled("rescue", model.place.Name()));
  if (model.work.running) {
    const View work = ShowWork(model);
    for (const auto& line : work.body) view.body.push_back(line);
    view.gauge = work.gauge;
  }
  if (asking) {
    view.notice = {Text(fmt::format("Take the wizard over from {}? It goes on here, at the same "
                                    "step, and {} only watches.",
                                    owner, owner),
                        Style::kWarn)};
    view.commands = {{Action::kYes, 'y', 0, "Yes, take over"}, {Action::kNo, 'n', 0, "No"}};
    view.question = "Take over? y or n";
  } else {
    view.notice = {Text("This console watches. Press t to take the wizard over.")};
    view.commands = {{Action::kLines, 't', 0, "Take over"}};
    view.question = "t takes over";
  }
  return view;
}

}  // namespace rescue::tui
