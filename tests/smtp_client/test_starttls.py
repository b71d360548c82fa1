"""STARTTLS in the client's session: what is asked for, what is forgotten, what it means where there is none."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mta.outcome import Deferral, Delivered, Phase, Scope
from mta.smtp.client_events import Ended, Ready, StartTls
from mta.smtp.client_opening import Encryption, TlsWish
from mta.smtp.client_stage import Stage
from tests.smtp_client.dialogue import GREETING, HOST, ONE, PIPELINES, PLAIN, Dialogue

OFFERS = PIPELINES.replace(b"250-SIZE", b"250-STARTTLS\r\n250-SIZE")
GO = b"220 2.0.0 go ahead\r\n"
MAY = TlsWish(Encryption.IF_OFFERED, "default: may")
DEMANDED = TlsWish(Encryption.DEMANDED, "domain: verify")
IMPLICIT = TlsWish(Encryption.IMPLICIT, "route: verify")


class Secured(Dialogue):
    """A dialogue with a wish; `secure` is the handshake."""

    def __init__(self, wish: TlsWish, *, lmtp: bool = False) -> None:
        super().__init__(wish=wish, lmtp=lmtp)

    def secure(self) -> Secured:
        self.turn = b""
        self.session.secured("TLSv1.3 verified (domain: verify)")
        self.settle()
        return self

    def fails(self, reason: str) -> Secured:
        self.session.tls_failed(reason)
        self.settle()
        return self

    @property
    def is_ready(self) -> bool:
        return Ready() in self.events

    @property
    def why(self) -> Deferral:
        assert self.ended is not None
        return self.ended


def offered(wish: TlsWish = MAY) -> Secured:
    """The server has greeted us and offers STARTTLS."""
    dialogue = Secured(wish)
    dialogue.hear(GREETING).hear(OFFERS)
    return dialogue


class StartTlsTests(SynchronousTestCase):
    def test_the_way(self) -> None:
        """EHLO, STARTTLS, the handshake, EHLO anew; then mail, and the outcome says what protected it (RFC 3207 4)."""
        dialogue = offered(DEMANDED)
        self.assertEqual(b"STARTTLS\r\n", dialogue.turn)
        dialogue.hear(GO)
        self.assertEqual(([StartTls()], b""), (dialogue.events, dialogue.turn))
        self.assertIs(Stage.HANDSHAKE, dialogue.session.stage)
        dialogue.secure()
        self.assertEqual(b"EHLO client.test\r\n", dialogue.turn)
        dialogue.hear(PIPELINES)
        self.assertTrue(dialogue.is_ready)
        dialogue.begin().hear(b"250 ok\r\n250 ok\r\n354 go\r\n").hear(b"250 queued\r\n")
        outcome = dialogue.done.outcomes[ONE]
        assert isinstance(outcome, Delivered)
        self.assertEqual("TLSv1.3 verified (domain: verify)", outcome.tls)

    def test_lmtp(self) -> None:
        """In LMTP it is LHLO, before and after."""
        dialogue = Secured(MAY, lmtp=True)
        dialogue.hear(GREETING).hear(OFFERS).hear(GO)
        dialogue.secure()
        self.assertEqual(b"LHLO client.test\r\n", dialogue.turn)

    def test_what_was_offered_is_forgotten(self) -> None:
        """What the server offered in clear counts for nothing once TLS has begun (RFC 3207 4.2)."""
        dialogue = offered()
        dialogue.hear(GO)
        dialogue.secure().hear(PLAIN)
        self.assertTrue(dialogue.is_ready)
        self.assertFalse(dialogue.session.capabilities.pipelining)
        self.assertFalse(dialogue.session.capabilities.eight_bit_mime)

    def test_nothing_injected_survives(self) -> None:
        """Replies that stand in clear behind the 220 are dropped, wherever the network cuts them (CVE-2011-0411)."""
        injected = b"250-evil.test\r\n250 PIPELINING\r\n250 injected\r\n"
        wire = GO + injected
        for cut in range(len(GO), len(wire) + 1):
            dialogue = offered()
            dialogue.hear(wire[:cut], *(wire[cut + at : cut + at + 1] for at in range(len(wire) - cut)))
            dialogue.secure()
            self.assertEqual(b"EHLO client.test\r\n", dialogue.turn, cut)
            self.assertFalse(dialogue.is_ready, cut)
            dialogue.hear(PLAIN)
            self.assertTrue(dialogue.is_ready, cut)
            self.assertFalse(dialogue.session.capabilities.pipelining, cut)

    def test_the_220_cut_anywhere(self) -> None:
        """The 220 is understood however the network cuts it, and not before its last octet."""
        for cut in range(1, len(GO)):
            dialogue = offered()
            dialogue.hear(GO[:cut])
            self.assertEqual([], dialogue.events)
            dialogue.hear(GO[cut:])
            self.assertEqual([StartTls()], dialogue.events)

    def test_a_220_before_its_command(self) -> None:
        """A 220 that came along with the answer to EHLO answered nothing: the session ends, and nothing is believed."""
        dialogue = Secured(DEMANDED)
        dialogue.hear(GREETING).hear(OFFERS + GO)
        self.assertIn("a reply to no command", dialogue.why.reason)
        self.assertEqual([Ended(dialogue.why)], dialogue.events)

    def test_asked_once(self) -> None:
        """A server that offers STARTTLS again over TLS is not asked again (RFC 3207 4.2)."""
        dialogue = offered()
        dialogue.hear(GO)
        dialogue.secure().hear(OFFERS)
        self.assertEqual((True, b""), (dialogue.is_ready, dialogue.turn))

    def test_implicit(self) -> None:
        """With implicit TLS the handshake comes before the greeting, and STARTTLS never (RFC 8314 3.3)."""
        dialogue = Secured(IMPLICIT)
        dialogue.settle()
        self.assertEqual(([StartTls()], b""), (dialogue.events, dialogue.turn))
        dialogue.secure()
        self.assertIs(Stage.GREETING, dialogue.session.stage)
        dialogue.hear(GREETING)
        self.assertEqual(b"EHLO client.test\r\n", dialogue.turn)
        dialogue.hear(OFFERS)
        self.assertEqual((True, b""), (dialogue.is_ready, dialogue.turn))


class WithoutTlsTests(SynchronousTestCase):
    def test_may(self) -> None:
        """Where TLS need not be, mail goes on in clear, and the outcome says why."""
        for answers, told in (
            ([PLAIN], "none (not offered)"),
            ([b"500 5.5.1 what?\r\n", PLAIN], "none (not offered)"),
            ([OFFERS, b"454 4.7.0 no TLS now\r\n"], "none (STARTTLS refused: 454 4.7.0 no TLS now)"),
            ([OFFERS, b"502 5.5.1 no\r\n"], "none (STARTTLS refused: 502 5.5.1 no)"),
        ):
            dialogue = Secured(MAY)
            dialogue.hear(GREETING)
            for answer in answers:
                dialogue.hear(answer)
            self.assertEqual((True, told), (dialogue.is_ready, dialogue.session.tls), answers)
            self.assertFalse(dialogue.session.is_encrypted)
            dialogue.begin().session.lost("closed the connection")
            dialogue.settle()
            outcome = dialogue.done.outcomes[ONE]
            assert isinstance(outcome, Deferral)
            self.assertEqual(told, outcome.tls)

    def test_a_refused_offer_still_counts_for_the_rest(self) -> None:
        """After a 454 what EHLO offered still holds, for nothing has changed."""
        dialogue = offered()
        dialogue.hear(b"454 4.7.0 no TLS now\r\n")
        self.assertTrue(dialogue.session.capabilities.pipelining)
        self.assertEqual("STARTTLS refused: 454 4.7.0 no TLS now", dialogue.session.tls_refused)

    def test_demanded(self) -> None:
        """Where TLS is demanded and not to be had the session ends before MAIL, and the deferral says who wants it."""
        for answers, reason in (
            ([PLAIN], "does not offer STARTTLS"),
            ([b"502 5.5.1 what?\r\n", PLAIN], "does not offer STARTTLS"),
            ([OFFERS, b"454 4.7.0 no TLS now\r\n"], "refused STARTTLS: 454 4.7.0 no TLS now"),
            ([OFFERS, b"554 5.7.0 never\r\n"], "refused STARTTLS: 554 5.7.0 never"),
        ):
            dialogue = Secured(DEMANDED)
            dialogue.hear(GREETING)
            for answer in answers:
                dialogue.hear(answer)
            self.assertFalse(dialogue.is_ready)
            self.assertEqual(f"{HOST} {reason}; TLS is demanded (domain: verify)", dialogue.why.reason)
            self.assertEqual(
                (Phase.TLS, Scope.MESSAGE, "4.7.4"), (dialogue.why.phase, dialogue.why.scope, dialogue.why.enhanced)
            )
            self.assertEqual(b"QUIT\r\n", dialogue.turn)

    def test_a_failed_handshake(self) -> None:
        """A handshake that fails ends the session with the reason, also where the server says so only after it."""
        for late in (False, True):
            dialogue = offered(DEMANDED)
            dialogue.hear(GO)
            if late:
                dialogue.secure()
            dialogue.fails("its certificate expired on 2020-01-01")
            self.assertEqual(
                f"TLS with {HOST} failed: its certificate expired on 2020-01-01; TLS is demanded (domain: verify)",
                dialogue.why.reason,
            )
            self.assertEqual((Phase.TLS, "4.7.5"), (dialogue.why.phase, dialogue.why.enhanced))
            self.assertNotIn(b"MAIL", dialogue.sent)

    def test_closed_meanwhile(self) -> None:
        """A server that closes, or stays silent, instead of the handshake is told of as TLS trouble."""
        for end, what in (("lost", "closed the connection"), ("timed_out", "took too long")):
            dialogue = offered()
            dialogue.hear(GO)
            if end == "lost":
                dialogue.session.lost(what)
            else:
                dialogue.session.timed_out()
            dialogue.settle()
            self.assertEqual(f"{HOST} {what} while TLS was negotiated", dialogue.why.reason)
            self.assertIs(Phase.TLS, dialogue.why.phase)

    def test_broken_later(self) -> None:
        """TLS that breaks behind the end of the content leaves the message in doubt, as any lost connection does."""
        dialogue = offered()
        dialogue.hear(GO)
        dialogue.secure().hear(PIPELINES).begin().hear(b"250 ok\r\n250 ok\r\n354 go\r\n")
        dialogue.fails("unexpected eof while reading")
        outcome = dialogue.done.outcomes[ONE]
        assert isinstance(outcome, Deferral)
        self.assertTrue(outcome.in_doubt)
        self.assertIn("broke TLS off (unexpected eof while reading)", outcome.reason)
        self.assertEqual("TLSv1.3 verified (domain: verify)", outcome.tls)
