"""
Take content out of the chunks that follow BDAT (RFC 3030).

Owns: where a chunk ends; the line ends of text that is cut between chunks.
Never: reads the command, keeps content, counts its size, answers.
Fails: never; what is wrong with the content is an attribute of the decoder.
"""

from __future__ import annotations

from mta.smtp.content import MAX_TEXT_LINE, ContentDecoder


class ChunkDecoder(ContentDecoder):
    """
    Decodes one message that comes in chunks; `begin` each of them, then `feed` until `finished`.

    `binary` content (RFC 3030 3) passes as it is; text is held to the same as behind DATA, over the borders of chunks.
    """

    __slots__ = ("_binary", "_held", "_left", "last")

    def __init__(self, binary: bool, normalize: bool = False, text_line: int = MAX_TEXT_LINE) -> None:
        super().__init__(normalize, text_line)
        self._binary = binary
        self._held = b""
        self._left = 0
        self.last = False

    def begin(self, size: int, last: bool) -> None:
        """The next `size` octets are a chunk. One of no octets is finished at once, when it has been fed nothing."""
        self._left = size
        self.last = last
        self.finished = False
        self.rest = b""

    def feed(self, data: bytes) -> bytes:
        """The content out of `data`; a CR at its end may wait for what comes next, in this chunk or another."""
        chunk = data[: self._left]
        self._left -= len(chunk)
        if not self._left:
            self.finished = True
            self.rest = data[len(chunk) :]
        if self._binary:
            return chunk
        if self._held:
            chunk = self._held + chunk
            self._held = b""
        if chunk.endswith(b"\r") and not (self.finished and self.last):
            self._held = b"\r"
            chunk = chunk[:-1]
        content = self._with_whole_line_ends(chunk)
        if not self.long_line:
            self._measure(content)
        return content
