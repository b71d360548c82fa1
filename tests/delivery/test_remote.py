"""Delivering to remote hosts: which hosts are tried, when the next one is, and which outcome is told at the end."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectBindError, NoRouteError
from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address, parse_address
from mta.delivery.attempt import MAX_ADDRESSES
from mta.delivery.health import Health
from mta.delivery.remote import RemoteAgent
from mta.destination import Destination, Host, NextHop, Transport
from mta.dns.fake import FakeResolver
from mta.envelope import Body
from mta.outcome import Deferral, Delivered, Outcome, Phase, Scope
from tests.delivery.material import LIMITS, ONE, TEXT, TIMEOUTS, TWO, Content, delivery, remote
from tests.delivery.network import Network
from tests.peers.scripted import OK, ONE_AT_A_TIME, PIPELINING, SILENCE, Close, Script, ScriptedServer
from tests.smtp_client.dialogue import brief

NO = b"550 5.1.1 no such user\r\n"
NO_MAIL: Script = {"RCPT": b"503 5.5.1 MAIL first\r\n", "DATA": b"503 5.5.1 MAIL first\r\n"}
BUSY = Close(b"421 4.3.2 busy\r\n")


class RemoteCase(SynchronousTestCase):
    """mx1 and mx2 have one address each, 192.0.2.1 and .2; wide has two IPv4 and two IPv6 ones."""

    def setUp(self) -> None:
        self.network = Network()
        self.resolver = FakeResolver(
            {
                ("mx1.test", "A"): ["192.0.2.1"],
                ("mx2.test", "A"): ["192.0.2.2"],
                ("wide.test", "A"): ["192.0.2.3", "192.0.2.4"],
                ("wide.test", "AAAA"): ["2001:db8::3", "2001:db8::4"],
                ("bare.test", "TXT"): [b"no address"],
            }
        )
        self.agent = self.make_agent()

    def make_agent(self, **changes: Any) -> RemoteAgent:
        settings: dict[str, Any] = {
            "reactor": self.network,
            "resolver": self.resolver,
            "timeouts": TIMEOUTS,
            "limits": LIMITS,
            "hello": "client.test",
            "health": Health(60.0, 3600.0),
            "rng": random.Random(1),
        }
        return RemoteAgent(**settings | changes)

    def listen(self, address: str, script: Script | None = None, port: int = 25) -> ScriptedServer:
        server = self.network.servers[address, port] = ScriptedServer(script)
        return server

    def start(self, *hosts: str, recipients: tuple[Address, ...] = (ONE,), **more: Any) -> Deferred[Any]:
        waiting = self.agent.deliver(delivery(remote(*hosts), recipients, **more))
        self.network.settle()
        return waiting

    def deliver(self, *hosts: str, recipients: tuple[Address, ...] = (ONE,), **more: Any) -> Mapping[Address, Outcome]:
        waiting = self.start(*hosts, recipients=recipients, **more)
        outcomes: Mapping[Address, Outcome] = self.successResultOf(waiting)
        return outcomes

    def deferral(self, *hosts: str) -> Deferral:
        """The deferral that a delivery to one recipient ends in, however long that takes."""
        waiting = self.start(*hosts)
        self.network.pass_time(3600)
        outcome = self.successResultOf(waiting)[ONE]
        assert isinstance(outcome, Deferral), outcome
        return outcome


class MessageTests(RemoteCase):
    def test_delivered(self) -> None:
        """The server gets the envelope and each octet of the content; the outcome names host, address and port."""
        server = self.listen("192.0.2.1")
        outcomes = self.deliver("mx1.test", recipients=(ONE, TWO))
        outcome = outcomes[ONE]
        assert isinstance(outcome, Delivered)
        self.assertEqual("mx1.test[192.0.2.1]:25", outcome.host)
        assert outcome.reply is not None
        self.assertEqual("250 2.0.0 queued", str(outcome.reply))
        self.assertEqual([TEXT], server.messages)
        self.assertEqual(
            [
                "EHLO client.test",
                f"MAIL FROM:<sender@from.test> SIZE={len(TEXT)}",
                "RCPT TO:<one@to.test>",
                "RCPT TO:<two@to.test>",
                "DATA",
            ],
            server.commands,
        )

    def test_declared_body(self) -> None:
        """The body type of the message is the one declared to the server."""
        server = self.listen("192.0.2.1")
        self.deliver("mx1.test", body=Body.EIGHT_BIT_MIME)
        self.assertIn("BODY=8BITMIME", server.commands[1])

    def test_large_content(self) -> None:
        """Content in chunks arrives as it is, wherever the chunks are cut, dots and line ends included."""
        server = self.listen("192.0.2.1")
        text = b"line\r\n.\r\n..two\r\n" * 20_000
        for size in (65_536, 70_001, 1_000_000):
            self.deliver("mx1.test", content=Content(text, size))
        self.assertEqual([text] * 3, server.messages)

    def test_each_recipient(self) -> None:
        """Each recipient has its own outcome."""
        self.listen("192.0.2.1", {"RCPT": [NO, OK]})
        outcomes = self.deliver("mx1.test", recipients=(ONE, TWO))
        self.assertEqual(["failure 5.1.1", "delivered"], [brief(outcomes[ONE]), brief(outcomes[TWO])])


class OrderTests(RemoteCase):
    def test_best_preference_first(self) -> None:
        """The host with the lowest preference is tried first, and no other when it answers (RFC 5321 5.1)."""
        self.listen("192.0.2.1")
        self.listen("192.0.2.2")
        self.deliver("mx2.test", "mx1.test")
        self.assertEqual(["192.0.2.2"], self.network.tried)

    def test_random_among_equals(self) -> None:
        """Hosts of equal preference share the load (RFC 5321 5.1)."""
        seen = set()
        for seed in range(20):
            self.agent = self.make_agent(rng=random.Random(seed))
            self.start("mx1.test|mx2.test")
            seen.add(tuple(self.network.tried))
            self.network.connectors.clear()
        self.assertEqual({("192.0.2.1", "192.0.2.2"), ("192.0.2.2", "192.0.2.1")}, seen)

    def test_all_addresses(self) -> None:
        """All addresses of a host are tried before it is given up, the two families in turn."""
        self.start("wide.test")
        self.assertEqual(4, len(set(self.network.tried)))
        first, second, third, fourth = (":" in address for address in self.network.tried)
        self.assertEqual((first, second), (third, fourth))
        self.assertNotEqual(first, second)

    def test_at_most_five_addresses(self) -> None:
        """A host with many addresses gets five tries in one attempt."""
        self.resolver.set("wide.test", "A", [f"192.0.2.{number}" for number in range(100, 200)])
        self.deferral("wide.test")
        self.assertEqual(5, len(self.network.tried))

    def test_at_most_twenty_in_all(self) -> None:
        """A domain with many hosts can't keep an attempt busy for hours."""
        self.deferral(*(f"192.0.2.{number}" for number in range(10, 99)))
        self.assertEqual(MAX_ADDRESSES, len(self.network.tried))

    def test_ip_address_as_host(self) -> None:
        """A host that is an address needs no lookup, in either family."""
        for address in ("192.0.2.1", "2001:db8::1"):
            self.listen(address, port=2501)
            next_hop = NextHop(Transport.SMTP, address, 2501)
            destination = Destination(next_hop, f"{address}:2501", (Host(address, 2501),))
            waiting = self.agent.deliver(delivery(destination))
            self.network.settle()
            self.assertEqual(f"{address}[{address}]:2501", self.successResultOf(waiting)[ONE].host)
        self.assertEqual([], self.resolver.asked)

    def test_source_address(self) -> None:
        """Connections leave from the configured address, where the peer is of its family."""
        self.agent = self.make_agent(source_address="192.0.2.99")
        self.start("wide.test")
        for connector in self.network.connectors:
            expected = None if ":" in connector.address[0] else ("192.0.2.99", 0)
            self.assertEqual(expected, connector.bind)


class NextHostTests(RemoteCase):
    """What makes us ask another host in the same attempt, and what does not."""

    def test_table(self) -> None:
        """A host that can't be reached, turns all away or leaves is passed over; one that has spoken is believed."""
        for name, script, expected, tried in (
            ("554 greeting", {"greeting": b"554 no service\r\n"}, "delivered", 2),
            ("421 greeting", {"greeting": BUSY}, "delivered", 2),
            ("silent greeting", {"greeting": SILENCE}, "delivered", 2),
            ("another protocol", {"greeting": b"SSH-2.0-x\r\n"}, "delivered", 2),
            ("closes at once", {"greeting": Close()}, "delivered", 2),
            ("closes at EHLO", {"EHLO": Close()}, "delivered", 2),
            ("EHLO deferred", {"EHLO": b"450 later\r\n"}, "delivered", 2),
            ("421 at MAIL", {"MAIL": BUSY}, "delivered", 2),
            ("421 at RCPT", {"RCPT": BUSY}, "delivered", 2),
            ("421 at DATA", {"DATA": BUSY}, "delivered", 2),
            ("silent at MAIL", {"MAIL": SILENCE}, "delivered", 2),
            ("silent at DATA", {"DATA": SILENCE}, "delivered", 2),
            ("out of step", {"MAIL": b"250 a\r\n250 b\r\n250 c\r\n250 d\r\n"}, "delivered", 2),
            ("5xx at MAIL", {"MAIL": b"550 5.7.1 no\r\n", **NO_MAIL}, "failure 5.7.1", 1),
            ("4xx at MAIL", {"MAIL": b"450 4.7.1 later\r\n", **NO_MAIL}, "deferral 4.7.1 message", 1),
            ("5xx at RCPT", {"RCPT": NO}, "failure 5.1.1", 1),
            ("4xx at RCPT", {"RCPT": b"450 4.2.1 later\r\n"}, "deferral 4.2.1 recipient", 1),
            ("5xx at DATA", {"DATA": b"554 5.5.1 no\r\n"}, "failure 5.5.1", 1),
            ("4xx at the final dot", {".": b"452 4.3.1 full\r\n"}, "deferral 4.3.1 message", 1),
            ("5xx at the final dot", {".": b"554 5.6.0 bad\r\n"}, "failure 5.6.0", 1),
            ("closes after the final dot", {".": Close()}, "deferral 4.4.2 message", 1),
            ("silent after the final dot", {".": SILENCE}, "deferral 4.4.2 message", 1),
            ("421 after the final dot", {".": BUSY}, "deferral 4.3.2 site", 1),
            ("nonsense after the final dot", {".": b"hm\r\n"}, "deferral 4.5.0 message", 1),
            ("refuses within the content", {"content": Close(b"552 5.3.4 big\r\n")}, "failure 5.3.4", 1),
            ("knows only HELO", {"EHLO": b"500 what\r\n"}, "delivered", 1),
        ):
            self.setUp()
            first = self.listen("192.0.2.1", script)
            second = self.listen("192.0.2.2")
            # Long enough not to be sent in the write of its final dot.
            waiting = self.start("mx1.test", "mx2.test", content=Content(TEXT * 10_000, 65_536))
            self.network.pass_time(1000)
            outcome = self.successResultOf(waiting)[ONE]
            self.assertEqual(expected, brief(outcome), name)
            self.assertEqual(tried, len(self.network.connectors), name)
            self.assertLessEqual(len(first.messages) + len(second.messages), 1, name)

    def test_closes_within_the_content(self) -> None:
        """A host that leaves before it has the final dot can't have taken the message: the next one gets it whole."""
        self.listen("192.0.2.1", {"content": Close()})
        second = self.listen("192.0.2.2")
        content = Content(TEXT * 10, len(TEXT))
        content.held = []
        waiting = self.start("mx1.test", "mx2.test", content=content)
        while content.held:
            content.release()
            self.network.settle()
        self.assertEqual("delivered", brief(self.successResultOf(waiting)[ONE]))
        self.assertEqual([TEXT * 10], second.messages)

    def test_only_the_undecided_move_on(self) -> None:
        """A recipient that one host refused is not offered to the next one."""
        self.listen("192.0.2.1", {"RCPT": [NO, BUSY]})
        second = self.listen("192.0.2.2")
        outcomes = self.deliver("mx1.test", "mx2.test", recipients=(ONE, TWO))
        self.assertEqual(["failure 5.1.1", "delivered"], [brief(outcomes[ONE]), brief(outcomes[TWO])])
        self.assertNotIn("RCPT TO:<one@to.test>", second.commands)

    def test_two_sessions_at_most(self) -> None:
        """After two hosts that closed in the middle the attempt is over: the message itself may be the reason."""
        for address in ("192.0.2.1", "192.0.2.2", "192.0.2.3"):
            self.listen(address, {"MAIL": BUSY})
        self.assertEqual("deferral 4.3.2 site", brief(self.deferral("mx1.test", "mx2.test", "wide.test")))
        self.assertEqual(2, len(self.network.tried))

    def test_host_that_did_not_answer_comes_last(self) -> None:
        """After a failed connection the next deliveries go to the others first, until the mark is over."""
        self.network.silent.add(("192.0.2.1", 25))
        self.listen("192.0.2.2", {".": Close(b"250 2.0.0 queued\r\n")})
        self.start("mx1.test", "mx2.test")
        self.network.pass_time(TIMEOUTS.connect)
        self.start("mx1.test", "mx2.test")
        self.assertEqual(["192.0.2.1", "192.0.2.2", "192.0.2.2"], self.network.tried)
        self.network.pass_time(60)
        self.start("mx1.test", "mx2.test")
        self.assertEqual("192.0.2.1", self.network.tried[-1])

    def test_hosts_that_all_did_not_answer_are_tried_all_the_same(self) -> None:
        """Where every address is marked, each is tried: whether to leave a site alone is not decided here."""
        for _ in range(2):
            self.deferral("mx1.test", "mx2.test")
        self.assertEqual(["192.0.2.1", "192.0.2.2"] * 2, self.network.tried)


class ClosingTests(RemoteCase):
    """421: the service closes this connection, which says little of the next one (RFC 5321 3.8)."""

    def test_once_more(self) -> None:
        """Wherever a host says 421, it is asked once more in the same attempt over a new connection."""
        for stage, good in (
            ("greeting", b"220 hello\r\n"),
            ("EHLO", PIPELINING),
            ("MAIL", OK),
            ("RCPT", OK),
            ("DATA", b"354 go\r\n"),
        ):
            self.setUp()
            server = self.listen("192.0.2.1", {stage: [BUSY, good]})
            self.assertEqual("delivered", brief(self.deliver("mx1.test")[ONE]), stage)
            self.assertEqual(2, len(server.sessions), stage)

    def test_twice(self) -> None:
        """A host that says it again means it: the site waits."""
        for stage in ("greeting", "EHLO", "MAIL"):
            self.setUp()
            server = self.listen("192.0.2.1", {stage: BUSY})
            self.assertEqual("deferral 4.3.2 site", brief(self.deferral("mx1.test")))
            self.assertEqual(2, len(server.sessions), stage)

    def test_others_first(self) -> None:
        """Another host comes before the same one again."""
        self.listen("192.0.2.1", {"greeting": [BUSY, b"220 hello\r\n"]})
        self.listen("192.0.2.2", {"greeting": b"554 no\r\n"})
        self.assertEqual("delivered", brief(self.deliver("mx1.test", "mx2.test")[ONE]))
        self.assertEqual(["192.0.2.1", "192.0.2.2", "192.0.2.1"], self.network.tried)

    def test_on_a_reused_connection(self) -> None:
        """On a connection that had served before it costs a new one, and no more."""
        for stage, good in (("MAIL", OK), ("RCPT", OK), ("DATA", b"354 go\r\n")):
            self.setUp()
            server = self.listen("192.0.2.1", {stage: [good, BUSY, good]})
            self.deliver("mx1.test")
            self.assertEqual("delivered", brief(self.deliver("mx1.test")[ONE]), stage)
            self.assertEqual(2, len(server.sessions), stage)

    def test_never_after_the_final_dot(self) -> None:
        """After the final dot it may have been taken, so nobody is asked again now."""
        server = self.listen("192.0.2.1", {".": BUSY})
        self.assertEqual("deferral 4.3.2 site", brief(self.deferral("mx1.test")))
        self.assertEqual(1, len(server.sessions))


class ManyRecipientsTests(RemoteCase):
    """More recipients than the server takes at once: further transactions in the same attempt."""

    RECIPIENTS = tuple(parse_address(f"r{number}@to.test") for number in range(5))

    def rcpts(self, server: ScriptedServer) -> list[int]:
        """How many recipients each transaction had, as the server saw it."""
        counts: list[int] = []
        for command in server.commands:
            if command.startswith("MAIL"):
                counts.append(0)
            elif command.startswith("RCPT"):
                counts[-1] += 1
        return counts

    def deliver_all(self) -> list[str]:
        outcomes = self.deliver("mx1.test", recipients=self.RECIPIENTS)
        self.assertEqual(set(self.RECIPIENTS), set(outcomes))
        return [brief(outcomes[who]) for who in self.RECIPIENTS]

    def test_announced(self) -> None:
        """RCPTMAX of LIMITS is obeyed over one connection (RFC 9422 4.2)."""
        server = self.listen("192.0.2.1", {"EHLO": b"250-x\r\n250-PIPELINING\r\n250 LIMITS RCPTMAX=2\r\n"})
        self.assertEqual(["delivered"] * 5, self.deliver_all())
        self.assertEqual([2, 2, 1], self.rcpts(server))
        self.assertEqual(1, len(server.sessions))

    def test_with_few_mails(self) -> None:
        """With MAILMAX too the rest goes over further connections (RFC 9422 4.1)."""
        server = self.listen("192.0.2.1", {"EHLO": b"250-x\r\n250-PIPELINING\r\n250 LIMITS MAILMAX=1 RCPTMAX=1\r\n"})
        self.assertEqual(["delivered"] * 5, self.deliver_all())
        self.assertEqual(5, len(server.sessions))

    def test_mails(self) -> None:
        """MAILMAX bounds the messages over one connection (RFC 9422 4.1)."""
        server = self.listen("192.0.2.1", {"EHLO": b"250-x\r\n250 LIMITS MAILMAX=2\r\n"})
        for _ in range(3):
            self.deliver("mx1.test")
        self.assertEqual([2, 1], [len(session.messages) for session in server.sessions])

    def test_domains(self) -> None:
        """With RCPTDOMAINMAX each domain has its own connection (RFC 9422 4.3)."""
        server = self.listen("192.0.2.1", {"EHLO": b"250-x\r\n250-PIPELINING\r\n250 LIMITS RCPTDOMAINMAX=1\r\n"})
        recipients = tuple(parse_address(text) for text in ("a@one.test", "b@two.test", "c@one.test", "d@three.test"))
        outcomes = self.deliver("mx1.test", recipients=recipients)
        self.assertEqual(["delivered"] * 4, [brief(outcomes[who]) for who in recipients])
        self.assertEqual(3, len(server.sessions))

    def test_not_announced(self) -> None:
        """452 in the middle of the list does the same (RFC 5321 4.5.3.1.10)."""
        many = b"452 4.5.3 too many\r\n"
        server = self.listen("192.0.2.1", {"RCPT": [OK, OK, many, many, many, OK, many, many, OK, OK]})
        self.assertEqual(["delivered"] * 5, self.deliver_all())
        self.assertEqual([5, 3, 2], self.rcpts(server))
        self.assertEqual([TEXT] * 3, server.messages)

    def test_none_accepted(self) -> None:
        """A transaction without any accepted recipient ends it: they wait as deferred ones do."""
        many = b"452 4.5.3 too many\r\n"
        server = self.listen("192.0.2.1", {"RCPT": [OK, many]})
        self.assertEqual(["delivered", *["deferral 4.5.3 recipient"] * 4], self.deliver_all())
        self.assertEqual([5, 4], self.rcpts(server))


class FittingTests(RemoteCase):
    """A message that a server may not have as it is."""

    HIGH = Content("Subject: x\r\n\r\nHöhe\r\n".encode(), 8)

    def test_policies(self) -> None:
        """8-bit content for a server without 8BITMIME is sent, bounced or converted; the connection stays of use."""
        converted = b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=unknown-8bit\r\n"
        for policy, expected, start in (
            ("send", "delivered", b"Subject: x\r\n\r\nH\xc3\xb6he\r\n"),
            ("bounce", "failure 5.6.3", None),
            ("convert", "delivered", b"Subject: x\r\n" + converted),
        ):
            self.setUp()
            self.agent = self.make_agent(eight_bit=policy)
            server = self.listen("192.0.2.1", {"EHLO": ONE_AT_A_TIME})
            for _ in range(2):
                outcomes = self.deliver("mx1.test", content=self.HIGH, body=Body.EIGHT_BIT_MIME)
                self.assertEqual(expected, brief(outcomes[ONE]), policy)
            self.assertEqual(1, len(server.sessions))
            self.assertEqual(0 if start is None else 2, len(server.messages))
            self.assertTrue(all(message.startswith(start or b"") for message in server.messages))

    def test_unreadable(self) -> None:
        """Content that can't be read for that is our trouble, and the connection stays of use."""
        self.agent = self.make_agent(eight_bit="bounce")
        server = self.listen("192.0.2.1", {"EHLO": ONE_AT_A_TIME})
        broken = Content(b"x" * 99, 10, broken=1)
        outcomes = self.deliver("mx1.test", content=broken, body=Body.EIGHT_BIT_MIME)
        self.assertEqual("deferral 4.3.0 ourselves", brief(outcomes[ONE]))
        self.assertEqual("delivered", brief(self.deliver("mx1.test")[ONE]))
        self.assertEqual(1, len(server.sessions))

    def test_lost_while_reading(self) -> None:
        """A connection that is lost while the message is read is one that nothing was said on."""
        self.agent = self.make_agent(eight_bit="convert")
        server = self.listen("192.0.2.1", {"EHLO": ONE_AT_A_TIME})
        content = Content(b"plain\r\n" * 4, 14)
        content.held = []
        waiting = self.start("mx1.test", content=content, body=Body.EIGHT_BIT_MIME)
        self.network.pumps[0].server.transport.loseConnection()
        self.network.settle()
        while content.held:
            content.release()
            self.network.settle()
        self.assertEqual("deferral 4.4.2 message", brief(self.successResultOf(waiting)[ONE]))
        self.assertEqual(["EHLO client.test"], server.commands)

    def test_cancelled_while_reading(self) -> None:
        """A delivery that is cancelled while the message is read leaves no connection behind."""
        self.agent = self.make_agent(eight_bit="convert")
        server = self.listen("192.0.2.1", {"EHLO": ONE_AT_A_TIME})
        content = Content(b"plain\r\n" * 4, 14)
        content.held = []
        waiting = self.start("mx1.test", content=content, body=Body.EIGHT_BIT_MIME)
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.network.settle()
        self.assertTrue(server.sessions[0].gone)


class TroubleTests(RemoteCase):
    """Where nobody took the message: the deferral says why, and whom it speaks of."""

    def test_refused(self) -> None:
        """A refused connection is the site's."""
        outcome = self.deferral("mx1.test")
        self.assertEqual((Phase.CONNECT, Scope.SITE, "4.4.1"), (outcome.phase, outcome.scope, outcome.enhanced))
        self.assertEqual("cannot connect to mx1.test[192.0.2.1]:25: Connection refused", outcome.reason)

    def test_silent(self) -> None:
        """A connection that nobody answers ends with its timeout."""
        self.network.silent.add(("192.0.2.1", 25))
        waiting = self.start("mx1.test")
        self.network.pass_time(TIMEOUTS.connect - 1)
        self.assertNoResult(waiting)
        self.network.pass_time(1)
        self.assertIn("does not answer", self.successResultOf(waiting)[ONE].reason)

    def test_our_own_limits(self) -> None:
        """Too many open files, or no such local address, says nothing of the site."""
        for number, scope in ((24, Scope.OURSELVES), (99, Scope.OURSELVES)):
            self.network.errors["192.0.2.1", 25] = ConnectBindError(number, "out of something")
            self.assertIs(scope, self.deferral("mx1.test").scope)
        self.network.errors["192.0.2.1", 25] = NoRouteError(113, "no route")
        self.assertIs(Scope.SITE, self.deferral("mx1.test").scope)

    def test_host_without_address(self) -> None:
        """An MX host that does not exist or has no address is passed over, and never fails a message (RFC 5321 5.1)."""
        server = self.listen("192.0.2.1")
        self.assertEqual("delivered", brief(self.deliver("nowhere.test", "bare.test", "mx1.test")[ONE]))
        self.assertEqual(1, len(server.messages))
        self.agent = self.make_agent()
        outcome = self.deferral("nowhere.test")
        self.assertEqual((Phase.DNS, Scope.SITE, "4.4.4"), (outcome.phase, outcome.scope, outcome.enhanced))

    def test_dns_down(self) -> None:
        """A DNS that can't be asked is not the site's fault."""
        self.resolver.fail("mx1.test", "A")
        outcome = self.deferral("mx1.test")
        self.assertEqual((Phase.DNS, Scope.OURSELVES, "4.4.3"), (outcome.phase, outcome.scope, outcome.enhanced))

    def test_one_family_is_enough(self) -> None:
        """Where one family can't be asked for, the addresses of the other serve."""
        self.resolver.fail("mx1.test", "AAAA")
        self.listen("192.0.2.1")
        self.assertEqual("delivered", brief(self.deliver("mx1.test")[ONE]))

    def test_trouble_that_got_furthest(self) -> None:
        """Of several troubles the one nearest to a delivery is told."""
        self.listen("192.0.2.2", {"greeting": b"554 go away\r\n"})
        self.resolver.fail("lost.test", "A")
        outcome = self.deferral("mx2.test", "mx1.test", "lost.test")
        self.assertIs(Phase.GREETING, outcome.phase)
        self.assertIn("554 go away", outcome.reason)

    def test_a_refusal_outweighs_our_own_trouble(self) -> None:
        """Where one address refused and another could not be tried for a reason of ours, the site is to blame."""
        for broken in ("192.0.2.1", "192.0.2.2"):
            self.network.errors = {(broken, 25): ConnectBindError(24, "Too many open files")}
            self.assertIs(Scope.SITE, self.deferral("mx1.test", "mx2.test").scope)

    def test_no_hosts(self) -> None:
        """A destination without hosts is a fault of our own."""
        self.assertIs(Scope.OURSELVES, self.deferral().scope)

    def test_phase_timeouts(self) -> None:
        """Each phase has its own time, and ends with it (RFC 5321 4.5.3.2)."""
        for stage, seconds in (
            ("greeting", TIMEOUTS.greeting),
            ("EHLO", TIMEOUTS.hello),
            ("MAIL", TIMEOUTS.mail),
            ("RCPT", TIMEOUTS.rcpt),
            ("DATA", TIMEOUTS.data),
            (".", TIMEOUTS.final_dot),
        ):
            for hello in (OK, b"250-x\r\n250 PIPELINING\r\n"):
                self.setUp()
                server = self.listen("192.0.2.1", {"EHLO": hello, stage: SILENCE})
                waiting = self.start("mx1.test")
                self.network.pass_time(seconds - 0.5)
                self.assertNoResult(waiting)
                self.network.pass_time(1)
                self.assertEqual("4.4.2", self.successResultOf(waiting)[ONE].enhanced, stage)
                self.assertTrue(server.sessions[0].gone, stage)
                self.assertEqual([], self.network.getDelayedCalls(), stage)


class ReuseTests(RemoteCase):
    def test_reused(self) -> None:
        """The next message for the site goes over the same connection, without a second EHLO."""
        server = self.listen("192.0.2.1")
        for _ in range(2):
            self.deliver("mx1.test")
        self.assertEqual(1, len(server.sessions))
        self.assertEqual(1, sum(command.startswith("EHLO") for command in server.commands))
        self.assertEqual(2, len(server.messages))

    def test_a_callback_that_delivers(self) -> None:
        """Whoever delivers the next message from the callback of the last one gets its connection."""
        server = self.listen("192.0.2.1")
        done = self.agent.deliver(delivery(remote("mx1.test")))
        done.addCallback(lambda _: self.agent.deliver(delivery(remote("mx1.test"))))
        self.network.settle()
        self.assertEqual("delivered", brief(self.successResultOf(done)[ONE]))
        self.assertEqual(1, len(server.sessions))

    def test_refused_messages_do_not_cost_connections(self) -> None:
        """A refused message gives its connection back before its outcome is told: there are as many as deliveries."""
        server = self.listen("192.0.2.1", {"RCPT": [NO, OK], "DATA": [b"554 none\r\n", b"354 go\r\n"]})
        done = self.agent.deliver(delivery(remote("mx1.test")))
        done.addCallback(lambda _: self.agent.deliver(delivery(remote("mx1.test"))))
        self.network.settle()
        self.assertEqual("delivered", brief(self.successResultOf(done)[ONE]))
        self.assertEqual(1, len(server.sessions))
        self.assertEqual("RSET", server.commands[4])

    def test_other_site(self) -> None:
        """A connection serves only the site it was made for."""
        server = self.listen("192.0.2.1")
        self.deliver("mx1.test")
        waiting = self.agent.deliver(delivery(remote("mx1.test", site="other.test")))
        self.network.settle()
        self.successResultOf(waiting)
        self.assertEqual(2, len(server.sessions))

    def test_messages_per_connection(self) -> None:
        """After its share of messages a connection takes leave with QUIT."""
        server = self.listen("192.0.2.1")
        for _ in range(LIMITS.messages_per_connection + 1):
            self.deliver("mx1.test")
        self.assertEqual([3, 1], [len(session.messages) for session in server.sessions])
        self.assertEqual("QUIT", server.sessions[0].commands[-1])
        self.assertTrue(server.sessions[0].gone)

    def test_idle(self) -> None:
        """An idle connection takes leave after its time."""
        server = self.listen("192.0.2.1")
        self.deliver("mx1.test")
        self.network.pass_time(TIMEOUTS.idle - 0.1)
        self.assertFalse(server.sessions[0].gone)
        self.network.pass_time(0.2)
        self.assertTrue(server.sessions[0].gone)
        self.assertEqual("QUIT", server.sessions[0].commands[-1])

    def test_closed_while_idle(self) -> None:
        """A server that closes an idle connection is noticed, and the next message gets a new one."""
        server = self.listen("192.0.2.1")
        self.deliver("mx1.test")
        self.network.pumps[0].server.transport.loseConnection()
        self.network.settle()
        self.deliver("mx1.test")
        self.assertEqual([1, 1], [len(session.messages) for session in server.sessions])

    def test_closed_just_when_used(self) -> None:
        """A connection that turns out closed when it is used again costs nothing: a fresh one is made at once."""
        for step in (Close(), BUSY, b"what?\r\n"):
            self.setUp()
            server = self.listen("192.0.2.1", {"MAIL": [OK, step, OK]})
            self.deliver("mx1.test")
            self.assertEqual("delivered", brief(self.deliver("mx1.test")[ONE]))
            self.assertEqual([1, 1], [len(session.messages) for session in server.sessions])

    def test_in_doubt_on_a_reused_connection(self) -> None:
        """A reused connection that is lost after the final dot is no licence for a second copy."""
        server = self.listen("192.0.2.1", {".": [OK, Close(), OK]})
        self.deliver("mx1.test")
        self.assertEqual("deferral 4.4.2 message", brief(self.deliver("mx1.test")[ONE]))
        self.assertEqual(1, len(server.sessions))

    def test_stale_connection_is_not_the_reason(self) -> None:
        """When the fresh connection fails as well, that is what is told."""
        self.listen("192.0.2.1", {"MAIL": [OK, Close()]})
        self.deliver("mx1.test")
        del self.network.servers["192.0.2.1", 25]
        self.assertIn("Connection refused", self.deferral("mx1.test").reason)


class StopTests(RemoteCase):
    def test_idle_connections_quit(self) -> None:
        """Stopping takes leave of all idle connections, and ends when they are closed."""
        servers = [self.listen("192.0.2.1"), self.listen("192.0.2.2")]
        self.deliver("mx1.test")
        waiting = self.agent.deliver(delivery(remote("mx2.test", site="two.test")))
        self.network.settle()
        self.successResultOf(waiting)
        stopped = self.agent.stop()
        self.assertNoResult(stopped)
        self.network.settle()
        self.successResultOf(stopped)
        self.assertEqual(["QUIT", "QUIT"], [server.commands[-1] for server in servers])
        self.assertEqual([], self.network.getDelayedCalls())

    def test_quit_is_not_awaited_long(self) -> None:
        """A server that does not answer QUIT is left after a few seconds."""
        server = self.listen("192.0.2.1", {"QUIT": SILENCE})
        self.deliver("mx1.test")
        stopped = self.agent.stop()
        self.network.pass_time(TIMEOUTS.quit - 0.5)
        self.assertNoResult(stopped)
        self.network.pass_time(1)
        self.successResultOf(stopped)
        self.assertTrue(server.sessions[0].gone)
        self.assertEqual([], self.network.getDelayedCalls())

    def test_busy_connection_finishes(self) -> None:
        """A transaction under way ends as it would have, and its connection closes behind it."""
        server = self.listen("192.0.2.1")
        content = Content(TEXT, 10)
        content.held = []
        waiting = self.start("mx1.test", content=content)
        self.network.settle()
        self.successResultOf(self.agent.stop())
        while content.held:
            content.release()
            self.network.settle()
        self.assertEqual("delivered", brief(self.successResultOf(waiting)[ONE]))
        self.assertTrue(server.sessions[0].gone)

    def test_no_new_connections(self) -> None:
        """After stopping nothing is connected: deliveries are deferred for a reason of our own."""
        self.listen("192.0.2.1")
        self.successResultOf(self.agent.stop())
        self.assertEqual("deferral 4.3.2 ourselves", brief(self.deliver("mx1.test")[ONE]))
        self.assertEqual([], self.network.connectors)


class CancelTests(RemoteCase):
    def test_while_connecting(self) -> None:
        """A delivery that is cancelled stops connecting, and asks no other host."""
        self.network.silent.add(("192.0.2.1", 25))
        waiting = self.start("mx1.test", "mx2.test")
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.network.settle()
        self.assertEqual(["192.0.2.1"], self.network.tried)

    def test_within_a_session(self) -> None:
        """A delivery that is cancelled drops its connection at any stage, without a final dot and without a trace."""
        for stage in ("greeting", "EHLO", "MAIL", "RCPT", "DATA", "."):
            self.setUp()
            server = self.listen("192.0.2.1", {stage: SILENCE})
            waiting = self.start("mx1.test", "mx2.test")
            waiting.cancel()
            self.failureResultOf(waiting, CancelledError)
            self.network.settle()
            self.assertTrue(server.sessions[0].gone, stage)
            self.assertEqual(["192.0.2.1"], self.network.tried)
            self.assertEqual([], self.network.getDelayedCalls(), stage)

    def test_within_the_content(self) -> None:
        """The same while content is read from the spool, which may answer later."""
        server = self.listen("192.0.2.1")
        content = Content(TEXT, 10)
        content.held = []
        waiting = self.start("mx1.test", content=content)
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        content.release()
        self.network.settle()
        self.assertTrue(server.sessions[0].gone)
        self.assertEqual([], server.messages)
