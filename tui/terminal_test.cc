#include "tui/terminal.h"

#include <catch2/catch_test_macros.hpp>
#include <clocale>

#include "tui/draw.h"
#include "tui/scenes.h"
#include "tui/terminfo.h"

namespace rescue::tui {
namespace {

// Those of Debian's ncurses-base, which is all that the appliance has.
constexpr const char* kTypes[] = {"linux", "vt100", "vt220", "xterm-256color", "screen"};

TEST_CASE("EveryUsualTerminalGetsAScreen") {
  REQUIRE(std::setlocale(LC_CTYPE, "C.UTF-8") != nullptr);
  for (const auto* type : kTypes) {
    INFO(type);
    auto terminal = Terminal::Open(type, {24, 80}, true);
    REQUIRE(terminal);
    Cells cells({24, 80});
    cells.Put(3, 5, U"a word", Style::kBad);
    const std::string first = (*terminal)->Show(cells, true);
    CHECK(first.find("a word") != std::string::npos);
    // The same picture again: nothing that can be seen.
    CHECK((*terminal)->Show(cells, false).size() < 24);
    cells.Put(3, 5, U"a ward", Style::kBad);
    const std::string second = (*terminal)->Show(cells, false);
    CHECK(second.size() < 64);
    CHECK(second.find("a w") == std::string::npos);
  }
}

TEST_CASE("NoColoursAreSentWhenNoneAreWanted") {
  auto terminal = Terminal::Open("xterm-256color", {24, 80}, false);
  REQUIRE(terminal);
  Cells cells({24, 80});
  cells.Put(0, 0, U"bad", Style::kBad);
  cells.Put(1, 0, U"bar", Style::kBar);
  const std::string bytes = (*terminal)->Show(cells, true);
  for (const auto* colour : {"[31m", "[34m", "[44m", "[37m"}) {
    CHECK(bytes.find(colour) == std::string::npos);
  }
}

TEST_CASE("SeveralTerminalsLiveSideBySide") {
  auto one = Terminal::Open("linux", {24, 80}, true);
  auto two = Terminal::Open("vt220", {43, 132}, true);
  REQUIRE(one);
  REQUIRE(two);
  Cells small({24, 80});
  small.Put(0, 0, U"small", Style::kPlain);
  Cells large({43, 132});
  large.Put(42, 100, U"large", Style::kPlain);
  // Asking about a third one disturbs neither.
  CHECK(KindOfTerminal("xterm-256color") == TerminalKind::kScreen);
  CHECK(KindOfTerminal("no-such-terminal") == TerminalKind::kUnknown);
  CHECK((*one)->Show(small, false).find("large") == std::string::npos);
  CHECK((*two)->Show(large, false).find("large") != std::string::npos);
  CHECK((*one)->Show(small, true).find("small") != std::string::npos);
}

TEST_CASE("TerminalsThatCannotAreToldApart") {
  CHECK(KindOfTerminal("dumb") == TerminalKind::kDumb);
  CHECK(KindOfTerminal("") == TerminalKind::kUnknown);
  CHECK(KindOfTerminal("no-such-terminal") == TerminalKind::kUnknown);
  const auto refused = Terminal::Open("dumb", {24, 80}, true);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == "unknown-terminal");
}

TEST_CASE("AFullPictureStaysUnderFourKilobytes") {
  REQUIRE(std::setlocale(LC_CTYPE, "C.UTF-8") != nullptr);
  for (const auto* type : kTypes) {
    auto terminal = Terminal::Open(type, {24, 80}, true);
    REQUIRE(terminal);
    for (const auto& scene : testing::AllScenes()) {
      INFO(type << " " << scene.name);
      const Frame frame = Draw(scene.view, {24, 80}, "etcd-rescue 0.1.0");
      CHECK((*terminal)->Show(frame.cells, true).size() < 4096);
    }
  }
}

}  // namespace
}  // namespace rescue::tui
