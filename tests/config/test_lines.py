"""The index of lines: where each key of a TOML text stands."""

from __future__ import annotations

import tomllib
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.config.lines import LineIndex, Location

TEXT = '''\
# a comment with a = 1 and [brackets]
plain = 1  # trailing = 2
"quoted key" = "a # no comment"
'literal.key' = 'no \\ escape'
dotted . inner."x\\u0041" = true
[table]   # comment
basic = "a \\" quote ] = \\\\"
multi = """
not_a_key = 1
[not_a_table]
""\\"quotes"" """"
after = 2026-11-23T04:30:00Z
raw = \'\'\'
'' ]
key = 3\'\'\'\'
list = [ # first
  "one", "two",
  [3,
   4], # nested
  { x = 1, y = [5,
   6] },
]
empty = []
[[array]]
name = "first"
[array.sub]
deep = 1
[[array.inner]]
a = 1
[[array.inner]]
a = 2

[[array]]
name = "second"
point = { x = 1, y.z = 2 }
[[array.inner]]
a = 3
[ spaced . "header" ]
last = -1.5e3'''

LINES: dict[Location, int] = {
    ("plain",): 2,
    ("quoted key",): 3,
    ("literal.key",): 4,
    ("dotted",): 5,
    ("dotted", "inner", "xA"): 5,
    ("table",): 6,
    ("table", "basic"): 7,
    ("table", "multi"): 8,
    ("table", "after"): 12,
    ("table", "raw"): 13,
    ("table", "list"): 16,
    ("table", "list", 0): 17,
    ("table", "list", 1): 17,
    ("table", "list", 2): 18,
    ("table", "list", 2, 1): 19,
    ("table", "list", 3): 20,
    ("table", "list", 3, "y"): 20,
    ("table", "list", 3, "y", 1): 21,
    ("table", "empty"): 23,
    ("array",): 24,
    ("array", 0): 24,
    ("array", 0, "name"): 25,
    ("array", 0, "sub", "deep"): 27,
    ("array", 0, "inner", 0, "a"): 29,
    ("array", 0, "inner", 1): 30,
    ("array", 0, "inner", 1, "a"): 31,
    ("array", 1): 33,
    ("array", 1, "name"): 34,
    ("array", 1, "point", "y", "z"): 35,
    ("array", 1, "inner", 0, "a"): 37,
    ("spaced", "header"): 38,
    ("spaced", "header", "last"): 39,
}


class LineTests(SynchronousTestCase):
    def test_every_kind_of_line(self) -> None:
        """Tables, arrays of tables, dotted and quoted keys, lists, inline tables and all strings are followed."""
        tomllib.loads(TEXT)
        index = LineIndex(TEXT)
        self.assertEqual(LINES, {location: index.find(location) for location in LINES})

    def test_what_is_missing(self) -> None:
        """A key that is not there is looked for where it would be: at its table, else at the top."""
        index = LineIndex(TEXT)
        self.assertEqual(33, index.find(("array", 1, "missing")))
        self.assertEqual(6, index.find(("table", "missing", 3)))
        self.assertEqual(1, index.find(("missing",)))
        self.assertEqual(1, index.find(()))

    def test_empty(self) -> None:
        """A text without keys has no lines to tell."""
        for text in ("", "\n\n", "# only a comment", " \t"):
            self.assertEqual(1, LineIndex(text).find(("a",)))

    values = st.recursive(
        st.booleans() | st.integers(-9, 9) | st.sampled_from(["", "x", "#", "]", "a\nb", '"', "'", "}", "=", "\\"]),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
        max_leaves=8,
    )

    @settings(deadline=None, max_examples=300, derandomize=True)
    @given(st.dictionaries(st.sampled_from(["a", "b c", "d.e", "#", "]"]), values, max_size=4), st.booleans())
    def test_all_locations_of_any_text(self, data: dict[str, Any], spread: bool) -> None:
        """Each value that tomllib finds has the line on which it was written, however lists are laid out."""
        written: dict[Location, int] = {}
        text = ""
        for key, value in data.items():
            text += f"{_quoted(key)} = "
            written[(key,)] = text.count("\n") + 1
            text = _write(text, value, (key,), written, spread) + "\n"
        self.assertEqual(data, tomllib.loads(text))
        index = LineIndex(text)
        self.assertEqual(written, {location: index.find(location) for location in written})


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _write(text: str, value: Any, location: Location, written: dict[Location, int], spread: bool) -> str:
    """The text with a value behind it; the line of each part of the value is put down."""
    if isinstance(value, str):
        return text + (f'"""{value}"""' if spread and value in ("", "x", "#", "]", "a\nb", "}") else _quoted(value))
    if isinstance(value, bool | int):
        return text + str(value).lower()
    text += "[" if isinstance(value, list) else "{"
    items = enumerate(value) if isinstance(value, list) else value.items()
    for number, (key, item) in enumerate(items):
        text += ", " if number else ""
        if isinstance(value, list):
            text += "# ] comment\n" if spread else ""
        else:
            text += f"{_quoted(key)} = "
        written[(*location, key)] = text.count("\n") + 1
        text = _write(text, item, (*location, key), written, spread)
    return text + ("]" if isinstance(value, list) else "}")
