"""Recipients that mail was forwarded to part from the others, with a sender of their own."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address, parse_address
from mta.destination import Destination, NextHop, Transport
from mta.envelope import Recipient
from mta.outcome import Deferral, Phase
from tests.queue.world import ALICE, World

OURS = parse_address("SRS0=x@srs.test")


class NamedSenders:
    """All that was forwarded gets another sender."""

    def sender(self, sender: Address | None, recipient: Address, named: str) -> Address | None:
        del recipient
        return OURS if named and sender is not None else None


def forwarded(address: str) -> Recipient:
    return Recipient(parse_address(address), named="team@home.test")


class ForwardingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World(senders=NamedSenders())
        site = Destination(NextHop(Transport.MX), "mx.provider.test")
        mailbox = Destination(NextHop(Transport.MAILDIR, "{user}"), "maildir")
        self.world.destinations.table = {"a.test": site, "b.test": site, "home.test": mailbox}

    def asked(self) -> list[tuple[str, list[str]]]:
        """The sender and the recipients of each transaction."""
        return sorted(
            (str(delivery.sender), [str(address) for address in delivery.recipients])
            for delivery in self.world.agent.asked
        )

    def test_apart(self) -> None:
        """One site gets two transactions; a mailbox here has the sender as it was; each is delivered once."""
        self.world.send("x@a.test", forwarded("y@a.test"), forwarded("z@b.test"), "v@b.test", forwarded("w@home.test"))
        self.assertEqual(
            [
                (str(OURS), ["y@a.test", "z@b.test"]),
                (str(ALICE), ["w@home.test"]),
                (str(ALICE), ["x@a.test", "v@b.test"]),
            ],
            self.asked(),
        )
        delivered = [event.recipient for event in self.world.journal if event.kind.value == "delivered"]
        self.assertEqual(["v@b.test", "w@home.test", "x@a.test", "y@a.test", "z@b.test"], sorted(map(str, delivered)))

    def test_nowhere(self) -> None:
        """Who has no destination now is deferred once, forwarded or not."""
        self.world.destinations.table["b.test"] = Deferral("no answer", Phase.DNS)
        self.world.send(forwarded("y@a.test"), forwarded("z@b.test"), "v@b.test")
        self.assertEqual([(str(OURS), ["y@a.test"])], self.asked())
        deferred = [event.recipient for event in self.world.journal if event.kind.value == "deferred"]
        self.assertEqual(["v@b.test", "z@b.test"], sorted(map(str, deferred)))

    def test_bounces(self) -> None:
        """What has no sender gets none."""
        self.world.send(forwarded("y@a.test"), sender=None)
        self.assertEqual([("None", ["y@a.test"])], self.asked())
