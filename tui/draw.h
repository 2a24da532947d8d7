// From a view to cells, for any size that is large enough for a screen.
#pragma once

#include "tui/cells.h"
#include "tui/view.h"

namespace rescue::tui {

// Below this a terminal gets line mode.
inline constexpr Size kSmallest{20, 60};

struct Frame {
  Cells cells;
  int page = 0;       // rows of the body that are shown at once
  int body_rows = 0;  // rows that it has, wrapped
  int first_row = 0;  // the first one shown
};

// `product` is the left part of the header ("etcd-rescue 0.1.0").
Frame Draw(const View& view, Size size, std::string_view product);

}  // namespace rescue::tui
