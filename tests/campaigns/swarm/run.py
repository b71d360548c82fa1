"""
Run one world and judge it.

Owns: the way from a world to what is known of it: figures and violations.
Never: makes worlds, or prints.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from mta.config.loading import parse
from mta.sim import loading
from mta.sim.invariants import Violation, duplicates, violations
from mta.sim.simulation import Simulation
from tests.campaigns.swarm.toml_text import toml
from tests.campaigns.swarm.worlds import World, world_of

# Calls of all machines in one run. A world takes 65,000 at most; a program that goes in circles takes all there are.
MOST_CALLS = 300_000


@dataclass(slots=True)
class Run:
    """What is known of one world after its run; `seconds` are real ones."""

    world: World
    messages: int = 0
    deliveries: int = 0
    crashes: int = 0
    duplicates: int = 0
    seconds: float = 0.0
    violations: list[Violation] = field(default_factory=list)


def run(world: World) -> Run:
    """Run a world. A run that can't end, or ends with an exception, is a violation as well."""
    began = time.monotonic()
    done = Run(world)
    config = parse(toml(world.config), "swarm.toml", {})
    scenario = loading.parse(toml(world.scenario), "world.toml", {}, config)
    with Simulation(config, scenario) as simulation:
        simulation.world.clock.most_calls = MOST_CALLS
        try:
            result = simulation.run()
            done.violations = violations(result)
            done.duplicates = duplicates(result)
        except Exception as error:
            done.violations = [Violation("it ran to its end", f"{type(error).__name__}: {error}")]
        ledger = simulation.ledger
        done.messages = len({promise.token for promise in ledger.promises})
        done.deliveries = sum(event.kind.value == "delivered" for event in ledger.events)
        done.crashes = len(ledger.crashes)
    done.seconds = time.monotonic() - began
    return done


def run_seed(seed: int) -> Run:
    """Run the world of a seed."""
    return run(world_of(seed))


def find(seeds: Iterable[int]) -> tuple[int, Run] | None:
    """
    The first of `seeds` that breaks an invariant, with its run.

    Raises AssertionError where the program was called with arguments it does not take: then a mutant does not fit it
    any more, and finding that proves nothing.
    """
    for seed in seeds:
        done = run_seed(seed)
        if done.violations:
            unfit = [each for each in done.violations if "TypeError" in each.what]
            assert not unfit, f"the mutant does not fit the program: {unfit[0]}"
            return seed, done
    return None
