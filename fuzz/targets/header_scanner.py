"""
A header section that comes from anybody: hops are counted the same at every cut, and fields found in linear time.

The header section is a prefix of the message, and that of itself.
"""

from __future__ import annotations

from fuzz.input import options, segmentations, text
from mta.message.automatic import is_automatic
from mta.message.headers import MAX_HEADERS, HopCounter, field, header_block

LIMIT = 500

# What bytes of this kind are made of; the fuzzer puts them in.
WORDS = (
    b"Received: x\r\n",
    b"Content-Type: x\r\n",
    b"Auto-Submitted: no\r\n",
    b"TLS-Required: No\r\n",
    b"Precedence: bulk\r\n",
    b"List-Id: x\r\n",
    b"\r\n\r\n",
    b"\n",
    b"\r\n ",
    b"\r\n\t",
    b":",
    b" :",
)


def _counted(pieces: list[bytes], limit: int) -> tuple[int, bool, bool]:
    counter = HopCounter(limit)
    for piece in pieces:
        counter.feed(piece)
        assert len(counter._line) <= 256, len(counter._line)
    return counter.hops, counter.too_long, counter.tls_not_required


def target(data: bytes) -> None:
    """The first octet is the seed of the cuts, its lowest bit whether the limit is a small one."""
    seed, _ = options(data)
    content = text(data)
    limit = LIMIT if seed & 1 else MAX_HEADERS
    whole = _counted([content], limit)
    for pieces in segmentations(content, seed):
        assert _counted(pieces, limit) == whole, (pieces, whole)
    header = header_block(content)
    assert content.startswith(header)
    assert header_block(header) == header, header
    for name in (b"content-type", b"Received", b"x"):
        value = field(header, name)
        assert value is None or not set("\r\n") & set(value), value
    is_automatic(header)
    hops, too_long, _ = _counted([header], MAX_HEADERS)
    if not (whole[1] or too_long):
        assert hops <= whole[0] <= hops + 1, (hops, whole)
