"""
Read where a domain wants its reports on TLS: the TXT record of ``_smtp._tls``.

Owns: the grammar of RFC 8460 3, and which of the places we can deliver to.
Never: asks the DNS, or delivers.
Fails: `TlsrptTextError`, with a sentence for people; nothing else, whatever the octets.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes, urlsplit

from mta.address import Address, AddressError, is_ip_address, parse_address, parse_domain

# Whoever lists more places gets the first ones: each costs us a message or a connection a day.
MAX_PLACES = 4
# What an error quotes of a stranger's text.
_QUOTED = 60
# RFC 8460 3: records that don't begin so are none of ours; ABNF lets white space stand before the delimiter.
_VERSION = re.compile(rb"v=TLSRPTv1[ \t]*;")
_DELIMITER = re.compile(r"[ \t]*;[ \t]*")
_COMMA = re.compile(r"[ \t]*,[ \t]*")
# RFC 8460 3: tlsrpt-extension. Its names have no "rua" of another case: RFC 7405 makes %s"rua=" case-sensitive.
_FIELD = re.compile(r"([A-Za-z0-9][A-Za-z0-9_.-]{0,31})=([!-:<>-~]+)")
_RUA = "rua="
# RFC 3986 with a scheme, less what RFC 8460 3 wants to have encoded: "," "!" ";".
_URI = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):((?:[A-Za-z0-9\-._~:/?#\[\]@$&'*()=+]|%[0-9A-Fa-f]{2})+)")


class TlsrptTextError(ValueError):
    """The text does not follow the grammar; the message says where."""


@dataclass(frozen=True, slots=True)
class Mail:
    """A place for reports: a mailbox. `uri` is as the record has it."""

    uri: str
    address: Address


@dataclass(frozen=True, slots=True)
class Web:
    """A place for reports: a web server that takes POST (RFC 8460 5.4). `target` is the path with its query."""

    uri: str
    host: str
    port: int
    target: str

    @property
    def url(self) -> str:
        """The same without a fragment, as a request takes it."""
        where = self.host if self.port == 443 else f"{self.host}:{self.port}"
        return f"https://{where}{self.target}"


Place = Mail | Web


def places(records: Iterable[object]) -> tuple[Place, ...] | None:
    """
    Where the TXT records of ``_smtp._tls.DOMAIN`` want reports; None where no record speaks of TLSRPT.

    A place that we can't deliver to is left out, and so are those behind the first `MAX_PLACES`. Raises
    `TlsrptTextError` for more than one record (RFC 8460 3: then there is no TLSRPT), and for one that is malformed.
    """
    ours = [record for record in records if isinstance(record, bytes) and _VERSION.match(record)]
    if not ours:
        return None
    if len(ours) > 1:
        raise TlsrptTextError(f"there are {len(ours)} TXT records with v=TLSRPTv1, where one may be")
    try:
        text = ours[0].decode("ascii")
    except UnicodeDecodeError:
        raise TlsrptTextError("the TXT record has octets beyond ASCII") from None
    found: dict[str, Place] = {}
    for uri in _uris(text):
        place = _place(uri)
        if place is not None:
            found.setdefault(uri, place)
    return tuple(found.values())[:MAX_PLACES]


def _uris(text: str) -> list[str]:
    """The URIs of the first field rua."""
    fields = _DELIMITER.split(text.rstrip(" \t"))[1:]
    if not fields[-1]:
        fields.pop()  # the record may end with a delimiter
    uris: list[str] | None = None
    for field in fields:
        if field.startswith(_RUA):
            each = _COMMA.split(field.removeprefix(_RUA))
            for uri in each:
                if not _URI.fullmatch(uri):
                    raise TlsrptTextError(f"rua has {_quoted(uri)} where a URI is due")
            uris = each if uris is None else uris
        elif not _FIELD.fullmatch(field):
            # RFC 8460 3: fields that are not known are ignored, if they are ones.
            raise TlsrptTextError(f"the TXT record has {_quoted(field)} where NAME=VALUE is due")
    if uris is None:
        raise TlsrptTextError("the TXT record has no rua")
    return uris


def _place(uri: str) -> Place | None:
    """The place that a URI names; None for other schemes, and for what nobody could deliver to."""
    scheme, _, rest = uri.partition(":")
    if scheme.lower() == "mailto":
        return _mail(uri, rest)
    return _web(uri) if scheme.lower() == "https" else None


def _mail(uri: str, rest: str) -> Mail | None:
    # RFC 6068 2: what stands behind "?" are header fields, and whoever may set these could write more than a report.
    to = rest.partition("#")[0].partition("?")[0]
    try:
        address = parse_address(unquote_to_bytes(to).decode("ascii"))
    except (AddressError, UnicodeDecodeError):
        return None
    return Mail(uri, address)


def _web(uri: str) -> Web | None:
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname or "", parts.port
        # A certificate is for a name; and an address could be one within our network.
        if "@" in parts.netloc or is_ip_address(host) or parse_domain(host) != host:
            return None
    except (ValueError, AddressError):
        return None
    if port == 0:
        return None
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Web(uri, host, port or 443, target)


def _quoted(text: str) -> str:
    """A stranger's text for a log: short, printable ASCII."""
    short = text if len(text) <= _QUOTED else text[:_QUOTED] + "..."
    return ascii(short)
