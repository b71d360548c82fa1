"""A queue whose reports wait to be looked at, and the outcomes that lead to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address, parse_address
from mta.entry import Delivery
from mta.outcome import Delivered, Handover, Outcome, Phase
from mta.reply import Reply
from tests.queue.world import World

HOUR = 3600.0
DAY = 24 * HOUR
FINAL = Delivered("mail/bob")
RELAYED = Delivered("mx.test[192.0.2.1]:25", Reply(250, ("Ok",)), Phase.END_OF_DATA, Handover.RELAYED)
PASSED_ON = replace(RELAYED, kind=Handover.PASSED_ON)
POSTMASTER = parse_address("postmaster@home.test")
BODY = b"Subject: hi\r\nMessage-ID: <1@sender.test>\r\n\r\n"


class ReportCase(SynchronousTestCase):
    """A world that hears of a delay after four hours, and whose reports wait in the spool to be looked at."""

    def setUp(self) -> None:
        self.world = World()
        self.world.schedule = replace(self.world.schedule, delay_notice=4 * HOUR)
        self.world.restart()
        for site in ("sender.test", "home.test"):
            self.world.agent.answers[site] = self.never

    def never(self, _delivery: Delivery) -> Deferred[Mapping[Address, Outcome]]:
        return Deferred()

    def answer(self, outcome: Outcome) -> None:
        self.world.agent.default = lambda _delivery: outcome
