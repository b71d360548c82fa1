"""
Know who lives here where tables have to be asked.

Owns: which table is asked for what and in which order; the walk from an address to the mailboxes behind it.
Never: asks. A question is yielded, and whoever drives the generator sends the answer (`mta/tables/residents.py`): so
the same code serves tables that are at hand and those that answer later.
Fails: `LookupTrouble`, where a table could not be asked or leads nowhere: that is "try again later", never "no such
user".

What the configuration itself lists comes before the tables.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

from mta.address import Address
from mta.policy.directory import USER, Alias, Directory, Local, Meaning, Moved, NotLocal, Resolved, Unknown, folded
from mta.policy.members import (
    Command,
    File,
    Include,
    Member,
    MemberError,
    Person,
    SameName,
    parse_lines,
    parse_members,
)
from mta.table import Value

# Steps from an address to a mailbox; sendmail follows ten, Postfix a thousand.
MAX_DEPTH = 50
# Addresses behind one; a list of more is somebody's mistake, or a list server's work.
MAX_MEMBERS = 100_000


class Source(Enum):
    """What is looked up; the value names it for people."""

    USERS = "users"
    ALIASES = "aliases"
    MOVED = "moved users"
    RECIPIENTS = "relay recipients"
    INCLUDE = "included files"
    FORWARD = ".forward files"


@dataclass(frozen=True, slots=True)
class Ask:
    """The first of these keys that a table of the source has."""

    source: Source
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Hit:
    """The key that was there, and its value."""

    key: str
    value: Value


class LookupTrouble(Exception):  # noqa: N818
    """It can't be told now; the text says why."""


Answer = TypeVar("Answer")
Asking = Generator[Ask, Hit | None, Answer]


@dataclass(frozen=True, slots=True)
class Resolution:
    """What an address stands for; `recipients` as in `mta.policy.relay.RelayPolicy.judged`."""

    resolved: Resolved
    recipients: tuple[Address, ...] | None = None


@dataclass(frozen=True, slots=True)
class _Entry:
    """One step: what an address is, its mailbox, and who comes next, each with whether that is a mailbox for sure."""

    resolved: Resolved
    mailbox: Address
    targets: tuple[tuple[Address, bool], ...] | None = None


class Lookups:
    """
    `inline` is what the configuration lists, `sources` those that have a table. Each character of `delimiter` may stand
    between a name and an extension.
    """

    def __init__(self, inline: Directory, sources: frozenset[Source], delimiter: str = "") -> None:
        self._inline = inline
        self._sources = sources
        self._delimiter = delimiter

    def resolve(self, address: Address) -> Asking[Resolution]:
        """What an address stands for, and whom its mail goes to."""
        entry = yield from self._entry(address)
        if isinstance(entry.resolved, Alias):
            members = yield from self.members(address)
            if not members:
                raise LookupTrouble(f'alias "{entry.resolved.name}" leads in a circle')
            return Resolution(Alias(entry.resolved.name, members))
        if isinstance(entry.resolved, Moved) and entry.resolved.forwards:
            members = yield from self.members(entry.resolved.new)
            return Resolution(entry.resolved, members)
        if entry.mailbox != self._inline.canonical(address):
            return Resolution(entry.resolved, (entry.mailbox,))
        return Resolution(entry.resolved)

    def members(self, address: Address) -> Asking[tuple[Address, ...]]:
        """All that mail for an address goes to, each once, in the order of the lists."""
        found: dict[Address, Address] = {}
        entered: set[Address] = set()
        waiting: list[tuple[Address, bool, Address | None, int]] = [(address, False, None, 0)]
        while waiting:
            item, final, above, depth = waiting.pop()
            if depth > MAX_DEPTH:
                raise LookupTrouble(f"{address.for_log()}: is more than {MAX_DEPTH} steps away from {item.for_log()}")
            if len(found) + len(waiting) > MAX_MEMBERS:
                raise LookupTrouble(f"{address.for_log()}: has more than {MAX_MEMBERS} members")
            key = self._inline.canonical(item)
            # In its own list an alias means the mailbox of its name.
            if final or key == above:
                if self._inline.is_ours(item) and not (yield from self._has_mailbox(item)):
                    raise LookupTrouble(f"{item.for_log()}: is listed as a mailbox, and there is no such user")
                found.setdefault(key, item)
            elif key not in entered:
                entry = yield from self._entry(item)
                if entry.targets is None:
                    found.setdefault(self._inline.canonical(entry.mailbox), entry.mailbox)
                    continue
                entered.add(key)
                waiting.extend((target, sure, key, depth + 1) for target, sure in reversed(entry.targets))
        return tuple(found.values())

    def meaning(self, text: str) -> Asking[Meaning]:
        """For VRFY: as `Directory.meaning`."""
        found: list[tuple[Address, Resolved]] = []
        elsewhere = False
        for candidate in self._inline.candidates(text):
            entry = yield from self._entry(candidate)
            elsewhere = elsewhere or isinstance(entry.resolved, NotLocal)
            if not isinstance(entry.resolved, Unknown | NotLocal):
                found.append((candidate, entry.resolved))
        only = found[0][1] if len(found) == 1 else None
        return Meaning(tuple(address for address, _resolved in found), only, elsewhere and not found)

    def expand(self, text: str) -> Asking[tuple[Address, ...] | None]:
        """For EXPN: as `Directory.expand`."""
        for candidate in self._inline.candidates(text):
            entry = yield from self._entry(candidate)
            if isinstance(entry.resolved, Alias):
                return (yield from self.members(candidate))
        return None

    def is_relay_recipient(self, address: Address) -> Asking[bool]:
        """Whether somebody has this address at a relay domain; with no table for that, everybody has."""
        if Source.RECIPIENTS not in self._sources:
            return True
        names = (f"{name}@{address.domain}" for name in self._names(folded(address.local)))
        return (yield Ask(Source.RECIPIENTS, (*names, f"@{address.domain}"))) is not None

    def _entry(self, address: Address) -> Asking[_Entry]:
        if not self._inline.is_ours(address):
            return _Entry(NotLocal(), address)
        for name in self._names(folded(address.local)):
            named = Address(name, address.domain)
            entry = yield from self._named(named)
            if entry is not None:
                return entry
        return (yield from self._unnamed(address))

    def _named(self, named: Address) -> Asking[_Entry | None]:
        """The entry of a name, whoever has one."""
        listed = self._inline.listed(named)
        if isinstance(listed, Local):
            return (yield from self._forwarded(named))
        if listed is not None:
            return _Entry(listed, named, self._inline_targets(named))
        keys = (f"{named.local}@{named.domain}", named.local)
        if Source.ALIASES in self._sources and (hit := (yield Ask(Source.ALIASES, keys))) is not None:
            return (yield from self._alias(named, hit))
        if Source.MOVED in self._sources and (hit := (yield Ask(Source.MOVED, keys))) is not None:
            return self._moved(named, hit)
        if Source.USERS in self._sources and (yield Ask(Source.USERS, keys)) is not None:
            return (yield from self._forwarded(named))
        return None

    def _unnamed(self, address: Address) -> Asking[_Entry]:
        """Who has no entry: what takes the rest of a domain, or postmaster and abuse, or anyone, or nobody."""
        everyone = Address("", address.domain)
        if self._inline.listed(everyone) is None and Source.ALIASES in self._sources:
            hit = yield Ask(Source.ALIASES, (f"@{address.domain}",))
            if hit is not None:
                return (yield from self._alias(address, hit))
        *_, base = self._names(folded(address.local))
        named = Address(base, address.domain) if base in ("postmaster", "abuse") else address
        resolved = self._inline.unlisted(named)
        if isinstance(resolved, Alias | Moved):
            return _Entry(resolved, named, self._inline_targets(named))
        return _Entry(resolved, self._inline.canonical(named))

    def _forwarded(self, user: Address) -> Asking[_Entry]:
        """A user, who may have a list of his own."""
        if Source.FORWARD in self._sources:
            hit = yield Ask(Source.FORWARD, (f"{user.local}@{user.domain}",))
            if hit is not None:
                targets = yield from self._targets(user, _lines(hit), 0)
                if targets:
                    return _Entry(Alias(f".forward of {user.local}", ()), user, targets)
        return _Entry(USER, user)

    def _alias(self, address: Address, hit: Hit) -> Asking[_Entry]:
        members: list[Member] = []
        for text in hit.value:
            members.extend(_understood(hit.key, text))
        targets = yield from self._targets(address, members, 0)
        if not targets:
            raise LookupTrouble(f'alias "{hit.key}" has no member')
        return _Entry(Alias(hit.key, ()), address, targets)

    def _moved(self, address: Address, hit: Hit) -> _Entry:
        members = [member for text in hit.value for member in _understood(hit.key, text)]
        if len(members) != 1 or not isinstance(members[0], Person) or not members[0].domain:
            raise LookupTrouble(f'"{hit.key}" has moved, and there is not one whole address that says where to')
        moved = Moved(Address(members[0].local, members[0].domain), self._inline.moved_forwards)
        return _Entry(moved, address, ((moved.new, False),) if moved.forwards else None)

    def _targets(
        self, address: Address, members: Sequence[Member], depth: int
    ) -> Asking[tuple[tuple[Address, bool], ...]]:
        """The addresses that the members of a list mean, those in included files as well."""
        home = self._inline.home(address)
        found: list[tuple[Address, bool]] = []
        for member in members:
            match member:
                case Person(local, domain, final):
                    found.append((Address(local, domain or home), final))
                case SameName(domain):
                    found.append((Address(address.local, domain), False))
                case Include(path):
                    if depth >= MAX_DEPTH:
                        raise LookupTrouble(f"{path}: files include one another more than {MAX_DEPTH} times")
                    hit = yield Ask(Source.INCLUDE, (path,))
                    if hit is None:
                        raise LookupTrouble(f"{path}: there is no such file")
                    inner = _lines(hit)
                    found.extend((yield from self._targets(address, inner, depth + 1)))
                case Command() | File():
                    # A member that is dropped would be mail that is lost.
                    raise LookupTrouble(f"{address.for_log()}: {member.next_hop} as a member is not supported yet")
        return tuple(found)

    def _has_mailbox(self, address: Address) -> Asking[bool]:
        if self._inline.has_mailbox(address):
            return True
        local = folded(address.local)
        if Source.USERS not in self._sources:
            return False
        return (yield Ask(Source.USERS, (f"{local}@{address.domain}", local))) is not None

    def _inline_targets(self, address: Address) -> tuple[tuple[Address, bool], ...] | None:
        targets = self._inline.targets(address)
        return None if targets is None else tuple((target, False) for target in targets)

    def _names(self, local: str) -> Iterator[str]:
        """A name as it is, and without its extension (RFC 5233)."""
        yield local
        # Postfix leaves these whole where the delimiter is a hyphen: they are names of their own.
        if local.startswith("owner-") or local.endswith("-request"):
            return
        places = [place for mark in self._delimiter if (place := local.find(mark)) > 0]
        if places:
            yield local[: min(places)]


def _understood(key: str, text: str) -> tuple[Member, ...]:
    try:
        return parse_members(text)
    except MemberError as error:
        raise LookupTrouble(f'"{key}": {error}') from None


def _lines(hit: Hit) -> tuple[Member, ...]:
    try:
        return parse_lines(hit.value)
    except MemberError as error:
        raise LookupTrouble(f"{hit.key}: {error}") from None
