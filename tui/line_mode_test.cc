#include "tui/line_mode.h"

#include <catch2/catch_test_macros.hpp>

#include "tui/scenes.h"

namespace rescue::tui {
namespace {

using testing::Story;

// A line console on a story: what it prints is collected.
struct Lines {
  Story story;
  LineMode lines;
  std::string record;

  Lines() { record += lines.Update(story.model); }

  void Answer(std::string_view line) {
    std::string text;
    const Effects effects = lines.Answer(story.model, line, text);
    record += text;
    Continue(effects);
  }
  void Continue(const Effects&) { record += lines.Update(story.model); }
  void Work() {
    story.Work();
    record += lines.Update(story.model);
  }
  bool Printed(std::string_view words) const { return record.find(words) != std::string::npos; }
};

TEST_CASE("LineModePrintsAScreenOnceAndAsks") {
  Lines console;
  CHECK(console.Printed("[1/9] Welcome"));
  CHECK(console.record.ends_with("Continue [Enter]: "));
  // Nothing has changed: nothing is printed.
  CHECK(console.lines.Update(console.story.model).empty());
}

TEST_CASE("HelpIsPrintedAndTheQuestionComesAgain") {
  Lines console;
  console.record.clear();
  console.Answer("h");
  CHECK(console.Printed("-- Help: Welcome --"));
  CHECK(console.story.model.overlay == Overlay::kNone);
  CHECK(console.record.ends_with("Continue [Enter]: "));
}

TEST_CASE("NonsenseIsSaidToBeNoAnswer") {
  Lines console;
  console.record.clear();
  console.Answer("\x1b[31mwhat?\x07");
  CHECK(console.Printed("is no answer here"));
  // What came in does not go out as it is.
  CHECK(console.record.find('\x1b') == std::string::npos);
  CHECK(console.story.model.screen == Screen::kWelcome);
}

TEST_CASE("AsciiOnlyAndNoEscapes") {
  Lines console;
  for (const auto* answer : {"", "h", "l", "q", "2"}) console.Answer(answer);
  for (const char c : console.record) CHECK((c == '\n' || (c >= ' ' && c <= '~')));
}

TEST_CASE("ANarrowWindowGetsNarrowLines") {
  for (const int columns : {44, 80, 200}) {
    Lines console;
    console.lines = LineMode();
    console.lines.FitTo(columns);
    console.record = console.lines.Update(console.story.model);
    console.Answer("h");
    std::size_t longest = 0;
    std::size_t begin = 0;
    for (auto end = console.record.find('\n'); end != std::string::npos;
         end = console.record.find('\n', begin)) {
      // What works now is one line of its own.
      if (console.record[begin] != '(') longest = std::max(longest, end - begin);
      begin = end + 1;
    }
    CHECK(longest <= static_cast<std::size_t>(std::min(columns, 80) - 2));
    CHECK(longest > static_cast<std::size_t>(std::min(columns, 80)) / 2);
  }
}

TEST_CASE("YesAndNoAreWords") {
  CHECK(YesOrNo("y") == true);
  CHECK(YesOrNo("no") == false);
  CHECK_FALSE(YesOrNo("maybe"));
}

}  // namespace
}  // namespace rescue::tui
