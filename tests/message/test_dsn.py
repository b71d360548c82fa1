"""The reports to senders, read back with the email package, field by field."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address
from mta.envelope import Recipient
from mta.message import dsn_samples, dsn_text
from mta.message.dsn_status import Action, ReportedMessage, ReportedRecipient
from mta.message.quoted_printable import to_seven_bit
from mta.message.templates import Notice, load
from mta.outcome import Deferral, Delivered, Failure, Handover, Outcome, Phase
from mta.reply import Reply
from tests.message.reports import (
    ALICE,
    BOB,
    EXPIRED,
    HOST,
    MESSAGE,
    REFUSED,
    REPLY,
    failed,
    parsed,
    parts,
    report,
    status,
)


class HeaderTests(SynchronousTestCase):
    def test_fields(self) -> None:
        """RFC 3464 2, RFC 3834 5: who, to whom, and marked so that no program answers it."""
        message = parsed(report())
        table = {
            "From": "Mail Delivery System <postmaster@mx.example.org>",
            "To": "alice@a.test",
            "Subject": "Undelivered Mail: bob@b.test",
            "Date": "Sun, 19 Nov 2023 22:13:20 +0000",
            "Message-ID": "<06ABCDEFGHJKN@mx.example.org>",
            "In-Reply-To": "<1@a.test>",
            "References": "<1@a.test>",
            "Auto-Submitted": "auto-replied",
            "MIME-Version": "1.0",
        }
        for name, value in table.items():
            self.assertEqual(message.get_all(name), [value])
        self.assertEqual(message.get_content_type(), "multipart/report")
        self.assertEqual(message.get_param("report-type"), "delivery-status")

    def test_three_parts(self) -> None:
        """RFC 6522 3: a text for people, the status for programs, and the original."""
        kinds = [part.get_content_type() for part in parts(report())]
        self.assertEqual(kinds, ["text/plain", "message/delivery-status", "message/rfc822"])
        self.assertEqual(parsed(report()).defects, [])

    def test_no_message_id(self) -> None:
        """An original without a proper Message-ID leads to no reference: its text must not come into our fields."""
        for value in (b"", b"Message-ID: none\r\n", b"Message-ID: <a b@c>\r\n", b"Message-ID: <a@b> <c@d>\r\n"):
            message = parsed(report(original=b"Subject: x\r\n" + value + b"\r\nbody\r\n"))
            self.assertIsNone(message["References"], value)

    def test_reproducible(self) -> None:
        """The same arguments make the same bytes; nothing is left to chance."""
        self.assertEqual(report(), report())
        self.assertNotEqual(parsed(report())["Message-ID"], parsed(report(report_id="other"))["Message-ID"])


class TextTests(SynchronousTestCase):
    def test_failure(self) -> None:
        """The text names the recipient, quotes the reason and says what to do."""
        text = " ".join(parts(report())[0].get_content().split())
        for expected in (
            "mail system at mx.example.org",
            "<bob@b.test> mx.b.test[192.0.2.25]:25 said",
            "No such user Look",
            "Please check",
        ):
            self.assertIn(expected, text)

    def test_expired(self) -> None:
        """An expired recipient's text says since when it was tried, and what came of the last attempt."""
        text = " ".join(parts(report(failed(BOB, EXPIRED, 1.0)))[0].get_content().split())
        self.assertIn("sent on 2023-11-14 22:13 UTC", text)
        self.assertIn("again and again since then, without success", text)
        self.assertIn("<bob@b.test> cannot connect to mx.c.test[192.0.2.3]:25: timed out", text)

    def test_every_action(self) -> None:
        """Each action has its own text and subject; of several the gravest has the subject, and all have a text."""
        delivered = Delivered("mail/bob/Maildir")
        relayed = Delivered(HOST, Reply(250, ("Ok",)), Phase.END_OF_DATA, Handover.RELAYED)
        table: dict[Action, tuple[Outcome | None, str, str]] = {
            Action.FAILED: (REFUSED, "Undelivered Mail: bob@b.test", "could not be delivered"),
            Action.DELAYED: (EXPIRED, "Delayed Mail: bob@b.test", "will be tried until 1970-01-02 00:00 UTC"),
            Action.RELAYED: (relayed, "Relayed Mail: bob@b.test", "handed to the next mail system"),
            Action.EXPANDED: (None, "Mail to several: bob@b.test", "stand for several recipients"),
            Action.DELIVERED: (delivered, "Delivered Mail: bob@b.test", "was delivered to the mailboxes"),
        }
        everything: list[ReportedRecipient] = []
        for action, (outcome, subject, words) in table.items():
            reported = ReportedRecipient(Recipient(BOB), action, outcome, 1.0, 86_400.0)
            wire = report(reported)
            self.assertEqual(parsed(wire)["Subject"], subject)
            self.assertIn(words, " ".join(parts(wire)[0].get_content().split()))
            self.assertEqual(status(wire)[1]["Action"], action.value)
            self.assertNotIn(b"Maildir", wire)
            everything.insert(0, reported)
        wire = report(*everything)
        self.assertEqual(parsed(wire)["Subject"], "Undelivered Mail: bob@b.test")
        text = " ".join(parts(wire)[0].get_content().split())
        found = [text.index(words) for _outcome, _subject, words in table.values()]
        self.assertEqual(sorted(found), found)

    def test_languages(self) -> None:
        """All configured languages stand one below the other, in their order; the subject is in the first."""
        wire = report(languages=("de", "en"))
        text = " ".join(parts(wire)[0].get_content().split())
        self.assertLess(text.index("Empfängern nicht zugestellt werden"), text.index("could not be delivered"))
        self.assertEqual(text.count("<bob@b.test>"), 2)
        self.assertEqual(parts(wire)[0]["Content-Language"], "de, en")
        self.assertEqual(parsed(wire)["Subject"], "Unzustellbar: bob@b.test")
        self.assertTrue(wire.isascii())

    def test_whom_in_the_text(self) -> None:
        """An operator's text may name the first recipient."""
        (english,) = load(("en",))
        notices = {**english.notices, "refused": Notice("No: $whom", ("It is $whom.", "$recipients"))}
        text = dsn_text.explanation(
            [replace(english, notices=notices)],
            reporting_mta="mx.example.org",
            report_from=BOB,
            message=MESSAGE,
            recipients=[failed(BOB, REFUSED, 1.0)],
            is_double=False,
        )
        self.assertIn("\n\nIt is bob@b.test.\n\n<bob@b.test>\n", text)

    def test_address_as_the_sender_wrote_it(self) -> None:
        """Where an alias led elsewhere the text names the address that the sender knows, too."""
        recipient = Recipient(BOB, None, "rfc822;sales@a.test")
        text = parts(report(ReportedRecipient(recipient, Action.FAILED, REFUSED, 1.0)))[0].get_content()
        self.assertIn("\r\n<bob@b.test> (sales@a.test)\r\n", text)
        same = Recipient(BOB, None, "rfc822;bob@b.test")
        self.assertIn(
            "\r\n<bob@b.test>\r\n",
            parts(report(ReportedRecipient(same, Action.FAILED, REFUSED, 1.0)))[0].get_content(),
        )

    def test_double_bounce(self) -> None:
        """A report that failed is explained to who looks after such, with the report in it; no sender is named."""
        postmaster = Address("postmaster", "example.org")
        wire = report(
            message=ReportedMessage("06ABCDEFGHJKM", 0.0, None), to=postmaster, original=report(), is_double=True
        )
        self.assertEqual(parsed(wire)["To"], "postmaster@example.org")
        self.assertEqual(parsed(wire)["Subject"], "Double Bounce: bob@b.test")
        self.assertIn("has no return path", parts(wire)[0].get_content())
        self.assertNotIn("X-MTA-Sender", status(wire)[0])
        inner = parts(wire)[2].get_content()
        self.assertEqual(inner["Subject"], "Undelivered Mail: bob@b.test")

    def test_other_languages(self) -> None:
        """A reply in UTF-8 is readable in the text, and the report still has 7 bits."""
        outcome = Failure("b said: 550 Ящик переполнен", Phase.RCPT, HOST, Reply(550, ("Ящик переполнен",)), "5.2.2")
        wire = report(failed(BOB, outcome, 1.0))
        self.assertTrue(wire.isascii())
        self.assertIn("Ящик переполнен", parts(wire)[0].get_content())


class StatusTests(SynchronousTestCase):
    def test_message_fields(self) -> None:
        """RFC 3464 2.2: the reporting MTA, and when the message arrived."""
        group = status(report())[0]
        self.assertEqual(
            group.items(),
            [
                ("Reporting-MTA", "dns; mx.example.org"),
                ("Received-From-MTA", "dns; client.a.test"),
                ("Arrival-Date", "Tue, 14 Nov 2023 22:13:20 +0000"),
                ("X-MTA-Queue-ID", "06ABCDEFGHJKM"),
                ("X-MTA-Sender", "rfc822; alice@a.test"),
            ],
        )
        named = ReportedMessage("06ABCDEFGHJKM", 0.0, ALICE, "", "QQ 314=159")
        group = status(report(message=named))[0]
        self.assertEqual(group["Original-Envelope-Id"], "QQ 314=159")  # RFC 3461 6.3: decoded
        self.assertNotIn("Received-From-MTA", group)

    def test_all_recipient_fields(self) -> None:
        """RFC 3464 2.3: every field of a delayed recipient, and of the ones that a sender asked to be confirmed."""
        busy = Reply(452, ("Mailbox full", "try later"), "4.2.2")
        deferral = Deferral("x", Phase.RCPT, host=HOST, reply=busy, enhanced="4.2.2")
        bob = Recipient(BOB, None, "rfc822;robert+x@old.test")
        delayed = ReportedRecipient(bob, Action.DELAYED, deferral, 1_700_000_060.0, 1_700_432_000.0)
        head = [("Original-Recipient", "rfc822; robert+x@old.test"), ("Final-Recipient", "rfc822; bob@b.test")]
        attempted = ("Last-Attempt-Date", "Tue, 14 Nov 2023 22:14:20 +0000")
        log_id = ("Final-Log-ID", "06ABCDEFGHJKM")
        self.assertEqual(
            status(report(delayed))[1].items(),
            [
                *head,
                ("Action", "delayed"),
                ("Status", "4.2.2"),
                ("Remote-MTA", "dns; mx.b.test"),
                ("Diagnostic-Code", "smtp; 452-4.2.2 Mailbox full    452 4.2.2 try later"),
                attempted,
                ("Will-Retry-Until", "Sun, 19 Nov 2023 22:13:20 +0000"),
            ],
        )
        vague = ReportedRecipient(bob, Action.DELAYED, EXPIRED, None, 1.0)
        self.assertEqual(status(report(vague))[1]["Status"], "4.0.0")
        taken = Reply(250, ("Ok",), "2.1.5")
        relayed = Delivered(HOST, taken, Phase.END_OF_DATA, Handover.RELAYED)
        self.assertEqual(
            status(report(ReportedRecipient(bob, Action.RELAYED, relayed, 1_700_000_060.0)))[1].items(),
            [
                *head,
                ("Action", "relayed"),
                ("Status", "2.1.5"),
                ("Remote-MTA", "dns; mx.b.test"),
                ("Diagnostic-Code", "smtp; 250 2.1.5 Ok"),
                attempted,
            ],
        )
        for enhanced in (None, "4.2.2", "5.1.1"):  # no class that contradicts the reply
            odd = replace(relayed, reply=Reply(250, ("Ok",), enhanced))
            self.assertEqual(status(report(ReportedRecipient(bob, Action.RELAYED, odd)))[1]["Status"], "2.0.0")
        delivered = ReportedRecipient(bob, Action.DELIVERED, Delivered("mail/bob"), 1_700_000_060.0)
        self.assertEqual(
            status(report(delivered))[1].items(),
            [*head, ("Action", "delivered"), ("Status", "2.0.0"), attempted, log_id],
        )
        expanded = ReportedRecipient(bob, Action.EXPANDED)
        self.assertEqual(
            status(report(expanded))[1].items(), [*head, ("Action", "expanded"), ("Status", "2.0.0"), log_id]
        )

    def test_refused(self) -> None:
        """RFC 3464 2.3: a peer's refusal with its host and its raw reply."""
        self.assertEqual(
            status(report())[1].items(),
            [
                ("Final-Recipient", "rfc822; bob@b.test"),
                ("Action", "failed"),
                ("Status", "5.1.1"),
                ("Remote-MTA", "dns; mx.b.test"),
                ("Diagnostic-Code", "smtp; 550-5.1.1 No such user    550 5.1.1 Look elsewhere"),
                ("Last-Attempt-Date", "Tue, 14 Nov 2023 22:14:20 +0000"),
            ],
        )
        # RFC 3461 9.2: as it was received, so each line of it stands on its own.
        self.assertIn(b"smtp; 550-5.1.1 No such user\r\n    550 5.1.1 Look elsewhere\r\n", report())

    def test_original_recipient(self) -> None:
        """RFC 3461 6.3 (d): Original-Recipient is ORCPT, and not there without one; people read of an alias anyway."""
        member = Recipient(BOB, named="team@b.test")
        for recipient, field, words in (
            (Recipient(BOB), None, "<bob@b.test>\r\n"),
            (member, None, "<bob@b.test> (team@b.test)\r\n"),
            (replace(member, orcpt="rfc822;old@b.test"), "rfc822; old@b.test", "<bob@b.test> (old@b.test)\r\n"),
        ):
            wire = report(ReportedRecipient(recipient, Action.FAILED, REFUSED, 1_700_000_060.0))
            self.assertEqual(field, status(wire)[1]["Original-Recipient"])
            self.assertIn(words, parts(wire)[0].get_content())

    def test_expired(self) -> None:
        """RFC 3463 3.5: 4.4.7 where the last deferral has no code of its own; no words of ours pass for SMTP."""
        group = status(report(failed(BOB, EXPIRED, 1.0)))[1]
        self.assertEqual(group["Status"], "4.4.7")
        self.assertEqual(group["Diagnostic-Code"], f"x-mta; {EXPIRED.reason}")
        self.assertIsNone(group["Remote-MTA"])
        # RFC 3464 2.3.8: no other MTA had it, so that the log to look into is ours.
        self.assertEqual(group["Final-Log-ID"], "06ABCDEFGHJKM")
        deferred = Deferral("full", Phase.RCPT, host=HOST, reply=Reply(452, ("full",), "4.2.2"), enhanced="4.2.2")
        self.assertEqual(status(report(failed(BOB, deferred, 1.0)))[1]["Status"], "4.2.2")

    def test_remote_mta(self) -> None:
        """RFC 3461 9.3: a host is a name, or an address in brackets where it has none; a socket is no host."""
        table = {
            HOST: "mx.b.test",
            "127.0.0.1[127.0.0.1]:2501": "[127.0.0.1]",
            "[2001:db8::1]:25": "[2001:db8::1]",
            "/run/dovecot/lmtp": None,
            "lmtp.socket": None,
            "": None,
        }
        for host, name in table.items():
            outcome = Failure("no", Phase.RCPT, host, REPLY)
            group = status(report(failed(BOB, outcome, 1.0)))[1]
            self.assertEqual(group["Remote-MTA"], name and f"dns; {name}")
            self.assertTrue(group["Diagnostic-Code"].startswith("smtp; 550"))

    def test_many(self) -> None:
        """Each recipient has its group, in order; the subject counts them."""
        failures = [failed(Address(f"u{number}", "b.test"), REFUSED, 1.0) for number in range(200)]
        wire = report(*failures)
        self.assertEqual(
            [group["Final-Recipient"] for group in status(wire)[1:]],
            [f"rfc822; u{number}@b.test" for number in range(200)],
        )
        self.assertEqual(parsed(wire)["Subject"], "Undelivered Mail: u0@b.test (+199)")
        self.assertEqual(parsed(report(*failures[:2]))["Subject"], "Undelivered Mail: u0@b.test (+1)")

    def test_spaces_survive(self) -> None:
        """Folding changes no address: unfolded, every space is still there (RFC 5322 2.2.3)."""
        address = Address("a  b " * 12, "b.test")
        for line in report(failed(address, REFUSED, 1.0)).split(b"\r\n\r\n")[4].split(b"\r\n"):
            self.assertLessEqual(len(line), 78)
        wire = report(failed(address, REFUSED, 1.0)).replace(b"\r\n ", b" ")
        self.assertIn(f"\r\nFinal-Recipient: rfc822; {address}\r\n".encode(), wire)


class PageTests(SynchronousTestCase):
    def test_page_is_current(self) -> None:
        """docs/dsn.md shows what the program writes now."""
        path = Path(__file__).parent.parent.parent / "docs" / "dsn.md"
        self.assertEqual(path.read_text(encoding="utf-8"), dsn_samples.page())


class HostileTests(SynchronousTestCase):
    URSULA = Address("ürsula", "a.test")

    def test_reply(self) -> None:
        """A reply with line ends, controls and no end adds no field, no part, and no long line."""
        text = "no\r\n\r\nAction: delivered\r\n--=_06ABCDEFGHJKN.0--\r\nX: \0\x1b\u2028" + "z" * 10_240
        outcome = Failure(text, Phase.RCPT, text, Reply(550, (text, text), "5.1.1"))
        for item in (outcome, Deferral(text, Phase.RCPT, host=text)):
            wire = report(failed(BOB, item, 1.0))
            self.assertEqual(len(parts(wire)), 3)
            self.assertEqual([group["Action"] for group in status(wire)], [None, "failed"])
            self.assertTrue(all(len(line) <= 998 for line in wire.split(b"\r\n")))
            self.assertLess(len(wire), 10_000)

    @settings(max_examples=60, deadline=None, derandomize=True)
    @given(st.text(), st.text(max_size=80), st.binary(max_size=3000), st.booleans(), st.booleans(), st.text())
    def test_structure(self, text: str, local: str, original: bytes, whole: bool, utf8: bool, said: str) -> None:
        """Whatever the reply, the addresses, the names and the original: three parts, good lines, all groups."""
        outcome = Failure(text, Phase.RCPT, text, Reply(550, (text, said)))
        recipient = Recipient(Address(local, "b.test"), None, f"rfc822;{said}")
        reported = [
            ReportedRecipient(recipient, Action.FAILED, outcome, 1.0),
            ReportedRecipient(recipient, Action.DELAYED, Deferral(text, Phase.DATA, host=said), 1.0, 2.0),
            ReportedRecipient(recipient, Action.RELAYED, Delivered(said, outcome.reply), 1.0),
        ]
        message = ReportedMessage("1", 0.0, Address(local, "a.test"), said, said)
        to = self.URSULA if utf8 else ALICE
        for languages in (("en",), ("de", "en")):
            wire = report(*reported, original=original, whole=whole, message=message, languages=languages, to=to)
            if not utf8:
                self.assertTrue(to_seven_bit(wire).isascii())
            self.assertEqual(len(parts(wire)), 3)
            # The email package does not look into message/global-delivery-status: as if it were the other.
            plain = wire.replace(b"message/global-delivery-status", b"message/delivery-status", 1)
            self.assertEqual([group["Action"] for group in status(plain)], [None, "failed", "delayed", "relayed"])
            self.assertTrue(all(len(line) <= 998 for line in wire.split(b"\r\n")))
            self.assertEqual((wire.count(b"\r"), wire.count(b"\n")), (wire.count(b"\r\n"),) * 2)

    def test_long_international_words(self) -> None:
        """RFC 6532 3.4: a line has 998 octets at most, however many characters they make."""
        text = "\U0001f4e7" * 1500
        outcome = Failure(text, Phase.RCPT, text, Reply(550, (text,)))
        for to in (ALICE, self.URSULA):
            wire = report(failed(BOB, outcome, 1.0), message=ReportedMessage("1", 0.0, ALICE, text, text), to=to)
            self.assertTrue(all(len(line) <= 998 for line in wire.split(b"\r\n")))
            self.assertEqual(wire.decode().count("Action: failed"), 1)
