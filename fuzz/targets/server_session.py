"""
A whole session of the server, from the socket's side, with any bytes from the client.

However the bytes are cut, the replies are the same; each command gets one reply, each message one (in LMTP one for each
recipient); no fault is logged; no more is buffered than a line and a read of the socket.
"""

from __future__ import annotations

from typing import Any

from fuzz.input import cut, options, text
from mta.smtp.replies import OUT_OF_TURN
from tests.policy.limits import limits_for_tests
from tests.server.fakes import STRANGER, TRUSTED, Client, Site, codes

COMMAND_LINE = 200
MESSAGE = 1000
LIMITS = limits_for_tests(
    command_line=COMMAND_LINE,
    message_size=MESSAGE,
    text_line=100,
    header_size=300,
    mime_depth=3,
    recipients=4,
    hops=2,
    errors_soft=3,
    messages_per_session=5,
)

# What bytes of this kind are made of; the fuzzer puts them in.
WORDS = (
    b"EHLO a\r\n",
    b"HELO a\r\n",
    b"LHLO a\r\n",
    b"MAIL FROM:<a@b.test>",
    b"MAIL FROM:<>",
    b"RCPT TO:<alice@local.test>",
    b"RCPT TO:<bob@local.test>",
    b"RCPT TO:<x@y.test>",
    b"RCPT TO:<postmaster>",
    b"DATA\r\n",
    b"\r\n.\r\n",
    b"BDAT 5\r\n",
    b"BDAT 0 LAST\r\n",
    b"BDAT 12 LAST\r\n",
    b"RSET\r\n",
    b"NOOP\r\n",
    b"VRFY alice\r\n",
    b"EXPN bob\r\n",
    b"HELP\r\n",
    b"QUIT\r\n",
    b"ETRN local.test\r\n",
    b" SIZE=",
    b" BODY=8BITMIME",
    b" BODY=BINARYMIME",
    b" SMTPUTF8",
    b" RET=HDRS",
    b" ENVID=a+2Bb",
    b" NOTIFY=SUCCESS,DELAY",
    b" ORCPT=rfc822;a+3Db",
    b"\r\n",
    b"\n",
    b"\r",
    b"\xc3\xa9",
    b"Received: x\r\n",
    b"Subject: x\r\n\r\n",
)


class _Session:
    """A site and one client, in one of the ways that the options choose."""

    def __init__(self, chosen: int) -> None:
        role = ("mx", "lmtp", "submission", "relay")[chosen & 3]
        self.lmtp = role == "lmtp"
        changed: dict[str, Any] = {"role": role}
        if chosen & 8:
            changed["bare_newlines"] = "normalize"
        if role == "relay":
            changed["etrn_domains"] = ["local.test"]
        self.site = Site(LIMITS, **changed)
        self.site.spool.slow = bool(chosen & 16)
        self.site.spool.full = bool(chosen & 32)
        self.client: Client = self.site.connect(TRUSTED if chosen & 4 else STRANGER)
        self.greeting = self.client.heard()
        self.replies = b""

    def send(self, data: bytes) -> bytes:
        """The replies to a piece of the client's bytes, once the server is ready for the next."""
        server, spool = self.client.server, self.site.spool
        heard = self.client.say(data)
        while self.client.open and server.waiting:
            if spool.room:
                spool.make_room()
            elif spool.waiting:
                spool.finish()
            else:
                self.site.clock.advance(LIMITS.error_delay)  # after too many errors
            heard += self.client.heard()
        self.replies += heard
        self._check(len(data))
        return heard

    def _check(self, read: int) -> None:
        faults = [fields for kind, fields in self.site.log if kind == "fault"]
        assert not faults, faults
        buffered = len(self.client.server._buffer)
        assert buffered <= COMMAND_LINE + read, f"{buffered} octets wait"
        stored = max((len(each.data) for each in self.site.spool.received), default=0)
        assert stored <= MESSAGE + read + 1000, f"{stored} octets stored"


def _octet_by_octet(session: _Session, data: bytes) -> None:
    """Send single octets, and see that replies come where they belong and nowhere else."""
    line = b""
    for number in range(len(data)):
        octet = data[number : number + 1]
        was_open, was_in_content = session.client.open, session.client.server.in_content
        heard = session.send(octet)
        replies = codes(heard)
        assert heard.endswith(b"\r\n") or not heard, heard
        if not was_open:
            assert not heard, heard
            continue
        line += octet
        if was_in_content:  # or within a line that is too long
            assert len(replies) <= 1 or (session.lmtp and len(set(replies)) == 1), heard
            assert not (replies and session.client.open and session.client.server.in_content), heard
            line = b""
        elif line.endswith(b"\r\n"):
            begins_chunk = line[:4].upper() == b"BDAT" and session.client.server.in_content
            wanted = 0 if begins_chunk else 1
            assert len(replies) == wanted or (session.lmtp and _ends_message(line, replies)), (line, heard)
            line = b""
        else:
            assert not replies, (line, heard)


def _ends_message(line: bytes, replies: list[str]) -> bool:
    """In LMTP the command that ends the content without a further octet of it has a reply for each recipient."""
    return line[:4].upper() == b"BDAT" and len(set(replies)) == 1


def target(data: bytes) -> None:
    """The first octet chooses the listener and the client, the second how the bytes are cut."""
    chosen, data = options(data)
    seed, _ = options(data)
    sent = text(data)[:8192]
    single = _Session(chosen)
    _octet_by_octet(single, sent)
    pieces = _Session(chosen)
    for piece in cut(sent, seed):
        pieces.send(piece)
    if pieces.replies == single.replies:
        return
    # RFC 2920 3.1: a client that sends on behind a command that ends a group is cut off, and only when the bytes arrive
    # together can that be seen.
    kept = pieces.replies.removesuffix(OUT_OF_TURN.wire)
    assert pieces.replies[len(kept) :] == OUT_OF_TURN.wire, (pieces.replies, single.replies)
    assert not pieces.client.open, (pieces.replies, single.replies)
    assert single.replies.startswith(kept), (pieces.replies, single.replies)
