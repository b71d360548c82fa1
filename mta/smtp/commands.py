"""
Read a command line.

Owns: the split into verb and argument, the arguments of HELO, MAIL, RCPT, BDAT, VRFY, EXPN and ETRN, and the values
that they become.
Never: knows the session's state or our domains.
Fails: never; a malformed argument is a reply.

More lenient than RFC 5321 where senders in the wild are sloppy and nothing is ambiguous: white space at the end of a
line (4.1.1 asks for it), between FROM: or TO: and the path, and several spaces where one belongs (as Postfix).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from mta.address import MAX_DOMAIN, Address, AddressError, parse_domain, parse_forward_path, parse_reverse_path
from mta.envelope import Body, Notify, Ret
from mta.reply import Reply
from mta.smtp import message_replies, replies
from mta.smtp.extensions import (
    mail_parameters,
    rcpt_parameters,
    refused_parameters,
)

# Commands of extensions that we do not offer: 502, not 500 (RFC 5321 4.2.4).
NOT_IMPLEMENTED = frozenset(b"ATRN AUTH BURL ETRN ONEX STARTTLS VERB XFORWARD".split())
# RFC 5321 F.1, F.6: of RFC 821, and gone.
OBSOLETE = frozenset(b"SAML SEND SOML TURN".split())

# RFC 5321 2.3.8 has no CR and LF but as line end, 4.1.2 no NUL anywhere.
_FORBIDDEN = re.compile(rb"[\x00\r\n]")
_VERB = re.compile(rb"[A-Za-z][A-Za-z0-9]*")
# Looser than the grammar (RFC 5321 4.1.4 forbids to refuse mail for a name that is not the client's), but nothing that
# could break out of a trace field or a log line.
_HELLO = re.compile(rf"[A-Za-z0-9._:\[\]-]{{1,{MAX_DOMAIN}}}")
_FROM = re.compile(r"FROM:[ \t]*", re.IGNORECASE)
_TO = re.compile(r"TO:[ \t]*", re.IGNORECASE)
# RFC 3030 2; 20 digits are more than any disk.
_BDAT = re.compile(r"([0-9]{1,20})(?:[ \t]+(LAST))?", re.IGNORECASE)
_BDAT_VERB = re.compile(rb"BDAT(?![A-Z0-9])", re.IGNORECASE)
_SMTPUTF8 = re.compile(r"[ \t]SMTPUTF8", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Hello:
    """HELO or, where `extended`, EHLO; `name` is what the client calls itself, not verified in any way."""

    name: str
    extended: bool


@dataclass(frozen=True, slots=True)
class MailFrom:
    """
    MAIL: `sender` None is the null reverse-path; `size` in octets as declared, None where it was not.

    `requiretls` as in `mta.smtp.extensions.MailParameters`, the other parameters as in `mta.envelope.Envelope`.
    """

    sender: Address | None
    size: int | None
    body: Body
    utf8: bool = False
    ret: Ret | None = None
    envid: str = ""
    requiretls: bool = False


@dataclass(frozen=True, slots=True)
class RcptTo:
    """RCPT, with the parameters of `mta.envelope.Recipient`."""

    recipient: Address
    notify: frozenset[Notify] | None = None
    orcpt: str = ""


@dataclass(frozen=True, slots=True)
class Bdat:
    """BDAT: a chunk of `size` octets follows the command; whether it is the `last`."""

    size: int
    last: bool


@dataclass(frozen=True, slots=True)
class Verify:
    """VRFY: who is `name`, a user or a mailbox; `utf8` where the reply may go beyond ASCII."""

    name: str
    utf8: bool = False


@dataclass(frozen=True, slots=True)
class Expand:
    """EXPN: who is on the list `name`; `utf8` as in `Verify`."""

    name: str
    utf8: bool = False


@dataclass(frozen=True, slots=True)
class Etrn:
    """ETRN: try the mail that waits for `domain` now, and, where asked for, for all domains `below` it."""

    domain: str
    below: bool = False

    def __str__(self) -> str:
        return f"@{self.domain}" if self.below else self.domain


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


def read_mail(argument: str, extended: bool, auth: bool = False, requiretls: bool = False) -> MailFrom | Reply:
    """
    The reverse-path and the parameters of MAIL; after HELO there are none (RFC 5321 4.1.1.11). `auth` where AUTH is
    offered, `requiretls` where REQUIRETLS is, be it within TLS alone.

    An octet of `argument` that is no UTF-8 comes as a lone surrogate, which no grammar accepts.
    """
    found = _FROM.match(argument)
    if not found:
        return replies.BAD_SYNTAX.fill(syntax="MAIL FROM:<address>")
    ascii_only = argument.isascii()
    # RFC 6531 3.5: what is wrong is that the parameter is missing, whatever else the address may be.
    if not ascii_only and not _SMTPUTF8.search(argument):
        return message_replies.SENDER_NOT_ASCII.reply
    try:
        sender, rest = parse_reverse_path(argument[found.end() :], utf8=not ascii_only)
    except AddressError as error:
        return message_replies.BAD_SENDER.fill(reason=str(error))
    if not rest:
        return MailFrom(sender, None, Body.SEVEN_BIT) if ascii_only else message_replies.SENDER_NOT_ASCII.reply
    parameters = mail_parameters(rest, auth, requiretls) if extended else refused_parameters(rest)
    if isinstance(parameters, Reply):
        return parameters
    if not ascii_only and not parameters.utf8:
        return message_replies.SENDER_NOT_ASCII.reply  # RFC 6531 3.5
    said = parameters
    return MailFrom(sender, said.size, said.body, said.utf8, said.ret, said.envid, said.requiretls)


def read_rcpt(argument: str, hostname: str, extended: bool, utf8: bool) -> RcptTo | Reply:
    """
    The forward-path and the parameters of RCPT; ``<postmaster>`` alone is at `hostname`.

    `utf8` where MAIL said SMTPUTF8; octets that are no UTF-8 as in `read_mail`.
    """
    if not utf8 and not argument.isascii():
        return message_replies.NOT_ASCII.reply  # RFC 6531 3.5
    found = _TO.match(argument)
    if not found:
        return replies.BAD_SYNTAX.fill(syntax="RCPT TO:<address>")
    try:
        recipient, rest = parse_forward_path(argument[found.end() :], hostname, utf8=utf8)
    except AddressError as error:
        return message_replies.BAD_RECIPIENT.fill(reason=str(error))
    if not rest:
        return RcptTo(recipient)
    parameters = rcpt_parameters(rest, utf8) if extended else refused_parameters(rest)
    if isinstance(parameters, Reply):
        return parameters
    return RcptTo(recipient, parameters.notify, parameters.orcpt)


def is_bdat(line: bytes) -> bool:
    """Whether a line that is no command, or the start of one, would have been BDAT."""
    return _BDAT_VERB.match(line) is not None


def read_bdat(argument: str) -> Bdat | None:
    """The size of a chunk and whether it is the last; None where that can't be known (RFC 3030 2)."""
    found = _BDAT.fullmatch(argument)
    return Bdat(int(found[1]), found[2] is not None) if found else None


def read_verify(argument: str) -> Verify | Reply:
    """The argument of VRFY; with the parameter SMTPUTF8 it may be in UTF-8 (RFC 6531 3.7.4.2)."""
    name, utf8 = _name_and_utf8(argument)
    if not name:
        return replies.BAD_SYNTAX.fill(syntax="VRFY address")
    return Verify(name, utf8) if utf8 or name.isascii() else replies.NAME_NOT_ASCII.reply


def read_expand(argument: str) -> Expand | Reply:
    """The argument of EXPN; SMTPUTF8 as in `read_verify`."""
    name, utf8 = _name_and_utf8(argument)
    if not name:
        return replies.BAD_SYNTAX.fill(syntax="EXPN list")
    return Expand(name, utf8) if utf8 or name.isascii() else replies.NAME_NOT_ASCII.reply


def read_etrn(argument: str) -> Etrn | Reply:
    """The domain of ETRN; of RFC 1985's options "@" is for all below it, too; "#" is not ours."""
    below = argument.startswith("@")
    try:
        return Etrn(parse_domain(argument[1:] if below else argument), below)
    except AddressError:
        return replies.BAD_SYNTAX.fill(syntax="ETRN [@]domain")


def _name_and_utf8(argument: str) -> tuple[str, bool]:
    found = _SMTPUTF8.search(argument, max(len(argument) - len(" SMTPUTF8"), 0))
    return (argument[: found.start()].rstrip(" \t"), True) if found else (argument, False)
