"""The watch over the resolvers: DANE is off where one of them does not validate, and the log says so."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import provider

from mta.dns.fake import FakeResolver
from mta.dns.validation import AGAIN, AGAIN_SOON, Validation

ON = "DANE is on: a, b validated org"


class Trust:
    """Stands for the resolver."""

    trusts_ad = True


@contextmanager
def logged() -> Iterator[list[str]]:
    """The lines of the log, as they come."""
    lines: list[str] = []

    @provider(ILogObserver)
    def keep(event: LogEvent) -> None:
        if event.get("log_namespace", "").startswith("mta."):
            lines.append(str(formatEvent(event)))

    globalLogPublisher.addObserver(keep)
    try:
        yield lines
    finally:
        globalLogPublisher.removeObserver(keep)


class ValidationTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.trust = Trust()
        self.first = FakeResolver({("org", "MX"): []}, signed=["org"])
        self.second = FakeResolver({("org", "MX"): []}, signed=["org"])

    def watch(self, *servers: FakeResolver) -> Validation:
        named = dict(zip("ab", servers, strict=False))
        validation = Validation(clock=self.clock, resolver=self.trust, servers=named, name="org")
        self.addCleanup(validation.stop)
        validation.start()
        return validation

    def test_all_validate(self) -> None:
        """Where all validate, AD is believed; the log says it once."""
        with logged() as lines:
            self.watch(self.first, self.second)
            self.clock.advance(AGAIN)
        self.assertEqual(([ON], True), (lines, self.trust.trusts_ad))
        self.assertEqual([("org", "A")] * 2, self.first.asked)

    def test_one_does_not(self) -> None:
        """One that does not is enough: any answer could be its. When it has learned to, DANE is on again."""
        self.second.signed = frozenset()
        with logged() as lines:
            self.watch(self.first, self.second)
            self.assertFalse(self.trust.trusts_ad)
            self.second.signed = frozenset(["org"])
            self.clock.advance(AGAIN)
        self.assertTrue(self.trust.trusts_ad)
        self.assertEqual(["DANE is off: b did not call org validated (AD); see dns.validated_name", ON], lines)

    def test_silence(self) -> None:
        """A server that can't be asked proves nothing: what is known stands, and it is asked again in a minute."""
        for before in (True, False):
            self.trust.trusts_ad = before
            self.second.fail("org", "A", "SERVFAIL")
            with logged() as lines:
                watch = self.watch(self.first, self.second)
                self.assertEqual(["cannot tell whether the resolvers validate: b: SERVFAIL"], lines)
                self.assertIs(before, self.trust.trusts_ad)
                self.second.forget("org", "A")
                self.clock.advance(AGAIN_SOON)
                self.assertEqual(ON, lines[-1])
            self.assertTrue(self.trust.trusts_ad)
            watch.stop()

    def test_silence_of_one(self) -> None:
        """A server that does not validate counts although another one is silent."""
        self.first.fail("org", "A")
        self.second.signed = frozenset()
        self.watch(self.first, self.second)
        self.assertFalse(self.trust.trusts_ad)

    def test_no_trust(self) -> None:
        """Where the configuration trusts nobody, nobody is asked, and the log says that DANE is off."""
        with logged() as lines:
            self.watch()
        self.assertEqual(["DANE is off: dns.trust_ad trusts none of the resolvers"], lines)
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_stop(self) -> None:
        """Nothing is left behind, stopped in the middle of a question or between two."""
        self.watch(self.first).stop()
        self.assertEqual([], self.clock.getDelayedCalls())
        self.first.hold()
        self.watch(self.first).stop()
        self.first.release()
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_our_own_fault(self) -> None:
        """An exception of ours is logged, and the watch goes on."""
        self.first.lookup = lambda _name, _kind: 1 / 0  # type: ignore[method-assign, assignment, return-value]
        self.watch(self.first)
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))
        self.assertEqual(1, len(self.clock.getDelayedCalls()))
