"""What operators order, as the queue manager carries it on: other next hops, reports to the senders."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mta.admin.changing import told
from mta.destination import Destination
from mta.order import Command, Done, Order
from mta.routing.next_hops import parse_next_hop
from mta.selection import Selection
from mta.spool import reading
from tests.queue.world import DELIVERED, LATER, World

HOP = "smtp://relay.test:2525"


class OrderTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()

    def order(self, command: Command, selection: Selection, **more: Any) -> Done:
        """As the control socket does it: the spool, then the manager."""
        world = self.world
        waiting = world.spool.surgery.operate(Order(command, selection, "root", world.clock.seconds(), **more))
        world.settle()
        done: Done = self.successResultOf(waiting)
        told(done, world.manager)
        world.settle()
        return done

    def test_reroute(self) -> None:
        """The next attempt goes to the chosen next hop, for whom it was chosen, and the trace tells of it."""
        world = self.world
        world.agent.default = lambda _delivery: LATER
        message = world.send("x@a.test", "y@a.test")
        self.order(Command.REROUTE, Selection(recipient="x@a.test"), next_hop=HOP)
        world.agent.asked.clear()
        world.advance(400)
        asked = {str(each.destination.next_hop): [str(to) for to in each.recipients] for each in world.agent.asked}
        self.assertEqual({HOP: ["x@a.test"], "mx:": ["y@a.test"]}, asked)
        events = reading.trace(world.database, message)
        (rerouted,) = [event for event in events if event.kind.value == "rerouted"]
        self.assertEqual(("root", HOP), (rerouted.detail["by"], rerouted.detail["next_hop"]))
        routed = [event.detail for event in events if event.kind.value == "routed" and event.recipient == "x@a.test"]
        self.assertEqual(["MX lookup", "operator"], [detail["rule"] for detail in routed])
        self.order(Command.REROUTE, Selection(), next_hop="")
        world.agent.default = lambda _delivery: DELIVERED
        world.agent.asked.clear()
        world.advance(800)
        self.assertEqual({"mx:"}, {str(each.destination.next_hop) for each in world.agent.asked})

    def test_reroute_of_what_waits_for_its_turn(self) -> None:
        """Who waits in the window for a crowded site leaves it, and goes to the chosen next hop at once."""
        world = self.world
        world.hang("a.test")
        for number in range(30):
            world.send(f"u{number}@a.test")
        waiting = world.send("x@a.test")
        free = "smtp://free.test:25"
        # The table knows sites by domain alone: what is planned from now on goes to another.
        world.destinations.table["a.test"] = Destination(parse_next_hop(free), "free.test")
        self.order(Command.REROUTE, Selection(messages=(waiting,)), next_hop=free)
        world.advance(1, step=1)
        self.assertEqual("delivered", world.kinds(waiting)[-1])

    def test_bounce(self) -> None:
        """The sender of what is given up gets a report at once with the operator's words, and nobody is asked."""
        world = self.world
        world.agent.default = lambda _delivery: LATER
        message = world.send("x@a.test", "y@a.test")
        world.agent.asked.clear()
        self.order(Command.BOUNCE, Selection(recipient="x@*"), text="example.test has closed")
        (report,) = world.reports()
        self.assertIn("example.test has closed", report.as_string())
        self.assertIn("x@a.test", report.as_string())
        self.assertNotIn("y@a.test", report.as_string())
        self.assertEqual([], [each for each in world.agent.asked if each.message == message])
        self.assertEqual(["ended", "bounced"], [kind for kind in world.kinds(message) if kind in ("ended", "bounced")])
        self.assertEqual(["y@a.test"], [address for number, address, _ in world.queued() if number == message])

    def test_bounce_of_what_is_held(self) -> None:
        """What is held or under way is bounced as well, and a message without a sender ends without a report."""
        world = self.world
        world.agent.default = lambda _delivery: LATER
        hanging = world.hang("a.test")
        first, second = world.send("x@a.test"), world.send("x@b.test", sender=None)
        self.order(Command.HOLD, Selection())
        self.order(Command.BOUNCE, Selection(), text="closed")
        self.assertEqual([], world.reports())
        hanging["a.test"].callback({world.agent.asked[0].recipients[0]: LATER})
        world.settle()
        self.assertEqual(1, len(world.reports()))
        self.assertEqual("bounced", world.kinds(first)[-1])
        self.assertNotIn(second, [number for number, _address, _state in world.queued()])
