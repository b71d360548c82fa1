"""
Match recipients against the patterns of the configuration.

Owns: the grammar of a pattern, and finding the first rule of many that matches.
Never: knows what a rule leads to.
Fails: ValueError from `parse_pattern`, whose text says how to write it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mta.address import Address, AddressError, parse_address, parse_domain
from mta.policy.directory import folded


@dataclass(frozen=True, slots=True)
class Pattern:
    """
    A set of recipients: ``*``, ``*@example.org``, ``*@.example.org`` (below it, not itself) or ``alice@example.org``.

    `local` is the local part, folded, or None for any. `domain` is a domain in lower case, or begins with a dot
    for all domains below it, or is None for any.
    """

    local: str | None = None
    domain: str | None = None

    def __str__(self) -> str:
        if self.domain is None:
            return "*"
        return f"*@{self.domain}" if self.local is None else str(Address(self.local, self.domain))

    def matches(self, address: Address) -> bool:
        """Whether the recipient is in the set. The case of the local part does not matter, as in Postfix."""
        return (self.local is None or self.local == folded(address.local)) and self._has_domain(address.domain)

    def _has_domain(self, domain: str) -> bool:
        if self.domain is None:
            return True
        return domain.endswith(self.domain) if self.domain.startswith(".") else domain == self.domain


def parse_pattern(text: str) -> Pattern:
    """A pattern from its text. Raises ValueError."""
    if text == "*":
        return Pattern()
    local, at, domain = text.rpartition("@")
    if not at:
        raise ValueError(f'"{text}" is not a pattern; for all of a domain write "*@{text}"')
    if domain == "*":
        raise ValueError(f'"{text}" is not a pattern; a domain can\'t be "*", and for everyone write "*"')
    try:
        if local == "*":
            below = "." if domain.startswith(".") else ""
            return Pattern(None, below + parse_domain(domain.removeprefix("."), utf8=True))
        address = parse_address(text, utf8=True)
    except AddressError as error:
        raise ValueError(f'"{text}" is not a pattern: {error}') from None
    if "*" in address.local:
        raise ValueError(f'"{text}" is not a pattern; a star stands for the whole local part only')
    return Pattern(folded(address.local), address.domain)


class FirstMatch:
    """
    The first of many rules that matches a recipient; rules are numbered from 0, each with one or more patterns.

    The answer is the same as trying all patterns in order, but takes a few dictionary look-ups however many there are:
    for each way to match, only the lowest number is kept, and the lowest of those found wins.
    """

    def __init__(self, rules: Iterable[Iterable[Pattern]]) -> None:
        self._addresses: dict[tuple[str, str], int] = {}
        self._domains: dict[str, int] = {}
        self._everyone: int | None = None
        for number, patterns in enumerate(rules):
            for pattern in patterns:
                self._add(pattern, number)

    def _add(self, pattern: Pattern, number: int) -> None:
        if pattern.domain is None:
            self._everyone = number if self._everyone is None else self._everyone
        elif pattern.local is None:
            self._domains.setdefault(pattern.domain, number)
        else:
            self._addresses.setdefault((pattern.local, pattern.domain), number)

    def for_domain(self, domain: str) -> int | None:
        """The first rule for all of a domain, or None. Whole addresses are `for_address`."""
        found = [] if self._everyone is None else [self._everyone]
        if self._domains:
            found += [self._domains[key] for key in _keys(domain) if key in self._domains]
        return min(found, default=None)

    def for_address(self, address: Address) -> int | None:
        """The first rule that names this one address, or None."""
        if not self._addresses:
            return None
        return self._addresses.get((folded(address.local), address.domain))

    def covering(self, pattern: Pattern) -> int | None:
        """The first rule that has a pattern which matches all that `pattern` matches, or None."""
        if pattern.domain is None:
            return self._everyone
        # What lies below a domain is looked up as a domain is: its own pattern and those above it are its keys.
        found = [self.for_domain(pattern.domain)]
        if pattern.local is not None:
            found.append(self._addresses.get((pattern.local, pattern.domain)))
        return min((number for number in found if number is not None), default=None)


def _keys(domain: str) -> Iterable[str]:
    """The domain, then what each domain above it is written as in a pattern: ``.b.c`` and ``.c`` for ``a.b.c``."""
    yield domain
    dot = domain.find(".")
    while dot >= 0:
        yield domain[dot:]
        dot = domain.find(".", dot + 1)
