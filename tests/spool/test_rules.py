"""Rules that hold mail as it comes."""

from __future__ import annotations

from mta.selection import Selection
from mta.spool import reading
from tests.contracts.spools import ALICE, BOB, CAROL
from tests.queue.world import World
from tests.spool.test_surgery import SurgeryCase


class RuleTests(SurgeryCase):
    def add(self, selection: Selection) -> int:
        number: int = self.wait(self.spool.surgery.add_rule(selection, "root", 1000.0))
        return number

    def states(self) -> dict[tuple[int, str], str]:
        return {place: row[0] for place, row in self.rows().items()}

    def test_holds_whom_it_matches(self) -> None:
        """A recipient that a rule matches is held from the first moment, the others of the message go on."""
        number = self.add(Selection(recipient="*carol*", larger=10))
        self.store(1, BOB, CAROL)
        self.assertEqual({(1, str(BOB)): "queued", (1, str(CAROL)): "held"}, self.states())
        (entry,) = self.wait(self.spool.claim(1e9, 10))
        self.assertEqual([BOB], [each.address for each in entry.recipients])
        held = reading.trace(self.database, 1)[-1]
        self.assertEqual(("held", str(CAROL), number), (held.kind.value, held.recipient, held.detail["rule"]))

    def test_lasts_until_it_is_removed(self) -> None:
        """A rule outlives the process; removed, it holds nothing more, and what it held stays held."""
        number = self.add(Selection(sender=str(ALICE)))
        self.open()
        self.store(1, BOB)
        self.assertTrue(self.wait(self.spool.surgery.remove_rule(number)))
        self.assertFalse(self.wait(self.spool.surgery.remove_rule(number)))
        self.store(2, BOB)
        self.assertEqual({(1, str(BOB)): "held", (2, str(BOB)): "queued"}, self.states())
        self.assertNotEqual(number, self.add(Selection()))

    def test_other_connections_follow(self) -> None:
        """Another process follows a new rule once it is told to read them."""
        self.database.execute("INSERT INTO rules (at, orderer, words) VALUES (1, 'root', '{}')")
        self.store(1, BOB)
        self.wait(self.spool.surgery.load_rules())
        self.store(2, BOB)
        self.assertEqual({(1, str(BOB)): "queued", (2, str(BOB)): "held"}, self.states())

    def test_claimed_on_arrival(self) -> None:
        """A message that the queue manager takes straight from the server is held as well, whole or in part."""
        world = World()
        world.spool.surgery.add_rule(Selection(domain="a.test"), "root", 1.0)
        world.settle()
        whole = world.send("x@a.test", "y@a.test")
        part = world.send("x@a.test", "y@b.test")
        self.assertEqual(["accepted", "held", "held"], world.kinds(whole))
        self.assertEqual(["accepted", "held", "routed", "delivered"], world.kinds(part))
        self.assertEqual(0, world.manager.active)
        claimed = world.database.execute("SELECT count(*) FROM messages WHERE claim IS NOT NULL OR due IS NOT NULL")
        self.assertEqual((0,), claimed.fetchone())

    def test_costs_nothing_without_rules(self) -> None:
        """Where there is no rule, accepting a message makes the statements that it needs, and none for rules."""
        said: list[str] = []
        self.database.set_trace_callback(said.append)
        self.store(1, BOB)
        self.database.set_trace_callback(None)
        self.assertEqual([], [each for each in said if "rules" in each or "operations" in each])
        self.assertEqual(4, len([each for each in said if each.startswith("INSERT")]))
