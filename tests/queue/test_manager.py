"""The queue manager: delivery, deferral, expiry, bounces, fairness, restart."""

from __future__ import annotations

from collections.abc import Mapping

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mta.address import Address, parse_address
from mta.destination import Destination, NextHop, Transport
from mta.entry import Delivery, Entry
from mta.events import TERMINAL
from mta.interfaces import IQueue
from mta.outcome import Outcome
from mta.queue.manager import QueueLimits
from mta.selection import Selection
from mta.spool import SpoolError
from tests.queue.world import DELIVERED, LATER, NO_DNS, OUR_FAULT, REFUSED, SILENT, START, World

DAY = 86_400.0


class DeliveryTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()

    def test_provides_its_interface(self) -> None:
        """The manager is what the server and the control socket ask for."""
        verifyObject(IQueue, self.world.manager)

    def test_new_mail_goes_straight_out(self) -> None:
        """A fresh message is delivered without waiting, its content at hand, and leaves the spool."""
        message = self.world.send("bob@a.test")
        (delivery,) = self.world.agent.asked
        self.assertEqual(b"Subject: hi\r\n\r\nhello\r\n", delivery.content.whole())
        self.assertEqual(["accepted", "routed", "delivered"], self.world.kinds(message))
        self.assertEqual(([], 0), (self.world.queued(), self.world.manager.active))

    def test_recipients_of_one_site_share_transactions(self) -> None:
        """Recipients with one destination go together, 50 at most in a transaction; others apart."""
        self.world.send(*[f"user{number}@a.test" for number in range(120)], "bob@b.test")
        self.assertEqual([1, 20, 50, 50], sorted(len(delivery.recipients) for delivery in self.world.agent.asked))

    def test_a_list_of_five_thousand(self) -> None:
        """5,000 recipients at 50 sites take 100 transactions of 50, and each recipient ends once."""
        recipients = [f"user{number}@site{number % 50}.test" for number in range(5000)]
        message = self.world.send(*recipients)
        self.world.settle(200)
        self.assertEqual([50] * 100, [len(delivery.recipients) for delivery in self.world.agent.asked])
        self.assertEqual(([], 0), (self.world.queued(), self.world.manager.active))
        ended = [
            address
            for kind, address in self.world.database.execute(
                "SELECT kind, recipient FROM events WHERE message = ?", (message,)
            )
            if kind in {each.value for each in TERMINAL}
        ]
        self.assertEqual(sorted(recipients), sorted(ended))

    def test_domains_with_the_same_hosts_share(self) -> None:
        """Two domains with one set of MX hosts are one destination."""
        site = Destination(NextHop(Transport.MX), "mx.provider.test")
        self.world.destinations.table = {"a.test": site, "b.test": site}
        self.world.send("x@a.test", "y@b.test")
        self.assertEqual([2], [len(delivery.recipients) for delivery in self.world.agent.asked])

    def test_waits_for_the_resolver(self) -> None:
        """A destination that the DNS has to be asked for delays the message until the answer."""
        asked: Deferred[Destination] = Deferred()
        self.world.destinations.delayed = {"a.test": asked}  # type: ignore[dict-item]
        message = self.world.send("bob@a.test")
        self.assertEqual([], self.world.agent.asked)
        asked.callback(Destination(NextHop(Transport.MX), "a.test"))
        self.world.settle()
        self.assertEqual(["accepted", "routed", "delivered"], self.world.kinds(message))

    def test_deferred_mail_follows_the_schedule(self) -> None:
        """Attempts come after 5, 10 and then each 60 minutes, as configured; the recipient's count goes up."""
        self.world.agent.default = lambda _delivery: LATER
        self.world.send("bob@a.test")
        times = []
        for _ in range(4):
            seen = len(self.world.agent.asked)
            while len(self.world.agent.asked) == seen:
                self.world.advance(30)
            times.append(self.world.clock.seconds() - START)
        self.assertEqual([300.0, 900.0, 4500.0, 8100.0], times)

    def test_recovers_on_the_retry(self) -> None:
        """What was deferred once is delivered on the next try, and is gone."""
        self.world.agent.default = lambda _delivery: LATER
        message = self.world.send("bob@a.test")
        self.world.agent.default = lambda _delivery: DELIVERED
        self.world.advance(300)
        self.assertEqual(["accepted", "routed", "deferred", "routed", "delivered"], self.world.kinds(message))
        self.assertEqual([], self.world.queued())

    def test_outcomes_are_kept_by_address(self) -> None:
        """Of three recipients one is delivered, one refused, one deferred: only the last one is tried again."""
        answers: Mapping[Address, Outcome] = {
            parse_address("c@a.test"): LATER,
            parse_address("b@a.test"): REFUSED,
            parse_address("a@a.test"): DELIVERED,
        }
        self.world.agent.answers["a.test"] = lambda _delivery: answers
        message = self.world.send("a@a.test", "b@a.test", "c@a.test")
        self.assertEqual([(message, "c@a.test", "queued")], self.world.queued())
        self.world.agent.answers.clear()
        self.world.advance(301)
        self.assertEqual([parse_address("c@a.test")], list(self.world.agent.asked[-1].recipients))
        self.assertEqual([], self.world.queued())

    def test_missing_outcome_is_a_deferral(self) -> None:
        """A recipient that the agent forgot is deferred: never lost, never bounced."""
        self.world.agent.default = lambda _delivery: {}
        message = self.world.send("bob@a.test")
        self.assertEqual([(message, "bob@a.test", "queued")], self.world.queued())


class BounceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()

    def bounce(self) -> Delivery:
        """The only delivery to the sender's domain: the report."""
        (report,) = [item for item in self.world.agent.asked if item.destination.site == "sender.test"]
        return report

    def test_failure_is_reported_to_the_sender(self) -> None:
        """A refused recipient ends as bounced, and a report with the null reverse-path goes to the sender."""
        texts: list[bytes] = []

        def keep(delivery: Delivery) -> Outcome:
            delivery.content.chunk(0).addCallback(texts.append)
            return LATER

        self.world.agent.answers["a.test"] = lambda _delivery: REFUSED
        self.world.agent.answers["sender.test"] = keep
        message = self.world.send("bob@a.test")
        report = self.bounce()
        self.assertIsNone(report.sender)
        self.assertEqual((parse_address("alice@sender.test"),), report.recipients)
        (text,) = texts
        self.assertIn(b"Final-Recipient: rfc822; bob@a.test", text)
        self.assertIn(b"Subject: hi", text)
        self.assertEqual(["accepted", "routed", "bounced"], self.world.kinds(message))
        self.assertEqual([report.message], [row[0] for row in self.world.queued()])

    def test_report_is_handed_on_in_memory(self) -> None:
        """A report goes out with its content at hand; nothing is searched in the spool for it."""
        texts: list[bytes | None] = []

        def keep(delivery: Delivery) -> Outcome:
            texts.append(delivery.content.whole())
            return DELIVERED

        def claim(_now: float, _limit: int) -> Deferred[list[Entry]]:
            self.fail("the spool was searched")

        self.world.agent.answers["a.test"] = lambda _delivery: REFUSED
        self.world.agent.answers["sender.test"] = keep
        self.patch(self.world.spool, "claim", claim)
        self.world.send("bob@a.test")
        ((text,), (_first, report)) = texts, self.world.agent.asked
        self.assertIn(b"Final-Recipient: rfc822; bob@a.test", text or b"")
        self.assertEqual(["accepted", "routed", "delivered"], self.world.kinds(report.message))
        self.assertEqual((0, []), (self.world.manager.active, self.world.queued()))

    def test_report_waits_in_the_spool_for_a_full_window(self) -> None:
        """Where the window has no room for new mail it has none for reports, which come when there is."""
        self.world = World(limits=QueueLimits(1, 10_000, 100, 50, 1 << 20))
        self.world.agent.answers["a.test"] = lambda _delivery: REFUSED
        self.world.send("bob@a.test")
        report = self.bounce()
        self.assertIsNone(report.content.whole())
        self.assertEqual((0, []), (self.world.manager.active, self.world.queued()))

    def test_one_report_for_all_failures_of_a_message(self) -> None:
        """Recipients that fail at different sites are reported together, once."""
        for site in ("a.test", "b.test"):
            self.world.agent.answers[site] = lambda _delivery: REFUSED
        self.world.send("x@a.test", "y@b.test", "z@c.test")
        self.bounce()

    def test_no_report_on_a_report(self) -> None:
        """RFC 5321 6.1: what has a null reverse-path never causes a report; the end is recorded."""
        self.world.agent.default = lambda _delivery: REFUSED
        message = self.world.send("bob@a.test", sender=None)
        self.assertEqual(1, len(self.world.agent.asked))
        self.assertEqual(["accepted", "routed", "bounced"], self.world.kinds(message))
        self.assertEqual([], self.world.queued())

    def test_routing_failures_bounce(self) -> None:
        """A domain that does not exist is reported without an attempt."""
        self.world.destinations.table["nowhere.test"] = REFUSED
        self.world.send("bob@nowhere.test")
        self.assertEqual(["sender.test"], [item.destination.site for item in self.world.agent.asked])

    def test_expires_after_a_last_attempt_at_the_end_of_its_lifetime(self) -> None:
        """Five days of deferrals: the last attempt is made when the lifetime ends, and then the sender is told."""
        self.world.agent.answers["a.test"] = lambda _delivery: LATER
        message = self.world.send("bob@a.test")
        self.world.advance(5 * DAY - 60, step=600)
        self.assertEqual([(message, "bob@a.test", "queued")], self.world.queued())
        self.world.advance(120)
        self.assertEqual("expired", self.world.kinds(message)[-1])
        self.bounce()

    def test_bounces_have_their_own_lifetime(self) -> None:
        """A report is given up after a day, silently."""
        self.world.agent.default = lambda _delivery: LATER
        message = self.world.send("alice@a.test", sender=None)
        self.world.advance(DAY + 60, step=600)
        self.assertEqual("expired", self.world.kinds(message)[-1])
        self.assertEqual([], self.world.queued())

    def test_internal_faults_never_bounce(self) -> None:
        """A fault of our own defers for ever: also after the lifetime nobody gets a bounce for it."""
        self.world.agent.answers["a.test"] = lambda _delivery: OUR_FAULT
        message = self.world.send("bob@a.test")
        self.world.advance(6 * DAY, step=3600)
        self.assertEqual([(message, "bob@a.test", "queued")], self.world.queued())

    def test_dns_that_can_not_be_asked_bounces_nothing_before_the_lifetime(self) -> None:
        """SERVFAIL for days defers; only the end of the lifetime ends it."""
        self.world.destinations.table["a.test"] = NO_DNS
        message = self.world.send("bob@a.test")
        self.world.advance(4.9 * DAY, step=3600)
        self.assertEqual([(message, "bob@a.test", "queued")], self.world.queued())
        self.world.advance(0.2 * DAY, step=600)
        self.assertEqual("expired", self.world.kinds(message)[-1])


class DeadSiteTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()
        self.world.agent.answers["dead.test"] = lambda _delivery: SILENT

    def test_dead_site_is_probed_not_hammered(self) -> None:
        """A thousand messages for a silent site cost three cohorts of attempts, then one for each doubled wait."""
        for number in range(1000):
            self.world.send(f"u{number}@dead.test")
        self.world.settle(200)
        cohorts = len(self.world.agent.asked)
        self.assertLessEqual(cohorts, 15)  # three windows of five; fewer, as the window narrows meanwhile
        self.world.advance(3600)
        self.assertEqual(cohorts + 5, len(self.world.agent.asked))  # after 1, 3, 7, 15 and 31 minutes

    def test_dead_site_delays_and_never_expires(self) -> None:
        """Waiting for a dead site counts no attempts, and when it answers again all is delivered."""
        messages = [self.world.send(f"u{number}@dead.test") for number in range(100)]
        self.world.advance(1800)
        self.world.agent.answers.clear()
        self.world.advance(4200)
        self.assertEqual([], self.world.queued())
        for message in messages:
            self.assertEqual("delivered", self.world.kinds(message)[-1])

    def test_mail_for_a_site_dead_all_its_lifetime_expires_once_told(self) -> None:
        """All messages for a site that is down for six days expire after the lifetime, on a probe that failed."""
        messages = [self.world.send(f"u{number}@dead.test") for number in range(40)]
        self.world.advance(4.99 * DAY, step=600)
        self.assertEqual(40, len(self.world.queued()))
        self.world.advance(0.3 * DAY, step=600)
        self.assertEqual([], [row for row in self.world.queued() if row[0] in messages])
        for message in messages:
            self.assertEqual(1, sum(kind == "expired" for kind in self.world.kinds(message)))

    def test_waiting_is_told_once(self) -> None:
        """A message that waits for a dead site for days has one event that says so, and its due time stays true."""
        messages = [self.world.send(f"u{number}@dead.test") for number in range(100)]
        self.world.advance(3 * 3600, step=60)
        waiting = [message for message in messages if "routed" not in self.world.kinds(message)]
        self.assertGreater(len(waiting), 50)
        for message in waiting:
            self.assertEqual(["accepted", "deferred"], self.world.kinds(message))
            self.assertGreater(self.world.due(message) + START, self.world.clock.seconds())

    def test_waiting_comes_back_in_groups(self) -> None:
        """What waits for a dead site is due in few instants, so that few claims take it: the others on full minutes."""
        for number in range(200):
            self.world.send(f"u{number}@dead.test")
        self.world.settle(200)
        dues = [due for (due,) in self.world.database.execute("SELECT due FROM recipients WHERE attempts = 0")]
        soon = [due for due in dues if due - START < 70]
        self.assertEqual(50, len(soon))
        self.assertLessEqual(len(set(soon)), 20)
        self.assertGreater(len(set(soon)), 5)
        self.assertEqual(set(), {due % 60 for due in dues if due not in soon} - {0.0})

    def test_dead_site_does_not_delay_others(self) -> None:
        """Ten thousand messages for a silent site in a window of a thousand: one for another site goes at once."""
        never: list[Deferred[Mapping[Address, Outcome]]] = []

        def hang(_delivery: Delivery) -> Deferred[Mapping[Address, Outcome]]:
            never.append(Deferred())
            return never[-1]

        self.world.agent.answers["dead.test"] = hang
        for number in range(3000):
            self.world.send(f"u{number}@dead.test")
        message = self.world.send("bob@alive.test")
        self.world.advance(10)
        self.assertEqual(["accepted", "routed", "delivered"], self.world.kinds(message))
        self.assertEqual(5, len(never))

    def test_operator_may_have_it_asked_now(self) -> None:
        """A retry by an operator forgives the dead mark: the site is asked at once."""
        for number in range(30):
            self.world.send(f"u{number}@dead.test")
        self.world.agent.answers.clear()
        self.world.spool.retry(Selection(), "root", self.world.clock.seconds())
        self.world.settle()
        self.world.manager.due_changed()
        self.world.settle()
        self.assertEqual([], self.world.queued())


class WindowTests(SynchronousTestCase):
    def test_window_is_bounded_and_all_gets_through(self) -> None:
        """With room for 20 messages, 300 are never more than 20 in memory, and all are delivered."""
        world = World(limits=QueueLimits(20, 10_000, 4, 50, 1 << 20))
        waiting: list[tuple[Delivery, Deferred[Mapping[Address, Outcome]]]] = []

        def hang(delivery: Delivery) -> Deferred[Mapping[Address, Outcome]]:
            waiting.append((delivery, Deferred()))
            return waiting[-1][1]

        world.agent.default = hang
        for number in range(300):
            world.send(f"u@site{number % 7}.test")
        most = 0
        while world.queued():
            most = max(most, world.manager.active)
            self.assertLessEqual(world.manager.running, 4)
            if waiting:
                delivery, answer = waiting.pop(0)
                answer.callback(dict.fromkeys(delivery.recipients, DELIVERED))
                world.settle(3)
            else:
                world.advance(5)
        self.assertLessEqual(most, 20)

    def test_window_counts_recipients(self) -> None:
        """With room for 100 recipients, new messages of 20 each are left to the spool from the fourth or fifth on."""
        world = World(limits=QueueLimits(1000, 100, 4, 50, 1 << 20))
        world.hang("a.test")
        for _ in range(20):
            world.send(*[f"u{number}@a.test" for number in range(20)])
        self.assertLessEqual(world.manager.active, 5)
        world.agent.answers.clear()
        world.restart()
        world.advance(60)
        self.assertEqual([], world.queued())

    def test_concurrency_of_a_site_grows_with_success(self) -> None:
        """A site begins with 5 attempts at once and grows to 20 while they succeed."""
        world = World()
        waiting: list[tuple[Delivery, Deferred[Mapping[Address, Outcome]]]] = []

        def hang(delivery: Delivery) -> Deferred[Mapping[Address, Outcome]]:
            waiting.append((delivery, Deferred()))
            return waiting[-1][1]

        world.agent.default = hang
        for number in range(400):
            world.send(f"u{number}@a.test")
        self.assertEqual(5, world.manager.running)
        for _ in range(350):
            delivery, answer = waiting.pop(0)
            answer.callback(dict.fromkeys(delivery.recipients, DELIVERED))
            world.settle(2)
        self.assertEqual(20, world.manager.running)

    def test_restart_picks_up_what_was_left(self) -> None:
        """A killed process's queue is taken up: what was delivered stays so, the rest goes out now or when due."""
        world = World()
        world.agent.answers["later.test"] = lambda _delivery: LATER
        world.agent.answers["hang.test"] = lambda _delivery: Deferred()
        done = world.send("a@now.test")
        deferred = world.send("b@later.test")
        hanging = world.send("c@hang.test")
        world.agent.answers.clear()
        world.agent.asked.clear()
        world.restart()
        self.assertEqual([hanging], [delivery.message for delivery in world.agent.asked])
        world.advance(301)
        self.assertEqual([hanging, deferred], [delivery.message for delivery in world.agent.asked])
        self.assertEqual("delivered", world.kinds(done)[-1])
        self.assertEqual([], world.queued())

    def test_stop_waits_for_what_is_under_way(self) -> None:
        """Stopping starts nothing more and fires when the attempts under way are over and recorded."""
        world = World()
        answers: list[Deferred[Mapping[Address, Outcome]]] = []

        def hang(_delivery: Delivery) -> Deferred[Mapping[Address, Outcome]]:
            answers.append(Deferred())
            return answers[-1]

        world.agent.default = hang
        for number in range(10):
            world.send(f"u{number}@a.test")
        stopped = world.manager.stop()
        for delivery, answer in zip(list(world.agent.asked), answers, strict=True):
            self.assertNoResult(stopped)
            answer.callback(dict.fromkeys(delivery.recipients, DELIVERED))
        world.settle()
        self.successResultOf(stopped)
        self.assertEqual(5, len(world.agent.asked))
        self.assertEqual(5, len(world.queued()))


class OperatorTests(SynchronousTestCase):
    def test_held_while_waiting_is_not_delivered(self) -> None:
        """A message that waits for its turn and is held does not go out; released, it does."""
        world = World()
        answers: list[Deferred[Mapping[Address, Outcome]]] = []

        def hang(_delivery: Delivery) -> Deferred[Mapping[Address, Outcome]]:
            answers.append(Deferred())
            return answers[-1]

        world.agent.default = hang
        sent = [world.send(f"u{number}@a.test") for number in range(6)]
        held = world.spool.hold(Selection(messages=(sent[5],)), "root", world.clock.seconds())
        world.settle()
        pairs: list[tuple[int, str]] = self.successResultOf(held)
        world.manager.withdraw(pairs)
        world.agent.default = lambda _delivery: DELIVERED
        for number, answer in enumerate(answers):
            answer.callback({parse_address(f"u{number}@a.test"): DELIVERED})
        world.settle()
        self.assertEqual([(sent[5], "u5@a.test", "held")], world.queued())
        world.spool.unhold(Selection(), "root", world.clock.seconds())
        world.settle()
        world.manager.due_changed()
        world.settle()
        self.assertEqual([], world.queued())
        self.assertEqual(["accepted", "held", "released", "routed", "delivered"], world.kinds(sent[5]))


class CrashTests(SynchronousTestCase):
    def test_message_that_crashes_us_is_quarantined_alone(self) -> None:
        """A message on which the agent raises is deferred twice and then quarantined; others are delivered."""
        world = World()

        def explode(_delivery: Delivery) -> Outcome:
            raise KeyError("a bug")

        world.agent.answers["bad.test"] = explode
        bad = world.send("x@bad.test")
        good = world.send("y@good.test")
        world.advance(1000)
        self.assertEqual("delivered", world.kinds(good)[-1])
        self.assertEqual([(bad, "x@bad.test", "quarantined")], world.queued())
        self.assertEqual(3, world.kinds(bad).count("crashed"))
        self.assertEqual(3, len(self.flushLoggedErrors(KeyError)))

    def test_raising_resolver_or_router_is_a_crash_of_the_message(self) -> None:
        """An exception while a message is planned is counted like any other, and loses nothing."""
        world = World()
        broken: Deferred[Destination] = Deferred()
        world.destinations.delayed = {"a.test": broken}  # type: ignore[dict-item]
        message = world.send("x@a.test")
        broken.errback(RuntimeError("a bug"))
        world.settle()
        self.assertEqual(["accepted", "crashed"], world.kinds(message))
        world.destinations.delayed.clear()
        world.advance(301)
        self.assertEqual("delivered", world.kinds(message)[-1])
        self.assertEqual(1, len(self.flushLoggedErrors(RuntimeError)))

    def test_failing_spool_never_doubles_a_delivery(self) -> None:
        """While an outcome can't be recorded the message stays claimed; it is recorded later and sent once."""
        world = World()
        real = world.spool.record
        broken = 3

        def record(report):  # type: ignore[no-untyped-def]
            nonlocal broken
            if broken:
                broken -= 1
                failed: Deferred[None] = Deferred()
                world.clock.callLater(0, failed.errback, SpoolError("database or disk is full"))
                return failed
            return real(report)

        world.spool.record = record  # type: ignore[method-assign]
        message = world.send("x@a.test")
        self.assertEqual(1, len(world.queued()))
        world.advance(60, step=1)
        self.assertEqual(1, len(world.agent.asked))
        self.assertEqual("delivered", world.kinds(message)[-1])


class LedgerTests(SynchronousTestCase):
    def test_every_recipient_ends_in_exactly_one_terminal_event(self) -> None:
        """Random outcomes for two days: accepted = delivered + bounced + expired + queued, each recipient once."""
        for seed in range(5):
            world = World(seed=seed, jitter=0.1)
            random = world.rng

            def answer(delivery: Delivery, random=random):  # type: ignore[no-untyped-def]
                if random.random() < 0.1:
                    return SILENT
                return {item: random.choice([DELIVERED, REFUSED, LATER, LATER]) for item in delivery.recipients}

            world.agent.default = answer
            sent = [
                world.send(*[f"u{item}@s{random.randrange(4)}.test" for item in range(random.randrange(1, 8))])
                for _ in range(30)
            ]
            world.advance(2 * DAY, step=600)
            terminal = {kind.value for kind in TERMINAL}
            for message in sent:
                rows = world.database.execute("SELECT kind, recipient FROM events WHERE message = ?", (message,))
                ended = [recipient for kind, recipient in rows if kind in terminal]
                self.assertEqual(len(ended), len(set(ended)))
                left = [address for number, address, _state in world.queued() if number == message]
                detail = world.database.execute(
                    "SELECT detail ->> '$.recipients' FROM events WHERE message = ? AND kind = 'accepted'", (message,)
                ).fetchone()[0]
                self.assertEqual(int(detail), len(ended) + len(left))
