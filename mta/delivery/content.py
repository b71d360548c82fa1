"""
Read a message's content piece by piece, and let a transport pull it.

Owns: the order of chunks, the end of the content, the size of a write.
Never: holds more than one chunk, changes a byte.
Fails: `ContentError` where the content ends before its size: half a message must not pass for a whole one.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IPullProducer
from twisted.python.failure import Failure
from zope.interface import implementer

from mta.interfaces import IContent

# The timeout for a block starts anew with each write that has left us: 64 KiB in 180 s is a peer with 364 octets a
# second, near the 500 that Postfix asks for at least. It is also what a connection holds of the content.
PIECE = 64 * 1024


class ContentError(Exception):
    """The content in the spool is not what it should be."""


@implementer(IContent)
class WholeContent:
    """Content that we made ourselves, in memory."""

    def __init__(self, data: bytes) -> None:
        self.size = len(data)
        self._data = data

    def whole(self) -> bytes:
        return self._data

    def chunk(self, index: int) -> Deferred[bytes]:
        return succeed(b"" if index else self._data)


class ContentReader:
    """Reads the chunks of `content` in order."""

    def __init__(self, content: IContent) -> None:
        self._content = content
        self._index = 0
        self._seen = 0

    def next_chunk(self) -> Deferred[bytes]:
        """The next chunk, b"" behind the last. Fails with `ContentError`, or with what the spool fails with."""
        if self._seen >= self._content.size:
            return succeed(b"")
        index, self._index = self._index, self._index + 1
        return self._content.chunk(index).addCallback(self._counted)

    def _counted(self, data: bytes) -> bytes:
        if not data:
            raise ContentError(f"the content ends after {self._seen} of {self._content.size} octets")
        self._seen += len(data)
        return data


@implementer(IPullProducer)
class ContentProducer:
    """
    Gives content to a transport that asks for more whenever it has sent everything.

    `send` gets each piece; then either `ended` is called, or `failed` with the reason.
    """

    def __init__(
        self,
        content: IContent,
        send: Callable[[bytes], None],
        ended: Callable[[], None],
        failed: Callable[[Failure], None],
    ) -> None:
        self._reader = ContentReader(content)
        self._send = send
        self._ended = ended
        self._failed = failed
        self._chunk = b""
        self._offset = 0
        self._reading = False
        self._stopped = False

    def resumeProducing(self) -> None:
        if self._stopped or self._reading:
            return
        if self._offset < len(self._chunk):
            self._send_piece()
        else:
            self._reading = True
            self._reader.next_chunk().addCallback(self._chunk_read).addErrback(self._fault)

    def stopProducing(self) -> None:
        self._stopped = True
        self._chunk = b""

    def _chunk_read(self, data: bytes) -> None:
        self._reading = False
        if self._stopped:
            return
        self._chunk, self._offset = data, 0
        if data:
            self._send_piece()
        else:
            self._stopped = True
            self._ended()

    def _send_piece(self) -> None:
        start, self._offset = self._offset, self._offset + PIECE
        self._send(self._chunk[start : self._offset])

    def _fault(self, fault: Failure) -> None:
        if not self._stopped:
            self.stopProducing()
            self._failed(fault)
