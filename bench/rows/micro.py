"""
Parts of the MTA by themselves: command parsing, decoding of content, the spool's commits, the simulator.

Without Postfix, which has no such parts to call; the figures are for comparing one version of ours with another.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import SimpleQueue

from twisted.internet.base import DelayedCall
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from bench.figures import Figure
from bench.run import Run
from bench.servers import OURS
from mta.address import parse_address
from mta.config.loading import parse
from mta.entry import Entry
from mta.envelope import Body, Envelope, Origin, Recipient
from mta.ids import QueueIds
from mta.sim.scenario import Scenario
from mta.sim.simulation import Simulation
from mta.smtp.bdat import ChunkDecoder
from mta.smtp.commands import read_mail, read_rcpt, split_command
from mta.smtp.dots import DotDecoder
from mta.spool.spool import Spool, open_spool

# Each part is measured for so many seconds.
SECONDS = 1.0
# What a socket gives at once.
READ = 65536
LINES = b"".join(b"%-75d\r\n" % number for number in range(13_000))

_SIMULATED = """\
hostname = "us.test"
state_dir = "var"
[[listener]]
name = "bench"
endpoint = "tcp:25"
role = "mx"
"""


def row(run: Run) -> Iterator[Figure]:
    """All parts, each as often as there are rounds."""
    with run.folder() as folder:
        parts: tuple[tuple[str, str, Callable[[float], float]], ...] = (
            ("command lines split and read (MAIL, RCPT)", "lines/s", _commands),
            ("dot decoding", "MB/s", _dots),
            ("BDAT", "MB/s", _chunks),
            ("spool commits of 4 KB, one after the other", "messages/s", lambda end: _commits(folder, 1, end)),
            ("spool commits of 4 KB, 20 at once", "messages/s", lambda end: _commits(folder, 20, end)),
        )
        for title, unit, measure in parts:
            samples = [measure(time.perf_counter() + max(0.05, SECONDS * run.share)) for _ in range(run.rounds)]
            yield Figure("micro", title, unit, True, {OURS: samples})
        samples = [_simulated(run.count(2000, 20)) for _ in range(run.rounds)]
        yield Figure("micro", "simulated deliveries", "messages/s", True, {OURS: samples})


def _rate(work: Callable[[], int], end: float) -> float:
    """What `work` says it has done, for each second until `end`."""
    began, done = time.perf_counter(), 0
    while time.perf_counter() < end:
        done += work()
    return done / (time.perf_counter() - began)


def _commands(end: float) -> float:
    mail, rcpt = b"MAIL FROM:<sender@bench.test> SIZE=4096 BODY=8BITMIME", b"RCPT TO:<recipient@sink.test>"

    def work() -> int:
        for _ in range(500):
            for line in (mail, rcpt):
                split = split_command(line)
                assert split is not None
                argument = split[1].decode("ascii")
                if split[0] == b"MAIL":
                    read_mail(argument, True)
                else:
                    read_rcpt(argument, "bench.test", True, False)
        return 1000

    return _rate(work, end)


def _dots(end: float) -> float:
    wire = LINES + b".\r\n"
    pieces = [wire[begin : begin + READ] for begin in range(0, len(wire), READ)]

    def work() -> int:
        decoder = DotDecoder()
        for piece in pieces:
            decoder.feed(piece)
        assert decoder.finished
        return len(LINES)

    return _rate(work, end) / 1e6


def _chunks(end: float) -> float:
    pieces = [LINES[begin : begin + READ] for begin in range(0, len(LINES), READ)]

    def work() -> int:
        decoder = ChunkDecoder(binary=False)
        decoder.begin(len(LINES), last=True)
        for piece in pieces:
            decoder.feed(piece)
        assert decoder.finished
        return len(LINES)

    return _rate(work, end) / 1e6


class _Calls:
    """As much of a reactor as the spool's threads need: calls that the main thread makes one after the other."""

    def __init__(self) -> None:
        self._waiting: SimpleQueue[Callable[[], None]] = SimpleQueue()

    def callFromThread(self, call: Callable[[], None]) -> None:
        self._waiting.put(call)

    def callLater(self, _delay: float, call: Callable[[], None]) -> IDelayedCall:
        self._waiting.put(call)
        return DelayedCall(0.0, call, (), {}, lambda _call: None, lambda _call: None)

    def turn(self) -> None:
        self._waiting.get()()


def _commits(folder: Path, at_once: int, end: float) -> float:
    state = folder / "spool"
    state.mkdir(exist_ok=True)
    calls = _Calls()
    spool = open_spool(state, calls, pid=os.getpid(), now=time.time())
    ids = QueueIds(above=spool.largest_id)
    sender, recipient = parse_address("sender@bench.test"), parse_address("recipient@sink.test")
    envelope = Envelope(sender, (Recipient(recipient),), Body.SEVEN_BIT)
    origin = Origin("127.0.0.1", "client.bench.test", "bench", "ESMTP")
    done = under_way = 0

    def commit() -> None:
        nonlocal under_way
        under_way += 1
        receiving = spool.receive(ids.next(time.time()))
        receiving.write(LINES[:4096])
        receiving.commit(envelope, origin, time.time(), True).addCallback(committed)

    def committed(_entry: Entry) -> None:
        nonlocal done, under_way
        done += 1
        under_way -= 1
        if time.perf_counter() < end:
            commit()

    began = time.perf_counter()
    for _ in range(at_once):
        commit()
    while under_way:
        calls.turn()
    rate = done / (time.perf_counter() - began)
    _close(spool, calls)
    return rate


def _close(spool: Spool, calls: _Calls) -> None:
    closed: Deferred[None] = spool.close()
    while not closed.called:
        calls.turn()


def _simulated(messages: int) -> float:
    """Messages a second of real time, from a simulated client through the whole MTA to a simulated site."""
    load = {"messages": messages, "recipients": ("user{n}@partner.test",), "sessions": 20, "to": "1m"}
    scenario = Scenario.model_validate({"duration": "10m", "load": (load,)})
    with Simulation(parse(_SIMULATED, "bench", {}), scenario) as simulation:
        began = time.perf_counter()
        result = simulation.run()
        took = time.perf_counter() - began
    delivered = sum(event.kind.value == "delivered" for event in result.ledger.events)
    assert delivered == messages, f"{delivered} of {messages} were delivered"
    return messages / took
