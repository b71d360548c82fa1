"""Delivering to a next hop that wants an access token: a real token server over HTTPS, and handshakes over loopback."""

from __future__ import annotations

import random
import shutil
import tempfile
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from twisted.internet import reactor
from twisted.internet.defer import inlineCallbacks
from twisted.internet.threads import deferToThread

from mta.delivery.token_store import TokenStore
from mta.delivery.tokens import Tokens, TokenSource
from mta.destination import Destination
from mta.dns.fake import FakeResolver
from mta.login import Login
from mta.outcome import Deferral, Delivered, Phase, Scope
from mta.tls.https import Https
from mta.tls.https_connection import trusted
from mta.token_grant import TokenGrant
from tests.delivery.test_tls import ENCRYPT, GOOD, Steps, TlsCase
from tests.peers.scripted_tls import STARTTLS, TlsServer
from tests.peers.token_server import TokenServer

AUTH = STARTTLS.replace(b"250-SIZE", b"250-AUTH XOAUTH2\r\n250-SIZE")
US = Login("us@example.test", "", token="mail")
YES, NO = b"235 2.7.0 ok\r\n", b"535 5.7.8 no\r\n"


class TokenLoginTests(TlsCase):
    def setUp(self) -> None:
        super().setUp()
        top = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, top)
        self.notes: list[tuple[str, Mapping[str, str]]] = []
        self.endpoint = TokenServer(top)
        self.addCleanup(self.endpoint.stop)
        resolver = FakeResolver()
        trust_root = trusted(str(self.endpoint.authorities))
        self.source = TokenSource(
            TokenGrant("mail", self.endpoint.url, "mta", "hush"),
            web=Https(reactor=cast(Any, reactor), resolver=resolver, trust_root=trust_root),
            store=TokenStore(top / "tokens", lambda _line: None),
            clock=cast(Any, reactor),
            rng=random.Random(1),
            run_in_thread=deferToThread,
            note=lambda kind, fields: self.notes.append((kind, fields)),
        )
        self.agent._entrance._tokens = Tokens({"mail": self.source})
        self.agent._entrance._rejected._note = lambda kind, fields: self.notes.append((kind, fields))

    def server(self, answer: bytes) -> tuple[TlsServer, Destination]:
        server = TlsServer(GOOD, {"EHLO": AUTH, "AUTH": answer, "": NO})
        return server, replace(self.at(self.listen(server), ENCRYPT), login=US)

    def tokens(self, server: TlsServer) -> list[str]:
        """Those that the next hop was told."""
        said = [b64decode(line.split()[2]).decode() for line in server.commands if line.startswith("AUTH XOAUTH2 ")]
        return [each.partition("Bearer ")[2].rstrip("\1") for each in said]

    @inlineCallbacks
    def test_let_in(self) -> Steps:
        """One token serves all connections, and idle ones are used by whoever logs in the same way."""
        server, destination = self.server(YES)
        for _ in range(2):
            outcome = yield self.deliver(destination)
            assert isinstance(outcome, Delivered), outcome
        self.assertEqual(1, len(server.sessions))
        yield self.deliver(replace(destination, login=replace(US, user="them")))
        self.assertEqual(["token-1", "token-1"], self.tokens(server))
        self.assertEqual(1, len(self.endpoint.requests))

    @inlineCallbacks
    def test_rejected(self) -> Steps:
        """A rejected token is discarded and another tried once; then the message waits, with one alarm."""
        server, destination = self.server(NO)
        for _ in range(3):
            outcome = yield self.deliver(destination)
            assert isinstance(outcome, Deferral), outcome
            self.assertEqual((Phase.AUTH, Scope.OURSELVES, "4.7.8"), (outcome.phase, outcome.scope, outcome.enhanced))
        self.assertEqual(["token-1", "token-2"], self.tokens(server))
        self.assertEqual(1, [kind for kind, _ in self.notes].count("credentials-rejected"))
        self.assertNotIn("token-1", str([fields for _, fields in self.notes]))

    @inlineCallbacks
    def test_endpoint_down(self) -> Steps:
        """Without a token nobody is connected to, and the reason names the endpoint; nothing was rejected."""
        self.endpoint.answer = lambda _form: (503, {})
        server, destination = self.server(YES)
        outcome = yield self.deliver(destination)
        assert isinstance(outcome, Deferral), outcome
        self.assertEqual("no access token mail is to be had from 127.0.0.1: it answered 503", outcome.reason)
        self.assertEqual((Phase.AUTH, Scope.OURSELVES), (outcome.phase, outcome.scope))
        self.assertEqual([], server.sessions)
        self.assertEqual(["token-failed"], [kind for kind, _ in self.notes])

    @inlineCallbacks
    def test_untrusted_endpoint(self) -> Steps:
        """A token server that can't prove who it is gets no secret."""
        web = Https(reactor=cast(Any, reactor), resolver=FakeResolver(), trust_root=trusted(self.authorities))
        self.source._web = web
        _server, destination = self.server(YES)
        outcome = yield self.deliver(destination)
        assert isinstance(outcome, Deferral), outcome
        self.assertIn("the certificate", outcome.reason)
        self.assertEqual([], self.endpoint.requests)

    @inlineCallbacks
    def test_error_of_the_mechanism(self) -> Steps:
        """334 with an error, the empty answer, 535: the reason has the server's word for it."""
        error = b"334 " + b64encode(b'{"status":"401"}') + b"\r\n"
        _server, destination = self.server(error)
        outcome = yield self.deliver(destination)
        assert isinstance(outcome, Deferral), outcome
        self.assertIn("(AUTH XOAUTH2): 535 5.7.8 no (401)", outcome.reason)
