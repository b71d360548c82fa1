"""
What a session asks of its caller.

Owns: the questions that are no command of themselves; those that are stand in `mta/smtp/commands.py`.
Never: answers one.
"""

from __future__ import annotations

from dataclasses import dataclass

from mta.envelope import Envelope
from mta.smtp.commands import Etrn, Expand, Hello, MailFrom, RcptTo, Verify
from mta.smtp.xclient import Xclient


@dataclass(frozen=True, slots=True)
class StartData:
    """DATA: the envelope is complete; is there a place for the content?"""

    envelope: Envelope


@dataclass(frozen=True, slots=True)
class StartChunk:
    """
    BDAT: a chunk follows, welcome or not; hand over content until `ServerSession.ended`, and then ask for the reply.

    There is nothing to answer. The place for the content is to be made with the first chunk, unless the message is
    `ServerSession.condemned`.
    """


@dataclass(frozen=True, slots=True)
class EndOfData:
    """The content is complete and acceptable: commit it, then answer with `ServerSession.queued`."""

    envelope: Envelope


@dataclass(frozen=True, slots=True)
class StartTls:
    """
    STARTTLS: can there be TLS now?

    Behind a yes, whose reply is the last word in clear, drop what the peer has sent and begin the handshake; then call
    `ServerSession.secured`, or close the connection.
    """


@dataclass(frozen=True, slots=True)
class Authenticate:
    """AUTH: begin this mechanism, with the `initial` response where there is one; `authenticated` takes the answer."""

    mechanism: str
    initial: bytes | None


@dataclass(frozen=True, slots=True)
class Respond:
    """The client's response to the challenge told last; `authenticated` takes the answer."""

    data: bytes


Question = (
    Hello
    | MailFrom
    | RcptTo
    | Verify
    | Expand
    | Etrn
    | Xclient
    | StartData
    | StartChunk
    | EndOfData
    | StartTls
    | Authenticate
    | Respond
)
