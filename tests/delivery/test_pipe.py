"""Delivering to programs. The programs are real, and so are their processes where it is these that matter."""

from __future__ import annotations

import os
import pwd
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, fail, maybeDeferred
from twisted.trial.unittest import SynchronousTestCase, TestCase

from mta.address import Address
from mta.delivery.exit_status import judge_exit, quoted
from mta.delivery.pipe import PipeAgent, PipeProgram
from mta.destination import Destination, NextHop, Transport
from mta.entry import Delivery
from mta.envelope import Envelope, Recipient
from mta.outcome import Deferral, Failure, Outcome, Scope
from tests.delivery.material import ONE, SENDER, TEXT, TWO, Content, delivery, marked
from tests.delivery.processes import ProcessesAtOnce
from tests.smtp_client.dialogue import brief

T = TypeVar("T")
PLACE = Destination(NextHop(Transport.PIPE, "it"), "pipe:it")
# Prints what it got, as an exit status that is quoted.
TELL = ("/bin/sh", "-c", "env; exit 1", "tell")


def at_once(work: Callable[[], T]) -> Deferred[T]:
    return maybeDeferred(work)


def addressed(*recipients: Recipient, sender: Address | None = SENDER, content: Content | None = None) -> Delivery:
    return Delivery(1, 1_700_000_000.0, Envelope(sender, recipients), content or Content(), PLACE, marked)


class PipeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.base = Path(self.mktemp()).absolute()
        self.processes = ProcessesAtOnce()

    def agent(self, *command: str, euid: int = 1000, **how: Any) -> PipeAgent:
        return PipeAgent(
            {"it": PipeProgram(command, **how)},
            base=self.base,
            reactor=self.processes,
            run_in_thread=at_once,
            euid=lambda: euid,
        )

    def outcomes(self, agent: PipeAgent, what: Delivery | None = None) -> Mapping[Address, Outcome]:
        return self.successResultOf(agent.deliver(what or delivery(PLACE)))

    def said(self, agent: PipeAgent, what: Delivery) -> str:
        """What the program printed, of the one recipient."""
        (outcome,) = self.outcomes(agent, what).values()
        assert isinstance(outcome, Deferral), outcome
        return outcome.reason

    def test_message(self) -> None:
        """The program reads Return-Path, X-Original-To of an alias, Delivered-To (RFC 9228); lines end in LF."""
        for named, field in (("", b""), ("all@to.test", b"X-Original-To: all@to.test\n"), ("one@to.test", b"")):
            kept = self.base / "kept"
            agent = self.agent("/bin/sh", "-c", 'cat > "$0"', str(kept))
            outcomes = self.outcomes(agent, addressed(Recipient(ONE, named=named)))
            self.assertEqual("delivered", brief(outcomes[ONE]))
            head = b"Return-Path: <sender@from.test>\n" + field + b"Delivered-To: one@to.test\n"
            self.assertEqual(head + TEXT.replace(b"\r\n", b"\n"), kept.read_bytes())

    def test_crlf(self) -> None:
        """Lines end in CRLF where that is wanted, and a message in chunks is cut nowhere."""
        for crlf, end in ((True, b"\r\n"), (False, b"\n")):
            for size in (None, 1, 5):
                kept = self.base / "kept"
                agent = self.agent("/bin/sh", "-c", 'tail -n 4 > "$0"', str(kept), crlf=crlf)
                self.outcomes(agent, delivery(PLACE, content=Content(TEXT, size)))
                self.assertEqual(TEXT.replace(b"\r\n", end), kept.read_bytes())

    def test_arguments(self) -> None:
        """Placeholders are filled in; whatever an address holds, an argument stays one, and no shell reads it."""
        hostile = Address("a b;$(touch x)`y`'\"+list z", "to.test")
        agent = self.agent("/usr/bin/printf", "%s/", "{recipient}", "{user}", "x{extension}", "{domain}", "-{sender}")
        self.outcomes(agent, addressed(Recipient(hostile), sender=None))
        (ran,) = self.processes.runs
        self.assertEqual(
            [b"%s/", str(hostile).encode(), b"a b;$(touch x)`y`'\"", b"xlist z", b"to.test", b"-"],
            ran["args"][-6:],
        )

    def test_for_all(self) -> None:
        """One run for all: an argument each, and one outcome."""
        agent = self.agent("/bin/sh", "-c", 'echo "$@"; exit 75', "x", "{recipient}", "end", for_all=True)
        outcomes = self.outcomes(agent, delivery(PLACE, (ONE, TWO)))
        self.assertEqual({ONE, TWO}, set(outcomes))
        self.assertEqual(1, len(self.processes.runs))
        for outcome in outcomes.values():
            assert isinstance(outcome, Deferral)
            self.assertIn(": one@to.test two@to.test end", outcome.reason)

    def test_one_each(self) -> None:
        """A run for each recipient: each has its own outcome."""
        agent = self.agent("/bin/sh", "-c", "case $1 in one@*) exit 67;; esac", "x", "{recipient}")
        outcomes = self.outcomes(agent, delivery(PLACE, (ONE, TWO)))
        self.assertEqual(["failure 5.1.1", "delivered"], [brief(outcomes[who]) for who in (ONE, TWO)])

    def test_environment(self) -> None:
        """It has the variables of local(8), those of the configuration, and none of ours."""
        agent = self.agent(*TELL, environment={"COLOUR": "blue"}, output_limit=100_000)
        os.environ["MTA_TEST_SECRET"] = "secret"
        self.addCleanup(os.environ.pop, "MTA_TEST_SECRET")
        words = self.said(agent, addressed(Recipient(Address("one+x", "to.test"), named="all@to.test")))
        self.assertNotIn("secret", words)
        env = self.processes.runs[0]["env"]
        self.assertEqual(
            {
                b"PATH": b"/usr/local/bin:/usr/bin:/bin",
                b"SENDER": b"sender@from.test",
                b"RECIPIENT": b"one+x@to.test",
                b"ORIGINAL_RECIPIENT": b"all@to.test",
                b"LOCAL": b"one+x",
                b"USER": b"one",
                b"EXTENSION": b"x",
                b"DOMAIN": b"to.test",
                b"COLOUR": b"blue",
            },
            {name: value for name, value in env.items() if name != b"QUEUE_ID"},
        )

    def test_options(self) -> None:
        """An address that begins as an option does never becomes one."""
        agent = self.agent("/bin/true", "-f", "{sender}", "{recipient}")
        odd = Address("-oX/tmp/x", "to.test")
        self.assertEqual("failure 5.1.3", brief(self.outcomes(agent, addressed(Recipient(odd)))[odd]))
        self.assertEqual("failure 5.1.7", brief(self.outcomes(agent, addressed(Recipient(ONE), sender=odd))[ONE]))
        self.assertEqual([], self.processes.runs)

    def test_our_faults(self) -> None:
        """A program that is missing or can't be run, an unknown user, root: the mail waits, whatever is wrong."""
        (self.base).mkdir()
        (self.base / "plain").write_text("no program")
        for agent, words in (
            (self.agent("/nowhere/prog"), "/nowhere/prog was not found"),
            (self.agent(str(self.base / "plain")), "can't be run"),
            (self.agent("/bin/true", euid=0), "no program is run as root; it needs a user"),
            (self.agent("/bin/true", euid=0, user="root"), "no program is run as root; it needs another user"),
            (self.agent("/bin/true", user="no-such-user"), "there is no user no-such-user"),
            (self.agent("/bin/true", user="nobody"), "only root can run it as nobody"),
            (self.agent("/bin/sh", "-c", "exec /nowhere/prog"), "the program was not found (exit status 127)"),
            (self.agent("/bin/true", directory="/nowhere"), "No such file or directory"),
        ):
            outcome = self.outcomes(agent)[ONE]
            assert isinstance(outcome, Deferral), outcome
            self.assertIn(words, outcome.reason)
        unknown = self.outcomes(PipeAgent({}, base=self.base, reactor=self.processes, run_in_thread=at_once))[ONE]
        self.assertEqual("deferral 4.3.5 ourselves", brief(unknown))

    def test_owner(self) -> None:
        """Started as root, the program runs as its user."""
        nobody = pwd.getpwnam("nobody")
        self.outcomes(self.agent("/bin/true", euid=0, user="nobody"))
        (ran,) = self.processes.runs
        self.assertEqual((nobody.pw_uid, nobody.pw_gid), (ran["uid"], ran["gid"]))
        self.assertEqual(nobody.pw_dir.encode(), ran["env"][b"HOME"])

    def test_marked_first(self) -> None:
        """The recipient is marked before the program runs; where that fails it does not run."""
        unmarked = delivery(PLACE, mark=lambda _who, _host: fail(OSError("disk")))
        self.assertEqual("deferral 4.3.5 ourselves", brief(self.outcomes(self.agent("/bin/true"), unmarked)[ONE]))
        self.assertEqual([], self.processes.runs)

    def test_leaves_nothing(self) -> None:
        """The file that a program reads has no name, and is gone with it."""
        self.outcomes(self.agent("/bin/true"))
        self.assertEqual([], list((self.base / "tmp").iterdir()))


class ExitTests(SynchronousTestCase):
    def test_statuses(self) -> None:
        """Only what speaks of the message or of a recipient is permanent; all that is unknown is not."""
        permanent = {65: "5.6.0", 67: "5.1.1", 68: "5.1.2", 69: "5.3.0", 76: "5.5.0", 77: "5.7.0"}
        for status in range(1, 256):
            outcome = judge_exit(status, b"", "pipe:it")
            if status in permanent:
                self.assertEqual(f"failure {permanent[status]}", brief(outcome))
            else:
                self.assertTrue(brief(outcome).startswith("deferral 4."), status)

    def test_code_in_the_output(self) -> None:
        """An enhanced code at the beginning of the output decides where the program failed."""
        for status, output, expected in (
            (1, b"5.7.1 not you\n", "failure 5.7.1"),
            (67, b"4.2.2 over quota\nmore", "deferral 4.2.2 recipient"),
            (67, b"2.0.0 fine", "failure 5.1.1"),
            (0, b"5.7.1 not you", "delivered"),
        ):
            self.assertEqual(expected, brief(judge_exit(status, output, "pipe:it")))
        outcome = judge_exit(1, b"5.7.1 not you\n", "pipe:it")
        assert isinstance(outcome, Failure)
        self.assertEqual("pipe:it: unknown exit status (exit status 1): not you", outcome.reason)

    def test_quoted(self) -> None:
        """Of the output the first lines are quoted, on one line and without control characters."""
        self.assertEqual("a / b?c / \ufffd", quoted(b"\n a \r\nb\x1bc\n\xff\n"))
        self.assertEqual("1 / 2 / 3 / 4 / 5", quoted(b"1\n2\n3\n4\n5\n6\n"))
        self.assertEqual(500, len(quoted(b"x" * 10_000)))


class ProcessTests(TestCase):
    """Real processes under the real reactor; each has its own short limit."""

    timeout = 30

    def setUp(self) -> None:
        self.base = Path(self.mktemp()).absolute()
        self.base.mkdir(mode=0o755)

    def agent(self, *command: str, **how: Any) -> PipeAgent:
        # As root, too: what is tested here are processes, and the files of a test are nobody else's.
        program = PipeProgram(command, **how)
        return PipeAgent(
            {"it": program}, base=self.base, reactor=reactor, run_in_thread=at_once, euid=lambda: os.geteuid() or 1
        )

    async def outcome(self, agent: PipeAgent, what: Delivery | None = None) -> Outcome:
        return (await agent.deliver(what or delivery(PLACE)))[ONE]

    async def test_delivered(self) -> None:
        """A program reads a large message and ends well; one that does not read it at all may end well, too."""
        content = Content(b"line\r\n" * 200_000, 65_536)
        kept = self.base / "kept"
        agent = self.agent("/bin/sh", "-c", 'wc -l > "$0"', str(kept))
        self.assertEqual("delivered", brief(await self.outcome(agent, delivery(PLACE, content=content))))
        self.assertEqual("200002", kept.read_text().strip())
        self.assertEqual("delivered", brief(await self.outcome(self.agent("/bin/true"))))

    async def test_time_limit(self) -> None:
        """At the limit the whole group is killed, children included, and the outcome is in doubt."""
        pid_file = self.base / "pid"
        script = 'sleep 60 & echo $! > "$0"; echo begun; wait'
        began = time.monotonic()
        outcome = await self.outcome(self.agent("/bin/sh", "-c", script, str(pid_file), time_limit=0.5))
        self.assertLess(time.monotonic() - began, 20)
        assert isinstance(outcome, Deferral)
        self.assertEqual((True, Scope.RECIPIENT), (outcome.in_doubt, outcome.scope))
        self.assertIn("killed after the time limit of 0.5 s: begun", outcome.reason)
        stat = Path(f"/proc/{pid_file.read_text().strip()}/stat")
        self.assertTrue(not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z")

    async def test_signal(self) -> None:
        """A program that crashes is tried again."""
        outcome = await self.outcome(self.agent("/bin/sh", "-c", "kill -SEGV $$"))
        assert isinstance(outcome, Deferral)
        self.assertIn("killed by signal 11", outcome.reason)

    async def test_output(self) -> None:
        """A program may print without end: it is not held up, and little of it is kept."""
        outcome = await self.outcome(self.agent("/bin/sh", "-c", "yes | head -c 3000000; exit 67", output_limit=100))
        assert isinstance(outcome, Failure)
        self.assertTrue(outcome.reason.endswith(": y / y / y / y / y"), outcome.reason)

    async def test_left_behind(self) -> None:
        """A child that a program leaves behind holds nothing up."""
        began = time.monotonic()
        outcome = await self.outcome(self.agent("/bin/sh", "-c", "sleep 20 & exit 0"))
        self.assertEqual("delivered", brief(outcome))
        self.assertLess(time.monotonic() - began, 15)

    async def test_descriptors(self) -> None:
        """It inherits no descriptor but the message and its two outputs."""
        script = "import os; print(sorted(int(x) for x in os.listdir('/proc/self/fd'))[:-1]); raise SystemExit(67)"
        with (self.base / "open").open("w") as ours:
            os.set_inheritable(ours.fileno(), True)
            outcome = await self.outcome(self.agent(sys.executable, "-I", "-S", "-c", script))
        assert isinstance(outcome, Failure)
        self.assertTrue(outcome.reason.endswith(": [0, 1, 2]"), outcome.reason)

    async def test_cancelled(self) -> None:
        """A delivery that is cancelled kills its program."""
        pid_file = self.base / "pid"
        agent = self.agent("/bin/sh", "-c", 'echo $$ > "$0"; exec sleep 60', str(pid_file))
        waiting = agent.deliver(delivery(PLACE))
        while not (pid_file.exists() and pid_file.read_text().strip()):
            await pause(0.02)
        waiting.cancel()
        try:
            await waiting
        except CancelledError:
            pass
        else:
            self.fail("it was not cancelled")
        stat = Path(f"/proc/{pid_file.read_text().strip()}/stat")
        while stat.exists():
            await pause(0.02)


def pause(seconds: float) -> Deferred[None]:
    done: Deferred[None] = Deferred()
    reactor.callLater(seconds, done.callback, None)
    return done
