// Text as the wizard shows it: one character one cell, wrapped at blanks, nothing that could steer
// a terminal.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace rescue::tui {

// What a piece of text is, not how it looks: colours and attributes are chosen in theme.h.
enum class Style : std::uint8_t {
  kPlain,
  kStrong,
  kLabel,
  kDim,
  kGood,
  kWarn,
  kBad,
  kBar,    // header and footer
  kFocus,  // what Enter acts on
  kField,  // where text can be typed
  kRule,
};

// A line of a screen's text before it is wrapped: an optional label in a column of its own.
struct Line {
  std::string label;
  std::string text;
  Style style = Style::kPlain;
  bool labelled = false;  // continues below a label, or has one
  bool operator==(const Line&) const = default;
};

// UTF-8 to cells. Control characters, broken sequences and whatever a terminal might show in no
// cell or in two become '?': text comes from disks, too.
std::u32string ToCells(std::string_view utf8);
// The other way, for lines and tests.
std::string ToUtf8(std::u32string_view cells);
// With every character that is not ASCII replaced by a similar one.
std::u32string ToAscii(std::u32string_view cells);

// Lines of at most `width` cells; breaks at blanks, and inside a word only when it has no room.
// Leading blanks are kept and repeated for the lines that follow. An empty text is one empty line.
std::vector<std::u32string> Wrap(std::u32string_view text, std::size_t width);

// A line of session's reports: label, padding, text. Its style follows the label.
Line FromReport(const std::string& line);
std::vector<Line> FromReport(const std::vector<std::string>& lines);

}  // namespace rescue::tui
