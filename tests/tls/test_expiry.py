"""The ends of certificates: the log line at the start and each day, and the figures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mta.tls.expiry import ExpiryWatch
from mta.tls.pairs import DAY, Files
from mta.tls.selfsigned import make
from tests.tls.test_sts import at_once

NOW = 1_800_000_000.0


class ExpiryTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.clock = Clock()
        self.clock.rightNow = NOW
        self.lines: list[str] = []

    def pair(self, name: str, days: int) -> Files:
        files = Files(self.folder / f"{name}.pem", self.folder / f"{name}.key")
        certificate, key = make([name], days, NOW)
        files.certificate.write_bytes(certificate)
        files.key.touch(0o600)
        files.key.write_bytes(key)
        return files

    def watch(self, *files: Files) -> ExpiryWatch:
        def note(kind: str, fields: Mapping[str, str]) -> None:
            self.assertEqual("certificate-warning", kind)
            self.lines.append(f"{Path(fields['file']).name} {fields['reason'].rpartition('/')[2]}")

        watch = ExpiryWatch(files, clock=self.clock, run_in_thread=at_once, note=note)
        self.addCleanup(watch.stop)
        watch.start()
        return watch

    def days(self, number: int) -> None:
        for _ in range(number):
            self.clock.advance(DAY)

    def test_each_day(self) -> None:
        """From 14 days before the end on there is a line each day, before that none; a renewal ends it."""
        files = self.pair("a.test", 20)
        self.watch(files)
        self.days(6)
        self.assertEqual([], self.lines)
        self.days(3)
        told = [f"a.test.pem a.test.pem expires in {days} days" for days in (13, 12, 11)]
        self.assertEqual(told, self.lines)
        self.clock.advance(DAY - 1)
        self.assertEqual(3, len(self.lines))
        certificate, key = make(["a.test"], 100, NOW)
        files.certificate.write_bytes(certificate)
        files.key.write_bytes(key)
        self.days(2)
        self.assertEqual(3, len(self.lines))

    def test_start(self) -> None:
        """A start tells of what ends soon and of what can't be used, and so does a new configuration."""
        soon, later = self.pair("soon.test", 3), self.pair("later.test", 90)
        watch = self.watch(later)
        self.assertEqual([], self.lines)
        (self.folder / "later.test.key").unlink()
        watch.change_to([soon, later])
        self.assertEqual(
            [
                "soon.test.pem soon.test.pem expires in 3 days",
                "later.test.pem later.test.key: No such file or directory",
            ],
            self.lines,
        )
        self.days(1)
        self.assertEqual(4, len(self.lines))

    def test_stopped(self) -> None:
        """A watch that was stopped says no more and leaves no timer."""
        watch = self.watch(self.pair("soon.test", 3))
        watch.stop()
        self.days(2)
        self.assertEqual(1, len(self.lines))
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_figures(self) -> None:
        """The figures are the days until the end, of each certificate, or why it can't be used."""
        good, old, broken = self.pair("good.test", 90), self.pair("old.test", 1), self.pair("broken.test", 90)
        broken.key.write_bytes(good.key.read_bytes())
        watch = self.watch(good, old, broken)
        self.days(3)
        first, second, third = self.successResultOf(Deferred.fromCoroutine(watch.figures()))
        self.assertEqual(
            {"file": str(good.certificate), "names": ["good.test"], "expires": NOW + 90 * DAY, "days_left": 87.0}, first
        )
        self.assertEqual(-2.0, second["days_left"])
        self.assertEqual(
            {
                "file": str(broken.certificate),
                "problem": f"{broken.key} is not the key of {broken.certificate}",
            },
            third,
        )

    def test_unreadable_by_fault(self) -> None:
        """A fault of ours in one look does not end the watch."""
        fails = [True]

        def run_in_thread(*work: object) -> Deferred[object]:
            if fails.pop() if fails else False:
                raise RuntimeError("no thread")
            return at_once(*work)  # type: ignore[arg-type]

        watch = ExpiryWatch(
            [self.pair("soon.test", 3)],
            clock=self.clock,
            run_in_thread=run_in_thread,
            note=lambda kind, _fields: self.lines.append(kind),
        )
        self.addCleanup(watch.stop)
        watch.start()
        self.assertEqual(1, len(self.flushLoggedErrors(RuntimeError)))
        self.days(1)
        self.assertEqual(["certificate-warning"], self.lines)
