"""
The texts that hold tables: what they have in common.

Owns: logical lines (comments, continuation), and a text's entries with what is wrong in it.
Never: reads a file; knows the grammar of one kind of text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from mta.table import CouldNotAsk, Found, Value


@dataclass(frozen=True, slots=True)
class Text:
    """
    A text that was read: `get` has the value of a key or None, `problems` are line and sentence of each bad entry.

    `partial`: whether a bare name or "@domain" can be a key; patterns see whole addresses alone.
    """

    get: Callable[[str], Value | None]
    size: int
    problems: tuple[tuple[int, str], ...] = ()
    partial: bool = True

    def answer(self, key: str, name: str) -> Found:
        """
        The value of a key. Where there are bad entries, a key that is not found could not be asked for: one of them may
        have been the right one. `name` is the table's, for people.
        """
        found = self.get(key) if self.partial or "@" in key[1:] else None
        if found is None and self.problems:
            line, problem = self.problems[0]
            return CouldNotAsk(f"{name}: line {line}: {problem}")
        return found


def logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """
    Each entry with the number of its first line: a line that begins with a blank continues the one before.

    Empty lines and those whose first character but blanks is "#" are none, and do not end an entry (postmap(1)).
    """
    number, parts = 0, list[str]()
    # Not splitlines(): a form feed or U+2028 ends no line here.
    for count, raw in enumerate(text.split("\n"), 1):
        line = raw.rstrip("\r")
        bare = line.strip()
        if not bare or bare.startswith("#"):
            continue
        if line[0] in " \t" and parts:
            parts.append(bare)
            continue
        if parts:
            yield number, " ".join(parts)
        number, parts = count, [bare]
        if line[0] in " \t":
            parts.insert(0, "")  # continues nothing: the grammars see a leading blank and say so
    if parts:
        yield number, " ".join(parts)
