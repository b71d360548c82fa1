"""
What a measurement found.

Owns: the figure (a line of the table: a value for each MTA, or why there is none), ratios to Postfix, JSON.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from bench.servers import OURS, POSTFIX


@dataclass(slots=True)
class Figure:
    """
    One line of the table.

    `samples` has the values of the rounds for each MTA, `reasons` why one has none. `more_is_better` says which way a
    ratio turns. `x` is the place on an axis where `row` is a curve. `note` says how it was measured, where a reader
    would ask.
    """

    row: str
    title: str
    unit: str
    more_is_better: bool
    samples: dict[str, list[float]]
    reasons: dict[str, str] = field(default_factory=dict)
    note: str = ""
    x: float | None = None

    def value(self, system: str) -> float | None:
        """The median of the rounds."""
        samples = self.samples.get(system)
        return median(samples) if samples else None

    def ratio(self, system: str = OURS) -> float | None:
        """How many times better than Postfix in the same run: above 1 is ahead of it, whichever way the unit goes."""
        ours, theirs = self.value(system), self.value(POSTFIX)
        if not ours or not theirs:
            return None
        return ours / theirs if self.more_is_better else theirs / ours

    def reason(self, system: str) -> str:
        return self.reasons.get(system, "")


@dataclass(frozen=True, slots=True)
class Results:
    """A run: the machine it was on (`bench.machine`), whether it was a quick one, and the figures in their order."""

    machine: Mapping[str, Any]
    quick: bool
    figures: tuple[Figure, ...]

    def write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        whole = {"machine": dict(self.machine), "quick": self.quick, "figures": [asdict(each) for each in self.figures]}
        path.write_text(json.dumps(whole, indent=1) + "\n")


def read(path: Path) -> Results:
    """Results from a file. Raises ValueError where it holds something else."""
    try:
        whole = json.loads(path.read_text())
        return Results(whole["machine"], whole["quick"], tuple(Figure(**each) for each in whole["figures"]))
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path} holds no results of `make bench`: {error!r}") from error


def spelled(value: float | None) -> str:
    """A value with three digits that count."""
    if value is None:
        return ""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.3g}"


def by_row(figures: Iterable[Figure]) -> dict[str, list[Figure]]:
    """The figures of each row, in the order of the run."""
    rows: dict[str, list[Figure]] = {}
    for figure in figures:
        rows.setdefault(figure.row, []).append(figure)
    return rows
