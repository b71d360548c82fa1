"""
Read the file of a table.

Owns: the bounds on a file, and its encoding. Blocks.
Never: knows the grammar.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mta.tables.text import Text

# Octets of a file; a million aliases have 50 MB.
MAX_SIZE = 256 * 1024 * 1024


def read_text(path: Path, parse: Callable[[str], Text]) -> Text:
    """The text in a file. Blocks. Raises OSError, and ValueError where it is no table at all."""
    with path.open("rb") as file:
        octets = file.read(MAX_SIZE + 1)
    if len(octets) > MAX_SIZE:
        raise ValueError(f"has more than {MAX_SIZE} octets")
    try:
        return parse(octets.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = octets.count(b"\n", 0, error.start) + 1
        raise ValueError(f"line {line}: is not UTF-8 text") from None
