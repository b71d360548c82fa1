"""
Content behind DATA: what was encoded is decoded to the same, and any bytes decode to the same, at every cut.

Nothing is added or lost: content, the end and the rest are all that came; no more than four octets are held back.
"""

from __future__ import annotations

from fuzz.input import options, segmentations, text
from mta.smtp.content import with_crlf
from mta.smtp.dots import DotDecoder, DotEncoder


def _decoded(pieces: list[bytes], normalize: bool) -> tuple[bytes, bool, bytes, bool, bool]:
    decoder = DotDecoder(normalize, text_line=100)
    content, given, taken = b"", 0, 0
    for number, piece in enumerate(pieces):
        got = decoder.feed(piece)
        content += got
        given += len(piece)
        taken += len(got)
        if decoder.finished:
            rest = decoder.rest + b"".join(pieces[number + 1 :])
            return content, True, rest, decoder.bare_newlines, decoder.long_line
        assert len(decoder._held) <= 4, decoder._held
        assert given - taken <= 4 + given // 2 or normalize, "octets are missing"
    return content, False, b"", decoder.bare_newlines, decoder.long_line


def target(data: bytes) -> None:
    """The first octet is the seed of the cuts, its lowest bit whether bare newlines are mended."""
    seed, _ = options(data)
    normalize = bool(seed & 1)
    content = text(data)
    # Any bytes from a client.
    whole = _decoded([content], normalize)
    for pieces in segmentations(content, seed):
        assert _decoded(pieces, normalize) == whole, (pieces, whole)
    # Content of ours, on its way to a server and back.
    expected = with_crlf(content)
    if expected and not expected.endswith(b"\r\n"):
        expected += b"\r\n"
    for pieces in segmentations(content, seed):
        encoder = DotEncoder()
        wire = b"".join(map(encoder.feed, pieces)) + encoder.finish()
        assert wire.count(b"\r\n") == wire.count(b"\r") == wire.count(b"\n"), wire
        decoded = _decoded([wire + b"NOOP\r\n"], normalize=False)
        assert decoded[:4] == (expected, True, b"NOOP\r\n", False), (expected, decoded)
