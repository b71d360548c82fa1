"""
Tell of each session whose hosts MX records named what became of TLS in it (RFC 8460).

Owns: what is a session, for whom it counts, and what its trouble is called.
Never: keeps a count (`ITlsReports` does), decides what a connection may carry.

A session counts once for each policy domain whose mail it carries. What fails before TLS (no answer, a bad greeting) is
transient and not told (RFC 8460 4.3.4). A connection that is made in clear because TLS has failed at that host already
is no try of TLS, and does not count.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from mta.delivery.connecting import Server
from mta.destination import Host, Transport
from mta.entry import Delivery
from mta.envelope import RequireTls
from mta.interfaces import ITlsReports
from mta.outcome import Deferral, Phase, Scope
from mta.tls_policy import TlsLevel, TlsPolicy
from mta.tls_report import Finding, Result, Session

# Of the DNS only a failed proof is worth a report: RFC 8460 4.3.2.1 has SERVFAIL for it, a time-out is transient.
_FAILED_PROOF = "SERVFAIL"


class Opened(Protocol):
    """What is to be known of a connection: `mta.delivery.connection.ClientConnection`."""

    finding: Finding | None
    tls_trouble: str
    local_ip: str

    @property
    def tls_refused(self) -> str: ...

    @property
    def greeted_as(self) -> str: ...


class TlsWatch:
    """Over one connection to `server`, for mail to `domains` at first."""

    def __init__(self, reports: ITlsReports, server: Server, domains: Iterable[str]) -> None:
        self._reports = reports
        self._server = server
        self._domains = set(domains)
        self._session: Session | None = None

    def opened(self, connection: Opened, why: Deferral | None) -> None:
        """It is ready for mail, or was given up: `why`."""
        finding = _finding(connection, why)
        if finding is None:
            return
        server = self._server
        if finding.result is None and not server.policy.lists_host(server.name):
            finding = _unlisted(server.name)
        self._session = Session(finding, connection.local_ip, server.name, connection.greeted_as, server.address)
        if self._domains:
            self._reports.count(self._domains, server.policy, self._session)

    def used_for(self, domains: Iterable[str]) -> None:
        """It carries a message to these domains."""
        new = set(domains) - self._domains
        if new and self._session is not None:
            self._domains |= new
            self._reports.count(new, self._server.policy, self._session)


class TlsSessions:
    """Watches the connections of an agent."""

    def __init__(self, reports: ITlsReports) -> None:
        self._reports = reports

    def watch(self, delivery: Delivery, server: Server) -> TlsWatch | None:
        """For a new connection; None where it is of no interest."""
        if delivery.destination.next_hop.transport is not Transport.MX or server.policy.level is TlsLevel.NONE:
            return None
        return TlsWatch(self._reports, server, domains_of(delivery))

    def host_passed_over(self, delivery: Delivery, host: Host, policy: TlsPolicy, why: Deferral | None) -> None:
        """A host that was not connected to: `why`, or it is none that the domain's policy lists."""
        domains = domains_of(delivery)
        if not domains:
            return
        if why is None:
            finding = _unlisted(host.name)
        elif why.phase is Phase.TLS:
            finding = Finding(Result.DANE_REQUIRED, why.reason)
        elif why.phase is Phase.DNS and _FAILED_PROOF in why.reason:
            finding = Finding(Result.DNSSEC_INVALID, why.reason)
        else:
            return
        self._reports.count(domains, policy, Session(finding, host=host.name))


def domains_of(delivery: Delivery) -> frozenset[str]:
    """
    The policy domains of a delivery: those whose MX records led to its hosts.

    None where the operator named the host (it is his, and not theirs), and none for a report: RFC 8460 3 would have it
    told of no session that carried one. Nor for mail with REQUIRETLS (RFC 8689): it goes by
    its sender's word, and not by what the domain publishes.
    """
    next_hop, envelope = delivery.destination.next_hop, delivery.envelope
    if next_hop.transport is not Transport.MX or envelope.tls_report or envelope.require_tls is RequireTls.YES:
        return frozenset()
    if next_hop.target:
        return frozenset((next_hop.target,))
    return frozenset(each.domain for each in delivery.recipients if not each.domain.startswith("["))


def _finding(connection: Opened, why: Deferral | None) -> Finding | None:
    """What a report says of it; None for trouble that has nothing to do with TLS."""
    if connection.finding is not None:
        return connection.finding
    if why is None:
        return Finding(Result.STARTTLS_NOT_SUPPORTED, connection.tls_refused)
    if why.phase is not Phase.TLS or why.scope is Scope.OURSELVES:
        return None
    if connection.tls_trouble:
        return Finding(Result.VALIDATION_FAILURE, connection.tls_trouble)
    if why.enhanced == "4.7.4":
        return Finding(Result.STARTTLS_NOT_SUPPORTED, str(why.reply) if why.reply else "")
    return Finding(Result.VALIDATION_FAILURE, why.reason)


def _unlisted(name: str) -> Finding:
    return Finding(Result.VALIDATION_FAILURE, f"{name} is none of the hosts that the policy lists")
