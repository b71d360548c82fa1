"""
Read a command line.

Owns: the split into verb and argument, the arguments of HELO, MAIL and RCPT, and the questions that they become.
Never: knows the session's state or our domains.
Fails: never; a malformed argument is a reply.

More lenient than RFC 5321 where senders in the wild are sloppy and nothing is ambiguous: white space at the end of a
line (4.1.1 asks for it), between FROM: or TO: and the path, and several spaces where one belongs (as Postfix).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from mta.address import MAX_DOMAIN, Address, AddressError, parse_forward_path, parse_reverse_path
from mta.envelope import Body
from mta.reply import Reply
from mta.smtp import replies
from mta.smtp.extensions import NO_PARAMETERS, mail_parameters, refused_parameters

# Commands of RFC 821, of RFC 5321 and of extensions that we do not offer: 502, not 500 (RFC 5321 4.2.4).
NOT_IMPLEMENTED = frozenset(
    b"ATRN AUTH BDAT BURL ETRN EXPN LHLO ONEX SAML SEND SOML STARTTLS TURN VERB XCLIENT XFORWARD".split()
)

# RFC 5321 2.3.8 has no CR and LF but as line end, 4.1.2 no NUL anywhere.
_FORBIDDEN = re.compile(rb"[\x00\r\n]")
_VERB = re.compile(rb"[A-Za-z][A-Za-z0-9]*")
# Looser than the grammar (RFC 5321 4.1.4 forbids to refuse mail for a name that is wrong), but nothing that could
# break out of a trace field or a log line.
_HELLO = re.compile(rf"[A-Za-z0-9._:\[\]-]{{1,{MAX_DOMAIN}}}")
_FROM = re.compile(r"FROM:[ \t]*", re.IGNORECASE)
_TO = re.compile(r"TO:[ \t]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Hello:
    """HELO or, where `extended`, EHLO; `name` is what the client calls itself, not verified in any way."""

    name: str
    extended: bool


@dataclass(frozen=True, slots=True)
class MailFrom:
    """MAIL: `sender` None is the null reverse-path; `size` in octets as declared, None where it was not."""

    sender: Address | None
    size: int | None
    body: Body


@dataclass(frozen=True, slots=True)
class RcptTo:
    """RCPT."""

    recipient: Address


def split_command(line: bytes) -> tuple[bytes, bytes] | None:
    """The verb in upper case and its argument without white space around it; None where the line is no command."""
    if _FORBIDDEN.search(line):
        return None
    verb, _, argument = line.partition(b" ")
    # A tab behind the verb is white space too, but rare: the common line costs one partition.
    if not _VERB.fullmatch(verb):
        verb, _, argument = line.replace(b"\t", b" ").partition(b" ")
        if not _VERB.fullmatch(verb):
            return None
    return verb.upper(), argument.strip(b" \t")


def read_hello(argument: str, extended: bool) -> Hello | Reply:
    """The client's name of itself."""
    if not _HELLO.fullmatch(argument):
        return replies.BAD_SYNTAX.fill(syntax="EHLO hostname" if extended else "HELO hostname")
    return Hello(argument, extended)


def read_mail(argument: str, extended: bool) -> MailFrom | Reply:
    """The reverse-path and the parameters of MAIL; after HELO there are none (RFC 5321 4.1.1.11)."""
    found = _FROM.match(argument)
    if not found:
        return replies.BAD_SYNTAX.fill(syntax="MAIL FROM:<address>")
    try:
        sender, rest = parse_reverse_path(argument[found.end() :])
    except AddressError as error:
        return replies.BAD_SENDER.fill(reason=str(error))
    if not rest:
        parameters = NO_PARAMETERS
    else:
        outcome = mail_parameters(rest) if extended else refused_parameters(rest)
        if isinstance(outcome, Reply):
            return outcome
        parameters = outcome
    return MailFrom(sender, parameters.size, parameters.body)


def read_rcpt(argument: str, hostname: str) -> RcptTo | Reply:
    """The forward-path of RCPT; ``<postmaster>`` alone is at `hostname`. No extension of ours adds parameters."""
    found = _TO.match(argument)
    if not found:
        return replies.BAD_SYNTAX.fill(syntax="RCPT TO:<address>")
    try:
        recipient, rest = parse_forward_path(argument[found.end() :], hostname)
    except AddressError as error:
        return replies.BAD_RECIPIENT.fill(reason=str(error))
    return refused_parameters(rest) if rest else RcptTo(recipient)
