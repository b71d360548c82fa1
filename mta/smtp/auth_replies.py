"""
What the server replies about authentication (RFC 4954).

Owns: the codes, enhanced codes and texts of AUTH, and of what needs it.
Never: decides when a reply is given. No text tells whether it was the user or the password that was wrong.
"""

from __future__ import annotations

from mta.smtp.server_reply import ServerReply

AUTHENTICATED = ServerReply(
    235, "2.7.0", "Authentication successful", "AUTH: the client is who it says.", "RFC 4954 4, 6"
)
CHALLENGE = ServerReply(
    334, None, "{challenge}", "AUTH: the mechanism goes on; the text is its challenge, in base64.", "RFC 4954 4, 6"
)
UNAVAILABLE = ServerReply(
    454,
    "4.7.0",
    "Cannot authenticate you now; try again later",
    "What knows the users did not answer, or the client failed `auth.failures` times; the log says which.",
    "RFC 4954 6",
)
CANCELLED = ServerReply(
    501, "5.7.0", "Authentication cancelled", 'The client sent "*" instead of a response.', "RFC 4954 4"
)
BAD_BASE64 = ServerReply(
    501, "5.5.2", "Cannot decode this: base64 is expected", "The response is no base64.", "RFC 4954 4, 6"
)
MALFORMED = ServerReply(
    501, "5.5.2", "This is no message of the mechanism", "The response was decoded and makes no sense.", "RFC 4954 4"
)
EXCHANGE_TOO_LONG = ServerReply(
    500, "5.5.6", "Authentication exchange line is too long", "The response has more than 12,288 octets.", "RFC 4954 6"
)
ALREADY = ServerReply(503, "5.5.1", "You are authenticated already", "AUTH came twice.", "RFC 4954 4")
NOT_IN_TRANSACTION = ServerReply(
    503, "5.5.1", "A message is under way; finish it or send RSET", "AUTH came within a transaction.", "RFC 4954 4"
)
UNKNOWN_MECHANISM = ServerReply(
    504,
    "5.5.4",
    "Mechanism not offered here; EHLO lists those that are",
    "AUTH with a mechanism that is not known, or not offered to this client.",
    "RFC 4954 4, 6",
)
REQUIRED = ServerReply(
    530,
    "5.7.0",
    "Authentication required",
    "The listener has role submission, and the client is neither authenticated nor in `relay.networks`.",
    "RFC 4954 6, RFC 6409 4.3",
)
WRONG = ServerReply(
    535,
    "5.7.8",
    "Authentication credentials invalid",
    "The user is unknown or disabled, or the password is wrong: who guesses learns no more.",
    "RFC 4954 6",
)
NEEDS_TLS = ServerReply(
    538,
    "5.7.11",
    "Encryption is required before AUTH; send STARTTLS first",
    "Passwords are not taken in clear; `auth_without_tls` of a listener on loopback allows it.",
    "RFC 4954 4, 6",
)
NOT_YOUR_ADDRESS = ServerReply(
    553,
    "5.7.1",
    "<{sender}> is not an address of yours",
    "The sender is neither the user's own address nor among those that the users' file or `auth.senders` give it.",
    "RFC 6409 6.1",
)
TOO_MANY_MESSAGES_OF_USER = ServerReply(
    450,
    "4.7.1",
    "Too many messages from your account; this limit releases by itself",
    "The user sent `auth.messages_per_hour` or `auth.messages_per_day` messages.",
    "RFC 6409 6",
)
TOO_MANY_RECIPIENTS_OF_USER = ServerReply(
    450,
    "4.7.1",
    "Too many recipients from your account; this limit releases by itself",
    "The user named `auth.recipients_per_hour` or `auth.recipients_per_day` recipients.",
    "RFC 6409 6",
)
