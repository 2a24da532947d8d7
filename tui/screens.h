// One set of small functions a screen; model.cc calls them by the model's screen. Private to this
// room.
#pragma once

#include <fmt/format.h>

#include "tui/model.h"

namespace rescue::tui {

struct ScreenFunctions {
  View (*show)(const Model&) = nullptr;
  Effects (*choose)(Model&, std::size_t) = nullptr;
  Effects (*mark)(Model&, std::size_t) = nullptr;
  Effects (*fill)(Model&, std::size_t, std::string_view) = nullptr;
  Effects (*act)(Model&, Action) = nullptr;  // commands of its own, continue and back
};
const ScreenFunctions& FunctionsOf(Screen screen);

extern const ScreenFunctions kWelcomeScreen;
extern const ScreenFunctions kDisksScreen;
extern const ScreenFunctions kSecretScreen;
extern const ScreenFunctions kCompareScreen;
extern const ScreenFunctions kDiagnosisScreen;
extern const ScreenFunctions kPathScreen;
extern const ScreenFunctions kParametersScreen;
extern const ScreenFunctions kReviewScreen;
extern const ScreenFunctions kApplyScreen;
extern const ScreenFunctions kReportScreen;

// While a task runs, whatever the screen.
View ShowWork(const Model& model);
View ShowOverlay(const Model& model);
std::vector<Line> HelpFor(const Model& model);

// ---- what the screens share ----

// A view with title, step and the place where the screen was left.
View Blank(const Model& model);
// The commands of every screen behind its own.
void AddUsual(View& view);
void GoTo(Model& model, Screen screen);
Effects Start(Model& model, std::string what, bool writes, Task task);
void WipeSecret(Model& model);
bool NeedsSecret(const Model& model);
// Disks where a secret can come from and a report can go.
std::vector<disk::FoundDisk> OtherDisks(const Model& model);
std::vector<Line> ErrorLines(const Error& error);
// Diagnosis of the chosen place, comparison of several.
Effects LookAtPlaces(Model& model, std::optional<SecretFrom> secret);
// The review screen, for taking the last apply back.
void AskForUndo(Model& model);
// The task has ended, and nobody went back meanwhile.
Effects Arrive(Model& model, Finished finished);

inline Line Text(std::string text, Style style = Style::kPlain) {
  return {"", std::move(text), style, false};
}
inline Line Labelled(std::string label, std::string text, Style style = Style::kPlain) {
  return {std::move(label), std::move(text), style, true};
}

template <typename... E>
Effects With(E&&... effects) {
  Effects list;
  (list.emplace_back(std::forward<E>(effects)), ...);
  return list;
}

}  // namespace rescue::tui
