"""
What clients can do to the daemon, and what another client notices of it: the figures of docs/limits.md.

Each case has a daemon of its own and strangers at 127.1.x.y; a client that may relay sends a message every tenth of a
second from 127.0.0.1, in a process of its own. Bounded: a minute or so for all cases, a gigabyte of disk for the last.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import smtplib
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bench.servers import our_daemon
from bench.usage import resident

# Seconds that each attack lasts, once it stands.
LASTING = 8.0

COLUMNS = (
    "what the strangers do",
    "what came of it",
    "MiB before",
    "MiB at the peak",
    "others' messages",
    "refused",
    "median ms",
    "worst ms",
)


@dataclass(frozen=True, slots=True)
class Case:
    """One attack: the daemon's limits, and what is done; that gives a line on what it came to."""

    title: str
    limits: str
    attack: Callable[[int], Awaitable[str]]


async def _connected(port: int, number: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection from one of the strangers, 50 for each address as `limits.connections_per_client` has it."""
    client = number // 50
    source = f"127.1.{client // 250}.{client % 250 + 1}"
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
    return reader, writer


async def _greeted(port: int, count: int) -> list[tuple[asyncio.StreamReader, asyncio.StreamWriter, bytes]]:
    """`count` connections, some at a time, and what each was greeted with."""
    found = []
    for start in range(0, count, 200):
        made = await asyncio.gather(*(_connected(port, number) for number in range(start, min(start + 200, count))))
        for reader, writer in made:
            found.append((reader, writer, await reader.readline()))
    return found


async def idle(port: int) -> str:
    """5,000 connections that say nothing."""
    began = time.monotonic()
    peers = await _greeted(port, 5000)
    took = time.monotonic() - began
    await asyncio.sleep(LASTING)
    welcome = sum(greeting.startswith(b"220") for _reader, _writer, greeting in peers)
    for _reader, writer, _greeting in peers:
        writer.close()
    return f"{welcome} greeted with 220 within {took:.1f} s"


async def slow(port: int) -> str:
    """1,000 clients that send a command one byte a second."""
    peers = await _greeted(port, 1000)
    line = b"EHLO slow.example.org\r\n"
    for place in range(int(LASTING)):
        for _reader, writer, _greeting in peers:
            writer.write(line[place : place + 1])
        await asyncio.sleep(1)
    there = sum(not reader.at_eof() for reader, _writer, _greeting in peers)
    for _reader, writer, _greeting in peers:
        writer.close()
    return f"{there} of {len(peers)} still connected"


async def hasty(port: int) -> str:
    """A client that opens and closes as fast as it can, 20 at a time, from one address."""
    end = time.monotonic() + LASTING
    counts = {b"220": 0, b"421": 0, b"": 0}

    async def knock() -> None:
        while time.monotonic() < end:
            with suppress(OSError):
                reader, writer = await _connected(port, 0)
                said = await reader.readline()
                counts[said[:3]] = counts.get(said[:3], 0) + 1
                writer.close()

    await asyncio.gather(*(knock() for _ in range(20)))
    total = sum(counts.values())
    return f"{total / LASTING:.0f} connections/s: {counts[b'220']} greeted, {counts[b'421']} got 421"


async def many_recipients(port: int) -> str:
    """10,000 recipients in one transaction, again until each is taken; the route discards."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def say(*lines: bytes) -> list[bytes]:
        writer.write(b"".join(line + b"\r\n" for line in lines))
        return [await reader.readline() for _ in lines]

    await reader.readline()
    writer.write(b"EHLO many.example.org\r\n")
    while not (await reader.readline()).startswith(b"250 "):
        pass
    left = [f"user{number}@many.test" for number in range(10_000)]
    began, transactions, refused = time.monotonic(), 0, 0
    while left:
        await say(b"MAIL FROM:<>")
        replies: list[bytes] = []
        for start in range(0, len(left), 500):
            replies += await say(*(f"RCPT TO:<{each}>".encode() for each in left[start : start + 500]))
        await say(b"DATA")
        writer.write(b"Subject: many\r\n\r\nhello\r\n.\r\n")
        if not (said := await reader.readline()).startswith(b"250"):
            raise RuntimeError(f"not taken: {said!r}")
        refused += sum(reply.startswith(b"452") for reply in replies)
        left = [each for each, reply in zip(left, replies, strict=True) if not reply.startswith(b"250")]
        transactions += 1
    writer.close()
    took = time.monotonic() - began
    return f"all taken in {transactions} transactions and {took:.1f} s; 452 said {refused} times"


def large(connections: int, megabytes: int) -> Callable[[int], Awaitable[str]]:
    """`connections` at once that each send a message of the largest size."""
    line = b"x" * 1022 + b"\r\n"

    async def one(port: int) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await reader.readline()
        for command in (b"HELO large.example.org", b"MAIL FROM:<>", b"RCPT TO:<a@large.test>", b"DATA"):
            writer.write(command + b"\r\n")
            await reader.readline()
        writer.write(b"Subject: large\r\n\r\n")
        for _ in range(megabytes * 16 - 1):
            writer.write(line * 64)
            await writer.drain()
        writer.write(b".\r\n")
        said = await reader.readline()
        writer.close()
        return said

    async def attack(port: int) -> str:
        began = time.monotonic()
        said = await asyncio.gather(*(one(port) for _ in range(connections)))
        taken = sum(reply.startswith(b"250") for reply in said)
        return f"{taken} of {connections} messages of {megabytes} MiB taken in {time.monotonic() - began:.1f} s"

    return attack


def cases(connections: int, megabytes: int) -> list[Case]:
    """All of them."""
    return [
        Case("nobody else", "", lambda _port: asyncio.sleep(LASTING, "the client is alone")),
        Case("5,000 idle connections", "connections = 10000", idle),
        Case("1,000 clients, a byte a second", "connections = 10000", slow),
        Case("opens and closes as fast as it can", "", hasty),
        Case("10,000 recipients", "", many_recipients),
        Case(f"{connections} messages at the limit", f'message_size = "{megabytes}MiB"', large(connections, megabytes)),
    ]


def probe(port: int) -> None:
    """Be the other client, until the standard input is closed; then tell how long each message took, in seconds."""
    took: list[float] = []
    refused = 0
    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        ended = loop.run_in_executor(None, sys.stdin.read)
        while not ended.done():
            began = time.monotonic()
            try:
                with smtplib.SMTP("127.0.0.1", port, "probe.test", timeout=30) as client:
                    client.sendmail("probe@bench.test", ["a@probe.test"], "Subject: probe\r\n\r\nhello\r\n")
                took.append(time.monotonic() - began)
            except (OSError, smtplib.SMTPException):
                refused += 1
            runner.run(asyncio.sleep(0.1))
    print(json.dumps({"took": took, "refused": refused}))


def measure(case: Case) -> str:
    """Run one case; its row of the table."""
    with tempfile.TemporaryDirectory(prefix="bench-", dir="/var/tmp", ignore_cleanup_errors=True) as folder:
        limits = case.limits or "# as they are"
        with our_daemon(Path(folder), "discard:", limits=limits, trusted="127.0.0.1/32") as (daemon, port):
            idle_memory = resident(daemon, "VmRSS")
            command = [sys.executable, "-m", "bench.overload", "--probe", str(port)]
            other = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            outcome = asyncio.run(asyncio.wait_for(_attack(case, port), 240))
            told = json.loads(other.communicate("")[0])
            peak = resident(daemon, "VmHWM")
    took = sorted(told["took"]) or [float("nan")]
    median, worst = took[len(took) // 2] * 1000, took[-1] * 1000
    cells = f"{idle_memory:.0f} | {peak:.0f} | {len(told['took'])} | {told['refused']} | {median:.0f} | {worst:.0f}"
    return f"| {case.title} | {outcome} | {cells} |"


async def _attack(case: Case, port: int) -> str:
    return await case.attack(port)


def main() -> None:
    """Run all cases and print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=50, help="of the last case (default 50)")
    parser.add_argument("--megabytes", type=int, default=20, help="limit of a message in the last case (default 20)")
    parser.add_argument("--only", type=int, help="the number of one case, from 1")
    parser.add_argument("--probe", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.probe:
        probe(arguments.probe)
        return
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # the daemon inherits it
    print(f"| {' | '.join(COLUMNS)} |\n|---|---|{'--:|' * (len(COLUMNS) - 2)}")
    for number, case in enumerate(cases(arguments.connections, arguments.megabytes), 1):
        if arguments.only in (None, number):
            print(measure(case), flush=True)


if __name__ == "__main__":
    main()
