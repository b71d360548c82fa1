"""The agent of `error:`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mta.delivery.error import ErrorAgent
from mta.destination import Destination, NextHop, Transport
from mta.outcome import Deferral, Failure, Phase, Scope
from tests.delivery.material import ONE, TWO, delivery


class ErrorTests(SynchronousTestCase):
    def test_outcomes(self) -> None:
        """What is in the queue already fails, or waits, in the operator's words; nothing of it is read."""
        for text, expected in (
            ("550 5.2.1 Closed", Failure("Closed", Phase.ROUTE, "error:", enhanced="5.2.1")),
            ("450 4.2.1 Later", Deferral("Later", Phase.ROUTE, Scope.RECIPIENT, "error:", enhanced="4.2.1")),
        ):
            what = delivery(Destination(NextHop(Transport.ERROR, text), "error"), (ONE, TWO))
            outcomes = self.successResultOf(ErrorAgent().deliver(what))
            self.assertEqual({ONE: expected, TWO: expected}, outcomes)
            self.assertEqual([], what.content.read)  # type: ignore[attr-defined]
