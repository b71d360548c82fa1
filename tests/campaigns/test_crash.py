"""A short crash campaign, and that its accounts would notice what must not happen."""

from __future__ import annotations

from collections import Counter

from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.campaigns.crash.__main__ import table
from tests.campaigns.crash.campaign import Course, run
from tests.campaigns.crash.ledger import MARK, Arrival, Cause, Ledger, Reply, Sent, token_and_digest


def arrival(began: float, replied: float, reply: Reply = Reply.SENT, digest: str = "d") -> Arrival:
    return Arrival("m", "a@one.test", digest, began, began, replied, reply)


class LedgerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.ledger = Ledger()
        self.ledger.send("m", Sent("d", ("a@one.test",), acknowledged=True))

    def test_missing_message_is_lost(self) -> None:
        """What was acknowledged and is neither at a site nor in the queue is lost; in the queue it is not."""
        self.assertEqual([("m", "a@one.test")], self.ledger.judge([]).lost)
        self.assertTrue(self.ledger.judge([("m", "a@one.test", "d")]).good)

    def test_unacknowledged_message_may_be_missing(self) -> None:
        """Nobody was told that we have it."""
        self.ledger.send("m", Sent("d", ("a@one.test",), acknowledged=False))
        self.assertTrue(self.ledger.judge([]).good)

    def test_changed_content_is_torn(self) -> None:
        """Content with another hash, at a site or in the queue, and mail that nobody sent, are errors."""
        self.assertTrue(self.ledger.judge([("m", "a@one.test", "half")]).torn)
        self.assertTrue(self.ledger.judge([("m", "a@one.test", "d"), ("x", "a@one.test", "d")]).torn)
        self.ledger.arrive([arrival(1, 2, digest="half")])
        self.assertTrue(self.ledger.judge([]).torn)

    def test_second_arrival_needs_a_cause(self) -> None:
        """A duplicate is explained by a lost reply or by a kill soon after the reply, and by nothing else."""
        for first, kills, cause in (
            (arrival(1, 2, Reply.LOST), [], Cause.REPLY_LOST),
            (arrival(1, 2), [2.5], Cause.KILLED),
            (arrival(1, 2), [1.5], Cause.KILLED),
            (arrival(1, 2), [], Cause.NONE),
            (arrival(1, 2), [0.5], Cause.NONE),
            (arrival(1, 2), [9.0], Cause.NONE),
            (arrival(1, 2), [11.0], Cause.NONE),
        ):
            ledger = Ledger()
            ledger.send("m", Sent("d", ("a@one.test",), acknowledged=True))
            ledger.kills = list(kills)
            ledger.arrive([first, arrival(10, 12)])
            verdict = ledger.judge([])
            self.assertEqual((Counter({cause: 1}), cause is not Cause.NONE), (verdict.doubled, verdict.good))

    def test_surviving_worker(self) -> None:
        """A worker that goes on sends what another had in flight, over a connection from before the kill."""
        self.ledger.kills = [2.5]
        self.ledger.arrive([arrival(1, 2), Arrival("m", "a@one.test", "d", 1.0, 3.0, 4.0, Reply.SENT)])
        self.assertEqual(Counter({Cause.KILLED: 1}), self.ledger.judge([]).doubled)

    def test_last_arrival_needs_no_cause(self) -> None:
        """A slow site may answer the dead daemon behind the new one: the order of the replies proves nothing."""
        self.ledger.kills = [2.0]
        self.ledger.arrive([arrival(3, 4), arrival(1, 6)])
        self.assertEqual(Counter({Cause.KILLED: 1}), self.ledger.judge([]).doubled)

    def test_digest_is_of_what_the_client_sent(self) -> None:
        """Trace fields in front of the mark do not count, each octet behind it does."""
        data = MARK + b"m\r\n\r\nhi\r\n"
        self.assertEqual(token_and_digest(data), token_and_digest(b"Received: by us\r\n" + data))
        self.assertEqual("m", token_and_digest(data)[0])
        self.assertNotEqual(token_and_digest(data)[1], token_and_digest(data + b".\r\n")[1])
        self.assertEqual(("", ""), token_and_digest(b"Subject: of others\r\n"))


class CampaignTests(TestCase):
    timeout = 120

    def test_three_kills(self) -> None:
        """Killed three times under load the daemon loses nothing, tears nothing, doubles nothing without a cause."""
        said: list[str] = []
        verdict = run(Course(kills=3, seed=7, clients=3, longest_life=1.0, drain=60.0), said.append)
        self.assertTrue(verdict.good, table(verdict))
        self.assertEqual(0, verdict.in_queue, table(verdict))
        self.assertGreater(verdict.acknowledged, 0)
        self.assertEqual(3, len(said))

    def test_two_workers(self) -> None:
        """With two workers, of which now and then one is killed and now and then all, the same holds."""
        said: list[str] = []
        verdict = run(Course(kills=4, seed=3, clients=3, longest_life=1.0, drain=60.0, workers=2), said.append)
        self.assertTrue(verdict.good, table(verdict))
        self.assertEqual(0, verdict.in_queue, table(verdict))
        self.assertGreater(verdict.acknowledged, 0)
        self.assertTrue(any("a worker" in line for line in said), said)
