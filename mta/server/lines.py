"""
Read lines and content from a connection, and stop reading while something is being waited for.

Owns: the line receiver's buffer, its pauses, lines that are too long, closing.
Never: understands a line.

Four traps of Twisted are kept shut here: what stands behind a line that is too long is left lying until more arrives; a
peer that never reads lets replies pile up; a producer that is paused keeps `loseConnection` from its end; a peer that
shuts down its sending side behind QUIT (Exim does) would get no reply.
"""

# mypy: allow-untyped-calls
# (Twisted's LineReceiver has no annotations)

from __future__ import annotations

from typing import Protocol, cast

from twisted.internet.interfaces import IAddress, IHalfCloseableProtocol, IReactorTime
from twisted.protocols.basic import LineReceiver
from zope.interface import implementer

# Octets of a line that is too long which are kept: enough to know its verb.
_START = 16


class Wire(Protocol):
    """What is used of a transport: parts of ITransport, IConsumer, IPushProducer and ITCPTransport."""

    def write(self, data: bytes) -> None: ...
    def getPeer(self) -> IAddress: ...
    def registerProducer(self, producer: object, streaming: bool) -> None: ...
    def unregisterProducer(self) -> None: ...
    def pauseProducing(self) -> None: ...
    def resumeProducing(self) -> None: ...
    def loseConnection(self) -> None: ...
    def abortConnection(self) -> None: ...


@implementer(IHalfCloseableProtocol)
class PatientLineReceiver(LineReceiver):
    """
    A `LineReceiver` that can wait.

    Subclasses define `command_received`, `content_received` and `line_too_long`, and call `wait` and `go_on` around
    what they wait for: nothing is handed to them between the two, and no more than one read of the socket is buffered.
    `longest` is the longest line with its CRLF, in octets.
    """

    # Defaults stand here and not in __init__: an idle connection pays for no more attributes than it has changed.
    wire: Wire
    active_at = 0.0
    waiting = False
    closing_at: float | None = None
    _choked = False
    _reading_stopped = False
    _peer_ended = False
    # A line that is too long is passed over in raw mode; `_behind` is what LineReceiver gave up together with it.
    _skipping = False
    _skipped_cr = b""
    _skipped_start = b""
    _behind = b""

    def __init__(self, clock: IReactorTime, longest: int) -> None:
        self.clock = clock
        self.MAX_LENGTH = longest - len(self.delimiter)

    def command_received(self, line: bytes, more: bool) -> None:
        """A line came, without its CRLF; `more` where bytes behind it have come already."""
        raise NotImplementedError

    def content_received(self, data: bytes) -> None:
        """Bytes came between `begin_content` and `end_content`."""
        raise NotImplementedError

    def line_too_long(self, start: bytes) -> None:
        """A line was passed over, of which a few octets are left."""
        raise NotImplementedError

    def peer_ended(self) -> None:
        """All that the peer has sent was handed over and answered, and no more will come."""
        raise NotImplementedError

    def connectionMade(self) -> None:
        self.wire = cast("Wire", self.transport)
        self.active_at = self.clock.seconds()
        # A peer that sends commands and never reads could fill our memory with replies.
        self.wire.registerProducer(self, True)

    def begin_content(self) -> None:
        """Hand over bytes as they come."""
        self.setRawMode()

    def end_content(self, rest: bytes = b"") -> None:
        """Hand over lines again, `rest` first. To be called before anything lets more of the peer's bytes in."""
        self.setLineMode()
        if rest:
            self.plain_received(rest)

    @property
    def in_content(self) -> bool:
        return not self.line_mode

    # Waiting

    def wait(self) -> None:
        """Hand over nothing until `go_on`."""
        self.waiting = True
        self.paused = True

    def go_on(self) -> None:
        """End the wait, if there is one; the peer's time to speak begins now."""
        if self.waiting:
            self.waiting = False
            self.active_at = self.clock.seconds()
            self._resume()

    def pauseProducing(self) -> None:
        """The peer does not take its replies: make no more of them."""
        self._choked = True
        self.paused = True

    def resumeProducing(self) -> None:
        """The peer has taken its replies."""
        self._choked = False
        self._resume()

    def stopProducing(self) -> None:
        """The connection is gone; `connectionLost` follows."""

    def _resume(self) -> None:
        if self.waiting or self._choked or self.closing_at is not None:
            return
        self.paused = False
        if self._reading_stopped:
            self._reading_stopped = False
            self.wire.resumeProducing()
        self.plain_received(b"")
        self._close_behind_replies()

    # The peer's end

    def readConnectionLost(self) -> None:
        """The peer has sent all it will, and may still read: it gets its replies, then the connection closes."""
        self._peer_ended = True
        self._close_behind_replies()

    def writeConnectionLost(self) -> None:
        """We never half-close."""

    def _close_behind_replies(self) -> None:
        if self._peer_ended and not self.paused and self.closing_at is None:
            self.peer_ended()

    # Reading

    def dataReceived(self, data: bytes) -> None:
        """Bytes came from the transport."""
        self.plain_received(data)

    def plain_received(self, data: bytes) -> None:
        """Bytes of the session came: those of the transport, or what was in them."""
        if self.closing_at is not None:
            return
        if data:
            self.active_at = self.clock.seconds()
            # Only now: a peer that waits for its reply, as most do, costs no call to the reactor.
            if self.paused and not self._reading_stopped:
                self._reading_stopped = True
                self.wire.pauseProducing()
        super().dataReceived(data)
        while self._behind:
            behind, self._behind = self._behind, b""
            super().dataReceived(behind)

    def lineReceived(self, line: bytes) -> None:
        if self.closing_at is None:
            # LineReceiver has no other way to ask what it holds than to take it away.
            self.command_received(line, bool(self._buffer))

    def lineLengthExceeded(self, line: bytes) -> None:
        self._skipping = True
        self._skipped_start = line[:_START]
        self._behind = line
        self.setRawMode()

    def rawDataReceived(self, data: bytes) -> None:
        if self._skipping:
            self._skip(data)
        elif self.closing_at is None:
            self.content_received(data)

    def _skip(self, data: bytes) -> None:
        line, crlf, rest = (self._skipped_cr + data).partition(self.delimiter)
        if not crlf:
            self._skipped_cr = b"\r" if line.endswith(b"\r") else b""
            return
        self._skipping = False
        self._skipped_cr = b""
        self.setLineMode()
        if rest:
            self.plain_received(rest)
        if self.closing_at is None:
            self.line_too_long(self._skipped_start)

    # Closing

    def close(self, last_words: bytes) -> None:
        """Write `last_words` and close; whatever else the peer sends is not looked at."""
        self.stop_reading()
        # Twisted would wait for a paused producer to finish.
        self.wire.unregisterProducer()
        self.wire.write(last_words)
        self.wire.loseConnection()

    def stop_reading(self) -> None:
        """Hand over nothing any more, and keep nothing."""
        if self.closing_at is None:
            self.closing_at = self.clock.seconds()
        self._behind = b""
        self.clearLineBuffer()
