"""
Where a recipient's message goes: next hop, route, hosts, site.

Owns: these values and the spelling of a next hop.
Never: decides one (that is `mta/routing/`) or connects to one (`mta/delivery/`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from mta.login import Login
from mta.tls_policy import DEFAULT_POLICY, TlsLevel, TlsPolicy


class Transport(Enum):
    """The kinds of next hop; the value is the scheme of its URL."""

    MX = "mx"
    SMTP = "smtp"
    SMTPS = "smtps"
    LMTP = "lmtp"
    LMTP_UNIX = "lmtp+unix"
    MAILDIR = "maildir"
    DISCARD = "discard"
    ERROR = "error"
    PIPE = "pipe"
    MBOX = "mbox"
    HTTPS = "https"
    HTTP = "http"
    CAPTURE = "capture"


@dataclass(frozen=True, slots=True)
class NextHop:
    """
    One next hop of the configuration, or several of one route: then `others` are those behind the first.

    ``mx:`` (the recipient's own domain) or ``mx:DOMAIN``; ``smtp://host:port``; ``smtps://host:port``, TLS from the
    first octet; ``lmtp://host:port``; ``lmtp+unix:PATH``; ``maildir:PATH`` and ``mbox:PATH``, where PATH may hold
    ``{user}`` and ``{domain}``; ``discard:``; ``error:REPLY``; ``pipe:NAME``; ``https://...``. `target` is
    what stands behind the scheme: the domain, the host, the path, the reply, the name, the URL; `port` is for SMTP and
    LMTP over TCP. `weight` is its share among several, None where they are tried in order.
    """

    transport: Transport
    target: str = ""
    port: int = 25
    weight: int | None = None
    others: tuple[NextHop, ...] = ()

    @property
    def each(self) -> tuple[NextHop, ...]:
        """All of them, each for itself."""
        return (replace(self, others=()), *self.others) if self.others else (self,)

    def __str__(self) -> str:
        if self.others:
            return ", ".join(map(str, self.each))
        return f"{self._place}?weight={self.weight}" if self.weight is not None else self._place

    @property
    def _place(self) -> str:
        if self.transport in (Transport.SMTP, Transport.SMTPS, Transport.LMTP):
            host = f"[{self.target}]" if ":" in self.target else self.target
            return f"{self.transport.value}://{host}:{self.port}"
        return f"{self.transport.value}:{self.target}"


@dataclass(frozen=True, slots=True)
class Route:
    """
    A next hop and the rule that chose it: "route 2 (etc/mta.toml:41)", "local domain", "MX lookup".

    `tls` is the level that the rule demands, None where it says nothing; `login` who we are there, if it says so.
    """

    next_hop: NextHop
    rule: str
    tls: TlsLevel | None = None
    login: Login | None = None


@dataclass(frozen=True, slots=True)
class Host:
    """
    A mail host: `name` as in the MX record, or an IP address; `preference` 0 where there is no MX record.

    `weight` is its share among those of equal preference (as in RFC 2782).
    """

    name: str
    port: int = 25
    preference: int = 0
    weight: int = 1


@dataclass(frozen=True, slots=True)
class Destination:
    """
    A next hop made concrete.

    `site` names the set of hosts, the same for all domains that share it: limits and connections belong to it. `hosts`
    come in preference groups, lowest first; the order inside a group is chosen at each attempt. Empty for mailboxes.
    `tls` is what the recipients demand: those who demand different things share a site, and no transaction.
    `login` is as in `Route`.
    """

    next_hop: NextHop
    site: str
    hosts: tuple[Host, ...] = ()
    tls: TlsPolicy = DEFAULT_POLICY
    login: Login | None = None
