"""
Say by name where recipients would go: for filters and other readers of a long queue.

Owns: the names of a route, remembered for each domain.
Never: routes mail: that is `Router`, whom this asks.
Fails: never; what is no address goes nowhere, and has no names.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from mta.address import AddressError, parse_address
from mta.routing.router import Router, Rule

if TYPE_CHECKING:
    from mta.config.schema import Config


class RouteNames:
    """
    The rule and the next hop of a recipient, by the text of its address.

    A million rows are read for one command, and most domains have one route for everybody: only where a rule names an
    address there (or at `hostname`, whose postmaster is local) is the address parsed and the router asked each time.
    """

    def __init__(self, router: Router, rules: Iterable[Rule], hostname: str) -> None:
        self._router = router
        named = {pattern.domain for rule in rules for pattern in rule.patterns if pattern.local is not None}
        self._apart = {hostname, *named}
        self._by_domain: dict[str, tuple[str, ...]] = {}

    def __call__(self, address: str) -> tuple[str, ...]:
        domain = address[address.rfind("@") + 1 :]
        names = self._by_domain.get(domain)
        if names is None:
            names = self._asked(address)
            if names and domain.lower() not in self._apart:
                self._by_domain[domain] = names
        return names

    def _asked(self, address: str) -> tuple[str, ...]:
        try:
            route = self._router.route(parse_address(address, utf8=True))
        except AddressError:
            return ()
        return route.rule, str(route.next_hop)


def route_names(config: Config) -> RouteNames:
    """Where recipients would go by a configuration; one for each command, for it remembers every domain it meets."""
    rules = config.rules()
    router = Router(rules, config.local.domains, config.local.maildir, config.hostname)
    return RouteNames(router, rules, config.hostname)
