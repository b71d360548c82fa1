"""
What the server replies in a session: to its hello, to commands that are no part of a message, at its end.

Owns: codes, enhanced codes, texts; and docs/replies.md, which is rendered from here.
Never: decides when a reply is given, speaks of a message (`mta/smtp/message_replies.py`).

A text says what is wrong and what to do about it. Write the page anew with
``python -m mta.smtp.replies > docs/replies.md``.
"""

from __future__ import annotations

import sys

from mta.smtp import auth_replies, message_replies
from mta.smtp.server_reply import ServerReply, page

# RFC 2034 4: the greeting, the answer to a hello and 3xx replies carry no enhanced code.
GREETING = ServerReply(220, None, "{hostname} ESMTP", "The greeting: say EHLO.", "RFC 5321 4.2")
GREETING_LMTP = ServerReply(220, None, "{hostname} LMTP", "The greeting: say LHLO.", "RFC 2033 4.1")
START_TLS = ServerReply(
    220,
    "2.0.0",
    "Ready to start TLS",
    "STARTTLS: the handshake begins; what stood behind the command is dropped.",
    "RFC 3207 4",
)
GOODBYE = ServerReply(221, "2.0.0", "{hostname} closing the connection", "QUIT was understood.", "RFC 5321 4.1.1.10")
SYSTEM_HELP = ServerReply(
    211,
    "2.0.0",
    "{hostname} takes these commands:",
    "HELP: the commands that this client may use now; HELP and one of them tells more.",
    "RFC 5321 4.1.1.8, 4.2.2",
)
HELP = ServerReply(
    214, "2.0.0", "Syntax: {syntax}", "HELP and a command: its syntax and its source.", "RFC 5321 4.1.1.8, 4.2.2"
)
HELLO = ServerReply(
    250, None, "{hostname}", "HELO or EHLO was understood; after EHLO the extensions follow.", "RFC 5321 4.1.1.1"
)
OK = ServerReply(250, "2.0.0", "Ok", "NOOP or RSET was done.", "RFC 5321 4.1.1.5, 4.1.1.9")
VERIFIED = ServerReply(250, "2.1.5", "<{mailbox}>", "VRFY found this mailbox; of EXPN a member.", "RFC 5321 3.5.1")
TURNED = ServerReply(
    250, "2.0.0", "Queuing for {domain} started", "ETRN: what waits for the domain is tried now.", "RFC 1985 5"
)
NOTHING_WAITS = ServerReply(
    251, "2.0.0", "No messages wait for {domain}", "ETRN: the queue holds nothing for the domain.", "RFC 1985 5"
)
CANNOT_VERIFY = ServerReply(
    252,
    "2.0.0",
    "Cannot say whether this mailbox exists; send the message and see",
    "VRFY is understood, but would tell address harvesters who lives here; or the mailbox is not ours to know.",
    "RFC 5321 3.5.3, 7.3",
)
CANNOT_EXPAND = ServerReply(
    252,
    "2.0.0",
    "Cannot tell the members of this list",
    "EXPN is understood, but would tell address harvesters who is on the list; or nobody is.",
    "RFC 5321 3.5.3, 7.3",
)
CANNOT_WRITE = ServerReply(
    252,
    "2.6.8",
    "The answer is beyond ASCII and needs the parameter SMTPUTF8 of this command",
    "VRFY found the mailbox, or EXPN the members, and the client may be unable to read them.",
    "RFC 6531 3.7.4.2",
)

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
POLICY_TIMEOUT = ServerReply(
    451,
    "4.3.0",
    "This could not be decided in time; try again later",
    "A policy did not answer within `limits.policy_timeout`.",
    "RFC 5321 4.2.2, RFC 3463 3.4",
)
TLS_UNAVAILABLE = ServerReply(
    454,
    "4.7.0",
    "TLS not available for now; try again later",
    "STARTTLS, and none of `tls.certificates` can be used; the log says why.",
    "RFC 3207 4",
)
TURN_FAILED = ServerReply(
    458, "4.3.0", "Queuing for {domain} failed; try again later", "ETRN: the spool did not answer.", "RFC 1985 5"
)
TURN_TOO_SOON = ServerReply(
    458,
    "4.7.1",
    "Queuing for {domain} was started within this minute; try again later",
    "ETRN: each one costs attempts at a host that may not be there; anybody may ask for them, but not all the time.",
    "RFC 1985 5, RFC 5321 7.8",
)
TURN_DENIED = ServerReply(
    459,
    "4.7.1",
    "Queuing for {domain} is not allowed",
    "ETRN: the domain is not in `relay.etrn_domains`.",
    "RFC 1985 5",
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
BAD_SYNTAX = ServerReply(
    501, "5.5.4", "Syntax: {syntax}", "The command's argument is missing or malformed.", "RFC 5321 4.1.1, 4.2.2"
)
BAD_PARAMETER = ServerReply(
    501,
    "5.5.4",
    "Parameter is malformed or given twice: {parameter}",
    "A parameter of MAIL, RCPT or XCLIENT breaks the grammar, has an impossible value or repeats.",
    "RFC 5321 4.1.2, 4.1.1.11",
)
UNKNOWN_TOPIC = ServerReply(
    504, "5.5.4", "No help on that; HELP lists what there is", "HELP with no command of this session.", "RFC 5321 4.2.2"
)
NOT_IMPLEMENTED = ServerReply(
    502,
    "5.5.1",
    "Command not implemented here",
    "A command of SMTP or of an extension that EHLO does not offer.",
    "RFC 5321 4.2.4",
)
OBSOLETE = ServerReply(
    502,
    "5.5.1",
    "Command obsolete since 2001; use MAIL",
    "SEND, SOML, SAML or TURN of RFC 821.",
    "RFC 5321 4.2.4, F.1, F.6",
)
LMTP_HELLO = ServerReply(
    500, "5.5.1", "This is LMTP: send LHLO", "HELO or EHLO came to a listener of role lmtp.", "RFC 2033 4.1"
)
NOT_LMTP = ServerReply(
    500, "5.5.1", "This is SMTP, not LMTP: send EHLO", "LHLO came to a listener of another role.", "RFC 2033 4.1"
)
TLS_ACTIVE = ServerReply(503, "5.5.1", "TLS is active already", "STARTTLS came within TLS.", "RFC 3207 4.2")
HELLO_FIRST = ServerReply(503, "5.5.1", "Send EHLO first", "MAIL came before a hello.", "RFC 5321 4.1.4")
# RFC 7504 3: 521 is for hosts that take no mail from anybody, and must not stand for less.
CLOSED_GREETING = ServerReply(
    521, None, "{hostname} does not accept mail", "The greeting of a listener of role closed.", "RFC 7504 3"
)
CLOSED = ServerReply(
    521,
    "5.3.2",
    "{hostname} does not accept mail; send QUIT",
    "The answer to every command but QUIT at a listener of role closed.",
    "RFC 7504 3",
)
REFUSED_GREETING = ServerReply(
    554, None, "{hostname} takes no mail from you", "The greeting for a client in `relay.refused`.", "RFC 5321 3.1"
)
REFUSED_CLIENT = ServerReply(
    503,
    "5.7.1",
    "{hostname} takes no mail from your network; send QUIT",
    "The answer to every command but QUIT of a client in `relay.refused`.",
    "RFC 5321 3.1",
)
UNKNOWN_NAME = ServerReply(550, "5.1.1", "Nobody of that name here", "VRFY or EXPN found nothing.", "RFC 5321 4.3.2")
XCLIENT_DENIED = ServerReply(
    550,
    "5.7.1",
    "XCLIENT is for the peers that this listener names, and you are none of them",
    "The client is not in `listener.xclient`.",
    "RFC 5321 4.2.2; Postfix's XCLIENT_README",
)
AMBIGUOUS = ServerReply(
    553,
    "5.1.4",
    "Ambiguous; give the whole address",
    "VRFY found several mailboxes; the first of them follow, where the client can read them.",
    "RFC 5321 3.5.1",
)
NAME_NOT_ASCII = ServerReply(
    550,
    "5.6.8",
    "A name beyond ASCII needs the parameter SMTPUTF8 of this command",
    "VRFY or EXPN holds octets above 127, but not SMTPUTF8.",
    "RFC 6531 3.7.4.2",
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
    "Data stood behind HELO, EHLO, LHLO or DATA, or was pipelined without EHLO; the connection is closed.",
    "RFC 2920 3.1",
)

CATALOG = {
    name: entry
    for name, entry in (*vars(message_replies).items(), *vars(auth_replies).items(), *list(globals().items()))
    if isinstance(entry, ServerReply)
}


def render() -> str:
    """docs/replies.md."""
    return page(CATALOG.values())


if __name__ == "__main__":
    sys.stdout.write(render())
