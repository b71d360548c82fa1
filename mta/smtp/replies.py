"""
Every reply the server gives, declared once.

Owns: codes, enhanced codes, texts, and docs/replies.md, which is rendered from here.
Never: decides when a reply is given.

A text says what is wrong and what to do about it. Write the page anew with
``python -m mta.smtp.replies > docs/replies.md``.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

from mta.reply import Reply


@dataclass(frozen=True, slots=True)
class ServerReply:
    """
    One entry of the catalog.

    `text` may hold ``{fields}``: then `fill` makes the reply. Where it holds none, `reply` and `wire` are ready made;
    of an entry with fields they show the names of the fields.
    """

    code: int
    enhanced: str | None
    text: str
    meaning: str
    source: str
    reply: Reply = field(init=False)
    wire: bytes = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "reply", Reply(self.code, (self.text,), self.enhanced))
        object.__setattr__(self, "wire", self.reply.encode())

    def fill(self, **fields: str) -> Reply:
        """The reply with `fields` in its text; `Reply.encode` makes them harmless."""
        return Reply(self.code, (self.text.format(**fields),), self.enhanced)


# RFC 2034 4: the greeting, the answer to a hello and 3xx replies carry no enhanced code.

GREETING = ServerReply(220, None, "{hostname} ESMTP", "The greeting: say EHLO.", "RFC 5321 4.2")
GOODBYE = ServerReply(221, "2.0.0", "{hostname} closing the connection", "QUIT was understood.", "RFC 5321 4.1.1.10")
HELP = ServerReply(
    214,
    "2.0.0",
    "Commands: HELO EHLO MAIL RCPT DATA RSET NOOP HELP VRFY QUIT",
    "The commands that this server knows.",
    "RFC 5321 4.1.1.8",
)
HELLO = ServerReply(
    250, None, "{hostname}", "HELO or EHLO was understood; after EHLO the extensions follow.", "RFC 5321 4.1.1.1"
)
OK = ServerReply(250, "2.0.0", "Ok", "NOOP or RSET was done.", "RFC 5321 4.1.1.5, 4.1.1.9")
SENDER_OK = ServerReply(250, "2.1.0", "Ok", "The sender is accepted.", "RFC 5321 4.1.1.2")
RECIPIENT_OK = ServerReply(250, "2.1.5", "Ok", "The recipient is accepted.", "RFC 5321 4.1.1.3")
QUEUED = ServerReply(
    250,
    "2.0.0",
    "Ok: queued as {queue_id}",
    "The message is safe on disk under this queue id, and this server is responsible for it.",
    "RFC 5321 4.2.5, 6.1",
)
CANNOT_VERIFY = ServerReply(
    252,
    "2.0.0",
    "Cannot say whether this mailbox exists; send the message and see",
    "VRFY is understood, but would tell address harvesters who lives here.",
    "RFC 5321 3.5.3, 7.3",
)
START_DATA = ServerReply(354, None, "Send the message; end it with <CR><LF>.<CR><LF>", "Go ahead.", "RFC 5321 4.1.1.4")

SHUTTING_DOWN = ServerReply(
    421, "4.3.2", "{hostname} is shutting down; try again later", "The server stops or restarts.", "RFC 5321 3.8"
)
TOO_MANY_CONNECTIONS = ServerReply(
    421,
    "4.3.2",
    "{hostname} has too many connections; try again later",
    "All of `limits.connections` are taken.",
    "RFC 5321 3.8, 7.8",
)
TOO_MANY_FROM_CLIENT = ServerReply(
    421,
    "4.7.0",
    "{hostname} has too many connections from your address; close one first",
    "The client has `limits.connections_per_client` connections already.",
    "RFC 5321 7.8",
)
TOO_FAST = ServerReply(
    421,
    "4.7.0",
    "{hostname} got too many connections from your address within a minute; slow down",
    "The client made `limits.connection_rate` connections in the last minute.",
    "RFC 5321 7.8",
)
IDLE_TOO_LONG = ServerReply(
    421,
    "4.4.2",
    "{hostname} has waited too long; connect again",
    "The client sent nothing for `limits.idle_timeout`, under stress for 10 seconds.",
    "RFC 5321 4.5.3.2.7",
)
TOO_MANY_ERRORS = ServerReply(
    421,
    "4.7.0",
    "{hostname} got too many errors from you; mend the client and connect again",
    "The session made `limits.errors_hard` errors since its last message.",
    "RFC 5321 4.3.2, 7.8",
)
TOO_MANY_MESSAGES = ServerReply(
    421,
    "4.7.0",
    "{hostname} takes no more messages in this session; connect again",
    "The session sent `limits.messages_per_session` messages.",
    "RFC 5321 7.8",
)
FAULT = ServerReply(
    451,
    "4.3.0",
    "Fault of this server, nothing was queued; try again later",
    "The spool could not store the message, or the server has a bug; its log says more.",
    "RFC 5321 4.2.2, RFC 3463 3.4",
)
NO_ROOM = ServerReply(
    452, "4.3.1", "Not enough room on disk; try again later", "The disk is nearly full.", "RFC 5321 4.1.1.2, 4.2.2"
)
TOO_MANY_RECIPIENTS = ServerReply(
    452,
    "4.5.3",
    "Too many recipients; send the message to these first, then to the rest",
    "The message has `limits.recipients` recipients already; they stay accepted.",
    "RFC 5321 4.5.3.1.10",
)

UNKNOWN_COMMAND = ServerReply(
    500, "5.5.1", "Command not recognized; HELP lists those that are", "No command of SMTP.", "RFC 5321 4.2.4"
)
BAD_LINE = ServerReply(
    500,
    "5.5.2",
    "Syntax error: a command is printable ASCII and ends in <CR><LF>",
    "The line is empty, does not begin with a word, or holds a bare CR or LF, a NUL, or octets above 127.",
    "RFC 5321 2.3.8, 2.4, 4.2.2",
)
LINE_TOO_LONG = ServerReply(
    500, "5.5.2", "Command line too long", "The line has more than `limits.command_line` octets.", "RFC 5321 4.5.3.1.4"
)
TEXT_LINE_TOO_LONG = ServerReply(
    500,
    "5.6.0",
    "The message has a line that is too long; encode it (RFC 2045)",
    "A line of the content has more than `limits.text_line` octets.",
    "RFC 5321 4.5.3.1.6, 4.5.3.1.9",
)
BAD_SYNTAX = ServerReply(
    501, "5.5.4", "Syntax: {syntax}", "The command's argument is missing or malformed.", "RFC 5321 4.1.1, 4.2.2"
)
BAD_PARAMETER = ServerReply(
    501,
    "5.5.4",
    "Parameter is malformed or given twice: {parameter}",
    "A parameter of MAIL breaks the grammar, has an impossible value or repeats.",
    "RFC 5321 4.1.2, 4.1.1.11",
)
BAD_SENDER = ServerReply(501, "5.1.7", "Bad sender: {reason}", "MAIL holds no valid reverse-path.", "RFC 5321 4.1.2")
BAD_RECIPIENT = ServerReply(501, "5.1.3", "Bad recipient: {reason}", "RCPT holds no valid path.", "RFC 5321 4.1.2")
NOT_IMPLEMENTED = ServerReply(
    502,
    "5.5.1",
    "Command not implemented here",
    "A command of SMTP or of an extension that EHLO does not offer.",
    "RFC 5321 4.2.4, F.1, F.6",
)
HELLO_FIRST = ServerReply(503, "5.5.1", "Send EHLO first", "MAIL came before a hello.", "RFC 5321 4.1.4")
MAIL_FIRST = ServerReply(503, "5.5.1", "Send MAIL first", "RCPT or DATA came before MAIL.", "RFC 5321 3.3, 4.1.4")
NESTED_MAIL = ServerReply(
    503, "5.5.1", "A message is under way; finish it or send RSET", "MAIL came twice.", "RFC 5321 4.1.4"
)
NO_SUCH_USER = ServerReply(
    550, "5.1.1", "<{recipient}>: no such user here", "The domain is local, the user is not.", "RFC 5321 3.3"
)
RELAY_DENIED = ServerReply(
    550,
    "5.7.1",
    "<{recipient}>: this server does not relay for you",
    "The domain is neither local nor in `relay.domains`, and the client is not in `relay.networks`.",
    "RFC 5321 3.6.2",
)
BARE_NEWLINE = ServerReply(
    550,
    "5.5.2",
    "The message holds a bare <CR> or <LF>; lines must end in <CR><LF>",
    "Refused, because servers disagree where such a line ends: it can hide a second message.",
    "RFC 5321 2.3.8, 4.1.1.4",
)
TOO_LARGE = ServerReply(
    552,
    "5.3.4",
    "The message is too large; the limit is {limit} octets",
    "SIZE declares, or the content has, more than `limits.message_size`.",
    "RFC 1870 6",
)
NOT_ASCII = ServerReply(
    553,
    "5.6.7",
    "An address must be ASCII here: SMTPUTF8 is not offered",
    "A path in MAIL or RCPT holds octets above 127.",
    "RFC 6531 3.5, RFC 5321 2.4",
)
SPOKE_EARLY = ServerReply(
    554,
    None,
    "{hostname} has not greeted you yet: wait for the greeting before you speak",
    "The client sent data before the greeting, as no mail server does.",
    "RFC 5321 3.1, 4.3.1",
)
OUT_OF_TURN = ServerReply(
    554,
    "5.5.0",
    "Wait for the reply to this command before you send more",
    "Data stood behind HELO, EHLO or DATA, or was pipelined without EHLO; the connection is closed.",
    "RFC 2920 3.1",
)
NO_VALID_RECIPIENTS = ServerReply(
    554, "5.5.1", "No valid recipients", "DATA came, but no RCPT was accepted.", "RFC 5321 3.3"
)
TOO_MANY_HOPS = ServerReply(
    554,
    "5.4.6",
    "Too many hops: the message seems to go round in a loop",
    "The header has more than `limits.hops` Received fields.",
    "RFC 5321 6.3",
)
UNKNOWN_PARAMETER = ServerReply(
    555,
    "5.5.4",
    "Parameter not offered here: {parameter}",
    "MAIL or RCPT has a parameter of an extension that EHLO does not offer.",
    "RFC 5321 4.1.1.11",
)

CATALOG = {name: entry for name, entry in list(globals().items()) if isinstance(entry, ServerReply)}


def render() -> str:
    """docs/replies.md: one row for each reply, by code."""
    rows = [
        f"| {entry.code} | {entry.enhanced or ''} | {_cell(entry.text)} | {_cell(entry.meaning)} | {entry.source} |\n"
        for entry in sorted(CATALOG.values(), key=lambda entry: (entry.code, entry.enhanced or ""))
    ]
    return (
        "# Replies\n\n"
        "Every reply of the SMTP server, rendered from `mta/smtp/replies.py`. Words in braces are filled in.\n\n"
        "| Code | Enhanced | Text | Meaning | Source |\n|---|---|---|---|---|\n" + "".join(rows)
    )


def _cell(text: str) -> str:
    """`text` for a cell of a table: what looks like HTML would vanish from the page."""
    return text.replace("<", "&lt;").replace(">", "&gt;").replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(render())
