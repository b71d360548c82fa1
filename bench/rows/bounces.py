"""A storm of bounces: every message is for somebody whom the next host does not know."""

from __future__ import annotations

import time
from collections.abc import Iterator

from bench.figures import Figure
from bench.processes import send, sink, wait_for
from bench.run import Run
from bench.servers import Server, Setting

MESSAGES = 2000


def row(run: Run) -> Iterator[Figure]:
    """From the first connection until the sender's host has all bounces."""
    messages = run.count(MESSAGES, 20)
    unknown = ["-f", "RCPT", "-B", "550 5.1.1 no such user here"]
    with run.folder() as folder, sink(folder, unknown) as (_refusing, refusing), sink(folder) as (counter, port):
        setting = Setting(
            port,
            routes=[("unknown.test", f"127.0.0.1:{refusing}")],
            # By default we tell one sender no more than 100 times an hour.
            ours="\n[bounce]\nrate_per_sender = 0\n",
        )

        def measure(server: Server) -> float:
            before = counter.count()
            began = time.monotonic()
            send(server.port, messages, recipient="recipient@unknown.test")
            wait_for(lambda: counter.count() - before >= messages, 120, "the delivery of all bounces")
            return messages / (time.monotonic() - began)

        with run.started(folder, setting) as (servers, reasons):
            samples = run.in_turns(servers, reasons, measure)
    yield Figure("bounces", f"{messages:,} messages to unknown recipients", "bounces/s", True, samples, reasons)
