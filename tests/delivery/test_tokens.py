"""When access tokens are fetched, on a clock of the test; the endpoint is the test itself."""

from __future__ import annotations

import json
import random
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from twisted.internet.defer import Deferred, execute
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from mta.delivery.token_store import TokenStore
from mta.delivery.tokens import Tokens, TokenSource
from mta.interfaces import ITokens, IWebClient
from mta.outcome import Deferral, Phase, Scope
from mta.token_grant import TokenGrant
from mta.web import WebAnswer, WebError, WebRequest

SECRET = TokenGrant("mail", "https://id.test/token?x=1", "mta", "secret")
REFRESH = TokenGrant("mail", "https://id.test/token", "mta", refresh_token="R0")


@implementer(IWebClient)
class Endpoint:
    """Each request waits for the test to answer it."""

    def __init__(self) -> None:
        self.forms: list[dict[str, str]] = []
        self.waiting: list[Deferred[WebAnswer]] = []

    def ask(self, request: WebRequest) -> Deferred[WebAnswer]:
        self.forms.append({key: values[0] for key, values in parse_qs(request.body.decode()).items()})
        asked: Deferred[WebAnswer] = Deferred()
        self.waiting.append(asked)
        return asked

    def grant(self, token: str, lifetime: int = 1000, **more: str) -> None:
        fields: dict[str, object] = {"access_token": token, "token_type": "Bearer", "expires_in": lifetime, **more}
        self.say(200, fields)

    def say(self, status: int, fields: object) -> None:
        self.waiting.pop(0).callback(WebAnswer(status, ("application/json",), json.dumps(fields).encode()))

    def fail(self) -> None:
        self.waiting.pop(0).errback(WebError("id.test[192.0.2.1]: cannot connect"))


class TokenCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1e9)
        self.endpoint = Endpoint()
        self.notes: list[tuple[str, Mapping[str, str]]] = []
        self.folder = Path(self.mktemp())
        self.writes_fail = False

    def source(self, grant: TokenGrant = SECRET) -> TokenSource:
        return TokenSource(
            grant,
            web=self.endpoint,
            store=TokenStore(self.folder, lambda line: self.note("token-store", {"reason": line})),
            clock=self.clock,
            rng=random.Random(1),
            run_in_thread=self.run_in_thread,
            note=self.note,
        )

    def note(self, kind: str, fields: Mapping[str, str]) -> None:
        self.notes.append((kind, fields))

    def run_in_thread(self, function: Any, *arguments: Any) -> Deferred[Any]:
        if self.writes_fail:
            return execute(open, "/dev/full/x")
        return execute(function, *arguments)

    def kinds(self) -> list[str]:
        return [kind for kind, _ in self.notes]

    def now(self, asked: Deferred[Any]) -> Any:
        """What is known at once."""
        return self.successResultOf(asked)

    def no_token(self, found: object, reason: str) -> None:
        assert isinstance(found, Deferral), found
        self.assertEqual(f"no access token mail is to be had from id.test: {reason}", found.reason)
        self.assertEqual((Phase.AUTH, Scope.OURSELVES, None), (found.phase, found.scope, found.host))


class FetchTests(TokenCase):
    def test_one_fetch(self) -> None:
        """All who want a token meanwhile wait for the same fetch, and those who come later wait no more."""
        source = self.source()
        asked = [source.token() for _ in range(5)]
        self.assertEqual([{"grant_type": "client_credentials"}], self.endpoint.forms)
        self.endpoint.grant("one")
        self.assertEqual(["one"] * 5, [self.now(each) for each in asked])
        self.assertEqual("one", self.now(source.token()))
        self.assertEqual(1, len(self.endpoint.forms))
        self.assertEqual(
            [("token-fetched", {"token": "mail", "url": "https://id.test/token", "lifetime": "1000"})], self.notes
        )

    def test_before_it_ends(self) -> None:
        """From 70 to 80 % of its lifetime on a token is used while the next one is fetched; nobody waits for that."""
        source = self.source()
        source.token()
        self.endpoint.grant("one")
        self.clock.advance(699)
        self.assertEqual("one", self.now(source.token()))
        self.assertEqual(1, len(self.endpoint.forms))
        self.clock.advance(101)
        self.assertEqual(["one", "one"], [self.now(source.token()), self.now(source.token())])
        self.assertEqual(2, len(self.endpoint.forms))
        self.endpoint.grant("two")
        self.assertEqual("two", self.now(source.token()))

    def test_endpoint_down(self) -> None:
        """The last good token serves to its end; then there is a deferral that says why, and one line in the log."""
        source = self.source()
        source.token()
        self.endpoint.grant("one")
        self.clock.advance(801)
        for pause in (10, 20, 40, 80):
            self.assertEqual("one", self.now(source.token()))
            self.endpoint.fail()
            self.assertEqual("one", self.now(source.token()))  # no fetch before the pause is over
            self.assertEqual([], self.endpoint.waiting)
            self.clock.advance(pause)
        self.clock.advance(100)
        asked = source.token()
        self.assertNoResult(asked)
        self.endpoint.fail()
        self.no_token(self.now(asked), "id.test[192.0.2.1]: cannot connect")
        self.no_token(self.now(source.token()), "id.test[192.0.2.1]: cannot connect")
        self.assertEqual(["token-fetched", "token-failed"], self.kinds())
        self.clock.advance(300)
        asked = source.token()
        self.endpoint.grant("two")
        self.assertEqual("two", self.now(asked))

    def test_refused(self) -> None:
        """The endpoint's error is in the reason, and no secret."""
        asked = self.source().token()
        self.endpoint.say(401, {"error": "invalid_client"})
        self.no_token(self.now(asked), "it answered 401: invalid_client")
        self.assertNotIn("secret", str(self.notes))

    def test_rejected(self) -> None:
        """A token that a next hop rejected is discarded, and one other is fetched for all who had it."""
        source = self.source()
        source.token()
        self.endpoint.grant("one")
        asked = [source.another("one"), source.another("one")]
        self.assertEqual(2, len(self.endpoint.forms))
        self.endpoint.grant("two")
        self.assertEqual(["two", "two"], [self.now(each) for each in asked])
        self.assertEqual("two", self.now(source.another("one")))  # somebody who was late
        again = source.another("two")
        self.endpoint.grant("two")
        self.assertIsNone(self.now(again))
        self.assertEqual(3, len(self.endpoint.forms))

    def test_stop(self) -> None:
        """Who waits at the end gets a deferral."""
        source = self.source()
        tokens = Tokens({"mail": source})
        self.assertTrue(verifyObject(ITokens, tokens))
        asked = tokens.token("mail")
        tokens.stop()
        self.no_token(self.now(asked), "this server is shutting down")


class RefreshTests(TokenCase):
    def sent(self) -> list[str]:
        return [form["refresh_token"] for form in self.endpoint.forms]

    def fetch(self, source: TokenSource, token: str, **more: str) -> None:
        """The token before has ended."""
        self.clock.advance(1001)
        asked = source.token()
        self.endpoint.grant(token, 1000, **more)
        self.assertEqual(token, self.now(asked))

    def test_rotated(self) -> None:
        """A new refresh token is on disk, for nobody else to read, before the access token is used, and outlives us."""
        self.fetch(self.source(REFRESH), "a", refresh_token="R1")
        (path,) = self.folder.glob("*.json")
        self.assertEqual(0o600, stat.S_IMODE(path.stat().st_mode))
        self.assertEqual(0o700, stat.S_IMODE(self.folder.stat().st_mode))
        source = self.source(REFRESH)
        self.fetch(source, "b")  # without a new one the old one stays
        self.fetch(source, "c", refresh_token="R2")
        self.fetch(self.source(REFRESH), "d")
        self.assertEqual(["R0", "R1", "R1", "R2"], self.sent())
        self.assertEqual({path, self.folder / "mail.lock"}, set(self.folder.iterdir()))

    def test_another_one_in_the_configuration(self) -> None:
        """Where an operator has put in another refresh token, what is stored counts no more."""
        self.fetch(self.source(REFRESH), "a", refresh_token="R1")
        self.fetch(self.source(TokenGrant("mail", "https://id.test/", "mta", refresh_token="S0")), "b")
        self.assertEqual(["R0", "S0"], self.sent())

    def test_damaged(self) -> None:
        """A file that can't be read is told of, without what is in it."""
        self.fetch(self.source(REFRESH), "a", refresh_token="R1")
        for damage in (b"", b"[]", b'{"origin": 1, "refresh_token": "R1"}', b"\xff"):
            (self.folder / "mail.json").write_bytes(damage)
            self.fetch(self.source(REFRESH), "b")
        self.assertEqual(["R0"] * 5, self.sent())
        reasons = [fields["reason"] for kind, fields in self.notes if kind == "token-store"]
        self.assertEqual(4, len(reasons))
        self.assertNotIn("R1", str(reasons))

    def test_full_disk(self) -> None:
        """What the disk has no room for is kept in memory, told of, and written with the next one."""
        source = self.source(REFRESH)
        self.writes_fail = True
        self.fetch(source, "a", refresh_token="R1")
        self.assertIn("token-not-stored", self.kinds())
        self.writes_fail = False
        self.fetch(source, "b")
        self.fetch(self.source(REFRESH), "c")
        self.assertEqual(["R0", "R1", "R1"], self.sent())

    def test_workers(self) -> None:
        """Two processes do not send the same refresh token: the other one waits, and sends what the first one got."""
        first, second = self.source(REFRESH), self.source(REFRESH)
        asked = [first.token(), second.token()]
        self.assertEqual(["R0"], self.sent())
        self.endpoint.grant("one", refresh_token="R1")
        self.assertEqual("one", self.now(asked[0]))
        self.clock.advance(0.25)
        self.assertEqual(["R0", "R1"], self.sent())
        self.endpoint.grant("two", refresh_token="R2")
        self.assertEqual("two", self.now(asked[1]))

    def test_a_worker_that_hangs(self) -> None:
        """It is waited for a minute at most."""
        first, second = self.source(REFRESH), self.source(REFRESH)
        first.token()
        asked = second.token()
        self.clock.pump([0.25] * 241)
        self.no_token(self.now(asked), "another process has been at it for a minute")
