"""
Know who lives here: users, aliases, and those who have moved.

Owns: what an address at one of our domains stands for, and the members of an alias.
Never: decides who may send to whom (`mta/policy/relay.py`); checks its tables (`mta/config/residents.py`).
Fails: never; whatever is asked about, and whatever loop the tables hold, the answer is finite.

An entry for a whole address comes before one for a name, and that before "anyone". An alias comes before a user of the
same name: the alias that lists itself adds others to its own mailbox.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from mta.address import Address, AddressError, parse_address

_NO_DOMAIN = "name.invalid"


def folded(local: str) -> str:
    """
    A local part as we compare ours: without case, and in one Unicode form (RFC 6530 10.1).

    For local users only: on other hosts case may matter (RFC 5321 2.4).
    """
    if local.isascii():
        return local.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", local).lower())


def canonical_domain(domain: str) -> str:
    """A domain or pattern as `Address.domain` has it: an address literal keeps the case of its tag."""
    return domain if domain.startswith("[") else domain.lower()


@dataclass(frozen=True, slots=True)
class Local:
    """A mailbox here; `rule` says by which right: "local user", "postmaster", or "any user"."""

    rule: str


@dataclass(frozen=True, slots=True)
class Alias:
    """A name for others: `name` as in the table, `targets` all that it leads to, without aliases, each once."""

    name: str
    targets: tuple[Address, ...]


@dataclass(frozen=True, slots=True)
class Moved:
    """A user who is not here any more, but at `new`; `forwards` says whether we send mail on."""

    new: Address
    forwards: bool


@dataclass(frozen=True, slots=True)
class Unknown:
    """Nobody, at a domain of ours."""


@dataclass(frozen=True, slots=True)
class NotLocal:
    """At a domain that is not ours: we don't know."""


Resolved = Local | Alias | Moved | Unknown | NotLocal


@dataclass(frozen=True, slots=True)
class Meaning:
    """
    What a name or a mailbox may mean, for VRFY: the addresses here, what the only one stands for; `elsewhere`: it is a
    mailbox at a domain that is not ours.
    """

    found: tuple[Address, ...]
    resolved: Resolved | None
    elsewhere: bool


USER = Local("local user")
POSTMASTER = Local("postmaster")
ANYONE = Local("any user")
_UNKNOWN = Unknown()
_NOT_LOCAL = NotLocal()


@dataclass(frozen=True, slots=True)
class _Members:
    """An alias as the table has it: the key, and each member as local part and domain, "" for the alias's own."""

    name: str
    items: tuple[tuple[str, str], ...]


# RFC 2142 4: who has no entry for it has somebody read it all the same.
_ABUSE = _Members("abuse", (("postmaster", ""),))

# What an entry is found under: a folded local part and a domain, "" for every local domain.
_Key = tuple[str, str]


class Directory:
    """
    The local tables of one configuration; each answer depends on its arguments alone.

    Names and addresses are written without quoting: "alice" (at each local domain), "alice@example.org"; `users` may
    hold "*" (anyone), `aliases` "@example.org" (who has no other entry there). Members of `aliases` are names at the
    alias's domain, addresses anywhere, or "@example.net" (whoever was meant, there); `moved` maps to whole addresses.
    `hostname` is ours: postmaster lives there too (RFC 5321 4.5.1).
    """

    def __init__(
        self,
        *,
        domains: Iterable[str],
        users: Iterable[str] = (),
        aliases: Mapping[str, Iterable[str]] | None = None,
        moved: Mapping[str, str] | None = None,
        moved_forwards: bool = True,
        hostname: str,
    ) -> None:
        self._domains = tuple(dict.fromkeys(map(canonical_domain, domains)))
        self._known_domains = frozenset(self._domains)
        self._hostname = hostname.lower()
        listed = frozenset(users)
        self._anyone = "*" in listed
        self.moved_forwards = moved_forwards
        self._mailboxes = frozenset(_key(user) for user in listed if user != "*")
        self._entries: dict[_Key, Local | Moved | _Members] = dict.fromkeys(self._mailboxes, USER)
        for name, new in (moved or {}).items():
            self._entries[_key(name)] = Moved(Address(*_split(new)), moved_forwards)
        for name, members in (aliases or {}).items():
            self._entries[_key(name)] = _Members(name, tuple(map(_split, members)))

    @property
    def domains(self) -> tuple[str, ...]:
        """The local domains, in the order of the configuration."""
        return self._domains

    def resolve(self, address: Address) -> Resolved:
        """What an address stands for."""
        entry = self._entry(address)
        if isinstance(entry, _Members):
            return Alias(entry.name, self.members(address))
        return entry

    def canonical(self, address: Address) -> Address:
        """The one form of an address by which it is compared: ours without case, others as they are written."""
        ours = address.domain in self._known_domains or address.domain == self._hostname
        return Address(folded(address.local), address.domain) if ours else address

    def has_mailbox(self, address: Address) -> bool:
        """Whether there is a mailbox of this very name, behind whatever alias."""
        local, domain = folded(address.local), address.domain
        if domain not in self._known_domains:
            return self._is_postmaster(local, domain)
        listed = (local, domain) in self._mailboxes or (local, "") in self._mailboxes
        return listed or self._anyone or local == "postmaster"

    def members(self, address: Address) -> tuple[Address, ...]:
        """
        All that mail for an address goes to: itself, or the members of an alias and of the aliases among them, and the
        new addresses of those who have moved; each once, in the order of the tables.
        """
        found: dict[Address, Address] = {}
        entered: set[Address] = set()
        waiting: list[tuple[Address, Address | None]] = [(address, None)]
        while waiting:
            item, above = waiting.pop()
            key = self.canonical(item)
            # In its own list an alias means the mailbox of its name.
            targets = self.targets(item) if key != above else None
            if targets is None:
                found.setdefault(key, item)
            elif key not in entered:
                entered.add(key)
                waiting.extend((target, key) for target in reversed(targets))
        return tuple(found.values())

    def targets(self, address: Address) -> tuple[Address, ...] | None:
        """The next step alone: the members of an alias, or where we forward somebody's mail; None where it ends."""
        entry = self._entry(address)
        if isinstance(entry, Moved):
            return (entry.new,) if entry.forwards else None
        if not isinstance(entry, _Members):
            return None
        home = self._home(address)
        return tuple(Address(local or address.local, domain or home) for local, domain in entry.items)

    def verify(self, text: str) -> tuple[Address, ...]:
        """
        For VRFY (RFC 5321 3.5.1): the addresses here that a user name or a mailbox, in brackets or not, may mean.

        A name that lives at several domains is ambiguous: they are all told. Nothing for what is not local or no name.
        """
        return tuple(item for item in self.candidates(text) if not isinstance(self._entry(item), Unknown | NotLocal))

    def is_elsewhere(self, text: str) -> bool:
        """For VRFY: whether the argument is a mailbox at a domain that is not ours, of which we can't say anything."""
        entries = [self._entry(item) for item in self.candidates(text)]
        return bool(entries) and all(isinstance(entry, NotLocal) for entry in entries)

    def meaning(self, text: str) -> Meaning:
        """All that VRFY wants to know of its argument."""
        found = self.verify(text)
        only = self.resolve(found[0]) if len(found) == 1 else None
        return Meaning(found, only, not found and self.is_elsewhere(text))

    def expand(self, text: str) -> tuple[Address, ...] | None:
        """For EXPN: the members of the alias that a name or a mailbox means; None where it means no alias."""
        for candidate in self.candidates(text):
            if isinstance(self._entry(candidate), _Members):
                return self.members(candidate)
        return None

    # What tables are asked about stands behind what is listed here (`mta/policy/lookups.py`).

    def is_ours(self, address: Address) -> bool:
        """Whether we decide what an address stands for."""
        return address.domain in self._known_domains or self._is_postmaster(folded(address.local), address.domain)

    def listed(self, address: Address) -> Resolved | None:
        """What the entry of an address or a name says, None where there is none; of an alias the name alone."""
        local, domain = folded(address.local), address.domain
        entry = self._entries.get((local, domain)) or (self._entries.get((local, "")) if local else None)
        return Alias(entry.name, ()) if isinstance(entry, _Members) else entry

    def unlisted(self, address: Address) -> Resolved:
        """What an address stands for that has no entry of its own; of an alias the name alone."""
        entry = self._unlisted(folded(address.local), address.domain)
        return Alias(entry.name, ()) if isinstance(entry, _Members) else entry

    def home(self, address: Address) -> str:
        """The domain of an alias's bare members."""
        return self._home(address)

    def _entry(self, address: Address) -> Local | Moved | _Members | Unknown | NotLocal:
        local, domain = folded(address.local), address.domain
        if domain not in self._known_domains and not self._is_postmaster(local, domain):
            return _NOT_LOCAL
        entry = self._entries.get((local, domain)) or self._entries.get((local, ""))
        return self._unlisted(local, domain) if entry is None else entry

    def _unlisted(self, local: str, domain: str) -> Local | Moved | _Members | Unknown:
        """Who has no entry of his own: the alias for all others at the domain, postmaster, anyone, abuse."""
        entry = self._entries.get(("", domain))
        if entry is not None:
            return entry
        if local == "postmaster":
            return POSTMASTER
        if self._anyone:
            return ANYONE
        return _ABUSE if local == "abuse" else _UNKNOWN

    def _is_postmaster(self, local: str, domain: str) -> bool:
        return local == "postmaster" and domain == self._hostname

    def _home(self, address: Address) -> str:
        """The domain of an alias's bare members: its own; for postmaster at a hostname without users, our first."""
        if address.domain in self._known_domains or not self._domains:
            return address.domain
        return self._domains[0]

    def candidates(self, text: str) -> Iterator[Address]:
        """The addresses that the argument of VRFY or EXPN may mean."""
        inside = text[1:-1] if text.startswith("<") and text.endswith(">") else text
        try:
            if "@" in inside:
                yield parse_address(inside, utf8=True)
                return
            name = parse_address(f"{inside}@{_NO_DOMAIN}", utf8=True).local
        except AddressError:
            return
        yield from (Address(name, domain) for domain in self._domains)
        if self._hostname not in self._known_domains:
            yield Address(name, self._hostname)


def _split(text: str) -> tuple[str, str]:
    """The local part and the domain of a name or an unquoted address; "" for the domain of a name."""
    local, at, domain = text.rpartition("@")
    return (local, canonical_domain(domain)) if at else (domain, "")


def _key(text: str) -> _Key:
    local, domain = _split(text)
    return folded(local), domain
