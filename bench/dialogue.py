"""
Both ends of SMTP for what `smtp-source` and `smtp-sink` can't do: a paced sender, a sink that knows when and whom for.

Never: does more than a measurement needs; both sides are in one process, so their clock is the same.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from bench.processes import UnavailableError

# Commands sent without waiting for a reply (RFC 2920).
PIPELINED = 500


class Client:
    """One connection to an MTA. `connect` makes it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def connect(cls, port: int) -> Client:
        """A connection that has said EHLO."""
        client = cls(*await asyncio.open_connection("127.0.0.1", port))
        await client._reply(b"220")
        await client._say(b"250", b"EHLO client.bench.test")
        return client

    async def submit(self, sender: str, recipients: Sequence[str], content: bytes) -> tuple[float, float]:
        """
        Send a message; when its last octet had been sent and when its 250 was there, on the monotonic clock.

        Raises `UnavailableError` where anything is refused.
        """
        await self._say(b"250", f"MAIL FROM:<{sender}>".encode())
        for begin in range(0, len(recipients), PIPELINED):
            group = [f"RCPT TO:<{each}>".encode() for each in recipients[begin : begin + PIPELINED]]
            await self._say(b"250", *group)
        await self._say(b"354", b"DATA")
        self._writer.write(content + b"\r\n.\r\n")
        await self._writer.drain()
        sent = time.monotonic()
        await self._reply(b"250")
        return sent, time.monotonic()

    async def quit(self) -> None:
        await self._say(b"221", b"QUIT")
        self._writer.close()

    def close(self) -> None:
        self._writer.close()

    async def _say(self, code: bytes, *commands: bytes) -> None:
        self._writer.write(b"".join(command + b"\r\n" for command in commands))
        for _command in commands:
            await self._reply(code)

    async def _reply(self, code: bytes) -> None:
        while (line := await self._reader.readline())[3:4] == b"-":
            pass
        if not line.startswith(code):
            raise UnavailableError(f"{code.decode()} was expected, and the MTA said: {line.decode(errors='replace')}")


class Arrivals:
    """What the sink got: the time of each recipient's message on the monotonic clock, the numbers of transactions."""

    def __init__(self) -> None:
        self.at: dict[str, float] = {}
        self.transactions = 0
        self._wanted = 0
        self._all = asyncio.Event()

    def note(self, recipients: Sequence[str]) -> None:
        """A message was there for these."""
        now = time.monotonic()
        self.at.update(dict.fromkeys(recipients, now))
        self.transactions += 1
        if self._wanted and len(self.at) >= self._wanted:
            self._all.set()

    async def wait(self, recipients: int, seconds: float) -> None:
        """Until so many recipients have their message. Raises `UnavailableError` after `seconds`."""
        self._wanted = recipients
        if len(self.at) < recipients:
            try:
                await asyncio.wait_for(self._all.wait(), seconds)
            except TimeoutError:
                raise UnavailableError(f"{len(self.at)} of {recipients} were delivered in {seconds:.0f} s") from None


class _Sink(asyncio.Protocol):
    """A server that takes everything."""

    def __init__(self, arrivals: Arrivals) -> None:
        self._arrivals = arrivals
        self._buffer = b""
        self._recipients: list[str] = []
        self._in_data = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(b"220 sink.test ESMTP\r\n")

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        replies: list[bytes] = []
        while True:
            if self._in_data:
                _content, end, rest = self._buffer.partition(b"\r\n.\r\n")
                if not end:
                    break
                self._buffer, self._in_data = rest, False
                self._arrivals.note(self._recipients)
                self._recipients = []
                replies.append(b"250 2.0.0 Ok")
                continue
            line, end, rest = self._buffer.partition(b"\r\n")
            if not end:
                break
            self._buffer = rest
            replies.append(self._answer(line))
        if replies:
            self._transport.write(b"".join(reply + b"\r\n" for reply in replies))
        if replies and replies[-1].startswith(b"221"):
            self._transport.close()

    def _answer(self, line: bytes) -> bytes:
        verb = line[:4].upper()
        if verb == b"RCPT":
            self._recipients.append(line.partition(b"<")[2].partition(b">")[0].decode())
        elif verb == b"DATA":
            self._in_data = True
            return b"354 go on"
        elif verb == b"EHLO":
            return b"250-sink.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE 0"
        elif verb == b"QUIT":
            return b"221 2.0.0 Bye"
        elif verb in (b"MAIL", b"RSET"):
            self._recipients = []
        return b"250 2.0.0 Ok"


@asynccontextmanager
async def listening(places: Sequence[tuple[str, int]]) -> AsyncIterator[Arrivals]:
    """One sink that listens at all of `places`."""
    arrivals = Arrivals()
    loop = asyncio.get_running_loop()
    servers = [await loop.create_server(lambda: _Sink(arrivals), host, port) for host, port in places]
    try:
        yield arrivals
    finally:
        for server in servers:
            server.close()
