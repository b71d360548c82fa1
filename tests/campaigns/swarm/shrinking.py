"""
Make a world small that breaks an invariant.

Owns: what may be left out of a world, and in which order that is tried.
Never: knows what is broken: whoever calls says whether a smaller world still breaks.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from tests.campaigns.swarm.worlds import Data, World

# Keys that a table can't do without.
_NEEDED = frozenset(
    ("duration", "seed", "name", "domains", "messages", "recipients", "kind", "from", "to", "at", "reply")
)
Change = Callable[[Data], None]


def shrunk(world: World, still_breaks: Callable[[World], bool], tries: int) -> World:
    """The smallest world found that `still_breaks`, after asking that `tries` times at most."""
    went_on = True
    while went_on:
        went_on = False
        for smaller in _smaller(world):
            if tries == 0:
                return world
            tries -= 1
            if still_breaks(smaller):
                world, went_on = smaller, True
                break
    return world


def _smaller(world: World) -> Iterator[World]:
    """Worlds that are a bit smaller, those first that leave out most."""
    for change in _changes(world.scenario):
        scenario = copy.deepcopy(world.scenario)
        change(scenario)
        yield replace(world, scenario=scenario)
    for table in ("queue", "client", "bounce"):
        for key in world.config.get(table, {}):
            config = copy.deepcopy(world.config)
            del config[table][key]
            yield replace(world, config=config)


def _changes(scenario: Data) -> Iterator[Change]:
    for name in ("load", "site", "fault"):
        for number in range(len(scenario.get(name, ()))):
            yield _without((name, number))
    for number, load in enumerate(scenario.get("load", ())):
        yield from _smaller_load(number, load)
    for number, site in enumerate(scenario.get("site", ())):
        for name in ("spell", "answer"):
            for index in range(len(site.get(name, ()))):
                yield _without(("site", number, name, index))
        for index in range(len(site["domains"]) - 1, 0, -1):
            yield _without(("site", number, "domains", index))
    yield from _without_options(scenario, ())
    for name in ("load", "site", "fault"):
        for number, table in enumerate(scenario.get(name, ())):
            yield from _without_options(table, (name, number))


def _smaller_load(number: int, load: Data) -> Iterator[Change]:
    messages = load["messages"]
    for fewer in dict.fromkeys((1, messages // 4, messages // 2, messages - 1)):
        if 0 < fewer < messages:
            yield _with(("load", number, "messages"), fewer)
    if len(load["recipients"]) > 1:
        for index in range(len(load["recipients"])):
            yield _without(("load", number, "recipients", index))
    count = load.get("recipients_per_message", 1)
    for fewer in dict.fromkeys((1, count // 2, count - 1)):
        if 0 < fewer < count:
            yield _with(("load", number, "recipients_per_message"), fewer)


def _without_options(table: Data, path: tuple[Any, ...]) -> Iterator[Change]:
    for key, value in table.items():
        if key not in _NEEDED and not (isinstance(value, list) and value and isinstance(value[0], dict)):
            yield _without((*path, key))


def _without(path: tuple[Any, ...]) -> Change:
    """Leave out what is at `path`."""

    def change(scenario: Data) -> None:
        table, last = _at(scenario, path)
        del table[last]
        if not table and isinstance(table, list) and len(path) == 2:
            del scenario[path[0]]

    return change


def _with(path: tuple[Any, ...], value: Any) -> Change:
    """Put `value` at `path`."""

    def change(scenario: Data) -> None:
        table, last = _at(scenario, path)
        table[last] = value

    return change


def _at(scenario: Data, path: tuple[Any, ...]) -> tuple[Any, Any]:
    table: Any = scenario
    for key in path[:-1]:
        table = table[key]
    return table, path[-1]
