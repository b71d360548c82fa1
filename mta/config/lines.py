"""
Find the line of the file on which a key stands.

Owns: a reading of TOML that keeps positions and forgets values.
Never: checks syntax: the text has passed `tomllib`, so what stands here is well formed.
"""

from __future__ import annotations

import re
import tomllib

Location = tuple[str | int, ...]

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_KEY = re.compile(r"""[ \t]*("(?:[^"\\]|\\.)*"|'[^']*'|[A-Za-z0-9_-]+)[ \t]*""")
# The closing quotes of a multi-line string may follow one or two quotes that belong to it.
_STRING = re.compile(
    r'"""(?:[^"\\]|\\.|"{1,2}(?!"))*"{3,5}' r"|'''(?:[^']|'{1,2}(?!'))*'{3,5}" r'|"(?:[^"\\]|\\.)*"' r"|'[^']*'",
    re.DOTALL,
)
_BARE = re.compile(r"[^,\]}#\r\n]*")


class LineIndex:
    """
    The lines of all keys and list items of a valid TOML text.

    A location is written as pydantic does: ``("listener", 0, "name")``, tables of an array and items of a list counted
    from 0.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._position = 0
        self._line = 1
        self._counted = 0
        self._lines: dict[Location, int] = {}
        self._tables: dict[Location, int] = {}
        self._read()

    def find(self, location: Location) -> int:
        """The line of a location, or of the nearest thing around it that is in the file; 1 for what is nowhere."""
        while location:
            if location in self._lines:
                return self._lines[location]
            location = location[:-1]
        return 1

    def _read(self) -> None:
        table: Location = ()
        while self._skip_blank() < len(self._text):
            if self._text.startswith("[[", self._position):
                self._position += 2
                table = self._array_table(self._keys())
                self._position += 2
            elif self._text[self._position] == "[":
                self._position += 1
                table = self._note(self._inside_arrays(self._keys()))
                self._position += 1
            else:
                self._pair(table)

    def _pair(self, table: Location) -> None:
        line = self._line_here()
        location = table
        for key in self._keys():
            location = (*location, key)
            self._lines.setdefault(location, line)
        self._position += 1  # =
        self._skip_blank()
        self._value(location)

    def _value(self, location: Location) -> None:
        opening = self._text[self._position]
        if opening == "[":
            self._list(location)
        elif opening == "{":
            self._inline_table(location)
        elif opening in "\"'":
            self._match(_STRING)
        else:
            self._match(_BARE)

    def _list(self, location: Location) -> None:
        self._position += 1
        number = 0
        while self._text[self._skip_blank()] != "]":
            item = (*location, number)
            self._note(item)
            self._value(item)
            number += 1
            self._skip_comma()
        self._position += 1

    def _inline_table(self, location: Location) -> None:
        self._position += 1
        while self._text[self._skip_blank()] != "}":
            self._pair(location)
            self._skip_comma()
        self._position += 1

    def _keys(self) -> list[str]:
        """The parts of a dotted key; the position is left behind it."""
        parts = [self._key()]
        while self._text[self._position] == ".":
            self._position += 1
            parts.append(self._key())
        return parts

    def _key(self) -> str:
        word = self._match(_KEY).strip(" \t")
        if word[0] not in "\"'":
            return word
        text = tomllib.loads(f"key = {word}")["key"]
        return str(text)

    def _inside_arrays(self, keys: list[str]) -> Location:
        """Where a table header points: a name on the way that is an array of tables means its last table."""
        location: Location = ()
        for key in keys:
            location = (*location, key)
            if location in self._tables:
                location = (*location, self._tables[location] - 1)
        return location

    def _array_table(self, keys: list[str]) -> Location:
        array = (*self._inside_arrays(keys[:-1]), keys[-1])
        number = self._tables.get(array, 0)
        self._tables[array] = number + 1
        self._note(array)
        return self._note((*array, number))

    def _note(self, location: Location) -> Location:
        self._lines.setdefault(location, self._line_here())
        return location

    def _match(self, expression: re.Pattern[str]) -> str:
        found = expression.match(self._text, self._position)
        if not found:  # the text was not valid TOML after all
            raise ValueError(f"line {self._line_here()} can't be read")
        self._position = found.end()
        return found[0]

    def _skip_blank(self) -> int:
        self._match(_BLANK)
        return self._position

    def _skip_comma(self) -> None:
        if self._text[self._skip_blank()] == ",":
            self._position += 1

    def _line_here(self) -> int:
        """The line of the position; it only grows, so each line end is counted once."""
        self._line += self._text.count("\n", self._counted, self._position)
        self._counted = self._position
        return self._line
