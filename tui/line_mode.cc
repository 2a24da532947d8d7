#include "tui/line_mode.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "rescue/base/units.h"

namespace rescue::tui {
namespace {

constexpr std::size_t kNarrowest = 30;  // less leaves nothing beside the labels
constexpr std::size_t kLabelColumn = 13;
constexpr std::int64_t kProgressMilliseconds = 10000;
constexpr std::uint64_t kProgressParts = 20;  // a line every 5 %

std::string_view Trimmed(std::string_view text) {
  const auto begin = text.find_first_not_of(" \t\r");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\r") - begin + 1);
}

void Print(const Line& line, std::size_t indent, std::size_t width, std::string& out) {
  const std::size_t column = indent + (line.labelled ? kLabelColumn : 0);
  bool first = true;
  for (const auto& text : Wrap(ToCells(line.text), width - column)) {
    std::string row(indent, ' ');
    if (line.labelled) row += fmt::format("{:<{}}", first ? line.label : "", kLabelColumn);
    row += ToUtf8(ToAscii(text));
    row.erase(row.find_last_not_of(' ') + 1);
    out += row + "\n";
    first = false;
  }
}

void Print(const std::vector<Line>& lines, std::size_t width, std::string& out) {
  for (const auto& line : lines) Print(line, 0, width, out);
}

// A form asks for its fields one after the other; elsewhere the choices come first.
bool IsForm(const View& view) { return !view.fields.empty() && view.choices.size() <= 1; }

std::string Value(const Field& field) {
  return field.kind == Field::Kind::kToggle ? (field.on ? "yes" : "no") : field.value;
}

std::string CommandsText(const View& view, std::string_view before) {
  std::string text;
  for (const auto& command : view.commands) {
    if (command.letter == 0 || command.label.empty() || command.action == Action::kLines) continue;
    text +=
        fmt::format("{}{}{} {}", text.empty() ? "" : ", ", before, command.letter, command.label);
  }
  return text;
}

std::optional<Action> CommandFor(const View& view, std::string_view word) {
  if (word.starts_with('/')) word.remove_prefix(1);
  for (const auto& command : view.commands) {
    if (command.letter == 0) continue;
    std::string label = command.label;
    std::ranges::transform(label, label.begin(), [](char c) {
      return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    });
    if ((word.size() == 1 && word[0] == command.letter) || word == label) return command.action;
  }
  return std::nullopt;
}

// Changes whenever another screen, or another state of it, has to be printed.
std::string Identity(const Model& model, const View& view) {
  std::string text = fmt::format("{}/{}/{}/", static_cast<int>(model.screen),
                                 static_cast<int>(model.overlay), static_cast<int>(model.step));
  for (const auto& line : view.notice) text += line.text;
  for (const auto& choice : view.choices) {
    text += choice.label + (choice.marked ? (*choice.marked ? "x" : "o") : "");
  }
  if (!view.body.empty()) text += view.body.front().text;
  return text;
}

std::vector<std::size_t> Numbers(std::string_view text) {
  std::vector<std::size_t> numbers;
  while (!text.empty()) {
    std::size_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc() || number == 0) return {};
    numbers.push_back(number - 1);
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    const auto next = text.find_first_not_of(", ");
    if (next == 0 || (next == std::string_view::npos && !text.empty())) return {};
    text.remove_prefix(std::min(next, text.size()));
  }
  return numbers;
}

}  // namespace

std::optional<bool> YesOrNo(std::string_view text) {
  if (text == "y" || text == "yes") return true;
  if (text == "n" || text == "no") return false;
  return std::nullopt;
}

void LineMode::FitTo(int columns) {
  // Some terminals break a line that fills its row.
  const auto room = static_cast<std::size_t>(std::max(columns - 2, 0));
  width_ = std::clamp(room, kNarrowest, kWidest);
}

std::string LineMode::PrintView(const View& view) {
  std::string out = "\n";
  if (view.step > 0 && !view.boxed) {
    out += fmt::format("[{}/{}] {}\n\n", view.step, view.steps, view.title);
  } else {
    out += fmt::format("-- {} --\n\n", view.title);
  }
  Print(view.body, width_, out);
  if (!view.notice.empty()) {
    out += "\n";
    Print(view.notice, width_, out);
  }
  if (!IsForm(view) && !view.choices.empty()) {
    out += "\n";
    for (std::size_t i = 0; i < view.choices.size(); ++i) {
      const auto& choice = view.choices[i];
      const std::string mark = choice.marked ? (*choice.marked ? "[x] " : "[ ] ") : "";
      const std::string number = choice.selectable ? fmt::format("{:>3}", i + 1) : "  -";
      out += fmt::format("{}  {}{}\n", number, mark, ToUtf8(ToAscii(ToCells(choice.label))));
      for (const auto& detail : choice.details) Print(detail, 5, width_, out);
    }
    for (const auto& field : view.fields) {
      out += fmt::format("     {}: {} (/{} TEXT changes it)\n", field.label, Value(field),
                         field.label);
    }
  }
  return out;
}

std::string LineMode::Prompt(const Model& model, const View& view) {
  prompt_due_ = false;
  if (model.work.running && model.overlay == Overlay::kNone) return {};
  if (IsForm(view) && field_ < view.fields.size()) {
    const auto& field = view.fields[field_];
    std::string out = "\n";
    if (field.kind == Field::Kind::kConfirm || field.kind == Field::Kind::kSecret) {
      return out + view.question + ": ";
    }
    if (!field.note.empty()) Print({"", field.note, Style::kDim, false}, 0, width_, out);
    if (!field.error.empty()) Print({"", "! " + field.error, Style::kBad, false}, 0, width_, out);
    return out + fmt::format("{} [{}] ({}): ", field.label, Value(field),
                             field.kind == Field::Kind::kToggle ? "yes or no, /b back, /q quit"
                                                                : "Enter keeps it, - empties it, "
                                                                  "/b back, /q quit");
  }
  const std::string commands = CommandsText(view, "");
  std::string fallback;
  const bool takes_enter = std::ranges::any_of(
      view.commands, [](const auto& c) { return c.action == Action::kContinue; });
  if (view.choices.empty() || IsForm(view)) {
    if (takes_enter) fallback = " [Enter]";
  } else if (takes_enter && view.multiple) {
    fallback = " [Enter: those marked]";
  } else if (view.focus >= static_cast<int>(view.fields.size()) && takes_enter) {
    fallback = fmt::format(" [{}]", view.focus - static_cast<int>(view.fields.size()) + 1);
  }
  return fmt::format("\n({})\n{}{}: ", commands, view.question, fallback);
}

std::string LineMode::PrintWork(const Model& model) {
  const Work& work = model.work;
  std::string out;
  if (!working_) {
    working_ = true;
    stages_ = 0;
    progress_ = 0;
    progress_at_ = model.now;
    out += "\n" + work.what + "\n";
  }
  for (; stages_ < work.stages.size(); ++stages_) {
    const auto& stage = work.stages[stages_];
    // Continued lines stand below the text.
    const std::string label = fmt::format("  {:<9} {:<6} {:>9}  ", session::Name(stage.stage),
                                          stage.ok ? "ok" : "FAILED", FormatSeconds(stage.took));
    const std::string margin(label.size(), ' ');
    bool first = true;
    for (const auto& text :
         Wrap(ToCells(stage.text), width_ - std::min(label.size(), width_ / 2))) {
      out += (first ? label : margin) + ToUtf8(ToAscii(text)) + "\n";
      first = false;
    }
    progress_ = 0;
    progress_at_ = model.now;
  }
  if (!work.running || !work.stage || work.total == 0) return out;
  const std::uint64_t parts = work.done * kProgressParts / work.total;
  const bool enough = parts > progress_ && model.now - progress_at_ >= 1000;
  if (!enough && model.now - progress_at_ < kProgressMilliseconds) return out;
  progress_ = parts;
  progress_at_ = model.now;
  return out + fmt::format("  {:<9} {:>3} %   {} of {}\n", session::Name(*work.stage),
                           work.done * 100 / work.total, FormatSize(work.done),
                           FormatSize(work.total));
}

std::string LineMode::Update(const Model& model) {
  const View view = Show(model);
  std::string out;
  if (model.work.running && model.overlay == Overlay::kNone) return PrintWork(model);
  if (working_) {
    out += PrintWork(model);
    working_ = false;
    shown_.clear();
  }
  std::string identity = Identity(model, view);
  if (identity != shown_) {
    shown_ = std::move(identity);
    field_ = 0;
    out += PrintView(view);
    prompt_due_ = true;
  }
  if (prompt_due_) out += Prompt(model, view);
  return out;
}

bool LineMode::WantsSecret(const Model& model) {
  const View view = Show(model);
  return model.overlay == Overlay::kNone && !model.work.running && !view.fields.empty() &&
         view.fields.front().kind == Field::Kind::kSecret;
}

Effects LineMode::AnswerSecret(Model& model, ByteView line) {
  const std::string_view text = AsText(line);
  if (text == "/b" || text == "/b\r") return Do(model, Action::kBack);
  if (text == "/q" || text == "/q\r") return Do(model, Action::kQuit);
  TypeSecret(model, line);
  return Press(model, Key{Key::Kind::kEnter});
}

Effects LineMode::AnswerField(Model& model, const View& view, std::string_view line,
                              std::string& text) {
  const auto& field = view.fields[field_];
  if (field.kind == Field::Kind::kConfirm) {
    Effects effects = Fill(model, field_, line);
    if (line.empty()) return effects;
    return Do(model, Action::kContinue);
  }
  Effects effects;
  if (field.kind == Field::Kind::kToggle) {
    if (!line.empty()) {
      const auto answer = YesOrNo(line);
      if (!answer) {
        text = "yes or no\n";
        return {};
      }
      effects = Fill(model, field_, *answer ? "yes" : "no");
    }
  } else if (!line.empty()) {
    effects = Fill(model, field_, line == "-" ? "" : line);
  }
  // What is wrong is said at once, and asked for again.
  const View now = Show(model);
  if (field_ < now.fields.size() && now.fields[field_].error.empty()) ++field_;
  if (field_ < now.fields.size()) return effects;
  field_ = 0;
  if (now.choices.empty()) return effects;
  return Choose(model, 0);
}

Effects LineMode::AnswerChoices(Model& model, const View& view, std::string_view line,
                                std::string& text) {
  for (std::size_t i = 0; i < view.fields.size(); ++i) {
    const std::string name = "/" + view.fields[i].label + " ";
    if (line.starts_with(name)) return Fill(model, i, Trimmed(line.substr(name.size())));
  }
  if (line.empty()) {
    if (view.multiple) return Do(model, Action::kContinue);
    if (!view.choices.empty() && view.focus >= static_cast<int>(view.fields.size())) {
      return Choose(model, static_cast<std::size_t>(view.focus) - view.fields.size());
    }
    return Do(model, Action::kContinue);
  }
  const auto numbers = Numbers(line);
  const bool valid = !numbers.empty() && std::ranges::all_of(numbers, [&](std::size_t i) {
    return i < view.choices.size() && view.choices[i].selectable;
  });
  if (!valid || (!view.multiple && numbers.size() > 1)) {
    text = fmt::format("'{}' is no answer here\n", ToUtf8(ToAscii(ToCells(line))));
    return {};
  }
  if (!view.multiple) return Choose(model, numbers.front());
  for (std::size_t i = 0; i < view.choices.size(); ++i) {
    const bool wanted = std::ranges::find(numbers, i) != numbers.end();
    if (view.choices[i].marked && *view.choices[i].marked != wanted) (void)Mark(model, i);
  }
  return Do(model, Action::kContinue);
}

Effects LineMode::Answer(Model& model, std::string_view line, std::string& typed_text) {
  line = Trimmed(line);
  const View view = Show(model);
  prompt_due_ = true;
  const bool in_field = IsForm(view) && field_ < view.fields.size();
  const bool named = line.starts_with('/') || !in_field;
  if (const auto action = named ? CommandFor(view, line) : std::nullopt) {
    Effects effects = Do(model, *action);
    // Help, log and details are printed where they are asked for; then the question comes again.
    if (model.overlay != Overlay::kNone && model.overlay != Overlay::kQuit) {
      typed_text = PrintView(Show(model));
      (void)Do(model, Action::kBack);
    }
    return effects;
  }
  if (model.work.running && model.overlay == Overlay::kNone) {
    if (!line.empty()) typed_text = "still working\n";
    return {};
  }
  return in_field ? AnswerField(model, view, line, typed_text)
                  : AnswerChoices(model, view, line, typed_text);
}

}  // namespace rescue::tui
