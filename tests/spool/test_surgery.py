"""Operations on the queue: done in steps, undone, forgotten; and what a daemon that is killed in between leaves."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mta.address import Address
from mta.entry import Report, Result, State
from mta.events import Event, Kind
from mta.interfaces import ISurgery
from mta.order import KEPT, Command, Done, Order
from mta.selection import Selection
from mta.spool import SpoolError, answering, operating, reading, schema, surgery
from mta.spool.spool import Spool, memory_spool
from tests.contracts.spools import ALICE, BOB, CAROL, EVERYTHING, ORIGIN, envelope

HOP = "smtp://relay.test:25"
Rows = dict[tuple[int, str], tuple[Any, ...]]


class SurgeryCase(SynchronousTestCase):
    """A spool in memory that outlives whoever works on it."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000.0)
        self.database = schema.memory()
        self.journal: list[Event] = []
        self.open()

    def open(self) -> None:
        self.spool: Spool = memory_spool(
            self.database, lambda call: self.clock.callLater(0, call), journal=self.journal.append, now=1000.0
        )

    def wait(self, waiting: Any) -> Any:
        for _ in range(500):
            if waiting.called and not waiting.paused:
                break
            self.clock.advance(0)
        return self.successResultOf(waiting)

    def store(self, message: int, *recipients: Address, claim: bool = False) -> None:
        receiving = self.spool.receive(message)
        receiving.write(b"Subject: x\r\n\r\nhello\r\n")
        self.wait(receiving.commit(envelope(*recipients, sender=ALICE), ORIGIN, 100.0, claim))

    def defer(self, message: int, *recipients: Address, due: float = 5000.0) -> None:
        results = tuple(Result(each, State.QUEUED, due, "450 later") for each in recipients)
        self.wait(self.spool.record(Report(message, results, ())))

    def order(self, command: Command, at: float = 1000.0, selection: Selection = EVERYTHING, **more: Any) -> Done:
        done = self.wait(self.spool.surgery.operate(Order(command, selection, "root", at, **more)))
        assert isinstance(done, Done)
        return done

    def undo(self, number: int | None, at: float = 1001.0) -> Done:
        return self.order(Command.UNDO, at, undoes=number)

    def refused(self, number: int) -> str:
        waiting = self.spool.surgery.operate(Order(Command.UNDO, Selection(), "root", 1.0, undoes=number))
        self.clock.advance(0)
        self.clock.advance(0)
        return str(self.failureResultOf(waiting, ValueError).value)

    def rows(self) -> Rows:
        found = self.database.execute(
            "SELECT r.message, r.address, r.state, r.due, r.details, m.due FROM recipients r"
            " JOIN messages m ON m.id = r.message"
        )
        return {(row[0], row[1]): row[2:] for row in found}

    def kinds(self, message: int) -> list[str]:
        return [event.kind.value for event in reading.trace(self.database, message)]


class UndoTests(SurgeryCase):
    def test_provides_its_interface(self) -> None:
        """The spool's surgery is what the control socket asks for."""
        verifyObject(ISurgery, self.spool.surgery)

    def test_each_command_and_back(self) -> None:
        """Whatever an operation did, undoing it gives each recipient its state, due time, route and text back."""
        self.store(1, BOB, CAROL, claim=True)
        self.defer(1, BOB, CAROL, due=1795552114.1338367)
        before = self.rows()
        commands: tuple[tuple[Command, dict[str, Any], str], ...] = (
            (Command.HOLD, {}, "held"),
            (Command.RETRY, {}, "queued"),
            (Command.REROUTE, {"next_hop": HOP}, "queued"),
            (Command.DISCARD, {}, "discarded"),
            (Command.BOUNCE, {"text": "no more"}, "queued"),
        )
        for command, more, state in commands:
            done = self.order(command, **more)
            self.assertEqual([(1, str(CAROL)), (1, str(BOB))], done.changed)
            self.assertEqual({state}, {row[0] for row in self.rows().values()})
            self.assertNotEqual(before, self.rows(), command)
            self.assertEqual(2, len(self.undo(done.operation).changed))
            self.assertEqual(before, self.rows(), command)

    def test_release_and_back(self) -> None:
        """What was released is held again, also when it has been tried in between; what was delivered is gone."""
        self.store(1, BOB, CAROL)
        self.order(Command.HOLD)
        done = self.order(Command.RELEASE)
        self.assertEqual(1, len(self.wait(self.spool.claim(1000.0, 10))))
        delivered = (Event(1, 1000.0, Kind.DELIVERED, str(BOB)),)
        results = (Result(BOB, State.DELIVERED), Result(CAROL, State.QUEUED, 2000.0))
        self.wait(self.spool.record(Report(1, results, delivered)))
        self.assertEqual([(1, str(CAROL))], self.undo(done.operation).changed)
        self.assertEqual(["held"], [row[0] for row in self.rows().values()])
        self.assertEqual([], self.wait(self.spool.claim(1e9, 10)))

    def test_several_are_undone_in_turn(self) -> None:
        """The last operation on a recipient is undone first; one below it has moved until then, and comes next."""
        self.store(1, BOB)
        before = self.rows()
        hold = self.order(Command.HOLD)
        reroute = self.order(Command.REROUTE, next_hop=HOP)
        discard = self.order(Command.DISCARD)
        for done in (discard, reroute, hold):
            self.assertEqual(1, len(self.undo(done.operation).changed))
        self.assertEqual(before, self.rows())

    def test_moved_since(self) -> None:
        """What an operation changed and another has changed since stays as it is."""
        self.store(1, BOB)
        self.store(2, BOB)
        hold = self.order(Command.HOLD)
        self.order(Command.RELEASE, selection=Selection(messages=(1,)))
        done = self.undo(hold.operation)
        self.assertEqual([(2, str(BOB))], done.changed)
        self.assertEqual({"queued"}, {row[0] for row in self.rows().values()})

    def test_retried_and_tried_since(self) -> None:
        """The due time before a retry does not come back once the attempt was made, or is under way."""
        self.store(1, BOB, claim=True)
        self.defer(1, BOB)
        self.store(2, BOB, claim=True)
        self.defer(2, BOB)
        retry = self.order(Command.RETRY)
        (first,) = self.wait(self.spool.claim(1000.0, 1))
        self.defer(first.message, BOB, due=7000.0)
        self.wait(self.spool.claim(1000.0, 1))
        done = self.undo(retry.operation)
        self.assertEqual(([], 2), (done.changed, done.stayed))

    def test_what_cannot_be_undone(self) -> None:
        """An undo, an undone operation, one that is unknown or that discarded for good: each is refused by name."""
        self.store(1, BOB)
        hold = self.order(Command.HOLD)
        undone = self.undo(hold.operation)
        assert hold.operation is not None
        assert undone.operation is not None
        self.assertIn(f"undone by operation {undone.operation}", self.refused(hold.operation))
        self.assertIn("is an undo itself", self.refused(undone.operation))
        self.assertIn("no operation 77", self.refused(77))
        gone = self.order(Command.DISCARD, for_good=True)
        assert gone.operation
        self.assertIn("for good", self.refused(gone.operation))
        self.assertEqual({}, self.rows())
        self.assertIsNone(self.order(Command.HOLD).operation)


class DiscardTests(SurgeryCase):
    def test_kept_for_a_day(self) -> None:
        """Discarded mail is out of the queue and its log says so once; content and all can be brought back."""
        self.store(1, BOB, CAROL)
        done = self.order(Command.DISCARD)
        self.assertEqual([], list(reading.list_queue(self.database, Selection())))
        self.assertEqual(2, len(list(reading.list_queue(self.database, Selection(state=State.DISCARDED)))))
        self.assertEqual([], self.wait(self.spool.claim(1e9, 10)))
        self.wait(self.spool.surgery.expire(1000.0))
        self.open()
        self.undo(done.operation)
        (entry,) = self.wait(self.spool.claim(1001.0, 10))
        self.assertEqual({BOB, CAROL}, {each.address for each in entry.recipients})
        self.assertEqual(b"Subject: x\r\n\r\nhello\r\n", self.wait(self.spool.content(entry).chunk(0)))
        self.assertEqual(["accepted", *["discarded"] * 2, *["restored"] * 2], self.kinds(1))

    def test_gone_after_a_day(self) -> None:
        """When the time for undoing is over the rows and the content go, and what was held stays held."""
        self.store(1, BOB, CAROL)
        self.store(2, BOB)
        self.order(Command.DISCARD, selection=Selection(messages=(1,)))
        self.order(Command.HOLD)
        self.wait(self.spool.surgery.expire(1000.0 + KEPT))
        self.assertEqual([(2, str(BOB))], list(self.rows()))
        self.assertEqual([(2,)], self.database.execute("SELECT message FROM chunks").fetchall())
        self.assertEqual([], [row for page in self.operations() for row in page])
        self.assertEqual(["held"], [row[0] for row in self.rows().values()])

    def operations(self) -> Any:
        yield list(answering._operations(self.database, answering.Asked({})))

    def test_during_an_attempt(self) -> None:
        """Discarded under way and deferred: kept, and told once. Delivered meanwhile: that is a fact."""
        for message in (1, 2):
            self.store(message, BOB, claim=True)
        done = self.order(Command.DISCARD)
        self.assertEqual(["accepted"], self.kinds(1))
        self.defer(1, BOB)
        self.wait(self.spool.record(Report(2, (Result(BOB, State.DELIVERED),), (Event(2, 1.0, Kind.DELIVERED),))))
        self.assertEqual(["accepted", "discarded"], self.kinds(1))
        self.assertEqual([(1, str(BOB))], self.undo(done.operation).changed)
        self.assertEqual(1, len(self.wait(self.spool.claim(1e9, 10))))

    def test_others_of_the_message_go_on(self) -> None:
        """A message of which one recipient is kept is delivered to the others, and goes when both are over."""
        self.store(1, BOB, CAROL)
        self.order(Command.DISCARD, selection=Selection(recipient=str(BOB)))
        (entry,) = self.wait(self.spool.claim(1000.0, 10))
        self.assertEqual([CAROL], [each.address for each in entry.recipients])
        self.wait(self.spool.record(Report(1, (Result(CAROL, State.DELIVERED),), ())))
        self.assertEqual(["accepted", "discarded"], self.kinds(1))
        self.assertEqual(1, len(self.rows()))
        self.wait(self.spool.surgery.expire(1000.0 + KEPT))
        self.assertEqual(0, self.database.execute("SELECT count(*) FROM messages").fetchone()[0])


class BounceAndRerouteTests(SurgeryCase):
    def test_ended_during_an_attempt(self) -> None:
        """Who was given up while an attempt was under way is due as soon as that has deferred it."""
        self.store(1, BOB, CAROL, claim=True)
        self.order(Command.BOUNCE, selection=Selection(recipient=str(BOB)), text="closed")
        self.defer(1, BOB, CAROL, due=9000.0)
        (entry,) = self.wait(self.spool.claim(1000.0, 10))
        self.assertEqual([(BOB, "closed")], [(each.address, each.ended) for each in entry.recipients])

    def test_bounce_is_taken_back_until_it_is_claimed(self) -> None:
        """A report that is being made can't be stopped: such a recipient stays given up."""
        self.store(1, BOB)
        self.store(2, BOB)
        done = self.order(Command.BOUNCE, text="closed")
        self.wait(self.spool.claim(1000.0, 1))
        undone = self.undo(done.operation)
        self.assertEqual((1, 1), (len(undone.changed), undone.stayed))

    def test_reroute_is_kept_and_cleared(self) -> None:
        """The next hop stands in the spool beside what the sender said, comes with each claim, and can be cleared."""
        self.store(1, BOB)
        self.order(Command.REROUTE, next_hop=HOP)
        self.open()
        (entry,) = self.wait(self.spool.claim(1000.0, 10))
        self.assertEqual([HOP], [each.next_hop for each in entry.recipients])
        self.defer(1, BOB)
        self.assertEqual(1, len(self.order(Command.REROUTE, next_hop="").changed))
        (entry,) = self.wait(self.spool.claim(5000.0, 10))
        self.assertEqual([""], [each.next_hop for each in entry.recipients])
        self.assertIsNone(self.order(Command.REROUTE, next_hop="").operation)


class KilledTests(SurgeryCase):
    def test_resumes(self) -> None:
        """However far an operation came before a kill, the next start does the rest, and nothing twice."""
        self.patch(surgery, "AT_ONCE", 2)
        for command, more in (
            (Command.HOLD, {}),
            (Command.DISCARD, {}),
            (Command.BOUNCE, {"text": "x"}),
            (Command.REROUTE, {"next_hop": HOP}),
        ):
            for steps in range(1, 5):
                self.setUp()
                for message in range(1, 8):
                    self.store(message, BOB)
                order = Order(command, Selection(sender="alice@*"), "root", 1000.0, **more)  # type: ignore[arg-type]
                number = operating.begin(self.database, order)
                for _ in range(steps):
                    operating.step(self.database, number, order, None, 2)
                self.open()
                done = [pair for each in self.wait(self.spool.surgery.resume()) for pair in each.changed]
                self.assertEqual(max(0, 7 - 2 * steps), len(done))
                changed = [len([kind for kind in self.kinds(message) if kind != "accepted"]) for message in range(1, 8)]
                self.assertEqual([1] * 7, changed, (command, steps))
                self.assertEqual([], self.wait(self.spool.surgery.resume()))
                self.assertEqual(7, len(self.undo(number).changed))

    def test_undo_resumes(self) -> None:
        """An undo that was cut off goes on as well."""
        for message in range(1, 8):
            self.store(message, BOB)
        before = self.rows()
        hold = self.order(Command.HOLD)
        order = Order(Command.UNDO, Selection(), "root", 1001.0, undoes=hold.operation)
        number = operating.begin(self.database, order)
        operating.step(self.database, number, order, None, 2)
        self.open()
        (done,) = self.wait(self.spool.surgery.resume())
        self.assertEqual(5, len(done.changed))
        self.assertEqual(before, self.rows())

    def test_a_step_is_a_transaction(self) -> None:
        """Where the disk fails in the middle of a step nothing of it is there: no rows, no events, no place."""
        self.store(1, BOB, CAROL)
        before = self.rows()
        self.database.execute(
            "CREATE TRIGGER full BEFORE UPDATE ON recipients WHEN new.address LIKE '%carol%'"
            " BEGIN SELECT RAISE(FAIL, 'full'); END"
        )
        waiting = self.spool.surgery.operate(Order(Command.HOLD, Selection(), "root", 1000.0))
        self.clock.advance(0)
        self.clock.advance(0)
        self.failureResultOf(waiting, SpoolError)
        self.assertEqual(before, self.rows())
        self.assertEqual(["accepted"], self.kinds(1))
        self.assertEqual([], operating.unfinished(self.database))


changes = st.lists(
    st.tuples(
        st.sampled_from(["hold", "release", "retry", "reroute", "unroute", "discard"]),
        st.sampled_from([(), (1,), (2,), (1, 3)]),
    ),
    max_size=8,
)


class PropertyTests(SurgeryCase):
    @settings(deadline=None, max_examples=60, derandomize=True)
    @given(changes)
    def test_all_undone(self, orders: list[tuple[str, tuple[int, ...]]]) -> None:
        """Whatever was done, undoing all of it in turn gives the queue back as it was."""
        self.setUp()
        for message in (1, 2, 3):
            self.store(message, BOB, CAROL, claim=True)
            self.defer(message, BOB, CAROL)
        before = self.rows()
        numbers = []
        for name, messages in orders:
            command = Command.REROUTE if name.endswith("route") else Command(name)
            next_hop = HOP if name == "reroute" else ""
            selection = Selection(messages=messages or None)
            numbers.append(self.order(command, selection=selection, next_hop=next_hop).operation)
        for number in reversed(numbers):
            if number is not None:
                self.undo(number)
        self.assertEqual(before, self.rows())
