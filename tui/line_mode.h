// Line mode: the wizard's questions one at a time, numbered, as plain text. For terminals that
// cannot do more, for screen readers, tiny windows and scripts; what it prints is a readable
// record.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "tui/model.h"

namespace rescue::tui {

class LineMode {
 public:
  static constexpr std::size_t kWidest = 78;

  // Lines are wrapped for a terminal of so many columns.
  void FitTo(int columns);
  // What is to be printed because the model has changed since the last call; usually nothing.
  std::string Update(const Model& model);
  // A line was typed, without its end. `typed_text` gets what is to be printed about it.
  Effects Answer(Model& model, std::string_view line, std::string& typed_text);
  // The next line is (part of) a secret: it must not be echoed, and goes to AnswerSecret.
  static bool WantsSecret(const Model& model);
  static Effects AnswerSecret(Model& model, ByteView line);

 private:
  std::string PrintView(const View& view);
  std::string Prompt(const Model& model, const View& view);
  std::string PrintWork(const Model& model);
  Effects AnswerField(Model& model, const View& view, std::string_view line, std::string& text);
  Effects AnswerChoices(Model& model, const View& view, std::string_view line, std::string& text);

  std::size_t width_ = kWidest;
  std::string shown_;       // identity of the view that was printed last
  std::size_t stages_ = 0;  // of the running task, printed
  std::int64_t progress_at_ = 0;
  std::uint64_t progress_ = 0;  // 20ths of the stage
  bool working_ = false;
  std::size_t field_ = 0;  // the one that is asked for
  bool prompt_due_ = true;
};

// "y" and the like. Nothing for anything else.
std::optional<bool> YesOrNo(std::string_view text);

}  // namespace rescue::tui
