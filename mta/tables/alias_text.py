"""
Read a file of aliases, as /etc/aliases is one (aliases(5)): a name, a colon, members.

Owns: the left side of that grammar. The right side is a list of members (`mta/policy/members.py`), which is checked.
Never: reads a file, looks up a member.
"""

from __future__ import annotations

import re

from mta.policy.directory import folded
from mta.policy.members import MemberError, parse_members
from mta.table import Value
from mta.tables.text import Text, logical_lines

_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"\s*:')
_BARE = re.compile(r'([^\s":#][^\s":]*)\s*:')


def read(text: str) -> Text:
    """The entries of a text. Names are compared without case (aliases(5))."""
    entries: dict[str, Value] = {}
    lines: dict[str, int] = {}
    problems: list[tuple[int, str]] = []
    for number, line in logical_lines(text):
        found = _QUOTED.match(line) or _BARE.match(line)
        if not found:
            problems.append((number, "is not an alias; write it as NAME: MEMBER, MEMBER"))
            continue
        name = found[1]
        if line.startswith('"'):
            name = re.sub(r"\\(.)", r"\1", name)
        key, value = folded(name), line[found.end() :].strip()
        if key in entries:
            problems.append((number, f'"{key}" is there already, on line {lines[key]}'))
            continue
        try:
            if not parse_members(value):
                raise MemberError("has no member")
        except MemberError as error:
            problems.append((number, f'"{key}": {error}'))
        # Kept all the same: who asks for this one hears of the trouble, and not that nobody is there.
        entries[key], lines[key] = (value,), number
    return Text(entries.get, len(entries), tuple(problems))
