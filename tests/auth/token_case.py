"""A checker of tokens, with an issuer whose web server the test answers for."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mta.auth.claims import Demands
from mta.auth.credentials import BearerToken
from mta.auth.keys import WebKeys
from mta.auth.tokens import Signed, Tokens, UnauthorizedToken
from mta.identity import Identity
from tests.auth.issuer import AUDIENCE, ISSUER, NOW, USER, FakeWeb, key_set, signed

DEMANDS = Demands(ISSUER, frozenset((AUDIENCE,)), frozenset(("smtp.send",)))
URL = "https://id.test/keys"


class TokenCase(SynchronousTestCase):
    """A checker over a web server that the test answers for."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(NOW)
        self.web = FakeWeb()
        self.keys = WebKeys(self.web, URL, self.clock.seconds)
        self.tokens = self.checker(Signed(self.keys))

    def checker(self, source: Any, demands: Demands = DEMANDS, **more: Any) -> Tokens:
        return Tokens(source, demands, wall=self.clock.seconds, **more)

    def ask(self, token: str, user: str = USER) -> Deferred[Any]:
        return self.tokens.requestAvatarId(BearerToken(user, token))

    def know(self, *entries: Any) -> None:
        """Have the keys fetched."""
        asked = self.ask(signed(header={}, key="RS-9"))
        self.web.answer(key_set(*entries))
        if self.web.asked:
            self.web.answer(key_set(*entries))
        self.failureResultOf(asked, UnauthorizedToken)

    def assert_granted(self, token: str, user: str = USER) -> None:
        self.assertEqual(Identity(USER), self.successResultOf(self.ask(token, user)))

    def assert_refused(self, token: str, words: str, user: str = USER, status: str = "invalid_token") -> None:
        error = self.failureResultOf(self.ask(token, user), UnauthorizedToken).value
        self.assertIn(words, str(error))
        self.assertEqual(status, error.status)
        self.assertNotIn(token[-20:] or "none", str(error))
