"""The `mta` command as a person meets it: help, errors and exit codes, and what it costs to start."""

from __future__ import annotations

import contextlib
import io
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import NamedTuple

from twisted.trial.unittest import SynchronousTestCase

from mta.cli.main import COMMANDS, run
from mta.ids import spell
from mta.spool import schema

CONFIG = """\
hostname = "mx.test"
state_dir = "{state}"

[[listener]]
name = "relay"
endpoint = "tcp:2525:interface=127.0.0.1"
role = "mx"
"""
ROOT = Path(__file__).parent.parent.parent


class Ran(NamedTuple):
    """What a command did."""

    returncode: int
    stdout: bytes
    stderr: str


class CommandCase(SynchronousTestCase):
    """A configuration, and its state directory without a daemon."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.top = Path(folder.name)
        self.state = self.top / "state"
        self.state.mkdir()
        self.config = self.top / "mta.toml"
        self.config.write_text(CONFIG.format(state=self.state))

    def run_as(self, name: str, *arguments: str, content: bytes = b"") -> Ran:
        """Run the command under a name, as a link to it has it, in this process: starting one costs half a second."""
        self.patch(os, "environ", {**os.environ, "MTA_CONFIG": str(self.config)})
        self.patch(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
        out, err = io.TextIOWrapper(io.BytesIO()), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = run(arguments, name)
        out.seek(0)
        return Ran(code, out.buffer.read(), err.getvalue())

    def mta(self, *arguments: str, content: bytes = b"") -> Ran:
        return self.run_as("mta", *arguments, content=content)

    def assert_fails(self, code: int, words: str, ran: Ran) -> None:
        said = ran.stderr
        self.assertEqual(code, ran.returncode, said)
        self.assertIn(words, said)
        self.assertNotIn("Traceback", said)

    def fill(self) -> None:
        """A spool of a stopped daemon, with one message."""
        database = schema.connect(self.state / schema.FILE_NAME)
        schema.prepare(database, "spool")
        database.execute(
            "INSERT INTO messages (id, arrived, sender, size, body) VALUES (77, 1795408211, '', 2048, '7BIT')"
        )
        database.execute(
            "INSERT INTO recipients (message, address, state, due, last_reply) "
            "VALUES (77, 'bob@x.test', 'queued', 1795408300, '450 \x1b[31mred')"
        )
        database.execute(
            "INSERT INTO events (message, at, kind, recipient, detail) "
            "VALUES (77, 1795408211, 'deferred', 'bob@x.test', ?)",
            (json.dumps({"reply": "450 \x1b[31mred", "due": 1795408300.0}),),
        )
        database.close()


class StartTests(CommandCase):
    def test_commands_are_imported_when_they_run(self) -> None:
        """Help imports no command, and a command neither Twisted nor another command: start-up time is felt."""
        program = "import sys; from mta.cli.main import run; run({}); print(*sys.modules)"
        others = {lazy.module for lazy in COMMANDS.values()}
        for arguments, banned in (
            (["--help"], {"twisted", "pydantic", "sqlite3", *others}),
            *(([name, "--help"], {"twisted", *(others - {lazy.module})}) for name, lazy in COMMANDS.items()),
        ):
            ran = subprocess.run(
                [sys.executable, "-c", program.format(arguments)], capture_output=True, text=True, cwd=ROOT, check=True
            )
            loaded = set(ran.stdout.splitlines()[-1].split())
            self.assertEqual(set(), banned & loaded, arguments)

    def test_names(self) -> None:
        """A link by the name of `mailq` or `sendmail`, wherever it is, is that command."""
        program = "import sys; sys.argv[0] = sys.argv.pop(1); from mta.cli.main import main; main()"
        for name, words in (("/usr/bin/mailq", "List the recipients"), ("/usr/sbin/sendmail", "standard input")):
            command = [sys.executable, "-c", program, name, "--help"]
            ran = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
            self.assertIn(words, ran.stdout)

    def test_usage(self) -> None:
        """What a person mistypes is EX_USAGE with a hint, never a traceback."""
        for arguments, words in (
            (["frobnicate"], "No such command"),
            (["queue", "list", "--state", "lost"], "lost"),
            (["queue", "list", "--limit", "0"], "limit"),
            (["trace"], "ID"),
            (["send"], "no recipient"),
            (["send", "-bs"], "-bs"),
        ):
            self.assert_fails(os.EX_USAGE, words, self.mta(*arguments))

    def test_configuration(self) -> None:
        """A configuration that is missing or wrong is EX_CONFIG with file and key."""
        self.assert_fails(os.EX_CONFIG, "nowhere.toml", self.mta("--config", "nowhere.toml", "queue", "list"))
        self.config.write_text(self.config.read_text() + '\n[relay]\nnetworks = ["x"]\n')
        for arguments in (["check"], ["queue", "list"], ["send", "a@x.test"], ["check", "--config", str(self.config)]):
            self.assert_fails(os.EX_CONFIG, f"mta: {self.config}:10: relay.networks", self.mta(*arguments))


class StoppedDaemonTests(CommandCase):
    def test_dry_run(self) -> None:
        """What a change would be made to is told without a daemon, with the same filters as everywhere."""
        self.fill()
        said = self.mta("queue", "hold", "--reply", "450*red", "--smaller", "1M", "--older", "1m", "--dry-run")
        self.assertEqual(0, said.returncode, said.stderr)
        self.assertEqual("1 would be held.", said.stdout.decode().splitlines()[0])
        self.assertIn(spell(77), said.stdout.decode())
        self.assertEqual(b"0 would be held.\n", self.mta("queue", "hold", "--route", "smtp:*", "--dry-run").stdout)
        self.assertIn(b"1 would be held.", self.mta("queue", "hold", "--route", "MX lookup", "--dry-run").stdout)
        found = self.mta("queue", "discard", "--all", "--dry-run", "--json").stdout.splitlines()
        self.assertEqual([{"count": 1}, spell(77)], [json.loads(found[0]), json.loads(found[1])["id"]])
        self.assert_fails(os.EX_USAGE, "not a duration", self.mta("queue", "list", "--older", "2"))

    def test_reading(self) -> None:
        """The queue of a stopped daemon is listed, counted, shown and traced from its file."""
        self.fill()
        identity = spell(77)
        listed = self.mta("queue", "list").stdout.decode().splitlines()
        self.assertEqual(
            ["ID", "ARRIVED", "SIZE", "STATE", "TRIES", "DUE", "SENDER", "RECIPIENT", "LAST", "REPLY"],
            listed[0].split(),
        )
        self.assertEqual(
            [identity, "2026-11-23T04:30:11Z", "2.0K", "queued", "0", "2026-11-23T04:31:40Z", "<>", "bob@x.test"],
            listed[1].split()[:8],
        )
        self.assertEqual(listed, self.run_as("mailq").stdout.decode().splitlines())
        for filters in (["--domain", "y.test"], ["--sender", "x"], [spell(5)], ["--recipient", ""]):
            self.assertEqual(b"Nothing matches.\n", self.mta("queue", "list", *filters).stdout)
        self.assertIn(b"bob@x.test", self.mta("queue", "show", identity).stdout)
        self.assertEqual(identity, json.loads(self.mta("queue", "list", "--json").stdout)["id"])
        for arguments in (["queue", "list"], ["trace", identity], ["queue", "show", identity]):
            said = self.mta(*arguments).stdout
            self.assertNotIn(b"\x1b", said)
            self.assertIn(b"\\x1b[31mred", said.replace(b"\\\\", b"\\").replace(b"\\u001b", b"\\x1b"))

    def test_what_the_sender_says_of_tls(self) -> None:
        """`mta queue show` tells it where something was said (RFC 8689), and is silent where nothing was."""
        self.fill()
        for said, words in (("", b""), ("yes", b"required (REQUIRETLS)"), ("no", b"not required (TLS-Required: No)")):
            database = schema.connect(self.state / schema.FILE_NAME)
            details = json.dumps({"require_tls": said}) if said else None
            database.execute("UPDATE messages SET details = ? WHERE id = 77", [details])
            database.close()
            shown = self.mta("queue", "show", spell(77)).stdout
            self.assertEqual(
                words, b"".join(line[3:].strip() for line in shown.splitlines() if line.startswith(b"TLS"))
            )
            self.assertEqual(said, json.loads(self.mta("queue", "show", spell(77), "--json").stdout)["require_tls"])

    def test_in_doubt(self) -> None:
        """Recipients in doubt are listed and counted as such, with the time of the next try where there is one."""
        self.fill()
        database = schema.connect(self.state / schema.FILE_NAME)
        database.execute(
            "INSERT INTO recipients (message, address, state, due, in_doubt) VALUES"
            " (77, 'carol@x.test', 'held', 1795408300, 1), (77, 'dave@x.test', 'queued', 1795408300, 1)"
        )
        database.close()
        listed = self.mta("queue", "list", "--state", "in-doubt").stdout.decode().splitlines()
        self.assertEqual(
            ["in-doubt 0 - <> carol@x.test", "in-doubt 0 2026-11-23T04:31:40Z <> dave@x.test"],
            [" ".join(line.split()[3:8]) for line in listed[1:]],
        )
        rows = [json.loads(line) for line in self.mta("queue", "list", "--json").stdout.splitlines()]
        found = [(row["recipient"], row["state"], row["due"]) for row in rows[1:]]
        self.assertEqual([("carol@x.test", "in-doubt", None), ("dave@x.test", "in-doubt", 1795408300)], found)
        counted = self.mta("queue", "count").stdout.decode().split()
        self.assertEqual(["queued", "1", "held", "0", "quarantined", "0", "in-doubt", "2"], counted[2:])

    def test_what_is_not_there(self) -> None:
        """No spool, and no such message, are EX_NOINPUT; a foreign file is EX_UNAVAILABLE and stays as it is."""
        self.assert_fails(os.EX_NOINPUT, "no spool", self.mta("queue", "list"))
        self.fill()
        for arguments in (["trace", "0" * 13], ["queue", "show", "0" * 13]):
            self.assert_fails(os.EX_NOINPUT, "0" * 13, self.mta(*arguments))
        self.assert_fails(os.EX_USAGE, "not a queue id", self.mta("trace", "nonsense"))
        (self.state / schema.FILE_NAME).write_bytes(b"x" * 4096)
        self.assert_fails(os.EX_UNAVAILABLE, "spool", self.mta("queue", "list"))

    def test_changing_and_sending(self) -> None:
        """Changing needs the daemon (EX_UNAVAILABLE); who sends is told to try again (EX_TEMPFAIL)."""
        self.fill()
        for name in ("hold", "release", "retry", "discard"):
            self.assert_fails(os.EX_UNAVAILABLE, "not running", self.mta("queue", name, "--all"))
        self.assert_fails(os.EX_TEMPFAIL, "not running", self.mta("send", "a@x.test", content=b"hello\n"))

    def test_closed_pipe(self) -> None:
        """`mta queue list | head` ends without complaint."""
        self.fill()
        database = schema.connect(self.state / schema.FILE_NAME)
        database.executemany(
            "INSERT INTO recipients (message, address, state, due) VALUES (77, ?, 'queued', 0)",
            [(f"u{number}@x.test",) for number in range(20_000)],
        )
        database.close()
        program = "from mta.cli.main import main; main()"
        with subprocess.Popen(
            [sys.executable, "-c", program, "--config", str(self.config), "queue", "list"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=ROOT,
        ) as running:
            assert running.stdout is not None
            assert running.stderr is not None
            running.stdout.readline()
            running.stdout.close()
            self.assertEqual(b"", running.stderr.read())
        self.assertEqual(141, running.returncode)

    def test_closed_streams(self) -> None:
        """A standard stream that the caller has closed reads as empty and takes what is written, without complaint."""
        self.fill()
        for arguments, closed in ((["queue", "list"], ">&-"), (["--help"], ">&-"), (["send"], "<&-")):
            ran = self.in_shell(closed, *arguments)
            self.assertNotIn("Traceback", ran.stderr)
            self.assertEqual(os.EX_USAGE if arguments == ["send"] else os.EX_OK, ran.returncode, ran.stderr)

    def test_full_disk(self) -> None:
        """Output that can't be written is one line and EX_IOERR, not a short list taken for the whole."""
        self.fill()
        for arguments in (["queue", "list"], ["queue", "list", "--json"], ["queue", "--help"]):
            ran = self.in_shell(">/dev/full", *arguments)
            self.assertEqual((os.EX_IOERR, 1), (ran.returncode, ran.stderr.count("\n")), ran.stderr)
            self.assertIn("No space left on device", ran.stderr)

    def in_shell(self, redirection: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The command in a process of its own, with a stream redirected as a shell does it."""
        program = "from mta.cli.main import main; main()"
        command = [sys.executable, "-c", program, "--config", str(self.config), *arguments]
        shell = ["sh", "-c", f'"$@" {redirection}', "sh", *command]
        return subprocess.run(shell, stdin=subprocess.DEVNULL, capture_output=True, text=True, cwd=ROOT, check=False)


class ScriptedDaemon:
    """One connection of a control socket that writes down what it got and answers with fixed bytes."""

    def __init__(self, path: Path, answer: bytes) -> None:
        self.got = b""
        self._answer = answer
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(path))
        self._listening.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        peer, _ = self._listening.accept()
        with peer:
            peer.settimeout(20)
            while not self._complete():
                self.got += peer.recv(65_536)
            peer.sendall(self._answer)

    def _complete(self) -> bool:
        line, newline, content = self.got.partition(b"\n")
        return bool(newline) and len(content) >= json.loads(line).get("size", 0)

    def request(self) -> tuple[dict[str, object], bytes]:
        """The request line and the content."""
        self._thread.join(20)
        self._listening.close()
        line, _, content = self.got.partition(b"\n")
        return json.loads(line), content


class RunningDaemonTests(CommandCase):
    def scripted(self, answer: bytes) -> ScriptedDaemon:
        return ScriptedDaemon(self.state / "control", answer)

    def test_sendmail(self) -> None:
        """sendmail's options reach the daemon as words, and the message as lines that end in CRLF."""
        text = b"To: a@x.test\nBcc: b@x.test\n\nhello\n.\nmore\n"
        whole = b"To: a@x.test\r\n\r\nhello\r\n.\r\nmore\r\n"
        for arguments, words, content in (
            (["-t", "-i"], {"recipients": ["a@x.test", "b@x.test"]}, whole),
            (
                ["-ti", "-fme@x.test", "c@x.test"],
                {"recipients": ["c@x.test", "a@x.test", "b@x.test"], "sender": "me@x.test"},
                whole,
            ),
            (
                ["-oi", "-oem", "-r", "<>", "-F", "Me", "-t"],
                {"recipients": ["a@x.test", "b@x.test"], "sender": "", "full_name": "Me"},
                whole,
            ),
            (
                ["-bm", "--", "-odd@x.test"],
                {"recipients": ["-odd@x.test"]},
                b"To: a@x.test\r\nBcc: b@x.test\r\n\r\nhello\r\n",
            ),
        ):
            daemon = self.scripted(b'{"ok": true, "id": "X"}\n')
            ran = self.run_as("sendmail", *arguments, content=text)
            self.assertEqual((0, b"", ""), (ran.returncode, ran.stdout, ran.stderr), arguments)
            request, got = daemon.request()
            self.assertEqual(content, got, arguments)
            expected = {"command": "send", "full_name": "", "size": len(content), **words}
            self.assertEqual(expected, request, arguments)
            (self.state / "control").unlink()

    def test_error_of_the_daemon(self) -> None:
        """The daemon's error is said as it is, with its exit code."""
        self.scripted(b'{"ok": false, "error": "too large", "exit": 65}\n')
        self.assert_fails(65, "too large", self.mta("send", "a@x.test", content=b"x\n"))

    def test_daemon_that_dies(self) -> None:
        """A daemon that ends in the middle of an answer is EX_TEMPFAIL, not a short list taken for the whole."""
        for answer in (b"", b'{"id": "X"}\n', b'{"id": "X', b"garbage\n"):
            self.scripted(answer)
            ran = self.mta("queue", "count", "--json")
            self.assert_fails(os.EX_TEMPFAIL, "daemon", ran)
            (self.state / "control").unlink()

    def test_filters_are_words(self) -> None:
        """The filters of a command are passed on as they were given."""
        daemon = self.scripted(b'{"id": "X", "recipient": "a@x.test"}\n{"ok": true, "changed": 1}\n')
        ran = self.mta("queue", "hold", "--sender", "", "--domain", "x.test", spell(5))
        self.assertEqual((0, b"X a@x.test held\n"), (ran.returncode, ran.stdout))
        request, _ = daemon.request()
        self.assertEqual({"command": "queue.hold", "sender": "", "domain": "x.test", "ids": [spell(5)]}, request)
