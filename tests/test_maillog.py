"""The mail log's lines, and the file they go to."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.cli.eventpage import page
from mta.events import MEANINGS, Event, Kind
from mta.ids import parse_id
from mta.maillog import LogFile, MailLog

ROOT = Path(__file__).parent.parent
ID = "32YF000000000"
MESSAGE = parse_id(ID)
AT = 1_795_408_211.1237


def text_line(event: Event) -> str:
    lines: list[str] = []
    MailLog(lines.append, "text").event(event)
    return "".join(lines)


class LineTests(SynchronousTestCase):
    def test_text(self) -> None:
        """A line has the time, the queue id, what happened, and its fields; the sender stands at accepted alone."""
        for event, expected in (
            (
                Event(
                    MESSAGE,
                    AT,
                    Kind.DELIVERED,
                    "a@b.test",
                    {"host": "mx[192.0.2.1]:25", "reply": "250 ok", "delay": 0.12345},
                ),
                'delivered to=<a@b.test> host=mx[192.0.2.1]:25 reply="250 ok" delay=0.123',
            ),
            (
                Event(MESSAGE, AT, Kind.ACCEPTED, None, {"client": "192.0.2.1", "helo": "", "sender": "", "size": 5}),
                "accepted client=192.0.2.1 from=<> size=5",
            ),
            (
                Event(MESSAGE, AT, Kind.DEFERRED, "a@b.test", {"reason": "no answer", "due": AT + 300, "host": None}),
                'deferred to=<a@b.test> reason="no answer" due=2026-11-23T04:35:11.124Z',
            ),
            (Event(MESSAGE, AT, Kind.HELD, "a@b.test", {"by": "root", "reason": ""}), "held to=<a@b.test> by=root"),
        ):
            self.assertEqual(f"2026-11-23T04:30:11.123Z {ID} {expected}\n", text_line(event))

    def test_one_line_an_attempt(self) -> None:
        """A route has no line of its own; every other kind has one."""
        for kind in Kind:
            expected = 0 if kind is Kind.ROUTED else 1
            self.assertEqual(expected, text_line(Event(MESSAGE, AT, kind)).count("\n"), kind)

    def test_json_has_the_same_fields(self) -> None:
        """JSON has the keys of the text, with numbers as numbers."""
        lines: list[str] = []
        MailLog(lines.append, "json").event(
            Event(MESSAGE, AT, Kind.DEFERRED, "a@b.test", {"reply": 'x"\n', "attempt": 2, "due": AT})
        )
        self.assertEqual(
            {
                "time": "2026-11-23T04:30:11.123Z",
                "id": ID,
                "event": "deferred",
                "to": "a@b.test",
                "reply": 'x"\n',
                "attempt": 2,
                "due": "2026-11-23T04:30:11.124Z",
            },
            json.loads("".join(lines)),
        )

    def test_note(self) -> None:
        """A line of a connection has "-" for the queue id that it does not have."""
        lines: list[str] = []
        MailLog(lines.append, "text").note(AT, "refused", {"client": "192.0.2.1", "reason": "too many"})
        self.assertEqual(['2026-11-23T04:30:11.123Z - refused client=192.0.2.1 reason="too many"\n'], lines)

    @settings(deadline=None, max_examples=200, derandomize=True)
    @given(st.text(), st.text(), st.sampled_from(["text", "json"]))
    def test_peers_cannot_forge(self, recipient: str, reply: str, form: str) -> None:
        """Whatever an address or a reply holds, the event is one line of ASCII, and no value ends early."""
        lines: list[str] = []
        log = MailLog(lines.append, "json" if form == "json" else "text")
        log.event(Event(MESSAGE, AT, Kind.DELIVERED, recipient, {"reply": reply, "host": "h"}))
        (line,) = lines
        self.assertTrue(line[:-1].isascii() and line[:-1].isprintable(), line)
        if form == "text":
            _, _, _, words = line[:-1].split(" ", 3)
            decoder, values = json.JSONDecoder(), {}
            while words:
                name, _, words = words.partition("=")
                if words.startswith('"'):
                    value, end = decoder.raw_decode(words)
                else:
                    end = (words + " ").index(" ")
                    value = words[:end]
                values[name], words = value, words[end + 1 :]
            expected = {"to": f"<{recipient}>", "host": "h", **({"reply": reply} if reply else {})}
            self.assertEqual(expected, values)


class FileTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.soon: list[Callable[[], object]] = []
        self.now = 100.0
        self.log = LogFile(self.path, self.soon.append, lambda: self.now)
        self.addCleanup(self.log.close)

    def turn(self) -> None:
        waiting, self.soon[:] = list(self.soon), []
        for call in waiting:
            call()

    def test_one_write_a_turn(self) -> None:
        """Lines wait for the end of the turn and are written together, in order."""
        self.log.write("one\n")
        self.log.write("two\n")
        self.assertEqual((1, ""), (len(self.soon), self.path.read_text()))
        self.turn()
        self.assertEqual("one\ntwo\n", self.path.read_text())

    def test_moved_file(self) -> None:
        """A file that logrotate moved is opened anew within a second, and the old one keeps what it had."""
        self.log.write("one\n")
        self.turn()
        moved = self.path.with_name(self.path.name + ".1")
        self.path.rename(moved)
        self.now += 0.5
        self.log.write("two\n")
        self.turn()
        self.now += 0.6
        self.log.write("three\n")
        self.turn()
        self.assertEqual(("one\ntwo\n", "three\n"), (moved.read_text(), self.path.read_text()))

    def test_missing_folder(self) -> None:
        """The folder of the file is made at the start, and never again: it may be in a state directory that is gone."""
        path = self.path.with_name(f"{self.path.name}.d") / "logs" / "mail.log"
        log = LogFile(path, self.soon.append, lambda: self.now)
        self.addCleanup(log.close)
        log.write("line\n")
        self.turn()
        self.assertEqual("line\n", path.read_text())
        shutil.rmtree(path.parent)
        self.now += 2
        log.write("lost\n")
        self.turn()
        self.assertFalse(path.parent.exists())

    def test_trouble_is_not_the_mails(self) -> None:
        """Where the file can't be opened anew, nothing is raised, and the log goes on when it can."""
        self.path.unlink()
        self.path.mkdir()
        self.now += 2
        self.log.write("lost\n")
        self.turn()
        self.path.rmdir()
        self.now += 2
        self.log.write("found\n")
        self.turn()
        self.assertEqual("found\n", self.path.read_text())

    def test_whole_lines_beside_another_process(self) -> None:
        """However much two processes log at once, into a file or a pipe, no line is cut by one of the other's."""
        reading, writing = os.pipe()
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)  # always full, so that a write in parts is cut
        program = (
            "import os, sys; from pathlib import Path; from mta.maillog import LogFile\n"
            "log = LogFile(Path(f'/dev/fd/{sys.argv[2]}'), lambda call: None, lambda: 0.0)\n"
            "for _ in range(20):\n"
            "    for _ in range(200): log.write(sys.argv[1] * 99 + '\\n')\n"
            "    log.flush()\n"
        )
        processes = [
            subprocess.Popen([sys.executable, "-c", program, letter, str(writing)], cwd=ROOT, pass_fds=(writing,))
            for letter in "ab"
        ]
        os.close(writing)
        with os.fdopen(reading) as pipe:
            lines = pipe.read().splitlines()
        self.assertEqual([0, 0], [process.wait() for process in processes])
        self.assertEqual({"a" * 99: 4000, "b" * 99: 4000}, Counter(lines))

    def test_close_writes_what_waits(self) -> None:
        """Nothing that was logged before the stop is lost."""
        self.log.write("last\n")
        self.log.close()
        self.assertEqual("last\n", self.path.read_text())


class PageTests(SynchronousTestCase):
    def test_documentation_is_current(self) -> None:
        """docs/events.md is what `make docs` renders, and tells every kind."""
        self.assertEqual(page(), (ROOT / "docs" / "events.md").read_text())
        self.assertEqual(set(Kind), set(MEANINGS))
