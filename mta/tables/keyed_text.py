"""
Read Postfix's source format of hash tables: a key, blanks, a value (postmap(1)).

Owns: that grammar. A key with blanks in it stands in double quotes.
Never: reads a file, looks at what a value means.
"""

from __future__ import annotations

from mta.policy.directory import folded
from mta.table import Value
from mta.tables.text import Text, logical_lines


def read(text: str) -> Text:
    """The entries of a text. Keys are compared without case, as postmap folds them."""
    entries: dict[str, Value] = {}
    lines: dict[str, int] = {}
    problems: list[tuple[int, str]] = []
    for number, line in logical_lines(text):
        key, value, fault = _split(line)
        if fault:
            problems.append((number, fault))
            continue
        key = folded(key)
        if key in entries:
            problems.append((number, f'"{key}" is there already, on line {lines[key]}'))
            continue
        entries[key], lines[key] = (value,), number
    return Text(entries.get, len(entries), tuple(problems))


def _split(line: str) -> tuple[str, str, str]:
    """Key, value, and what is wrong."""
    if line.startswith(" "):
        return "", "", "begins with a blank, and there is no entry that it could continue"
    if line.startswith('"'):
        end = line.find('"', 1)
        while end > 0 and line[end - 1] == "\\":
            end = line.find('"', end + 1)
        if end < 0:
            return "", "", "the quotes around the key are not closed"
        key, rest = line[1:end].replace('\\"', '"').replace("\\\\", "\\"), line[end + 1 :]
        if rest.startswith("@"):  # the local part alone is quoted
            domain, _, rest = rest.partition(" ") if " " in rest else rest.partition("\t")
            key, rest = key + domain, f" {rest}"
    else:
        key, *tail = line.split(None, 1)
        rest = f" {tail[0]}" if tail else ""
    value = rest.strip()
    if not value:
        return key, "", f'"{key}" has no value; a table of names alone needs some word behind each, such as OK'
    if key.endswith(":"):
        return key, "", f'"{key}" ends with a colon; is this a file for aliases: ?'
    return key, value, ""
