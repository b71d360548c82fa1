"""
The TLS policies of the configuration.

Owns: which of its words counts for a recipient domain at a next hop.
Never: asks anybody; MTA-STS and DANE stand in front of it, and ask it first.
Fails: never; each domain has a policy at each next hop.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_address

from zope.interface import implementer

from mta.address import is_ip_address
from mta.destination import Host, NextHop, Route, Transport
from mta.envelope import RequireTls
from mta.interfaces import ITlsPolicies
from mta.outcome import Deferral, Phase, Scope
from mta.tls_policy import DEFAULT_POLICY, NO_TLS, TlsLevel, TlsPolicy, TlsSource

# What a next hop gets where nobody says a word: LMTP is spoken at home, a mailbox has no connection, and who writes
# smtps:// means the host that he names.
_BY_TRANSPORT: Mapping[Transport, TlsPolicy] = {
    Transport.SMTPS: TlsPolicy(TlsLevel.VERIFY),
    Transport.LMTP: NO_TLS,
    Transport.LMTP_UNIX: NO_TLS,
    Transport.MAILDIR: NO_TLS,
    Transport.DISCARD: NO_TLS,
    Transport.ERROR: NO_TLS,
    Transport.PIPE: NO_TLS,
    Transport.MBOX: NO_TLS,
    Transport.CAPTURE: NO_TLS,
    Transport.HTTPS: NO_TLS,  # it has TLS of its own, always
    Transport.HTTP: NO_TLS,
}


@implementer(ITlsPolicies)
class ConfiguredTls:
    """
    `default` is the level for MX hosts and ``smtp://``; `domains` has those of recipient domains: "example.org", and
    ".example.org" for all below it.

    A route's own word comes first, for it speaks of the hosts it leads to; then the domain's, the nearest one; then
    the default.
    """

    def __init__(self, default: TlsLevel, domains: Mapping[str, TlsLevel]) -> None:
        self._default = DEFAULT_POLICY if default is TlsLevel.MAY else TlsPolicy(default)
        # One value for each word: the planner compares them by identity before it compares them at all.
        self._routes = {level: TlsPolicy(level, TlsSource.ROUTE) for level in TlsLevel}
        by_level = {level: TlsPolicy(level, TlsSource.DOMAIN) for level in TlsLevel}
        self._domains = {domain: by_level[level] for domain, level in domains.items()}

    def policy(self, domain: str, route: Route) -> TlsPolicy:
        if route.tls is not None:
            return self._routes[route.tls]
        if route.login is not None:
            return _BY_TRANSPORT[Transport.SMTPS]  # whom we tell a password we want to know
        if self._domains and route.next_hop.transport in (Transport.MX, Transport.SMTP, Transport.SMTPS):
            found = self._for_domain(domain)
            # Behind smtps:// there is no way but TLS: a word that demands none says nothing of it.
            if found is not None and (found.demands_tls or route.next_hop.transport is not Transport.SMTPS):
                return found
        return _BY_TRANSPORT.get(route.next_hop.transport, self._default)

    def wished(self, domain: str, route: Route, wish: RequireTls, *, is_report: bool) -> TlsPolicy:
        found = self.policy(domain, route)
        # What the operator demands holds for all mail, and what stays within this host is protected by that.
        if wish is RequireTls.NO or is_here(route.next_hop):
            return found
        # RFC 8689 4.2.1: a host that the operator names needs nobody to vouch for it. An MX record could be forged, and
        # then only the domain itself is known to be right.
        name = route.next_hop.target or domain
        is_looked_up = route.next_hop.transport is Transport.MX and not name.startswith("[")
        hosts = (name,) if is_looked_up else ()
        required = TlsPolicy(TlsLevel.VERIFY, TlsSource.REQUIRETLS, hosts=hosts, requiretls=True)
        if found.level is TlsLevel.DANE:
            required = replace(found, requiretls=True)
        return replace(required, otherwise=found) if is_report else required

    def at_host(self, policy: TlsPolicy, host: Host) -> TlsPolicy | Deferral:
        if policy.level is TlsLevel.DANE and policy.tlsa is None:
            reason = f"DANE is demanded ({policy.source.value}), and no usable TLSA records of {host.name} are known"
            return Deferral(reason, Phase.TLS, Scope.MESSAGE, host.name, enhanced="4.7.5")
        return policy

    def _for_domain(self, domain: str) -> TlsPolicy | None:
        found = self._domains.get(domain)
        above = domain
        while found is None and above:
            _, _, above = above.partition(".")
            found = self._domains.get(f".{above}")
        return found


def is_here(next_hop: NextHop) -> bool:
    """Whether a next hop is no mail server, or one within this host: LMTP to a socket or over loopback."""
    if next_hop.transport is Transport.LMTP:
        target = next_hop.target
        return target == "localhost" or (is_ip_address(target) and ip_address(target).is_loopback)
    return next_hop.transport not in (Transport.MX, Transport.SMTP, Transport.SMTPS)
