"""What waits in the spool for a dead site, and comes when it answers."""

from __future__ import annotations

from itertools import pairwise

from twisted.internet.defer import Deferred, fail
from twisted.trial.unittest import SynchronousTestCase

from mta.destination import Destination, NextHop, Transport
from mta.entry import Delivery, Entry
from mta.outcome import Outcome
from mta.queue.manager import CLAIM_AT_ONCE, QueueLimits
from mta.selection import Selection
from mta.spool import SpoolError
from tests.queue.reporting import DAY
from tests.queue.world import DELIVERED, SILENT, World

MANY = 1500


class BacklogTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World(limits=QueueLimits(5000, 50_000, 100, 50, 1 << 20))
        self.world.agent.answers["dead.test"] = lambda _delivery: SILENT
        self.claimed: list[int] = []
        self.watch()

    def watch(self) -> None:
        """Count what each claim takes from here on."""
        spool, claim = self.world.spool, self.world.spool.claim

        def counted(now: float, limit: int) -> Deferred[list[Entry]]:
            return claim(now, limit).addCallback(count)

        def count(entries: list[Entry]) -> list[Entry]:
            self.claimed.append(len(entries))
            return entries

        self.patch(spool, "claim", counted)

    def send(self, number: int = MANY, domain: str = "dead.test") -> list[int]:
        return [self.world.send(f"u{each}@{domain}") for each in range(number)]

    def left(self, domain: str = "dead.test") -> int:
        return sum(address.endswith(domain) for _message, address, _state in self.world.queued())

    def untried(self) -> int:
        """What is left that was never tried: those that were wait as long as any deferred message."""
        found = self.world.database.execute("SELECT count(*) FROM recipients WHERE attempts = 0").fetchone()
        return int(found[0])

    def revive(self) -> None:
        self.world.agent.answers.clear()

    def test_long_queue_is_not_claimed_for_each_probe(self) -> None:
        """Each time a dead site is asked a few messages come back, whatever waits for it."""
        self.send()
        self.world.advance(1700)  # asked after 1, 3, 7 and 15 minutes
        self.assertLessEqual(sum(self.claimed), 4 * 60)
        self.assertEqual(MANY, self.left())

    def test_all_come_when_it_answers(self) -> None:
        """Once the probe is answered all that waits goes out at once, the oldest first."""
        messages = self.send()
        self.world.advance(1000)
        self.revive()
        before = len(self.world.agent.asked)
        while self.left() == MANY:
            self.world.advance(30)
        self.world.advance(60)
        self.assertEqual(0, self.untried())
        self.world.advance(330)
        self.assertEqual(0, self.left())
        sent = [delivery.message for delivery in self.world.agent.asked[before:]]
        self.assertCountEqual(messages, sent)
        out_of_order = sum(one > two for one, two in pairwise(sent))
        self.assertLess(out_of_order, MANY / 10)

    def test_another_process_takes_over(self) -> None:
        """What waits is as well waiting after a crash: the new process knows of no dead site, and asks it."""
        self.send()
        self.world.restart()
        self.revive()
        self.world.advance(120)
        self.assertEqual(0, self.untried())

    def test_site_that_takes_twenty_a_minute(self) -> None:
        """A site that hangs up behind twenty messages a minute gets twenty a minute, and few others are looked at."""
        taken: dict[int, int] = {}

        def limited(_delivery: Delivery) -> Outcome:
            minute = int(self.world.clock.seconds() // 60)
            taken[minute] = taken.get(minute, 0) + 1
            return DELIVERED if taken[minute] <= 20 else SILENT

        self.world.agent.answers["dead.test"] = limited
        self.send()
        self.claimed.clear()
        self.world.advance(1700, step=3)
        self.assertGreaterEqual(MANY - self.left(), 0.9 * 20 * 1700 / 60)
        self.assertLess(sum(self.claimed), 200 * 1700 / 60)

    def test_domain_that_has_moved(self) -> None:
        """Mail for a domain that has left the dead site goes out within the longest wait, though that is as dead."""
        table = self.world.destinations.table
        table["moved.test"] = Destination(NextHop(Transport.MX), "dead.test")
        self.send(200)
        self.send(300, "moved.test")
        table["moved.test"] = Destination(NextHop(Transport.MX), "alive.test")
        self.world.advance(3700)
        self.assertEqual((200, 0), (self.left(), self.left("moved.test")))

    def test_lifetime_ends(self) -> None:
        """All that waited for a site which was dead to the end of its lifetime expires, soon after that."""
        messages = self.send(200)
        self.world.advance(4.99 * DAY, step=600)
        self.assertEqual(200, self.left())
        self.world.advance(0.1 * DAY, step=600)
        self.assertEqual(0, self.left())
        for message in messages:
            self.assertEqual("expired", self.world.kinds(message)[-1])

    def test_operator_has_the_last_word(self) -> None:
        """What waits can be held, discarded and retried as any other mail."""
        self.send(200)
        now = self.world.clock.seconds()
        held, dropped = Selection(recipient="u19*@dead.test"), Selection(recipient="u18*@dead.test")
        self.world.spool.hold(held, "root", now)
        self.world.spool.discard(dropped, "root", now)
        self.world.settle()
        self.revive()
        self.world.spool.retry(Selection(), "root", now)
        self.world.settle()
        self.world.manager.due_changed()
        self.world.advance(30)
        self.assertEqual({"held"}, {state for _message, _address, state in self.world.queued()})
        self.assertEqual(11, self.left())

    def test_failed_draw(self) -> None:
        """Where the spool can't say what waits it is asked again later."""
        self.send()
        self.revive()
        wake, failures = self.world.spool.wake, [SpoolError("no disk")]

        def failing(site: str, now: float, limit: int) -> Deferred[int]:
            return fail(failures.pop()) if failures else wake(site, now, limit)

        self.patch(self.world.spool, "wake", failing)
        self.world.advance(100)
        self.assertGreater(self.left(), 1000)
        self.world.send("bob@dead.test")
        self.world.advance(30)
        self.world.send("bob@dead.test")
        self.world.advance(60)
        self.assertEqual(0, self.untried())

    def test_other_mail_has_the_time(self) -> None:
        """While attempts are under way, what is due for dead sites is looked at in slices, with rests between."""
        self.world.hang("slow.test")
        self.world.send("bob@slow.test")
        self.send()
        self.world.database.execute("UPDATE recipients SET due = 0 WHERE address LIKE '%@dead.test'")
        self.world.database.execute("UPDATE messages SET due = 0, waits_for = NULL WHERE claim IS NULL")
        self.claimed.clear()
        self.world.clock.advance(1)
        self.world.manager.look()
        self.world.settle(500)
        self.assertEqual([CLAIM_AT_ONCE], self.claimed)
        self.world.clock.advance(0.1)
        self.world.settle(500)
        self.assertEqual([CLAIM_AT_ONCE], self.claimed)
        self.world.advance(1, step=0.05)
        self.assertEqual(MANY, sum(self.claimed))
