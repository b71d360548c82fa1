"""
Compare options with one another.

Owns: what must hold between options that are each right for themselves.
Never: looks outside the configuration (`mta/config/checking.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from pathlib import PurePosixPath

from mta.config import agents, credentials, logins, residents
from mta.config.authentication import TOKENS
from mta.config.lines import Location
from mta.config.schema import Settings
from mta.destination import Transport
from mta.routing.patterns import FirstMatch
from mta.tls_policy import TlsLevel

Conflict = tuple[Location, str]

# What `mta/spool/` and `mta/delivery/` keep in state_dir, below our layer; SQLite adds endings of its own to the first.
SPOOL_FILE = "spool.sqlite"
OTHER_FILES = ("lock", "turn", "ballast", "content", "sts", "tlsrpt", "tokens", "tmp")
_OVER_NETWORK = (Transport.MX, Transport.SMTP, Transport.SMTPS, Transport.LMTP)
# The languages of mta/message/notices/.
SHIPPED_LANGUAGES = ("en", "de")


def conflicts(settings: Settings, invalid: Collection[str]) -> Iterator[Conflict]:
    """
    What contradicts itself, each with the location to blame.

    `invalid` are keys such as "queue.lifetime" whose values were wrong and have been replaced by their defaults, or
    "local.aliases.sales" that have been left out: no comparison with them is made.
    """
    for keys, compare in _COMPARISONS:
        if not any(name == key or name.startswith(f"{key}.") for name in invalid for key in keys):
            yield from compare(settings)


def _listeners(settings: Settings) -> Iterator[Conflict]:
    if not settings.listeners:
        yield ("listener",), "there is none; without a [[listener]] no mail comes in"
    for key in ("name", "endpoint"):
        seen: dict[str, int] = {}
        for number, listener in enumerate(settings.listeners):
            value = getattr(listener, key)
            first = seen.setdefault(value, number)
            if first != number:
                yield ("listener", number, key), f'"{value}" is that of listener {first + 1} already'


def _listener_tls(settings: Settings) -> Iterator[Conflict]:
    for number, listener in enumerate(settings.listeners):
        if listener.tls == "implicit" and not settings.tls.certificates:
            yield ("listener", number, "tls"), '"implicit" needs a certificate; there are no tls.certificates'
    if settings.tls.certificates:
        return
    for key in ("client_certificates", "client_authorities"):
        if getattr(settings.relay, key):
            yield ("relay", key), "nobody can show a certificate without TLS; there are no tls.certificates"


def _policy_site(settings: Settings) -> Iterator[Conflict]:
    endpoint, where = settings.sts.policy.serve, ("sts", "policy", "serve")
    if not endpoint:
        return
    if not settings.tls.certificates:
        yield where, "the policy is served over HTTPS, and there are no tls.certificates"
    if not any(name[0] not in ".*" for name in (*settings.local.domains, *settings.relay.domains)):
        yield where, "there is nobody to serve it for: no domain is named in local.domains or relay.domains"
    for number, listener in enumerate(settings.listeners, 1):
        if listener.endpoint == endpoint:
            yield where, f'"{endpoint}" is that of listener {number} already'


def _domains(settings: Settings) -> Iterator[Conflict]:
    local = set(settings.local.domains)
    for number, domain in enumerate(settings.relay.domains):
        if domain in local:
            yield ("relay", "domains", number), f'"{domain}" is in local.domains too; a domain is one or the other'


def _etrn(settings: Settings) -> Iterator[Conflict]:
    for number, domain in enumerate(settings.relay.etrn_domains):
        if domain in settings.local.domains:
            yield (
                ("relay", "etrn_domains", number),
                f'"{domain}" is in local.domains: its mail never waits for a client',
            )


def _refused(settings: Settings) -> Iterator[Conflict]:
    for number, network in enumerate(settings.relay.refused):
        if network in settings.relay.networks:
            yield ("relay", "refused", number), f'"{network}" is in relay.networks too; it is one or the other'


def _languages(settings: Settings) -> Iterator[Conflict]:
    for number, language in enumerate(settings.bounce.languages):
        if language in settings.bounce.languages[:number]:
            yield ("bounce", "languages", number), f'"{language}" is there twice'
        elif language not in SHIPPED_LANGUAGES and not settings.bounce.templates:
            reason = f'"{language}" is not shipped; {" and ".join(SHIPPED_LANGUAGES)} are, others need bounce.templates'
            yield ("bounce", "languages", number), reason


def _maildir(settings: Settings) -> Iterator[Conflict]:
    users = settings.local.users
    if (len(users) > 1 or "*" in users) and "{user}" not in settings.local.maildir:
        yield ("local", "maildir"), "has no {user}: the mail of all users would go into one Maildir"


def _routes(settings: Settings) -> Iterator[Conflict]:
    first = FirstMatch(route.recipients for route in settings.routes)
    for number, route in enumerate(settings.routes):
        for index, pattern in enumerate(route.recipients):
            earlier = first.covering(pattern)
            if earlier is not None and earlier < number:
                reason = f'"{pattern}" never matches: route {earlier + 1} comes first and has all of it'
                yield ("route", number, "recipients", index), reason


def _tls(settings: Settings) -> Iterator[Conflict]:
    for number, route in enumerate(settings.routes):
        transport, level = route.next_hop.transport, route.tls
        if level is None:
            continue
        if transport not in _OVER_NETWORK:
            yield ("route", number, "tls"), f'has no meaning for "{route.next_hop}": nothing goes over a network'
        elif transport is Transport.SMTPS and level in (TlsLevel.NONE, TlsLevel.MAY):
            yield ("route", number, "tls"), f'"{level.value}" contradicts smtps://, which is TLS from the first octet'


def _tls_reports(settings: Settings) -> Iterator[Conflict]:
    for key in ("contact", "sender"):
        address = getattr(settings.tls.reports, key)
        # RFC 8460 5.3: its domain stands in fields and file names, as the DNS has it.
        if not address.isascii() or address.endswith("]"):
            yield ("tls", "reports", key), f'"{address}" must be in ASCII, at a domain of the DNS'


def _lifetimes(settings: Settings) -> Iterator[Conflict]:
    queue = settings.queue
    for key in ("lifetime", "bounce_lifetime"):
        if getattr(queue, key) <= queue.retry[0]:
            yield ("queue", key), "must be longer than the first wait of queue.retry, or nothing is ever tried again"


def _dead_sites(settings: Settings) -> Iterator[Conflict]:
    if settings.queue.dead_initial > settings.queue.dead_maximum:
        yield ("queue", "dead_initial"), "must not be longer than queue.dead_maximum"


def _connections(settings: Settings) -> Iterator[Conflict]:
    if settings.queue.site_connections_initial > settings.queue.site_connections:
        yield ("queue", "site_connections_initial"), "must not be more than queue.site_connections"


def _errors(settings: Settings) -> Iterator[Conflict]:
    if settings.limits.errors_hard < settings.limits.errors_soft:
        yield ("limits", "errors_hard"), "must not be less than limits.errors_soft"


def _files(settings: Settings) -> Iterator[Conflict]:
    """The log is appended to what it finds, and the spool is no place for it."""
    log, control = PurePosixPath(settings.log.file), PurePosixPath(settings.control.socket)
    users = PurePosixPath(settings.auth.users)
    for location, path in ((("log", "file"), log), (("control", "socket"), control), (("auth", "users"), users)):
        if path.parts and (path.parts[0].startswith(SPOOL_FILE) or path.parts[0] in OTHER_FILES):
            yield location, f'"{path}" is a file of the queue; choose another name'
    if log == control:
        yield ("log", "file"), f'"{log}" is control.socket already'
    if users in (log, control):
        yield ("auth", "users"), f'"{users}" is a file of another kind already'


def _auth(settings: Settings) -> Iterator[Conflict]:
    auth = settings.auth
    if auth.backend == "function" and not auth.function:
        yield ("auth", "function"), 'must name a function: auth.backend is "function"'
    if auth.backend == "dovecot" and not auth.dovecot:
        yield ("auth", "dovecot"), 'must name a socket: auth.backend is "dovecot"'
    told = [name for name in auth.mechanisms if not name.startswith("SCRAM") and name not in TOKENS]
    if auth.backend in ("dovecot", "function") and not told:
        yield ("auth", "mechanisms"), f'has SCRAM alone, and auth.backend "{auth.backend}" needs to be told a password'
    for number, listener in enumerate(settings.listeners):
        where = ("listener", number)
        if listener.auth and auth.backend == "none" and not auth.oauth.is_used:
            yield (*where, "auth"), "nobody can log in: auth.backend is missing"
        if listener.auth and listener.role in ("lmtp", "closed"):
            yield (*where, "auth"), f"is not for role {listener.role}"
        if listener.auth_without_tls and not logins.is_on_loopback(listener.endpoint):
            yield (
                (*where, "auth_without_tls"),
                "passwords would cross the network in clear: bind the endpoint to loopback (interface=127.0.0.1)",
            )


def _oauth(settings: Settings) -> Iterator[Conflict]:
    oauth, where = settings.auth.oauth, ("auth", "oauth")
    if oauth.introspection and oauth.jwks:
        yield (*where, "jwks"), "introspection is there already; a token is judged by one of them"
    elif oauth.introspection:
        for key in ("client_id", "client_secret"):
            if not getattr(oauth, key):
                yield (*where, key), "is missing: an introspection endpoint answers to those it knows (RFC 7662 2.1)"
    elif oauth.jwks:
        # RFC 8725 3.8, 3.9: else a token for any other service of any issuer that shares the keys would do here.
        for key in ("issuer", "audience"):
            if not getattr(oauth, key):
                yield (*where, key), "is missing: without it tokens that were given to others would be taken here"
    elif any(getattr(oauth, key) for key in ("client_id", "issuer", "audience", "scopes")):
        yield where, "has neither introspection nor jwks; nobody can log in with a token"
    if oauth.is_used and not any(name in settings.auth.mechanisms for name in TOKENS):
        yield ("auth", "mechanisms"), f"has neither {' nor '.join(TOKENS)}, and auth.oauth is there"


# Each comparison with the keys that it reads.
_COMPARISONS: tuple[tuple[tuple[str, ...], Callable[[Settings], Iterator[Conflict]]], ...] = (
    (("listener",), _listeners),
    (("listener", "tls", "relay.client_certificates", "relay.client_authorities"), _listener_tls),
    (("local.domains", "relay.domains"), _domains),
    (("listener", "tls", "local.domains", "relay.domains", "sts.policy"), _policy_site),
    (
        ("hostname", "local.domains", "local.users", "local.aliases", "local.moved", "local.moved_reply"),
        residents.conflicts,
    ),
    (("local.domains", "relay.etrn_domains"), _etrn),
    (("relay.networks", "relay.refused"), _refused),
    (("bounce.languages", "bounce.templates"), _languages),
    (("local.maildir", "local.users"), _maildir),
    (("route",), _routes),
    (("route",), _tls),
    (("tls.reports",), _tls_reports),
    (("route", "client.tokens"), credentials.logins),
    (("client.tokens",), credentials.tokens),
    (("queue.retry", "queue.lifetime", "queue.bounce_lifetime"), _lifetimes),
    (("queue.dead_initial", "queue.dead_maximum"), _dead_sites),
    (("queue.site_connections_initial", "queue.site_connections"), _connections),
    (("limits.errors_soft", "limits.errors_hard"), _errors),
    (("log.file", "control.socket", "auth.users"), _files),
    (("listener", "auth"), _auth),
    (("auth",), _oauth),
    (("listener", "auth", "tls", "relay"), logins.conflicts),
    (("delivery", "route"), agents.conflicts),
)
