"""Recipients part by what their domains demand of TLS."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from mta.destination import Destination, Host, NextHop, Route, Transport
from mta.envelope import RequireTls
from mta.interfaces import ITlsPolicies
from mta.outcome import Deferral, Phase
from mta.tls_policy import DEFAULT_POLICY, TlsLevel, TlsPolicy, TlsSource
from tests.queue.world import World

Told = TlsPolicy | Deferral
VERIFY = TlsPolicy(TlsLevel.VERIFY)


@implementer(ITlsPolicies)
class TableOfPolicies:
    """What stands in `table`, else the default."""

    def __init__(self) -> None:
        self.table: dict[str, Told | Deferred[Told]] = {}
        self.wishes: list[tuple[str, RequireTls, bool]] = []

    def policy(self, domain: str, route: Route) -> Told | Deferred[Told]:
        del route
        return self.table.get(domain, DEFAULT_POLICY)

    def wished(self, domain: str, route: Route, wish: RequireTls, *, is_report: bool) -> Told:
        del route
        self.wishes.append((domain, wish, is_report))
        return TlsPolicy(TlsLevel.VERIFY, TlsSource.REQUIRETLS, requiretls=wish is RequireTls.YES)

    def at_host(self, policy: TlsPolicy, host: Host) -> TlsPolicy:
        del host
        return policy


class TlsPlanningTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.policies = TableOfPolicies()
        self.world = World(tls=self.policies)
        site = Destination(NextHop(Transport.MX), "mx.provider.test")
        self.world.destinations.table = dict.fromkeys(("a.test", "b.test", "c.test"), site)

    def asked(self) -> list[tuple[TlsLevel, list[str]]]:
        """The level and the recipients of each transaction."""
        return [
            (delivery.destination.tls.level, [str(address) for address in delivery.recipients])
            for delivery in self.world.agent.asked
        ]

    def test_domains_of_one_site_part(self) -> None:
        """Of three domains with the same hosts the one that demands a certificate gets a transaction of its own."""
        self.policies.table = {"b.test": VERIFY}
        self.world.send("x@a.test", "y@b.test", "z@c.test")
        self.assertEqual(
            [(TlsLevel.MAY, ["x@a.test", "z@c.test"]), (TlsLevel.VERIFY, ["y@b.test"])],
            sorted(self.asked(), key=lambda item: item[0].value),
        )

    def test_no_policy_now(self) -> None:
        """Where the policy can't be told, its domain is deferred with the reason, and the others go."""
        self.policies.table = {"b.test": Deferral("no policy of b.test", Phase.TLS, enhanced="4.7.5")}
        self.world.send("x@a.test", "y@b.test")
        self.assertEqual([(TlsLevel.MAY, ["x@a.test"])], self.asked())
        (deferred,) = (event for event in self.world.journal if event.kind.value == "deferred")
        self.assertEqual(
            ("y@b.test", "no policy of b.test", "4.7.5"),
            (deferred.recipient, deferred.detail["reason"], deferred.detail["code"]),
        )

    def test_waits_for_the_policy(self) -> None:
        """A policy that has to be asked for delays the message until it is known."""
        asked: Deferred[Told] = Deferred()
        self.policies.table = {"b.test": asked}
        self.world.send("y@b.test")
        self.assertEqual([], self.asked())
        asked.callback(VERIFY)
        self.world.settle()
        self.assertEqual([(TlsLevel.VERIFY, ["y@b.test"])], self.asked())
