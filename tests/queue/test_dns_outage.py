"""The DNS can't be asked for a while: the queue waits, and nothing bounces."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mta.dns.destinations import Destinations
from mta.dns.fake import FakeResolver
from mta.lookup import MX
from tests.queue.world import World

MINUTE = 60.0


class OutageTests(SynchronousTestCase):
    def test_ten_minutes_of_servfail(self) -> None:
        """Ten minutes of SERVFAIL bounce nothing; what the DNS denies meanwhile does; then all is delivered."""
        domains = [f"d{number}.test" for number in range(12)]
        resolver, world = FakeResolver(), World()
        world.destinations = Destinations(resolver=resolver, clock=world.clock, own_names=())  # type: ignore[assignment]
        world.restart()
        for domain in domains:
            resolver.fail(domain, "MX")
        sent = [world.send(f"user{number}@{domain}") for domain in domains for number in range(5)]
        unknown = world.send("nobody@nowhere.invalid")
        world.advance(10 * MINUTE, step=10)
        ended = {event.message for event in world.journal if event.kind.value in ("bounced", "expired")}
        self.assertEqual({unknown}, ended & {unknown, *sent})
        self.assertEqual(len(sent), len({row[0] for row in world.queued()} & set(sent)))
        for domain in domains:
            resolver.set(domain, "MX", [MX(10, f"mx.{domain}")])
        world.advance(90 * MINUTE, step=10)
        self.assertEqual({"delivered"}, {world.kinds(message)[-1] for message in sent})
