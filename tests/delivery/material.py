"""Deliveries, contents and settings for the tests of the agents."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from mta.address import Address, parse_address
from mta.delivery.timeouts import ClientLimits, ClientTimeouts
from mta.destination import Destination, Host, NextHop, Transport
from mta.entry import Delivery, Mark
from mta.envelope import Body, Envelope, Recipient
from mta.interfaces import IContent

SENDER = parse_address("sender@from.test")
ONE, TWO, THREE = (parse_address(f"{name}@to.test") for name in ("one", "two", "three"))
TEXT = b"Subject: hello\r\n\r\n.dot\r\nbody\r\n"

# Each differs from the others, so that a test can tell which one ran out.
TIMEOUTS = ClientTimeouts(
    connect=30,
    greeting=301,
    hello=302,
    starttls=121,
    mail=303,
    rcpt=304,
    data=120,
    block=180,
    final_dot=600,
    rset=20,
    quit=4,
    idle=5,
    lifetime=300,
)
LIMITS = ClientLimits(recipients_per_transaction=50, messages_per_connection=3)


@implementer(IContent)
class Content:
    """Content at hand, or in chunks of `chunk_size`. Chunk `broken` can't be read; with `held` a list, reads wait."""

    def __init__(self, data: bytes = TEXT, chunk_size: int | None = None, broken: int | None = None) -> None:
        self.size = len(data)
        self.data = data
        self.read: list[int] = []
        self.held: list[tuple[Deferred[bytes], bytes]] | None = None
        self._chunk_size = chunk_size
        self._broken = broken

    def whole(self) -> bytes | None:
        return self.data if self._chunk_size is None else None

    def chunk(self, index: int) -> Deferred[bytes]:
        self.read.append(index)
        if index == self._broken:
            return fail(OSError("chunk 1 is missing"))
        size = self._chunk_size or len(self.data)
        data = self.data[index * size : (index + 1) * size]
        if self.held is None:
            return succeed(data)
        waiting: Deferred[bytes] = Deferred()
        self.held.append((waiting, data))
        return waiting

    def release(self) -> None:
        """Answer the oldest read that waits."""
        assert self.held
        waiting, data = self.held.pop(0)
        waiting.callback(data)


def remote(*names: str, site: str = "to.test", port: int = 25) -> Destination:
    """A destination by MX: the hosts in order of preference; "a|b" are of equal preference."""
    hosts = [Host(name, port, 10 * rank) for rank, group in enumerate(names) for name in group.split("|")]
    return Destination(NextHop(Transport.MX), site, tuple(hosts))


def marked(_addresses: Sequence[Address], _host: str) -> Deferred[None]:
    """A mark that is durable at once."""
    return succeed(None)


def delivery(
    destination: Destination,
    recipients: tuple[Address, ...] = (ONE,),
    content: Content | None = None,
    sender: Address | None = SENDER,
    body: Body = Body.SEVEN_BIT,
    mark: Mark = marked,
    message: int = 1,
) -> Delivery:
    envelope = Envelope(sender, tuple(map(Recipient, recipients)), body)
    return Delivery(message, 1_700_000_000.0, envelope, content or Content(), destination, mark)
