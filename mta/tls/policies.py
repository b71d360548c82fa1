"""
The TLS policies that domains publish, in front of the configured ones.

Owns: where DANE and MTA-STS are asked, and which word counts: the configuration's, else DANE's (RFC 7672), else
MTA-STS's (RFC 8461), else the default.
Never: asks the DNS or a web server itself, judges a certificate.
Fails: never; a question that can't be answered is a `Deferral`, as `ITlsPolicies` has it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import TypeVar

from OpenSSL import SSL
from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure
from zope.interface import implementer

from mta.destination import Host, Route, Transport
from mta.envelope import RequireTls
from mta.interfaces import IStsPolicies, ITlsPolicies
from mta.outcome import Deferral, Phase, Scope
from mta.sts_policy import Mode, StsPolicy
from mta.tls.dane import judge_connection
from mta.tls.dane_lookup import DaneLookup, DaneRecords, Found
from mta.tls_policy import TlsLevel, TlsPolicy, TlsSource

Known = TlsPolicy | Deferral
T = TypeVar("T")

# A default of `none` is the operator's word that there is no TLS, one of `dane` demands all that can be demanded.
_RAISED = (TlsLevel.MAY, TlsLevel.ENCRYPT, TlsLevel.VERIFY)
_NAMED_HOST = (Transport.SMTP, Transport.SMTPS, Transport.LMTP)


@implementer(ITlsPolicies)
class DiscoveredTls:
    """
    `configured` has the first word and the last: what a route or a domain has in the configuration stands, what is its
    default is raised. `validates` tells whether secure answers are to be had now; while they are not, mail goes as
    without DANE. Without `sts` no MTA-STS policies are followed. `heeds_no`: mail whose sender says that TLS is not
    required goes by the configuration alone (RFC 8689 4.2.2).
    """

    def __init__(
        self,
        configured: ITlsPolicies,
        dane: DaneLookup,
        validates: Callable[[], bool],
        sts: IStsPolicies | None,
        *,
        heeds_no: bool = True,
    ) -> None:
        self._heeds_no = heeds_no
        self._configured = configured
        self._dane = dane
        self._validates = validates
        self._sts = sts

    def policy(self, domain: str, route: Route) -> Known | Deferred[Known]:
        found = self._configured.policy(domain, route)
        if not isinstance(found, TlsPolicy):
            return found
        if route.next_hop.transport is not Transport.MX:
            # Who names a host in the configuration needs no MX record that vouches for it (RFC 7672 2.2.1).
            is_asked = found.level is TlsLevel.DANE and route.next_hop.transport in _NAMED_HOST
            return replace(found, dane=(route.next_hop.target,)) if is_asked else found
        # RFC 8461 3.4: the policy is that of the domain whose MX records are followed.
        name = route.next_hop.target or domain
        if name.startswith("["):  # an address literal has no zone
            return found
        is_open = route.tls is None and route.login is None and found.source is TlsSource.DEFAULT
        is_raised = is_open and found.level in _RAISED
        wants_dane = (is_raised or found.level is TlsLevel.DANE) and self._validates()
        sts = self._sts if is_raised else None
        if not wants_dane and sts is None:
            return found
        return _at_once(Deferred.fromCoroutine(self._discovered(name, found, sts, wants_dane=wants_dane)))

    async def _discovered(
        self, domain: str, configured: TlsPolicy, sts: IStsPolicies | None, *, wants_dane: bool
    ) -> Known:
        names: Deferred[tuple[str, ...] | Deferral] = self._dane.names(domain) if wants_dane else succeed(())
        published: Deferred[StsPolicy | None] = sts.policy(domain) if sts is not None else succeed(None)
        # Both are under way; neither fails.
        secure, policy = await names, await published
        if isinstance(secure, Deferral):
            return secure
        found = configured
        if policy is not None and policy.is_enforced:
            found = TlsPolicy(TlsLevel.VERIFY, TlsSource.MTA_STS, hosts=policy.mx)
        elif policy is not None and policy.mode is Mode.TESTING:
            found = replace(found, tested=policy.mx)
        # Where nothing was found it is the same value: the planner compares by identity first.
        return replace(found, dane=secure) if secure else found

    def wished(self, domain: str, route: Route, wish: RequireTls, *, is_report: bool) -> Known | Deferred[Known]:
        found = self._configured.wished(domain, route, wish, is_report=is_report)
        if not isinstance(found, TlsPolicy):
            return found
        if wish is RequireTls.NO:
            # DANE that the operator demands has to be asked for all the same.
            return found if self._heeds_no and found.level is not TlsLevel.DANE else self.policy(domain, route)
        if not found.requiretls:
            return self.policy(domain, route)
        name = route.next_hop.target or domain
        if route.next_hop.transport is Transport.MX and not name.startswith("["):
            usual = self.policy(domain, route) if is_report else found
            return _at_once(Deferred.fromCoroutine(self._required(name, found, usual)))
        return replace(found, dane=(route.next_hop.target,)) if found.level is TlsLevel.DANE else found

    async def _required(self, name: str, required: TlsPolicy, usual: Known | Deferred[Known]) -> Known:
        """
        What REQUIRETLS takes where MX records lead to the hosts: somebody who vouches for these (RFC 8689 4.2.1).

        `usual` is what a report falls back to, the same as `required` for other mail.
        """
        ordinary = await usual if isinstance(usual, Deferred) else usual
        secure = await self._dane.names(name) if self._validates() else ()
        if isinstance(ordinary, Deferral):
            return ordinary
        if isinstance(secure, Deferral):
            return secure
        is_report = ordinary is not required
        if is_report:
            required = replace(required, otherwise=ordinary)
        if secure:
            required = replace(required, dane=secure)
        if required.level is TlsLevel.DANE:
            return required
        policy = await self._sts.policy(name) if self._sts is not None else None
        # A policy in testing names the hosts as well as an enforced one does, and is of use where nothing else does.
        if policy is not None and policy.mx and (policy.is_enforced or (policy.mode is Mode.TESTING and not secure)):
            return replace(required, source=TlsSource.MTA_STS, hosts=policy.mx)
        if secure:
            return replace(required, hosts=())
        doubt = self._sts.doubt(name) if self._sts is not None and policy is None else ""
        if doubt and not is_report:
            # What could not be asked must not make the message come back.
            reason = f"cannot tell who vouches for the mail hosts of {name}, which REQUIRETLS takes: {doubt}"
            return Deferral(reason, Phase.TLS, Scope.MESSAGE, enhanced="4.7.10")
        return required

    def at_host(self, policy: TlsPolicy, host: Host) -> Known | Deferred[Known]:
        if not policy.dane:
            return self._configured.at_host(policy, host)
        asked = self._dane.for_host(host.name, host.port, mx_secure=True, names=policy.dane)
        return asked.addCallback(self._with_records, policy, host)

    def _with_records(self, found: Found, policy: TlsPolicy, host: Host) -> Known | Deferred[Known]:
        if isinstance(found, Deferral):
            return found
        known = raised(replace(policy, dane=()), found) if found is not None else replace(policy, dane=())
        return self._configured.at_host(known, host)


def raised(policy: TlsPolicy, found: DaneRecords) -> TlsPolicy:
    """
    The policy for a host that has TLSA records.

    Records that authenticate replace what MTA-STS demands: RFC 8461 2 does not let it override DANE. Without a usable
    one the host must speak TLS all the same (RFC 7672 2.2), and what else was demanded stands.
    """
    if found.authenticates:
        source = policy.source if policy.level is TlsLevel.DANE else TlsSource.DANE
        known = replace(policy, level=TlsLevel.DANE, source=source, names=found.names[1:], hosts=(), tested=())
        return replace(known, tlsa=found.records, base=found.base)
    if policy.level is TlsLevel.MAY:
        return TlsPolicy(TlsLevel.ENCRYPT, TlsSource.DANE, tlsa=found.records, base=found.base)
    return policy


def judge_by(seconds: Callable[[], float]) -> Callable[[SSL.Connection, TlsPolicy], str]:
    """What `ClientTls` compares certificates with TLSA records by; `seconds` since 1970 is the time."""

    def trouble(connection: SSL.Connection, policy: TlsPolicy) -> str:
        names = (policy.base, *policy.names)
        verdict = judge_connection(connection, policy.tlsa or (), names, datetime.fromtimestamp(seconds(), UTC))
        return "" if verdict.accepted else verdict.reason

    return trouble


def _at_once(found: Deferred[T]) -> T | Deferred[T]:
    """The result itself where it is there already: what caches know costs the queue no turn."""
    if not found.called or isinstance(found.result, Failure):
        return found
    result: T = found.result  # type: ignore[assignment]  # not a Deferred: the coroutine is over
    return result
