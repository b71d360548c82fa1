"""
A message that a local user hands in: completed the same at every cut, its body and all lines of its header kept.

Completing it twice changes nothing more.
"""

from __future__ import annotations

from fuzz.input import options, segmentations, text
from mta.address import Address
from mta.message.completion import MAX_HEADER, Completion
from mta.smtp.content import with_crlf

SENDER = Address("alice", "local.test")

# What bytes of this kind are made of; the fuzzer puts them in.
WORDS = (
    b"From: a\r\n",
    b"Sender: <a>\r\n",
    b"From: a.b\r\n c\r\n",
    b"Date: x\r\n",
    b"Message-ID: x\r\n",
    b"\r\n\r\n",
    b"\r\n ",
    b"\r\n\t",
    b" :",
    b"from:",
)


def _completed(pieces: list[bytes]) -> bytes:
    completion = Completion(sender=SENDER, full_name="A B", hostname="mx.test", identity="ID", at=1.7e9)
    out, given = b"", b""
    for piece in pieces:
        out += completion.feed(piece)
        given += piece
        assert not (completion._held and b"\r\n\r\n" in given), "held though the header is over"
        assert len(completion._held) <= MAX_HEADER + len(piece)
    return out + completion.finish()


def target(data: bytes) -> None:
    """The first octet is the seed of the cuts."""
    seed, _ = options(data)
    content = with_crlf(text(data))
    whole = _completed([content])
    if len(content) < MAX_HEADER:
        for pieces in segmentations(content, seed):
            assert _completed(pieces) == whole, (pieces, whole)
        assert _completed([whole]) == whole, (content, whole)
    assert whole.count(b"\r\n") == whole.count(b"\n") == whole.count(b"\r"), whole
    _, blank, body = content.partition(b"\r\n\r\n")
    if blank:
        assert whole.endswith(blank + body), (content, whole)
