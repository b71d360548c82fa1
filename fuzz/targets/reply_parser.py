"""
Any bytes from a server: the same replies, then the same error, at every cut; nothing held beyond a line and a reply.

A reply is what stood on the wire: its code is the three digits of its lines, and no control character gets through.
"""

from __future__ import annotations

from fuzz.input import options, segmentations, text
from mta.reply import Reply
from mta.smtp.reply_parser import MAX_LINE, MAX_LINES, MAX_REPLY, ReplyError, ReplyParser

# What bytes of this kind are made of; the fuzzer puts them in.
WORDS = (
    b"220 x\r\n",
    b"250-x\r\n",
    b"250 x\r\n",
    b"550 5.1.1 x\r\n",
    b"550-5.1.1 x\r\n",
    b"421 4.3.2 x\r\n",
    b"250\r\n",
    b"\r\n",
    b"\n",
    b"\r",
    b"\xc2\x85",
)


def _parsed(pieces: list[bytes]) -> tuple[list[Reply], str]:
    parser = ReplyParser()
    replies: list[Reply] = []
    for piece in pieces:
        parser.feed(piece)
        try:
            while (reply := parser.next_reply()) is not None:
                replies.append(reply)
        except ReplyError as error:
            return replies, str(error)
        assert len(parser._buffer) < MAX_LINE, len(parser._buffer)
        assert len(parser._lines) <= MAX_LINES
        assert parser._octets <= MAX_REPLY
    return replies, ""


def target(data: bytes) -> None:
    """The first octet is the seed of the cuts."""
    seed, _ = options(data)
    said = text(data)
    replies, error = _parsed([said])
    assert error.isascii()
    assert error.isprintable()
    lines = iter(said.split(b"\n"))
    for reply in replies:
        starts = [next(lines)[:4] for _ in reply.lines]
        assert {start[:3] for start in starts} == {b"%d" % reply.code}, (reply, starts)
        assert [start[3:] == b"-" for start in starts] == [True] * (len(starts) - 1) + [False], (reply, starts)
        assert 200 <= reply.code <= 599, reply
        assert all(line.isprintable() for line in reply.lines), reply
        assert reply.enhanced is None or reply.enhanced[0] == str(reply.code)[0], reply
        again, trouble = _parsed([reply.encode()])
        assert trouble or [each.code for each in again] == [reply.code], (reply, again)
    for pieces in segmentations(said, seed):
        cut_replies, cut_error = _parsed(pieces)
        assert cut_replies == replies, (replies, cut_replies)
        assert bool(cut_error) == bool(error), (error, cut_error)
