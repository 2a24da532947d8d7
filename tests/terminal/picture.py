"""What a terminal shows after the bytes that it was sent: the sequences that ncurses uses on vt220 and xterm."""

import re

SEQUENCE = re.compile(r"\x1b\[([0-9;?]*)([@-~])|\x1b[()][A-Z0-9]|\x1b[=>78DM]|[\x00-\x1f]|[^\x00-\x1f\x1b]+", re.S)


class Picture:
    def __init__(self, columns=80, rows=24):
        self.columns, self.rows = columns, rows
        self.row = self.column = 0
        self.rest = b""
        self.top, self.bottom = 0, rows  # what scrolls (DECSTBM): from, up to and without
        self.clear()

    def clear(self):
        self.lines = [[" "] * self.columns for _ in range(self.rows)]

    def text(self):
        return "\n".join("".join(line).rstrip() for line in self.lines)

    def feed(self, data):
        text = (self.rest + data).decode(errors="surrogateescape")
        self.rest = b""
        # A sequence, or a character, may be cut in two by the end of the data.
        cut = re.search(r"\x1b(\[[0-9;?]*|[()])?$|[\udc80-\udcff]+$", text)
        if cut:
            self.rest = cut[0].encode(errors="surrogateescape")
            text = text[:cut.start()]
        for match in SEQUENCE.finditer(text):
            if match[2]:
                self.control(match[1], match[2])
            elif match[0] == "\x1bD":
                self.down()
            elif match[0] == "\x1bM":
                self.up()
            elif match[0][0] == "\x1b":
                continue
            elif match[0] < " ":
                self.move(match[0])
            else:
                for character in match[0]:
                    self.put(character)

    def move(self, character):
        if character == "\r":
            self.column = 0
        elif character == "\n":
            self.down()
        elif character == "\b":
            self.column = max(0, self.column - 1)
        elif character == "\t":
            self.column = min(self.columns - 1, self.column // 8 * 8 + 8)

    def down(self):
        if self.row + 1 == self.bottom:
            self.shift(self.top, 1)
        elif self.row + 1 < self.rows:
            self.row += 1

    def up(self):
        if self.row == self.top:
            self.shift(self.top, -1)
        else:
            self.row = max(0, self.row - 1)

    def shift(self, start, count):
        """Lines from `start` to the end of what scrolls move up by `count`, or down when it is negative."""
        if not self.top <= start < self.bottom:
            return
        part = self.lines[start:self.bottom]
        empty = [[" "] * self.columns for _ in range(min(abs(count), len(part)))]
        part = part[count:] + empty if count > 0 else empty + part[:max(len(part) + count, 0)]
        self.lines[start:self.bottom] = part

    def put(self, character):
        if self.column >= self.columns:
            self.column = 0
            self.down()
        self.lines[self.row][self.column] = character
        self.column += 1

    def control(self, parameters, final):
        numbers = [int(number or 0) for number in parameters.strip("?").split(";")]
        first = numbers[0]
        count = max(first, 1)
        line = self.lines[self.row]
        column = min(self.column, self.columns - 1)
        if final in "Hf":
            self.row = min(count, self.rows) - 1
            self.column = min(max(numbers[1] if len(numbers) > 1 else 1, 1), self.columns) - 1
        elif final == "A":
            self.row = max(0, self.row - count)
        elif final == "B":
            self.row = min(self.rows - 1, self.row + count)
        elif final == "C":
            self.column = min(self.columns - 1, self.column + count)
        elif final == "D":
            self.column = max(0, column - count)
        elif final == "G":
            self.column = min(count, self.columns) - 1
        elif final == "d":
            self.row = min(count, self.rows) - 1
        elif final == "K":
            span = {0: range(column, self.columns), 1: range(column + 1), 2: range(self.columns)}[first]
            for i in span:
                line[i] = " "
        elif final == "J":
            if first == 2:
                self.clear()
            else:
                line[column:] = [" "] * (self.columns - column)
                for i in range(self.row + 1, self.rows):
                    self.lines[i] = [" "] * self.columns
        elif final == "X":
            for i in range(column, min(self.columns, column + count)):
                line[i] = " "
        elif final == "P":
            self.lines[self.row] = (line[:column] + line[column + count:] + [" "] * count)[:self.columns]
        elif final == "@":
            self.lines[self.row] = (line[:column] + [" "] * count + line[column:])[:self.columns]
        elif final == "b":
            for _ in range(count):
                self.put(line[column - 1])
        elif final == "r":
            bottom = numbers[1] if len(numbers) > 1 else 0
            self.top, self.bottom = count - 1, min(bottom or self.rows, self.rows)
            self.row = self.column = 0
        elif final == "L":
            self.shift(self.row, -count)
        elif final == "M":
            self.shift(self.row, count)
