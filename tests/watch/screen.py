"""A terminal's screen, as far as the view uses one; it refuses what would wrap, scroll or be lost."""

import re
import unicodedata

PIECE = re.compile(r"\x1b\[(\??)([0-9;]*)([A-Za-z])|(\r\n)|([^\x00-\x1f\x7f-\x9f])")


def columns_of(char: str) -> int:
    """How many columns a character takes."""
    if unicodedata.category(char) in {"Mn", "Me"}:
        return 0
    return 2 if unicodedata.east_asian_width(char) in {"W", "F"} else 1


class Screen:
    """What is on the screen, and the style of each character (the parameters of SGR)."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.cells = [[" "] * width for _ in range(height)]
        self.styles = [[""] * width for _ in range(height)]
        self.row = self.column = 0
        self.style = ""

    def show(self, frame: str) -> "Screen":
        """Draw a frame from the first line on."""
        self.row = self.column = 0
        end = 0
        for found in PIECE.finditer(frame):
            assert found.start() == end
            end = found.end()
            private, parameters, final, control, char = found.groups()
            if final:
                assert not private
                self._sequence(final, parameters)
            elif control:
                self.row, self.column = self.row + 1, 0
                assert self.row < self.height
            else:
                self._put(char)
        assert end == len(frame)
        assert not self.style
        return self

    def lines(self) -> list[str]:
        """The lines, without spaces at their ends."""
        return ["".join(line).rstrip() for line in self.cells]

    def _put(self, char: str) -> None:
        columns = columns_of(char)
        assert self.column + columns <= self.width
        if columns == 0:
            if self.column:
                self.cells[self.row][self.column - 1] += char
            return
        self.cells[self.row][self.column : self.column + columns] = [char, ""][:columns]
        self.styles[self.row][self.column : self.column + columns] = [self.style] * columns
        self.column += columns

    def _sequence(self, final: str, parameters: str) -> None:
        if final == "m":
            self.style = "" if parameters == "0" else parameters
            return
        assert final in "KJ"
        assert not parameters
        assert not self.style  # it would colour what is erased
        assert self.column < self.width  # it would erase the last character
        self._erase(self.row, self.column)
        if final == "J":
            for row in range(self.row + 1, self.height):
                self._erase(row, 0)

    def _erase(self, row: int, column: int) -> None:
        self.cells[row][column:] = [" "] * (self.width - column)
        self.styles[row][column:] = [""] * (self.width - column)
