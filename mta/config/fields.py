"""
The kinds of value that options have.

Owns: reading each from its text into the value the program uses, and saying what is wrong with it.
Never: knows which option uses it.
Fails: ValueError with a sentence; pydantic collects them.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field

from mta.address import AddressError, parse_address, parse_domain
from mta.config.units import parse_duration, parse_size
from mta.destination import NextHop
from mta.ids import MAX_WORKER
from mta.login import MECHANISMS
from mta.routing.next_hop_lists import parse_next_hops
from mta.routing.next_hops import check_template, parse_next_hop
from mta.routing.patterns import Pattern, parse_pattern
from mta.tls_policy import TlsLevel

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_MODE = re.compile(r"0?[0-7]{3}")
_ENDPOINT = re.compile(r"([A-Za-z0-9]+):.")
_TCP_OPTIONS = ("interface", "backlog")
# An address whose port can be told from it: in brackets, or without colons.
_SERVER = re.compile(r"(?:\[([0-9A-Fa-f:.]+:[0-9A-Fa-f:.]*)\]|([^:]+))(?::(.*))?")
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")
_CIPHERS = re.compile(r"[A-Za-z0-9:+!@=_ ,-]+")
_ROLES = ("mx", "relay", "submission", "lmtp", "closed")
_LANGUAGE = re.compile(r"[a-z]{2,3}(?:-[A-Za-z0-9]{1,8})*")

Value = TypeVar("Value")


class FrozenTable(dict[str, Value]):
    """A table whose keys the operator chooses. It can be hashed: nobody changes it once it is read."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self.items()))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"must be text in quotes, not {value!r}")
    return value


def not_empty(items: tuple[Any, ...]) -> tuple[Any, ...]:
    """The items, of which there is one at least."""
    if not items:
        raise ValueError("must not be empty")
    return items


def _positive(seconds: float) -> float:
    if seconds <= 0:
        raise ValueError("must be longer than 0s")
    return seconds


def _domain(text: str) -> str:
    try:
        return parse_domain(text, utf8=True)
    except AddressError as error:
        raise ValueError(f'"{text}": {error}') from None


def _host_name(text: str) -> str:
    name = _domain(text)
    if name.startswith("[") or name.rpartition(".")[2].isdigit():
        raise ValueError(f'"{text}" is an address; write the name that others find in the DNS')
    return name


def _host_name_or_nothing(text: str) -> str:
    return _host_name(text) if text else ""


def _domain_pattern(text: str) -> str:
    if text == "*":
        return text
    if text.startswith("*."):
        raise ValueError(f'"{text}": for all domains below one write "{text[1:]}"')
    below = "." if text.startswith(".") else ""
    return below + _domain(text.removeprefix("."))


def _network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text))
    except ValueError:
        pass
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f'"{text}" is not a network; write it as "192.0.2.0/24" or "2001:db8::/32"') from None
    raise ValueError(f'"{text}" has bits behind its prefix; did you mean "{network}"?')


def _address(text: str) -> str:
    if text:
        try:
            parse_address(text, utf8=True)
        except AddressError as error:
            raise ValueError(f'"{text}": {error}') from None
    return text


def _language(text: str) -> str:
    if not _LANGUAGE.fullmatch(text):
        raise ValueError(f'"{text}" is not a language, such as "en" or "pt-BR"')
    return text


def _ip_or_nothing(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text)) if text else ""
    except ValueError:
        raise ValueError(f'"{text}" is not an IP address') from None


def _server(value: object) -> tuple[str, int]:
    """A resolver: "192.0.2.53", "192.0.2.53:5353", "2001:db8::53", "[2001:db8::53]:5353"."""
    text = _text(value)
    found = _SERVER.fullmatch(text)
    host, port = (found[1] or found[2], found[3]) if found else (text, None)
    try:
        address = str(ipaddress.ip_address(host))
    except ValueError:
        address = ""
    if not address or (port is not None and not _is_port(port)):
        raise ValueError(f'"{text}" is not IP, IP:PORT or [IPv6]:PORT')
    return address, 53 if port is None else int(port)


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 5 and 1 <= int(text) <= 65535


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError(f'"{text}" is not a name; use up to 64 letters, digits, ".", "_" and "-"')
    return text


def _endpoint(text: str) -> str:
    """The form of a Twisted endpoint; TCP more closely, since that is where the mistakes are made."""
    found = _ENDPOINT.match(text)
    if not found:
        raise ValueError(f'"{text}" is not an endpoint; write it as "tcp:25" or "tcp:2525:interface=127.0.0.1"')
    if found[1] == "ssl":
        raise ValueError(f'"{text}": write it with "tcp:", and tls = "implicit" beside it')
    if found[1] in ("tcp", "tcp6"):
        _check_tcp(text)
    # Twisted's own would greet, and judge, the proxy: who comes through it would have the proxy's rights.
    if found[1] == "haproxy":
        plain = text.removeprefix("haproxy:")
        raise ValueError(f'"{text}": write "{plain}", and list the networks of the proxies under proxies')
    return text


def _endpoint_or_nothing(text: str) -> str:
    return _endpoint(text) if text else ""


def _check_tcp(text: str) -> None:
    # A backslash quotes a colon in Twisted's syntax, and IPv6 addresses are full of them.
    first, *others = re.split(r"(?<!\\):", text)[1:]
    port = first.removeprefix("port=")
    if port != "0" and not _is_port(port):  # 0: any free one, for tests
        raise ValueError(f'"{text}" has no port from 0 to 65535 behind "tcp:"')
    for other in others:
        if "=" not in other:
            raise ValueError(
                f'"{text}": "{other}" is not NAME=VALUE; the colons of an IPv6 address need a backslash each: '
                r"'tcp:25:interface=\:\:1', in single quotes"
            )
        name, _, value = other.partition("=")
        if name not in _TCP_OPTIONS:
            near = difflib.get_close_matches(name, _TCP_OPTIONS, 1)
            hint = f'did you mean "{near[0]}"?' if near else f"{' and '.join(_TCP_OPTIONS)} are known"
            raise ValueError(f'"{text}": unknown option "{name}"; {hint}')
        if name == "backlog" and not (value.isascii() and value.isdigit()):
            raise ValueError(f'"{text}": "{value}" is not a number')


def _role(text: str) -> str:
    if text not in _ROLES:
        near = difflib.get_close_matches(text, _ROLES, 1)
        hint = f'; did you mean "{near[0]}"?' if near else ""
        raise ValueError(f'"{text}" is not a role; {", ".join(_ROLES)} are{hint}')
    return text


def _workers(number: int) -> int:
    if not 0 <= number <= MAX_WORKER:
        raise ValueError(f"must be a number from 0 to {MAX_WORKER}; 0 is one for each core")
    return number


def _mode(value: object) -> int:
    text = _text(value)
    if not _MODE.fullmatch(text):
        raise ValueError(f'"{text}" is not the mode of a file, such as "0600" or "0660"')
    return int(text, 8)


def _below_state(text: str) -> str:
    path = PurePosixPath(text)
    if not text or "\0" in text or path.is_absolute() or ".." in path.parts:
        raise ValueError(f'"{text}" must be a path below state_dir, without a leading "/" and without ".."')
    return text


def _log_file(text: str) -> str:
    return text if text == "-" else _below_state(text)


def _path(value: object) -> Path:
    text = _text(value)
    if not text or "\0" in text:
        raise ValueError("must be the path of a directory")
    return Path(text)


def _path_or_nothing(text: str) -> str:
    if "\0" in text:
        raise ValueError("must be the path of a directory")
    return text


def _file(text: str) -> str:
    if not text or "\0" in text:
        raise ValueError("must be the path of a file")
    return text


def _file_or_nothing(text: str) -> str:
    return _file(text) if text else ""


def _tls_name(text: str) -> str:
    """A host name as clients say it (RFC 6066 3), or all that are one level below."""
    wildcard = "*." if text.startswith("*.") else ""
    return wildcard + _host_name(text.removeprefix("*."))


def _fingerprint(text: str) -> str:
    """The SHA-256 fingerprint of a certificate, with colons as OpenSSL writes it or without."""
    digits = text.replace(":", "").lower()
    if not _FINGERPRINT.fullmatch(digits):
        raise ValueError(f'"{text}" is not a SHA-256 fingerprint: 64 hexadecimal digits, with or without colons')
    return digits


def _ciphers(text: str) -> str:
    if not _CIPHERS.fullmatch(text):
        raise ValueError(f'"{text}" is not a list of ciphers, such as "ECDHE+AESGCM:ECDHE+CHACHA20"')
    return text


def _parse_next_hop(value: object) -> NextHop:
    if isinstance(value, tuple | list):
        return parse_next_hops([_text(item) for item in value])
    return parse_next_hop(_text(value))


def _parse_pattern(value: object) -> Pattern:
    return parse_pattern(_text(value))


def _mechanism(text: str) -> str:
    if text not in MECHANISMS:
        near = difflib.get_close_matches(text.upper(), MECHANISMS, 1)
        hint = f'; did you mean "{near[0]}"?' if near else ""
        raise ValueError(f'"{text}" is no mechanism of ours; {", ".join(MECHANISMS)} are{hint}')
    return text


def _tls_level(value: object) -> TlsLevel:
    words = [level.value for level in TlsLevel]
    if value not in words:
        raise ValueError(f"must be one of {', '.join(words)}, not {value!r}")
    return TlsLevel(value)


def _distinct_patterns(value: object) -> object:
    """The keys of a table as domain patterns; they are compared as they are written in the DNS."""
    if not isinstance(value, dict):
        raise ValueError('must be a table, such as { "example.org" = "verify" }')
    found: dict[str, object] = {}
    for key, level in value.items():
        pattern = _domain_pattern(_text(key))
        if pattern == "*":
            raise ValueError('"*": the level for all other domains is client.tls.default')
        if pattern in found:
            raise ValueError(f'"{key}" is there twice')
        found[pattern] = level
    return found


Count = Annotated[int, Field(ge=1, le=1_000_000_000)]
OptionalCount = Annotated[int, Field(ge=0, le=1_000_000_000)]
Duration = Annotated[float, BeforeValidator(parse_duration)]
PositiveDuration = Annotated[Duration, AfterValidator(_positive)]
Durations = Annotated[tuple[PositiveDuration, ...], AfterValidator(not_empty)]
Size = Annotated[int, BeforeValidator(parse_size)]
Domain = Annotated[str, AfterValidator(_domain)]
HostName = Annotated[str, AfterValidator(_host_name)]
OptionalHostName = Annotated[str, AfterValidator(_host_name_or_nothing)]
DomainPattern = Annotated[str, AfterValidator(_domain_pattern)]
Network = Annotated[str, AfterValidator(_network)]
OptionalMailbox = Annotated[str, AfterValidator(_address)]
Languages = Annotated[tuple[Annotated[str, AfterValidator(_language)], ...], AfterValidator(not_empty)]
OptionalIP = Annotated[str, AfterValidator(_ip_or_nothing)]
Server = Annotated[tuple[str, int], BeforeValidator(_server)]
Name = Annotated[str, AfterValidator(_name)]
EndpointText = Annotated[str, AfterValidator(_endpoint)]
OptionalEndpoint = Annotated[str, AfterValidator(_endpoint_or_nothing)]
Role = Annotated[str, AfterValidator(_role)]
Workers = Annotated[int, AfterValidator(_workers)]
Mode = Annotated[int, BeforeValidator(_mode)]
BelowState = Annotated[str, AfterValidator(_below_state)]
LogFile = Annotated[str, AfterValidator(_log_file)]
DirectoryPath = Annotated[Path, BeforeValidator(_path)]
FilePath = Annotated[str, AfterValidator(_file)]
OptionalFile = Annotated[str, AfterValidator(_file_or_nothing)]
TlsName = Annotated[str, AfterValidator(_tls_name)]
Fingerprint = Annotated[str, AfterValidator(_fingerprint)]
CipherList = Annotated[str, AfterValidator(_ciphers)]
OptionalPath = Annotated[str, AfterValidator(_path_or_nothing)]
MaildirTemplate = Annotated[str, AfterValidator(check_template)]
Hop = Annotated[NextHop, BeforeValidator(_parse_next_hop)]
Mechanisms = Annotated[tuple[Annotated[str, AfterValidator(_mechanism)], ...], AfterValidator(not_empty)]
Tls = Annotated[TlsLevel, BeforeValidator(_tls_level)]
OptionalTls = Annotated[TlsLevel | None, BeforeValidator(lambda value: None if value == "" else _tls_level(value))]
DomainLevels = Annotated[dict[str, Tls], BeforeValidator(_distinct_patterns), AfterValidator(FrozenTable)]
RecipientPattern = Annotated[Pattern, BeforeValidator(_parse_pattern)]
RecipientPatterns = Annotated[tuple[RecipientPattern, ...], AfterValidator(not_empty)]
