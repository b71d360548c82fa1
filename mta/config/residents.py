"""
Compare the tables of who lives here: users, aliases, moved users.

Owns: what must hold between their entries, so that mail for each of them has an end.
Never: looks at one entry alone (`mta/config/people.py`); answers questions about them (`mta/policy/directory.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from mta.address import Address
from mta.config.lines import Location
from mta.config.schema import Settings
from mta.policy.directory import Alias, Directory, Moved, NotLocal, Unknown, folded

# Ten aliases from a name to a mailbox are more than anybody oversees; Postfix follows a thousand, sendmail ten.
MAX_DEPTH = 10

_ALIASES = ("local", "aliases")
_MOVED = ("local", "moved")


def conflicts(settings: Settings) -> Iterator[tuple[Location, str]]:
    """What contradicts itself in [local], each with the location to blame."""
    yield from _strangers(settings)
    yield from _twice(settings)
    yield from _Walk(settings, settings.directory()).problems()


def _strangers(settings: Settings) -> Iterator[tuple[Location, str]]:
    """Entries that no address can ever mean."""
    domains = frozenset(settings.local.domains)
    for number, user in enumerate(settings.local.users):
        if "@" in user and user.rpartition("@")[2] not in domains:
            yield ("local", "users", number), f'"{user}" is at a domain that is not in local.domains'
    for table, names in ((_ALIASES, settings.local.aliases), (_MOVED, settings.local.moved)):
        for name in names:
            if _is_postmaster(name, settings.hostname):
                continue
            if "@" in name and name.rpartition("@")[2] not in domains:
                yield (*table, name), "is at a domain that is not in local.domains"
            elif not domains:
                yield (*table, name), "is nobody: local.domains is empty"


def _is_postmaster(name: str, hostname: str) -> bool:
    """Postmaster lives at our hostname, whatever the local domains are (RFC 5321 4.5.1)."""
    return name in ("postmaster", f"postmaster@{hostname}")


def _twice(settings: Settings) -> Iterator[tuple[Location, str]]:
    """Who has moved lives here no more. An alias may have the name of a user."""
    users = frozenset(settings.local.users)
    for name in settings.local.moved:
        if name in users:
            yield (*_MOVED, name), "is in local.users too; who has moved has no mailbox here"
        elif name in settings.local.aliases:
            yield (*_MOVED, name), "is in local.aliases too; it is one or the other"


@dataclass(slots=True)
class _Step:
    """An entry on the way from another: its address, its location, who comes next, how long the ways beyond are."""

    address: Address
    location: Location
    targets: Iterator[Address]
    height: int = 0


@dataclass(slots=True)
class _Walk:
    """
    One walk along every entry to where it leads.

    Without recursion, and each entry once: a chain of ten thousand or a hundred lists of each other are walked as well.
    """

    settings: Settings
    directory: Directory
    _heights: dict[Address, int] = field(default_factory=dict)

    def problems(self) -> Iterator[tuple[Location, str]]:
        told: dict[Location, str] = {}
        for location, address in self._entries():
            if address not in self._heights:
                for step, problem in self._from(location, address):
                    # What is wrong with a name is mostly wrong at every domain: once is enough.
                    if told.setdefault(step.location, step.address.domain) == step.address.domain:
                        yield step.location, problem

    def _entries(self) -> Iterator[tuple[Location, Address]]:
        """Every entry, at each domain where it may mean something else."""
        local = self.settings.local
        homes = tuple(self._homes())
        for table, names in ((_ALIASES, local.aliases), (_MOVED, local.moved)):
            for name in names:
                own, at, domain = name.rpartition("@")
                for home in (domain,) if at else homes:
                    address = Address(own if at else name, home)
                    if self._location(address) == (*table, name):
                        yield (*table, name), address

    def _homes(self) -> Iterator[str]:
        """Domains with entries of their own, and one that stands for all others."""
        local, domains = self.settings.local, self.directory.domains
        names = (*local.users, *local.aliases, *local.moved)
        special = {name.rpartition("@")[2] for name in names if "@" in name}
        yield from (domain for domain in domains if domain in special)
        yield from [domain for domain in domains if domain not in special][:1]
        if self.settings.hostname not in domains:
            yield self.settings.hostname  # of postmaster

    def _location(self, address: Address) -> Location | None:
        """The entry that decides about an address, if one does, whose mail goes on from there."""
        local = self.settings.local
        if self.directory.targets(address) is None:
            return None
        for name in (f"{folded(address.local)}@{address.domain}", folded(address.local), f"@{address.domain}"):
            if name in local.aliases:
                return (*_ALIASES, name)
            if name in local.moved:
                return (*_MOVED, name)
        return None

    def _from(self, location: Location, start: Address) -> Iterator[tuple[_Step, str]]:
        """Go every way on from an entry, and say what is wrong at which step."""
        path = {self.directory.canonical(start): self._step(start, location)}
        while path:
            step = next(reversed(path.values()))
            target = next(step.targets, None)
            if target is None:
                path.popitem()
                self._heights[self.directory.canonical(step.address)] = step.height
                if step.height == MAX_DEPTH + 1:
                    yield step, f"is more than {MAX_DEPTH} steps away from a mailbox"
                if path:
                    above = next(reversed(path.values()))
                    above.height = max(above.height, step.height + 1)
                continue
            key = self.directory.canonical(target)
            onward = self._location(target)
            if key == self.directory.canonical(step.address) and onward is not None and onward[:2] == _ALIASES:
                if not self.directory.has_mailbox(target) and not self.settings.local.user_tables:
                    yield step, f'lists itself, but "{target.local}" is not in local.users'
            elif key in path:
                yield step, f"leads in a circle: {self._circle(path, key)}"
            elif onward is None:
                yield from self._end(step, target)
            elif key in self._heights:
                step.height = max(step.height, self._heights[key] + 1)
            else:
                path[key] = self._step(target, onward)

    def _step(self, address: Address, location: Location) -> _Step:
        return _Step(address, location, iter(self.directory.targets(address) or ()), 1)

    def _end(self, step: _Step, target: Address) -> Iterator[tuple[_Step, str]]:
        """Where a way ends, there must be a mailbox, ours or another's."""
        resolved = self.directory.resolve(target)
        if isinstance(resolved, Unknown):
            if not self._may_be_in_a_table():
                yield step, f'leads to "{target}", who is neither a user nor an alias here'
        elif isinstance(resolved, Alias) and not resolved.targets:
            yield step, f'leads to "{target}", who is nobody: that leads back here'
        elif isinstance(resolved, Moved):
            yield step, f'leads to "{target}", who has moved; local.moved_reply says not to forward'
        elif not self.directory.domains and isinstance(resolved, NotLocal) and target.domain == self.settings.hostname:
            yield step, f'leads to "{target.local}", but local.domains is empty'

    def _may_be_in_a_table(self) -> bool:
        """Whether somebody may be there of whom tables know, which are not asked here."""
        local = self.settings.local
        return bool(local.user_tables or local.alias_tables or local.moved_tables or local.recipient_delimiter)

    def _circle(self, path: dict[Address, _Step], key: Address) -> str:
        addresses = list(path)
        return " -> ".join(map(str, (*addresses[addresses.index(key) :], key)))
