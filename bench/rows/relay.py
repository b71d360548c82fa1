"""
Messages a second from smtp-source through the MTA to smtp-sink.

The clock starts with the first connection and stops when the sink has counted every message: acceptance, the durable
queue and the delivery together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product

from bench.figures import Figure
from bench.processes import Sink, relay, sink
from bench.run import Run
from bench.servers import Server, Setting

# (octets, how the table says it, messages in a round with many sessions).
SIZES = ((4096, "4 KB", 1500), (65536, "64 KB", 500), (1 << 20, "1 MB", 60))
MODES = ((False, "a connection each"), (True, "connections reused"))
SESSIONS = (1, 20, 100)
# One session leaves all but one core idle, and takes as much longer.
ALONE = 0.25


def row(run: Run) -> Iterator[Figure]:
    """Every size, with new connections and reused ones, over one session, 20 and 100."""
    with run.folder() as folder, sink(folder) as (counter, port):
        setting = Setting(next_hop=port)
        with run.started(folder, setting) as (servers, reasons):
            for (size, size_title, whole), (reuse, mode), sessions in product(SIZES, MODES, SESSIONS):
                messages = run.count(round(whole * ALONE) if sessions == 1 else whole, 4)
                why = dict(reasons)
                measure = _relaying(counter, messages, size=size, reuse=reuse, sessions=min(sessions, messages))
                samples = run.in_turns(servers, why, measure)
                title = f"{size_title}, {mode}, {sessions} session{'s' if sessions > 1 else ''}"
                yield Figure("relay", title, "messages/s", True, samples, why)


def _relaying(counter: Sink, messages: int, *, size: int, reuse: bool, sessions: int) -> Callable[[Server], float]:
    def measure(server: Server) -> float:
        return relay(server.port, counter, messages, size=size, reuse=reuse, sessions=sessions)

    return measure
