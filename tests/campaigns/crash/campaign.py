"""
One crash campaign: clients, daemon and sites, a kill at each random moment, and the verdict.

Owns: the order of it, the temporary folder, what is read from the spool and the Maildirs afterwards.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from mta.ids import spell
from mta.selection import Selection
from mta.spool import content_files, reading, schema
from tests.campaigns.crash.clients import Client
from tests.campaigns.crash.ledger import Arrival, Ledger, Reply, Side, Verdict, token_and_digest
from tests.campaigns.crash.site import CALM, Site, Temper
from tests.end_to_end.daemon import Daemon, eventually, gone, greeted, route

# Two sites of bad temper, one of them far worse, and local mailboxes.
_RECIPIENTS = (
    *(f"user{number}@one.test" for number in range(8)),
    *(f"user{number}@two.test" for number in range(8)),
    "alice@local.test",
    "bob@local.test",
)
_BAD = Temper()
_WORSE = Temper(0.05, 0.1, 0.1, 0.1, 0.1, 0.05, 0.05, 0.2, 2.0)
_CONFIG = """
[limits]
messages_per_session = 1000
connections_per_client = 200
"""


@dataclass(frozen=True, slots=True)
class Course:
    """
    What is done: `kills` of the daemon, `clients` at once, up to `longest_life` seconds between two kills.

    With several `workers` every other kill is that of one worker, and the daemon goes on.
    """

    kills: int
    seed: int
    clients: int = 6
    longest_life: float = 3.0
    drain: float = 180.0
    workers: int = 1


def run(course: Course, say: Callable[[str], None]) -> Verdict:
    """The whole campaign; `say` gets a line for each kill."""
    rng, ledger = random.Random(course.seed), Ledger()
    with ExitStack() as stack:
        top = Path(tempfile.mkdtemp(prefix="mta-crash-"))
        stack.callback(shutil.rmtree, top, True)
        sites = [Site(ledger, course.seed + place, temper) for place, temper in enumerate((_BAD, _WORSE))]
        for site in sites:
            stack.callback(site.stop)
        routes = (route(f"*@{name}.test", site.port) for name, site in zip(("one", "two"), sites, strict=True))
        daemon = Daemon(top, _CONFIG + "".join(routes), course.workers)
        stack.callback(daemon.stop, signal.SIGKILL)
        daemon.start()
        clients = [Client(number, daemon.port, _RECIPIENTS, ledger, course.seed) for number in range(course.clients)]
        for client in clients:
            client.start()
        for number in range(1, course.kills + 1):
            with_all = course.workers == 1 or number % 2 == 0
            moment = _kill(daemon, rng, course, ledger) if with_all else _kill_worker(daemon, rng, course, ledger)
            acknowledged, taken = ledger.counts()
            say(
                f"kill {number:3}/{course.kills} {moment:32}: {acknowledged:6} acknowledged, {taken:6} arrivals,"
                f" {sum(site.refusals for site in sites):5} refused for now, {len(_queue(daemon)):5} in the queue"
            )
            if with_all:
                daemon.spawn()
        for client in clients:
            client.ending.set()
        for client in clients:
            client.join()
        for site in sites:
            site.temper = CALM
        _drain(daemon, course.drain)
        if daemon.stop() not in (0, -signal.SIGTERM):
            raise AssertionError(f"the daemon did not end well: {daemon.output.read_text()[-2000:]}")
        ledger.arrive(_maildirs(daemon))
        return ledger.judge(_left(daemon))


def _kill(daemon: Daemon, rng: random.Random, course: Course, ledger: Ledger) -> str:
    """Kill it: while it starts, at any moment, or in the instant of a 250, when a promise was made; which it was."""
    process = daemon.process
    assert process is not None
    starting, side = rng.random() < 0.2, rng.choice((None, Side.CLIENT, Side.CLIENT, Side.SITE))
    if starting:
        time.sleep(rng.uniform(0.05, 1.0))
    else:
        eventually(lambda: greeted(daemon.port) or process.poll() is not None, "the daemon's start")
        time.sleep(rng.uniform(0, course.longest_life))
    if process.poll() is not None:
        raise AssertionError(f"the daemon ended by itself: {daemon.output.read_text()[-2000:]}")
    moment = "while it starts" if starting else "at any moment"
    if side is not None and not starting:
        ledger.traps[side] = process.kill
        with suppress(subprocess.TimeoutExpired):
            process.wait(2.0)
            moment = side.value
        ledger.traps.clear()
    workers = daemon.workers()
    process.kill()
    # The lock is free once all processes are gone; what was sent to them by then is in flight.
    process.wait()
    eventually(lambda: all(map(gone, workers)), "the end of the workers")
    ledger.kills.append(time.time())
    daemon.process = None
    return moment


def _kill_worker(daemon: Daemon, rng: random.Random, course: Course, ledger: Ledger) -> str:
    """Kill one worker, at any moment or in the instant of a 250; the others go on."""
    side = rng.choice((None, Side.CLIENT, Side.SITE))
    eventually(daemon.workers, "a worker")
    time.sleep(rng.uniform(0, course.longest_life))
    worker = rng.choice(eventually(daemon.workers, "a worker"))
    moment = "a worker, at any moment"

    def kill() -> None:
        with suppress(ProcessLookupError):
            os.kill(worker, signal.SIGKILL)

    if side is not None:
        ledger.traps[side] = kill
        end = time.monotonic() + 2.0
        while not gone(worker) and time.monotonic() < end:
            time.sleep(0.01)
        ledger.traps.clear()
        if gone(worker):
            moment = f"a worker, {side.value}"
    kill()
    eventually(lambda: gone(worker), "the end of a worker")
    ledger.kills.append(time.time())
    return moment


def _queue(daemon: Daemon) -> list[reading.QueueRow]:
    """What the spool file holds; none where no start has got so far as to make one."""
    path = daemon.state / schema.FILE_NAME
    if not path.exists():
        return []
    with reading.opened(path) as database:
        return list(reading.list_queue(database, Selection()))


def _drain(daemon: Daemon, seconds: float) -> None:
    """Wait until the queue is empty, or the time is over: what is left is judged by its content."""
    end = time.monotonic() + seconds
    while _queue(daemon) and time.monotonic() < end:
        time.sleep(0.2)


def _left(daemon: Daemon) -> Iterator[tuple[str, str, str]]:
    """(token, recipient, digest) of what is still in the spool, from its content."""
    with reading.opened(daemon.state / schema.FILE_NAME) as database:
        for row in reading.list_queue(database, Selection()):
            chunks = database.execute("SELECT data FROM chunks WHERE message = ? ORDER BY number", (row.message,))
            behind = daemon.state / content_files.FOLDER / spell(row.message)
            content = b"".join(data for (data,) in chunks) + (behind.read_bytes() if behind.exists() else b"")
            token, digest = token_and_digest(content)
            yield token, row.recipient, digest


def _maildirs(daemon: Daemon) -> Iterator[Arrival]:
    """What was delivered to the mailboxes, with the time of the last write to each file."""
    for path in sorted(daemon.state.glob("mail/*/Maildir/new/*")):
        token, digest = token_and_digest(path.read_bytes().replace(b"\n", b"\r\n"))
        written = path.stat().st_mtime
        yield Arrival(token, f"{path.parts[-4]}@local.test", digest, written, written, written, Reply.SENT)
