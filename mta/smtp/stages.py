"""
Where a session of the server stands, and which command leads where (RFC 5321 4.1.4).

Owns: the stages, the table of moves, and the reply to a command that comes out of order.
Never: does what a command asks.
"""

from __future__ import annotations

from enum import Enum

from mta.smtp import message_replies, replies


class Stage(Enum):
    """Where a session stands."""

    CONNECTED = "connected"  # no hello yet
    READY = "ready"
    MAIL = "mail"  # the sender is known
    RCPT = "rcpt"  # and at least one recipient
    DATA = "data"  # content arrives
    CHUNK = "chunk"  # a part of the content arrives
    CHUNKS = "chunks"  # and another part is to follow
    HANDSHAKE = "handshake"  # TLS is being negotiated, no command is read
    CLOSED = "closed"  # the last reply was given


_HELLO = {b"HELO": Stage.READY, b"EHLO": Stage.READY, b"LHLO": Stage.READY}
_ANYTIME = {**_HELLO, b"RSET": Stage.READY}
_QUIT = {b"QUIT": Stage.CLOSED}

# What is not here is a 503 that changes nothing; commands that never move anything are not here either. "." is the end
# of the data, "+" that of a chunk which is not the last.
MOVES: dict[Stage, dict[bytes, Stage]] = {
    Stage.CONNECTED: {**_HELLO, b"RSET": Stage.CONNECTED, **_QUIT},
    Stage.READY: {**_ANYTIME, b"MAIL": Stage.MAIL, b"STARTTLS": Stage.HANDSHAKE, **_QUIT},
    Stage.MAIL: {**_ANYTIME, b"RCPT": Stage.RCPT, **_QUIT},
    Stage.RCPT: {**_ANYTIME, b"RCPT": Stage.RCPT, b"DATA": Stage.DATA, b"BDAT": Stage.CHUNK, **_QUIT},
    Stage.DATA: {b".": Stage.READY},
    Stage.CHUNK: {b"+": Stage.CHUNKS, b".": Stage.READY},
    # RFC 3030 2: DATA can't follow BDAT; RFC 5321 4.1.4 has the recipients before the content.
    Stage.CHUNKS: {**_ANYTIME, b"BDAT": Stage.CHUNK, **_QUIT},
    Stage.HANDSHAKE: {},
    Stage.CLOSED: {},
}

OUT_OF_ORDER = {
    (Stage.CONNECTED, b"MAIL"): replies.HELLO_FIRST,
    (Stage.CONNECTED, b"RCPT"): replies.HELLO_FIRST,
    (Stage.CONNECTED, b"DATA"): replies.HELLO_FIRST,
    (Stage.CONNECTED, b"BDAT"): replies.HELLO_FIRST,
    (Stage.CONNECTED, b"STARTTLS"): replies.HELLO_FIRST,
    (Stage.READY, b"RCPT"): message_replies.MAIL_FIRST,
    (Stage.READY, b"DATA"): message_replies.MAIL_FIRST,
    (Stage.READY, b"BDAT"): message_replies.MAIL_FIRST,
    (Stage.MAIL, b"MAIL"): message_replies.NESTED_MAIL,
    (Stage.RCPT, b"MAIL"): message_replies.NESTED_MAIL,
    (Stage.MAIL, b"STARTTLS"): message_replies.NESTED_MAIL,
    (Stage.RCPT, b"STARTTLS"): message_replies.NESTED_MAIL,
    (Stage.MAIL, b"DATA"): message_replies.NO_VALID_RECIPIENTS,
    (Stage.MAIL, b"BDAT"): message_replies.NO_VALID_RECIPIENTS,
    (Stage.CHUNKS, b"MAIL"): message_replies.CHUNKS_UNDER_WAY,
    (Stage.CHUNKS, b"RCPT"): message_replies.CHUNKS_UNDER_WAY,
    (Stage.CHUNKS, b"DATA"): message_replies.CHUNKS_UNDER_WAY,
    (Stage.CHUNKS, b"STARTTLS"): message_replies.CHUNKS_UNDER_WAY,
}
