"""The fake resolver keeps the contract, and does what tests need of it."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface.verify import verifyObject

from mta.dns.fake import FakeResolver
from mta.interfaces import IResolver
from mta.lookup import MX, Answer, Status
from tests.contracts.resolvers import RECORDS, ResolverContract


class ContractTests(ResolverContract, TestCase):
    """The fake as an `IResolver`."""

    def setUp(self) -> None:
        self.resolver = FakeResolver(RECORDS)

    def ask(self, name: str, kind: str) -> Deferred[Answer]:
        return self.resolver.lookup(name, kind)


class FakeResolverTests(SynchronousTestCase):
    def test_interface(self) -> None:
        """It provides `IResolver`."""
        verifyObject(IResolver, FakeResolver())

    def test_answers_as_given(self) -> None:
        """An `Answer` in the table comes back as it is."""
        answer = Answer(Status.ANSWER, (MX(10, "mx.test"),), ttl=7, secure=True)
        self.assertEqual(self.successResultOf(FakeResolver({("x.test", "MX"): answer}).lookup("x.test", "MX")), answer)

    def test_changes(self) -> None:
        """The table may change: trouble begins, records go."""
        resolver = FakeResolver({("x.test", "A"): ["192.0.2.1"]})
        resolver.fail("x.test", "A", "SERVFAIL")
        answer = self.successResultOf(resolver.lookup("x.test", "A"))
        self.assertEqual((answer.status, answer.reason), (Status.COULD_NOT_ASK, "SERVFAIL"))
        resolver.forget("x.test", "A")
        self.assertIs(self.successResultOf(resolver.lookup("x.test", "A")).status, Status.NXDOMAIN)
        self.assertEqual(resolver.asked, [("x.test", "A")] * 2)

    def test_hold(self) -> None:
        """Held questions wait until they are released, and may be cancelled meanwhile."""
        resolver = FakeResolver({("x.test", "A"): ["192.0.2.1"]})
        resolver.hold()
        waiting, cancelled = resolver.lookup("x.test", "A"), resolver.lookup("x.test", "A")
        self.assertNoResult(waiting)
        cancelled.cancel()
        self.failureResultOf(cancelled)
        resolver.release()
        self.assertEqual(self.successResultOf(waiting).records, ("192.0.2.1",))

    def test_signed_zones(self) -> None:
        """What is said of a signed zone is secure; one insecure alias on the way undoes that (RFC 7672 2.1.3)."""
        zones = {
            ("mx.signed.test", "A"): ["192.0.2.1"],
            ("in.signed.test", "CNAME"): ["mx.signed.test"],
            ("out.signed.test", "CNAME"): ["mx.open.test"],
            ("mx.open.test", "A"): ["192.0.2.2"],
            ("back.open.test", "CNAME"): ["mx.signed.test"],
        }
        resolver = FakeResolver(zones, signed=["signed.test"])
        for name, kind, secure, canonical in (
            ("mx.signed.test", "A", True, ""),
            ("mx.signed.test", "AAAA", True, ""),
            ("none.signed.test", "A", True, ""),
            ("in.signed.test", "A", True, "mx.signed.test"),
            ("out.signed.test", "CNAME", True, ""),
            ("out.signed.test", "A", False, "mx.open.test"),
            ("mx.open.test", "A", False, ""),
            ("none.open.test", "A", False, ""),
            ("back.open.test", "A", False, "mx.signed.test"),
        ):
            answer = self.successResultOf(resolver.lookup(name, kind))
            self.assertEqual((answer.secure, answer.canonical), (secure, canonical), (name, kind))

    def test_impossible_names(self) -> None:
        """A table with a name that nobody can ask for is an error of the test."""
        self.assertRaises(ValueError, FakeResolver, {("a..b", "A"): ["192.0.2.1"]})
