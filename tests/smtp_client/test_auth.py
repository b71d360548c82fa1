"""AUTH in the client's session: PLAIN, LOGIN, and what a refusal means."""

from __future__ import annotations

from base64 import b64decode, b64encode

from twisted.trial.unittest import SynchronousTestCase

from mta.login import Login
from mta.outcome import Deferral, Phase, Scope
from mta.smtp.client_events import Ready
from mta.smtp.client_opening import Encryption, TlsWish
from tests.smtp_client.dialogue import GREETING, HOST, PIPELINES, Dialogue

LOGIN = Login("us@example.test", "sécret")
REJECTED = b"535 5.7.8 Authentication credentials invalid\r\n"


def offering(mechanisms: bytes) -> bytes:
    """The reply to EHLO of a server with these mechanisms."""
    return PIPELINES.replace(b"250-SIZE", b"250-AUTH " + mechanisms + b"\r\n250-SIZE") if mechanisms else PIPELINES


def asked(mechanisms: bytes, login: Login = LOGIN) -> Dialogue:
    """The server has offered these mechanisms."""
    return Dialogue(login=login).hear(GREETING).hear(offering(mechanisms))


class AuthTests(SynchronousTestCase):
    def is_deferred(
        self,
        dialogue: Dialogue,
        reason: str,
        enhanced: str,
        scope: Scope = Scope.OURSELVES,
        last: bytes = b"QUIT\r\n",
    ) -> None:
        why = dialogue.ended
        assert isinstance(why, Deferral)
        self.assertEqual((reason, enhanced, Phase.AUTH, scope), (why.reason, why.enhanced, why.phase, why.scope))
        self.assertNotIn(Ready(), dialogue.events)
        self.assertEqual(last, dialogue.turn)

    def test_plain(self) -> None:
        """PLAIN goes in one line, user and password in UTF-8 (RFC 4616 2), and mail only behind the 235."""
        dialogue = asked(b"LOGIN PLAIN CRAM-MD5")
        command, response = dialogue.turn.rstrip(b"\r\n").rsplit(b" ", 1)
        self.assertEqual(b"AUTH PLAIN", command)
        self.assertEqual("\0us@example.test\0sécret".encode(), b64decode(response))
        self.assertNotIn(Ready(), dialogue.events)
        dialogue.hear(b"235 2.7.0 ok\r\n")
        self.assertIn(Ready(), dialogue.events)
        self.assertTrue(dialogue.session.capabilities.pipelining)

    def test_a_long_password(self) -> None:
        """What makes the command longer than 512 octets waits for a 334 (RFC 4954 4)."""
        dialogue = asked(b"PLAIN", Login("u", "x" * 400))
        self.assertEqual(b"AUTH PLAIN\r\n", dialogue.turn)
        dialogue.hear(b"334 \r\n")
        self.assertEqual(b64encode(b"\0u\0" + b"x" * 400) + b"\r\n", dialogue.turn)
        self.assertIn(Ready(), dialogue.hear(b"235 ok\r\n").events)

    def test_login(self) -> None:
        """LOGIN sends user and password, each for a 334."""
        dialogue = asked(b"LOGIN")
        self.assertEqual(b"AUTH LOGIN\r\n", dialogue.turn)
        dialogue.hear(b"334 VXNlcm5hbWU6\r\n")
        self.assertEqual(b64encode(b"us@example.test") + b"\r\n", dialogue.turn)
        dialogue.hear(b"334 UGFzc3dvcmQ6\r\n")
        self.assertEqual(b64encode("sécret".encode()) + b"\r\n", dialogue.turn)
        self.assertIn(Ready(), dialogue.hear(b"235 2.7.0 ok\r\n").events)

    def test_rejected(self) -> None:
        """A rejected password is a fault of our own: it defers, and never ends a message."""
        words = "535 5.7.8 Authentication credentials invalid"
        for dialogue, name in ((asked(b"PLAIN"), "PLAIN"), (asked(b"LOGIN").hear(b"334 \r\n"), "LOGIN")):
            why = f"{HOST} rejected our credentials for us@example.test (AUTH {name}): {words}"
            self.is_deferred(dialogue.hear(REJECTED), why, "4.7.8")

    def test_later(self) -> None:
        """A server that can't tell now (454) is tried again, as any that is in trouble."""
        dialogue = asked(b"PLAIN").hear(b"454 4.7.0 no database\r\n")
        self.is_deferred(dialogue, f"{HOST} can't tell who we are: 454 4.7.0 no database", "4.7.0", Scope.SITE)

    def test_no_mechanism(self) -> None:
        """A server without AUTH, or with others than ours, gets neither password nor mail."""
        for mechanisms, told in ((b"", "none"), (b"GSSAPI X", "GSSAPI, X")):
            dialogue = asked(mechanisms)
            self.is_deferred(dialogue, f"{HOST} offers no AUTH mechanism that we use here ({told})", "4.7.4")

    def test_out_of_step(self) -> None:
        """A 334 when all is said, or a 250, lets nobody in."""
        why = f"AUTH {{}} for us@example.test at {HOST} came to nothing: a challenge when all is said: more"
        more = b"334 more\r\n"
        for dialogue, name in ((asked(b"PLAIN"), "PLAIN"), (asked(b"LOGIN").hear(more).hear(more), "LOGIN")):
            self.is_deferred(dialogue.hear(more), why.format(name), "4.7.8", last=b"*\r\nQUIT\r\n")
        early = asked(b"LOGIN").hear(b"235 ok\r\n")
        words = "235 ok in the middle of us@example.test (AUTH LOGIN)"
        self.is_deferred(early, f"{HOST} is out of step: {words}", "4.5.0")
        ended = asked(b"PLAIN").hear(b"250 ok\r\n").ended
        assert ended is not None
        self.assertIn("a reply that has no place here: 250 ok", ended.reason)

    def test_nothing_in_clear_that_was_not_wanted(self) -> None:
        """Where TLS was wished for and not offered, no password is told; who wants none has said so."""
        wish = TlsWish(Encryption.IF_OFFERED, "default: may")
        dialogue = Dialogue(login=LOGIN, wish=wish).hear(GREETING).hear(offering(b"PLAIN LOGIN"))
        self.is_deferred(dialogue, f"{HOST} offers no AUTH mechanism that we use here (PLAIN, LOGIN)", "4.7.4")

    def test_the_password_is_not_shown(self) -> None:
        """No text of the credentials has the password in it."""
        self.assertNotIn("sécret", repr(LOGIN))
        self.assertNotIn("sécret", str(LOGIN))
