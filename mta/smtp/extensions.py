"""
The extensions that EHLO offers, and the parameters that MAIL and RCPT may carry for them.

Owns: the keywords of the EHLO reply, the grammar of esmtp-params, SIZE, BODY and SMTPUTF8.
Never: knows the session's state; what asks for reports is read in `mta/smtp/dsn_parameters.py`.
Fails: never; what is wrong with parameters is a reply.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from mta import xtext
from mta.address import parse_address
from mta.envelope import Body, Notify, Ret
from mta.reply import Reply
from mta.smtp import message_replies, replies
from mta.smtp.dsn_parameters import read_envid, read_notify, read_orcpt, read_ret

# RFC 5321 4.1.2 esmtp-param; RFC 6531 3.3 lets values go beyond ASCII, which here only ORCPT may do (RFC 6533 3). The
# keyword comes back in our reply, which has room for 512 octets (4.5.3.1.5).
_PARAMETER = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]{0,63})(?:=([!-<>-~\u00a0-\U0010ffff]+))?")
_HIGHEST_LIMIT = 999_999  # RFC 9422 3: six digits; what can't be told is not
_SIZE = re.compile(r"[0-9]{1,20}")  # RFC 1870 3
_BODIES = {body.value: body for body in Body}


def keywords(
    message_size: int,
    recipients: int,
    messages: int | None,
    *,
    expands: bool = False,
    etrn: bool = False,
    starttls: bool = False,
    requiretls: bool = False,
    mechanisms: tuple[str, ...] = (),
) -> tuple[str, ...]:
    """
    The lines of the EHLO reply behind the host name.

    `message_size` in octets; `recipients` of one message and `messages` of one session at most, None without limit.
    `expands` where this client may ask VRFY and EXPN, `etrn` where some domain's mail may be asked for, `starttls`
    where TLS may begin, `requiretls` where a sender may require it from here on. `mechanisms` are those of AUTH that
    this client may use.
    """
    limits = {"MAILMAX": messages, "RCPTMAX": recipients}
    told = [f"{name}={limit}" for name, limit in limits.items() if limit is not None and limit <= _HIGHEST_LIMIT]
    return (
        "PIPELINING",  # RFC 2920
        f"SIZE {message_size}",  # RFC 1870
        *(("VRFY", "EXPN") if expands else ()),  # RFC 5321 3.5.2
        *(("ETRN",) if etrn else ()),  # RFC 1985
        *(("STARTTLS",) if starttls else ()),  # RFC 3207 3
        *((f"AUTH {' '.join(mechanisms)}",) if mechanisms else ()),  # RFC 4954 3
        "8BITMIME",  # RFC 6152
        "BINARYMIME",  # RFC 3030 3
        "CHUNKING",  # RFC 3030 2
        "SMTPUTF8",  # RFC 6531
        *(("REQUIRETLS",) if requiretls else ()),  # RFC 8689 2
        "DSN",  # RFC 3461
        "ENHANCEDSTATUSCODES",  # RFC 2034
        *((f"LIMITS {' '.join(told)}",) if told else ()),  # RFC 9422
        "HELP",  # RFC 5321 4.1.1.1
    )


@dataclass(frozen=True, slots=True)
class MailParameters:
    """
    What the parameters of MAIL say: `size` in octets as declared, None where it was not; `requiretls` that TLS is
    required from here on; the rest as in Envelope.
    """

    size: int | None = None
    body: Body = Body.SEVEN_BIT
    utf8: bool = False
    ret: Ret | None = None
    envid: str = ""
    requiretls: bool = False


@dataclass(frozen=True, slots=True)
class RcptParameters:
    """What the parameters of RCPT say, as in `mta.envelope.Recipient`."""

    notify: frozenset[Notify] | None = None
    orcpt: str = ""


def mail_parameters(text: str, auth: bool = False, requiretls: bool = False) -> MailParameters | Reply:
    """
    The parameters of MAIL, `text` being what follows the path, or the reply that refuses them.

    AUTH is known where it is offered (`auth`), and what it says is checked and forgotten: no client is trusted to vouch
    for another (RFC 4954 5), and we do not pass it on. REQUIRETLS is known where it may be offered (`requiretls`).
    """
    seen = _split(text)
    if isinstance(seen, Reply):
        return seen
    size, body, utf8, ret, envid, required = None, Body.SEVEN_BIT, False, None, "", False
    for keyword, value in seen.items():
        try:
            if keyword == "SIZE":
                size = _size(value)
            elif keyword == "BODY":
                body = _BODIES[value.upper()]
            elif keyword == "SMTPUTF8":
                utf8 = _flag(value)
            elif keyword == "RET":
                ret = read_ret(value)
            elif keyword == "ENVID":
                envid = read_envid(value)
            elif keyword == "REQUIRETLS" and requiretls:
                required = _flag(value)
            elif keyword == "AUTH" and auth:
                _check_submitter(value)
            else:
                return message_replies.UNKNOWN_PARAMETER.fill(parameter=keyword)
        except (ValueError, KeyError):
            return replies.BAD_PARAMETER.fill(parameter=keyword)
    return MailParameters(size, body, utf8, ret, envid, required)


def rcpt_parameters(text: str, utf8: bool) -> RcptParameters | Reply:
    """The parameters of RCPT, `text` being what follows the path, or the reply that refuses them."""
    seen = _split(text)
    if isinstance(seen, Reply):
        return seen
    notify, orcpt = None, ""
    for keyword, value in seen.items():
        try:
            if keyword == "NOTIFY":
                notify = read_notify(value)
            elif keyword == "ORCPT":
                orcpt = read_orcpt(value, utf8)
            else:
                return message_replies.UNKNOWN_PARAMETER.fill(parameter=keyword)
        except ValueError:
            return replies.BAD_PARAMETER.fill(parameter=keyword)
    return RcptParameters(notify, orcpt)


def refused_parameters(text: str) -> Reply:
    """The refusal of parameters where none are known: behind MAIL and RCPT after HELO (RFC 5321 4.1.1.11)."""
    seen = _split(text)
    if isinstance(seen, Reply):
        return seen
    return message_replies.UNKNOWN_PARAMETER.fill(parameter=next(iter(seen)))


def _size(value: str) -> int:
    if not _SIZE.fullmatch(value):
        raise ValueError("SIZE is a number")
    return int(value)


def _check_submitter(value: str) -> None:
    """RFC 4954 5: "<>" or a mailbox, as xtext."""
    if value != "<>":
        parse_address(xtext.decode(value), utf8=True)


def _flag(value: str) -> bool:
    if value:
        raise ValueError("it has no value")  # RFC 6531 3.4, RFC 8689 2
    return True


def _split(text: str) -> dict[str, str] | Reply:
    """Values by upper-case keyword, "" where there is none. The text is not blank."""
    if not text.startswith(" "):
        return replies.BAD_PARAMETER.fill(parameter="a space must follow the path")
    seen: dict[str, str] = {}
    for word in text.strip(" \t").replace("\t", " ").split(" "):
        if not word:
            continue
        found = _PARAMETER.fullmatch(word)
        if not found:
            return replies.BAD_PARAMETER.fill(parameter="not KEYWORD=VALUE")
        keyword = found[1].upper()
        if keyword in seen:
            return replies.BAD_PARAMETER.fill(parameter=keyword)
        seen[keyword] = found[2] or ""
    return seen
