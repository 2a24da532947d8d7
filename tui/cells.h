// A screen as a grid of cells: what drawing makes, what a terminal shows and what tests compare.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tui/text.h"

namespace rescue::tui {

struct Size {
  int rows = 24;
  int columns = 80;
  bool operator==(const Size&) const = default;
};

struct Cell {
  char32_t glyph = U' ';
  Style style = Style::kPlain;
  bool operator==(const Cell&) const = default;
};

struct Position {
  int row = 0;
  int column = 0;
  bool operator==(const Position&) const = default;
};

class Cells {
 public:
  explicit Cells(Size size)
      : size_(size),
        cells_(static_cast<std::size_t>(size.rows) * static_cast<std::size_t>(size.columns)) {}

  Size size() const { return size_; }
  const Cell& at(int row, int column) const { return cells_[Index(row, column)]; }

  // What does not fit is cut off; positions outside are ignored.
  void Put(int row, int column, std::u32string_view text, Style style);
  void Fill(int row, int column, int width, char32_t glyph, Style style);
  // Every character of the grid becomes ASCII.
  void MakeAscii();

  // Where the terminal's cursor is to be; hidden without.
  std::optional<Position> cursor;

 private:
  std::size_t Index(int row, int column) const {
    return static_cast<std::size_t>(row) * static_cast<std::size_t>(size_.columns) +
           static_cast<std::size_t>(column);
  }
  bool Inside(int row, int column) const {
    return row >= 0 && row < size_.rows && column >= 0 && column < size_.columns;
  }

  Size size_;
  std::vector<Cell> cells_;
};

}  // namespace rescue::tui
