"""Mailboxes in one file: what stands in them, locks, and what is left by those who died."""

from __future__ import annotations

import fcntl
import json
import mailbox
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address
from mta.delivery import mbox_file
from mta.delivery.dotlock import LockedError
from mta.delivery.mbox import MboxAgent
from mta.delivery.mbox_file import MboxMessage, append, from_line
from mta.destination import Destination, NextHop, Transport
from mta.entry import Delivery
from mta.envelope import Envelope, Recipient
from mta.outcome import Deferral, Outcome
from tests.delivery.material import ONE, SENDER, TEXT, TWO, Content, delivery, marked
from tests.smtp_client.dialogue import brief

T = TypeVar("T")
FIRST = b"From a@b.test Thu Jan  1 00:00:00 1970\n"
# Appends half of a message and dies, as by a power cut.
DYING = """
import os, signal, sys
from pathlib import Path
from mta.delivery import mbox_file
def dying(file, offset, lead, messages):
    data = lead + b"".join(messages[0].pieces())
    os.pwrite(file, data[: int(sys.argv[2])], offset)
    os.kill(os.getpid(), signal.SIGKILL)
mbox_file._write = dying
mbox_file.append(Path(sys.argv[1]), [mbox_file.MboxMessage({first!r}, b"Subject: torn\\n\\ntorn torn\\n")], None)
""".replace("{first!r}", repr(FIRST))


def at_once(work: Callable[[], T]) -> Deferred[T]:
    return maybeDeferred(work)


def read_back(data: bytes) -> list[bytes]:
    """The messages of an mboxrd, as a reader has them."""
    found: list[bytes] = []
    previous = b""
    for line in data.splitlines(keepends=True):
        if line.startswith(b"From ") and previous in (b"", b"\n"):
            found.append(b"")
        else:
            found[-1] += line[1:] if line.lstrip(b">").startswith(b"From ") else line
        previous = line
    return [message[:-1] for message in found]  # without the blank line behind


class AppendTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.box = self.folder / "box"
        self.lock = self.folder / "box.lock"

    def append(self, *contents: bytes) -> None:
        append(self.box, [MboxMessage(FIRST, content) for content in contents], None)

    def die(self, octets: int) -> None:
        """Have a process die that had written so many octets."""
        ran = subprocess.run([sys.executable, "-c", DYING, str(self.box), str(octets)], check=False)
        self.assertEqual(-9, ran.returncode)

    def test_format(self) -> None:
        """A From_ line, the message, a blank line; an unfinished last line is ended."""
        self.append(b"Subject: 1\n\nFrom here\n>From there\nFromage\n", b"Subject: 2\n\nno end")
        self.assertEqual(
            FIRST + b"Subject: 1\n\n>From here\n>>From there\nFromage\n\n" + FIRST + b"Subject: 2\n\nno end\n\n",
            self.box.read_bytes(),
        )
        self.assertEqual(0o600, self.box.stat().st_mode & 0o777)
        self.assertEqual(["1", "2"], [message["Subject"] for message in mailbox.mbox(self.box)])

    @settings(deadline=None, max_examples=100, derandomize=True)
    @given(
        st.lists(st.lists(st.sampled_from([b"From ", b">From x", b">>", b"", b"a", b"From", b" From "])), min_size=1)
    )
    def test_quoting(self, messages: list[list[bytes]]) -> None:
        """Whatever lines a message has, a reader of mboxrd has it as it was."""
        contents = [b"Subject: x\n\n" + b"".join(line + b"\n" for line in lines) for lines in messages]
        self.box.unlink(missing_ok=True)
        self.append(*contents)
        self.assertEqual(contents, read_back(self.box.read_bytes()))

    def test_from_line(self) -> None:
        """The sender is one word, and nobody for a bounce; the date is in UTC."""
        self.assertEqual(b"From MAILER-DAEMON Thu Jan  1 00:00:00 1970\n", from_line(None, 0.0))
        self.assertEqual(b'From "a_b"@c.test Tue Nov 14 22:13:20 2023\n', from_line(Address("a b", "c.test"), 1.7e9))

    def test_other_programs_end(self) -> None:
        """Behind what another program has left without a blank line, the next From_ line is seen all the same."""
        for end, lead in ((b"", b""), (b"x", b"\n\n"), (b"x\n", b"\n"), (b"x\n\n", b""), (b"\n", b"\n")):
            self.box.write_bytes(end)
            self.append(b"y\n")
            self.assertEqual(end + lead + FIRST + b"y\n\n", self.box.read_bytes())

    def test_dotlock(self) -> None:
        """Who holds the dotlock keeps us out; one that is older than anybody holds a mailbox does not."""
        self.lock.touch()
        self.assertRaises(LockedError, self.append, b"x\n")
        self.assertFalse(self.box.exists())
        os.utime(self.lock, (time.time() - 501, time.time() - 501))
        self.append(b"x\n")
        self.assertFalse(self.lock.exists())

    def test_fcntl_lock(self) -> None:
        """Who holds the fcntl lock keeps us out, and our dotlock is gone again."""
        self.append(b"x\n")
        holder = subprocess.Popen(
            [
                sys.executable,
                "-c",
                "import fcntl, sys; f = open(sys.argv[1], 'r+'); fcntl.lockf(f, fcntl.LOCK_EX); print(1, flush=True);"
                "sys.stdin.read()",
                str(self.box),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert holder.stdout
        holder.stdout.read(1)
        before = self.box.read_bytes()
        self.assertRaises(LockedError, self.append, b"y\n")
        self.assertEqual((before, False), (self.box.read_bytes(), self.lock.exists()))
        holder.communicate()
        self.append(b"y\n")
        self.assertEqual(2, len(read_back(self.box.read_bytes())))

    def test_both_locks_are_held(self) -> None:
        """While we write, others find the dotlock and the fcntl lock."""
        seen: list[int] = []
        write = mbox_file._write

        def looking(*arguments: object) -> None:
            look = "import fcntl, sys; fcntl.lockf(open(sys.argv[1], 'r+'), fcntl.LOCK_EX | fcntl.LOCK_NB)"
            ran = subprocess.run([sys.executable, "-c", look, str(self.box)], stderr=subprocess.DEVNULL, check=False)
            seen.append(ran.returncode)
            self.assertEqual(str(os.getpid()), self.lock.read_text().split()[0])
            write(*arguments)  # type: ignore[arg-type]

        with patch.object(mbox_file, "_write", looking):
            self.append(b"x\n")
        self.assertEqual([1], seen)
        with self.box.open("r+") as file:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def test_full_disk(self) -> None:
        """A write that fails leaves the mailbox as it was, and no lock."""
        self.append(b"x\n")
        before = self.box.read_bytes()
        pwrite = os.pwrite

        def filling(file: int, data: bytes, offset: int) -> int:
            if offset > len(before) + 20:
                raise OSError(28, "No space left on device")
            return pwrite(file, bytes(data)[:10], offset)

        with patch("os.pwrite", filling):
            self.assertRaises(OSError, append, self.box, [MboxMessage(FIRST, b"y" * 100)], None)
        self.assertEqual((before, False), (self.box.read_bytes(), self.lock.exists()))

    def test_torn(self) -> None:
        """What a dead process has left of a message, however much, is cut off by the next delivery."""
        for octets in (0, 1, 5, len(FIRST), 60, 1000):
            for begin in (b"", FIRST + b"x\n\n", FIRST + b"broken"):
                self.box.write_bytes(begin)
                self.die(octets)
                self.assertTrue(self.lock.exists())
                self.append(b"whole\n")
                lead = b"\n\n" if begin.endswith(b"broken") else b""
                self.assertEqual(begin + lead + FIRST + b"whole\n\n", self.box.read_bytes())
                self.assertFalse(self.lock.exists())

    def test_torn_to_zeros(self) -> None:
        """So is what a power cut made zeros of."""
        self.box.write_bytes(b"")
        self.die(10)
        self.box.write_bytes(FIRST[:10] + bytes(50))
        self.append(b"whole\n")
        self.assertEqual(FIRST + b"whole\n\n", self.box.read_bytes())

    def test_changed_meanwhile(self) -> None:
        """What is no message of ours is never cut off, whatever a dead process has noted."""
        self.append(b"one\n")
        self.die(30)
        changed = FIRST + b"longer than it was before, by a program that minds no dotlock\n\n"
        self.box.write_bytes(changed)
        self.append(b"two\n")
        self.assertEqual(changed + FIRST + b"two\n\n", self.box.read_bytes())
        self.die(30)
        self.box.write_bytes(b"")  # and a user may have taken his mail away
        self.append(b"three\n")
        self.assertEqual(FIRST + b"three\n\n", self.box.read_bytes())

    def test_broken_lock(self) -> None:
        """Where somebody has removed the lock of the dead, the torn message stays, and the next one is whole."""
        self.die(60)
        self.lock.unlink()
        self.append(b"whole\n")
        self.assertTrue(self.box.read_bytes().endswith(b"\n\n" + FIRST + b"whole\n\n"))

    def test_living_owner(self) -> None:
        """A lock of another living process of ours is minded."""
        words = {"host": os.uname().nodename, "process": "another", "size": 0, "first": "x"}
        self.lock.write_text(f"1\n{json.dumps(words)}\n")
        self.assertRaises(LockedError, self.append, b"x\n")

    def test_no_file(self) -> None:
        """A link, a second name, a folder: what a user could put there to have another's file written to."""
        other = self.folder / "other"
        other.write_text("")
        for make in (
            lambda: self.box.symlink_to(other),
            lambda: os.link(other, self.box),
            lambda: self.box.mkdir(),
            lambda: os.mkfifo(self.box),
        ):
            make()
            self.assertRaises(OSError, self.append, b"x\n")
            self.assertEqual(("", False), (other.read_text(), self.lock.exists()))
            if self.box.is_dir():
                self.box.rmdir()
            else:
                self.box.unlink()


class MboxAgentTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.base = Path(self.mktemp()).absolute()
        self.base.mkdir()
        self.clock = Clock()
        self.clock.rightNow = 1_700_000_000.0
        self.works: list[Callable[[], None]] | None = None
        self.agent = MboxAgent(base=self.base, clock=self.clock, run_in_thread=self.run_in_thread)

    def run_in_thread(self, work: Callable[[], T], /) -> Deferred[T]:
        if self.works is None:
            return maybeDeferred(work)
        waiting: Deferred[T] = Deferred()

        def working() -> None:
            maybeDeferred(work).chainDeferred(waiting)

        self.works.append(working)
        return waiting

    def delivered(self, *recipients: Address, content: Content | None = None, template: str = "mail/{user}") -> Outcome:
        place = Destination(NextHop(Transport.MBOX, template), "mbox")
        return self.successResultOf(self.agent.deliver(delivery(place, recipients, content)))[recipients[0]]

    def test_content(self) -> None:
        """Return-Path, X-Original-To of an alias, Delivered-To and the content, with the line ends of the system."""
        envelope = Envelope(SENDER, (Recipient(ONE, named="all@to.test"),))
        for content in (Content(), Content(TEXT, 7)):
            place = Destination(NextHop(Transport.MBOX, "{user}"), "mbox")
            what = Delivery(1, 0.0, envelope, content, place, marked)
            self.assertEqual("delivered", brief(self.successResultOf(self.agent.deliver(what))[ONE]))
            self.assertEqual(
                b"From sender@from.test Tue Nov 14 22:13:20 2023\nReturn-Path: <sender@from.test>\n"
                b"X-Original-To: all@to.test\nDelivered-To: one@to.test\n" + TEXT.replace(b"\r\n", b"\n") + b"\n",
                (self.base / "one").read_bytes(),
            )
            (self.base / "one").unlink()

    def test_absolute(self) -> None:
        """A path from the root needs its folder to be there: we make none outside of the state directory."""
        spool = self.base / "spool"
        outcome = self.delivered(ONE, template=f"{spool}/{{user}}")
        self.assertEqual("deferral 4.3.0 ourselves", brief(outcome))
        spool.mkdir()
        outcome = self.delivered(ONE, template=f"{spool}/{{user}}")
        self.assertEqual("delivered", brief(outcome))
        self.assertTrue((spool / "one").exists())

    def test_groups(self) -> None:
        """While a mailbox is written to, what comes for it gathers, and goes in with one turn."""
        self.works = []
        place = Destination(NextHop(Transport.MBOX, "{user}"), "mbox")
        waiting = [self.agent.deliver(delivery(place)) for _ in range(10)]
        other = self.agent.deliver(delivery(place, (TWO,)))
        self.assertEqual(2, len(self.works))  # another mailbox does not wait
        self.works[0]()
        self.assertEqual(3, len(self.works))
        self.works[1]()
        self.works[2]()
        for result in (*waiting, other):
            self.successResultOf(result)
        self.assertEqual((10, 1), tuple(len(read_back((self.base / name).read_bytes())) for name in ("one", "two")))

    def test_one_of_a_group_fails(self) -> None:
        """A message that can't be written holds up no others of its group."""
        self.works = []
        place = Destination(NextHop(Transport.MBOX, "{user}"), "mbox")
        first = self.agent.deliver(delivery(place))
        bad = self.agent.deliver(delivery(place, content=Content(b"bad\r\n")))
        good = self.agent.deliver(delivery(place, content=Content(b"good\r\n")))
        write = mbox_file._write

        def writing(file: int, offset: int, lead: bytes, messages: list[MboxMessage]) -> None:
            if any(b"bad" in message.content for message in messages):
                raise OSError(28, "No space left on device")
            write(file, offset, lead, messages)

        with patch.object(mbox_file, "_write", writing):
            while self.works:
                self.works.pop(0)()
        results = [self.successResultOf(result)[ONE] for result in (first, bad, good)]
        self.assertEqual(["delivered", "deferral 4.3.1 ourselves", "delivered"], list(map(brief, results)))
        self.assertEqual(2, len(read_back((self.base / "one").read_bytes())))

    def test_locked(self) -> None:
        """A lock is waited for by the second, without a thread; then the mail waits in the queue."""
        (self.base / "one.lock").touch()
        place = Destination(NextHop(Transport.MBOX, "{user}"), "mbox")
        for seconds, expected in ((3, "delivered"), (19, "deferral 4.2.0 recipient")):
            waiting = self.agent.deliver(delivery(place))
            for _ in range(seconds):
                self.assertNoResult(waiting)
                self.clock.advance(1.0)
            if seconds == 3:
                (self.base / "one.lock").unlink()
                self.clock.advance(1.0)
            self.assertEqual(expected, brief(self.successResultOf(waiting)[ONE]))
            (self.base / "one.lock").touch()

    def test_two_agents(self) -> None:
        """Those of an old and of a new configuration do not meet in a mailbox."""
        other = MboxAgent(base=self.base, clock=self.clock, run_in_thread=at_once)
        place = Destination(NextHop(Transport.MBOX, "{user}"), "mbox")
        write = mbox_file._write
        results: list[Deferred[Any]] = []

        def writing(*arguments: object) -> None:
            if not results:
                results.append(other.deliver(delivery(place)))
                self.assertNoResult(results[0])
            write(*arguments)  # type: ignore[arg-type]

        with patch.object(mbox_file, "_write", writing):
            self.assertEqual("delivered", brief(self.delivered(ONE, template="{user}")))
        self.clock.advance(1.0)
        self.successResultOf(results[0])
        self.assertEqual(2, len(read_back((self.base / "one").read_bytes())))

    def test_nobody(self) -> None:
        """Nobody gets no mailbox."""
        agent = MboxAgent(base=self.base, clock=self.clock, run_in_thread=at_once, is_nobody=lambda who: who == ONE)
        place = Destination(NextHop(Transport.MBOX, "{user}"), "mbox")
        outcomes = self.successResultOf(agent.deliver(delivery(place, (ONE, TWO))))
        self.assertEqual(["failure 5.1.1", "delivered"], [brief(outcomes[who]) for who in (ONE, TWO)])

    def test_odd_file(self) -> None:
        """A mailbox that is none is a deferral that says so."""
        (self.base / "one").symlink_to("/etc/passwd")
        outcome = self.delivered(ONE, template="{user}")
        assert isinstance(outcome, Deferral)
        self.assertIn("cannot write to mbox:one: ", outcome.reason)
