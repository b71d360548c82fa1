"""
A long queue of deferred mail: what it costs to start with it, to look at it, and what new mail notices of it.

One daemon for each length, all of them running while new mail takes turns over them: the curve must be flat.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from bench import spools
from bench.figures import Figure
from bench.processes import UnavailableError, relay, sink
from bench.run import Run
from bench.servers import OURS, POSTFIX, Server, Setting, ours
from bench.usage import memory

LENGTHS = (0, 1000, 10_000, 100_000, 1_000_000)
MESSAGES = 1000
# Nothing becomes due while this is measured; longer than the longest wait of the schedule, it would at once.
DUE_IN, SPREAD = 3600.0, 7200.0

_NO_POSTFIX = {POSTFIX: "a file for each message: a million of them take longer to make than to measure"}


def row(run: Run) -> Iterator[Figure]:
    """Start-up and memory by length; `mta queue` at the longest; the growth curve."""
    lengths = [run.count(length) if length else 0 for length in LENGTHS]
    messages = run.count(MESSAGES, 20)
    with run.folder() as folder, sink(folder) as (counter, port), ExitStack() as stack:
        setting = Setting(next_hop=port)
        servers: dict[int, Server] = {}
        for length in lengths:
            top = folder / str(length)
            spools.make(top / "state", length, due_in=DUE_IN, spread=SPREAD)
            server = servers[length] = stack.enter_context(ours(top, setting, timeout=60))
            yield _figure(f"start-up with {length:,} queued", "s", False, [server.started_in], length)
            time.sleep(0.5)
            yield _figure(f"memory after that, {length:,} queued", "MiB", False, [memory(server.root)], length)
        config = servers[lengths[-1]].config
        for words in (("count",), ("list", "--domain", "site7.test", "--limit", "100"), ("list", "--domain", "x.test")):
            took = [_command(config, *words) for _ in range(run.rounds)]
            title = f"`mta queue {' '.join(words)}`, {lengths[-1]:,} queued"
            yield _figure(title, "s", False, took, lengths[-1])
        rates: dict[int, list[float]] = {length: [] for length in lengths}
        for _ in range(run.rounds):
            for length, server in servers.items():
                rates[length].append(relay(server.port, counter, messages))
        for length in lengths:
            yield _figure(f"4 KB, 20 sessions, with {length:,} queued", "messages/s", True, rates[length], length)


def _figure(title: str, unit: str, more_is_better: bool, samples: list[float], length: int) -> Figure:
    return Figure("queue", title, unit, more_is_better, {OURS: samples}, dict(_NO_POSTFIX), x=length)


def _command(config: Path, *words: str) -> float:
    """The seconds that `mta queue` takes, its own start included."""
    command = [sys.executable, "-c", "from mta.cli.main import main; main()", "queue", *words]
    began = time.monotonic()
    done = subprocess.run([*command, "--config", str(config)], capture_output=True, timeout=120, check=False)
    if done.returncode:
        raise UnavailableError(f"mta queue: {done.stderr.decode(errors='replace')[-200:]}")
    return time.monotonic() - began
