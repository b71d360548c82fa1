"""
Make what counts and sends reports on TLS, from the configuration's words.

Owns: which part gets which.
Never: starts anything.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred

from mta.config.schema import Config
from mta.interfaces import IResolver
from mta.tls.https import Https
from mta.tls.https_connection import trusted
from mta.tls.sts import StsPolicies
from mta.tls.tlsrpt import Reporter, SendMail, Terms
from mta.tls.tlsrpt_report import Submitter
from mta.tls.tlsrpt_store import FOLDER, TlsrptStore
from mta.tls.tlsrpt_tally import SessionCounts


class TlsReports:
    """The counts of this process, and the reports on what all have counted."""

    def __init__(self, counts: SessionCounts, reporter: Reporter) -> None:
        self.counts = counts
        self._reporter = reporter

    def start(self) -> None:
        """Begin to send what is due."""
        self._reporter.start()

    def retire(self) -> None:
        """Send nothing more; sessions are still counted."""
        self._reporter.stop()

    def stop(self) -> Deferred[None]:
        """Send nothing more, and write what is counted."""
        self._reporter.stop()
        return self.counts.stop()


def tls_reports_of(
    config: Config,
    *,
    reactor: Any,
    resolver: IResolver,
    sts: StsPolicies | None,
    send_mail: SendMail,
    rng: random.Random,
    run_in_thread: Callable[..., Deferred[Any]],
    note: Callable[[str, Mapping[str, str]], None],
) -> TlsReports | None:
    """
    What `tls.reports` asks for; None where it is off. Start it with the queue, and stop it after the agents.

    Raises OSError or ValueError where `sts.ca_file` can't be used.
    """
    if not config.tls.reports.enabled:
        return None
    store = TlsrptStore(config.state_dir / FOLDER)
    counts = SessionCounts(store, sts, clock=reactor, run_in_thread=run_in_thread, note=note)
    contact, sender = config.tls_report_contact, config.tls_report_sender
    organization = config.tls.reports.organization or config.hostname
    reporter = Reporter(
        Terms(Submitter(organization, contact), sender, config.tls.reports.mail),
        store=store,
        resolver=resolver,
        web=Https(reactor=reactor, resolver=resolver, trust_root=trusted(config.sts.ca_file)),
        send_mail=send_mail,
        clock=reactor,
        rng=rng,
        run_in_thread=run_in_thread,
        note=note,
    )
    return TlsReports(counts, reporter)
