"""What every spool must do about a message whose end was sent and that nobody answered for."""

from __future__ import annotations

from typing import Any

from mta.entry import Report, Result, State
from mta.interfaces import ISpool
from mta.selection import Selection
from tests.contracts.spools import BOB, CAROL, EVERYTHING


class DoubtContract:
    """Mixed in beside `SpoolContract`, whose methods it uses."""

    def marked(self: Any, *recipients: Any) -> ISpool:
        """A spool with message 1 for them, whose attempt has come to the end of the content for BOB."""
        spool: ISpool = self.open()
        self.store(spool, 1, *recipients, claim=True)
        self.assertIsNone(self.wait(spool.mark(1, (BOB,), "mx.test[192.0.2.1]:25")))
        return spool

    def in_doubt(self: Any) -> list[str]:
        return [row.recipient for row in self.rows(State.IN_DOUBT)]

    def test_killed_after_a_mark(self: Any) -> None:
        """Who is marked when the process dies is in doubt: an attempt, due again by the schedule; others are queued."""
        self.marked(BOB, CAROL)
        self.assertEqual([], self.rows(State.IN_DOUBT))
        spool = self.reopen(now=200.0, retry_in=lambda attempts: 300.0 * attempts)
        (row,) = self.rows(State.IN_DOUBT)
        self.assertEqual((str(BOB), 1, 500.0), (row.recipient, row.attempts, row.due))
        self.assertIn("mx.test[192.0.2.1]:25", row.last_reply)
        self.assertEqual([str(CAROL)], [row.recipient for row in self.rows(State.QUEUED)])
        self.assertEqual([("accepted", None), ("in-doubt", str(BOB))], self.events(1))
        (entry,) = self.wait(spool.claim(499.0, 10))
        self.assertEqual([CAROL], [item.address for item in entry.recipients])
        self.assertEqual(500.0, self.wait(spool.record(Report(1, (Result(CAROL, State.DELIVERED),), ()))))
        (entry,) = self.wait(spool.claim(500.0, 10))
        self.assertEqual([(BOB, 1)], [(item.address, item.attempts) for item in entry.recipients])

    def test_found_once(self: Any) -> None:
        """A doubt is told by the start that finds it, not by the one after that."""
        self.marked(BOB)
        self.reopen()
        self.reopen()
        self.assertEqual([("accepted", None), ("in-doubt", str(BOB))], self.events(1))
        self.assertEqual([str(BOB)], self.in_doubt())

    def test_held_for_an_operator(self: Any) -> None:
        """Where doubts are held nothing is due; a release makes it so, and the doubt stays until there is an answer."""
        self.marked(BOB)
        spool = self.reopen(retry_in=None)
        self.assertEqual([None], [row.due for row in self.rows(State.IN_DOUBT)])
        self.assertEqual([], self.wait(spool.claim(1e9, 10)))
        self.assertIsNone(self.wait(spool.next_due()))
        self.assertEqual([], self.rows(State.HELD))
        doubts = Selection(state=State.IN_DOUBT)
        self.assertEqual([(1, str(BOB))], self.wait(spool.unhold(doubts, "root", 700.0)))
        self.assertEqual([700.0], [row.due for row in self.rows(State.IN_DOUBT)])
        self.assertEqual([1], [entry.message for entry in self.wait(spool.claim(700.0, 10))])

    def test_operators_choose_by_the_doubt(self: Any) -> None:
        """Hold, retry and discard take what is in doubt, and leave the rest of the message alone."""
        self.marked(BOB, CAROL)
        spool = self.reopen(now=200.0, retry_in=lambda _attempts: 300.0)
        doubts = Selection(state=State.IN_DOUBT)
        self.assertEqual([(1, str(BOB))], self.wait(spool.retry(doubts, "root", 210.0)))
        self.assertEqual([(1, str(BOB))], self.wait(spool.hold(doubts, "root", 220.0)))
        self.assertEqual([str(BOB)], self.in_doubt())
        self.assertEqual([], self.wait(spool.hold(Selection(state=State.HELD), "root", 220.0)))
        self.assertEqual([(1, str(BOB))], self.wait(spool.discard(doubts, "root", 230.0)))
        self.assertEqual([], self.in_doubt())
        self.assertEqual([str(CAROL)], [row.recipient for row in self.rows(State.QUEUED)])

    def test_outcome_takes_the_mark_away(self: Any) -> None:
        """What has an outcome is not in doubt at the next start, whatever the outcome was."""
        for state in (State.DELIVERED, State.QUEUED):
            spool = self.marked(BOB)
            self.wait(spool.record(Report(1, (Result(BOB, state, 500.0),), (), keep_claim=True)))
            spool = self.reopen()
            self.assertEqual([], self.in_doubt())
            self.wait(spool.discard(EVERYTHING, "root", 1.0))
            self.assertNotIn(("in-doubt", str(BOB)), self.events(1))
            self.setUp()

    def test_doubt_ends_with_an_answer(self: Any) -> None:
        """A doubt is recorded with its attempt, outlives attempts that find nobody, and ends with an answer."""
        spool = self.marked(BOB)
        for in_doubt, expected in ((True, [str(BOB)]), (None, [str(BOB)]), (False, []), (None, [])):
            self.wait(spool.record(Report(1, (Result(BOB, State.QUEUED, 500.0, in_doubt=in_doubt),), ())))
            self.assertEqual(expected, self.in_doubt(), in_doubt)
            self.wait(spool.claim(500.0, 1))

    def test_doubt_during_the_next_attempt(self: Any) -> None:
        """The next attempt's mark does not hide that the one before is in doubt, nor does its death count twice."""
        spool = self.marked(BOB)
        self.wait(spool.record(Report(1, (Result(BOB, State.QUEUED, 500.0, in_doubt=True),), ())))
        self.wait(spool.claim(500.0, 1))
        self.wait(spool.mark(1, (BOB,), "mx.test"))
        self.assertEqual([str(BOB)], self.in_doubt())
        self.reopen()
        self.assertEqual([2], [row.attempts for row in self.rows(State.IN_DOUBT)])

    def test_held_in_doubt_while_running(self: Any) -> None:
        """A result may hold what is in doubt; an operator's discard during the attempt counts more."""
        spool = self.marked(BOB, CAROL)
        self.wait(spool.discard(Selection(recipient=str(CAROL)), "root", 150.0))
        results = tuple(Result(who, State.HELD, 160.0, "gone", in_doubt=True) for who in (BOB, CAROL))
        self.assertIsNone(self.wait(spool.record(Report(1, results, ()))))
        self.assertEqual([str(BOB)], self.in_doubt())
        self.assertEqual([("accepted", None), ("discarded", str(CAROL))], self.events(1))

    def test_discarded_and_killed(self: Any) -> None:
        """Who was discarded during the attempt ends as discarded where the process died, too; the log has the doubt."""
        spool = self.marked(BOB)
        self.wait(spool.discard(EVERYTHING, "root", 150.0))
        self.reopen()
        self.assertEqual([], self.in_doubt())
        self.assertEqual([("accepted", None), ("in-doubt", str(BOB)), ("discarded", str(BOB))], self.events(1))

    def test_closing_leaves_a_mark_to_the_next_start(self: Any) -> None:
        """An attempt that a clean stop cut off behind its mark is in doubt like one that was killed."""
        spool = self.marked(BOB)
        self.wait(spool.close())
        spool = self.reopen()
        self.assertEqual([str(BOB)], self.in_doubt())
        self.assertEqual([1], [entry.message for entry in self.wait(spool.claim(1e9, 10))])

    def test_crash_keeps_the_doubt(self: Any) -> None:
        """Where our own code raised behind the mark, nobody knows either."""
        spool = self.marked(BOB)
        self.wait(spool.crashed(1, "KeyError", 200.0, 300.0))
        self.assertEqual([str(BOB)], self.in_doubt())

    def test_marks_that_come_together(self: Any) -> None:
        """Marks of many messages and recipients, asked for at once, all stand when they fire."""
        spool = self.open()
        for message in range(1, 21):
            self.store(spool, message, BOB, CAROL, claim=True)
        waiting = [spool.mark(message, (BOB, CAROL), "mx.test") for message in range(1, 21)]
        for mark in waiting:
            self.wait(mark)
        self.reopen()
        self.assertEqual(40, len(self.in_doubt()))
