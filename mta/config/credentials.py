"""
Compare who we are at next hops with the rest of the configuration.

Owns: what must hold between the user, the password, the token, the mechanisms and the TLS of a route, and in
[[client.tokens]].
Never: looks outside the configuration.
"""

from __future__ import annotations

from collections.abc import Iterator

from mta.config.lines import Location
from mta.config.schema import Settings
from mta.config.sending import RouteTable
from mta.destination import Transport
from mta.login import BY_PASSWORD, BY_TOKEN
from mta.tls_policy import TlsLevel

Conflict = tuple[Location, str]


def logins(settings: Settings) -> Iterator[Conflict]:
    """The credentials of routes."""
    names = {table.name for table in settings.client.tokens}
    for number, route in enumerate(settings.routes):
        where = ("route", number)
        if not (route.user or route.password or route.token):
            continue
        if route.next_hop.transport not in (Transport.SMTP, Transport.SMTPS):
            yield (*where, "user"), f'has no meaning for "{route.next_hop}": AUTH is for smtp:// and smtps://'
        elif found := _incomplete(route):
            yield (*where, found[0]), found[1]
        elif "\0" in route.user + route.password:
            yield (*where, "user"), "neither user nor password can have a NUL in it (RFC 4616 2)"
        elif "\1" in route.user:
            yield (*where, "user"), "a user can't have a control character in it"
        elif route.tls is TlsLevel.MAY:
            reason = '"may" could send the password in clear; write "verify" or "encrypt", or "none" to do so always'
            yield (*where, "tls"), reason
        elif route.token and route.token not in names:
            known = ", ".join(sorted(names)) or "there is none"
            yield (*where, "token"), f'"{route.token}" is no name of client.tokens: {known}'
        elif set(route.mechanisms).isdisjoint(BY_TOKEN if route.token else BY_PASSWORD):
            there, usable = ("token", BY_TOKEN) if route.token else ("password", BY_PASSWORD)
            yield (*where, "mechanisms"), f"has none for a {there}: {', '.join(usable)}"


def _incomplete(route: RouteTable) -> tuple[str, str] | None:
    """What is missing, or there too much, and the sentence about it."""
    if route.password and route.token:
        return "token", "there is a password, too; it is one or the other"
    if not route.user:
        return "user", f"is empty, and {'token' if route.token else 'password'} is not; AUTH takes both"
    if not route.password and not route.token:
        return "password", "is empty, and user is not; AUTH takes both"
    return None


def tokens(settings: Settings) -> Iterator[Conflict]:
    """The tables [[client.tokens]]."""
    seen: set[str] = set()
    for number, table in enumerate(settings.client.tokens):
        where = ("client", "tokens", number)
        if table.name in seen:
            yield (*where, "name"), f'"{table.name}" is there twice'
        seen.add(table.name)
        if not table.client_id:
            yield (*where, "client_id"), "is empty; the endpoint must know who asks"
        if table.grant == "client_credentials":
            if not table.client_secret:
                yield (*where, "client_secret"), "is missing: client_credentials are just that (RFC 6749 4.4)"
            if table.refresh_token:
                yield (*where, "refresh_token"), 'has no meaning for grant = "client_credentials"'
        elif not table.refresh_token:
            yield (*where, "refresh_token"), 'is missing: grant = "refresh_token" begins with one'
