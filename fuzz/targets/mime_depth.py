"""
Parts within parts, declared by anybody: the same verdict at every cut, in linear time, with no more held than a header.
"""

from __future__ import annotations

from fuzz.input import options, segmentations, text
from mta.message.headers import MAX_HEADERS
from mta.message.mime_depth import MAX_LINE, MimeDepth

# What bytes of this kind are made of; the fuzzer puts them in.
WORDS = (
    b"Content-Type: multipart/mixed; boundary=b\r\n\r\n",
    b'Content-Type: multipart/digest; boundary="c"\r\n\r\n',
    b"Content-Type: message/rfc822\r\n\r\n",
    b"\r\n--b\r\n",
    b"\r\n--b--\r\n",
    b"\r\n--c\r\n",
    b"\n--c--\n",
    b"; boundary=",
    b'; x="',
    b'\\"',
    b"\r\n ",
    b"\r\n",
)


def _too_deep(pieces: list[bytes], limit: int) -> bool:
    depth = MimeDepth(limit)
    for piece in pieces:
        depth.feed(piece)
        assert len(depth._held) <= MAX_HEADERS + MAX_LINE + len(piece), len(depth._held)
        assert len(depth._levels) <= limit + 1
        assert len(depth._boundaries) <= limit + 1
    return depth.too_deep


def target(data: bytes) -> None:
    """The first octet is the seed of the cuts, its low bits the limit."""
    seed, _ = options(data)
    content = text(data)
    limit = (1, 2, 5, 100)[seed & 3]
    whole = _too_deep([content], limit)
    for pieces in segmentations(content, seed):
        assert _too_deep(pieces, limit) == whole, (pieces, whole)
    assert not (whole and not _too_deep([content], limit - 1)), "too deep, but not for a lower limit"
