#include "tui/text.h"

#include <algorithm>
#include <array>
#include <utility>

#include "rescue/session/report.h"

namespace rescue::tui {
namespace {

// One cell wide on every terminal: Latin, box drawing and block elements.
bool IsOneCell(char32_t c) {
  return (c >= U' ' && c <= U'~') || (c >= 0xA1 && c <= 0x17F && c != 0xAD) ||
         (c >= 0x2500 && c <= 0x259F);
}

// One character off the front; U'?' for a broken sequence, of which one byte is dropped.
char32_t TakeCharacter(std::string_view& text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  std::size_t length = 1;
  char32_t value = first;
  if (first >= 0xF0 && first < 0xF5) {
    length = 4;
    value = first & 0x07U;
  } else if (first >= 0xE0) {
    length = 3;
    value = first & 0x0FU;
  } else if (first >= 0xC2) {
    length = 2;
    value = first & 0x1FU;
  }
  if ((first >= 0x80 && length == 1) || first >= 0xF5 || text.size() < length) {
    text.remove_prefix(1);
    return U'?';
  }
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0U) != 0x80) {
      text.remove_prefix(1);
      return U'?';
    }
    value = (value << 6U) | (byte(i) & 0x3FU);
  }
  text.remove_prefix(length);
  return value;
}

Style StyleOf(std::string_view label) {
  constexpr std::pair<std::string_view, Style> kStyles[] = {
      {"WARNING", Style::kBad},      {"damage", Style::kBad},       {"DAMAGE", Style::kBad},
      {"DIVERGENCE", Style::kBad},   {"error", Style::kBad},        {"alarm", Style::kWarn},
      {"warning", Style::kWarn},     {"lost", Style::kWarn},        {"remove", Style::kStrong},
      {"RECOMMENDED", Style::kGood}, {"recommended", Style::kGood}, {"verified", Style::kGood},
      {"outlook", Style::kGood},
  };
  const auto* const found =
      std::ranges::find(kStyles, label, [](const auto& s) { return s.first; });
  return found == std::end(kStyles) ? Style::kPlain : found->second;
}

}  // namespace

std::u32string ToCells(std::string_view utf8) {
  std::u32string cells;
  cells.reserve(utf8.size());
  while (!utf8.empty()) {
    const char32_t c = TakeCharacter(utf8);
    cells.push_back(IsOneCell(c) ? c : U'?');
  }
  return cells;
}

std::string ToUtf8(std::u32string_view cells) {
  std::string text;
  for (const char32_t c : cells) {
    if (c < 0x80) {
      text.push_back(static_cast<char>(c));
    } else if (c < 0x800) {
      text.push_back(static_cast<char>(0xC0U | (c >> 6U)));
      text.push_back(static_cast<char>(0x80U | (c & 0x3FU)));
    } else {
      text.push_back(static_cast<char>(0xE0U | (c >> 12U)));
      text.push_back(static_cast<char>(0x80U | ((c >> 6U) & 0x3FU)));
      text.push_back(static_cast<char>(0x80U | (c & 0x3FU)));
    }
  }
  return text;
}

std::u32string ToAscii(std::u32string_view cells) {
  std::u32string plain(cells);
  for (char32_t& c : plain) {
    if (c < 0x80) continue;
    if (c == U'─') {
      c = U'-';
    } else if (c == U'│') {
      c = U'|';
    } else if (c >= 0x2500 && c < 0x2580) {
      c = U'+';
    } else if (c == U'█') {
      c = U'#';
    } else if (c == U'░') {
      c = U'.';
    } else {
      c = U'?';
    }
  }
  return plain;
}

std::vector<std::u32string> Wrap(std::u32string_view text, std::size_t width) {
  std::vector<std::u32string> lines;
  const std::size_t indent = std::min(text.find_first_not_of(U' '), text.size());
  const std::u32string margin(std::min(indent, width / 2), U' ');
  text.remove_prefix(indent);
  const std::size_t room = std::max<std::size_t>(width - margin.size(), 1);
  while (text.size() > room) {
    // A blank right behind the room is as good as one inside.
    std::size_t cut = text.substr(0, room + 1).rfind(U' ');
    std::size_t skip = 1;
    if (cut == std::u32string_view::npos || cut == 0) {
      cut = room;
      skip = 0;
    }
    lines.push_back(margin + std::u32string(text.substr(0, cut)));
    text.remove_prefix(cut + skip);
    text.remove_prefix(std::min(text.find_first_not_of(U' '), text.size()));
  }
  lines.push_back(text.empty() ? std::u32string() : margin + std::u32string(text));
  if (lines.size() > 1 && lines.back().empty()) lines.pop_back();
  return lines;
}

Line FromReport(const std::string& line) {
  Line result;
  result.labelled = true;
  const std::size_t width = session::kLabelWidth + 1;
  if (line.size() < width) {
    result.text = line;
    result.labelled = false;
    return result;
  }
  result.label = line.substr(0, session::kLabelWidth);
  result.label.erase(result.label.find_last_not_of(' ') + 1);
  result.text = line.substr(width);
  result.style = StyleOf(result.label);
  if (result.label == "lost" && result.text.starts_with("nothing")) result.style = Style::kGood;
  if (result.label == "boot") {
    const bool safe = result.text.starts_with("safe to boot: yes");
    result.style = safe ? Style::kGood : Style::kWarn;
  }
  return result;
}

std::vector<Line> FromReport(const std::vector<std::string>& lines) {
  std::vector<Line> result;
  Style style = Style::kPlain;
  for (const auto& line : lines) {
    result.push_back(FromReport(line));
    // What continues a warning is part of it.
    if (result.back().label.empty() && result.back().labelled) result.back().style = style;
    style = result.back().style;
  }
  return result;
}

}  // namespace rescue::tui
