"""Delivering into Maildirs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar
from unittest.mock import patch

from twisted.internet.defer import CancelledError, Deferred, fail, maybeDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address
from mta.delivery.group_store import GROUPS_AT_ONCE
from mta.delivery.maildir import MaildirAgent
from mta.destination import Destination, NextHop, Transport
from mta.envelope import Body
from mta.outcome import Deferral, Delivered, Failure, Outcome, Phase, Scope
from tests.delivery.material import ONE, TEXT, TWO, Content, delivery
from tests.smtp_client.dialogue import brief

T = TypeVar("T")


class MaildirTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.base = Path(self.mktemp())
        self.base.mkdir()
        self.clock = Clock()
        self.clock.rightNow = 1_700_000_000.25
        self.works = 0
        self.agent = MaildirAgent(
            base=self.base, hostname="mx/1:2.test", clock=self.clock, run_in_thread=self.run_in_thread
        )

    def run_in_thread(self, work: Callable[[], T], /) -> Deferred[T]:
        self.works += 1
        return maybeDeferred(work)

    def deliver(
        self,
        *recipients: Address,
        content: Content | None = None,
        sender: Address | None = None,
        template: str = "mail/{user}/Maildir",
    ) -> Mapping[Address, Outcome]:
        destination = Destination(NextHop(Transport.MAILDIR, template), "maildir")
        return self.successResultOf(self.agent.deliver(delivery(destination, recipients, content, sender)))

    def files(self, mailbox: str = "mail/one/Maildir") -> list[Path]:
        return sorted((self.base / mailbox / "new").iterdir())

    def test_content(self) -> None:
        """What is stored is a Return-Path (RFC 5321 4.4) and the content, with the line ends of the system."""
        for sender, path in ((Address("a b", "from.test"), b'"a b"@from.test'), (None, b"")):
            self.setUp()
            outcome = self.deliver(ONE, sender=sender)[ONE]
            self.assertEqual(Delivered("maildir:mail/one/Maildir", phase=Phase.STORE), outcome)
            (file,) = self.files()
            self.assertEqual(b"Return-Path: <" + path + b">\n" + TEXT.replace(b"\r\n", b"\n"), file.read_bytes())

    def test_binary(self) -> None:
        """Of a message that is declared as binary every octet is stored as it came, at hand or in chunks."""
        data = b"MIME-Version: 1.0\r\nContent-Transfer-Encoding: binary\r\n\r\n\x00\r\n\n\r\xff\r\r\n"
        for size in (None, 1, 7, 50):
            self.setUp()
            destination = Destination(NextHop(Transport.MAILDIR, "mail/{user}/Maildir"), "maildir")
            what = delivery(destination, (ONE,), Content(data, size), body=Body.BINARY_MIME)
            self.assertEqual("delivered", brief(self.successResultOf(self.agent.deliver(what))[ONE]))
            (file,) = self.files()
            self.assertEqual(b"Return-Path: <sender@from.test>\r\n" + data, file.read_bytes())

    def test_small_takes_one_trip(self) -> None:
        """A message at hand takes one trip to a thread."""
        self.deliver(ONE)
        self.assertEqual(1, self.works)

    def test_many_recipients_share_trips(self) -> None:
        """A message for many goes to their mailboxes together."""
        gates: list[Deferred[None]] = []
        agent = MaildirAgent(
            base=self.base, hostname="mx", clock=self.clock, run_in_thread=lambda work: self.wait_then(work, gates)
        )
        users = tuple(Address(f"user{number}", "to.test") for number in range(20))
        destination = Destination(NextHop(Transport.MAILDIR, "{user}"), "maildir")
        waiting = agent.deliver(delivery(destination, users))
        trips = 0
        while gates:
            trips += 1
            gates.pop().callback(None)
        self.assertEqual(["delivered"] * 20, [brief(each) for each in self.successResultOf(waiting).values()])
        self.assertEqual((20, GROUPS_AT_ONCE + 1), (len(list(self.base.glob("user*/new/*"))), trips))

    def test_large(self) -> None:
        """A large message is stored chunk by chunk, whatever its chunks cut through."""
        text = b"line\r\n" * 1000
        for size in (1, 7, 4096, 6000, 10_000):
            self.setUp()
            content = Content(text, size)
            self.assertEqual("delivered", brief(self.deliver(ONE, content=content)[ONE]))
            (file,) = self.files()
            self.assertTrue(file.read_bytes().endswith(b">\n" + b"line\n" * 1000))

    def test_one_chunk_at_a_time(self) -> None:
        """No chunk is read before the one in front of it was written: memory does not grow with the message."""
        content = Content(b"x" * 30, 10)
        held: list[Deferred[None]] = []
        agent = MaildirAgent(
            base=self.base,
            hostname="mx",
            clock=self.clock,
            run_in_thread=lambda work: self.wait_then(work, held),
        )
        destination = Destination(NextHop(Transport.MAILDIR, "{user}"), "maildir")
        waiting = agent.deliver(delivery(destination, content=content))
        reads = []
        while held:
            reads.append(len(content.read))
            held.pop().callback(None)
        self.assertEqual([0, 0, 1, 2, 3, 3], reads)
        self.successResultOf(waiting)

    def wait_then(self, work: Callable[[], T], held: list[Deferred[None]]) -> Deferred[T]:
        gate: Deferred[None] = Deferred()
        held.append(gate)
        return gate.addCallback(lambda _: work())

    def test_nobody(self) -> None:
        """For a user who is not there nothing is made, and the failure is a lasting one; the others get theirs."""
        agent = MaildirAgent(
            base=self.base,
            hostname="mx",
            clock=self.clock,
            run_in_thread=self.run_in_thread,
            is_nobody=lambda address: address == TWO,
        )
        destination = Destination(NextHop(Transport.MAILDIR, "{user}"), "maildir")
        outcomes = self.successResultOf(agent.deliver(delivery(destination, (TWO, ONE))))
        failure = outcomes[TWO]
        assert isinstance(failure, Failure)
        self.assertEqual(("5.1.1", "delivered"), (failure.enhanced, brief(outcomes[ONE])))
        self.assertEqual(["one"], [path.name for path in self.base.iterdir()])

    def test_nobody_can_tell(self) -> None:
        """While it can't be told whether a user is here the mail waits, whether that comes at once or later."""

        def raises(_address: Address) -> bool:
            raise LookupError("users.test: no answer")

        for is_nobody in (raises, lambda _address: fail(LookupError("users.test: no answer"))):
            agent = MaildirAgent(
                base=self.base, hostname="mx", clock=self.clock, run_in_thread=self.run_in_thread, is_nobody=is_nobody
            )
            destination = Destination(NextHop(Transport.MAILDIR, "{user}"), "maildir")
            outcome = self.successResultOf(agent.deliver(delivery(destination, (ONE,))))[ONE]
            assert isinstance(outcome, Deferral)
            self.assertEqual(("4.4.3", "users.test: no answer"), (outcome.enhanced, outcome.reason))
        self.assertEqual([], list(self.base.iterdir()))

    def test_a_mailbox_for_two(self) -> None:
        """Recipients that share a mailbox get a copy each."""
        outcomes = self.deliver(ONE, TWO, template="shared")
        self.assertEqual(["delivered"] * 2, [brief(outcomes[ONE]), brief(outcomes[TWO])])
        self.assertEqual(2, len(self.files("shared")))

    def test_names(self) -> None:
        """A file is named after message and recipient, sorts by arrival, and holds no "/" or ":" of the host."""
        self.deliver(ONE)
        (first,) = (path.name for path in self.files())
        self.assertRegex(first, r"^1700000000\.M\d+Q[0-9A-Z]{13}R[0-9a-f]{8}\.mx\\0571\\0722\.test$")

    def test_again_after_a_crash(self) -> None:
        """A delivery that a crash kept from being recorded is made again over its own file, past a broken draft."""
        for content in (Content(), Content(b"x" * 30, 10)):
            self.deliver(ONE, content=Content(b"x" * 30, 10, broken=2))
            self.deliver(ONE, content=content)
            self.deliver(ONE, content=content)
            self.assertEqual(1, len(self.files()))

    def test_one_broken_mailbox(self) -> None:
        """A mailbox that can't be written to defers its recipient, and nobody else."""
        (self.base / "mail").mkdir()
        (self.base / "mail/one").write_text("in the way")
        outcomes = self.deliver(ONE, TWO)
        outcome = outcomes[ONE]
        assert isinstance(outcome, Deferral)
        self.assertEqual((Phase.STORE, Scope.OURSELVES, "4.3.0"), (outcome.phase, outcome.scope, outcome.enhanced))
        self.assertIn("cannot write to maildir:mail/one/Maildir: ", outcome.reason)
        self.assertEqual("delivered", brief(outcomes[TWO]))

    def test_no_trouble_is_a_failure(self) -> None:
        """A full disk, a quota, a missing permission, a bug: the mail waits (DESIGN, invariant 6)."""
        for error, enhanced in (
            (OSError(28, "No space left on device"), "4.3.1"),
            (OSError(122, "Disk quota exceeded"), "4.3.1"),
            (PermissionError(13, "Permission denied"), "4.3.0"),
            (OSError(5, "Input/output error"), "4.3.0"),
            (OSError("without a number"), "4.3.0"),
            (KeyError("a bug"), "4.3.0"),
        ):
            for content in (Content(), Content(TEXT, 10)):
                with patch("os.open", side_effect=error):
                    outcome = self.deliver(ONE, content=content)[ONE]
                self.assertEqual(f"deferral {enhanced} ourselves", brief(outcome), error)

    def test_interrupted(self) -> None:
        """A message that breaks off between chunks leaves no file."""
        self.deliver(ONE, content=Content(b"x" * 30, 10, broken=2))
        self.assertEqual([], self.files())
        self.assertEqual([], list((self.base / "mail/one/Maildir/tmp").iterdir()))

    def test_hostile_address(self) -> None:
        """An address can't lead out of the state directory."""
        for local in ("../../x", "/etc/x", "..", "a/../../b"):
            self.assertEqual("delivered", brief(self.deliver(Address(local, "to.test"))[Address(local, "to.test")]))
        self.assertEqual(["mail"], [path.name for path in self.base.iterdir()])
        self.assertEqual(4, len(list((self.base / "mail").iterdir())))
        outside = self.deliver(ONE, template="../{user}")[ONE]
        self.assertEqual("deferral 4.2.0 recipient", brief(outside))

    def test_cancelled(self) -> None:
        """A delivery that is cancelled says so."""
        content = Content(TEXT, 10)
        content.held = []
        destination = Destination(NextHop(Transport.MAILDIR, "{user}"), "maildir")
        waiting = self.agent.deliver(delivery(destination, content=content))
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
