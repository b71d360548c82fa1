"""
A site that does not answer, with a long queue that is due: all of it is claimed, looked at and postponed.

That happens again each time the site is asked, every hour at last.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from bench import spools
from bench.figures import Figure
from bench.processes import free_port, relay, sink, wait_for
from bench.run import Run
from bench.servers import OURS, Server, Setting, ours
from bench.usage import cpu_seconds
from mta.spool import schema

MESSAGES = 200_000
OTHERS = 500
LONGEST = 240.0


def row(run: Run) -> Iterator[Figure]:
    """How fast they are postponed and what one costs, with nothing else to do; what other mail gets meanwhile."""
    count, others = run.count(MESSAGES, 100), run.count(OTHERS, 20)
    what = f"{count:,} messages due for a dead site"
    with run.folder() as folder, sink(folder) as (counter, port):
        setting = Setting(port, routes=[("dead.test", f"127.0.0.1:{free_port()}")])
        with _busy(folder / "alone", setting, count) as (server, is_over):
            began = time.monotonic()
            wait_for(is_over, LONGEST, what, every=0.1)
            rate = count / (time.monotonic() - began + 0.001)
            each = cpu_seconds(server.root) * 1000 / count
            yield Figure("dead", f"{what}: postponed", "messages/s", True, {OURS: [rate]})
            yield Figure("dead", f"{what}: CPU time for each", "ms", False, {OURS: [each]})
            alone = [relay(server.port, counter, others) for _ in range(run.rounds)]
        with _busy(folder / "beside", setting, count) as (server, is_over):
            beside: list[float] = []
            while not beside or not is_over():
                beside.append(relay(server.port, counter, others, timeout=LONGEST))
        yield Figure("dead", f"{what}: other mail meanwhile", "messages/s", True, {OURS: beside})
        yield Figure("dead", "other mail after that", "messages/s", True, {OURS: alone})


@contextmanager
def _busy(top: Path, setting: Setting, count: int) -> Iterator[tuple[Server, Callable[[], bool]]]:
    """Our daemon that has begun with so many messages for the dead site, and whether all of them are put off."""
    path = spools.make(top / "state", count, due_in=-1.0, spread=0.0, domain="dead.test")
    asked = time.time()
    with ours(top, setting) as server:
        yield server, lambda: not _is_due(path, asked)


def _is_due(path: Path, asked: float) -> bool:
    """Whether a message is left that was due when it began and has not been put off."""
    with closing(schema.connect(path, read_only=True)) as database:
        (left,) = database.execute(
            "SELECT EXISTS (SELECT 1 FROM messages WHERE claim IS NULL AND due <= :asked)"
            " OR EXISTS (SELECT 1 FROM messages WHERE claim IS NOT NULL AND due <= :asked)",
            {"asked": asked},
        ).fetchone()
    return bool(left)
