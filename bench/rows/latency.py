"""
How long a message takes through an MTA that has little to do.

The same pace for all: one fifth of what the slowest of them relays. A sender sends a message over a connection of its
own at each tick, whether the last one is through or not; the sink notes when each arrives.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from statistics import median, quantiles

from bench.dialogue import Client, listening
from bench.figures import Figure
from bench.processes import free_port, relay, sink
from bench.run import Run
from bench.servers import Server, Setting

SECONDS = 8.0
SHARE = 0.2
CONTENT = b"Subject: latency\r\n\r\n" + (b"x" * 76 + b"\r\n") * 52 + b"end"


def row(run: Run) -> Iterator[Figure]:
    """Median and 99th percentile: from the end of the content to its 250, and from there to the sink."""
    with run.folder() as folder, sink(folder) as (counter, full_port):
        port = free_port()
        # What is for full.test goes to smtp-sink, to find the full load.
        setting = Setting(port, routes=[("full.test", f"127.0.0.1:{full_port}")])
        with run.started(folder, setting) as (servers, reasons):
            full = {}
            for system, server in servers.items():
                full[system] = relay(server.port, counter, run.count(1500, 20), recipient="recipient@full.test")
            pace = max(SHARE * min(full.values(), default=0.0), 10.0)
            delays: dict[str, list[tuple[list[float], list[float]]]] = {system: [] for system in servers}

            def measure(server: Server) -> float:
                found = asyncio.run(_paced(server.port, port, pace, run.count(round(pace * SECONDS), 20)))
                system = next(name for name, each in servers.items() if each is server)
                delays[system].append(found)
                return 0.0

            alive = run.in_turns(servers, reasons, measure)
    note = f"{pace:.0f} messages/s of 4 KB, a connection each"
    for title, number in (("end of content to 250", 0), ("250 to delivery", 1)):
        for part, take in (("median", median), ("99th percentile", _percentile_99)):
            samples = {name: [take(found[number]) * 1000 for found in delays[name]] for name in alive}
            yield Figure("latency", f"{title}, {part}", "ms", False, samples, dict(reasons), note)


async def _paced(port: int, sink_port: int, pace: float, messages: int) -> tuple[list[float], list[float]]:
    """Send at `pace`; the delays of each message up to its 250, and from there to its arrival, in seconds."""
    loop = asyncio.get_running_loop()
    accepting: list[float] = []
    accepted: dict[str, float] = {}

    async def one(number: int) -> None:
        recipient = f"m{number}@sink.test"
        client = await Client.connect(port)
        sent, accepted[recipient] = await client.submit("sender@bench.test", [recipient], CONTENT)
        accepting.append(accepted[recipient] - sent)
        await client.quit()

    async with listening([("127.0.0.1", sink_port)]) as arrivals:
        began = loop.time()
        async with asyncio.TaskGroup() as sending:
            for number in range(messages):
                await asyncio.sleep(max(0.0, began + number / pace - loop.time()))
                sending.create_task(one(number))
        await arrivals.wait(messages, 60)
    # The delivery may be over before we have read the 250: that is no delay at all.
    return accepting, [max(0.0, at - accepted[recipient]) for recipient, at in arrivals.at.items()]


def _percentile_99(values: list[float]) -> float:
    return quantiles(values, n=100)[98]
