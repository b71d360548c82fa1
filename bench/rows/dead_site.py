"""
A site that does not answer, with a long queue that is due: all of it is claimed, looked at and postponed.

That happens again each time the site is asked, every hour at last.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from bench import spools
from bench.figures import Figure
from bench.processes import UnavailableError, free_port, relay, sink
from bench.run import Run
from bench.servers import OURS, Setting, ours
from bench.usage import cpu_seconds
from mta.spool import schema

MESSAGES = 200_000
OTHERS = 500
LONGEST = 240.0


def row(run: Run) -> Iterator[Figure]:
    """How fast they are postponed, what one costs, and what mail for another site gets meanwhile."""
    count, others = run.count(MESSAGES, 100), run.count(OTHERS, 20)
    with run.folder() as folder, sink(folder) as (counter, port):
        setting = Setting(port, routes=[("dead.test", f"127.0.0.1:{free_port()}")])
        top = folder / "mta"
        path = spools.make(top / "state", count, due_in=-1.0, spread=0.0, domain="dead.test")
        asked = time.time()
        began = time.monotonic()
        beside: list[float] = []
        with ours(top, setting) as server:
            while _is_due(path, asked):
                if time.monotonic() - began > LONGEST:
                    raise UnavailableError(f"{count} messages for a dead site were not postponed in {LONGEST:.0f} s")
                beside.append(relay(server.port, counter, others))
            took = time.monotonic() - began - server.started_in
            # That of the other mail is in it: so many messages at the price of one alone are taken off.
            spent = cpu_seconds(server.root)
            quiet = cpu_seconds(server.root)
            relay(server.port, counter, others)
            one = (cpu_seconds(server.root) - quiet) / others
            alone = [relay(server.port, counter, others) for _ in range(run.rounds)]
    each = max(0.0, spent - one * others * len(beside)) * 1000 / count
    title = f"{count:,} messages due for a dead site"
    yield Figure("dead", f"{title}: postponed, beside other mail", "messages/s", True, {OURS: [count / took]})
    yield Figure("dead", f"{title}: CPU time for each", "ms", False, {OURS: [each]})
    yield Figure("dead", f"{title}: other mail meanwhile", "messages/s", True, {OURS: beside})
    yield Figure("dead", f"{title}: other mail afterwards", "messages/s", True, {OURS: alone})


def _is_due(path: Path, asked: float) -> bool:
    """Whether a message is left that was due when it began and has not been put off."""
    with closing(schema.connect(path, read_only=True)) as database:
        (left,) = database.execute(
            "SELECT EXISTS (SELECT 1 FROM messages WHERE claim IS NULL AND due <= :asked)"
            " OR EXISTS (SELECT 1 FROM messages WHERE claim IS NOT NULL AND due <= :asked)",
            {"asked": asked},
        ).fetchone()
    return bool(left)
