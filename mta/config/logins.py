"""
Compare what has to come together for somebody to log in, or to send without.

Owns: whether AUTH can succeed at a listener, and who else a listener of role submission would take mail from.
Never: asks whether a user is there (`mta check` looks at the file of users).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from mta.config.lines import Location
from mta.config.receiving import Listener
from mta.config.schema import Settings


def conflicts(settings: Settings) -> Iterator[tuple[Location, str]]:
    """Listeners at which AUTH, or anybody at all, has no way to succeed, each with the location to blame."""
    has_users = _has_users(settings)
    if has_users and not settings.auth.mechanisms:
        yield ("auth", "mechanisms"), "is empty: nobody can log in"
    for number, listener in enumerate(settings.listeners):
        where = ("listener", number)
        if not has_users:
            # With `auth = true` the missing backend is an error in any case (`mta/config/consistency.py`).
            if listener.role == "submission" and not listener.auth and not _trusts_somebody(settings, listener):
                yield (
                    (*where, "role"),
                    "nobody can send here: auth.backend is missing, so there is no AUTH, and relay.networks has nobody"
                    ' who reaches the endpoint; write backend = "file" below [auth], and see `mta user`',
                )
        elif listener.auth or listener.role == "submission":
            yield from ((where + key, reason) for key, reason in _without_a_way(settings, listener))


def remarks(settings: Settings) -> Iterator[tuple[Location, str]]:
    """What works, and may not be what was meant."""
    for number, listener in enumerate(settings.listeners):
        if listener.role == "submission" and not _has_users(settings):
            yield ("listener", number, "role"), "only relay.networks can send here: auth.backend is missing"


def _has_users(settings: Settings) -> bool:
    return settings.auth.backend != "none" or settings.auth.oauth.is_used


def is_on_loopback(endpoint: str) -> bool:
    """Whether only this machine reaches an endpoint: bound to a loopback address, or a UNIX socket."""
    kind, *words = re.split(r"(?<!\\):", endpoint)
    if kind == "unix":
        return True
    interfaces = [word.partition("=")[2].replace("\\", "") for word in words if word.startswith("interface=")]
    try:
        return kind in ("tcp", "tcp6") and bool(interfaces) and ipaddress.ip_address(interfaces[-1]).is_loopback
    except ValueError:
        return interfaces[-1] == "localhost"


def _without_a_way(settings: Settings, listener: Listener) -> Iterator[tuple[tuple[str, ...], str]]:
    """Why nobody can log in at a listener that offers it."""
    has_tls = listener.tls != "none" and bool(settings.tls.certificates)
    if not has_tls and not listener.auth_without_tls:
        reason = 'tls is "none"' if listener.tls == "none" else "there are no tls.certificates"
        remedy = "take it out" if listener.tls == "none" else "`mta tls selfsigned` makes a first one"
        key = "tls" if listener.tls == "none" else "auth" if listener.auth else "role"
        yield (
            (key,),
            f"nobody can log in here: AUTH needs TLS, and {reason}; {remedy}, or, for an endpoint on loopback, write"
            " auth_without_tls = true",
        )
    elif not has_tls and set(settings.auth.mechanisms) == {"SCRAM-SHA-256-PLUS"}:
        # RFC 5802 6: its channel is that of TLS.
        yield (
            ("auth_without_tls",),
            "nobody can log in here: auth.mechanisms has SCRAM-SHA-256-PLUS alone, which needs TLS",
        )


def _trusts_somebody(settings: Settings, listener: Listener) -> bool:
    """Whether there are clients that may send without logging in, as far as addresses tell."""
    relay = settings.relay
    if listener.tls != "none" and (relay.client_certificates or relay.client_authorities):
        return True
    networks = [ipaddress.ip_network(network) for network in relay.networks]
    if listener.endpoint.startswith("tcp") and not is_on_loopback(listener.endpoint):
        # That this machine reaches it as well is no reason to bind it to the network.
        return not all(network.is_loopback for network in networks)
    return bool(networks)
