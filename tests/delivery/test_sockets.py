"""The remote agent over real sockets on the loopback interface."""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import Any, cast

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults, inlineCallbacks, maybeDeferred
from twisted.internet.interfaces import IListeningPort
from twisted.trial.unittest import TestCase

from mta.delivery.connecting import IReactorSMTP
from mta.delivery.health import Health
from mta.delivery.remote import RemoteAgent
from mta.destination import Destination, Host, NextHop, Transport
from mta.dns.fake import FakeResolver
from mta.outcome import Deferral, Phase, Scope
from tests.delivery.material import LIMITS, ONE, TEXT, TIMEOUTS, TWO, Content, delivery
from tests.peers.scripted import CHUNKING, PIPELINING, Close, Script, ScriptedServer
from tests.smtp_client.dialogue import brief

Steps = Generator[Deferred[Any], Any, None]


class SocketTests(TestCase):
    timeout = 20

    def setUp(self) -> None:
        self.agent = self.make_agent()
        self.addCleanup(self.agent.stop)

    def listen(self, script: Script | None = None) -> tuple[ScriptedServer, Destination]:
        server = ScriptedServer(script)
        listening: IListeningPort = cast(Any, reactor).listenTCP(0, server, interface="127.0.0.1")
        self.addCleanup(listening.stopListening)
        return server, self.destination(cast(Any, listening.getHost()).port)

    def make_agent(self, **more: Any) -> RemoteAgent:
        return RemoteAgent(
            reactor=cast(IReactorSMTP, reactor),
            resolver=FakeResolver(),
            timeouts=TIMEOUTS,
            limits=LIMITS,
            hello="client.test",
            health=Health(60.0, 3600.0),
            rng=random.Random(1),
            **more,
        )

    def destination(self, port: int) -> Destination:
        return Destination(NextHop(Transport.SMTP, "127.0.0.1", port), f"127.0.0.1:{port}", (Host("127.0.0.1", port),))

    @inlineCallbacks
    def test_delivery(self) -> Steps:
        """A message arrives, and the next one uses the same connection."""
        server, destination = self.listen()
        for _ in range(2):
            outcomes = yield self.agent.deliver(delivery(destination, (ONE, TWO)))
            self.assertEqual(["delivered"] * 2, [brief(outcome) for outcome in outcomes.values()])
        self.assertEqual([TEXT] * 2, server.messages)
        self.assertEqual(1, len(server.sessions))

    @inlineCallbacks
    def test_large(self) -> Steps:
        """Megabytes pass whole, each octet, with several under way at once."""
        server, destination = self.listen()
        text = b"".join(b"%d .line\r\n.\r\n" % number for number in range(60_000))
        several = [self.agent.deliver(delivery(destination, content=Content(text, 262_144))) for _ in range(3)]
        results = yield gatherResults(several)
        self.assertEqual(["delivered"] * 3, [brief(outcomes[ONE]) for outcomes in results])
        self.assertEqual([text] * 3, server.messages)

    @inlineCallbacks
    def test_lone_cr_at_the_end(self) -> Steps:
        """A piece of which nothing can leave yet does not stop the content."""
        for hello in (PIPELINING, CHUNKING):
            server, destination = self.listen({"EHLO": hello})
            agent = self.make_agent(bdat=True)
            self.addCleanup(agent.stop)
            outcomes = yield agent.deliver(delivery(destination, content=Content(b"x" * 65_536 + b"\r", 262_144)))
            self.assertEqual("delivered", brief(outcomes[ONE]))
            self.assertEqual([b"x" * 65_536 + b"\r\n"], server.messages)

    @inlineCallbacks
    def test_unix_socket(self) -> Steps:
        """LMTP over a UNIX socket below the base; one that is not there is a deferral of the site."""
        base = Path(tempfile.mkdtemp())  # short: the path of a socket has room for 108 octets
        self.addCleanup(shutil.rmtree, base)
        server = ScriptedServer({".": [b"250 2.1.5 stored\r\n", b"452 4.2.2 full\r\n"]})
        listening: IListeningPort = cast(Any, reactor).listenUNIX(str(base / "lmtp"), server)
        self.addCleanup(listening.stopListening)
        agent = self.make_agent(base=base)
        self.addCleanup(agent.stop)
        for path in ("lmtp", str(base / "lmtp")):
            destination = Destination(NextHop(Transport.LMTP_UNIX, path), f"lmtp+unix:{path}")
            outcomes = yield agent.deliver(delivery(destination, (ONE, TWO)))
            self.assertEqual("deferral 4.2.2 recipient", brief(outcomes[TWO]))
        self.assertEqual("LHLO client.test", server.commands[0])
        nowhere = Destination(NextHop(Transport.LMTP_UNIX, "nobody"), "lmtp+unix:nobody")
        outcome = (yield agent.deliver(delivery(nowhere)))[ONE]
        self.assertIn("No such file", outcome.reason)
        self.assertEqual((Phase.CONNECT, Scope.SITE), (outcome.phase, outcome.scope))

    @inlineCallbacks
    def test_refused_within_large(self) -> Steps:
        """A server that refuses in the middle of the content and closes is heard, though we were writing."""
        _, destination = self.listen({"content": Close(b"552 5.3.4 too big\r\n")})
        outcomes = yield self.agent.deliver(delivery(destination, content=Content(b"line\r\n" * 500_000, 262_144)))
        self.assertEqual("failure 5.3.4", brief(outcomes[ONE]))

    @inlineCallbacks
    def test_refused_connection(self) -> Steps:
        """A port where nobody listens is a deferral that says so."""
        listening: IListeningPort = cast(Any, reactor).listenTCP(0, ScriptedServer(), interface="127.0.0.1")
        port = cast(Any, listening.getHost()).port
        yield maybeDeferred(listening.stopListening)
        outcome = (yield self.agent.deliver(delivery(self.destination(port))))[ONE]
        assert isinstance(outcome, Deferral)
        self.assertIs(Phase.CONNECT, outcome.phase)
        self.assertEqual(f"cannot connect to 127.0.0.1[127.0.0.1]:{port}: Connection refused", outcome.reason)

    @inlineCallbacks
    def test_closed_after_the_dot(self) -> Steps:
        """A server that closes after the final dot leaves the message in doubt."""
        _, destination = self.listen({".": Close()})
        outcome = (yield self.agent.deliver(delivery(destination)))[ONE]
        self.assertIn("in doubt", outcome.reason)

    @inlineCallbacks
    def test_cancelled(self) -> Steps:
        """A delivery that is cancelled leaves nothing behind on either side."""
        server, destination = self.listen({"MAIL": b""})
        waiting = self.agent.deliver(delivery(destination))
        while not server.sessions or len(server.commands) < 2:
            yield self.turn()
        waiting.cancel()
        self.failureResultOf(waiting)
        while not server.sessions[0].gone:
            yield self.turn()

    def turn(self) -> Deferred[None]:
        """A turn of the reactor."""
        turned: Deferred[None] = Deferred()
        cast(Any, reactor).callLater(0.001, turned.callback, None)
        return turned
