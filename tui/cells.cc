#include "tui/cells.h"

namespace rescue::tui {

void Cells::Put(int row, int column, std::u32string_view text, Style style) {
  for (const char32_t glyph : text) {
    if (Inside(row, column)) cells_[Index(row, column)] = {glyph, style};
    ++column;
  }
}

void Cells::Fill(int row, int column, int width, char32_t glyph, Style style) {
  for (int i = 0; i < width; ++i) {
    if (Inside(row, column + i)) cells_[Index(row, column + i)] = {glyph, style};
  }
}

void Cells::MakeAscii() {
  for (auto& cell : cells_) {
    if (cell.glyph >= 0x80) cell.glyph = ToAscii(std::u32string_view(&cell.glyph, 1)).front();
  }
}

}  // namespace rescue::tui
