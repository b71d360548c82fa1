"""
The text of HELP.

Owns: the syntax of each command and the clause that defines it.
Never: knows the session's state.
"""

from __future__ import annotations

from mta.reply import Reply
from mta.smtp import replies
from mta.smtp.terms import Terms

_COMMON: dict[str, tuple[str, str]] = {
    "MAIL": ("MAIL FROM:<address> [SIZE= BODY= SMTPUTF8 RET= ENVID=]", "RFC 5321 4.1.1.2, 1870, 6152, 6531, 3461"),
    "RCPT": ("RCPT TO:<address> [NOTIFY= ORCPT=]", "RFC 5321 4.1.1.3, 3461"),
    "DATA": ("DATA", "RFC 5321 4.1.1.4"),
    "BDAT": ("BDAT size [LAST]", "RFC 3030 2"),
    "RSET": ("RSET", "RFC 5321 4.1.1.5"),
    "VRFY": ("VRFY address [SMTPUTF8]", "RFC 5321 4.1.1.6"),
    "EXPN": ("EXPN list [SMTPUTF8]", "RFC 5321 4.1.1.7"),
    "HELP": ("HELP [command]", "RFC 5321 4.1.1.8"),
    "NOOP": ("NOOP [anything]", "RFC 5321 4.1.1.9"),
    "QUIT": ("QUIT", "RFC 5321 4.1.1.10"),
    "STARTTLS": ("STARTTLS", "RFC 3207 4"),
}
_SMTP: dict[str, tuple[str, str]] = {
    "EHLO": ("EHLO hostname", "RFC 5321 4.1.1.1"),
    "HELO": ("HELO hostname", "RFC 5321 4.1.1.1"),
    **_COMMON,
    "ETRN": ("ETRN [@]domain", "RFC 1985"),
    "AUTH": ("AUTH mechanism [initial-response]", "RFC 4954 4"),
    "XCLIENT": ("XCLIENT attribute=value...", "Postfix's XCLIENT_README"),
}
_LMTP: dict[str, tuple[str, str]] = {"LHLO": ("LHLO hostname", "RFC 2033 4.1"), **_COMMON}


def help_on(topic: str, terms: Terms, trusted: bool, secure: bool = False, substitutes: bool = False) -> Reply:
    """
    The answer to HELP: 211 with all commands that a client, `trusted` or not, may use, or 214 with one, the `topic`.

    `secure` within TLS, `substitutes` where it may use XCLIENT.

    RFC 5321 4.2.2: 211 is the help reply of the system, 214 tells how a command is used.
    """
    known = _LMTP if terms.lmtp else _SMTP
    # What is answered 502 is no command here.
    offered = {
        "EXPN": trusted,
        "ETRN": terms.etrn,
        "STARTTLS": terms.starttls and not secure,
        "AUTH": bool(terms.mechanisms),
        "XCLIENT": substitutes,
    }
    topics = [verb for verb in known if offered.get(verb, True)]
    verb = topic.upper()
    if not topic:
        told = replies.SYSTEM_HELP
        first = told.text.format(hostname=terms.hostname)
        lines: tuple[str, ...] = (first, " ".join(topics), "HELP and one of them tells more")
    elif verb in topics:
        told = replies.HELP
        syntax, source = known[verb]
        lines = (told.text.format(syntax=syntax), f"See {source}")
    else:
        return replies.UNKNOWN_TOPIC.reply
    return Reply(told.code, lines, told.enhanced)
