"""The resolver on a network in memory: its cache, shared questions, the bounds, the end."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mta.dns import exchange
from mta.dns.exchange import SOCKETS_PER_SERVER
from mta.dns.resolver import MAX_UNDER_WAY
from mta.lookup import Status
from tests.dns.network import FIRST, LATENCY, Desk
from tests.peers.dns_server import Entry, Fault, Zones

MXS = ["10 mx.x.test."]
GOOD: Zones = {("x.test", "MX"): MXS, ("alias.test", "CNAME"): ["x.test."]}


def bad(fault: Fault) -> Zones:
    return {("x.test", "MX"): Entry(MXS, fault=fault)}


class CacheTests(SynchronousTestCase):
    def asked_after(self, zones: Zones, seconds: float) -> int:
        """How often the server is asked for x.test MX, when that is looked up again `seconds` later."""
        desk = Desk({FIRST: zones})
        desk.ask("x.test", "MX")
        first = len(desk.asked)
        desk.network.advance(seconds)
        desk.ask("x.test", "MX")
        return len(desk.asked) - first

    def test_lifetimes(self) -> None:
        """Answers hold for their TTL, negative ones for the SOA's (RFC 2308 5), capped; trouble for five seconds."""
        table: list[tuple[Zones, float]] = [
            ({("x.test", "MX"): Entry(MXS, ttl=300)}, 300),
            ({("x.test", "A"): ["192.0.2.1"], ("x.test", "MX"): Entry(negative_ttl=30)}, 30),
            ({}, 60),
            ({("x.test", "MX"): Fault.SERVFAIL}, 5),
        ]
        for zones, ttl in table:
            self.assertEqual((self.asked_after(zones, ttl - 1), self.asked_after(zones, ttl) > 0), (0, True), zones)

    def test_long_negative_answers(self) -> None:
        """RFC 2308 5: a negative answer is remembered no longer than the configuration allows."""
        desk = Desk({FIRST: {}}, negative_ttl=20)
        self.assertEqual(desk.ask("x.test", "MX").ttl, 20)
        desk.network.advance(20)
        desk.ask("x.test", "MX")
        self.assertEqual(len(desk.asked), 2)

    def test_not_remembered(self) -> None:
        """TTL zero (RFC 1035 3.2.1) and negative answers without SOA (RFC 2308 5) are asked for each time."""
        for entry in (Entry(MXS, ttl=0), Entry(fault=Fault.NO_SOA)):
            self.assertEqual(self.asked_after({("x.test", "MX"): entry}, 0), 1)

    def test_remaining_life(self) -> None:
        """What comes from the cache says how long it still holds, so that nobody keeps it for longer."""
        desk = Desk({FIRST: {("x.test", "MX"): Entry(MXS, ttl=300)}})
        self.assertEqual(desk.ask("x.test", "MX").ttl, 300)
        desk.network.advance(100)
        self.assertEqual(desk.ask("x.test", "MX").ttl, 200)

    def test_secure(self) -> None:
        """The AD flag comes back, also from the cache."""
        desk = Desk({FIRST: bad(Fault.SECURE)})
        self.assertEqual([desk.ask("x.test", "MX").secure for _ in range(2)], [True, True])

    def test_trust(self) -> None:
        """RFC 4035 4.9.3: the AD flag of servers that are not trusted says nothing; for what is cached, too."""
        desk = Desk({FIRST: bad(Fault.SECURE)}, trusts_ad=False)
        self.assertEqual([desk.ask("x.test", "MX").secure for _ in range(2)], [False, False])
        desk.resolver.trusts_ad = True
        self.assertTrue(desk.ask("x.test", "MX").secure)
        desk.resolver.trusts_ad = False
        self.assertFalse(desk.ask("x.test", "MX").secure)
        self.assertEqual(len(desk.asked), 1)

    def test_spelling(self) -> None:
        """A name is one name, in any case and with or without its last dot."""
        desk = Desk({FIRST: GOOD})
        for name in ("x.test", "X.Test", "x.test."):
            desk.ask(name, "MX")
        self.assertEqual(len(desk.asked), 1)


class SharingTests(SynchronousTestCase):
    def test_one_query(self) -> None:
        """Equal questions under way are one query, and each gets the answer."""
        desk = Desk({FIRST: GOOD})
        waiting = [desk.resolver.lookup("x.test", "MX") for _ in range(1000)]
        desk.network.advance(LATENCY)
        self.assertEqual({self.successResultOf(each).status for each in waiting}, {Status.ANSWER})
        self.assertEqual(len(desk.asked), 1)

    def test_cancel(self) -> None:
        """Who cancels stops waiting; the others get their answer."""
        desk = Desk({FIRST: GOOD})
        first, second = desk.resolver.lookup("x.test", "MX"), desk.resolver.lookup("x.test", "MX")
        first.cancel()
        self.failureResultOf(first)
        desk.network.advance(LATENCY)
        self.assertIs(self.successResultOf(second).status, Status.ANSWER)

    def test_ask_again_from_an_answer(self) -> None:
        """A question asked while the answer is handed out is answered as well."""
        desk = Desk({FIRST: {("x.test", "MX"): Entry(MXS, ttl=0)}})
        waiting = desk.resolver.lookup("x.test", "MX")
        again = waiting.addCallback(lambda _: desk.resolver.lookup("x.test", "MX"))
        self.assertIs(desk.wait(again).status, Status.ANSWER)

    def test_bounded(self) -> None:
        """However many questions there are, few are on the wire; the rest is asked in turn."""
        desk = Desk({FIRST: {}})
        waiting = [desk.resolver.lookup(f"x{number}.test", "MX") for number in range(3 * MAX_UNDER_WAY)]
        self.assertEqual(len(desk.asked), MAX_UNDER_WAY)
        for _ in range(3):
            desk.network.advance(LATENCY)
        self.assertEqual({self.successResultOf(each).status for each in waiting}, {Status.NXDOMAIN})

    def test_dead_network(self) -> None:
        """Questions that only wait for others to time out have the same bound on their time."""
        desk = Desk({FIRST: {(f"x{number}.test", "MX"): Fault.SILENCE for number in range(1000)}})
        waiting = [desk.resolver.lookup(f"x{number}.test", "MX") for number in range(1000)]
        for _ in range(16):
            desk.network.advance(1)
        self.assertEqual({self.successResultOf(each).status for each in waiting}, {Status.COULD_NOT_ASK})


class StopTests(SynchronousTestCase):
    def test_under_way(self) -> None:
        """What is under way when it stops is COULD_NOT_ASK; no socket and no timer stays behind."""
        desk = Desk({FIRST: bad(Fault.SILENCE)})
        waiting = [desk.resolver.lookup(name, "MX") for name in ("x.test", "x.test", "y.test")]
        desk.network.advance(0.001)
        stopped = desk.resolver.stop()
        for each in waiting:
            answer = self.successResultOf(each)
            self.assertEqual((answer.status, answer.reason), (Status.COULD_NOT_ASK, "the resolver was stopped"))
        self.assertNoResult(stopped)
        desk.network.advance(1)
        self.successResultOf(stopped)
        self.assertFalse(any(port.is_open for port in desk.network.datagrams))
        self.assertEqual(desk.network.getDelayedCalls(), [])

    def test_after(self) -> None:
        """Once stopped it asks nothing more, and stopping again is harmless."""
        desk = Desk({FIRST: GOOD})
        self.successResultOf(desk.resolver.stop())
        self.successResultOf(desk.resolver.stop())
        self.assertIs(self.successResultOf(desk.resolver.lookup("x.test", "MX")).status, Status.COULD_NOT_ASK)
        self.assertEqual(desk.network.datagrams, [])

    def test_retired_socket(self) -> None:
        """A socket that is given up stays open for the answers it waits for, and closes then, or when all stops."""
        for stops in (False, True):
            self.patch(exchange, "QUERIES_PER_SOCKET", 1)
            desk = Desk({FIRST: GOOD})
            first = desk.resolver.lookup("x.test", "MX")
            for number in range(3 * SOCKETS_PER_SERVER):
                desk.resolver.lookup(f"x{number}.test", "MX")
            self.assertTrue(desk.network.datagrams[0].is_open)
            stopped = desk.resolver.stop() if stops else None
            desk.network.advance(LATENCY)
            self.assertIs(self.successResultOf(first).status, Status.COULD_NOT_ASK if stops else Status.ANSWER)
            desk.network.advance(LATENCY)
            self.assertFalse(desk.network.datagrams[0].is_open)
            if stopped:
                self.successResultOf(stopped)
                self.assertFalse(any(port.is_open for port in desk.network.datagrams))

    def test_no_timers_left(self) -> None:
        """An answered question leaves nothing on the clock."""
        desk = Desk({FIRST: bad(Fault.TRUNCATED)})
        desk.ask("x.test", "MX")
        self.assertEqual(desk.network.getDelayedCalls(), [])
