"""What MAIL and RCPT say to a server with extensions, and what a server without them never gets."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address, parse_address
from mta.envelope import Body, Notify, Recipient, Ret
from mta.outcome import Delivered, Handover
from mta.smtp.client_events import TransactionDone
from mta.smtp.client_stage import Stage
from tests.smtp_client.dialogue import ONE, PIPELINES, SENDER, THREE, TWO, Dialogue, brief, greeted

OK = b"250 2.0.0 Ok\r\n"
GO = b"354 go\r\n"
UTF8 = PIPELINES.replace(b"250 E", b"250-SMTPUTF8\r\n250 E")
DSN = PIPELINES.replace(b"250 E", b"250-DSN\r\n250 E")
BOTH = UTF8.replace(b"250 E", b"250-DSN\r\n250 E")
ELSEWHERE = parse_address("four@elsewhere.test")
INTERNATIONAL = Address("jörg", "xn--mnchen-3ya.test")


def limited(limits: bytes) -> bytes:
    return PIPELINES.replace(b"250 E", b"250-LIMITS " + limits + b"\r\n250 E")


def commands(dialogue: Dialogue) -> list[str]:
    return dialogue.turn.decode().splitlines()


class InternationalTests(SynchronousTestCase):
    """RFC 6531."""

    def test_parameter(self) -> None:
        """SMTPUTF8 is said where it is offered and an address needs it or the sender declared it (RFC 6531 3.4)."""
        for hello, sender, recipient, declared, expected in (
            (UTF8, SENDER, ONE, False, False),
            (UTF8, SENDER, ONE, True, True),
            (UTF8, INTERNATIONAL, ONE, False, True),
            (UTF8, SENDER, INTERNATIONAL, False, True),
            (PIPELINES, SENDER, ONE, True, False),
        ):
            mail = commands(greeted(hello).begin((recipient,), sender, utf8=declared))[0]
            self.assertEqual(expected, mail.endswith(" SMTPUTF8"), mail)

    def test_addresses_on_the_wire(self) -> None:
        """Local parts go as UTF-8, domains as A-labels (RFC 6531 3.2)."""
        dialogue = greeted(UTF8).begin((INTERNATIONAL,), INTERNATIONAL)
        self.assertIn("MAIL FROM:<jörg@xn--mnchen-3ya.test> SIZE=25 SMTPUTF8", commands(dialogue))
        self.assertIn("RCPT TO:<jörg@xn--mnchen-3ya.test>", commands(dialogue))

    def test_recipient_not_offered(self) -> None:
        """An international recipient fails at a server without the extension, and only that one (RFC 6531 3.5)."""
        dialogue = greeted().begin((INTERNATIONAL, ONE)).hear(OK + OK + GO).hear(OK)
        self.assertEqual("failure 5.6.7", brief(dialogue.done.outcomes[INTERNATIONAL]))
        self.assertEqual("delivered", brief(dialogue.done.outcomes[ONE]))
        self.assertTrue(dialogue.sent.isascii())

    def test_sender_not_offered(self) -> None:
        """An international sender fails all recipients there without a word, and nothing is downgraded."""
        dialogue = greeted().begin((ONE, TWO), INTERNATIONAL)
        self.assertEqual(b"", dialogue.turn)
        self.assertEqual(["failure 5.6.7"] * 2, [brief(outcome) for outcome in dialogue.done.outcomes.values()])
        self.assertIs(Stage.READY, dialogue.session.stage)

    def test_domain_alone(self) -> None:
        """An international domain has an ASCII form, so any server may have it (RFC 6531 3.2)."""
        dialogue = greeted().begin((Address("a", "xn--mnchen-3ya.test"),))
        self.assertIn("RCPT TO:<a@xn--mnchen-3ya.test>", commands(dialogue))

    def test_unsendable(self) -> None:
        """What could end the line is never sent, in any script."""
        for local in ("ö\r\nRSET", "ö\x85", "ö\ud800", "ö\0"):
            dialogue = greeted(UTF8).begin((Address(local, "to.test"), ONE))
            self.assertEqual(3, len(commands(dialogue)))
        dialogue = greeted(UTF8).begin((Address("a\u00a0b\u2028", "to.test"),))
        self.assertIn("a\u00a0b\u2028@to.test".encode(), dialogue.turn)


class ReportTests(SynchronousTestCase):
    """RFC 3461."""

    def test_passed_on(self) -> None:
        """RET, ENVID, NOTIFY and ORCPT go on as they came where DSN is offered (RFC 3461 5.2.1)."""
        recipients = (
            Recipient(ONE, frozenset((Notify.SUCCESS, Notify.DELAY)), "rfc822;o+ne=x@there.test"),
            Recipient(TWO, frozenset((Notify.NEVER,))),
            Recipient(THREE),
            Recipient(ELSEWHERE, None, "x400;/c=de/"),
        )
        dialogue = greeted(DSN).begin(recipients, ret=Ret.HDRS, envid="A+ 1")
        self.assertEqual(
            [
                "MAIL FROM:<sender@from.test> SIZE=25 RET=HDRS ENVID=A+2B+201",
                "RCPT TO:<one@to.test> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;o+2Bne+3Dx@there.test",
                "RCPT TO:<two@to.test> NOTIFY=NEVER ORCPT=rfc822;two@to.test",
                "RCPT TO:<three@to.test>",
                "RCPT TO:<four@elsewhere.test> ORCPT=x400;/c+3Dde/",
                "DATA",
            ],
            commands(dialogue),
        )

    def test_not_offered(self) -> None:
        """A server without DSN hears nothing of it."""
        dialogue = greeted().begin((Recipient(ONE, frozenset((Notify.NEVER,)), "rfc822;x@y"),), ret=Ret.FULL, envid="x")
        self.assertEqual(["MAIL FROM:<sender@from.test> SIZE=25", "RCPT TO:<one@to.test>", "DATA"], commands(dialogue))

    def test_handover(self) -> None:
        """Who reports from here on depends on the server's DSN (RFC 3461 5.2.1, 5.2.2)."""
        for hello, expected in ((DSN, Handover.PASSED_ON), (PIPELINES, Handover.RELAYED)):
            outcome = greeted(hello).begin().hear(OK + OK + GO).hear(OK).done.outcomes[ONE]
            assert isinstance(outcome, Delivered)
            self.assertIs(expected, outcome.kind)

    def test_international(self) -> None:
        """An international original recipient goes in ASCII, whoever it goes to (RFC 6533 3)."""
        wanted = frozenset((Notify.FAILURE,))
        for recipient, orcpt in (
            (Recipient(INTERNATIONAL, wanted), r"utf-8;j\x{F6}rg@xn--mnchen-3ya.test"),
            (Recipient(ONE, wanted, "utf-8;jörg@münchen.test"), r"utf-8;j\x{F6}rg@m\x{FC}nchen.test"),
        ):
            self.assertTrue(commands(greeted(BOTH).begin((recipient,)))[1].endswith(f" NOTIFY=FAILURE ORCPT={orcpt}"))

    def test_alias(self) -> None:
        """Who was named by an alias is relayed with that as ORCPT, where the client gave none (RFC 3461 5.2.1 (d))."""
        wanted = frozenset((Notify.FAILURE,))
        for recipient, words in (
            (Recipient(ONE, None, named="boss@to.test"), "ORCPT=rfc822;boss@to.test"),
            (Recipient(ONE, wanted, named="böss@to.test"), r"NOTIFY=FAILURE ORCPT=utf-8;b\x{F6}ss@to.test"),
            (Recipient(ONE, wanted, "rfc822;old@to.test", "boss@to.test"), "NOTIFY=FAILURE ORCPT=rfc822;old@to.test"),
        ):
            self.assertEqual(f"RCPT TO:<one@to.test> {words}", commands(greeted(BOTH).begin((recipient,)))[1])

    def test_too_long(self) -> None:
        """An original recipient that grows beyond the limit is left out: it is no reason to lose the mail."""
        recipient = Recipient(ONE, frozenset((Notify.FAILURE,)), "utf-8;" + "ö" * 100 + "@x.test")
        self.assertEqual("RCPT TO:<one@to.test> NOTIFY=FAILURE", commands(greeted(DSN).begin((recipient,)))[1])


class LimitsTests(SynchronousTestCase):
    """RFC 9422."""

    def test_recipients(self) -> None:
        """RCPTMAX is obeyed; those beyond are left for another transaction (RFC 9422 4.2)."""
        dialogue = greeted(limited(b"RCPTMAX=2")).begin((ONE, TWO, THREE))
        self.assertEqual(2, dialogue.turn.count(b"RCPT"))
        dialogue.hear(OK * 3 + GO).hear(OK)
        self.assertEqual(["delivered", "delivered", "deferral 4.5.3 recipient"], self.briefs(dialogue.done))
        self.assertEqual((THREE,), dialogue.done.left)

    def test_domains(self) -> None:
        """RCPTDOMAINMAX counts the domains of the whole session (RFC 9422 4.3)."""
        dialogue = greeted(limited(b"RCPTDOMAINMAX=1")).begin((ONE, ELSEWHERE, TWO))
        self.assertNotIn(b"elsewhere", dialogue.turn)
        dialogue.hear(OK * 3 + GO).hear(OK)
        self.assertEqual((ELSEWHERE,), dialogue.done.left)
        dialogue.events.clear()
        dialogue.begin((ELSEWHERE,))
        self.assertEqual(b"", dialogue.turn)
        self.assertEqual((ELSEWHERE,), dialogue.done.left)
        dialogue.events.clear()
        self.assertIn(b"RCPT TO:<three@to.test>", dialogue.begin((THREE,)).turn)

    def test_sender_refused(self) -> None:
        """A refused sender is the outcome of those too who were to wait."""
        dialogue = greeted(limited(b"RCPTMAX=1")).begin((ONE, TWO)).hear(b"550 5.7.1 no\r\n" * 3).hear(OK)
        self.assertEqual(["failure 5.7.1"] * 2, self.briefs(dialogue.done))
        self.assertEqual((), dialogue.done.left)

    def test_lost(self) -> None:
        """Where the connection ends they are left all the same: nobody has heard of them."""
        dialogue = greeted(limited(b"RCPTMAX=1")).begin((ONE, TWO)).hear(OK * 2 + GO)
        dialogue.session.lost("closed the connection")
        dialogue.settle()
        self.assertEqual(((), (TWO,)), (dialogue.done.undecided, dialogue.done.left))

    def test_too_many(self) -> None:
        """452 behind accepted recipients leaves the rest for another transaction (RFC 5321 4.5.3.1.10)."""
        for first, second, left in (
            (OK, b"452 4.5.3 too many\r\n", (TWO,)),
            (OK, b"452 too many\r\n", (TWO,)),
            (OK, b"552 5.5.3 too many\r\n", (TWO,)),
            (OK, b"452 4.2.2 mailbox full\r\n", ()),
            (OK, b"450 4.5.3 no\r\n", ()),
            (b"550 no\r\n", b"452 4.5.3 too many\r\n", ()),
        ):
            dialogue = greeted().begin((ONE, TWO, THREE)).hear(OK + first + second + OK + GO).hear(OK)
            self.assertEqual(left, dialogue.done.left, second)
            self.assertEqual("deferral", brief(dialogue.done.outcomes[TWO]).split()[0])

    def briefs(self, done: TransactionDone) -> list[str]:
        return [brief(done.outcomes[who]) for who in (ONE, TWO, THREE) if who in done.outcomes]


class BodyTests(SynchronousTestCase):
    def test_declared(self) -> None:
        """BODY is said only of what was declared, to a server that offers it (RFC 6152 3)."""
        for body, expected in ((Body.SEVEN_BIT, False), (Body.EIGHT_BIT_MIME, True)):
            self.assertEqual(expected, "BODY=8BITMIME" in commands(greeted().begin(body=body))[0])
