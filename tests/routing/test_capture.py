"""Routes while all mail is captured."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mta.address import parse_address
from mta.routing.capture import CapturingRouter
from mta.routing.patterns import parse_pattern
from mta.routing.router import Router


class CaptureTests(SynchronousTestCase):
    def test_routes(self) -> None:
        """Whoever is not allowed is captured, locals and postmaster too; the others have the route they would have."""
        usual = Router([], ["local.test"], "{user}", "mx.test")
        allow = list(map(parse_pattern, ("*@team.test", "*@.team.test", "Me@home.test", "bob@local.test")))
        router = CapturingRouter(usual, "staging", allow)
        for text, captured in (
            ("a@far.test", True),
            ("alice@local.test", True),
            ("bob@local.test", False),
            ("postmaster@mx.test", True),
            ("x@team.test", False),
            ("x@sub.team.test", False),
            ("x@notteam.test", True),
            ("me@home.test", False),
            ("you@home.test", True),
            ("me@home.test.far.test", True),
        ):
            address = parse_address(text)
            route = router.route(address)
            if captured:
                self.assertEqual(("capture:staging", "capture"), (str(route.next_hop), route.rule), text)
            else:
                self.assertEqual(usual.route(address), route, text)

    def test_nobody_is_allowed(self) -> None:
        """Without a list all mail is captured."""
        router = CapturingRouter(Router([], [], "{user}", "mx.test"), "staging", [])
        self.assertEqual("capture", router.route(parse_address("a@b.test")).rule)
