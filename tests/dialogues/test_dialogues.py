"""The dialogues of this folder, played over an in-memory transport, byte by byte too, and over a real socket."""

from __future__ import annotations

from collections import deque
from collections.abc import Coroutine
from typing import Any, cast

from twisted.internet import reactor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python import failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from mta.address import Address
from mta.destination import Destination, NextHop, Transport
from mta.outcome import Failure, Phase
from mta.policy.directory import Directory
from mta.policy.relay import RelayPolicy
from tests.dialogues.script import Peer, Script, matches, play, scripts
from tests.policy.limits import limits_for_tests
from tests.server.fakes import HOSTNAME, Client, Site

ALL = scripts()


def located(recipient: Address) -> Destination | Failure:
    """What the DNS of a dialogue says of a recipient's domain."""
    refused = {"null.test": "5.1.10", "nowhere.test": "5.1.2"}.get(recipient.domain)
    if refused is not None:
        return Failure("", Phase.DNS, enhanced=refused)
    return Destination(NextHop(Transport.MX), recipient.domain)


def site_for(script: Script, ip: str, **changed: Any) -> Site:
    """The server of a dialogue, for a client at this address."""
    directory = Directory(
        domains=["local.test", "foo.com"],
        users=["alice", "bob", "jones", "brown", "chris", "pat", "süd"],
        aliases={
            "sales": ["alice", "bob@far.test"],
            "boss": ["bob"],
            "everyone": ["sales", "pat"],
            "abroad": ["alice", "ñ@far.test"],
        },
        moved={"gone": "new@far.test", "away": "ñ@far.test"},
        hostname=HOSTNAME,
    )
    policy = RelayPolicy(
        directory,
        networks=[ip] if script.trusted else [],
        relay_domains=[],
        refused=[ip] if script.refused else [],
    )
    if script.no_reports:
        changed["reports_room"] = lambda _sender, _now: False
    if script.check_domains:
        changed["locate"] = located
    limits = limits_for_tests(**{"error_delay": 0.0, **script.limits})
    return Site(limits, role=script.role, policy=policy, etrn_domains=["etrn.test"], **changed)


def stored(site: Site) -> list[str]:
    """As `Peer.stored` says."""
    found = []
    for entry, origin, _ in site.spool.committed:
        words = [f"sender {entry.sender}", f"body {entry.body.value}", f"envid {entry.envid}"]
        words += [f"ret {entry.ret.value if entry.ret else ''}", f"protocol {origin.protocol}", f"utf8 {entry.utf8}"]
        for to in entry.recipients:
            notify = ",".join(sorted(item.value for item in to.notify or ()))
            words += [f"recipient {to.address}", f"notify {notify}", f"orcpt {to.orcpt}", f"named {to.named}"]
        words += [f"expanded {to.address}" for to in entry.expanded]
        words += [f"content {line.decode('utf-8', 'replace')}" for line in (entry.content or b"").split(b"\r\n")]
        found.append("\n".join(words))
    return found


class MemoryPeer:
    """A client on an in-memory transport, that sends `size` octets at a time."""

    def __init__(self, site: Site, size: int) -> None:
        self._site = site
        self._client: Client = site.connect()
        self._size = size
        self._lines: deque[str] = deque()

    def send(self, data: bytes) -> None:
        for at in range(0, len(data), self._size):
            self._take(self._client.say(data[at : at + self._size]))

    def _take(self, wire: bytes) -> None:
        self._lines.extend(wire.decode().split("\r\n")[:-1])

    def line(self) -> Deferred[str | None]:
        self._take(self._client.heard())
        if self._lines:
            return succeed(self._lines.popleft())
        return succeed(None if not self._client.open else "nothing")

    def stored(self) -> list[str]:
        return stored(self._site)


class SocketPeer(LineOnlyReceiver):
    """A client on a socket."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._lines: deque[str | None] = deque()
        self._waiting: Deferred[str | None] | None = None
        self.gone: Deferred[None] = Deferred()

    def lineReceived(self, line: bytes) -> None:
        self._heard(line.decode())

    def connectionLost(self, reason: failure.Failure | None = None) -> None:  # noqa: ARG002
        self._heard(None)
        self.gone.callback(None)

    def _heard(self, line: str | None) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(line)
        else:
            self._lines.append(line)

    def send(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(data)

    def line(self) -> Deferred[str | None]:
        if self._lines:
            return succeed(self._lines.popleft())
        self._waiting = Deferred()
        return self._waiting

    def stored(self) -> list[str]:
        return stored(self._site)


class MemoryTests(SynchronousTestCase):
    def play(self, script: Script, size: int) -> None:
        peer: Peer = MemoryPeer(site_for(script, "192.0.2.1"), size)
        playing: Coroutine[Any, Any, None] = play(script, peer)
        self.successResultOf(Deferred.fromCoroutine(playing))

    def test_whole(self) -> None:
        """Each dialogue goes as it is written."""
        self.assertGreaterEqual(len(ALL), 25)
        for script in ALL:
            self.play(script, 1_000_000)

    def test_in_pieces(self) -> None:
        """The same when it arrives in pieces, but where too much at once is what the dialogue is about."""
        for script in ALL:
            if not script.name.startswith("out_of_turn"):
                for size in (1, 50):
                    self.play(script, size)

    def test_patterns(self) -> None:
        """Patterns match whole lines and nothing more."""
        for pattern, line, expected in (
            ("250 ...", "250 2.1.0 Ok", True),
            ("250 ...", "250-x", False),
            ("250 Ok", "250 Ok ", False),
            ("/[45]\\d\\d .*/", "554 x", True),
            ("...HELP", "250 HELP", True),
        ):
            self.assertEqual(expected, matches(pattern, line), pattern)


class SocketTests(TestCase):
    timeout = 60

    async def play(self, script: Script) -> None:
        site = site_for(script, "127.0.0.1", clock=reactor)
        port = reactor.listenTCP(0, site.factory, interface="127.0.0.1")
        try:
            endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", cast("IPv4Address", port.getHost()).port)
            peer = await connectProtocol(endpoint, SocketPeer(site))
            try:
                await play(script, peer)
            finally:
                assert peer.transport is not None
                peer.transport.loseConnection()
                await peer.gone
        finally:
            await maybeDeferred(port.stopListening)
            await site.factory.stop()

    async def test_all(self) -> None:
        """Each dialogue goes the same way over a real socket."""
        for script in ALL:
            await self.play(script)
