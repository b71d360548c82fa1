"""REQUIRETLS in the client's session (RFC 8689 2, 4.2.1): byte by byte, from the greeting to MAIL."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mta.envelope import RequireTls
from mta.outcome import Delivered, Phase, Scope
from mta.smtp.client_opening import Encryption, TlsWish
from tests.smtp_client.dialogue import GREETING, HOST, ONE, PIPELINES, PLAIN, SENDER
from tests.smtp_client.test_starttls import GO, OFFERS, Secured

REQUIRED = TlsWish(Encryption.DEMANDED, "requiretls: verify", requiretls=True)
DEMANDED = TlsWish(Encryption.DEMANDED, "domain: verify")
IMPLICIT = TlsWish(Encryption.IMPLICIT, "requiretls: verify", requiretls=True)
WITH = PIPELINES.replace(b"250-SIZE", b"250-REQUIRETLS\r\n250-SIZE")
WANTED = f"MAIL FROM:<{SENDER}> SIZE=25 REQUIRETLS\r\n".encode()
PLAINLY = f"MAIL FROM:<{SENDER}> SIZE=25\r\n".encode()


def secured(wish: TlsWish, within: bytes, outside: bytes = OFFERS) -> Secured:
    """The server has answered the EHLO within TLS."""
    dialogue = Secured(wish)
    dialogue.hear(GREETING).hear(outside).hear(GO)
    dialogue.secure().hear(within)
    return dialogue


class OfferTests(SynchronousTestCase):
    def test_the_way(self) -> None:
        """Where the server offers it within TLS, MAIL has the parameter, and the message goes."""
        dialogue = secured(REQUIRED, WITH)
        self.assertTrue(dialogue.is_ready)
        dialogue.begin(require_tls=RequireTls.YES)
        self.assertEqual(WANTED, dialogue.turn.partition(b"RCPT")[0])
        dialogue.hear(b"250 ok\r\n250 ok\r\n354 go\r\n").hear(b"250 queued\r\n")
        self.assertIsInstance(dialogue.done.outcomes[ONE], Delivered)

    def test_not_offered(self) -> None:
        """What is offered in clear counts for nothing, and a server without it hears QUIT and nothing more."""
        for within, outside in (
            (PIPELINES, OFFERS),
            (PIPELINES, OFFERS.replace(b"250-SIZE", b"250-REQUIRETLS\r\n250-SIZE")),
        ):
            dialogue = secured(REQUIRED, within, outside)
            self.assertFalse(dialogue.is_ready)
            self.assertEqual(b"QUIT\r\n", dialogue.turn)
            why = dialogue.why
            self.assertEqual(
                (f"{HOST} does not offer REQUIRETLS", Phase.TLS, Scope.MESSAGE, "4.7.30", "5.7.30"),
                (why.reason, why.phase, why.scope, why.enhanced, why.ends_as),
            )
            self.assertNotIn(b"MAIL", dialogue.sent)

    def test_helo_within_tls(self) -> None:
        """A server that knows no EHLO within TLS offers nothing."""
        dialogue = secured(REQUIRED, b"500 5.5.1 what?\r\n")
        dialogue.hear(PLAIN)
        self.assertEqual(("5.7.30", b"QUIT\r\n"), (dialogue.why.ends_as, dialogue.turn))

    def test_implicit(self) -> None:
        """With implicit TLS the one EHLO decides."""
        for hello, ends_as in ((WITH, ""), (PIPELINES, "5.7.30")):
            dialogue = Secured(IMPLICIT)
            dialogue.secure().hear(GREETING).hear(hello)
            self.assertEqual(
                (not ends_as, ends_as), (dialogue.is_ready, dialogue.ended.ends_as if dialogue.ended else "")
            )

    def test_others(self) -> None:
        """Mail whose sender does not require it goes without, whatever is offered, and whatever its header says."""
        for tag in (None, RequireTls.NO):
            dialogue = secured(DEMANDED, WITH)
            dialogue.begin(require_tls=tag)
            self.assertEqual(PLAINLY, dialogue.turn.partition(b"RCPT")[0])


class WithoutTlsTests(SynchronousTestCase):
    def test_what_lasts(self) -> None:
        """RFC 8689 4.2.1: what the server says of itself for good is 5.7.10; what may pass is only a deferral."""
        for answers, lasts in (
            ([PLAIN], True),
            ([b"502 5.5.1 what?\r\n", PLAIN], True),
            ([OFFERS, b"554 5.7.0 never\r\n"], True),
            ([OFFERS, b"454 4.7.0 no TLS now\r\n"], False),
            ([b"554 5.7.1 go away\r\n"], False),
            ([b"421 4.3.2 later\r\n"], False),
        ):
            for wish in (REQUIRED, DEMANDED):
                dialogue = Secured(wish)
                dialogue.hear(GREETING)
                for answer in answers:
                    dialogue.hear(answer)
                dialogue.session.lost("closed the connection")
                dialogue.settle()
                self.assertEqual("5.7.10" if lasts and wish.requiretls else "", dialogue.why.ends_as, answers)
                self.assertEqual("4", dialogue.why.enhanced[0])
                self.assertNotIn(b"MAIL", dialogue.sent)

    def test_handshake(self) -> None:
        """A certificate that is no good lasts; a handshake that breaks off may be a passing fault."""
        for judged in (True, False):
            dialogue = Secured(REQUIRED)
            dialogue.hear(GREETING).hear(OFFERS).hear(GO)
            dialogue.session.tls_failed("its certificate expired on 2020-01-01", judged=judged)
            dialogue.settle()
            self.assertEqual("5.7.10" if judged else "", dialogue.why.ends_as)
        dialogue = Secured(REQUIRED)
        dialogue.hear(GREETING).hear(OFFERS).hear(GO)
        dialogue.session.lost("closed the connection")
        dialogue.settle()
        self.assertEqual("", dialogue.why.ends_as)
