"""
Read the members of an alias: the right side of aliases(5), a line of an included file or of .forward.

Owns: that grammar, and the values that it gives.
Never: runs a command, opens a file, looks up a member.
Fails: `MemberError`, a sentence about the list.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass

from mta.address import Address, AddressError, parse_address, parse_domain

_NO_DOMAIN = "name.invalid"
_INCLUDE = ":include:"


class MemberError(ValueError):
    """A list of members that can't be understood."""


@dataclass(frozen=True, slots=True)
class Person:
    """A name at the alias's own domain (`domain` ""), or an address; `final` is ``\\user``: no alias is followed."""

    local: str
    domain: str = ""
    final: bool = False


@dataclass(frozen=True, slots=True)
class SameName:
    """``@example.net``: whoever was written to, at this domain."""

    domain: str


@dataclass(frozen=True, slots=True)
class Command:
    """``|program argument``: an argument vector, which no shell ever sees."""

    argv: tuple[str, ...]

    @property
    def next_hop(self) -> str:
        """As a next hop is written."""
        return f"pipe:{shlex.join(self.argv)}"


@dataclass(frozen=True, slots=True)
class File:
    """``/path``: an mbox."""

    path: str

    @property
    def next_hop(self) -> str:
        """As a next hop is written."""
        return f"mbox:{self.path}"


@dataclass(frozen=True, slots=True)
class Include:
    """``:include:/path``: a file with members, one or more a line."""

    path: str


Member = Person | SameName | Command | File | Include


def parse_members(text: str) -> tuple[Member, ...]:
    """The members in a list that is separated by commas. Raises `MemberError`."""
    return tuple(_member(item) for item in _items(text))


def parse_lines(lines: Iterable[str]) -> tuple[Member, ...]:
    """The members in a file: a list on each line, comments behind "#". Raises `MemberError` with the line."""
    found: list[Member] = []
    for number, line in enumerate(lines, 1):
        bare = line.strip()
        if bare and not bare.startswith("#"):
            try:
                found.extend(parse_members(bare))
            except MemberError as error:
                raise MemberError(f"line {number}: {error}") from None
    return tuple(found)


def _items(text: str) -> list[str]:
    """The items of a list: commas inside double quotes do not count."""
    items, start, quoted, index = list[str](), 0, False, 0
    while index < len(text):
        character = text[index]
        if quoted and character == "\\":
            index += 1
        elif character == '"':
            quoted = not quoted
        elif character == "," and not quoted:
            items.append(text[start:index].strip())
            start = index + 1
        index += 1
    if quoted:
        raise MemberError("a quote is not closed")
    items.append(text[start:].strip())
    return [item for item in items if item]


def _member(item: str) -> Member:
    inner = item
    if len(item) > 1 and item[0] == item[-1] == '"':
        inner = _unquoted(item)
        # "|program with, a comma" and "/path with a blank"; any other quoted item is a name.
        if not inner.startswith(("|", "/", ":", "\\")):
            return _person(item)
    if inner.startswith("|"):
        return _command(inner[1:])
    if inner.startswith("/"):
        return File(_path(inner))
    if inner.lower().startswith(_INCLUDE):
        return Include(_path(inner[len(_INCLUDE) :].strip()))
    if inner.startswith("\\"):
        person = _person(inner[1:])
        return Person(person.local, person.domain, final=True)
    if inner.startswith("@"):
        return SameName(_domain(inner))
    return _person(inner)


def _unquoted(item: str) -> str:
    found, index = list[str](), 1
    while index < len(item) - 1:
        if item[index] == "\\" and index + 1 < len(item) - 1:
            index += 1
        found.append(item[index])
        index += 1
    return "".join(found)


def _command(text: str) -> Command:
    words = text.strip()
    if len(words) > 1 and words[0] == words[-1] == '"' and '"' not in words[1:-1]:
        words = words[1:-1]  # |"/usr/bin/program argument", as sendmail's manual writes it
    try:
        argv = tuple(shlex.split(words))
    except ValueError as error:
        raise MemberError(f'"|{text}": {str(error).lower()}') from None
    if not argv or not argv[0].startswith("/"):
        raise MemberError(f'"|{text}" must be a program with its whole path')
    return Command(argv)


def _path(path: str) -> str:
    if not path.startswith("/") or path.endswith("/") or "\0" in path or ".." in path.split("/"):
        raise MemberError(f'"{path}" must be the whole path of a file, without ".."')
    return path


def _domain(text: str) -> str:
    try:
        return parse_domain(text[1:], utf8=True)
    except AddressError as error:
        raise MemberError(f'"{text}": {error}') from None


def _person(item: str) -> Person:
    inside = item[1:-1] if item.startswith("<") and item.endswith(">") else item
    try:
        if _has_domain(inside):
            address: Address = parse_address(inside, utf8=True)
            return Person(address.local, address.domain)
        return Person(parse_address(f"{inside}@{_NO_DOMAIN}", utf8=True).local)
    except AddressError as error:
        raise MemberError(f'"{item}": {error}') from None


def _has_domain(text: str) -> bool:
    return "@" in (text.rpartition('"')[2] if text.startswith('"') else text)
