"""One message to many recipients at many sites."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

from bench.dialogue import Client, listening
from bench.figures import Figure
from bench.processes import free_port
from bench.run import Run
from bench.servers import Server, Setting

RECIPIENTS = 5000
SITES = 50
CONTENT = b"Subject: to all of you\r\n\r\n" + (b"x" * 76 + b"\r\n") * 52


def row(run: Run) -> Iterator[Figure]:
    """From the first command to the last delivery, in recipients a second."""
    count = run.count(RECIPIENTS, SITES)
    places = [(f"127.0.1.{number}", free_port(f"127.0.1.{number}")) for number in range(1, SITES + 1)]
    setting = Setting(
        routes=[(f"site{number}.test", f"{host}:{port}") for number, (host, port) in enumerate(places)],
        # Both stop at 1,000 by default.
        limits=f"recipients = {count + 1}",
        theirs=f"smtpd_recipient_limit = {count + 1}\n",
    )

    async def sent(port: int) -> float:
        # Names that are new in each round, so that nobody knows an address already.
        now = time.monotonic_ns()
        recipients = [f"r{number}.{now}@site{number % SITES}.test" for number in range(count)]
        async with listening(places) as arrivals:
            began = time.monotonic()
            client = await Client.connect(port)
            await client.submit("sender@bench.test", recipients, CONTENT)
            await client.quit()
            await arrivals.wait(count, 120)
            return count / (max(arrivals.at.values()) - began)

    def measure(server: Server) -> float:
        return asyncio.run(sent(server.port))

    with run.folder() as folder, run.started(folder, setting) as (servers, reasons):
        samples = run.in_turns(servers, reasons, measure)
    title = f"one message to {count:,} recipients at {SITES} sites"
    yield Figure("fanout", title, "recipients/s", True, samples, reasons)
