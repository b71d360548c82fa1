"""Who is told what, when, and with which part of the original."""

from __future__ import annotations

from dataclasses import replace
from email.message import EmailMessage
from itertools import combinations

from twisted.internet.defer import Deferred, fail
from zope.interface import implementer

from mta.address import Address, parse_address
from mta.envelope import Body, Notify, Recipient, Ret
from mta.ids import parse_id, spell
from mta.interfaces import IContent
from mta.message.trace import received
from mta.outcome import Outcome
from mta.spool import SpoolError
from mta.spool.schema import CHUNK_SIZE
from tests.queue.reporting import BODY, DAY, FINAL, HOUR, PASSED_ON, RELAYED, ReportCase
from tests.queue.world import LATER, REFUSED, SILENT, START, notified


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
        (origin,) = self.world.details(self.report_id(report), "accepted")
        self.assertEqual(("bounce", whole["X-MTA-Queue-ID"]), (origin["protocol"], origin["of"]))

    def report_id(self, report: EmailMessage) -> int:
        """The queue id of a report."""
        return parse_id(report["Message-ID"][1:].partition("@")[0])

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

    def test_received_from_nobody(self) -> None:
        """A Received field of ours that names no client says nothing of one."""
        self.answer(REFUSED)
        field = f"Received: by mx.example.org (local user) id {self.next_id()};\r\n\tdate\r\n".encode()
        self.world.send("bob@a.test", content=field + BODY)
        self.assertNotIn("Received-From-MTA", self.world.statuses()[0][0])

    def test_last_attempt(self) -> None:
        """RFC 3464 2.3.7, 2.3.9: the time of an attempt, where one was made, and of the last one to come of a delay."""
        self.answer(LATER)
        self.world.send(
            notified("bob@a.test", Notify.DELAY, Notify.FAILURE), expanded=[notified("team@home.test", Notify.SUCCESS)]
        )
        self.world.advance(5 * HOUR, step=300)
        self.answer(REFUSED)
        self.world.advance(2 * HOUR, step=300)
        expanded, delayed, failed = (groups[1] for groups in self.world.statuses())
        self.assertEqual(
            [None, "Mon, 12 Jan 1970 18:01:40 +0000", "Mon, 12 Jan 1970 19:01:40 +0000"],
            [group["Last-Attempt-Date"] for group in (expanded, delayed, failed)],
        )
        self.assertEqual([False, True, False], ["Will-Retry-Until" in group for group in (expanded, delayed, failed)])

    def next_id(self) -> str:
        """The text of the queue id that `World.send` gives next."""
        following = self.world.manager.new_id()
        self.world.manager.new_id = lambda: following  # type: ignore[method-assign]
        return spell(following)

    def test_what_of_the_original_returns(self) -> None:
        """RFC 3461 4.3, 6.2: RET with each size and each kind of report; binary content never returns."""
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
            part = list(report.iter_parts())[2]
            self.assertEqual(expected, part.get_content_type(), (outcome, ret, body))
            if expected == "message/rfc822":
                self.assertEqual("x\r\n", part.get_content().get_payload())

    def test_exactly_as_large(self) -> None:
        """A message of `full_below` octets returns whole, one of an octet more as its headers; chunks never do."""
        table = (
            (50_000, 50_000, "message/rfc822"),
            (50_000, 50_001, "text/rfc822-headers"),
            (1 << 20, 200_000, "message/rfc822"),
            (1 << 20, CHUNK_SIZE + 1, "text/rfc822-headers"),  # only the first chunk is at hand
        )
        for full_below, size, expected in table:
            self.setUp()
            self.world.bouncer = replace(self.world.bouncer, full_below=full_below)
            self.world.restart()
            self.answer(REFUSED)
            filling = (b"x" * 62 + b"\r\n") * (size // 64)
            self.world.send("bob@a.test", content=(BODY + filling)[: size - 2] + b"\r\n")
            part = list(self.world.reports()[0].iter_parts())[2]
            self.assertEqual(expected, part.get_content_type(), (full_below, size))

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
        # RFC 3464 2.3.7: of one that only waited, no time of an attempt.
        attempted = ["Last-Attempt-Date" in groups[1] for groups in self.world.statuses()]
        self.assertEqual({True, False}, set(attempted))
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
