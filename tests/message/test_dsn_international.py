"""Reports on international mail (RFC 6533): to whom in which characters, and the original in them."""

from __future__ import annotations

import quopri

from twisted.trial.unittest import SynchronousTestCase

from mta import xtext
from mta.address import Address
from mta.envelope import Recipient
from mta.message.dsn import report as dsn_report
from mta.message.dsn_status import Action, ReportedMessage, ReportedRecipient
from mta.message.quoted_printable import to_seven_bit
from mta.message.templates import load
from mta.outcome import Deferral, Failure, Phase
from mta.reply import Reply
from tests.message.reports import ALICE, BOB, EXPIRED, HOST, MESSAGE, REFUSED, failed, parsed, parts, report, status


class InternationalTests(SynchronousTestCase):
    JOSÉ = Address("josé", "b.test")
    URSULA = Address("ürsula", "a.test")
    ORIGINAL = "From: <josé@a.test>\r\nSubject: Grüße\r\nMessage-ID: <1@a.test>\r\n\r\nHallo =\r\n".encode()
    OUTCOME = Failure("b said: 550 Kein Empfänger", Phase.RCPT, HOST, Reply(550, ("Kein Empfänger da", "no")), "5.1.1")
    REFUSED = ReportedRecipient(Recipient(JOSÉ, None, "utf-8;jo\\ +é@alt.test"), Action.FAILED, OUTCOME, 1.0)

    def wire(self, to: Address, *about: ReportedRecipient, whole: bool = True, original: bytes = ORIGINAL) -> bytes:
        message = ReportedMessage("06ABCDEFGHJKM", 0.0, to)
        return report(*(about or (self.REFUSED,)), message=message, to=to, original=original, whole=whole)

    def returned(self, wire: bytes) -> bytes:
        """What the last part holds, decoded: the email package takes a message/global apart without that."""
        boundary = parsed(wire).get_boundary()
        assert boundary is not None
        head, _blank, body = wire.split(f"\r\n--{boundary}".encode())[3].partition(b"\r\n\r\n")
        return quopri.decodestring(body) if b": quoted-printable" in head else body

    def test_sender_with_smtputf8(self) -> None:
        """RFC 6533 4: who can be reached with SMTPUTF8 alone gets it all in UTF-8, and global types."""
        wire = self.wire(self.URSULA)
        self.assertEqual(
            [(part.get_content_type(), part["Content-Transfer-Encoding"]) for part in parts(wire)],
            [("text/plain", "8bit"), ("message/global-delivery-status", "8bit"), ("message/global", "8bit")],
        )
        self.assertIn("To: <ürsula@a.test>\r\n".encode(), wire)
        self.assertEqual(self.ORIGINAL, self.returned(wire))
        headers = self.wire(self.URSULA, whole=False)
        self.assertEqual(parts(headers)[2].get_content_type(), "message/global-headers")
        self.assertEqual(parts(headers)[2]["Content-Transfer-Encoding"], "8bit")
        self.assertEqual(self.ORIGINAL[: self.ORIGINAL.index(b"\r\n\r\n") + 2], self.returned(headers))

    def test_sender_with_smtputf8_fields(self) -> None:
        """RFC 6533 3: addresses of type utf-8 as they are, and the reply as it was."""
        text = self.wire(self.URSULA).decode()
        for line in (
            "X-MTA-Sender: utf-8; ürsula@a.test",
            "Original-Recipient: utf-8; jo\\ +é@alt.test",
            "Final-Recipient: utf-8; josé@b.test",
            "Diagnostic-Code: smtp; 550-Kein Empfänger da\r\n    550 no",
        ):
            self.assertIn(f"\r\n{line}\r\n", text)

    def test_ascii_sender(self) -> None:
        """RFC 6533 4.1: whose own address is ASCII gets 7 bits, whatever the recipients and the original are."""
        wire = self.wire(ALICE)
        self.assertTrue(wire.isascii())
        self.assertEqual(parsed(wire)["Content-Transfer-Encoding"], "7bit")
        self.assertEqual(parsed(wire).defects, [])
        self.assertEqual(
            [(part.get_content_type(), part["Content-Transfer-Encoding"]) for part in parts(wire)],
            [
                ("text/plain", "quoted-printable"),
                ("message/delivery-status", "7bit"),
                ("message/global", "quoted-printable"),
            ],
        )
        self.assertEqual(parsed(wire)["Subject"], "Undelivered Mail: josé@b.test")
        self.assertEqual(parsed(wire)["References"], "<1@a.test>")
        text = parts(wire)[0].get_content()
        self.assertIn("<josé@b.test> (jo\\ +é@alt.test)\r\n", text)
        self.assertIn("Kein Empfänger", text)
        self.assertEqual(self.ORIGINAL, self.returned(wire))

    def test_ascii_sender_fields(self) -> None:
        """RFC 6533 3: in message/delivery-status addresses are utf-8-addr-xtext; RFC 2047: the reply loses nothing."""
        whole, group = status(self.wire(ALICE))
        self.assertEqual(whole["X-MTA-Sender"], "rfc822; alice@a.test")
        kind, _semicolon, original = group["Original-Recipient"].partition("; ")
        self.assertEqual((kind, original), ("utf-8", r"jo\x{5C}\x{20}\x{2B}\x{E9}@alt.test"))
        self.assertEqual("jo\\ +é@alt.test", xtext.decode_utf8(original))
        self.assertEqual(group["Final-Recipient"], r"utf-8; jos\x{E9}@b.test")
        self.assertEqual("smtp; 550-Kein Empfänger da    550 no", group["Diagnostic-Code"])
        self.assertIn(b": smtp; 550-Kein =?utf-8?B?RW1wZsOkbmdlcg==?= da\r\n    550 no\r\n", self.wire(ALICE))
        deferral = Deferral("нет места", Phase.CONNECT)
        group = status(self.wire(ALICE, failed(self.JOSÉ, deferral, 1.0)))[1]
        self.assertEqual("x-mta; нет места", group["Diagnostic-Code"])

    def test_ascii_type_of_address(self) -> None:
        """An address of type utf-8 is embedded also where it is ASCII; other types stay as they came."""
        table = {"utf-8;a+b@c.test": r"utf-8; a\x{2B}b@c.test", "rfc822;a+b\\@c.test": "rfc822; a+b\\@c.test"}
        for orcpt, expected in table.items():
            reported = ReportedRecipient(Recipient(BOB, None, orcpt), Action.EXPANDED)
            self.assertEqual(expected, status(self.wire(ALICE, reported))[1]["Original-Recipient"])

    def test_longest_address(self) -> None:
        """However long RFC 6533 3 makes an address, it is one word on one line."""
        address = Address("é" * 32, ".".join(["b" * 60] * 4))
        wire = self.wire(ALICE, failed(address, EXPIRED, 1.0))
        expected = r"\x{E9}" * 32 + f"@{address.domain}"
        self.assertIn(f"\r\n {expected}\r\n".encode(), wire)
        self.assertEqual(f"utf-8; {expected}", status(wire)[1]["Final-Recipient"])

    def test_long_reply(self) -> None:
        """A reply too long for its field ends with a whole encoded word."""
        reply = Reply(550, ("ж" * 1900,), "5.1.1")
        wire = self.wire(ALICE, failed(BOB, Failure("no", Phase.RCPT, HOST, reply, "5.1.1"), 1.0))
        self.assertRegex(status(wire)[1]["Diagnostic-Code"], r"\Asmtp; 550 5\.1\.1 ж{400,}\Z")

    def test_what_of_the_original(self) -> None:
        """For an ASCII sender: 7-bit, or convertible to it, or encoded; never a type that its content breaks."""
        plain = b"Subject: x\r\n\r\nbody\r\n"
        eight = b"Subject: x\r\n\r\n\xc3\xa4\r\n"
        latin = b"Subject: \xe4\r\n\r\nbody\r\n"
        unbounded = b"Subject: x\r\nContent-Type: multipart/mixed\r\n\r\n\xc3\xa4\r\n"
        table = [
            (plain, True, ("message/rfc822", "7bit"), plain),
            (plain, False, ("text/rfc822-headers", "7bit"), b"Subject: x\r\n"),
            (eight, True, ("message/rfc822", "8bit"), eight),
            (latin, True, ("text/rfc822-headers", "quoted-printable"), b"Subject: \xe4\r\n"),
            (latin, False, ("text/rfc822-headers", "quoted-printable"), b"Subject: \xe4\r\n"),
            (unbounded, True, ("message/global", "quoted-printable"), unbounded),
            (self.ORIGINAL, True, ("message/global", "quoted-printable"), self.ORIGINAL),
            (
                self.ORIGINAL,
                False,
                ("message/global-headers", "quoted-printable"),
                self.ORIGINAL[: self.ORIGINAL.index(b"\r\n\r\n") + 2],
            ),
        ]
        for original, whole, expected, returned in table:
            wire = self.wire(ALICE, original=original, whole=whole)
            part = parts(wire)[2]
            self.assertEqual(expected, (part.get_content_type(), part["Content-Transfer-Encoding"]), original)
            self.assertEqual(returned, self.returned(wire))
            self.assertEqual(3, len(parts(to_seven_bit(wire))))

    def test_what_of_the_original_with_smtputf8(self) -> None:
        """RFC 6532 3.7: only UTF-8 is called global; what is neither comes back as it was."""
        latin = b"Subject: \xe4\r\n\r\nbody\r\n"
        for whole, kind in ((True, "message/rfc822"), (False, "text/rfc822-headers")):
            wire = self.wire(self.URSULA, original=latin, whole=whole)
            self.assertEqual(kind, parts(wire)[2].get_content_type())
            self.assertEqual(latin if whole else b"Subject: \xe4\r\n", self.returned(wire))

    def test_when(self) -> None:
        """SMTPUTF8 takes the report whose addressee is international, and no other; then it says so of itself."""
        table = {
            "plain": (ALICE, BOB, Recipient(BOB), False),
            "addressee": (self.URSULA, BOB, Recipient(BOB), True),
            "recipient": (ALICE, BOB, Recipient(self.JOSÉ), False),
            "original recipient": (ALICE, BOB, Recipient(BOB, None, "utf-8;josé@b.test"), False),
            "from": (ALICE, self.JOSÉ, Recipient(BOB), False),
            "from and addressee": (self.URSULA, self.JOSÉ, Recipient(BOB), True),
        }
        for name, (to, report_from, recipient, utf8) in table.items():
            made = dsn_report(
                reporting_mta="mx.example.org",
                report_id="1",
                report_from=report_from,
                to=to,
                now=0.0,
                message=MESSAGE,
                recipients=[ReportedRecipient(recipient, Action.FAILED, REFUSED, 1.0)],
                original=None,
                languages=load(("en",)),
            )
            self.assertEqual(made.utf8, utf8, name)
            self.assertEqual(b"message/global-delivery-status" in made.data, utf8, name)
            self.assertEqual(made.data.isascii(), not utf8, name)
            sender = report_from if utf8 or report_from is BOB else "postmaster@mx.example.org"
            self.assertTrue(made.data.startswith(f"From: Mail Delivery System <{sender}>\r\n".encode()), name)
