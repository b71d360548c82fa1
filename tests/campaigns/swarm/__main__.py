"""
The swarm on the command line: ``make swarm SEEDS=300``, ``make mutants``.

Owns: the arguments, the table, what is written down of a finding, the exit code.
Never: judges a run (`run.py`).
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from tests.campaigns.swarm.mutants import MUTANTS
from tests.campaigns.swarm.run import Run, find, run, run_seed
from tests.campaigns.swarm.shrinking import shrunk
from tests.campaigns.swarm.toml_text import toml
from tests.campaigns.swarm.worlds import CLASSES, World

_HEAD = ("class", "seeds", "messages", "deliveries", "crashes", "duplicates", "violations", "seconds")
# Findings that are shrunk and written down; the first tell most.
_SHOWN = 3
# Runs that may be spent on one of them.
_TRIES = 200
# Seeds within which a mutant must be found.
MUTANT_SEEDS = 100


def main() -> int:
    """Exit with 1 where an invariant was broken, or a mutant was not found."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaigns.swarm", description=__doc__)
    parser.add_argument("--seeds", type=int, default=300, help="how many worlds")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--seed", type=int, help="this one alone, and what it broke")
    parser.add_argument("--mutants", action="store_true", help="break the program on purpose, and find it")
    parser.add_argument("--processes", type=int, default=2)
    chosen = parser.parse_args()
    if chosen.mutants:
        return _find_mutants(chosen.processes)
    seeds = [chosen.seed] if chosen.seed is not None else range(chosen.first, chosen.first + chosen.seeds)
    return _swarm(seeds, chosen.processes)


def _swarm(seeds: Iterable[int], processes: int) -> int:
    began = time.monotonic()
    totals = {name: [0] * 7 for name in CLASSES}
    broken: list[tuple[int, Run]] = []
    with multiprocessing.Pool(processes) as pool:
        for seed, done in pool.imap_unordered(_with_seed, seeds):
            figures = (1, done.messages, done.deliveries, done.crashes, done.duplicates, len(done.violations))
            total = totals[done.world.name]
            for number, figure in enumerate(figures):
                total[number] += figure
            total[-1] += round(done.seconds * 1000)
            if done.violations:
                broken.append((seed, done))
    print(_row(_HEAD))
    for name, total in totals.items():
        if total[0]:
            print(_row((name, *map(str, total[:-1]), f"{total[-1] / 1000:.1f}")))
    summed = [sum(column) for column in zip(*totals.values(), strict=True)]
    print(_row(("all", *map(str, summed[:-1]), f"{time.monotonic() - began:.1f}")))
    for seed, done in sorted(broken, key=lambda item: item[0])[:_SHOWN]:
        _tell(seed, done)
    if len(broken) > _SHOWN:
        print(f"\nand seeds {', '.join(str(seed) for seed, _done in sorted(broken)[_SHOWN:])}")
    return 1 if broken else 0


def _with_seed(seed: int) -> tuple[int, Run]:
    return seed, run_seed(seed)


def _row(cells: Iterable[str]) -> str:
    name, *figures = cells
    return f"{name:<14}" + "".join(f"{figure:>12}" for figure in figures)


def _tell(seed: int, done: Run) -> None:
    """Say what a seed broke, and write down the smallest world that breaks the same."""
    print(f"\nseed {seed} ({done.world.name}) breaks {len(done.violations)} times:")
    for violation in done.violations[:5]:
        print(f"  {violation}")
    rule = done.violations[0].rule

    def still_breaks(world: World) -> bool:
        return any(each.rule == rule for each in run(world).violations)

    small = shrunk(done.world, still_breaks, _TRIES)
    folder = Path(tempfile.mkdtemp(prefix=f"swarm-{seed}-"))
    config, scenario = folder / "mta.toml", folder / "world.toml"
    config.write_text(toml(small.config))
    scenario.write_text(toml(small.scenario))
    print(f"\nthe shortest world that still breaks it, for: mta simulate --config {config} {scenario}\n")
    print(toml(small.scenario))
    for violation in run(small).violations[:5]:
        print(f"# {violation}")


def _find_mutants(processes: int) -> int:
    """One line a mutant; spare processes take the next one."""
    lost = 0
    with multiprocessing.Pool(processes, maxtasksperchild=1) as pool:
        for name, found, seconds in pool.imap(_find, MUTANTS):
            if found is None:
                lost += 1
                print(f"{name:<46} NOT FOUND in {MUTANT_SEEDS} seeds, {seconds:.1f} s", flush=True)
            else:
                seed, done = found
                where = f"seed {seed:>3} ({done.world.name})"
                print(f"{name:<46} {where:<26} {seconds:>5.1f} s  {done.violations[0]}", flush=True)
    print(f"{len(MUTANTS) - lost} of {len(MUTANTS)} mutants found")
    return 1 if lost else 0


def _find(name: str) -> tuple[str, tuple[int, Run] | None, float]:
    began = time.monotonic()
    with MUTANTS[name].at_work():
        found = find(range(MUTANT_SEEDS))
    return name, found, time.monotonic() - began


if __name__ == "__main__":
    sys.exit(main())
