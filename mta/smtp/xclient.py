"""
Read XCLIENT, with which a filter or a proxy says whose session it is (Postfix's XCLIENT_README).

Owns: its attributes, their grammar, and its line in the reply to EHLO.
Never: knows who may use it, or what follows from it.
Fails: never; a malformed argument is a reply.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass, fields

from mta import xtext
from mta.address import MAX_DOMAIN
from mta.reply import Reply
from mta.smtp import replies
from mta.smtp.commands import read_hello

ATTRIBUTES = ("NAME", "ADDR", "PORT", "PROTO", "HELO", "LOGIN", "DESTADDR", "DESTPORT")
_LINE = f"250-XCLIENT {' '.join(ATTRIBUTES)}\r\n".encode("ascii")

# Not known, for good or for now: for us the same.
_UNKNOWN = ("[UNAVAILABLE]", "[TEMPUNAVAIL]")
_IPV6 = "IPV6:"
# What may stand in a trace field and in a log line; a name of the DNS has nothing else.
_NAME = re.compile(rf"[A-Za-z0-9._-]{{1,{MAX_DOMAIN}}}")
_LOGIN = re.compile(r"[ -~\u00a0-\u2027\u202a-\ud7ff\ue000-\U0010ffff]{1,255}")


@dataclass(frozen=True, slots=True)
class Xclient:
    """What was said of the client, decoded: None where nothing was, "" where it is not known."""

    name: str | None = None
    addr: str | None = None
    port: str | None = None
    proto: str | None = None
    helo: str | None = None
    login: str | None = None
    destaddr: str | None = None
    destport: str | None = None

    @property
    def known(self) -> dict[str, str]:
        """What is known of the client, by attribute in lower case."""
        return {field.name: value for field in fields(self) if (value := getattr(self, field.name))}


def read_xclient(argument: str) -> Xclient | Reply:
    """The attributes; an unknown one, or one that comes twice, is an error."""
    if not argument:
        return replies.BAD_SYNTAX.fill(syntax=f"XCLIENT attribute=value..., of {' '.join(ATTRIBUTES)}")
    seen: dict[str, str] = {}
    for word in argument.replace("\t", " ").split(" "):
        if not word:
            continue
        name, equals, value = word.partition("=")
        name = name.upper()
        if not equals or name not in ATTRIBUTES:
            return replies.BAD_PARAMETER.fill(parameter=f"not one of {' '.join(ATTRIBUTES)} with =value")
        if name.lower() in seen:
            return replies.BAD_PARAMETER.fill(parameter=name)
        try:
            decoded = xtext.decode(value)
            seen[name.lower()] = "" if decoded.upper() in _UNKNOWN else _READ[name](decoded)
        except ValueError:  # XtextError is one
            return replies.BAD_PARAMETER.fill(parameter=name)
    return Xclient(**seen)


def announced(ehlo: bytes) -> bytes:
    """The reply to EHLO with the line that offers XCLIENT."""
    first, line_end, rest = ehlo.partition(b"\r\n")
    return first + line_end + _LINE + rest


def _address(text: str) -> str:
    """IPv4 as it is, IPv6 behind its prefix, which tells it from anything else."""
    if text[: len(_IPV6)].upper() == _IPV6:
        if "%" in text:
            raise ValueError("a zone means nothing here")
        address = ipaddress.IPv6Address(text[len(_IPV6) :])
        return str(address.ipv4_mapped or address)
    return str(ipaddress.IPv4Address(text))


def _port(text: str) -> str:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= 0xFFFF):
        raise ValueError("not a port")
    return text


def _proto(text: str) -> str:
    if text.upper() not in ("SMTP", "ESMTP"):
        raise ValueError("PROTO is SMTP or ESMTP")
    return text.upper()


def _helo(text: str) -> str:
    hello = read_hello(text, extended=True)
    if isinstance(hello, Reply):
        raise ValueError("no name for HELO")
    return hello.name


def _matching(pattern: re.Pattern[str]) -> Callable[[str], str]:
    def read(text: str) -> str:
        if not pattern.fullmatch(text):
            raise ValueError("characters that do not belong there")
        return text

    return read


_READ: dict[str, Callable[[str], str]] = {
    "NAME": _matching(_NAME),
    "ADDR": _address,
    "PORT": _port,
    "PROTO": _proto,
    "HELO": _helo,
    "LOGIN": _matching(_LOGIN),
    "DESTADDR": _address,
    "DESTPORT": _port,
}
