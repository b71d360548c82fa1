"""
Which site the mail for a recipient goes to, by the name that a scenario has for it.

Owns: the way back from the site that the MTA names by its hosts to the site of the scenario.
Never: asks the DNS: the hosts of a world are named after the domains of their site.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from mta.events import Event, Kind
from mta.sim.scenario import Scenario

# `mta.sim.world` names the hosts of a site mx1, mx2, ... below its first domain.
FIRST_HOST = "mx1."
# Of several next hops of a route the one that has spoken (`mta.delivery.next_hops.Choice`).
_CHOSEN = re.compile(r"[a-z]+://(\S+) \(")


class Places:
    """Where each recipient of `events` was last routed to."""

    def __init__(self, scenario: Scenario, events: Iterable[Event]) -> None:
        self._names = {domain: site.name for site in scenario.sites for domain in site.domains}
        self._names.update({f"{site.name}.test": site.name for site in scenario.sites if not site.domains})
        for site in scenario.sites:
            for endpoint in site.endpoints:
                self._names[endpoint] = self._names[endpoint.removesuffix(":25")] = site.name
        self._known: dict[str, str] = {}  # what the MTA calls a site -> what we do
        self._routed: dict[tuple[int, str], str] = {}
        for event in events:
            if event.recipient is None:
                continue
            if event.kind is Kind.ROUTED:
                self._routed[event.message, event.recipient] = self._name(str(event.detail.get("site", "")))
            elif found := _CHOSEN.match(str(event.detail.get("choice", ""))):
                self._routed[event.message, event.recipient] = self._name(found[1])

    def of(self, message: int, recipient: str) -> str:
        """The site for a recipient; its domain where no attempt has got as far as a route."""
        routed = self._routed.get((message, recipient))
        if routed is not None:
            return routed
        domain = recipient.rpartition("@")[2]
        return self._names.get(domain, domain)

    def _name(self, site: str) -> str:
        name = self._known.get(site)
        if name is None:
            first = site.removeprefix("lmtp://")
            if not site.startswith("lmtp+unix:"):
                # The parts that `mta.routing.site.site_name` joins; it cuts a long name at "+".
                first = first.split("+" if "~" in first else ",")[0]
            base = first.removeprefix(FIRST_HOST)
            name = self._known[site] = self._names.get(first) or self._names.get(base) or base
        return name
