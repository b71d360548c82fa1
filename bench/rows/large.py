"""Memory while many large messages come in at once and go out to smtp-sink."""

from __future__ import annotations

import time
from collections.abc import Iterator

from bench.figures import Figure
from bench.processes import UnavailableError, relay, sink
from bench.run import Run
from bench.servers import Setting
from bench.usage import PeakMemory

MESSAGES = 30
MEGABYTES = 50


def row(run: Run) -> Iterator[Figure]:
    """The peak, and how long it took until all were relayed."""
    messages, size = run.count(MESSAGES, 2), run.count(MEGABYTES, 1) << 20
    with run.folder() as folder, sink(folder) as (counter, port):
        setting = Setting(port, limits='message_size = "100MiB"', theirs="message_size_limit = 104857600\n")
        peaks: dict[str, list[float]] = {}
        took: dict[str, list[float]] = {}
        with run.started(folder, setting) as (servers, reasons):
            for system, server in servers.items():
                began = time.monotonic()
                try:
                    with PeakMemory(server.root) as watched:
                        relay(server.port, counter, messages, size=size, sessions=messages, timeout=180)
                except UnavailableError as error:
                    reasons[system] = str(error)
                else:
                    peaks[system], took[system] = [watched.peak], [time.monotonic() - began]
        what = f"{messages} messages of {size >> 20} MB at once"
        yield Figure("large", f"{what}: peak memory", "MiB", False, peaks, reasons)
        yield Figure("large", f"{what}: until all are relayed", "s", False, took, reasons)
