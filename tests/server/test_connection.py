"""Connections: who is let in, when the greeting comes, delays, idleness, stopping."""

from __future__ import annotations

from twisted.internet.address import UNIXAddress
from twisted.trial.unittest import SynchronousTestCase

from mta.policy.limits import Connections
from mta.server.transcript import Transcript
from tests.policy.limits import limits_for_tests
from tests.server.fakes import HOSTNAME, TRUSTED, Client, Site, codes

ENVELOPE = b"MAIL FROM:<a@b.test>\r\nRCPT TO:<alice@local.test>\r\n"


class GreetingTests(SynchronousTestCase):
    def test_after_a_turn(self) -> None:
        """The greeting comes after a full turn of the reactor, not at once: early talkers show themselves in it."""
        site = Site()
        client = Client(site)
        self.assertEqual(b"", client.heard())
        site.turn()
        self.assertEqual(b"", client.heard())
        site.turn()
        self.assertEqual(b"220 ", client.heard()[:4])

    def test_trusted_at_once(self) -> None:
        """Who may relay is not suspected of talking early: the greeting comes with the connection."""
        client = Client(Site(), TRUSTED)
        self.assertEqual(b"220 ", client.heard()[:4])

    def test_early_talkers(self) -> None:
        """Data before the greeting is 554 without an enhanced code, and the end (RFC 5321 3.1, 4.3.1)."""
        for turns in range(2):
            site = Site()
            client = Client(site)
            for _ in range(turns):
                site.turn()
            self.assertTrue(client.say(b"EHLO x\r\n").startswith(b"554 mx.example.org "))
            self.assertFalse(client.open)
            self.assertEqual(["connection-closed"], site.kinds)
            self.assertEqual([], site.clock.getDelayedCalls())

    def test_greet_wait(self) -> None:
        """Strangers at the public listener wait for the greeting, trusted clients and other roles do not."""
        limits = limits_for_tests(greet_wait=3.0)
        for host, role, waits in (("192.0.2.1", "mx", True), (TRUSTED, "mx", False), ("192.0.2.1", "relay", False)):
            site = Site(limits, role=role)
            client = site.connect(host)
            self.assertEqual(waits, client.heard() == b"", (host, role))
            site.clock.advance(3)
            self.assertEqual(waits, client.heard() != b"", (host, role))

    def test_out_of_turn(self) -> None:
        """Bytes behind EHLO in the same read end the session (RFC 2920 3.1)."""
        client = Site().connect()
        client.heard()
        self.assertEqual(b"554 5.5.0", client.say(b"EHLO x\r\nMAIL FROM:<>\r\n")[:9])
        self.assertFalse(client.open)

    def test_vanished_before_greeting(self) -> None:
        """A client that goes before it is greeted leaves nothing behind."""
        site = Site()
        Client(site).vanish()
        self.assertEqual((0, 0, []), (site.factory.sessions, site.connections.total, site.clock.getDelayedCalls()))


class AdmissionTests(SynchronousTestCase):
    def test_too_many(self) -> None:
        """Too many connections get 421 in place of the greeting, and are logged; places are given back."""
        site = Site(limits_for_tests(connections_per_client=1))
        first = site.connect()
        second = Client(site)
        self.assertEqual(b"421 4.7.0 mx.example.org ", second.heard()[:25])
        self.assertFalse(second.open)
        self.assertEqual(
            [
                (
                    "connection-refused",
                    {
                        "listener": "relay",
                        "client": "192.0.2.1",
                        "helo": "",
                        "reply": "421 4.7.0 mx.example.org has too many connections from your address; close one first",
                        "reason": "limits.connections_per_client",
                    },
                )
            ],
            site.log,
        )
        first.vanish()
        self.assertEqual(b"220 ", site.connect().heard()[:4])

    def test_shared_by_listeners(self) -> None:
        """The counts are those of all listeners together."""
        limits = limits_for_tests(connections=1)
        shared = Connections(limits, HOSTNAME)
        one, other = Site(limits, connections=shared), Site(limits, connections=shared)
        self.assertEqual(b"220 ", one.connect().heard()[:4])
        self.assertEqual(b"421 ", other.connect(TRUSTED).heard()[:4])

    def test_peer_without_address(self) -> None:
        """A peer on a UNIX socket, or with no address at all, is a stranger like any other."""
        for peer in (UNIXAddress(b"/run/x"), UNIXAddress(None), object()):
            site = Site()
            client = Client(site, peer=peer)
            site.settle()
            self.assertEqual(["220"], client.codes(b""))
            client.say(b"EHLO x\r\n")
            self.assertEqual(["250", "550"], client.codes(b"MAIL FROM:<>\r\nRCPT TO:<x@far.test>\r\n"))
            self.assertEqual("unknown", site.log[0][1]["client"])


class ErrorTests(SynchronousTestCase):
    def test_soft_limit_delays(self) -> None:
        """After ten errors each error waits a second, and what is pipelined behind it waits too."""
        site = Site()
        client = site.hello()
        self.assertEqual(["500"] * 10, client.codes(b"WHAT\r\n" * 10))
        self.assertEqual([], client.codes(b"WHAT\r\nNOOP\r\nWHAT\r\n"))
        site.clock.advance(0.9)
        self.assertEqual(b"", client.heard())
        site.clock.advance(0.1)
        self.assertEqual(["500", "250"], client.codes(b""))
        site.clock.advance(1)
        self.assertEqual(["500"], client.codes(b""))

    def test_hard_limit_closes(self) -> None:
        """After twenty errors the next command is 421, and the connection is closed and logged."""
        site = Site()
        client = site.hello()
        client.say(b"WHAT\r\n" * 30)
        heard = b""
        for _ in range(30):
            site.clock.advance(1)
            heard += client.heard()
        self.assertEqual(b"421 4.7.0", heard[-heard[::-1].index(b"\n", 1) :][:9])
        self.assertFalse(client.open)
        self.assertEqual(["command-refused"] * 20 + ["connection-closed", "session-transcript"], site.kinds)

    def test_transcript(self) -> None:
        """Who is sent away for errors leaves the last thirty lines in the log, without what may be secret."""
        site = Site(limits_for_tests(error_delay=0.0))
        client = site.hello()
        client.say(b"AUTH LOGIN\r\n")
        client.say(b"c2VjcmV0\r\n")
        client.say(b"WHAT\xff|\t\r\n")
        client.say(b"X" * 2000 + b"\r\n")
        client.say(b"NOOP\r\n" * 6 + b"WHAT\r\n" * 16 + b"NOOP\r\n")
        self.assertFalse(client.open)
        lines = site.log[-1][1]["lines"]
        self.assertEqual(30, lines.count("C: ") + lines.count("S: "))
        self.assertLess(len(lines), 8192)
        self.assertTrue(lines.isascii())
        self.assertIn("C: WHAT | S: 500 5.5.1 ", lines)
        self.assertTrue(lines.rpartition(" | ")[2].startswith("S: 421 4.7.0 "))

    def test_transcript_keeps_no_secrets(self) -> None:
        """Of AUTH and the line behind it nothing is kept, and a line of controls can't forge another."""
        transcript = Transcript()
        for line in (b"AUTH PLAIN c2VjcmV0", b"c2VjcmV0", b"WHAT\xff\t"):
            transcript.said(line)
        self.assertEqual("C: ... | C: ... | C: WHAT\\xff\\t", str(transcript))

    def test_lost_while_delayed(self) -> None:
        """A client that goes while its error waits leaves no timer behind."""
        site = Site()
        client = site.hello()
        client.say(b"WHAT\r\n" * 11)
        client.vanish()
        self.assertEqual([], site.clock.getDelayedCalls())

    def test_log(self) -> None:
        """A refused command is one line with the verb and the reply; arguments, which may be secrets, stay out."""
        site = Site()
        site.hello().say(b"AUTH PLAIN AGEAc2VjcmV0\r\n\xff\xfe\r\n")
        self.assertEqual(
            [("command-refused", "AUTH"), ("command-refused", "\\xff\\xfe")],
            [(kind, fields["command"]) for kind, fields in site.log],
        )
        self.assertNotIn("AGEA", repr(site.log))
        self.assertEqual("client.test", site.log[0][1]["helo"])


class IdleTests(SynchronousTestCase):
    def test_idle(self) -> None:
        """A silent peer gets 421 4.4.2 after the timeout (RFC 5321 4.5.3.2.7); whoever speaks starts it anew."""
        site = Site()
        client = site.hello()
        site.clock.advance(299)
        client.say(b"NOOP\r\n")
        site.clock.advance(299)
        self.assertTrue(client.open)
        site.clock.advance(2)
        self.assertEqual(b"421 4.4.2", client.heard()[:9])
        self.assertFalse(client.open)
        self.assertEqual([], site.clock.getDelayedCalls())

    def test_idle_in_content(self) -> None:
        """Each piece of content counts as activity; a peer that stops in the middle loses its message."""
        site = Site()
        client = site.hello()
        client.say(ENVELOPE + b"DATA\r\n")
        for _ in range(3):
            site.clock.advance(299)
            client.say(b"x")
        site.clock.advance(301)
        self.assertFalse(client.open)
        self.assertTrue(site.spool.received[0].aborted)

    def test_not_while_we_are_busy(self) -> None:
        """While the spool has the word the peer can't be idle, and its time begins with our reply."""
        site = Site()
        site.spool.slow = True
        client = site.hello()
        client.say(ENVELOPE + b"DATA\r\n")
        client.say(b"x\r\n.\r\n")
        site.clock.advance(1000)
        self.assertTrue(client.open)
        site.spool.finish()
        self.assertEqual(b"250", client.heard()[:3])
        site.clock.advance(299)
        self.assertTrue(client.open)

    def test_stress(self) -> None:
        """When connections run short, idle strangers go after ten seconds, but not in content and not trusted ones."""
        site = Site(limits_for_tests(connections=4))
        idle, sending, trusted = site.hello(), site.hello(), site.hello(TRUSTED)
        sending.say(ENVELOPE + b"DATA\r\n")
        site.clock.advance(11)
        self.assertTrue(idle.open)
        last = site.hello(TRUSTED)
        site.clock.advance(1)
        self.assertEqual(
            [False, True, True, True], [client.open for client in (idle, sending, trusted, last)], site.log
        )

    def test_one_timer(self) -> None:
        """However many sessions idle, there is one timer."""
        site = Site()
        for _ in range(40):
            site.hello()
        self.assertEqual(1, len(site.clock.getDelayedCalls()))


class LostTests(SynchronousTestCase):
    def test_lost_in_content(self) -> None:
        """A connection lost in the middle of a message leaves nothing in the spool, and a line in the log."""
        site = Site()
        client = site.hello()
        client.say(ENVELOPE + b"DATA\r\n")
        client.say(b"half\r\n.")
        client.vanish()
        self.assertTrue(site.spool.received[0].aborted)
        self.assertEqual([], site.spool.committed)
        self.assertEqual(["connection-closed"], site.kinds)

    def test_lost_while_committing(self) -> None:
        """Once the end of the data was seen the message is ours, even if nobody hears the 250."""
        site = Site()
        site.spool.slow = True
        client = site.hello()
        client.say(ENVELOPE + b"DATA\r\n")
        client.say(b"x\r\n.\r\n")
        client.vanish()
        self.assertFalse(site.spool.received[0].aborted)
        site.spool.finish()
        self.assertEqual([(1, True)], site.queue.taken)

    def test_half_closed(self) -> None:
        """A peer that shuts down its sending side behind its last command gets all its replies, then the end."""
        site = Site()
        site.spool.slow = True
        client = site.hello()
        client.say(ENVELOPE + b"BDAT 3 LAST\r\nx\r\nQUIT\r\n")
        client.server.readConnectionLost()
        self.assertTrue(client.open)
        site.spool.finish()
        self.assertEqual(["250", "221"], codes(client.heard())[-2:])
        self.assertFalse(client.open)

    def test_half_closed_in_content(self) -> None:
        """A peer that ends in the middle of a message is not waited for, and nothing of it is kept."""
        site = Site()
        client = site.hello()
        client.say(ENVELOPE + b"DATA\r\n")
        client.say(b"x\r\n")
        client.server.readConnectionLost()
        self.assertFalse(client.open)
        self.assertTrue(site.spool.received[0].aborted)

    def test_lost_while_spool_is_full(self) -> None:
        """A connection lost while the spool wants no more is aborted, and room that comes later harms nobody."""
        site = Site()
        site.spool.full = True
        client = site.hello()
        client.say(ENVELOPE + b"DATA\r\n")
        client.say(b"x\r\n.\r\n")
        client.vanish()
        site.spool.make_room()
        self.assertTrue(site.spool.received[0].aborted)
        self.assertEqual([], site.spool.committed)

    def test_deaf_to_last_words(self) -> None:
        """A peer that does not take its last reply is dropped after ten seconds."""
        site = Site()
        client = site.hello()
        client.wire.closes = False
        client.say(b"QUIT\r\n")
        self.assertEqual(b"", client.say(b"NOOP\r\n"))
        site.clock.advance(9)
        self.assertFalse(client.wire.aborted)
        site.clock.advance(2)
        self.assertTrue(client.wire.aborted)


class StopTests(SynchronousTestCase):
    def test_stop(self) -> None:
        """Idle peers get 421 4.3.2 at once; a message under way is finished first, then 421 (RFC 5321 3.8)."""
        site = Site()
        idle, busy, waiting = site.hello(), site.hello(), Client(site)
        busy.say(ENVELOPE + b"DATA\r\n")
        idle.heard()
        stopped = site.factory.stop()
        self.assertEqual((b"421 4.3.2", b"421 4.3.2"), (idle.heard()[:9], waiting.heard()[:9]))
        self.assertEqual([False, True, False], [client.open for client in (idle, busy, waiting)])
        self.assertNoResult(stopped)
        self.assertEqual(["250", "421"], busy.codes(b"x\r\n.\r\n"))
        self.successResultOf(stopped)
        self.assertEqual((1, []), (len(site.spool.committed), site.clock.getDelayedCalls()))

    def test_stop_without_sessions(self) -> None:
        """With no session open, stopping is done at once."""
        self.successResultOf(Site().factory.stop())

    def test_abandoned_transaction(self) -> None:
        """A transaction that ends without a message ends the session as well."""
        site = Site()
        client = site.hello()
        client.say(b"MAIL FROM:<>\r\n")
        stopped = site.factory.stop()
        self.assertEqual(["250", "421"], client.codes(b"RSET\r\n"))
        self.successResultOf(stopped)

    def test_stop_while_committing(self) -> None:
        """A commit under way is waited for, and acknowledged."""
        site = Site()
        site.spool.slow = True
        client = site.hello()
        client.say(ENVELOPE + b"DATA\r\n")
        client.say(b"x\r\n.\r\nMAIL FROM:<>\r\n")
        stopped = site.factory.stop()
        self.assertNoResult(stopped)
        site.spool.finish()
        self.assertEqual(["250", "421"], client.codes(b""))
        self.successResultOf(stopped)

    def test_abort(self) -> None:
        """When time is up everybody gets 421, and half a message is forgotten."""
        site = Site()
        client = site.hello()
        client.say(ENVELOPE + b"DATA\r\n")
        client.say(b"half")
        stopped = site.factory.stop()
        site.factory.abort()
        self.assertEqual(b"421 4.3.2", client.heard()[:9])
        self.successResultOf(stopped)
        self.assertTrue(site.spool.received[0].aborted)

    def test_abort_deaf_peer(self) -> None:
        """A peer that does not take its 421 is dropped when time is up."""
        site = Site()
        client = site.hello()
        client.wire.closes = False
        stopped = site.factory.stop()
        self.assertNoResult(stopped)
        site.factory.abort()
        self.assertTrue(client.wire.aborted)
        self.successResultOf(stopped)

    def test_late_connection(self) -> None:
        """Who comes after the stop is sent away."""
        site = Site()
        site.factory.stop()
        self.assertEqual(b"421 4.3.2", Client(site).heard()[:9])
        self.assertEqual(0, site.factory.sessions)
