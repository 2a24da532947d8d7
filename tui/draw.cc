#include "tui/draw.h"

#include <fmt/format.h>

#include <algorithm>

namespace rescue::tui {
namespace {

constexpr int kMargin = 2;
constexpr int kLabelColumn = 13;  // session's labels and a blank
constexpr int kWidestText = 110;  // longer lines are hard to read

// A row of wrapped text, in up to two styles.
struct Row {
  std::u32string label;
  Style label_style = Style::kLabel;
  std::u32string text;
  Style style = Style::kPlain;
  int indent = 0;   // of the text
  int item = -1;    // the choice or field that it belongs to
  int cursor = -1;  // column in the text, when the cursor stands here
};

int Columns(Size size) { return std::min(size.columns - 2 * kMargin, kWidestText); }

void AddLine(const Line& line, int width, int indent, std::vector<Row>& rows) {
  const int text_indent = indent + (line.labelled ? kLabelColumn : 0);
  bool first = true;
  for (auto& text : Wrap(ToCells(line.text), static_cast<std::size_t>(width - text_indent))) {
    Row row;
    if (first && line.labelled) row.label = ToCells(line.label);
    if (line.style != Style::kPlain) row.label_style = line.style;
    row.text = std::move(text);
    row.style = line.style;
    row.indent = text_indent;
    rows.push_back(std::move(row));
    first = false;
  }
}

std::vector<Row> Lay(const std::vector<Line>& lines, int width) {
  std::vector<Row> rows;
  for (const auto& line : lines) AddLine(line, width, 0, rows);
  return rows;
}

std::u32string MarkOf(const Choice& choice, bool multiple) {
  if (!choice.selectable) return multiple ? U"    " : U"";
  if (!choice.marked) return {};
  return *choice.marked ? U"[x] " : U"[ ] ";
}

void AddChoice(const Choice& choice, int item, bool focused, bool multiple, int width,
               std::vector<Row>& rows) {
  const std::size_t begin = rows.size();
  const std::u32string mark = MarkOf(choice, multiple);
  const int indent = static_cast<int>(mark.size());
  for (auto& text : Wrap(ToCells(choice.label), static_cast<std::size_t>(width - indent - 2))) {
    Row row;
    const bool first = rows.size() == begin;
    row.text = (focused ? U"> " : U"  ") +
               (first ? mark : std::u32string(static_cast<std::size_t>(indent), U' ')) + text;
    if (!first && focused) row.text[0] = U' ';
    row.style = focused ? Style::kFocus : choice.selectable ? Style::kPlain : Style::kDim;
    if (focused) row.text.resize(static_cast<std::size_t>(width), U' ');
    rows.push_back(std::move(row));
  }
  for (const auto& detail : choice.details) AddLine(detail, width, indent + 4, rows);
  for (std::size_t i = begin; i < rows.size(); ++i) {
    rows[i].item = item;
    if (!choice.selectable && rows[i].style == Style::kPlain) rows[i].style = Style::kDim;
  }
}

std::u32string ShownValue(const Field& field) {
  switch (field.kind) {
    case Field::Kind::kToggle:
      return field.on ? U"[x] yes" : U"[ ] no";
    case Field::Kind::kSecret:
      return {};
    case Field::Kind::kText:
    case Field::Kind::kConfirm:
      return ToCells(field.value);
  }
  return {};
}

void AddField(const Field& field, int item, bool focused, int width, std::vector<Row>& rows) {
  const std::size_t begin = rows.size();
  constexpr int kFieldLabel = 18;
  const int indent = 2 + kFieldLabel;
  const auto room = static_cast<std::size_t>(width - indent - 1);
  std::u32string value = ShownValue(field);
  // The end of a long value is where it is typed.
  if (value.size() > room) value = value.substr(value.size() - room);
  Row row;
  row.label = (focused ? U"> " : U"  ") + ToCells(field.label);
  row.label_style = focused ? Style::kStrong : Style::kLabel;
  row.indent = indent;
  if (focused) row.cursor = static_cast<int>(value.size());
  if (field.kind == Field::Kind::kToggle) {
    row.style = focused ? Style::kFocus : Style::kPlain;
    if (focused) row.cursor = 1;
  } else {
    row.style = Style::kField;
    value.resize(room + 1, U' ');
  }
  row.text = std::move(value);
  rows.push_back(std::move(row));
  if (!field.error.empty()) {
    AddLine({"", field.error, Style::kBad, false}, width, indent, rows);
  } else if (!field.note.empty()) {
    AddLine({"", field.note, Style::kDim, false}, width, indent, rows);
  }
  for (std::size_t i = begin; i < rows.size(); ++i) rows[i].item = item;
}

std::vector<Row> LayItems(const View& view, int width) {
  std::vector<Row> rows;
  int item = 0;
  for (const auto& field : view.fields) {
    AddField(field, item, item == view.focus, width, rows);
    ++item;
  }
  if (!view.fields.empty() && !view.choices.empty()) rows.emplace_back();
  for (const auto& choice : view.choices) {
    AddChoice(choice, item, item == view.focus, view.multiple, width, rows);
    ++item;
  }
  return rows;
}

std::vector<Row> LayGauge(const Gauge& gauge, int width) {
  std::vector<Row> rows;
  if (gauge.total > 0) {
    const auto bar = static_cast<std::size_t>(width - 7);
    const double part =
        std::min(1.0, static_cast<double>(gauge.done) / static_cast<double>(gauge.total));
    const auto full = static_cast<std::size_t>(part * static_cast<double>(bar));
    Row row;
    row.text = std::u32string(full, U'█') + std::u32string(bar - full, U'░') +
               ToCells(fmt::format(" {:>3.0f} %", part * 100));
    rows.push_back(std::move(row));
  }
  AddLine({"", gauge.text, Style::kPlain, false}, width, 0, rows);
  return rows;
}

class Painter {
 public:
  Painter(const View& view, Size size, std::string_view product)
      : view_(view), size_(size), width_(Columns(size)), frame_{Cells(size)} {
    Bar(0, std::string(product),
        view.step > 0 ? fmt::format("step {} of {}", view.step, view.steps) : "", view.title);
    Footer();
    if (view.boxed) Box();
  }

  Frame Paint() {
    std::vector<Row> body = Lay(view_.body, width_);
    std::vector<Row> below;
    if (view_.gauge) below = LayGauge(*view_.gauge, width_);
    Append(below, Lay(view_.notice, width_));
    Append(below, LayItems(view_, width_));
    const int top = 2;
    const int room = size_.rows - 1 - top - (view_.boxed ? 1 : 0);
    const auto wanted = static_cast<int>(body.size());
    int items = static_cast<int>(below.size());
    const int gap = items > 0 && wanted > 0 ? 1 : 0;
    int text = wanted;
    if (wanted + gap + items > room) {
      // Fields and choices come first, but some of the text always stays in sight.
      text = std::min(wanted, std::max(room - gap - items, std::min(wanted, room / 3)));
      items = std::min(items, room - gap - text);
    }
    PaintBody(body, top, text);
    if (items > 0) PaintBelow(below, top + text + gap, items);
    return std::move(frame_);
  }

 private:
  static void Append(std::vector<Row>& rows, std::vector<Row> more) {
    if (!rows.empty() && !more.empty()) rows.emplace_back();
    std::ranges::move(more, std::back_inserter(rows));
  }

  void Bar(int row, const std::string& left, const std::string& right, const std::string& middle) {
    frame_.cells.Fill(row, 0, size_.columns, U' ', Style::kBar);
    frame_.cells.Put(row, 1, ToCells(left), Style::kBar);
    const std::u32string title = ToCells(middle);
    frame_.cells.Put(row, (size_.columns - static_cast<int>(title.size())) / 2, title, Style::kBar);
    const std::u32string end = ToCells(right);
    frame_.cells.Put(row, size_.columns - 1 - static_cast<int>(end.size()), end, Style::kBar);
  }

  void Box() {
    const int bottom = size_.rows - 2;
    const int right = size_.columns - 1;
    for (int row = 2; row < bottom; ++row) {
      frame_.cells.Put(row, 0, U"│", Style::kRule);
      frame_.cells.Put(row, right, U"│", Style::kRule);
    }
    frame_.cells.Fill(1, 0, size_.columns, U'─', Style::kRule);
    frame_.cells.Fill(bottom, 0, size_.columns, U'─', Style::kRule);
    frame_.cells.Put(1, 0, U"┌", Style::kRule);
    frame_.cells.Put(1, right, U"┐", Style::kRule);
    frame_.cells.Put(bottom, 0, U"└", Style::kRule);
    frame_.cells.Put(bottom, right, U"┘", Style::kRule);
  }

  // Only what works now; what does not fit is on the help screen.
  void Footer() {
    std::u32string text;
    for (const auto& command : view_.commands) {
      std::string key;
      if (command.action == Action::kContinue) {
        key = "Enter";
      } else if (view_.TypesText() || command.letter == 0) {
        if (command.action == Action::kBack) key = "Esc";
        if (command.function_key > 0) key = fmt::format("F{}", command.function_key);
      } else {
        key = std::string(1, command.letter);
      }
      if (key.empty() || command.label.empty()) continue;
      const std::u32string word = ToCells(fmt::format("{} {}", key, command.label));
      if (text.size() + word.size() + 2 > static_cast<std::size_t>(size_.columns - 2)) continue;
      if (!text.empty()) text += U"  ";
      text += word;
    }
    const int row = size_.rows - 1;
    frame_.cells.Fill(row, 0, size_.columns, U' ', Style::kBar);
    frame_.cells.Put(row, 1, text, Style::kBar);
  }

  void PaintRow(const Row& row, int at) {
    if (!row.label.empty()) frame_.cells.Put(at, kMargin, row.label, row.label_style);
    frame_.cells.Put(at, kMargin + row.indent, row.text, row.style);
    if (row.cursor >= 0) frame_.cells.cursor = Position{at, kMargin + row.indent + row.cursor};
  }

  void PaintBody(const std::vector<Row>& rows, int top, int height) {
    const int all = static_cast<int>(rows.size());
    const int last = std::max(0, all - height);
    const int first =
        view_.at_end ? std::max(0, last - view_.scroll) : std::clamp(view_.scroll, 0, last);
    for (int i = 0; i < height; ++i) {
      const int row = first + i;
      PaintRow(rows[static_cast<std::size_t>(row)], top + i);
    }
    frame_.page = height;
    frame_.body_rows = all;
    frame_.first_row = first;
    if (all > height) More(top - 1, first, all - first - height);
  }

  // On the row above the body: how much of it is out of sight.
  void More(int row, int above, int below) {
    std::string text;
    if (above > 0) text += fmt::format("{} above (PgUp, k)", above);
    if (below > 0) text += fmt::format("{}{} below (PgDn, j)", text.empty() ? "" : ", ", below);
    text = "lines: " + text;
    const std::u32string cells = ToCells(" " + text + " ");
    frame_.cells.Fill(row, kMargin, width_, U'─', Style::kRule);
    frame_.cells.Put(row, kMargin + width_ - static_cast<int>(cells.size()) - 1, cells,
                     Style::kDim);
  }

  // Scrolls by itself, so that all of the focused item is in sight.
  void PaintBelow(const std::vector<Row>& rows, int top, int height) {
    const int all = static_cast<int>(rows.size());
    int first = 0;
    if (all > height && view_.focus >= 0) {
      int begin = all;
      int end = 0;
      for (int i = 0; i < all; ++i) {
        if (rows[static_cast<std::size_t>(i)].item != view_.focus) continue;
        begin = std::min(begin, i);
        end = i + 1;
      }
      // The notice and the items before it stay as long as there is room.
      if (end > height) first = std::min(begin, end - height);
      first = std::min(first, all - height);
    }
    for (int i = 0; i < std::min(height, all); ++i) {
      const int row = first + i;
      PaintRow(rows[static_cast<std::size_t>(row)], top + i);
    }
    if (all > height) {
      const int hidden = all - height - first;
      if (first > 0) frame_.cells.Put(top, size_.columns - 2, U"^", Style::kDim);
      if (hidden > 0) frame_.cells.Put(top + height - 1, size_.columns - 2, U"v", Style::kDim);
    }
  }

  const View& view_;
  Size size_;
  int width_;
  Frame frame_;
};

}  // namespace

Frame Draw(const View& view, Size size, std::string_view product) {
  return Painter(view, size, product).Paint();
}

}  // namespace rescue::tui
