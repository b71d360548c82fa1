"""
Count the sessions of this process for reports on TLS.

Owns: under which policy a session is counted (RFC 8460 4.4), and when counts go to the disk.
Never: makes a report.
Fails: never; counts that can't be written stay in memory, and the log says so.

A session costs some entries of dictionaries. What is counted goes to the store in a thread, `FLUSH_AFTER` seconds after
the first count: a crash loses no more than that, a stop nothing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any, Protocol

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure
from zope.interface import implementer

from mta.interfaces import ITlsReports
from mta.sts_policy import StsPolicy
from mta.tls.sts import Trouble
from mta.tls.tlsrpt_store import Counts, TlsrptStore
from mta.tls_policy import Tlsa, TlsPolicy, TlsSource
from mta.tls_report import MAX_REASON, Applied, Finding, PolicyType, Result, Session, day_of

FLUSH_AFTER = 10.0
# Different counts that are kept in memory while the disk takes none.
MAX_WAITING = 20_000

_OF_DANE = frozenset((Result.TLSA_INVALID, Result.DNSSEC_INVALID, Result.DANE_REQUIRED))


class Policies(Protocol):
    """What is known of MTA-STS: `mta.tls.sts.StsPolicies`."""

    def known(self, domain: str) -> StsPolicy | None: ...

    def trouble(self, domain: str) -> Trouble | None: ...


@implementer(ITlsReports)
class SessionCounts:
    """
    Counts for one process, into a `store` that all share.

    `sts` is what this process knows of MTA-STS policies, None where they are not followed; `run_in_thread` runs what
    blocks on the disk; `note` writes a line of the log.
    """

    def __init__(
        self,
        store: TlsrptStore,
        sts: Policies | None,
        *,
        clock: IReactorTime,
        run_in_thread: Callable[..., Deferred[Any]],
        note: Callable[[str, Mapping[str, str]], None],
    ) -> None:
        self._store = store
        self._sts = sts
        self._clock = clock
        self._run_in_thread = run_in_thread
        self._note = note
        self._counts = Counts()
        self._timer: IDelayedCall | None = None
        self._flushing: Deferred[None] = succeed(None)
        self._is_troubled = False

    def count(self, domains: Iterable[str], policy: TlsPolicy, session: Session) -> None:
        day = day_of(self._clock.seconds())
        session = _bounded(session)
        for domain in domains:
            applied = self._applied(domain, policy, session)
            self._counts.add((day, domain, applied), session)
            if applied.type is PolicyType.NONE and policy.source is TlsSource.DEFAULT:
                self._count_trouble(day, domain)
        if self._timer is None:
            self._timer = self._clock.callLater(FLUSH_AFTER, self._flush_soon)

    def _count_trouble(self, day: int, domain: str) -> None:
        """A session went without the MTA-STS policy that the domain has announced (RFC 8460 4.3.2.2)."""
        trouble = self._sts.trouble(domain) if self._sts is not None else None
        if trouble is not None and self._sts is not None and self._sts.known(domain) is None:
            finding = Finding(Result(trouble.result), trouble.reason[:MAX_REASON])
            self._counts.add((day, domain, Applied(PolicyType.STS, domain)), Session(finding))

    def _applied(self, domain: str, policy: TlsPolicy, session: Session) -> Applied:
        # RFC 8461 2: DANE comes first. RFC 8460 1.1: its policy domain is the TLSA base domain.
        if policy.tlsa or session.finding.result in _OF_DANE:
            return _of_records(policy.base or session.host, policy.tlsa or ())
        if policy.source is TlsSource.MTA_STS or policy.tested:
            known = self._sts.known(domain) if self._sts is not None else None
            hosts = policy.hosts or policy.tested
            return _of_sts(domain, known) if known is not None else Applied(PolicyType.STS, domain, (), hosts)
        return _without(domain)

    # To the disk

    def _flush_soon(self) -> None:
        self._timer = None
        self.flush()

    def flush(self) -> Deferred[None]:
        """Write what is counted; fires when that is on disk, or could not be brought there."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        counts, self._counts = self._counts, Counts()
        if not len(counts):
            return self._flushing
        written = self._run_in_thread(self._store.add, counts)
        written.addCallbacks(self._written, self._not_written, errbackArgs=(counts,))
        self._flushing = written
        return written

    def _written(self, _done: None) -> None:
        self._is_troubled = False

    def _not_written(self, failure: Failure, counts: Counts) -> None:
        failure.trap(sqlite3.Error, OSError)
        if not self._is_troubled:
            self._is_troubled = True
            self._note("tlsrpt-store", {"reason": f"cannot keep counts for TLS reports: {failure.getErrorMessage()}"})
        if len(counts) + len(self._counts) <= MAX_WAITING:
            self._counts.merge(counts)
            if self._timer is None:
                self._timer = self._clock.callLater(FLUSH_AFTER, self._flush_soon)

    def stop(self) -> Deferred[None]:
        """Write what is counted, for the last time."""

        def stopped(_done: None) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

        return self.flush().addCallback(stopped)


def _bounded(session: Session) -> Session:
    """A stranger's words, as many as a report has room for."""
    finding = session.finding
    if len(finding.reason) <= MAX_REASON and session.helo.isascii() and session.helo.isprintable():
        return session
    helo = session.helo.encode("ascii", "backslashreplace").decode("ascii")
    helo = helo if helo.isprintable() else ""
    return replace(session, finding=replace(finding, reason=finding.reason[:MAX_REASON]), helo=helo)


@lru_cache(maxsize=1024)
def _without(domain: str) -> Applied:
    return Applied(PolicyType.NONE, domain)


@lru_cache(maxsize=1024)
def _of_sts(domain: str, policy: StsPolicy) -> Applied:
    # RFC 8460 4.5: the lines of the policy.
    return Applied(PolicyType.STS, domain, tuple(policy.text().splitlines()), policy.mx)


@lru_cache(maxsize=1024)
def _of_records(base: str, records: tuple[Tlsa, ...]) -> Applied:
    # RFC 6698 2.2: the presentation form.
    strings = (f"{each.usage} {each.selector} {each.matching} {each.data.hex().upper()}" for each in records)
    return Applied(PolicyType.TLSA, base, tuple(sorted(strings)))
