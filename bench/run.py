"""
One run of the benchmark, as its rows see it.

Owns: which MTAs take part, their start (once refused, a system stays out with the reason), rounds that take turns.
Never: knows what a row measures.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.figures import Figure
from bench.processes import UnavailableError
from bench.servers import OURS, SYSTEMS, Server, Setting, start


@dataclass(slots=True)
class Run:
    """
    What the rows share: `top`, a folder that every user may enter; which `systems` take part; how often, how much.

    `share` scales every count of messages: 1 for a whole run, less for a quick one or a test.
    """

    top: Path
    systems: Sequence[str] = SYSTEMS
    rounds: int = 3
    share: float = 1.0
    out: dict[str, str] = field(default_factory=dict)
    _rows: int = 0

    def count(self, messages: int, least: int = 1) -> int:
        """As many messages as this run takes of so many."""
        return max(least, round(messages * self.share))

    @contextmanager
    def folder(self) -> Iterator[Path]:
        """A folder for one row, gone afterwards; Postfix's processes run as another user."""
        with tempfile.TemporaryDirectory(prefix="row-", dir=self.top, ignore_cleanup_errors=True) as name:
            folder = Path(name)
            folder.chmod(0o755)
            yield folder

    @contextmanager
    def started(
        self, folder: Path, setting: Setting, systems: Sequence[str] = SYSTEMS
    ) -> Iterator[tuple[dict[str, Server], dict[str, str]]]:
        """The MTAs of a row, running; and why which of `systems` does not."""
        with ExitStack() as stack:
            servers: dict[str, Server] = {}
            reasons: dict[str, str] = {}
            for system in systems:
                if system not in self.systems:
                    reasons[system] = "not asked for"
                elif system in self.out:
                    reasons[system] = self.out[system]
                else:
                    try:
                        servers[system] = stack.enter_context(start(system, folder, setting))
                    except UnavailableError as error:
                        # The folder is another one each time, and gone when this is read.
                        reasons[system] = str(error).replace(f"{folder}/", "")
                        if system != OURS:
                            self.out[system] = reasons[system]
            yield servers, reasons

    def in_turns(
        self, servers: Mapping[str, Server], reasons: dict[str, str], measure: Callable[[Server], float]
    ) -> dict[str, list[float]]:
        """
        Measure each system in each round, one after the other: what else the machine does hits all of them.

        One that fails is left out from there on, and `reasons` says why.
        """
        samples: dict[str, list[float]] = {system: [] for system in servers}
        failed: set[str] = set()
        for _ in range(self.rounds):
            for system in servers:
                if system not in failed:
                    try:
                        samples[system].append(measure(servers[system]))
                    except UnavailableError as error:
                        failed.add(system)
                        reasons[system] = str(error)
        return {system: values for system, values in samples.items() if system not in failed}


# What a row is: it measures, and gives its figures as they come.
Row = Callable[[Run], Iterator[Figure]]
