"""
A whole session of the server, from the socket's side, with any bytes from the client.

However the bytes are cut, the replies are the same; each command gets one reply, each message one (in LMTP one for each
recipient); no fault is logged; no more is buffered than a line and a read of the socket.
"""

from __future__ import annotations

import re
from typing import Any

from fuzz.input import cut, options, text
from mta.smtp.replies import OUT_OF_TURN
from tests.policy.limits import limits_for_tests
from tests.server.fakes import STRANGER, TRUSTED, Client, Site, codes

COMMAND_LINE = 200
MESSAGE = 1000
# RFC 2920 3.1: what may be sent at once, up to a command that ends a group.
_GROUPS = re.compile(rb".*?(?:^|(?<=\n))(?:EHLO|LHLO|HELO|DATA)[^\n]*\n|.+", re.DOTALL | re.IGNORECASE)
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
    accepted = 0  # recipients of the message under way
    server = session.client.server
    for number in range(len(data)):
        octet = data[number : number + 1]
        was_open, was_in_content = session.client.open, server.in_content
        heard = session.send(octet)
        replies = codes(heard)
        assert heard.endswith(b"\r\n") or not heard, heard
        if not was_open:
            assert not heard, heard
            continue
        line += octet
        # RFC 2033 4.2: in LMTP the end of a message has a reply for each recipient.
        ends = {1, accepted or 1} if session.lmtp else {1}
        if was_in_content:  # or within a line that is too long
            assert not replies or len(replies) in ends, (accepted, heard)
            assert not (replies and session.client.open and server.in_content), heard
            line = b""
        elif line.endswith(b"\r\n"):
            is_chunk = line[:4].upper() == b"BDAT"
            wanted = {0} if is_chunk and server.in_content else ends if is_chunk else {1}
            assert len(replies) in wanted, (line, heard)
            if line[:4].upper() == b"RCPT" and replies[0].startswith("2"):
                accepted += 1
            line = b""
        else:
            assert not replies, (line, heard)
        if server._session is None or not server._session.in_transaction:
            accepted = 0


def _cut(sent: bytes, seed: int) -> list[bytes]:
    """As they come from a network that splits and joins, from a client that waits for nothing, or from a good one."""
    match seed & 3:
        case 0:
            return list(cut(sent, seed))
        case 1:
            return [sent]
    return _GROUPS.findall(sent)


def target(data: bytes) -> None:
    """The first octet chooses the listener and the client, the second how the bytes are cut."""
    chosen, data = options(data)
    seed, _ = options(data)
    sent = text(data)[:8192]
    single = _Session(chosen)
    _octet_by_octet(single, sent)
    pieces = _Session(chosen)
    for piece in _cut(sent, seed):
        pieces.send(piece)
    if pieces.replies == single.replies:
        return
    # RFC 2920 3.1: a client that sends on behind a command that ends a group is cut off, and only when the bytes arrive
    # together can that be seen.
    kept = pieces.replies.removesuffix(OUT_OF_TURN.wire)
    assert pieces.replies[len(kept) :] == OUT_OF_TURN.wire, (pieces.replies, single.replies)
    assert not pieces.client.open, (pieces.replies, single.replies)
    assert single.replies.startswith(kept), (pieces.replies, single.replies)
