"""A policy that takes its time, or never answers at all."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address
from mta.policy.directory import Directory
from mta.policy.verdict import Verdict
from mta.smtp import message_replies
from tests.policy.limits import limits_for_tests
from tests.server.fakes import HOSTNAME, Site

RCPT = b"RCPT TO:<a@far.test>\r\n"


class PendingPolicy:
    """Answers on a recipient when the test says so."""

    def __init__(self) -> None:
        self.directory = Directory(domains=["local.test"], users=["alice"], hostname=HOSTNAME)
        self.asked: list[Deferred[Verdict]] = []

    def is_trusted(self, ip: str) -> bool:
        return not ip

    def is_refused(self, ip: str) -> bool:
        return not ip

    def recipient(self, address: Address, trusted: bool) -> Deferred[Verdict]:
        del address, trusted
        self.asked.append(Deferred())
        return self.asked[-1]


class BudgetTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.policy = PendingPolicy()
        self.site = Site(limits_for_tests(policy_timeout=20.0), policy=self.policy)
        self.client = self.site.hello()
        self.client.say(b"MAIL FROM:<b@far.test>\r\n")

    def test_answer_in_time(self) -> None:
        """The client waits for the verdict, what it has sent behind the command waits too, and all is in order."""
        self.assertEqual([], self.client.codes(RCPT + b"NOOP\r\n"))
        self.site.clock.advance(19)
        self.policy.asked[0].callback(Verdict(None, "yes"))
        self.assertEqual(["250", "250"], self.client.codes(b""))
        self.client.say(b"RCPT TO:<c@far.test>\r\n")
        self.policy.asked[1].callback(Verdict(message_replies.RELAY_DENIED.fill(recipient="a@far.test"), "no"))
        self.assertEqual(["550"], self.client.codes(b""))

    def test_no_answer(self) -> None:
        """Without an answer it is 451 4.3.0 after the budget, and the session goes on; what comes later is nothing."""
        self.client.say(RCPT + b"NOOP\r\n")
        self.site.clock.advance(19.9)
        self.assertEqual(b"", self.client.say(b""))
        self.site.clock.advance(0.1)
        said = self.client.say(b"")
        self.assertEqual((b"451 4.3.0", b"250"), (said[:9], said.split(b"\r\n")[1][:3]))
        self.policy.asked[0].callback(Verdict(None, "yes"))
        self.assertEqual(["554"], self.client.codes(b"DATA\r\n"))
        self.client.say(RCPT)
        self.policy.asked[1].callback(Verdict(None, "yes"))
        self.assertEqual(["250", "354"], self.client.codes(b"DATA\r\n"))

    def test_idle_meanwhile(self) -> None:
        """While we owe the reply the client is not idle, however long the budget."""
        site = Site(limits_for_tests(policy_timeout=1000.0), policy=self.policy)
        client = site.hello()
        client.say(b"MAIL FROM:<b@far.test>\r\n" + RCPT)
        for _ in range(500):
            site.clock.advance(1)
        self.policy.asked[0].callback(Verdict(None, "yes"))
        self.assertEqual(["250"], client.codes(b""))

    def test_failing_policy(self) -> None:
        """A policy that fails is 451 and a line in the log; the session goes on."""
        self.client.say(RCPT)
        self.policy.asked[0].errback(ValueError("no"))
        self.assertEqual(["451", "250"], self.client.codes(b"NOOP\r\n"))
        self.assertIn("ValueError: no", [fields.get("reason") for _, fields in self.site.log])
        self.assertEqual(1, len(self.flushLoggedErrors(ValueError)))

    def test_lost_meanwhile(self) -> None:
        """A client that goes while it waits leaves nothing behind, and neither verdict nor budget minds."""
        self.client.say(RCPT)
        self.client.vanish()
        self.site.clock.advance(30)
        self.policy.asked[0].callback(Verdict(None, "yes"))
        self.assertEqual([], self.site.clock.getDelayedCalls())
