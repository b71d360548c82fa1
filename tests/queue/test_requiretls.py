"""What a sender says of TLS (RFC 8689) on its way through the queue, and in the reports on the message."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mta.destination import Destination, NextHop, Transport
from mta.envelope import Notify, RequireTls, Ret
from mta.outcome import Failure, Phase
from mta.tls_policy import TlsLevel, TlsSource
from tests.queue.test_tls_policies import TableOfPolicies
from tests.queue.world import ALICE, DELIVERED, LATER, World, notified

UNWILLING = Failure("mx.test does not offer REQUIRETLS", Phase.TLS, "mx.test", enhanced="5.7.30")
BODY = b"Subject: hi\r\nTLS-Required: No\r\n\r\nsecret\r\n"


class RequireTlsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.policies = TableOfPolicies()
        self.world = World(tls=self.policies)
        self.world.agent.answers["sender.test"] = lambda _delivery: LATER  # a report stays to be read

    def test_wish(self) -> None:
        """Each attempt asks for the policy of the wish, and the envelope has it; other mail is asked about as ever."""
        self.world.agent.default = lambda _delivery: LATER
        self.world.send("x@a.test")
        self.assertEqual([], self.policies.wishes)
        for wish in RequireTls:
            self.world.send("x@a.test", require_tls=wish)
        self.assertEqual([("a.test", RequireTls.YES, False), ("a.test", RequireTls.NO, False)], self.policies.wishes)
        plain, yes, no = self.world.agent.asked
        self.assertEqual([None, *RequireTls], [each.envelope.require_tls for each in (plain, yes, no)])
        self.assertEqual([False, True, False], [each.destination.tls.requiretls for each in (plain, yes, no)])
        self.world.restart()
        self.world.advance(400.0)
        self.assertEqual(
            [None, *RequireTls],
            sorted((each.envelope.require_tls for each in self.world.agent.asked[3:6]), key=[None, *RequireTls].index),
        )

    def test_domains_of_one_site(self) -> None:
        """Domains that share their hosts, and of which different things are known, part."""
        site = Destination(NextHop(Transport.MX), "mx.provider.test")
        self.world.destinations.table = dict.fromkeys(("a.test", "b.test"), site)
        self.world.send("x@a.test", "y@b.test", require_tls=RequireTls.YES)
        (one,) = self.world.agent.asked
        self.assertEqual(
            (TlsLevel.VERIFY, TlsSource.REQUIRETLS), (one.destination.tls.level, one.destination.tls.source)
        )

    def test_trace(self) -> None:
        """The first event of the message tells what its sender said, where it said something."""
        found = [
            self.world.details(self.world.send("x@a.test", require_tls=tag), "accepted") for tag in (None, *RequireTls)
        ]
        self.assertEqual([None, "yes", "no"], [detail.get("require_tls") for (detail,) in found])

    def test_bounce(self) -> None:
        """RFC 8689 5: the report of such a message has REQUIRETLS, and the header alone, RET=FULL or not."""
        for ret in (None, Ret.FULL, Ret.HDRS):
            self.setUp()
            self.world.agent.answers["a.test"] = lambda _delivery: UNWILLING
            self.world.send("x@a.test", content=BODY, ret=ret, require_tls=RequireTls.YES)
            (report,) = self.world.reports()
            status, original = list(report.iter_parts())[1:]
            self.assertIn("Status: 5.7.30", status.as_string())
            self.assertEqual("text/rfc822-headers", original.get_content_type())
            self.assertNotIn("secret", report.as_string())
            sent = self.world.agent.asked[-1]
            self.assertEqual(
                (None, (ALICE,), RequireTls.YES), (sent.sender, sent.recipients, sent.envelope.require_tls)
            )
            self.assertEqual(("sender.test", RequireTls.YES, True), self.policies.wishes[-1])

    def test_other_reports(self) -> None:
        """So have all reports on it; what says No is told of in the same way, and may return whole."""
        self.world.agent.answers["a.test"] = lambda _delivery: DELIVERED
        self.world.send(notified("x@a.test", Notify.SUCCESS), content=BODY, require_tls=RequireTls.YES)
        self.assertIs(RequireTls.YES, self.world.agent.asked[-1].envelope.require_tls)
        self.world.agent.answers["a.test"] = lambda _delivery: UNWILLING
        self.world.send("x@a.test", content=BODY, require_tls=RequireTls.NO)
        self.assertIs(RequireTls.NO, self.world.agent.asked[-1].envelope.require_tls)
        self.assertIn("secret", self.world.reports()[-1].as_string())

    def test_a_report_that_waits(self) -> None:
        """A report that has to wait keeps its wish in the spool."""
        self.world.agent.answers["a.test"] = lambda _delivery: UNWILLING
        self.world.send("x@a.test", require_tls=RequireTls.YES)
        self.world.restart()
        self.world.advance(400.0)
        tags = [each.envelope.require_tls for each in self.world.agent.asked if each.sender is None]
        self.assertEqual([RequireTls.YES] * 2, tags)
