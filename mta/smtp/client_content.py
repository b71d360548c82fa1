"""
Write content for the wire, behind DATA or as the chunks of BDAT.

Owns: the choice between the two, the BDAT commands (RFC 3030 2), which reply is due for what was sent, and the gate
before the end.
Never: keeps more content than its last piece, waits for a reply.

Both forms have `feed` for each piece and `finish` behind the last. They give the octets to send and the stage whose
reply these bring about, or None. `is_complete` turns true when nothing of the content is left to send.
"""

from __future__ import annotations

from mta.envelope import Body
from mta.smtp.capabilities import Capabilities
from mta.smtp.client_stage import Stage
from mta.smtp.dots import DotEncoder
from mta.smtp.transaction import Transaction

Wire = tuple[bytes, Stage | None]


class Dots:
    """Content behind DATA."""

    __slots__ = ("_encoder", "is_complete")

    def __init__(self) -> None:
        self.is_complete = False
        self._encoder = DotEncoder()

    def feed(self, data: bytes) -> Wire:
        return self._encoder.feed(data), None

    def finish(self) -> Wire:
        self.is_complete = True
        return self._encoder.finish(), Stage.FINAL_DOT


class Chunks:
    """
    Content of `size` octets in chunks.

    Each piece becomes one, that which completes the size the last one. With `at_once` there is a single chunk for all,
    which needs no replies in between: for a server without PIPELINING. Only `binary` content goes so, and as it is; in
    other content a bare CR or LF leaves as CRLF, as it does behind DATA.
    """

    __slots__ = ("_at_once", "_binary", "_held", "_left", "_size", "_told_last")

    def __init__(self, size: int, *, binary: bool, at_once: bool = False) -> None:
        assert binary or not at_once  # a line end that is mended would change the size that was told
        self._size = self._left = size
        self._binary = binary
        self._at_once = at_once
        self._held = b""  # a CR at the end of a piece, which may be half of a line end
        self._told_last = False

    @property
    def is_complete(self) -> bool:
        return self._told_last and self._left == 0

    def feed(self, data: bytes) -> Wire:
        # Never more than the size: it would be read as commands.
        data = data[: self._left]
        self._left -= len(data)
        if self._told_last:
            return data, None
        if self._at_once:
            wire, stage = self._chunk(self._size, is_last=True)
            return wire + data, stage
        is_last = self._left == 0
        if not self._binary:
            data = self._mended(data, is_last)
        if not data and not is_last:
            return b"", None
        wire, stage = self._chunk(len(data), is_last)
        return wire + data, stage

    def finish(self) -> Wire:
        return (b"", None) if self._told_last else self._chunk(0, is_last=True)

    def _chunk(self, size: int, is_last: bool) -> Wire:
        self._told_last = is_last
        return (b"BDAT %d LAST\r\n" % size, Stage.LAST_CHUNK) if is_last else (b"BDAT %d\r\n" % size, Stage.CHUNK)

    def _mended(self, data: bytes, is_last: bool) -> bytes:
        window = self._held + data
        self._held = b""
        if window.endswith(b"\r") and not is_last:
            self._held = b"\r"
            window = window[:-1]
        if window.count(b"\r\n") == window.count(b"\n") == window.count(b"\r"):
            return window
        # RFC 5321 2.3.8: no server may be led to see a line where we see none.
        return window.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")


class Gated:
    """Content whose end is kept back until `open` is called: with `feed` and `finish` as the content itself has."""

    __slots__ = ("_content", "_is_open", "_octets", "_stage", "is_dotted")

    def __init__(self, content: Dots | Chunks) -> None:
        self.is_dotted = isinstance(content, Dots)
        self._content = content
        self._is_open = False
        self._octets = b""  # the end, and the stage of its reply
        self._stage: Stage | None = None

    @property
    def is_complete(self) -> bool:
        return self._is_open and self._content.is_complete

    def feed(self, data: bytes) -> Wire:
        return self._passed(*self._content.feed(data))

    def finish(self) -> Wire:
        return self._passed(*self._content.finish())

    def open(self) -> Wire:
        """Let the end go out from now on; what was kept back of it."""
        self._is_open = True
        octets, self._octets = self._octets, b""
        return octets, self._stage

    def _passed(self, octets: bytes, stage: Stage | None) -> Wire:
        # All before the last octets may go; without these no server has the message.
        if self._is_open or not self._content.is_complete:
            return octets, stage
        self._octets += octets
        self._stage = self._stage or stage
        return b"", None


def content_for(transaction: Transaction, offers: Capabilities, bdat: bool) -> Gated:
    """How the content of a transaction goes: binary content by BDAT in any case, other where `bdat` says so."""
    binary = transaction.envelope.body is Body.BINARY_MIME
    if offers.chunking and (binary or (bdat and offers.pipelining)):
        return Gated(Chunks(transaction.size, binary=binary, at_once=not offers.pipelining))
    return Gated(Dots())
