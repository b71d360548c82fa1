"""
Decide the next hop of a recipient.

Owns: the order of the decision: the ``[[route]]`` tables, then local domains, then the MX lookup.
Never: asks the DNS, looks at the sender or the content, outlives the configuration it was built from.
Fails: never; every address has a route.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from mta.address import Address
from mta.destination import NextHop, Route, Transport
from mta.routing.patterns import FirstMatch, Pattern

# Decisions kept by domain. Anybody can make us ask about another domain, so the memory is bounded: a few megabytes.
_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class Rule:
    """One ``[[route]]``: whom it is for, and the route they get."""

    patterns: tuple[Pattern, ...]
    route: Route


class Router:
    """
    Routes by configuration; the answers depend on the arguments alone.

    `rules` in the order of the file, the first match wins. `local_domains` are delivered to the Maildir that the
    template `local_maildir` names; so is the postmaster at `hostname` (RFC 5321 4.5.1), whether it is local or not.
    """

    def __init__(self, rules: Iterable[Rule], local_domains: Iterable[str], local_maildir: str, hostname: str) -> None:
        self._rules = tuple(rules)
        self._first = FirstMatch(rule.patterns for rule in self._rules)
        self._local_domains = frozenset(local_domains)
        self._hostname = hostname
        self._local = Route(NextHop(Transport.MAILDIR, local_maildir), "local domain")
        self._mx = Route(NextHop(Transport.MX), "MX lookup")
        # The last in line, so that a rule for everyone still comes before "no rule".
        self._no_rule = len(self._rules)
        self._by_domain = lru_cache(maxsize=_REMEMBERED)(self._decide)

    def route(self, address: Address) -> Route:
        """The route of a recipient. Cheap: this is asked for every recipient at every attempt."""
        number, route = self._by_domain(address.domain)
        named = self._first.for_address(address)
        if named is not None and named < number:
            return self._rules[named].route
        if number == self._no_rule and address.domain == self._hostname and address.local.lower() == "postmaster":
            return self._local
        return route

    def _decide(self, domain: str) -> tuple[int, Route]:
        """The number and the route of the first rule for a whole domain."""
        number = self._first.for_domain(domain)
        if number is not None:
            return number, self._rules[number].route
        return self._no_rule, self._local if domain in self._local_domains else self._mx
