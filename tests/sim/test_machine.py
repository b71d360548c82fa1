"""A simulated machine dies as a real one does under SIGKILL."""

from __future__ import annotations

from twisted.internet.error import ConnectionLost, ConnectionRefusedError
from twisted.trial.unittest import SynchronousTestCase

from mta.sim.machine import Machine
from mta.sim.network import LATENCY
from tests.sim.wires import HERE, THERE, Client, Noting, Pair, Server


class MachineTests(SynchronousTestCase):
    def test_a_crash_drops_what_was_scheduled(self) -> None:
        """No call of a machine is made after its death, not even one that is due in the same instant."""
        pair = Pair()
        told: list[object] = []
        pair.near.callLater(1, told.append, "before")
        pair.near.callLater(1, pair.near.crash)
        pair.near.callLater(1, told.append, "after")
        pair.near.callLater(2, told.append, "later")
        pair.near.run_in_thread(lambda: told.append("thread"))
        pair.run(5)
        self.assertEqual(["thread", "before"], told)

    def test_peers_see_their_connections_break(self) -> None:
        """One latency later; the dead program itself is told nothing."""
        pair = Pair().run()
        pair.far.crash()
        pair.run()
        self.assertEqual((ConnectionLost, 1.0 + LATENCY), (pair.client.lost, pair.client.lost_at))
        self.assertIsNone(pair.server.lost)

    def test_bytes_in_flight_arrive(self) -> None:
        """What has left before the crash arrives, and before the end of the connection; what had not is gone."""
        pair = Pair().run()
        pair.server.write(b"250 ok\r\n")
        pair.clock.advance(LATENCY / 2)
        pair.server.write(b"250 never\r\n")
        pair.far.crash()
        pair.run()
        self.assertEqual(b"250 ok\r\n", pair.client.data)
        self.assertEqual(ConnectionLost, pair.client.lost)

    def test_bytes_for_a_dead_machine_are_dropped(self) -> None:
        """Nobody reads them."""
        pair = Pair().run()
        pair.client.write(b"DATA\r\n")
        pair.clock.advance(LATENCY / 2)
        pair.far.crash()
        pair.run()
        self.assertEqual(b"", pair.server.data)

    def test_its_ports_are_free_again(self) -> None:
        """Connections to it are refused, and the next program at the same address can listen at once."""
        pair = Pair().run()
        pair.far.crash()
        refused = Client(Noting(pair.clock))
        pair.near.connectTCP(THERE, 25, refused)
        pair.run()
        self.assertEqual(ConnectionRefusedError, refused.failed)
        restarted = Machine(pair.clock, pair.network, THERE)
        restarted.listenTCP(25, Server(Noting(pair.clock, b"220 back\r\n")))
        client = Noting(pair.clock)
        pair.near.connectTCP(THERE, 25, Client(client))
        self.assertEqual(b"220 back\r\n", pair.run() and client.data)

    def test_a_crash_at_a_step(self) -> None:
        """It happens in the place of that call, and who waits for it is told once."""
        pair = Pair()
        told: list[object] = []
        machine = Machine(pair.clock, pair.network, HERE)
        machine.crashed = lambda: told.append("crashed")
        machine.crash_at_step = 3
        for number in (1, 2, 3, 4):
            machine.callLater(number, told.append, number)
        pair.run(9)
        self.assertEqual([1, 2, "crashed"], told)
        self.assertFalse(machine.alive)

    def test_work_in_a_thread(self) -> None:
        """It is done in a turn of its own, and what it raises comes back as a failure."""
        pair = Pair()
        done, failed = pair.near.run_in_thread(lambda: 5), pair.near.run_in_thread(lambda: 1 // 0)
        self.assertNoResult(done)
        pair.run()
        self.assertEqual(5, self.successResultOf(done))
        self.failureResultOf(failed, ZeroDivisionError)
