"""
The stages of a client's session.

Owns: their names, the phase of each in an outcome, and which positive replies have a place there.
Never: moves from one to another; that is `mta/smtp/client.py`.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from enum import Enum

from mta.outcome import Phase


class Stage(Enum):
    """What comes next: the reply to this command, or, in HANDSHAKE, READY and CONTENT, the caller's turn."""

    GREETING = "greeting"
    EHLO = "EHLO"
    LHLO = "LHLO"
    HELO = "HELO"
    STARTTLS = "STARTTLS"
    HANDSHAKE = "the TLS handshake"
    AUTH = "AUTH"
    READY = "ready"
    MAIL = "MAIL"
    RCPT = "RCPT"
    DATA = "DATA"
    CONTENT = "content"
    FINAL_DOT = "the final dot"
    CHUNK = "a chunk of the content"
    LAST_CHUNK = "the last chunk"
    EMPTY_DOT = "an empty message"
    RSET = "RSET"
    QUIT = "QUIT"
    ENDED = "ended"


PHASES: Mapping[Stage, Phase] = {
    Stage.GREETING: Phase.GREETING,
    Stage.EHLO: Phase.HELLO,
    Stage.LHLO: Phase.HELLO,
    Stage.HELO: Phase.HELLO,
    Stage.STARTTLS: Phase.TLS,
    Stage.HANDSHAKE: Phase.TLS,
    Stage.AUTH: Phase.AUTH,
    Stage.READY: Phase.MAIL,
    Stage.MAIL: Phase.MAIL,
    Stage.RCPT: Phase.RCPT,
    Stage.DATA: Phase.DATA,
    Stage.CONTENT: Phase.CONTENT,
    Stage.FINAL_DOT: Phase.END_OF_DATA,
    Stage.CHUNK: Phase.CONTENT,
    Stage.LAST_CHUNK: Phase.END_OF_DATA,
    Stage.EMPTY_DOT: Phase.DATA,
    Stage.RSET: Phase.MAIL,
    Stage.QUIT: Phase.MAIL,
    Stage.ENDED: Phase.MAIL,
}

_NONE = range(0)
_COMPLETED = range(200, 300)

# RFC 5321 4.3.2 has 220 and 250 alone for the first three; a 220 to EHLO is the second greeting of a server that is out
# of step from the start. What is positive and not listed was no answer to this.
WELCOME: Mapping[Stage, Container[int]] = {
    Stage.GREETING: range(220, 221),
    Stage.EHLO: range(250, 251),
    Stage.LHLO: range(250, 251),
    Stage.HELO: range(250, 251),
    Stage.STARTTLS: range(220, 221),  # RFC 3207 4
    Stage.HANDSHAKE: _NONE,
    Stage.AUTH: frozenset((235, 334)),  # RFC 4954 6
    Stage.READY: _NONE,
    Stage.MAIL: _COMPLETED,
    Stage.RCPT: _COMPLETED,
    Stage.DATA: range(300, 400),
    Stage.CONTENT: _NONE,
    Stage.FINAL_DOT: _COMPLETED,
    Stage.CHUNK: _COMPLETED,
    Stage.LAST_CHUNK: _COMPLETED,
    Stage.EMPTY_DOT: _COMPLETED,
    Stage.RSET: _COMPLETED,
    Stage.QUIT: _COMPLETED,
    Stage.ENDED: _NONE,
}

# While one of these replies is due the server may have the whole message.
COMPLETING = frozenset((Stage.FINAL_DOT, Stage.LAST_CHUNK))

# For "the server did this while ...".
WAITING: Mapping[Stage, str] = {stage: f"we waited for the reply to {stage.value}" for stage in Stage} | {
    Stage.GREETING: "we waited for its greeting",
    Stage.READY: "it was idle",
    Stage.CONTENT: "we sent the content",
    Stage.HANDSHAKE: "TLS was negotiated",
}
