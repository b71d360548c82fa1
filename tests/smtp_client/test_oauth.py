"""OAUTHBEARER and XOAUTH2 as a client."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from mta.login import OAUTHBEARER, XOAUTH2, Login
from mta.outcome import Phase, Scope
from mta.smtp.client_events import Ready
from mta.smtp.client_oauth import Bearer
from mta.smtp.exchange import ExchangeError
from tests.smtp_client.dialogue import Dialogue
from tests.smtp_client.test_auth import asked

US = Login("us@example.test", "ya29.token", token="mail")
ERROR = b64encode(json.dumps({"status": "invalid_token", "schemes": "bearer"}).encode())


class BearerTests(SynchronousTestCase):
    def test_messages(self) -> None:
        """The messages of RFC 7628 4.1, without the host that nobody needs, and of XOAUTH2."""
        login = Login("a=b,c@example.test", "vF9d", token="mail")
        self.assertEqual(b"n,a=a=3Db=2Cc@example.test,\1auth=Bearer vF9d\1\1", Bearer(login, OAUTHBEARER).initial())
        self.assertEqual(b"user=a=b,c@example.test\1auth=Bearer vF9d\1\1", Bearer(login, XOAUTH2).initial())

    def test_errors(self) -> None:
        """An error is answered so that the refusal can come; what it says is told where it can be shown."""
        for challenge, told in (
            (ERROR.decode(), "invalid_token"),
            (b64encode(b'{"status":"401"}').decode(), "401"),
            (b64encode(b'{"status":"a\\nb"}').decode(), ""),
            (b64encode(b"[]").decode(), ""),
            ("no base64", ""),
            ("", ""),
        ):
            for mechanism, answer in ((OAUTHBEARER, b"\1"), (XOAUTH2, b"")):
                exchange = Bearer(US, mechanism)
                self.assertEqual(answer, exchange.respond(challenge))
                self.assertEqual(told, exchange.told)
                self.assertFalse(exchange.is_complete)
                self.assertRaises(ExchangeError, exchange.respond, challenge)


class SessionTests(SynchronousTestCase):
    def refused(self, dialogue: Dialogue, mechanism: str) -> None:
        why = dialogue.hear(b"535 5.7.8 no\r\n").ended
        assert why is not None
        self.assertIn(
            f"rejected our credentials for us@example.test (AUTH {mechanism}): 535 5.7.8 no (invalid_token)", why.reason
        )
        self.assertNotIn("ya29", why.reason)
        self.assertEqual((Phase.AUTH, Scope.OURSELVES, "4.7.8"), (why.phase, why.scope, why.enhanced))

    def test_let_in(self) -> None:
        """The token goes in one line, and by OAUTHBEARER where both are offered."""
        for offered, mechanism in ((b"PLAIN XOAUTH2 OAUTHBEARER", b"OAUTHBEARER"), (b"LOGIN XOAUTH2", b"XOAUTH2")):
            dialogue = asked(offered, US)
            command, said = dialogue.turn.rstrip(b"\r\n").rsplit(b" ", 1)
            self.assertEqual(b"AUTH " + mechanism, command)
            self.assertIn(b"auth=Bearer ya29.token\1\1", b64decode(said))
            self.assertIn(Ready(), dialogue.hear(b"235 2.7.0 ok\r\n").events)

    def test_a_long_token(self) -> None:
        """What has no room in the command (a JWT) waits for the 334 (RFC 4954 4)."""
        dialogue = asked(b"XOAUTH2", replace(US, password="x" * 2000))
        self.assertEqual(b"AUTH XOAUTH2\r\n", dialogue.turn)
        self.assertIn(b"x" * 2000, b64decode(dialogue.hear(b"334 \r\n").turn))
        self.assertIn(Ready(), dialogue.hear(b"235 ok\r\n").events)

    def test_rejected(self) -> None:
        """334 with the error, our answer to it, 535: a fault of our own, and the reason says what is wrong."""
        for mechanism, answer in (("XOAUTH2", b"\r\n"), ("OAUTHBEARER", b"AQ==\r\n")):
            dialogue = asked(mechanism.encode(), US).hear(b"334 " + ERROR + b"\r\n")
            self.assertEqual(answer, dialogue.turn)
            self.refused(dialogue, mechanism)

    def test_a_yes_behind_an_error(self) -> None:
        """A server that says that the token is wrong and then lets us in is out of step."""
        why = asked(b"XOAUTH2", US).hear(b"334 " + ERROR + b"\r\n").hear(b"235 ok\r\n").ended
        assert why is not None
        self.assertIn("is out of step: 235 ok", why.reason)

    def test_only_for_tokens(self) -> None:
        """A token is never told as a password, nor a password as a token."""
        for offered, login in ((b"PLAIN LOGIN SCRAM-SHA-256", US), (b"XOAUTH2 OAUTHBEARER", Login("u", "p"))):
            why = asked(offered, login).ended
            assert why is not None
            self.assertIn("offers no AUTH mechanism that we use here", why.reason)
