"""Who is told what, when, how often, and with which part of the original."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations

from twisted.internet.defer import Deferred, fail
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from mta.address import Address, parse_address
from mta.destination import Destination, NextHop, Transport
from mta.entry import Delivery
from mta.envelope import Body, Notify, Recipient, Ret
from mta.ids import spell
from mta.interfaces import IContent
from mta.message.trace import received
from mta.outcome import Deferral, Delivered, Failure, Handover, Outcome, Phase
from mta.queue.manager import QueueLimits
from mta.queue.report_rate import MAX_ADDRESSES, ReportRate
from mta.reply import Reply
from mta.spool import SpoolError
from tests.queue.world import ALICE, LATER, REFUSED, SILENT, START, World, notified

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


class NotifyTests(ReportCase):
    def test_every_notify_with_every_outcome(self) -> None:
        """RFC 3461 4.1, 5.2: for each NOTIFY and each end of a recipient, a report or none."""
        choices: list[frozenset[Notify] | None] = [None, frozenset((Notify.NEVER,))]
        conditions = (Notify.SUCCESS, Notify.FAILURE, Notify.DELAY)
        choices += [frozenset(found) for number in (1, 2, 3) for found in combinations(conditions, number)]
        table: list[tuple[Outcome, Notify, str | None]] = [
            (FINAL, Notify.SUCCESS, "delivered"),
            (RELAYED, Notify.SUCCESS, "relayed"),
            (PASSED_ON, Notify.SUCCESS, None),
            (REFUSED, Notify.FAILURE, "failed"),
            (LATER, Notify.DELAY, "delayed"),
        ]
        for notify in choices:
            for outcome, condition, action in table:
                self.setUp()
                self.answer(outcome)
                self.world.send(Recipient(parse_address("bob@a.test"), notify))
                self.world.advance(4.5 * HOUR, step=300)
                asked = condition in notify if notify is not None else condition is not Notify.SUCCESS
                expected = [("bob@a.test", action)] if asked and action else []
                self.assertEqual(expected, self.world.told(), f"{notify} {outcome}")

    def test_end_without_a_report(self) -> None:
        """RFC 3461 4.1: NOTIFY=NEVER ends the recipient as bounced or expired all the same, with no report named."""
        self.answer(REFUSED)
        message = self.world.send(notified("bob@a.test", Notify.NEVER), "carol@a.test")
        self.assertEqual([("carol@a.test", "failed")], self.world.told())
        first, second = self.world.details(message, "bounced")
        self.assertIsNone(first["dsn"])
        self.assertIsNotNone(second["dsn"])
        self.assertEqual([], [row for row in self.world.queued() if row[0] == message])

    def test_null_sender_is_never_told(self) -> None:
        """RFC 5321 4.5.5: whatever NOTIFY says, nobody is told of mail without a sender."""
        for outcome in (FINAL, RELAYED, REFUSED, LATER):
            self.answer(outcome)
            everything = (Notify.SUCCESS, Notify.FAILURE, Notify.DELAY)
            self.world.send(notified("bob@a.test", *everything), sender=None, expanded=[notified("x@a.test")])
            self.world.advance(5 * HOUR, step=300)
        self.assertEqual([], self.world.told())

    def test_news_of_one_job_share_a_report(self) -> None:
        """Deliveries at one site are confirmed together, failures of the message together; each event tells."""
        self.world.agent.answers["a.test"] = lambda delivery: dict.fromkeys(delivery.recipients, FINAL)
        self.world.agent.answers["b.test"] = lambda _delivery: REFUSED
        wanted = (Notify.SUCCESS, Notify.FAILURE)
        self.world.send(*(notified(f"{name}@{site}", *wanted) for name in "xy" for site in ("a.test", "b.test")))
        self.assertEqual(2, len(self.world.reports()))
        self.assertEqual(
            [
                (f"{name}@{site}", action)
                for site, action in (("a.test", "delivered"), ("b.test", "failed"))
                for name in "xy"
            ],
            self.world.told(),
        )

    def test_confirmed_in_the_transaction_of_the_delivery(self) -> None:
        """While the disk fails there is neither a delivery nor its report; then there are both, once."""
        self.answer(FINAL)
        answers = self.world.hang("a.test")
        self.world.send(notified("bob@a.test", Notify.SUCCESS))
        self.world.break_disk()
        answers["a.test"].callback({parse_address("bob@a.test"): FINAL})
        self.world.settle()
        self.assertEqual(([], 1), (self.world.told(), len(self.world.queued())))
        self.world.mend_disk()
        self.world.advance(30, step=1)
        self.assertEqual([("bob@a.test", "delivered")], self.world.told())
        self.assertEqual(
            ["bob@a.test"], [each for item in self.world.agent.asked[:1] for each in map(str, item.recipients)]
        )

    def test_bug_in_a_report_loses_no_delivery(self) -> None:
        """A report that raises is a crash of the message; what was delivered is recorded and never sent again."""
        self.world.bouncer = replace(self.world.bouncer, languages=())
        self.world.restart()
        self.world.agent.answers["b.test"] = lambda _delivery: REFUSED
        self.answer(FINAL)
        message = self.world.send(notified("bob@a.test", Notify.SUCCESS), "carol@b.test")
        self.world.advance(2 * DAY, step=600)
        self.assertEqual(1, sum(item.destination.site == "a.test" for item in self.world.agent.asked))
        self.assertEqual([(message, "carol@b.test", "quarantined")], self.world.queued())
        self.assertTrue(self.flushLoggedErrors())


class FieldTests(ReportCase):
    def test_envelope_comes_back(self) -> None:
        """RFC 3461 6.3: ENVID, ORCPT, the client's name and the queue id stand in the report; the sender gets it."""
        self.answer(REFUSED)
        self.world.send(notified("bob@a.test", Notify.FAILURE, orcpt="rfc822;bob@old.test"), envid="QQ 1", content=BODY)
        (report,) = self.world.reports()
        ((whole, recipient),) = self.world.statuses()
        self.assertEqual("QQ 1", whole["Original-Envelope-Id"])
        self.assertEqual("rfc822; bob@old.test", recipient["Original-Recipient"])
        self.assertEqual(whole["X-MTA-Queue-ID"], recipient["Final-Log-ID"])
        self.assertEqual("<1@sender.test>", report["References"])
        self.assertEqual("alice@sender.test", report["To"])

    def test_received_from(self) -> None:
        """RFC 3464 2.2.4: the client's name is taken from the Received field on top, if it is the one that we wrote."""
        for is_ours in (True, False):
            self.setUp()
            self.answer(REFUSED)
            field = received(
                helo="pc.a.test",
                client_ip="192.0.2.9",
                client_name=None,
                by="mx.example.org",
                protocol="ESMTP",
                queue_id=self.next_id() if is_ours else "0000000000000",
                recipient=parse_address("bob@a.test"),
                at=START,
            )
            self.world.send("bob@a.test", content=field + BODY)
            expected = "dns; pc.a.test" if is_ours else None
            self.assertEqual(expected, self.world.statuses()[0][0]["Received-From-MTA"])

    def next_id(self) -> str:
        """The text of the queue id that `World.send` gives next."""
        following = self.world.manager.new_id()
        self.world.manager.new_id = lambda: following  # type: ignore[method-assign]
        return spell(following)

    def test_what_of_the_original_returns(self) -> None:
        """RFC 3461 4.3: RET with each size and each kind of report; binary content never returns."""
        small, large = BODY + b"x\r\n", BODY + b"x" * 70_000 + b"\r\n"
        huge = BODY + (b"x" * 70 + b"\r\n") * 10_000
        table: list[tuple[Outcome, Ret | None, bytes, Body, str]] = [
            (REFUSED, None, small, Body.SEVEN_BIT, "message/rfc822"),
            (REFUSED, Ret.FULL, small, Body.EIGHT_BIT_MIME, "message/rfc822"),
            (REFUSED, Ret.HDRS, small, Body.SEVEN_BIT, "text/rfc822-headers"),
            (REFUSED, None, large, Body.SEVEN_BIT, "text/rfc822-headers"),
            (REFUSED, Ret.FULL, large, Body.SEVEN_BIT, "text/rfc822-headers"),
            (REFUSED, Ret.FULL, huge, Body.SEVEN_BIT, "text/rfc822-headers"),
            (REFUSED, Ret.FULL, small, Body.BINARY_MIME, "text/rfc822-headers"),
            (FINAL, Ret.FULL, small, Body.SEVEN_BIT, "text/rfc822-headers"),
            (RELAYED, None, small, Body.SEVEN_BIT, "text/rfc822-headers"),
        ]
        for outcome, ret, content, body, expected in table:
            self.setUp()
            self.answer(outcome)
            wanted = notified("bob@a.test", Notify.SUCCESS, Notify.FAILURE)
            self.world.send(wanted, content=content, ret=ret, body=body)
            (report,) = self.world.reports()
            self.assertEqual(expected, list(report.iter_parts())[2].get_content_type(), (outcome, ret, body))

    def test_international(self) -> None:
        """RFC 6533 4.1: the report on mail with SMTPUTF8 takes SMTPUTF8 itself only where its addressee does."""
        self.answer(REFUSED)
        for sender, expected in (("alice", (False, Body.SEVEN_BIT)), ("ürsula", (True, Body.EIGHT_BIT_MIME))):
            self.world.agent.asked.clear()
            self.world.send(
                notified("josé@a.test", Notify.FAILURE),
                sender=Address(sender, "sender.test"),
                utf8=True,
                content="Subject: Grüße\r\n\r\nHallo\r\n".encode(),
            )
            (delivery,) = [item for item in self.world.agent.asked if item.destination.site == "sender.test"]
            self.assertEqual(expected, (delivery.envelope.utf8, delivery.body))
            self.assertIsNone(delivery.sender)


class DelayTests(ReportCase):
    def test_told_once(self) -> None:
        """The first deferral after four hours is told, with the time until which it is tried; none after it is."""
        self.answer(LATER)
        message = self.world.send("bob@a.test")
        self.world.advance(4 * HOUR - 60, step=300)
        self.assertEqual([], self.world.told())
        self.world.advance(2 * HOUR, step=300)
        self.assertEqual([("bob@a.test", "delayed")], self.world.told())
        self.world.advance(10 * HOUR, step=300)
        self.assertEqual([("bob@a.test", "delayed")], self.world.told())
        named = [detail["dsn"] for detail in self.world.details(message, "deferred") if "dsn" in detail]
        self.assertEqual(1, len(named))
        group = self.world.statuses()[0][1]
        self.assertEqual("Sat, 17 Jan 1970 13:46:40 +0000", group["Will-Retry-Until"])
        self.assertEqual("4.2.1", group["Status"])

    def test_told_once_over_a_restart(self) -> None:
        """A restart right after the notice does not repeat it: the recipient's row remembers."""
        self.answer(LATER)
        self.world.send("bob@a.test")
        self.world.advance(5.5 * HOUR, step=300)
        self.world.manager.stop()
        self.world.restart()
        self.world.advance(6 * HOUR, step=300)
        self.assertEqual([("bob@a.test", "delayed")], self.world.told())

    def test_recipients_of_a_message_together(self) -> None:
        """Recipients that are late at once, at several sites, are told of in one report; what fails then is in it."""
        self.answer(LATER)
        self.world.send("x@a.test", "y@b.test", "z@c.test")
        self.world.advance(3.9 * HOUR, step=300)
        self.world.agent.answers["c.test"] = lambda _delivery: REFUSED
        self.world.advance(1.5 * HOUR, step=300)
        self.assertEqual(1, len(self.world.reports()))
        self.assertEqual(
            {("x@a.test", "delayed"), ("y@b.test", "delayed"), ("z@c.test", "failed")}, set(self.world.told())
        )

    def test_waiting_for_a_dead_site(self) -> None:
        """A message whose site is silent is late, too, though nobody is asked for it: its sender hears of it once."""
        self.answer(SILENT)
        for number in range(60):
            self.world.send(f"u{number}@a.test")
        self.world.advance(8 * HOUR, step=300)
        told = self.world.told()
        self.assertEqual({(f"u{number}@a.test", "delayed") for number in range(60)}, set(told))
        self.assertEqual(60, len(told))

    def test_nobody_waits_for_it(self) -> None:
        """Automatic and list mail, and where notices are off: nobody is told of a delay, only of the end."""
        self.answer(LATER)
        self.world.send("bob@a.test", content=b"Auto-Submitted: auto-generated\r\n" + BODY)
        self.world.send("bob@a.test", content=b"List-Id: <x.test>\r\n" + BODY)
        self.world.advance(6 * HOUR, step=300)
        self.assertEqual([], self.world.told())
        self.world.schedule = replace(self.world.schedule, delay_notice=0.0)
        self.world.manager.stop()
        self.world.restart()
        self.world.send("bob@a.test")
        self.world.advance(6 * HOUR, step=300)
        self.assertEqual([], self.world.told())
        self.answer(REFUSED)
        self.world.advance(2 * HOUR, step=300)
        self.assertEqual(["failed"] * 3, [action for _address, action in self.world.told()])


class ExpandedTests(ReportCase):
    TEAM = notified("team@home.test", Notify.SUCCESS, orcpt="rfc822;team@home.test")

    def test_told_when_accepted(self) -> None:
        """RFC 3461 5.2.7.3: an alias for several is reported as expanded, at once, if its sender asked."""
        self.answer(LATER)
        self.world.send("x@a.test", "y@a.test", expanded=[self.TEAM, notified("other@home.test", Notify.FAILURE)])
        self.assertEqual([("team@home.test", "expanded")], self.world.told())
        self.world.advance(HOUR)
        self.assertEqual([("team@home.test", "expanded")], self.world.told())

    def test_full_window(self) -> None:
        """Mail that has to wait in the spool has its sender told as soon as there is room for it."""
        self.world.limits = QueueLimits(1, 1, 1, 1, 1 << 20)
        self.world.restart()
        answers = self.world.hang("a.test")
        self.world.send("x@a.test")
        self.assertFalse(self.world.manager.wants_claim())
        self.world.send("y@b.test", expanded=[self.TEAM])
        self.assertEqual([], self.world.told())
        answers["a.test"].callback({parse_address("x@a.test"): FINAL})
        self.world.settle()
        self.assertEqual([("team@home.test", "expanded")], self.world.told())

    def test_killed_before_it_is_told(self) -> None:
        """A crash between the 250 and the report loses nothing: the next start tells it, and none tells it again."""
        self.world.limits = QueueLimits(0, 1, 1, 1, 1 << 20)
        self.world.restart()
        self.world.send("x@a.test", expanded=[self.TEAM])
        self.assertEqual([], self.world.told())
        self.world.limits = QueueLimits(1000, 10_000, 100, 50, 1 << 20)
        self.answer(LATER)
        for _start in range(3):
            self.world.restart()  # without a stop: the manager before it is dead, and its claims are taken over
            self.assertEqual([("team@home.test", "expanded")], self.world.told())
        self.world.advance(HOUR)
        self.assertEqual([("team@home.test", "expanded")], self.world.told())

    def test_told_with_the_first_of_the_message(self) -> None:
        """A message that ends at once has the alias and its end in one report; the alias is told though it ended."""
        self.answer(REFUSED)
        self.world.destinations.table["a.test"] = REFUSED
        self.world.send("x@a.test", expanded=[self.TEAM])
        self.assertEqual([("team@home.test", "expanded"), ("x@a.test", "failed")], self.world.told())
        self.assertEqual(1, len(self.world.reports()))

    def test_beyond_the_rate(self) -> None:
        """A report that the rate forbids is not made up for later, nor after a restart."""
        self.world.bouncer = replace(self.world.bouncer, rate=ReportRate(1))
        self.world.restart()
        self.answer(LATER)
        for name in "xy":
            self.world.send(f"{name}@a.test", expanded=[self.TEAM])
        self.world.bouncer = replace(self.world.bouncer, rate=ReportRate(0))
        self.world.restart()
        self.world.advance(HOUR)
        self.assertEqual([("team@home.test", "expanded")], self.world.told())

    def test_disk_that_fails(self) -> None:
        """What can't be written yet is written later; stopping waits for it, and the message keeps its claim."""
        answers = self.world.hang("a.test")
        located: Deferred[Destination | Deferral | Failure] = Deferred()
        self.world.destinations.delayed["a.test"] = located
        message = self.world.send("x@a.test", expanded=[self.TEAM])
        self.world.break_disk()
        located.callback(Destination(NextHop(Transport.MX), "a.test"))
        self.world.settle()
        answers["a.test"].callback({parse_address("x@a.test"): FINAL})
        self.world.settle()
        self.assertEqual([], self.world.told())
        stopped = self.world.manager.stop()
        self.assertNoResult(stopped)
        self.world.mend_disk()
        self.world.advance(10, step=1)
        self.successResultOf(stopped)
        self.assertEqual([("team@home.test", "expanded")], self.world.told())
        self.assertEqual(1, self.world.kinds(message).count("delivered"))


class DoubleBounceTests(ReportCase):
    def setUp(self) -> None:
        super().setUp()
        self.world.bouncer = replace(self.world.bouncer, double_bounce=POSTMASTER)
        self.world.restart()

    def test_report_that_fails(self) -> None:
        """A report that can't be delivered goes to who looks after such, with itself in it and a null sender."""
        self.answer(REFUSED)
        self.world.agent.answers["sender.test"] = lambda _delivery: REFUSED
        self.world.send("bob@a.test", content=BODY)
        self.assertEqual(
            ["a.test", "sender.test", "home.test"], [item.destination.site for item in self.world.agent.asked]
        )
        last = self.world.agent.asked[-1]
        self.assertEqual((None, (POSTMASTER,)), (last.sender, last.recipients))
        (double,) = self.world.reports()
        self.assertEqual([("alice@sender.test", "failed")], self.world.told())
        inner = list(double.iter_parts())[2].get_content()
        self.assertEqual("Undelivered Mail: bob@a.test", inner["Subject"])

    def test_ends_there(self) -> None:
        """A double bounce that fails, or is late, causes nothing more."""
        for outcome in (REFUSED, LATER):
            self.answer(outcome)
            self.world.agent.answers.clear()
            self.world.send(str(POSTMASTER), sender=None)
            self.world.advance(2 * DAY, step=600)
        self.assertEqual({"home.test"}, {item.destination.site for item in self.world.agent.asked})
        self.assertEqual(([], []), (self.world.queued(), self.world.told()))

    def test_nobody_named(self) -> None:
        """Without an address for double bounces the end is recorded, and that is all."""
        self.world.bouncer = replace(self.world.bouncer, double_bounce=None)
        self.world.restart()
        self.answer(REFUSED)
        message = self.world.send("bob@a.test", sender=None)
        self.assertEqual(([], ["accepted", "routed", "bounced"]), (self.world.queued(), self.world.kinds(message)))


class RateTests(ReportCase):
    def test_beyond_the_rate_nobody_is_told(self) -> None:
        """The third failure of an hour ends without a report, and its event says why; the next hour has its own."""
        self.world.bouncer = replace(self.world.bouncer, rate=ReportRate(2))
        self.world.restart()
        self.answer(REFUSED)
        messages = [self.world.send("bob@a.test") for _ in range(3)]
        other = self.world.send("bob@a.test", sender=parse_address("eve@sender.test"))
        self.assertEqual(3, len(self.world.reports()))
        (detail,) = self.world.details(messages[2], "bounced")
        self.assertIsNone(detail["dsn"])
        self.assertIn("(no report: alice@sender.test gets at most 2 an hour)", str(detail["reason"]))
        (detail,) = self.world.details(other, "bounced")
        self.assertIsNotNone(detail["dsn"])
        self.world.advance(2 * HOUR, step=300)
        self.world.send("bob@a.test")
        self.assertEqual(4, len(self.world.reports()))

    def test_never_more_than_that_in_an_hour(self) -> None:
        """A steady flood gets the rate in each hour, also over the change of hours and a clock that is set back."""
        rate = ReportRate(10)
        admitted = [now for now in range(0, 5 * 3600, 7) if rate.admit(ALICE, START + now)]
        for begin in range(0, 4 * 3600, 60):
            self.assertLessEqual(sum(begin <= now < begin + 3600 for now in admitted), 11)
        self.assertGreaterEqual(len(admitted), 45)
        self.assertTrue(ReportRate(0).admit(ALICE, 0.0))
        self.assertTrue(all(rate.admit(ALICE, START - DAY) for _ in range(10)))
        self.assertFalse(rate.admit(ALICE, START - DAY))

    def test_memory_is_bounded(self) -> None:
        """However many senders are invented, only so many are remembered, the latest."""
        rate = ReportRate(1)
        for number in range(MAX_ADDRESSES + 10):
            rate.admit(replace(ALICE, local=f"u{number}"), START)
        self.assertLessEqual(len(rate._counts), MAX_ADDRESSES)
        self.assertFalse(rate.admit(replace(ALICE, local="u100"), START))


@implementer(IContent)
class Unreadable:
    """Content that is not there any more."""

    size = 7

    def whole(self) -> bytes | None:
        return None

    def chunk(self, index: int) -> Deferred[bytes]:
        return fail(SpoolError(f"chunk {index} is gone"))


class MissingOriginalTests(ReportCase):
    def test_report_without_it(self) -> None:
        """An original that can't be read any more does not keep the sender from being told."""
        self.answer(REFUSED)
        self.world.spool.content = lambda _entry: Unreadable()  # type: ignore
        self.world.send("bob@a.test")
        (report,) = self.world.reports()
        self.assertEqual(2, len(list(report.iter_parts())))
