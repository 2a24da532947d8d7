// What a key means: moving, typing, choosing, a command.
#include <algorithm>

#include "tui/screens.h"

namespace rescue::tui {
namespace {

Spot& SpotOf(Model& model) {
  return model.overlay == Overlay::kNone ? model.spots[model.screen] : model.overlay_spot;
}

void Scroll(Model& model, const View& view, int by) {
  Spot& spot = SpotOf(model);
  const int last = std::max(0, model.body_rows - model.page);
  // A log counts from its end.
  if (view.at_end) by = -by;
  spot.scroll = std::clamp(spot.scroll + by, 0, last);
}

void MoveFocus(Model& model, const View& view, int by) {
  const int items = view.items();
  if (items == 0) return Scroll(model, view, by);
  const auto selectable = [&](int item) {
    const int choice = item - static_cast<int>(view.fields.size());
    return choice < 0 || view.choices[static_cast<std::size_t>(choice)].selectable;
  };
  int& focus = SpotOf(model).focus;
  int next = view.focus;
  do {
    next += by;
  } while (next >= 0 && next < items && !selectable(next));
  if (next >= 0 && next < items) {
    focus = next;
  } else {
    // Beyond the last one there may be text.
    Scroll(model, view, by);
  }
}

Effects Activate(Model& model, const View& view) {
  const int fields = static_cast<int>(view.fields.size());
  if (view.focus >= fields) {
    return Choose(model, static_cast<std::size_t>(view.focus - fields));
  }
  if (view.focus >= 0 && view.focus < fields) {
    const auto kind = view.fields[static_cast<std::size_t>(view.focus)].kind;
    if (kind == Field::Kind::kText || kind == Field::Kind::kToggle) {
      MoveFocus(model, view, 1);
      return {};
    }
  }
  return Do(model, Action::kContinue);
}

// Space: a toggle, a box, or a page of text.
Effects PressSpace(Model& model, const View& view) {
  const int fields = static_cast<int>(view.fields.size());
  if (view.focus >= fields) {
    const auto choice = static_cast<std::size_t>(view.focus - fields);
    if (view.choices[choice].marked) return Mark(model, choice);
    return {};
  }
  if (view.focus >= 0) {
    const auto& field = view.fields[static_cast<std::size_t>(view.focus)];
    if (field.kind == Field::Kind::kToggle) {
      return Fill(model, static_cast<std::size_t>(view.focus), field.on ? "no" : "yes");
    }
    return {};
  }
  Scroll(model, view, model.page);
  return {};
}

Effects Edit(Model& model, const View& view, const Key& key) {
  const auto number = static_cast<std::size_t>(view.focus);
  std::u32string text = ToCells(view.fields[number].value);
  if (key.kind == Key::Kind::kControlU) {
    text.clear();
  } else if (key.kind == Key::Kind::kBackspace) {
    if (text.empty()) return {};
    text.pop_back();
  } else {
    text.push_back(key.character);
  }
  return Fill(model, number, ToUtf8(text));
}

constexpr const char* kNothingTyped = "Nothing has been typed yet.";

void EditSecret(Model& model, const Key& key) {
  model.secret_ends = 0;
  if (!model.notice.empty() && model.notice.front().text == kNothingTyped) model.notice.clear();
  if (key.kind == Key::Kind::kControlU) return WipeSecret(model);
  if (key.kind == Key::Kind::kBackspace) {
    if (model.secret_size > 0) model.secret.Reveal()[--model.secret_size] = std::byte{0};
    return;
  }
  // A secret is ASCII in every form; anything else makes it wrong, as it should.
  const std::byte byte{static_cast<unsigned char>(key.character < 0x80 ? key.character : '?')};
  TypeSecret(model, {&byte, 1});
}

bool IsTyping(const Key& key) {
  return key.kind == Key::Kind::kCharacter || key.kind == Key::Kind::kBackspace ||
         key.kind == Key::Kind::kControlU;
}

// The braces of pasted JSON tell whether more lines are to come.
bool IsOpenObject(const Model& model) {
  int depth = 0;
  for (const std::byte byte : ByteView(model.secret.Reveal()).first(model.secret_size)) {
    if (byte == std::byte{'{'}) ++depth;
    if (byte == std::byte{'}'}) --depth;
  }
  return depth > 0;
}

// How long after Enter nothing may come for the secret to be complete: the lines of a paste follow
// each other at once, also over a slow line.
constexpr std::int64_t kQuietMilliseconds = 400;

Effects PressInSecret(Model& model, const Key& key) {
  if (IsTyping(key)) {
    EditSecret(model, key);
    return {};
  }
  if (key.kind == Key::Kind::kPasteBegin || key.kind == Key::Kind::kPasteEnd) {
    model.pasting = key.kind == Key::Kind::kPasteBegin;
    return {};
  }
  if (model.secret_size == 0) {
    if (!model.pasting) model.notice = {Text(kNothingTyped, Style::kWarn)};
    return {};
  }
  // A PIN is one line.
  if (model.step == SecretStep::kPin) {
    return model.pasting ? Effects{} : kSecretScreen.act(model, Action::kContinue);
  }
  constexpr std::byte kLineBreak{'\n'};
  TypeSecret(model, {&kLineBreak, 1});
  model.secret_ends = 0;
  if (model.pasting) return {};
  if (IsOpenObject(model)) {
    model.notice = {Text("More lines are expected: the braces are not closed yet. Ctrl-U clears.")};
    return {};
  }
  model.secret_ends = model.now + kQuietMilliseconds;
  return {};
}

std::optional<Action> CommandFor(const View& view, const Key& key) {
  for (const auto& command : view.commands) {
    const bool by_letter = key.kind == Key::Kind::kCharacter && !view.TypesText() &&
                           command.letter != 0 &&
                           key.character == static_cast<char32_t>(command.letter);
    const bool by_function = key.kind == Key::Kind::kFunction && command.function_key == key.number;
    if (by_letter || by_function) return command.action;
  }
  return std::nullopt;
}

}  // namespace

Effects Press(Model& model, const Key& key) {
  const View view = Show(model);
  const bool in_field = view.TypesText();
  const bool in_secret =
      in_field && view.fields[static_cast<std::size_t>(view.focus)].kind == Field::Kind::kSecret;
  if (key.kind == Key::Kind::kControlL) return With(Repaint{});
  if (key.kind == Key::Kind::kControlC) return Do(model, Action::kQuit);
  const bool for_secret = IsTyping(key) || key.kind == Key::Kind::kEnter ||
                          key.kind == Key::Kind::kPasteBegin || key.kind == Key::Kind::kPasteEnd;
  if (in_secret && for_secret) return PressInSecret(model, key);
  if (in_field && IsTyping(key)) return Edit(model, view, key);
  if (const auto action = CommandFor(view, key)) return Do(model, *action);
  switch (key.kind) {
    case Key::Kind::kEnter:
      return Activate(model, view);
    case Key::Kind::kEscape:
      return Do(model, Action::kBack);
    case Key::Kind::kLeft:
    case Key::Kind::kBackspace:
      return in_field ? Effects{} : Do(model, Action::kBack);
    case Key::Kind::kTab:
    case Key::Kind::kDown:
      MoveFocus(model, view, 1);
      return {};
    case Key::Kind::kBackTab:
    case Key::Kind::kUp:
      MoveFocus(model, view, -1);
      return {};
    case Key::Kind::kPageUp:
      Scroll(model, view, -std::max(1, model.page - 1));
      return {};
    case Key::Kind::kPageDown:
      Scroll(model, view, std::max(1, model.page - 1));
      return {};
    case Key::Kind::kHome:
      Scroll(model, view, -model.body_rows);
      return {};
    case Key::Kind::kEnd:
      Scroll(model, view, model.body_rows);
      return {};
    case Key::Kind::kCharacter:
      if (key.character == U' ') return PressSpace(model, view);
      // Pages without function keys, as in a pager.
      if (key.character == U'j') Scroll(model, view, std::max(1, model.page - 1));
      if (key.character == U'k') Scroll(model, view, -std::max(1, model.page - 1));
      return {};
    default:
      return {};
  }
}

}  // namespace rescue::tui
