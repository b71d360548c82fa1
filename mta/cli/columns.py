"""
Write rows as columns.

Owns: widths, alignment, how times and sizes read, and that no text can play tricks on the terminal.
Never: knows what the columns mean.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import chain, islice
from typing import TextIO

# Widths come from the first rows: a million of them can't be held back to measure the last one.
_MEASURED = 1000
_GAP = "  "


def write(headings: Sequence[str], rows: Iterable[Sequence[str]], out: TextIO | None = None) -> int:
    """
    Print `rows` under `headings`; how many there were, and nothing is printed for none.

    A heading that starts with ">" is of a column of numbers, aligned right. On a terminal the last column is cut at its
    edge; anywhere else nothing is.
    """
    out = out or sys.stdout
    stream = iter(rows)
    head = [[printable(cell) for cell in row] for row in islice(stream, _MEASURED)]
    if not head:
        return 0
    right = [heading.startswith(">") for heading in headings]
    titles = [heading.lstrip(">") for heading in headings]
    widths = [max(map(len, column)) for column in zip(titles, *head, strict=True)]
    edge = shutil.get_terminal_size().columns if out.isatty() else None
    tail: Iterator[list[str]] = ([printable(cell) for cell in row] for row in stream)
    number = -1  # the headings are no row
    for row in chain([titles], head, tail):
        cells = (
            cell.rjust(width) if flush else cell.ljust(width)
            for cell, width, flush in zip(row, widths, right, strict=True)
        )
        out.write(_GAP.join(cells).rstrip()[:edge] + "\n")
        number += 1
    return number


def printable(text: str) -> str:
    """The text with everything that is not a printable character escaped: replies come from strangers."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def time(at: float, out: TextIO | None = None) -> str:
    """Seconds since 1970 as people read them: local time on a terminal, UTC as ISO 8601 anywhere else."""
    moment = datetime.fromtimestamp(at, UTC)
    if (out or sys.stdout).isatty():
        return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def size(octets: float) -> str:
    """Octets in the largest unit that keeps a digit before the point: 4096 is 4.0K."""
    for unit in ("", "K", "M"):
        if octets < 1024:
            return f"{octets:.1f}{unit}" if unit else str(octets)
        octets /= 1024
    return f"{octets:.1f}G"
