"""
Read a table of regular expressions, as regexp_table(5) and pcre_table(5) have them: /pattern/flags value.

Owns: that grammar, the substitution of $1, and which patterns are refused because they could take too long.
Never: reads a file, looks at what a value means.

The patterns are the operator's, the keys are anybody's: Python tries all ways to match, so a pattern in which a
repetition repeats another could be made to run for hours by one RCPT.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from re import _constants, _parser  # type: ignore[attr-defined]
from typing import Any

from mta.table import MAX_KEY, Value
from mta.tables.text import Text, logical_lines

MAX_RULES = 10_000
MAX_PATTERN = 1_000
# With keys of 320 characters, each further one multiplies the steps by some hundreds.
MAX_REPETITIONS = 3

_FLAGS = {"i": re.IGNORECASE, "m": re.MULTILINE, "s": re.DOTALL, "x": re.VERBOSE}
_REFERENCE = re.compile(r"\$(?:(\$)|(\d{1,2})|\{(\d{1,2})\}|\((\d{1,2})\))")
# What a part of a key must not bring into a value: it would be read as a list, a command or a file.
_UNSAFE = re.compile(r'[\s,;:"|\\<>()\[\]]|^/')
_REPEATS = tuple(
    getattr(_constants, name) for name in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT") if hasattr(_constants, name)
)


@dataclass(frozen=True, slots=True)
class _Rule:
    pattern: re.Pattern[str]
    negated: bool
    value: str

    def answer(self, key: str) -> Value | None:
        found = self.pattern.search(key)
        if self.negated:
            return None if found else (self.value,)
        filled = None if found is None else _filled(self.value, found)
        return None if filled is None else (filled,)


def read(text: str) -> Text:
    """The rules of a text; the first that matches answers. Case does not count, unless the flag "i" says so."""
    rules: list[_Rule] = []
    problems: list[tuple[int, str]] = []
    for number, line in logical_lines(text):
        try:
            rules.append(_rule(line))
        except ValueError as error:
            problems.append((number, str(error)))
        if len(rules) > MAX_RULES:
            problems.append((number, f"there are more than {MAX_RULES} patterns"))
            break

    def get(key: str) -> Value | None:
        if len(key) > MAX_KEY:
            return None
        return next((answer for rule in rules if (answer := rule.answer(key)) is not None), None)

    return Text(get, len(rules), tuple(problems), partial=False)


def _rule(line: str) -> _Rule:
    if line.split(None, 1)[0].lower() in ("if", "endif"):
        raise ValueError("if and endif are not supported")
    negated = line.startswith("!")
    rest = line.removeprefix("!")
    delimiter = rest[:1]
    if not delimiter or delimiter.isalnum() or delimiter in " \\":
        raise ValueError("is not a pattern; write it as /PATTERN/ VALUE")
    end = _end(rest, delimiter)
    pattern = rest[1:end].replace(f"\\{delimiter}", delimiter)
    flags, _, value = rest[end + 1 :].partition(" ")
    value = value.strip()
    if not value:
        raise ValueError(f"/{pattern}/ has no value")
    compiled = _compiled(pattern, flags)
    references = [int(found[2] or found[3] or found[4]) for found in _REFERENCE.finditer(value) if not found[1]]
    if references and negated:
        raise ValueError("$ has no meaning behind a pattern that must not match")
    if any(number > compiled.groups for number in references):
        raise ValueError(f"refers to ${max(references)}, and /{pattern}/ has {compiled.groups} groups")
    return _Rule(compiled, negated, value)


def _end(rest: str, delimiter: str) -> int:
    index = 1
    while index < len(rest):
        if rest[index] == "\\":
            index += 1
        elif rest[index] == delimiter:
            return index
        index += 1
    raise ValueError(f'the pattern has no closing "{delimiter}"')


def _compiled(pattern: str, letters: str) -> re.Pattern[str]:
    flags = re.IGNORECASE
    for letter in letters:
        if letter not in _FLAGS:
            raise ValueError(f'unknown flag "{letter}"; {", ".join(_FLAGS)} are known')
        flags ^= _FLAGS[letter]
    if len(pattern) > MAX_PATTERN:
        raise ValueError(f"the pattern has more than {MAX_PATTERN} characters")
    try:
        tree = _parser.parse(pattern, int(flags))
        compiled = re.compile(pattern, flags)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"/{pattern}/: {error}") from None
    if _unbounded(tree) > MAX_REPETITIONS:
        raise ValueError(f"/{pattern}/ has more than {MAX_REPETITIONS} open repetitions (* or +); it could take hours")
    return compiled


def _unbounded(tree: Any, inside: bool = False) -> int:
    """How many repetitions without a small limit a pattern has; one within another is refused."""
    count = 0
    for operation, argument in tree:
        if operation is _constants.GROUPREF:
            raise ValueError("a pattern that refers to its own groups could take hours")
        if operation in _REPEATS:
            _least, most, body = argument
            is_open = int(most) > 1
            if is_open and inside:
                raise ValueError("a repetition within a repetition could take hours; write it without one")
            count += int(is_open and int(most) > 16) + _unbounded(body, inside or is_open)
        elif operation is _constants.BRANCH:
            count += sum(_unbounded(branch, inside) for branch in argument[1])
        elif operation is _constants.SUBPATTERN:
            count += _unbounded(argument[3], inside)
        elif operation in (_constants.ASSERT, _constants.ASSERT_NOT):
            count += _unbounded(argument[1], inside)
    return count


def _filled(value: str, found: re.Match[str]) -> str | None:
    """The value with the groups in it; None where one of them must not be there: then nothing has matched."""
    groups = [found[int(item[2] or item[3] or item[4])] or "" for item in _REFERENCE.finditer(value) if not item[1]]
    if any(map(_UNSAFE.search, groups)):
        return None
    rest = iter(groups)
    return _REFERENCE.sub(lambda reference: "$" if reference[1] else next(rest), value)
