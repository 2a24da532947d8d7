// Every screen in every size, with and without colours, in UTF-8 and ASCII, as text that is kept in
// golden/ and was looked at. After a wanted change: tui/golden/update, and look at the difference.
#include <fmt/format.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <cstdlib>

#include "tui/draw.h"
#include "tui/scenes.h"
#include "tui/theme.h"

namespace rescue::tui {
namespace {

constexpr Size kSizes[] = {{24, 80}, {43, 132}, {20, 60}};

std::string Joined(const Cells& cells, const std::function<char32_t(const Cell&)>& glyph) {
  std::string text;
  for (int row = 0; row < cells.size().rows; ++row) {
    std::u32string line;
    for (int column = 0; column < cells.size().columns; ++column) {
      line.push_back(glyph(cells.at(row, column)));
    }
    std::string utf8 = ToUtf8(line);
    utf8.erase(utf8.find_last_not_of(' ') + 1);
    text += utf8 + "\n";
  }
  return text;
}

// One letter a cell: how it looks, and not what it says.
char32_t LetterOf(const Look& look) {
  if (look.back == Colour::kBlue) return U'H';
  if (look.front == Colour::kRed) return U'r';
  if (look.front == Colour::kGreen) return U'g';
  if (look.front == Colour::kYellow) return U'y';
  if (look.front == Colour::kCyan) return U'c';
  if (look.reverse) return U'R';
  if (look.underline) return U'_';
  return look.bold ? U'B' : U' ';
}

std::string AllOf(const View& view) {
  std::string text;
  for (const Size size : kSizes) {
    Frame frame = Draw(view, size, "etcd-rescue 0.1.0");
    const auto glyphs = [](const Cell& cell) { return cell.glyph; };
    const auto part = [&](const char* name, const std::string& content) {
      text += fmt::format("== {}x{} {}\n", size.columns, size.rows, name) + content;
    };
    part("utf-8", Joined(frame.cells, glyphs));
    part("colour: H header, r red, g green, y yellow, c cyan, R reverse, _ underline, B bold",
         Joined(frame.cells, [](const Cell& c) { return LetterOf(LookOf(c.style, true)); }));
    part("mono",
         Joined(frame.cells, [](const Cell& c) { return LetterOf(LookOf(c.style, false)); }));
    frame.cells.MakeAscii();
    part("ascii", Joined(frame.cells, glyphs));
  }
  return text;
}

std::filesystem::path GoldenPath(const std::string& name) {
  return rescue::testing::FixturePath("../../tui/golden/" + name + ".txt");
}

TEST_CASE("EveryScreenLooksAsItDidWhenItWasLookedAt") {
  const bool update = std::getenv("ETCD_RESCUE_UPDATE_GOLDEN") != nullptr;
  for (const auto& scene : testing::AllScenes()) {
    INFO(scene.name);
    const std::string drawn = AllOf(scene.view);
    if (update) rescue::testing::WriteFileBytes(GoldenPath(scene.name), AsBytes(drawn));
    REQUIRE(std::filesystem::exists(GoldenPath(scene.name)));
    const Bytes kept = rescue::testing::ReadFileBytes(GoldenPath(scene.name));
    CHECK(AsText(kept) == drawn);
  }
}

TEST_CASE("EveryScreenFitsInEverySize") {
  for (const auto& scene : testing::AllScenes()) {
    const View view = scene.view;
    for (int rows = kSmallest.rows; rows <= 60; rows += 4) {
      for (int columns = kSmallest.columns; columns <= 200; columns += 14) {
        const Frame frame = Draw(view, {rows, columns}, "etcd-rescue 0.1.0");
        INFO(scene.name << " " << columns << "x" << rows);
        // What has the focus can be seen: the cursor, or the mark of a choice.
        bool seen = view.focus < 0 || frame.cells.cursor.has_value();
        for (int row = 0; row < rows && !seen; ++row) {
          for (int column = 0; column < columns && !seen; ++column) {
            seen = frame.cells.at(row, column).style == Style::kFocus;
          }
        }
        CHECK(seen);
        CHECK(frame.first_row + frame.page <= std::max(frame.body_rows, frame.page));
      }
    }
  }
}

// Somebody who sees no colours reads the same: good and bad are said in words.
TEST_CASE("NoMeaningIsInAColourAlone") {
  for (const auto& scene : testing::AllScenes()) {
    const Frame frame = Draw(scene.view, {43, 132}, "etcd-rescue 0.1.0");
    for (int row = 1; row < 42; ++row) {
      for (int column = 0; column < 132; ++column) {
        const Style style = frame.cells.at(row, column).style;
        if (style != Style::kGood && style != Style::kWarn && style != Style::kBad) continue;
        // Without colours these stand out as well.
        CHECK(LookOf(style, false) != LookOf(Style::kPlain, false));
      }
    }
  }
}

}  // namespace
}  // namespace rescue::tui
