"""All agents pass the contract of `IDeliveryAgent`."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar, Literal, TypeVar
from unittest.mock import patch

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mta.delivery.capture import CaptureAgent
from mta.delivery.discard import DiscardAgent
from mta.delivery.dispatch import AgentByTransport
from mta.delivery.health import Health
from mta.delivery.maildir import MaildirAgent
from mta.delivery.maildir_plus import MaildirPlusAgent
from mta.delivery.maildir_quota import Quota
from mta.delivery.mbox import MboxAgent
from mta.delivery.pipe import PipeAgent, PipeProgram
from mta.delivery.post import Hook, PostAgent
from mta.delivery.remote import RemoteAgent
from mta.destination import Destination, Host, NextHop, Transport
from mta.dns.fake import FakeResolver
from mta.web import WebError, WebFault
from tests.contracts.agents import AgentContract
from tests.delivery.fake_web import FakeWeb
from tests.delivery.material import LIMITS, TIMEOUTS
from tests.delivery.network import Network
from tests.delivery.processes import ProcessesAtOnce
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

    def broken(self) -> None:
        """It uses nothing that could be."""


class MaildirTests(AgentContract, SynchronousTestCase):
    def setUp(self) -> None:
        self.base = Path(self.mktemp())
        self.base.mkdir()
        self.agent = MaildirAgent(base=self.base, hostname="mx.test", clock=Clock(), run_in_thread=at_once)
        self.destination = Destination(NextHop(Transport.MAILDIR, "{domain}/{user}"), "maildir")

    def arrived(self) -> list[bytes]:
        head = b"Return-Path: <sender@from.test>\r\n"
        return [path.read_bytes().removeprefix(head) for path in self.base.glob("*/*/new/*")]

    def spelled(self, data: bytes) -> bytes:
        return data.replace(b"\r\n", b"\n")


class MaildirPlusTests(MaildirTests):
    def setUp(self) -> None:
        super().setUp()
        self.agent = MaildirPlusAgent(
            base=self.base,
            hostname="mx.test",
            clock=Clock(),
            run_in_thread=at_once,
            quota=Quota(100_000_000, 1000),
            folders=True,
        )


class CaptureTests(MaildirTests):
    def setUp(self) -> None:
        super().setUp()
        self.agent = CaptureAgent(self.agent)
        self.destination = Destination(NextHop(Transport.CAPTURE, "all/{user}"), "capture")

    def arrived(self) -> list[bytes]:
        head = b"X-Original-To: one@to.test\r\nX-Captured-For: one@to.test\r\n"
        return [content.removeprefix(head) for content in super().arrived()]


class MboxTests(AgentContract, SynchronousTestCase):
    def setUp(self) -> None:
        self.base = Path(self.mktemp()).absolute()
        self.base.mkdir()
        self.agent = MboxAgent(base=self.base, clock=Clock(), run_in_thread=at_once)
        self.destination = Destination(NextHop(Transport.MBOX, "mail/{user}"), "mbox")

    def arrived(self) -> list[bytes]:
        return [path.read_bytes() for path in self.base.glob("mail/*")]

    def spelled(self, data: bytes) -> bytes:
        return re.sub(rb"(?m)^(>*From )", rb">\1", data.replace(b"\r\n", b"\n"))


class PipeTests(AgentContract, SynchronousTestCase):
    for_all = False

    def setUp(self) -> None:
        self.base = Path(self.mktemp()).absolute()
        (self.base / "out").mkdir(parents=True)
        program = PipeProgram(
            # Not a shell of ours: what an operator may write.
            command=("/bin/sh", "-c", 'cat > "$0/$$"', str(self.base / "out")),
            for_all=self.for_all,
            crlf=True,
        )
        self.agent = PipeAgent(
            {"keep": program}, base=self.base, reactor=ProcessesAtOnce(), run_in_thread=at_once, euid=lambda: 1000
        )
        self.destination = Destination(NextHop(Transport.PIPE, "keep"), "pipe:keep")

    def arrived(self) -> list[bytes]:
        head = b"Return-Path: <sender@from.test>\r\nDelivered-To: one@to.test\r\n"
        return [path.read_bytes().removeprefix(head) for path in (self.base / "out").iterdir()]


class PipeForAllTests(PipeTests):
    for_all = True


class PostTests(AgentContract, SynchronousTestCase):
    form: Literal["raw", "json"] = "raw"

    def setUp(self) -> None:
        self.web = FakeWeb()
        hooks = {"https://x.test/": Hook(self.form)}
        self.agent = PostAgent(hooks, web=self.web, clock=Clock(), run_in_thread=at_once)
        self.destination = Destination(NextHop(Transport.HTTPS, "//x.test/"), "https://x.test")

    def arrived(self) -> list[bytes] | None:
        return [request.body for request in self.web.requests]

    @contextmanager
    def broken(self) -> Iterator[None]:
        """The server's certificate can't be verified."""
        usual, self.web.answer = self.web.answer, WebError("x.test: the certificate has expired", WebFault.CERTIFICATE)
        yield
        self.web.answer = usual
        self.web.requests.clear()


class PostJsonTests(PostTests):
    form = "json"

    def arrived(self) -> None:
        """Taken apart."""


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

    @contextmanager
    def broken(self) -> Iterator[None]:
        """The network is gone; an hour after it is back hosts are tried again."""
        with patch.dict(self.network.servers, clear=True):
            yield
        self.network.pass_time(3600.0)

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

    def broken(self) -> None:
        """As the agent behind it."""
