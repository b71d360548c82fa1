"""Questions for which the spool or the DNS has to be asked."""

from __future__ import annotations

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address
from mta.destination import Destination, NextHop, Transport
from mta.outcome import Deferral, Failure, Phase
from mta.selection import Selection
from mta.server.inquiries import DNS_PATIENCE
from mta.server.listener import Located
from mta.spool import SpoolError
from tests.server.fakes import TRUSTED, Site

GOOD = Destination(NextHop(Transport.MX), "far.test")
NULL_MX = Failure("domain far.test does not accept mail", Phase.DNS, enhanced="5.1.10")


class TurnTests(SynchronousTestCase):
    def test_answers(self) -> None:
        """ETRN waits for the spool, and says whether something waits for the domain (RFC 1985 5)."""
        for due, code, woken in (([(1, "a@etrn.test")], "250", 1), ([], "251", 0), (None, "458", 0)):
            site = Site(etrn_domains=["etrn.test"])
            site.spool.due = Deferred()
            client = site.hello(TRUSTED)
            self.assertEqual([], client.codes(b"ETRN etrn.test\r\nNOOP\r\n"))
            if due is None:
                site.spool.due.errback(SpoolError("spool: it is closed"))
            else:
                site.spool.due.callback(due)
            self.assertEqual([code, "250"], client.codes(b""))
            self.assertEqual((["etrn.test"], woken), ([item.domain for item in site.spool.retried], site.queue.woken))

    def test_below(self) -> None:
        """With "@" the domains below are turned to as well; what waits at either is enough for a yes."""
        for answers, code in (
            ([[], []], "251"),
            ([[(1, "a@etrn.test")], []], "250"),
            ([[], [(1, "a@x.etrn.test")]], "250"),
        ):
            site = Site(etrn_domains=["etrn.test"])
            left = list(answers)
            site.spool.retry = lambda wanted, _by, _now, site=site, left=left: (  # type: ignore[method-assign, misc]
                site.spool.retried.append(wanted) or succeed(left.pop(0))
            )
            self.assertEqual([code], site.hello().codes(b"ETRN @etrn.test\r\n"))
            self.assertEqual([Selection(domain="etrn.test"), Selection(recipient="*@*.etrn.test")], site.spool.retried)

    def test_once_a_minute(self) -> None:
        """Whoever asks, a domain is turned to once a minute; the spool hears of no more."""
        site = Site(etrn_domains=["etrn.test", "other.test"])
        self.assertEqual(["250", "458"], site.hello().codes(b"ETRN etrn.test\r\nETRN etrn.test\r\n"))
        self.assertEqual(["458", "250"], site.hello("192.0.2.7").codes(b"ETRN etrn.test\r\nETRN other.test\r\n"))
        self.assertEqual(2, len(site.spool.retried))
        site.clock.advance(120)
        self.assertEqual(["250"], site.hello().codes(b"ETRN etrn.test\r\n"))

    def test_not_for_submission(self) -> None:
        """RFC 6409 7: ETRN is not offered where mail is submitted."""
        client = Site(role="submission", etrn_domains=["etrn.test"]).connect()
        self.assertNotIn(b"ETRN", client.say(b"EHLO x\r\n"))
        self.assertEqual(["502"], client.codes(b"ETRN etrn.test\r\n"))

    def test_lost_while_waiting(self) -> None:
        """A client that goes before the answer harms nobody."""
        site = Site(etrn_domains=["etrn.test"])
        site.spool.due = Deferred()
        client = site.hello()
        client.say(b"ETRN etrn.test\r\n")
        client.vanish()
        site.spool.due.callback([])
        self.assertEqual([], site.clock.getDelayedCalls())


class DomainTests(SynchronousTestCase):
    def test_answers(self) -> None:
        """What the DNS says for certain is told at once (RFC 7505 4.2); for all else there is the queue."""
        no_domain = Failure("domain far.test does not exist", Phase.DNS, enhanced="5.1.2")
        loop = Failure("far.test leads back to us", Phase.DNS, enhanced="5.4.6")
        cases: tuple[tuple[Located, str], ...] = (
            (GOOD, "250"),
            (NULL_MX, "556"),
            (no_domain, "550"),
            (loop, "250"),
            (Deferral("cannot look up", Phase.DNS), "250"),
        )
        for found, code in cases:
            asked: list[Address] = []

            def locate(recipient: Address, found: Located = found, asked: list[Address] = asked) -> Located:
                asked.append(recipient)
                return found

            client = Site(locate=locate).hello(TRUSTED)
            heard = client.codes(b"MAIL FROM:<>\r\nRCPT TO:<a@far.test>\r\n")
            self.assertEqual((["250", code], ["a@far.test"]), (heard, list(map(str, asked))))

    def test_waiting(self) -> None:
        """The reply waits for the DNS, and what the client sent behind the command for the reply."""
        for found, code in ((GOOD, "250"), (NULL_MX, "556"), (ValueError("a bug"), "250")):
            located: Deferred[Located] = Deferred()
            site = Site(locate=lambda _recipient, located=located: located)
            client = site.hello(TRUSTED)
            self.assertEqual(["250"], client.codes(b"MAIL FROM:<>\r\nRCPT TO:<a@far.test>\r\nVRFY x@y.test\r\n"))
            if isinstance(found, Exception):
                located.errback(found)
            else:
                located.callback(found)
            self.assertEqual([code, "252"], client.codes(b""))

    def test_slow(self) -> None:
        """A DNS that does not answer holds nobody up: the recipient is accepted, and the answer comes too late."""
        located: Deferred[Located] = Deferred()
        site = Site(locate=lambda _recipient: located)
        client = site.hello(TRUSTED)
        client.say(b"MAIL FROM:<>\r\nRCPT TO:<a@far.test>\r\n")
        site.clock.advance(DNS_PATIENCE)
        self.assertEqual(["250"], client.codes(b""))
        located.callback(NULL_MX)
        self.assertEqual(["354"], client.codes(b"DATA\r\n"))

    def test_lost_while_waiting(self) -> None:
        """A client that goes before the answer harms nobody."""
        located: Deferred[Located] = Deferred()
        site = Site(locate=lambda _recipient: located)
        client = site.hello(TRUSTED)
        client.say(b"MAIL FROM:<>\r\nRCPT TO:<a@far.test>\r\n")
        client.vanish()
        located.callback(NULL_MX)
        self.assertEqual(([], b""), (site.clock.getDelayedCalls(), client.heard()))

    def test_not_asked(self) -> None:
        """Nothing is asked of a recipient who is refused anyway, or for whom others stand."""
        site = Site(locate=lambda _recipient: self.fail("it was asked"))
        client = site.hello()
        self.assertEqual(["250", "550"], client.codes(b"MAIL FROM:<>\r\nRCPT TO:<a@far.test>\r\n"))
