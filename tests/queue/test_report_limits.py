"""Where reports end: those on reports, and those to one address."""

from __future__ import annotations

from dataclasses import replace

from mta.address import parse_address
from mta.envelope import Notify
from mta.queue.report_rate import MAX_ADDRESSES, ReportRate
from tests.queue.reporting import BODY, DAY, FINAL, HOUR, POSTMASTER, RELAYED, ReportCase
from tests.queue.world import ALICE, LATER, REFUSED, START, notified


class DoubleBounceTests(ReportCase):
    def setUp(self) -> None:
        super().setUp()
        self.world.bouncer = replace(self.world.bouncer, double_bounce=POSTMASTER)
        self.world.restart()

    def test_report_that_fails(self) -> None:
        """A report that can't be delivered goes to who looks after such, with itself in it and a null sender."""
        self.answer(REFUSED)
        self.world.agent.answers["sender.test"] = lambda _delivery: REFUSED
        self.world.send("bob@a.test", content=BODY)
        self.assertEqual(
            ["a.test", "sender.test", "home.test"], [item.destination.site for item in self.world.agent.asked]
        )
        last = self.world.agent.asked[-1]
        self.assertEqual((None, (POSTMASTER,)), (last.sender, last.recipients))
        (double,) = self.world.reports()
        self.assertEqual([("alice@sender.test", "failed")], self.world.told())
        self.assertEqual("Double Bounce: alice@sender.test", double["Subject"])
        inner = list(double.iter_parts())[2].get_content()
        self.assertEqual("Undelivered Mail: bob@a.test", inner["Subject"])

    def test_ends_there(self) -> None:
        """A double bounce that fails, or is late, causes nothing more."""
        for outcome in (REFUSED, LATER):
            self.answer(outcome)
            self.world.agent.answers.clear()
            self.world.send(str(POSTMASTER), sender=None)
            self.world.advance(2 * DAY, step=600)
        self.assertEqual({"home.test"}, {item.destination.site for item in self.world.agent.asked})
        self.assertEqual(([], []), (self.world.queued(), self.world.told()))

    def test_only_of_failures(self) -> None:
        """RFC 5321 4.5.5: of mail with a null sender nobody hears but that it failed, whatever its NOTIFY says."""
        everything = (Notify.SUCCESS, Notify.FAILURE, Notify.DELAY)
        for outcome in (FINAL, RELAYED, LATER):
            self.answer(outcome)
            self.world.send(notified("bob@a.test", *everything), sender=None, expanded=[notified("x@a.test")])
            self.world.advance(5 * HOUR, step=300)
        self.assertEqual([], self.world.told())

    def test_nobody_named(self) -> None:
        """Without an address for double bounces the end is recorded, and that is all."""
        self.world.bouncer = replace(self.world.bouncer, double_bounce=None)
        self.world.restart()
        self.answer(REFUSED)
        message = self.world.send("bob@a.test", sender=None)
        self.assertEqual(([], ["accepted", "routed", "bounced"]), (self.world.queued(), self.world.kinds(message)))


class RateTests(ReportCase):
    def test_beyond_the_rate_nobody_is_told(self) -> None:
        """The third failure of an hour ends without a report, and its event says why; the next hour has its own."""
        self.world.bouncer = replace(self.world.bouncer, rate=ReportRate(2))
        self.world.restart()
        self.answer(REFUSED)
        messages = [self.world.send("bob@a.test") for _ in range(3)]
        other = self.world.send("bob@a.test", sender=parse_address("eve@sender.test"))
        self.assertEqual(3, len(self.world.reports()))
        (detail,) = self.world.details(messages[2], "bounced")
        self.assertIsNone(detail["dsn"])
        self.assertIn("(no report: alice@sender.test gets at most 2 an hour)", str(detail["reason"]))
        (detail,) = self.world.details(other, "bounced")
        self.assertIsNotNone(detail["dsn"])
        self.world.advance(2 * HOUR, step=300)
        self.world.send("bob@a.test")
        self.assertEqual(4, len(self.world.reports()))

    def test_never_more_than_that_in_an_hour(self) -> None:
        """A steady flood gets the rate in each hour, also over the change of hours and a clock that is set back."""
        rate = ReportRate(10)
        admitted = [now for now in range(0, 5 * 3600, 7) if rate.admit(ALICE, START + now)]
        for begin in range(0, 4 * 3600, 60):
            self.assertLessEqual(sum(begin <= now < begin + 3600 for now in admitted), 11)
        self.assertGreaterEqual(len(admitted), 45)
        self.assertTrue(ReportRate(0).admit(ALICE, 0.0))
        self.assertTrue(all(rate.admit(ALICE, START - DAY) for _ in range(10)))
        self.assertFalse(rate.admit(ALICE, START - DAY))

    def test_room(self) -> None:
        """Who asks whether there is room counts nothing, and hears what the next report will."""
        rate = ReportRate(2)
        for number in range(3):
            self.assertEqual(number < 2, rate.has_room(ALICE, START))
            self.assertEqual(number < 2, rate.admit(ALICE, START))
        self.assertTrue(rate.has_room(ALICE, START + 2 * HOUR))
        self.assertTrue(rate.has_room(replace(ALICE, local="u"), START))
        self.assertTrue(ReportRate(0).has_room(ALICE, START))

    def test_longest_silent_is_forgotten(self) -> None:
        """A flood of new senders pushes out who was silent longest, and not who is told of more all the time."""
        rate = ReportRate(1)
        first, second = (replace(ALICE, local=name) for name in ("first", "second"))
        self.assertTrue(rate.admit(first, START) and rate.admit(second, START))
        for number in range(MAX_ADDRESSES - 2):
            rate.admit(replace(ALICE, local=f"u{number}"), START)
        self.assertFalse(rate.admit(first, START))
        self.assertTrue(rate.admit(replace(ALICE, local="new"), START))
        self.assertFalse(rate.admit(first, START))
        self.assertTrue(rate.admit(second, START))

    def test_memory_is_bounded(self) -> None:
        """However many senders are invented, only so many are remembered, the latest."""
        rate = ReportRate(1)
        for number in range(MAX_ADDRESSES + 10):
            rate.admit(replace(ALICE, local=f"u{number}"), START)
        self.assertLessEqual(len(rate._counts), MAX_ADDRESSES)
        self.assertFalse(rate.admit(replace(ALICE, local="u100"), START))
