"""Several next hops of a route: which one is tried, which one rests, and what is told of it."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from mta.delivery.addresses import in_trying_order
from mta.delivery.next_hops import PROBE, NextHops
from mta.destination import Destination, Host
from mta.login import Login
from mta.outcome import Deferral, Delivered, Outcome, Phase, Scope
from mta.routing.next_hop_lists import hosts_of, parse_next_hops
from mta.routing.site import site_of
from tests.delivery.material import ONE, TWO, delivery
from tests.delivery.test_remote import NO, RemoteCase
from tests.peers.scripted import OK, PIPELINING, SILENCE, Close

A, B = Host("mx1.test"), Host("mx2.test")
REFUSED = Deferral("cannot connect to mx1.test", Phase.CONNECT, Scope.SITE, "mx1.test")


def route(*texts: str) -> Destination:
    next_hop = parse_next_hops(texts)
    return Destination(next_hop, site_of(next_hop), hosts_of(next_hop))


ORDERED = route("smtp://mx1.test", "smtp://mx2.test")


class RestTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.notes: list[tuple[str, Mapping[str, str]]] = []
        self.hops = NextHops(3, 60.0, 200.0, lambda kind, fields: self.notes.append((kind, fields)))

    def failed(self, now: float, times: int = 1) -> None:
        for _ in range(times):
            self.hops.concluded(A, REFUSED, now)

    def test_rests_after_failures_in_a_row(self) -> None:
        """The third failure in a row has it rest, and a success in between has the count begin again; others go on."""
        self.failed(0, 2)
        self.hops.concluded(A, None, 0)
        self.failed(0, 2)
        self.assertEqual("", self.hops.why_rested(A, 0))
        self.failed(10)
        self.assertEqual(
            "rests for 50 s more after 3 failures (cannot connect to mx1.test)", self.hops.why_rested(A, 20)
        )
        self.assertEqual("", self.hops.why_rested(B, 20))
        ((kind, fields),) = self.notes
        self.assertEqual("next-hop-rested", kind)
        told = {"next_hop": "mx1.test:25", "failures": "3", "seconds": "60", "reason": "cannot connect to mx1.test"}
        self.assertEqual(told, fields)

    def test_one_probe(self) -> None:
        """When the rest is over one is to try it, and the others are not, until that has come to something."""
        self.failed(0, 3)
        self.assertEqual("", self.hops.why_rested(A, 60))
        self.assertEqual("is being probed after 3 failures (cannot connect to mx1.test)", self.hops.why_rested(A, 61))
        self.assertEqual("", self.hops.why_rested(A, 60 + PROBE))  # nothing came of the first one

    def test_growing(self) -> None:
        """Each probe that fails doubles the rest, up to the longest; what fails meanwhile changes nothing."""
        self.failed(0, 3)
        self.failed(30, 5)
        now = 60.0
        for rest in (120, 200, 200):
            self.assertEqual("", self.hops.why_rested(A, now))
            self.failed(now)
            self.assertIn(f"rests for {rest} s more", self.hops.why_rested(A, now))
            now += rest
        self.assertEqual(["60", "120", "200", "200"], [fields["seconds"] for _, fields in self.notes])

    def test_back(self) -> None:
        """A probe that succeeds ends it, as if nothing had been, and is told."""
        self.failed(0, 3)
        self.hops.concluded(A, None, 60)
        self.assertEqual("", self.hops.why_rested(A, 60))
        self.assertEqual(("next-hop-answers", {"next_hop": "mx1.test:25", "failures": "3"}), self.notes[-1])
        self.failed(61, 2)
        self.assertEqual("", self.hops.why_rested(A, 61))

    def test_what_is_no_failure(self) -> None:
        """A fault of our own, and what a server says of a message, say nothing of the next hop."""
        for why in (
            replace(REFUSED, scope=Scope.OURSELVES),
            replace(REFUSED, phase=Phase.MAIL, scope=Scope.MESSAGE),
            replace(REFUSED, phase=Phase.QUEUE),
            replace(REFUSED, phase=Phase.TLS, scope=Scope.MESSAGE),
        ):
            for _ in range(5):
                self.hops.concluded(A, why, 0)
        self.assertEqual("", self.hops.why_rested(A, 0))

    def test_a_clock_set_back(self) -> None:
        """It lengthens no rest."""
        self.failed(1000, 3)
        self.assertEqual("", self.hops.why_rested(A, 900))


class WeightTests(SynchronousTestCase):
    def test_share(self) -> None:
        """Each comes first as often as its weight says; the reserve comes last, always."""
        hosts = route("smtp://a.test?weight=3", "smtp://b.test?weight=1", "smtp://c.test?weight=0").hosts
        rng = random.Random(1)
        orders = Counter(tuple(host.name[0] for host in in_trying_order(hosts, rng)) for _ in range(4000))
        self.assertEqual({("a", "b", "c"), ("b", "a", "c")}, set(orders))
        self.assertApproximates(0.75, orders["a", "b", "c"] / 4000, 0.03)


class DeliveryTests(RemoteCase):
    def setUp(self) -> None:
        super().setUp()
        self.notes: list[str] = []
        self.agent = self.make_agent(
            next_hops=NextHops(3, 60.0, 3600.0, lambda kind, fields: self.notes.append(f"{kind} {fields['next_hop']}"))
        )

    def go(self, destination: Destination = ORDERED, **more: Any) -> Deferred[Any]:
        waiting = self.agent.deliver(delivery(destination, **more))
        self.network.settle()
        return waiting

    def outcome(self, destination: Destination = ORDERED, **more: Any) -> Outcome:
        found: Outcome = self.successResultOf(self.go(destination, **more))[ONE]
        return found

    def delivered(self, host: str, choice: str) -> None:
        outcome = self.outcome()
        assert isinstance(outcome, Delivered), outcome
        self.assertEqual((host, choice), (outcome.host.partition("[")[0], outcome.choice))

    def test_first(self) -> None:
        """The first one has all the mail while it answers."""
        self.listen("192.0.2.1")
        unused = self.listen("192.0.2.2")
        for _ in range(5):
            self.delivered("mx1.test", "smtp://mx1.test:25 (1 of 2)")
        self.assertEqual([], unused.sessions)

    def test_next(self) -> None:
        """In the same attempt the next one has it where the first can't be connected to, and the trace says why."""
        self.listen("192.0.2.2")
        why = "mx1.test:25 did not do: cannot connect to mx1.test[192.0.2.1]:25: Connection refused"
        self.delivered("mx2.test", f"smtp://mx2.test:25 (2 of 2), for {why}")

    def test_rest_and_back(self) -> None:
        """After three failures the first one is not asked any more; when its rest is over one message probes it."""
        self.listen("192.0.2.2")
        for _ in range(5):
            outcome = self.outcome()
        assert isinstance(outcome, Delivered)
        self.assertIn(
            "for mx1.test:25 rests for 60 s more after 3 failures (cannot connect to mx1.test", outcome.choice
        )
        self.assertEqual(3, self.network.tried.count("192.0.2.1"))
        self.assertEqual(["next-hop-rested mx1.test:25"], self.notes)
        self.network.pass_time(61)
        self.listen("192.0.2.1")
        self.delivered("mx1.test", "smtp://mx1.test:25 (1 of 2)")
        self.assertEqual("next-hop-answers mx1.test:25", self.notes[-1])

    def test_no_way_back_through_idle_connections(self) -> None:
        """An idle connection to the second one does not keep mail from the first."""
        second = self.listen("192.0.2.2")
        self.outcome()
        first = self.listen("192.0.2.1")
        self.outcome()
        self.outcome()
        self.assertEqual((1, 1), (len(first.sessions), len(second.sessions)))
        self.assertEqual((2, 1), (len(first.messages), len(second.messages)))

    def test_all_rest(self) -> None:
        """Where all rest they are tried all the same: a rest never keeps mail back."""
        for _ in range(3):
            self.outcome()
        self.assertEqual(["next-hop-rested mx1.test:25", "next-hop-rested mx2.test:25"], self.notes)
        outcome = self.outcome()
        assert isinstance(outcome, Deferral)
        self.assertEqual((Phase.CONNECT, Scope.SITE), (outcome.phase, outcome.scope))
        self.assertTrue(outcome.choice.startswith("none of 2, for mx1.test:25 did not do: "), outcome.choice)
        self.assertIn("; mx2.test:25 did not do: ", outcome.choice)
        self.listen("192.0.2.2")
        self.assertIsInstance(self.outcome(), Delivered)

    def test_what_leads_to_the_next(self) -> None:
        """A greeting, a hello or a login that fails leads to the next one: no mail has gone to the first."""
        second = self.listen("192.0.2.2", {"EHLO": PIPELINING.replace(b"250-SIZE", b"250-AUTH PLAIN\r\n250-SIZE")})
        second_script = dict(second.script) | {"AUTH": b"235 ok\r\n"}
        auth = second_script["EHLO"]
        for script in (
            {"greeting": Close(b"554 no\r\n")},
            {"EHLO": b"421 busy\r\n"},
            {"EHLO": auth, "AUTH": b"535 5.7.8 no\r\n"},
            {"EHLO": auth, "AUTH": b"454 4.7.0 later\r\n"},
            {"EHLO": PIPELINING},
        ):
            self.agent = self.make_agent()
            self.listen("192.0.2.2", second_script)
            first = self.listen("192.0.2.1", script)
            login = replace(ORDERED, login=Login("us", "secret"))
            outcome = self.outcome(login)
            assert isinstance(outcome, Delivered), (script, outcome)
            self.assertEqual("mx2.test[192.0.2.2]:25", outcome.host)
            self.assertNotIn("MAIL", [line[:4] for line in first.commands])

    def test_no_other_after_the_end(self) -> None:
        """A first one that falls silent after the final dot may have the message: the next one is not asked."""
        self.listen("192.0.2.1", {".": SILENCE})
        second = self.listen("192.0.2.2")
        waiting = self.go()
        self.network.pass_time(700)
        outcome = self.successResultOf(waiting)[ONE]
        assert isinstance(outcome, Deferral)
        self.assertTrue(outcome.in_doubt)
        self.assertEqual("smtp://mx1.test:25 (1 of 2)", outcome.choice)
        self.assertEqual([], second.sessions)

    def test_its_word_stands(self) -> None:
        """What the first one says of a recipient stands, with the choice told; the other one has the message."""
        self.listen("192.0.2.1", {"RCPT": [NO, OK]})
        second = self.listen("192.0.2.2")
        outcomes = self.successResultOf(self.go(recipients=(ONE, TWO)))
        self.assertEqual({"smtp://mx1.test:25 (1 of 2)"}, {outcome.choice for outcome in outcomes.values()})
        self.assertEqual([], second.sessions)

    def test_closing(self) -> None:
        """A 421 to MAIL leads to the next one as well, since nothing of the message is there yet."""
        self.listen("192.0.2.1", {"MAIL": Close(b"421 4.3.2 bye\r\n")})
        self.listen("192.0.2.2")
        self.delivered("mx2.test", "smtp://mx2.test:25 (2 of 2), for mx1.test:25 took no mail")

    def test_a_cancelled_probe(self) -> None:
        """A delivery that is taken away in the middle of a probe leaves no trouble behind."""
        self.listen("192.0.2.2")
        for _ in range(3):
            self.outcome()
        self.network.pass_time(61)
        self.network.silent.add(("192.0.2.1", 25))
        waiting = self.go()
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        outcome = self.outcome()
        assert isinstance(outcome, Delivered)
        self.assertIn("mx1.test:25 is being probed after 3 failures", outcome.choice)

    def test_by_weight(self) -> None:
        """By weight the trace tells the share; an idle connection is used where chance leads to it."""
        self.listen("192.0.2.1")
        self.listen("192.0.2.2")
        weighted = route("smtp://mx1.test?weight=1", "smtp://mx2.test?weight=3")
        seen = Counter(self.outcome(weighted).choice for _ in range(200))
        mx1, mx2 = (f"smtp://mx{number}.test:25 ({number} of 2, weight {2 * number - 1} of 4)" for number in (1, 2))
        self.assertEqual({mx1, mx2}, set(seen))
        self.assertGreater(seen[mx2], 2 * seen[mx1])
