"""
Read and write mailboxes and paths.

Owns: the grammar of RFC 5321 4.1.2 (paths, local parts, domains, address literals), its length limits, and where the
caller allows it (`utf8`) its extension by RFC 6531 3.3.
Never: knows which domains are ours, looks up a name, folds the case of a local part.
Fails: `AddressError`, whose text says what is wrong and is fit for a reply.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

import idna

# RFC 5321 4.5.3.1.1 to 4.5.3.1.3.
MAX_LOCAL = 64
MAX_DOMAIN = 255
MAX_PATH = 256

_ATEXT = r"A-Za-z0-9!#$%&'*+/=?^_`{|}~-"
_DOT_STRING = re.compile(rf"[{_ATEXT}]+(?:\.[{_ATEXT}]+)*")
# RFC 6531 3.3: UTF8-non-ascii is atext and qtextSMTP too; without the C1 controls, and surrogates are no UTF-8.
_BEYOND = r"\u00a0-\ud7ff\ue000-\U0010ffff"
_DOT_STRING_UTF8 = re.compile(rf"[{_BEYOND}{_ATEXT}]+(?:\.[{_BEYOND}{_ATEXT}]+)*")
# qtextSMTP and quoted-pairSMTP: printable ASCII and space; a backslash quotes exactly one of them.
_QUOTED = re.compile(r'"((?:[ !#-\[\]-~]|\\[ -~])*)"')
_QUOTED_UTF8 = re.compile(rf'"((?:[{_BEYOND} !#-\[\]-~]|\\[ -~])*)"')
_QUOTED_PAIR = re.compile(r"\\(.)")
# RFC 5321 4.1.2 sub-domain; the underscore is not in the grammar but in the wild (Postfix, Exim accept it).
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_LITERAL = re.compile(r"\[([!-Z^-~]*)\]")
_SOURCE_ROUTE = re.compile(rf"@{_LABEL}(?:\.{_LABEL})*(?:,@{_LABEL}(?:\.{_LABEL})*)*:")


class AddressError(ValueError):
    """Text that is not a mailbox or a path; `str()` of it says why, in words fit for a reply."""


@dataclass(frozen=True, slots=True)
class Address:
    """
    A mailbox.

    `local` is the local part without its quoting, as its owner would say it; `domain` is lower case: a domain
    name in A-labels, whatever it came as, or an address literal with its brackets (``[192.0.2.1]``,
    ``[IPv6:2001:db8::1]``).
    """

    local: str
    domain: str

    def __str__(self) -> str:
        """The wire form: quoted only where the grammar needs it, so parse(str(a)) == a."""
        if (_DOT_STRING if self.local.isascii() else _DOT_STRING_UTF8).fullmatch(self.local):
            return f"{self.local}@{self.domain}"
        quoted = self.local.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{quoted}"@{self.domain}'

    @property
    def needs_utf8(self) -> bool:
        """Whether only a server with SMTPUTF8 can take it: the domain has an ASCII form, a local part has none."""
        return not self.local.isascii()

    def for_log(self) -> str:
        """The address with everything but printable ASCII escaped: it cannot forge a log line."""
        return str(self).encode("unicode_escape").decode("ascii")


def parse_domain(text: str, *, utf8: bool = False) -> str:
    """
    A domain name or address literal, lower-cased and checked; with `utf8`, U-labels become A-labels (RFC 5891).

    Raises `AddressError`. A trailing dot is refused: RFC 5321 4.1.2 has names without it.
    """
    if utf8 and not text.isascii():
        text = _to_ascii(text)
    if len(text) > MAX_DOMAIN:
        raise AddressError(f"domain is longer than {MAX_DOMAIN} octets")
    if text.startswith("["):
        return _parse_literal(text)
    if not _DOMAIN.fullmatch(text):
        raise AddressError("domain is not a valid name")
    if any(len(label) > 63 for label in text.split(".")):
        raise AddressError("domain has a label longer than 63 octets")  # RFC 1035 2.3.4
    return text.lower()


def is_ip_address(text: str) -> bool:
    """Whether it is an IPv4 or IPv6 address, without brackets."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _to_ascii(text: str) -> str:
    if len(text) > MAX_DOMAIN:  # before the work, not after it
        raise AddressError(f"domain is longer than {MAX_DOMAIN} octets")
    try:
        # UTS 46 maps what people type (case, width); IDNA 2008 decides what is a label.
        return idna.encode(text, uts46=True, transitional=False).decode("ascii")
    except (idna.IDNAError, UnicodeError):
        raise AddressError("domain is not a valid internationalized name") from None


def _parse_literal(text: str) -> str:
    """An address literal in its one canonical spelling (RFC 5321 4.1.3)."""
    found = _LITERAL.fullmatch(text)
    if not found:
        raise AddressError("address literal is malformed")
    inside = found[1]
    try:
        if inside[:5].lower() == "ipv6:":
            return f"[IPv6:{ipaddress.IPv6Address(inside[5:])}]"
        return f"[{ipaddress.IPv4Address(inside)}]"
    except ValueError:
        raise AddressError("address literal is not an IPv4 or IPv6 address") from None


def _parse_local(text: str, utf8: bool) -> tuple[str, int]:
    """The unquoted local part at the start of `text`, and how many characters it takes."""
    found = (_DOT_STRING_UTF8 if utf8 else _DOT_STRING).match(text)
    if found:
        local = found[0]
    else:
        found = (_QUOTED_UTF8 if utf8 else _QUOTED).match(text)
        if not found:
            raise AddressError("local part is malformed")
        local = _QUOTED_PAIR.sub(r"\1", found[1])
        if not local:
            raise AddressError("local part is empty")
    if found.end() > MAX_LOCAL or (utf8 and len(found[0].encode()) > MAX_LOCAL):  # RFC 5321 4.5.3.1.1: octets
        raise AddressError(f"local part is longer than {MAX_LOCAL} octets")
    return local, found.end()


def parse_address(text: str, *, utf8: bool = False) -> Address:
    """A mailbox without angle brackets (RFC 5321 4.1.2, with `utf8` RFC 6531 3.3). Raises `AddressError`."""
    local, end = _parse_local(text, utf8)
    if text[end : end + 1] != "@":
        raise AddressError("domain is missing" if end == len(text) else "local part is malformed")
    if len(text) > MAX_PATH - 2:  # the brackets count (RFC 5321 4.5.3.1.3)
        raise AddressError(f"path is longer than {MAX_PATH} octets")
    return Address(local, parse_domain(text[end + 1 :], utf8=utf8))


def _end_of_path(text: str) -> int:
    """The index after the closing bracket of the path that `text` starts with; brackets inside quotes do not count."""
    end = text.find(">")
    if end >= 0 and '"' not in text[:end]:
        return end + 1  # as nearly all are
    quoted = False
    index = 0
    while index < len(text):
        character = text[index]
        if quoted and character == "\\":
            index += 1
        elif character == '"':
            quoted = not quoted
        elif character == ">" and not quoted:
            return index + 1
        index += 1
    raise AddressError("path has no closing bracket")


def split_path(text: str) -> tuple[str, str]:
    """
    The inside of the path that `text` starts with, and what follows the closing bracket.

    A source route is dropped, as RFC 5321 4.1.1.3 and appendix C ask: ``<@a,@b:c@d>`` gives ``c@d``.
    """
    if not text.startswith("<"):
        raise AddressError("path must stand in angle brackets")
    end = _end_of_path(text)
    inside = text[1 : end - 1]
    if inside.startswith("@"):
        route = _SOURCE_ROUTE.match(inside)
        if not route:
            raise AddressError("source route is malformed")
        inside = inside[route.end() :]
    return inside, text[end:]


def parse_reverse_path(text: str, *, utf8: bool = False) -> tuple[Address | None, str]:
    """The reverse-path at the start of `text` (None for ``<>``) and the rest behind it. Raises `AddressError`."""
    inside, rest = split_path(text)
    return (parse_address(inside, utf8=utf8) if inside else None), rest


def parse_forward_path(text: str, own_domain: str, *, utf8: bool = False) -> tuple[Address, str]:
    """
    The forward-path at the start of `text` and the rest behind it. Raises `AddressError`.

    ``<postmaster>``, in any case, needs no domain (RFC 5321 4.1.1.3, 4.5.1); it gets `own_domain`.
    """
    inside, rest = split_path(text)
    if inside.lower() == "postmaster":
        return Address(inside, own_domain), rest
    if not inside:
        raise AddressError("recipient is empty")
    return parse_address(inside, utf8=utf8), rest
