"""
What the server replies about one message: its sender, its recipients, its content.

Owns: the codes, enhanced codes and texts of MAIL, RCPT, DATA, BDAT and the end of content.
Never: decides when a reply is given, speaks of the session (`mta/smtp/replies.py`).

A text says what is wrong and what to do about it.
"""

from __future__ import annotations

from mta.smtp.server_reply import ServerReply

SENDER_OK = ServerReply(250, "2.1.0", "Ok", "The sender is accepted.", "RFC 5321 4.1.1.2")
RECIPIENT_OK = ServerReply(250, "2.1.5", "Ok", "The recipient is accepted.", "RFC 5321 4.1.1.3")
QUEUED = ServerReply(
    250,
    "2.0.0",
    "Ok: queued as {queue_id}",
    "The message is safe on disk under this queue id, and this server is responsible for it.",
    "RFC 5321 4.2.5, 6.1",
)
MOVED_FORWARDED = ServerReply(
    251,
    "2.1.5",
    "User has moved; will forward to <{new}>",
    "The user is in `local.moved`: the message goes to the new address, which is good to know for the next one.",
    "RFC 5321 3.4",
)
CHUNK_OK = ServerReply(
    250, "2.0.0", "{size} octets received", "The chunk of BDAT was taken; more are expected.", "RFC 3030 2"
)

START_DATA = ServerReply(354, None, "Send the message; end it with <CR><LF>.<CR><LF>", "Go ahead.", "RFC 5321 4.1.1.4")

LOOKUP_FAILED = ServerReply(
    451,
    "4.4.3",
    "Addresses can't be looked up at the moment; try again later",
    "A table of users, aliases or recipients could not be asked; the log says which, and why.",
    "RFC 5321 4.2.2, RFC 3463 3.5",
)
TOO_MANY_MESSAGES_A_MINUTE = ServerReply(
    450,
    "4.7.1",
    "Too many messages from your address within a minute; slow down",
    "The client sent `limits.message_rate` messages in the last minute.",
    "RFC 5321 7.8",
)
TOO_MANY_RECIPIENTS_A_MINUTE = ServerReply(
    450,
    "4.7.1",
    "Too many recipients from your address within a minute; slow down",
    "The client named `limits.recipient_rate` recipients in the last minute.",
    "RFC 5321 7.8",
)
REPORTS_EXHAUSTED = ServerReply(
    455,
    "4.3.3",
    "Reports of delivery to this sender can't be promised now; try again later, or leave NOTIFY=SUCCESS out",
    "The sender had `bounce.rate_per_sender` reports in the last hour, and one more is asked for from outside of"
    " `relay.networks`: to take it and stay silent would break RFC 3461, to send it could flood a forged address.",
    "RFC 5321 4.1.1.11, RFC 3461 4.1",
)
NO_ROOM = ServerReply(
    452, "4.3.1", "Not enough room on disk; try again later", "The disk is nearly full.", "RFC 5321 4.2.2, 4.3.2"
)
DISK_FULL = ServerReply(
    452,
    "4.3.1",
    "The disk is full, nothing was queued; try again later",
    "The message could not be written.",
    "RFC 5321 4.2.2, RFC 3463 3.4",
)
TOO_MANY_RECIPIENTS = ServerReply(
    452,
    "4.5.3",
    "Too many recipients; send the message to these first, then to the rest",
    "The message has `limits.recipients` recipients already; they stay accepted.",
    "RFC 5321 4.5.3.1.10",
)
TOO_MANY_EXPANDED = ServerReply(
    452,
    "4.5.3",
    "Too many recipients behind this address; send the message to the others first, then to it",
    "With its members the message would have more than `limits.expanded_recipients` recipients.",
    "RFC 5321 4.5.3.1.10",
)

TEXT_LINE_TOO_LONG = ServerReply(
    500,
    "5.6.0",
    "The message has a line that is too long; encode it (RFC 2045)",
    "A line of the content has more than `limits.text_line` octets.",
    "RFC 5321 4.5.3.1.6, 4.5.3.1.9",
)
BAD_SENDER = ServerReply(501, "5.1.7", "Bad sender: {reason}", "MAIL holds no valid reverse-path.", "RFC 5321 4.1.2")
BAD_RECIPIENT = ServerReply(501, "5.1.3", "Bad recipient: {reason}", "RCPT holds no valid path.", "RFC 5321 4.1.2")
BAD_CHUNK = ServerReply(
    501,
    "5.5.4",
    "Syntax: BDAT size [LAST]; closing the connection",
    "Where the chunk ends can't be known, so nothing behind it can be trusted to be a command.",
    "RFC 3030 2",
)
MAIL_FIRST = ServerReply(503, "5.5.1", "Send MAIL first", "RCPT, DATA or BDAT came before MAIL.", "RFC 5321 3.3, 4.1.4")
NESTED_MAIL = ServerReply(
    503,
    "5.5.1",
    "A message is under way; finish it or send RSET",
    "MAIL came twice; or a message is no place for this command.",
    "RFC 5321 4.1.4",
)
CHUNKS_UNDER_WAY = ServerReply(
    503,
    "5.5.1",
    "Chunks are under way; send BDAT until LAST, or RSET",
    "MAIL, RCPT, DATA or STARTTLS came between two BDAT.",
    "RFC 3030 2",
)
BINARY_NEEDS_BDAT = ServerReply(
    503,
    "5.5.1",
    "BODY=BINARYMIME was declared: send the message with BDAT",
    "DATA has no way to carry binary content.",
    "RFC 3030 3",
)
NO_RECIPIENTS_LMTP = ServerReply(
    503, "5.5.1", "No valid recipients", "LMTP: DATA or BDAT came, but no RCPT was accepted.", "RFC 2033 4.2"
)
LIST_TOO_LARGE = ServerReply(
    550,
    "5.2.4",
    "<{recipient}> stands for more recipients than a message may have",
    "The alias has more than `limits.expanded_recipients` members.",
    "RFC 5321 3.9, RFC 3463 3.3",
)
NOT_FORWARDED = ServerReply(
    550,
    "5.1.1",
    "<{recipient}>: no mail was forwarded with this sender in the last weeks",
    "The address has the form of SRS, and its signature is not ours or too old.",
    "RFC 5321 3.3",
)
NO_SUCH_USER = ServerReply(
    550, "5.1.1", "<{recipient}>: no such user here", "The domain is local, the user is not.", "RFC 5321 3.3"
)
UNKNOWN_DOMAIN = ServerReply(
    550,
    "5.1.2",
    "<{recipient}>: there is no such domain",
    "The DNS does not know the recipient's domain, and `relay.check_domains` is on.",
    "RFC 5321 2.3.5, RFC 3463 3.2",
)
RELAY_DENIED = ServerReply(
    550,
    "5.7.1",
    "<{recipient}>: this server does not relay for you",
    "The domain is neither local nor in `relay.domains`, and the client is not in `relay.networks`.",
    "RFC 5321 3.6.2",
)
MOVED = ServerReply(
    551,
    "5.1.6",
    "User has moved; please try <{new}>",
    "The user is in `local.moved`, and `local.moved_reply` says not to forward.",
    "RFC 5321 3.4",
)
SUBMISSION_DENIED = ServerReply(
    550,
    "5.7.1",
    "This port takes mail of its own users only, and you are none",
    "The listener has role submission, and the client is not in `relay.networks`.",
    "RFC 6409 4.3",
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
HEADER_TOO_LARGE = ServerReply(
    552, "5.3.4", "The header is too large", "The header has more than `limits.header_size` octets.", "RFC 5321 4.5.3"
)
NOT_ASCII = ServerReply(
    553,
    "5.6.7",
    "An address beyond ASCII needs the parameter SMTPUTF8 of MAIL",
    "RCPT holds octets above 127, and MAIL did not say SMTPUTF8.",
    "RFC 6531 3.5",
)
SENDER_NOT_ASCII = ServerReply(
    550,
    "5.6.7",
    "An address beyond ASCII needs the parameter SMTPUTF8",
    "MAIL holds octets above 127, but not SMTPUTF8.",
    "RFC 6531 3.5",
)
NO_VALID_RECIPIENTS = ServerReply(
    554, "5.5.1", "No valid recipients", "DATA or BDAT came, but no RCPT was accepted.", "RFC 5321 3.3"
)
TOO_DEEP = ServerReply(
    554,
    "5.6.0",
    "The parts of the message are nested too deep",
    "There are more than `limits.mime_depth` multiparts and messages, one in the other.",
    "RFC 2046 5.1, 5.2.1",
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
REQUIRETLS_IN_CLEAR = ServerReply(
    530,
    "5.7.10",
    "REQUIRETLS needs TLS here already: say STARTTLS first",
    "MAIL has REQUIRETLS, and the session is in clear.",
    "RFC 8689 2, 4.2.1",
)
DOMAIN_TAKES_NO_MAIL = ServerReply(
    556,
    "5.1.10",
    "<{recipient}>: its domain takes no mail",
    "The recipient's domain has a null MX, and `relay.check_domains` is on.",
    "RFC 7504 4, RFC 7505 4.2",
)
