"""Delivering to a next hop that wants to know who we are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from twisted.internet.defer import inlineCallbacks

from mta.destination import Destination
from mta.login import Login
from mta.outcome import Deferral, Delivered, Phase
from tests.delivery.test_tls import ENCRYPT, GOOD, Steps, TlsCase
from tests.peers.scripted_tls import STARTTLS, TlsServer

AUTH = STARTTLS.replace(b"250-SIZE", b"250-AUTH PLAIN\r\n250-SIZE")
US, THEM = Login("us", "right"), Login("them", "right")


class LoginTests(TlsCase):
    def setUp(self) -> None:
        super().setUp()
        self.notes: list[tuple[str, Mapping[str, str]]] = []
        self.agent._entrance._rejected._note = lambda kind, fields: self.notes.append((kind, fields))

    def server(self, answer: bytes) -> tuple[TlsServer, Destination]:
        server = TlsServer(GOOD, {"EHLO": AUTH, "AUTH": answer})
        return server, replace(self.at(self.listen(server), ENCRYPT), login=US)

    @inlineCallbacks
    def test_let_in(self) -> Steps:
        """The password goes over TLS, and another message of ours over the same connection; one of others does not."""
        server, destination = self.server(b"235 2.7.0 ok\r\n")
        for login, sessions in ((US, 1), (US, 1), (THEM, 2), (None, 3)):
            outcome = yield self.deliver(replace(destination, login=login))
            assert isinstance(outcome, Delivered), outcome
            self.assertEqual(sessions, len(server.sessions), login)
        self.assertEqual(["EHLO", "STAR", "EHLO", "AUTH", "MAIL"], [line[:4] for line in server.commands[:5]])
        self.assertEqual([], self.notes)

    @inlineCallbacks
    def test_rejected(self) -> Steps:
        """Rejected credentials defer, raise one alarm without the password, and are not tried again for a while."""
        server, destination = self.server(b"535 5.7.8 no\r\n")
        for _ in range(3):
            outcome = yield self.deliver(destination)
            assert isinstance(outcome, Deferral), outcome
            self.assertEqual((Phase.AUTH, "4.7.8"), (outcome.phase, outcome.enhanced))
            self.assertIn("rejected our credentials for us (AUTH PLAIN): 535 5.7.8 no", outcome.reason)
        self.assertEqual(1, len(server.sessions))
        ((kind, fields),) = self.notes
        self.assertEqual(("credentials-rejected", "us"), (kind, fields["user"]))
        self.assertNotIn("right", str(fields))
