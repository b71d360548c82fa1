"""All agents pass the contract of `IDeliveryAgent`."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, TypeVar

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mta.delivery.discard import DiscardAgent
from mta.delivery.dispatch import AgentByTransport
from mta.delivery.health import Health
from mta.delivery.maildir import MaildirAgent
from mta.delivery.remote import RemoteAgent
from mta.destination import Destination, Host, NextHop, Transport
from mta.dns.fake import FakeResolver
from tests.contracts.agents import AgentContract
from tests.delivery.material import LIMITS, TIMEOUTS
from tests.delivery.network import Network
from tests.peers.scripted import CHUNKING, ONE_AT_A_TIME, Script, ScriptedServer

T = TypeVar("T")

DISCARD = Destination(NextHop(Transport.DISCARD), "discard")


def at_once(work: Callable[[], T]) -> Deferred[T]:
    """Runs work in this thread."""
    return maybeDeferred(work)


class DiscardTests(AgentContract, SynchronousTestCase):
    reads_content = False

    def setUp(self) -> None:
        self.agent = DiscardAgent()
        self.destination = DISCARD


class MaildirTests(AgentContract, SynchronousTestCase):
    def setUp(self) -> None:
        self.base = Path(self.mktemp())
        self.base.mkdir()
        self.agent = MaildirAgent(base=self.base, hostname="mx.test", clock=Clock(), run_in_thread=at_once)
        self.destination = Destination(NextHop(Transport.MAILDIR, "{domain}/{user}"), "maildir")

    def arrived(self) -> list[bytes]:
        head = b"Return-Path: <sender@from.test>\r\n"
        return [path.read_bytes().removeprefix(head) for path in self.base.glob("*/*/new/*")]


class RemoteTests(AgentContract, SynchronousTestCase):
    script: ClassVar[Script] = {}
    transport = Transport.SMTP
    bdat = False

    def setUp(self) -> None:
        self.network = Network({("192.0.2.1", 2525): ScriptedServer(self.script)})
        self.agent = RemoteAgent(
            reactor=self.network,
            resolver=FakeResolver(),
            timeouts=TIMEOUTS,
            limits=LIMITS,
            hello="client.test",
            health=Health(60.0, 3600.0),
            rng=random.Random(1),
            base=Path("var"),
            bdat=self.bdat,
        )
        next_hop = NextHop(self.transport, "192.0.2.1", 2525)
        self.destination = Destination(next_hop, "192.0.2.1:2525", (Host("192.0.2.1", 2525),))

    def settle(self) -> None:
        self.network.settle()

    def arrived(self) -> list[bytes]:
        return [message for server in self.network.servers.values() for message in server.messages]  # type: ignore[attr-defined]


class RemoteWithoutPipeliningTests(RemoteTests):
    script: ClassVar[Script] = {"EHLO": ONE_AT_A_TIME}


class RemoteByChunksTests(RemoteTests):
    script: ClassVar[Script] = {"EHLO": CHUNKING}
    bdat = True


class LmtpTests(RemoteTests):
    transport = Transport.LMTP


class LmtpByChunksTests(LmtpTests):
    script: ClassVar[Script] = {"LHLO": CHUNKING}
    bdat = True


class LmtpUnixTests(RemoteTests):
    def setUp(self) -> None:
        super().setUp()
        self.network.servers["var/lmtp", 0] = ScriptedServer(self.script)
        self.destination = Destination(NextHop(Transport.LMTP_UNIX, "lmtp"), "lmtp+unix:lmtp")


class DispatchTests(AgentContract, SynchronousTestCase):
    reads_content = False

    def setUp(self) -> None:
        agent = DiscardAgent()
        self.agent = AgentByTransport({Transport.DISCARD: agent, Transport.MX: agent})
        self.destination = DISCARD
