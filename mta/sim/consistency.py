"""
Compare what the keys of a scenario say with one another, and with the configuration it runs with.

Owns: what must hold between keys that are each right for themselves.
Never: looks outside both.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from mta.address import AddressError, parse_address
from mta.config.lines import Location
from mta.config.messages import did_you_mean
from mta.sim.scenario import Scenario

Conflict = tuple[Location, str]


def conflicts(scenario: Scenario, invalid: Collection[str], listeners: Sequence[str]) -> Iterator[Conflict]:
    """
    What contradicts itself, each with the location to blame.

    `invalid` are keys such as "site" whose tables are wrong and have been left out; `listeners` are the names of those
    that the configuration has.
    """
    yield from _sites(scenario)
    if "site" not in invalid and not any(key.startswith("names") for key in invalid):
        yield from _domains(scenario)
    for number, load in enumerate(scenario.loads):
        if load.listener and load.listener not in listeners:
            near = did_you_mean(difflib.get_close_matches(load.listener, listeners, 1))
            known = near or f"; it has {', '.join(listeners)}"
            yield ("load", number, "listener"), f'"{load.listener}" is no listener of the configuration{known}'
        yield from _addresses(number, load.sender, load.recipients)
    for number, fault in enumerate(scenario.faults):
        if fault.end < fault.begin:
            yield ("fault", number, "to"), "is before `from`: the fault is over before it begins"


def _sites(scenario: Scenario) -> Iterator[Conflict]:
    names: dict[str, int] = {}
    domains: dict[str, int] = {}
    endpoints: dict[str, int] = {}
    for number, site in enumerate(scenario.sites):
        yield from _first(names, site.name, number, ("site", number, "name"))
        for index, domain in enumerate(site.domains):
            yield from _first(domains, domain, number, ("site", number, "domains", index))
        for index, endpoint in enumerate(site.endpoints):
            where = ("site", number, "endpoints", index)
            host, _, port = endpoint.rpartition(":")
            if not host or not (port.isascii() and port.isdigit() and 1 <= int(port[:6]) <= 65535):
                yield where, f'"{endpoint}" is not HOST:PORT'
            yield from _first(endpoints, endpoint, number, where)
        for index, spell in enumerate(site.spells):
            if spell.end <= spell.begin:
                yield ("site", number, "spell", index, "to"), "is not after `from`: the spell ends before it begins"


def _first(seen: dict[str, int], value: str, number: int, where: Location) -> Iterator[Conflict]:
    first = seen.setdefault(value, number)
    if first != number:
        yield where, f'"{value}" is that of site {first + 1} already'


def _domains(scenario: Scenario) -> Iterator[Conflict]:
    """A domain is at a site or in trouble: the DNS can't say both."""
    homes = {domain: site.name for site in scenario.sites for domain in site.domains}
    for key in ("nxdomain", "null_mx"):
        for index, domain in enumerate(getattr(scenario.names, key)):
            if domain in homes:
                yield ("names", key, index), f'"{domain}" is at the site {homes[domain]}; it is one or the other'


def _addresses(number: int, sender: str, recipients: Sequence[str]) -> Iterator[Conflict]:
    texts: list[tuple[tuple[Any, ...], str]] = [(("recipients", index), text) for index, text in enumerate(recipients)]
    if sender:
        texts.insert(0, (("sender",), sender))
    for key, text in texts:
        try:
            parse_address(text.replace("{n}", "0"), utf8=True)
        except AddressError as error:
            yield ("load", number, *key), f'"{text}": {error}'
