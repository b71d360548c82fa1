"""The resolver on a network in memory: servers in turn, forged and broken answers, TCP, aliases."""

from __future__ import annotations

from typing import cast

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface.verify import verifyObject

from mta.dns import exchange
from mta.dns.exchange import SOCKETS_PER_SERVER, DatagramSocket, Server, StreamFactory
from mta.dns.question import Question
from mta.interfaces import IResolver
from mta.lookup import MX, Answer, Status
from tests.contracts.resolvers import ZONES, ResolverContract
from tests.dns.network import FIRST, LATENCY, SECOND, Desk
from tests.peers.dns_server import Entry, Fault, Zones

MXS = ["10 mx.x.test."]
GOOD: Zones = {("x.test", "MX"): MXS, ("alias.test", "CNAME"): ["x.test."]}


def bad(fault: Fault) -> Zones:
    return {("x.test", "MX"): Entry(MXS, fault=fault)}


class ContractTests(ResolverContract, TestCase):
    """The resolver as an `IResolver`."""

    def setUp(self) -> None:
        self.desk = Desk({FIRST: ZONES})

    def ask(self, name: str, kind: str) -> Deferred[Answer]:
        waiting = self.desk.resolver.lookup(name, kind)
        for _ in range(20):
            self.desk.network.advance(LATENCY)
        return waiting

    def test_interface(self) -> None:
        """It provides `IResolver`."""
        verifyObject(IResolver, self.desk.resolver)


class ServerTests(SynchronousTestCase):
    def test_second_server(self) -> None:
        """Whatever is wrong with the first server's answer, the second one is asked (RFC 1034 5.3.3)."""
        faults = set(Fault) - {Fault.NO_SOA, Fault.ALIAS_ONLY, Fault.SECURE, Fault.TRUNCATED, Fault.FORGED_FIRST}
        for fault in faults - {Fault.LAME}:
            desk = Desk({FIRST: bad(fault), SECOND: GOOD})
            answer = desk.ask("x.test", "MX")
            self.assertEqual((answer.status, answer.records), (Status.ANSWER, (MX(10, "mx.x.test"),)), fault)
        answer = Desk({FIRST: {("x.test", "MX"): Fault.LAME}, SECOND: GOOD}).ask("x.test", "MX")
        self.assertIs(answer.status, Status.ANSWER)

    def test_all_servers_fail(self) -> None:
        """Trouble is COULD_NOT_ASK and says which server said what: it never bounces anything."""
        table = {
            Fault.SERVFAIL: "the server failed (SERVFAIL)",
            Fault.REFUSED: "the server failed (REFUSED)",
            Fault.FORMERR: "the server failed (FORMERR)",
            Fault.SILENCE: "no answer within 5 s",
            Fault.WRONG_ID: "no answer within 5 s",
            Fault.WRONG_QUESTION: "no answer within 5 s",
            Fault.NOT_A_RESPONSE: "no answer within 5 s",
            Fault.GARBAGE: "no answer within 5 s",
            Fault.CUT: "no answer within 5 s",
            Fault.TCP_CLOSED: "the server closed the TCP connection without an answer",
            Fault.TRUNCATED_TCP: "the answer by TCP is damaged or belongs to another question",
        }
        for fault, reason in table.items():
            desk = Desk({FIRST: bad(fault)})
            answer = desk.ask("x.test", "MX")
            self.assertEqual((answer.status, answer.records), (Status.COULD_NOT_ASK, ()), fault)
            self.assertEqual(answer.reason, f"192.0.2.53 port 53: {reason}")
            self.assertEqual([kind for _, _, kind in desk.asked].count("udp"), 2, fault)

    def test_lame(self) -> None:
        """RFC 2308 2.2: a referral is no answer."""
        answer = Desk({FIRST: {("x.test", "MX"): Fault.LAME}}).ask("x.test", "MX")
        self.assertIs(answer.status, Status.COULD_NOT_ASK)
        self.assertIn("lame", answer.reason)

    def test_without_edns(self) -> None:
        """RFC 6891 7: a server that dislikes EDNS is asked again without."""
        desk = Desk({FIRST: bad(Fault.NO_EDNS)})
        self.assertIs(desk.ask("x.test", "MX").status, Status.ANSWER)
        self.assertEqual(len(desk.asked), 2)

    def test_dead_server_costs_once(self) -> None:
        """The server that kept silent is not the first to be asked any more."""
        desk = Desk({SECOND: GOOD}, asking=[FIRST, SECOND])
        desk.ask("x.test", "MX")
        before = desk.network.seconds()
        desk.ask("alias.test", "MX")
        self.assertLess(desk.network.seconds() - before, 1)
        desk.network.servers = {FIRST: desk.network.servers[SECOND]}  # and back again, when the other one dies
        self.assertIs(desk.ask("y.test", "MX").status, Status.NXDOMAIN)

    def test_nobody_listens(self) -> None:
        """A port that nobody listens on is known at once, and both rounds are over in no time."""
        desk = Desk({}, asking=[FIRST])
        desk.network.refusing.add(FIRST)
        answer = desk.ask("x.test", "MX")
        self.assertEqual(answer.reason, "192.0.2.53 port 53: no DNS server listens there")
        self.assertLess(desk.network.seconds(), 1)

    def test_no_route(self) -> None:
        """Without a network nothing is left open, and the same resolver works when it is back."""
        desk = Desk({FIRST: GOOD})
        desk.network.no_route = True
        answer = desk.ask("x.test", "MX")
        self.assertEqual(answer.reason, "192.0.2.53 port 53: cannot send: Network is unreachable")
        self.assertFalse(any(port.is_open for port in desk.network.datagrams))
        desk.network.no_route = False
        desk.network.advance(10)
        self.assertIs(desk.ask("x.test", "MX").status, Status.ANSWER)
        for number in range(SOCKETS_PER_SERVER):
            desk.ask(f"x{number}.test", "MX")
        desk.network.no_route = True  # now with all sockets at hand
        self.assertIs(desk.ask("alias.test", "MX").status, Status.COULD_NOT_ASK)
        for port in desk.network.datagrams:
            self.assertEqual(cast(DatagramSocket, port.protocol)._waiting, {})

    def test_total_time(self) -> None:
        """A question takes no longer than all tries together and one more, aliases and TCP included."""
        chain: Zones = {
            (f"n{number}.test", "CNAME"): Entry([f"n{number + 1}.test."], fault=Fault.ALIAS_ONLY) for number in range(9)
        }
        slow: Zones = {**chain, ("n9.test", "MX"): Fault.SILENCE}
        desk = Desk({FIRST: slow, SECOND: {("n9.test", "MX"): Fault.SILENCE}})
        desk.ask("n0.test", "MX")
        self.assertLess(desk.network.seconds(), 26)

    def test_no_servers(self) -> None:
        """A resolver without servers is a mistake of the caller."""
        self.assertRaises(ValueError, Desk, {}, asking=[])

    def test_ipv6_server(self) -> None:
        """A server with an IPv6 address, in any spelling, is asked from an IPv6 socket."""
        spelled: Server = ("2001:db8:0:0:0:0:0:53", 53)
        desk = Desk({("2001:db8::53", 53): GOOD}, asking=[spelled])
        self.assertIs(desk.ask("x.test", "MX").status, Status.ANSWER)
        self.assertEqual(desk.network.datagrams[0].interface, "::")


class ForgedTests(SynchronousTestCase):
    def test_forged_first(self) -> None:
        """RFC 5452 9.1: a wrong id does not end the wait; the true answer is taken."""
        desk = Desk({FIRST: bad(Fault.FORGED_FIRST)})
        self.assertIs(desk.ask("x.test", "MX").status, Status.ANSWER)
        self.assertEqual(len(desk.asked), 1)

    def test_other_source(self) -> None:
        """RFC 5452 9.1: a datagram from another address or port is not looked at, however right it is."""
        for source in (("203.0.113.1", 53), (FIRST[0], 54)):
            desk = Desk({FIRST: {("x.test", "MX"): Fault.SILENCE}})
            lie = Desk({FIRST: GOOD})
            waiting = desk.resolver.lookup("x.test", "MX")
            (forged,) = lie.network.servers[FIRST].answers(desk.network.queries[0], "udp")
            for port in desk.network.datagrams:
                port.receive(forged, source)
            self.assertNoResult(waiting)
            desk.network.datagrams[0].receive(forged, FIRST)
            self.assertIs(self.successResultOf(waiting).status, Status.ANSWER)

    @settings(max_examples=50, deadline=None, derandomize=True)
    @given(st.lists(st.binary(max_size=60), max_size=5), st.integers(4, 23))
    def test_noise(self, noise: list[bytes], kept: int) -> None:
        """Any datagrams from the server's address, with the right id too, neither raise nor end the wait."""
        desk = Desk({FIRST: GOOD})
        waiting = desk.resolver.lookup("x.test", "MX")
        (port,) = desk.network.datagrams
        start = desk.network.queries[0][:2] + b"\x81\x80" + desk.network.queries[0][4:kept]
        for datagram in (b"", start, *noise, *(start + tail for tail in noise)):
            port.receive(datagram, FIRST)
        self.assertNoResult(waiting)
        desk.network.advance(LATENCY)
        self.assertIs(self.successResultOf(waiting).status, Status.ANSWER)

    def test_ids_are_drawn(self) -> None:
        """RFC 5452 9.2: the id of each query is drawn, and the question is asked over more than one port."""
        desk = Desk({FIRST: {}}, cache_size=0)
        for number in range(100):
            desk.ask(f"x{number}.test", "MX")
        ids = [int.from_bytes(query[:2]) for query in desk.network.queries]
        self.assertGreater(len(set(ids)), 95)
        self.assertGreater(max(ids) - min(ids), 30_000)
        self.assertEqual(len(desk.network.datagrams), SOCKETS_PER_SERVER)

    def test_ports_are_replaced(self) -> None:
        """A source port is given up after a number of queries, and closed."""
        self.patch(exchange, "QUERIES_PER_SOCKET", 20)
        desk = Desk({FIRST: {}}, cache_size=0)
        for number in range(20 * SOCKETS_PER_SERVER + 20):
            desk.ask(f"x{number}.test", "MX")
        opened = desk.network.datagrams
        self.assertGreater(len(opened), SOCKETS_PER_SERVER)
        self.assertLessEqual(sum(port.is_open for port in opened), SOCKETS_PER_SERVER)


class StreamTests(SynchronousTestCase):
    def test_truncated(self) -> None:
        """RFC 7766 5: a truncated answer is asked again by TCP, from the same server."""
        desk = Desk({FIRST: bad(Fault.TRUNCATED)})
        self.assertEqual(desk.ask("x.test", "MX").records, (MX(10, "mx.x.test"),))
        self.assertEqual([kind for _, _, kind in desk.asked], ["udp", "tcp"])

    def test_every_split(self) -> None:
        """However TCP cuts the answer, it is the same."""
        for cut in range(1, 60):
            desk = Desk({FIRST: bad(Fault.TRUNCATED)})
            desk.network.cut = cut
            self.assertEqual(desk.ask("x.test", "MX").records, (MX(10, "mx.x.test"),), cut)

    @settings(max_examples=100, deadline=None, derandomize=True)
    @given(st.lists(st.binary(max_size=30)))
    def test_noise(self, pieces: list[bytes]) -> None:
        """Any bytes by TCP: one outcome at the most, and no exception."""
        factory = StreamFactory(Question("x.test", "MX"), 7, True)
        outcomes: list[object] = []
        factory.response.addBoth(outcomes.append)
        protocol = factory.buildProtocol(None)
        protocol.makeConnection(StringTransport())
        for piece in pieces:
            protocol.dataReceived(piece)
        self.assertLessEqual(len(outcomes), 1)

    def test_time(self) -> None:
        """TCP that does not come about is given up, and the next server is asked."""
        desk = Desk({FIRST: bad(Fault.TRUNCATED), SECOND: GOOD})
        desk.network.deaf.add(FIRST)
        self.assertIs(desk.ask("x.test", "MX").status, Status.ANSWER)
        self.assertGreater(desk.network.seconds(), 5)
        self.assertEqual([connector.given_up for connector in desk.network.connectors], [True])


class AliasTests(SynchronousTestCase):
    def test_asked_on(self) -> None:
        """RFC 1034 5.2.2: an alias that leaves the answer is asked for, and the least TTL holds."""
        zones: Zones = {
            ("a.test", "CNAME"): Entry(["b.test."], ttl=40, fault=Fault.ALIAS_ONLY),
            ("b.test", "MX"): Entry(MXS, ttl=90),
        }
        desk = Desk({FIRST: zones})
        answer = desk.ask("a.test", "MX")
        self.assertEqual((answer.records, answer.ttl, answer.secure), ((MX(10, "mx.x.test"),), 40, False))
        self.assertEqual(answer.canonical, "b.test")
        self.assertEqual([name for name, _, _ in desk.asked], ["a.test", "b.test"])

    def test_loop(self) -> None:
        """A loop over several answers ends."""
        zones: Zones = {
            ("a.test", "CNAME"): Entry(["b.test."], fault=Fault.ALIAS_ONLY),
            ("b.test", "CNAME"): Entry(["a.test."], fault=Fault.ALIAS_ONLY),
        }
        desk = Desk({FIRST: zones})
        self.assertIs(desk.ask("a.test", "MX").status, Status.COULD_NOT_ASK)
        self.assertLess(len(desk.asked), 4)

    def test_endless(self) -> None:
        """A chain without end ends."""
        zones: Zones = {
            (f"n{number}.test", "CNAME"): Entry([f"n{number + 1}.test."], fault=Fault.ALIAS_ONLY)
            for number in range(100)
        }
        desk = Desk({FIRST: zones})
        self.assertIs(desk.ask("n0.test", "MX").status, Status.COULD_NOT_ASK)
        self.assertLess(len(desk.asked), 12)

    def test_impossible_target(self) -> None:
        """An alias to a name that can't be asked for harms nobody."""
        desk = Desk({FIRST: {("a.test", "CNAME"): Entry([r"b\.c\255.test."], fault=Fault.ALIAS_ONLY)}})
        self.assertIsNot(desk.ask("a.test", "MX").status, Status.ANSWER)
