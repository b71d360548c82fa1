"""A report on TLS in the queue: it is a message like others, but that TLS keeps it back from nobody."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from mta.address import parse_address
from mta.daemon.own_mail import OwnMail
from mta.destination import Host, Route
from mta.entry import Delivery
from mta.envelope import Notify, RequireTls
from mta.ids import parse_id
from mta.interfaces import ITlsPolicies
from mta.spool import SpoolError
from mta.tls_policy import DEFAULT_POLICY, TlsLevel, TlsPolicy, TlsSource
from tests.queue.world import LATER, REFUSED, World

US = parse_address("postmaster@mx.test")
THEM = parse_address("reports@a.test")
ENFORCED = TlsPolicy(TlsLevel.VERIFY, TlsSource.MTA_STS, hosts=("mx.a.test",))


@implementer(ITlsPolicies)
class Strict:
    """All domains demand verified TLS."""

    def policy(self, domain: str, route: Route) -> TlsPolicy:
        del domain, route
        return ENFORCED

    def wished(self, domain: str, route: Route, wish: RequireTls, *, is_report: bool) -> TlsPolicy:
        del domain, route, wish, is_report
        return ENFORCED

    def at_host(self, policy: TlsPolicy, host: Host) -> TlsPolicy:
        del host
        return policy


class OwnMailTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World(tls=Strict())
        self.room = True
        self.mail = OwnMail(
            self.world.spool,
            self.world.manager,
            hostname="mx.test",
            room=lambda: self.room,
            seconds=self.world.clock.seconds,
        )

    def send(self) -> Deferred[str]:
        sent = self.mail.send_tls_report(
            US, THEM, lambda queue_id: f"Message-ID: <{queue_id}@mx.test>\r\n\r\n".encode()
        )
        self.world.settle()
        return sent

    def asked(self) -> Delivery:
        return self.world.agent.asked[-1]

    def test_delivered(self) -> None:
        """It goes through the queue as any message, and its queue id is the one it was written with."""
        queue_id = self.successResultOf(self.send())
        self.assertEqual(["accepted", "routed", "delivered"], self.world.kinds(parse_id(queue_id)))
        self.assertEqual((US, (THEM,)), (self.asked().sender, self.asked().recipients))
        self.assertIn(queue_id.encode(), self.asked().content.whole() or b"")
        self.assertEqual([], self.world.queued())

    def test_despite_policies(self) -> None:
        """RFC 8460 5.3.1: what domains demand with DANE and MTA-STS holds for other mail, and not for it."""
        self.send()
        self.assertIs(DEFAULT_POLICY, self.asked().destination.tls)
        self.assertTrue(self.asked().envelope.tls_report)
        self.world.send("reports@a.test")
        self.assertEqual(ENFORCED, self.asked().destination.tls)
        self.assertFalse(self.asked().envelope.tls_report)

    def test_restart(self) -> None:
        """It is known as a report by whoever tries it next, after a restart, too."""
        self.world.agent.default = lambda _delivery: LATER
        self.send()
        self.successResultOf(self.world.manager.stop())
        self.world.restart()
        self.world.advance(400)
        self.assertEqual(2, len(self.world.agent.asked))
        self.assertTrue(self.asked().envelope.tls_report)
        self.assertIs(DEFAULT_POLICY, self.asked().destination.tls)

    def test_failure(self) -> None:
        """Nobody is told where it fails, and it is tried for no more than a bounce is (RFC 8460 5.5: 24 hours)."""
        self.world.agent.default = lambda _delivery: REFUSED
        self.send()
        self.world.agent.default = lambda _delivery: LATER
        queue_id = self.successResultOf(self.send())
        self.world.advance(90_000, 600)
        self.assertEqual(([], []), (self.world.reports(), self.world.queued()))
        self.assertEqual("expired", self.world.kinds(parse_id(queue_id))[-1])
        ((recipient,),) = {self.asked().envelope.recipients}
        self.assertEqual(frozenset((Notify.NEVER,)), recipient.notify)

    def test_no_room(self) -> None:
        """On a full disk it waits for another time."""
        self.room = False
        self.failureResultOf(self.send(), SpoolError)
        self.room = True
        self.world.break_disk()
        self.failureResultOf(self.send(), SpoolError)
        self.world.mend_disk()
        self.successResultOf(self.send())
        self.assertEqual(1, len(self.world.agent.asked))
