"""The failure report, read back with the email package, field by field."""

from __future__ import annotations

from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import cast

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address
from mta.message.dsn import FailedRecipient, OriginalContent, failure_report
from mta.outcome import Deferral, Failure, Phase
from mta.reply import Reply

HOST = "mx.b.test[192.0.2.25]:25"
REPLY = Reply(550, ("No such user", "Look elsewhere"), "5.1.1")
REFUSED = Failure(f"{HOST} said: {REPLY}", Phase.RCPT, HOST, REPLY, "5.1.1")
EXPIRED = Deferral("cannot connect to mx.c.test[192.0.2.3]:25: timed out", Phase.CONNECT)
BOB = Address("bob", "b.test")
ORIGINAL = b"From: alice@a.test\r\nSubject: hello\r\nMessage-ID: <1@a.test>\r\n\r\nHello, Bob\r\n"


def report(
    *failures: FailedRecipient, original: bytes | None = ORIGINAL, whole: bool = True, report_id: str = "06ABCDEFGHJKN"
) -> bytes:
    return failure_report(
        reporting_mta="mx.example.org",
        queue_id="06ABCDEFGHJKM",
        report_id=report_id,
        arrived=1_700_000_000.0,
        now=1_700_432_000.0,
        sender=Address("alice", "a.test"),
        report_from=Address("postmaster", "mx.example.org"),
        failures=failures or (FailedRecipient(BOB, REFUSED, 1_700_000_060.0),),
        original=None if original is None else OriginalContent(original, whole),
    )


def parsed(wire: bytes) -> EmailMessage:
    return message_from_bytes(wire, policy=policy.default)


def parts(wire: bytes) -> list[EmailMessage]:
    return [cast(EmailMessage, part) for part in parsed(wire).iter_parts()]


def status(wire: bytes) -> list[EmailMessage]:
    """The groups of fields of the message/delivery-status part: the message's own, then one for each recipient."""
    return cast(list[EmailMessage], parts(wire)[1].get_payload())


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
        """An expired recipient's text says for how long it was tried."""
        text = parts(report(FailedRecipient(BOB, EXPIRED, 1.0)))[0].get_content()
        self.assertIn("tried for 5 days without success", " ".join(text.split()))

    def test_what_is_attached(self) -> None:
        """The text speaks of the original as it is attached, or not at all."""
        self.assertIn("then your message.", parts(report())[0].get_content())
        self.assertIn("then the headers of your message.", parts(report(whole=False))[0].get_content())
        self.assertIn("for programs.", parts(report(original=None))[0].get_content())

    def test_other_languages(self) -> None:
        """A reply in UTF-8 is readable in the text, and the report still has 7 bits."""
        outcome = Failure("b said: 550 Ящик переполнен", Phase.RCPT, HOST, Reply(550, ("Ящик переполнен",)), "5.2.2")
        wire = report(FailedRecipient(BOB, outcome, 1.0))
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
                ("X-MTA-Queue-ID", "06ABCDEFGHJKM"),
                ("X-MTA-Sender", "rfc822; alice@a.test"),
                ("Arrival-Date", "Tue, 14 Nov 2023 22:13:20 +0000"),
            ],
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
                ("Diagnostic-Code", "smtp; 550 5.1.1 No such user Look elsewhere"),
                ("Last-Attempt-Date", "Tue, 14 Nov 2023 22:14:20 +0000"),
            ],
        )

    def test_expired(self) -> None:
        """RFC 3463 3.5: 4.4.7 where the last deferral has no code of its own; no words of ours pass for SMTP."""
        group = status(report(FailedRecipient(BOB, EXPIRED, 1.0)))[1]
        self.assertEqual(group["Status"], "4.4.7")
        self.assertEqual(group["Diagnostic-Code"], f"x-mta; {EXPIRED.reason}")
        self.assertIsNone(group["Remote-MTA"])
        deferred = Deferral("full", Phase.RCPT, host=HOST, reply=Reply(452, ("full",), "4.2.2"), enhanced="4.2.2")
        self.assertEqual(status(report(FailedRecipient(BOB, deferred, 1.0)))[1]["Status"], "4.2.2")

    def test_remote_mta(self) -> None:
        """RFC 3464 2.1.2: a host is a name, or an address in brackets where it has none."""
        table = {
            HOST: "mx.b.test",
            "127.0.0.1[127.0.0.1]:2501": "[127.0.0.1]",
            "[2001:db8::1]:25": "[2001:db8::1]",
            "odd": "odd",
        }
        for host, name in table.items():
            outcome = Failure("no", Phase.RCPT, host, REPLY)
            self.assertEqual(status(report(FailedRecipient(BOB, outcome, 1.0)))[1]["Remote-MTA"], f"dns; {name}")

    def test_many(self) -> None:
        """Each recipient has its group, in order; the subject counts them."""
        failures = [FailedRecipient(Address(f"u{number}", "b.test"), REFUSED, 1.0) for number in range(200)]
        wire = report(*failures)
        self.assertEqual(
            [group["Final-Recipient"] for group in status(wire)[1:]],
            [f"rfc822; u{number}@b.test" for number in range(200)],
        )
        self.assertEqual(parsed(wire)["Subject"], "Undelivered Mail: 200 recipients")

    def test_spaces_survive(self) -> None:
        """Folding changes no address: unfolded, every space is still there (RFC 5322 2.2.3)."""
        address = Address("a  b " * 12, "b.test")
        for line in report(FailedRecipient(address, REFUSED, 1.0)).split(b"\r\n\r\n")[4].split(b"\r\n"):
            self.assertLessEqual(len(line), 78)
        wire = report(FailedRecipient(address, REFUSED, 1.0)).replace(b"\r\n ", b" ")
        self.assertIn(f"\r\nFinal-Recipient: rfc822; {address}\r\n".encode(), wire)


class OriginalTests(SynchronousTestCase):
    def test_whole(self) -> None:
        """RFC 6522 3: the whole original, octet for octet."""
        wire = report()
        self.assertIn(b"\r\nContent-Type: message/rfc822\r\nContent-Transfer-Encoding: 7bit\r\n\r\n" + ORIGINAL, wire)

    def test_eight_bit(self) -> None:
        """RFC 2045 6.4: 8-bit content is declared on its part and on the whole, and only then."""
        wire = report(original=b"Subject: x\r\n\r\n\xc3\xa4\r\n")
        self.assertEqual(parsed(wire)["Content-Transfer-Encoding"], "8bit")
        self.assertEqual([part["Content-Transfer-Encoding"] for part in parts(wire)], ["7bit", "7bit", "8bit"])
        self.assertEqual(parsed(report())["Content-Transfer-Encoding"], "7bit")

    def test_headers_only(self) -> None:
        """RFC 6522 4: of a large original only the headers, whatever of the body was handed over."""
        part = parts(report(whole=False))[2]
        self.assertEqual(part.get_content_type(), "text/rfc822-headers")
        self.assertIn("Subject: hello", part.get_content())
        self.assertNotIn(b"Hello, Bob", report(whole=False))

    def test_missing(self) -> None:
        """An original that can't be read is left out: RFC 6522 3 makes the third part optional."""
        self.assertEqual(len(parts(report(original=None))), 2)

    def test_line_ends(self) -> None:
        """RFC 5321 2.3.8: no lone CR or LF leaves us, no NUL, no line above 998 octets; a field stays one field."""
        wire = report(original=b"X: a\rEvil: b\nSubject: \0" + b"y" * 5000 + b"\r\n\r\nend")
        for line in wire.split(b"\r\n"):
            self.assertLessEqual(len(line), 998)
        self.assertEqual((wire.count(b"\r"), wire.count(b"\n")), (wire.count(b"\r\n"),) * 2)
        self.assertNotIn(b"\0", wire)
        self.assertNotIn(b"\nEvil:", wire)
        self.assertTrue(wire.endswith(b"\r\n"))
        original = cast(EmailMessage, parts(wire)[2].get_content())
        self.assertEqual(original.keys(), ["X", "Subject"])

    def test_boundary(self) -> None:
        """RFC 2046 5.1.1: an original that holds the boundary, a report of ours for example, gets another one."""
        inner = report()
        wire = report(original=inner)
        self.assertEqual(len(parts(wire)), 3)
        self.assertIn(inner, wire)


class HostileTests(SynchronousTestCase):
    def test_reply(self) -> None:
        """A reply with line ends, controls and no end adds no field, no part, and no long line."""
        text = "no\r\n\r\nAction: delivered\r\n--=_06ABCDEFGHJKN.0--\r\nX: \0\x1b\u2028" + "z" * 10_240
        outcome = Failure(text, Phase.RCPT, text, Reply(550, (text, text), "5.1.1"))
        for item in (outcome, Deferral(text, Phase.RCPT, host=text)):
            wire = report(FailedRecipient(BOB, item, 1.0))
            self.assertEqual(len(parts(wire)), 3)
            self.assertEqual([group["Action"] for group in status(wire)], [None, "failed"])
            self.assertTrue(all(len(line) <= 998 for line in wire.split(b"\r\n")))
            self.assertLess(len(wire), 10_000)

    @settings(max_examples=60, deadline=None, derandomize=True)
    @given(st.text(), st.text(max_size=80), st.binary(max_size=3000), st.booleans())
    def test_structure(self, text: str, local: str, original: bytes, whole: bool) -> None:
        """Whatever the reply, the address and the original: three parts, good lines, one group for the recipient."""
        outcome = Failure(text, Phase.RCPT, text, Reply(550, (text,)))
        wire = report(FailedRecipient(Address(local, "b.test"), outcome, 1.0), original=original, whole=whole)
        self.assertEqual(len(parts(wire)), 3)
        self.assertEqual([group["Action"] for group in status(wire)], [None, "failed"])
        self.assertTrue(all(len(line) <= 998 for line in wire.split(b"\r\n")))
        self.assertEqual((wire.count(b"\r"), wire.count(b"\n")), (wire.count(b"\r\n"),) * 2)
