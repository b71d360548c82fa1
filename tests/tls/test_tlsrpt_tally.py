"""What is counted under which policy, and that counts survive restarts and add up over workers."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Mapping
from pathlib import Path

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mta.interfaces import ITlsReports
from mta.sts_policy import Mode, StsPolicy
from mta.tls.sts import Trouble
from mta.tls.sts_fetch import WEBPKI_INVALID
from mta.tls.tlsrpt_store import FILE_NAME, KEPT_DAYS, MAX_DETAILS, Report, State, TlsrptStore
from mta.tls.tlsrpt_tally import FLUSH_AFTER, SessionCounts
from mta.tls_policy import DEFAULT_POLICY, Tlsa, TlsLevel, TlsPolicy, TlsSource
from mta.tls_report import (
    MAX_REASON,
    SECONDS_OF_DAY,
    Applied,
    Counted,
    Finding,
    PolicyType,
    Result,
    Session,
    Tally,
)
from tests.tls.test_sts import at_once

DAY = 20_000
MORNING = DAY * SECONDS_OF_DAY + 3600.0
STS = StsPolicy(Mode.TESTING, ("mx.a.test",), 86_400, "1")
TESTED = TlsPolicy(tested=STS.mx)
ENFORCED = TlsPolicy(TlsLevel.VERIFY, TlsSource.MTA_STS, hosts=STS.mx)
GOOD = Session(host="mx.a.test", ip="192.0.2.1", sending_ip="192.0.2.9")
BAD = Session(Finding(Result.EXPIRED, "expired"), "192.0.2.9", "mx.a.test", "mx", "192.0.2.1")
NONE = Applied(PolicyType.NONE, "a.test")
OF_STS = Applied(
    PolicyType.STS, "a.test", ("version: STSv1", "mode: testing", "mx: mx.a.test", "max_age: 86400"), ("mx.a.test",)
)


class FakeSts:
    """What a process knows of MTA-STS."""

    def __init__(self) -> None:
        self.policies: dict[str, StsPolicy] = {}
        self.troubles: dict[str, Trouble] = {}

    def known(self, domain: str) -> StsPolicy | None:
        return self.policies.get(domain)

    def trouble(self, domain: str) -> Trouble | None:
        return self.troubles.get(domain)


class TallyCase(SynchronousTestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name) / "tlsrpt"
        self.clock = Clock()
        self.clock.advance(MORNING)
        self.sts = FakeSts()
        self.notes: list[tuple[str, Mapping[str, str]]] = []
        self.store = TlsrptStore(self.folder)
        self.worker = self.process()

    def process(self) -> SessionCounts:
        """Another worker, or the next one after a restart."""
        return SessionCounts(
            TlsrptStore(self.folder),
            self.sts,
            clock=self.clock,
            run_in_thread=at_once,
            note=lambda kind, fields: self.notes.append((kind, fields)),
        )

    def on_disk(self, day: int = DAY, domain: str = "a.test") -> list[Tally]:
        return self.store.tallies(day, domain)


class PolicyTests(TallyCase):
    def test_interface(self) -> None:
        """It is what the delivery agents count with."""
        verifyObject(ITlsReports, self.worker)

    def counted(self, policy: TlsPolicy, session: Session) -> list[Applied]:
        self.worker.count(["a.test"], policy, session)
        self.successResultOf(self.worker.flush())
        return [tally.policy for tally in self.on_disk()]

    def test_without(self) -> None:
        """Without a policy of the domain, be it that the operator demands something, none was found."""
        verify = TlsPolicy(TlsLevel.VERIFY, TlsSource.DOMAIN)
        self.assertEqual([NONE], self.counted(DEFAULT_POLICY, GOOD))
        self.assertEqual([NONE], self.counted(verify, BAD))
        self.assertEqual([Tally(NONE, 1, 1, (Counted(BAD, 1),))], self.on_disk())

    def test_sts(self) -> None:
        """MTA-STS: the policy as the domain published it, whatever its mode (RFC 8460 4.5)."""
        self.sts.policies["a.test"] = STS
        for policy in (TESTED, ENFORCED):
            self.assertEqual([OF_STS], self.counted(policy, GOOD))
        del self.sts.policies["a.test"]
        # It has ended since the session began.
        self.assertIn(Applied(PolicyType.STS, "a.test", (), STS.mx), self.counted(TESTED, GOOD))

    def test_sts_trouble(self) -> None:
        """A policy that can't be had is a failure of its own beside the session (RFC 8460 4.3.2.2)."""
        self.sts.troubles["a.test"] = Trouble("the certificate has expired", WEBPKI_INVALID, "1", 1, 0.0)
        self.worker.count(["a.test"], DEFAULT_POLICY, GOOD)
        self.worker.flush()
        failed = Session(Finding(Result.STS_WEBPKI_INVALID, "the certificate has expired"))
        of_sts = Tally(Applied(PolicyType.STS, "a.test"), 0, 1, (Counted(failed, 1),))
        self.assertEqual([Tally(NONE, 1, 0), of_sts], self.on_disk())
        # Where an older policy holds nothing went without it.
        self.sts.policies["a.test"] = STS
        self.worker.count(["a.test"], TESTED, GOOD)
        self.worker.flush()
        self.assertEqual(1, sum(tally.failures for tally in self.on_disk()))

    def test_tlsa(self) -> None:
        """DANE: the records in presentation form (RFC 6698 2.2), and the TLSA base domain (RFC 8460 1.1)."""
        records = (Tlsa(3, 1, 1, b"\xab" * 32), Tlsa(2, 0, 1, b"\x01" * 32))
        policy = TlsPolicy(TlsLevel.DANE, TlsSource.DANE, tlsa=records, base="mx.a.test")
        strings = ("2 0 1 " + "01" * 32, "3 1 1 " + "AB" * 32)
        self.assertEqual([Applied(PolicyType.TLSA, "mx.a.test", strings)], self.counted(policy, GOOD))

    def test_tlsa_that_is_not_there(self) -> None:
        """Where records could not be proved, or had to be there, it is DANE that failed, at that host."""
        for result in (Result.DNSSEC_INVALID, Result.DANE_REQUIRED):
            failed = Session(Finding(result, "words"), host="mx.a.test")
            self.assertEqual([Applied(PolicyType.TLSA, "mx.a.test")], self.counted(DEFAULT_POLICY, failed))

    def test_bounds(self) -> None:
        """Strangers' words are cut, and made printable."""
        self.worker.count(["a.test"], DEFAULT_POLICY, Session(Finding(Result.EXPIRED, "x" * 5000), helo="\x1bä"))
        self.worker.flush()
        ((detail,),) = [tally.details for tally in self.on_disk()]
        self.assertEqual(("x" * MAX_REASON, ""), (detail.session.finding.reason, detail.session.helo))


class CountTests(TallyCase):
    def test_days(self) -> None:
        """A session counts on the day in UTC on which it was."""
        self.clock.advance(SECONDS_OF_DAY - 3600.0 - 0.5)
        self.worker.count(["a.test"], DEFAULT_POLICY, GOOD)
        self.clock.advance(1.0)
        self.worker.count(["a.test", "b.test"], DEFAULT_POLICY, GOOD)
        self.worker.flush()
        self.assertEqual([Tally(NONE, 1, 0)], self.on_disk(DAY))
        self.assertEqual([Tally(NONE, 1, 0)], self.on_disk(DAY + 1))
        self.assertEqual(["a.test", "b.test"], [domain for domain, _ in self.store.overview(DAY + 1)])

    def test_soon(self) -> None:
        """What is counted is on disk soon, all of it at once; nothing has a timer while nothing is counted."""
        self.assertEqual([], self.clock.getDelayedCalls())
        for _ in range(1000):
            self.worker.count(["a.test"], DEFAULT_POLICY, GOOD)
            self.worker.count(["a.test"], DEFAULT_POLICY, BAD)
        self.assertEqual((1, []), (len(self.clock.getDelayedCalls()), self.on_disk()))
        self.clock.advance(FLUSH_AFTER)
        self.assertEqual([Tally(NONE, 1000, 1000, (Counted(BAD, 1000),))], self.on_disk())
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_workers_and_restarts(self) -> None:
        """Workers add to the same counts, a stopped one loses nothing, and who is killed no more than some seconds."""
        workers = [self.process() for _ in range(3)]
        for number, worker in enumerate(workers, 1):
            for _ in range(number):
                worker.count(["a.test"], DEFAULT_POLICY, GOOD)
                worker.count(["a.test"], DEFAULT_POLICY, BAD)
        for worker in workers:
            self.successResultOf(worker.stop())
        again = self.process()
        again.count(["a.test"], DEFAULT_POLICY, BAD)
        self.clock.advance(FLUSH_AFTER)
        again.count(["a.test"], DEFAULT_POLICY, BAD)  # and is killed
        self.assertEqual([Tally(NONE, 6, 7, (Counted(BAD, 7),))], self.on_disk())

    def test_full_disk(self) -> None:
        """Counts that can't be written stay, the log says it once, and mail knows nothing of it."""
        self.folder.write_text("no folder")
        for _ in range(3):
            self.worker.count(["a.test"], DEFAULT_POLICY, GOOD)
            self.clock.advance(FLUSH_AFTER)
        self.assertEqual(["tlsrpt-store"], [kind for kind, _fields in self.notes])
        self.folder.unlink()
        self.clock.advance(FLUSH_AFTER)
        self.assertEqual([Tally(NONE, 3, 0)], self.on_disk())

    def test_many_kinds(self) -> None:
        """A domain whose failures all differ does not grow without bound: the rest is counted by its result alone."""
        for number in range(MAX_DETAILS + 50):
            failed = Session(Finding(Result.VALIDATION_FAILURE, f"reason {number}"))
            self.worker.count(["a.test"], DEFAULT_POLICY, failed)
        self.worker.flush()
        (tally,) = self.on_disk()
        self.assertEqual((MAX_DETAILS + 50, MAX_DETAILS + 1), (tally.failures, len(tally.details)))
        self.assertEqual(50, tally.details[0].count)


class StoreTests(TallyCase):
    def test_nothing(self) -> None:
        """Where nothing was counted there is nothing, and reading makes no file."""
        self.assertEqual(([], []), (self.on_disk(), self.store.reports(DAY)))
        self.assertFalse(self.folder.exists())

    def test_one_hand(self) -> None:
        """A report is planned once and in one worker's hands, until its lease ends."""
        self.worker.count(["a.test"], DEFAULT_POLICY, GOOD)
        self.worker.flush()
        due = 1000.0
        self.store.plan(DAY, lambda _day: due)
        self.assertEqual([], self.store.reports(DAY))
        self.store.plan(DAY + 1, lambda _day: due)
        TlsrptStore(self.folder).plan(DAY + 1, lambda _day: due + 1)
        self.assertEqual([Report(DAY, "a.test", due)], self.store.reports(DAY))
        self.assertIsNone(self.store.claim(due - 1, 60.0))
        self.assertEqual(Report(DAY, "a.test", due), self.store.claim(due, 60.0))
        self.assertIsNone(TlsrptStore(self.folder).claim(due + 59, 60.0))
        self.assertEqual(Report(DAY, "a.test", due), self.store.claim(due + 60, 60.0))
        self.store.record(Report(DAY, "a.test", due, 1, due, State.SENT))
        self.assertIsNone(self.store.claim(due + 1e6, 60.0))
        self.store.plan(DAY + 2, lambda _day: due)
        self.assertEqual([State.SENT], [report.state for report in self.store.reports(DAY)])

    def test_old_days(self) -> None:
        """After some days what was counted is forgotten; a report that nobody could send in time is given up."""
        self.worker.count(["a.test"], DEFAULT_POLICY, BAD)
        self.worker.flush()
        self.store.plan(DAY + 1, lambda _day: 0.0)
        self.store.plan(DAY + 4, lambda _day: 0.0)
        self.assertEqual([State.FAILED], [report.state for report in self.store.reports(DAY)])
        self.store.plan(DAY + KEPT_DAYS + 1, lambda _day: 0.0)
        self.assertEqual(([], []), (self.on_disk(), self.store.reports(DAY)))

    def test_newer_file(self) -> None:
        """A file of a newer program is not touched."""
        self.worker.count(["a.test"], DEFAULT_POLICY, GOOD)
        self.worker.flush()
        with sqlite3.connect(self.folder / FILE_NAME) as database:
            database.execute("PRAGMA user_version = 99")
        database.close()
        error = self.assertRaises(sqlite3.DatabaseError, self.store.plan, DAY + 1, lambda _day: 0.0)
        self.assertIn("version 99", str(error))
        self.assertEqual([], self.on_disk())
