"""Many open sessions that say nothing, and what another client gets meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from bench.dialogue import Client
from bench.figures import Figure
from bench.processes import Sink, relay, sink
from bench.run import Run
from bench.servers import OURS, OURS_2, POSTFIX, Server, Setting
from bench.usage import memory

SESSIONS = 10_000
# Postfix has a process for each session, and 100 of them by default: its memory is measured at fewer.
THEIR_SESSIONS = 90
MESSAGES = 1000


def row(run: Run) -> Iterator[Figure]:
    """Memory of all and of each; the throughput of 20 sessions with the others there, and without."""
    sessions, messages = run.count(SESSIONS, 50), run.count(MESSAGES, 20)
    each: dict[str, list[float]] = {}
    whole: dict[str, list[float]] = {}
    alone: dict[str, list[float]] = {}
    beside: dict[str, list[float]] = {}
    with run.folder() as folder, sink(folder) as (counter, port):
        setting = Setting(port, limits=f'connections = {sessions + 500}\nidle_timeout = "600s"')
        with run.started(folder, setting) as (servers, reasons):
            for system, server in servers.items():
                count = min(sessions, THEIR_SESSIONS) if system == POSTFIX else sessions
                relay(server.port, counter, messages)  # what a first load takes is not the sessions'
                alone[system] = [relay(server.port, counter, messages) for _ in range(run.rounds)]
                before = memory(server.root)
                rates, after = asyncio.run(_crowded(server, count, counter, messages, run.rounds, system != POSTFIX))
                each[system] = [(after - before) * 1024 / count]
                whole[system] = [after]
                if rates:
                    beside[system] = rates
    limit = f"a process for each session, 100 by default: {THEIR_SESSIONS} were measured"
    ours = {system: values for system, values in whole.items() if system in (OURS, OURS_2)}
    theirs = {**reasons, **({POSTFIX: limit} if POSTFIX in whole else {})}
    what = f"{sessions:,} idle sessions"
    yield Figure("idle", "memory of an idle session", "KiB", False, each, reasons, limit)
    yield Figure("idle", f"{what}: memory in all", "MiB", False, ours, theirs)
    yield Figure("idle", "4 KB, 20 sessions, before that", "messages/s", True, alone, reasons)
    yield Figure("idle", f"4 KB, 20 sessions, beside {what}", "messages/s", True, beside, theirs)


async def _crowded(
    server: Server, sessions: int, counter: Sink, messages: int, rounds: int, measured: bool
) -> tuple[list[float], float]:
    """Open so many sessions; the throughput of another client beside them, and the memory of the MTA with them."""
    clients: list[Client] = []
    try:
        for begin in range(0, sessions, 200):
            wanted = range(begin, min(begin + 200, sessions))
            clients += await asyncio.gather(*(Client.connect(server.port) for _ in wanted))
        after = memory(server.root)
        rates = []
        if measured:
            for _ in range(rounds):
                rates.append(await asyncio.to_thread(relay, server.port, counter, messages))
        return rates, after
    finally:
        for client in clients:
            client.close()
        await asyncio.sleep(0.5)
