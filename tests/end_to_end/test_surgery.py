"""Changing the queue of real daemons: with several workers, and killed in the middle."""

from __future__ import annotations

import json
import signal
import sqlite3

from tests.end_to_end.daemon import Daemon, EndToEndCase, eventually, free_port, route


class SurgeryCase(EndToEndCase):
    def with_mail(self, number: int, port: int, workers: int = 1) -> Daemon:
        """A daemon with messages for a site that does not answer, each tried once."""
        daemon = Daemon(self.top, route("*@sink.test", port), workers=workers)
        daemon.config.write_text(daemon.config.read_text().replace('retry = ["1s"]', 'retry = ["1h"]'))
        self.addCleanup(daemon.stop, signal.SIGKILL)
        daemon.start()
        for each in range(number):
            daemon.submit("carol@example.org", f"user{each}@sink.test")
        eventually(lambda: {row["state"] for row in daemon.queued()} == {"queued"}, "the queue")
        return daemon

    def changed(self, daemon: Daemon, *arguments: str) -> int:
        """Change the queue; the number of the operation."""
        ran = daemon.mta(*arguments, "--json")
        self.assertEqual(0, ran.returncode, ran.stderr)
        return int(json.loads(ran.stdout.splitlines()[-1])["operation"])


class WorkersTests(SurgeryCase):
    def test_reroute_bounce_undo(self) -> None:
        """Whichever worker has a message: it is held and that undone, goes where it is sent, or back to its sender."""
        dead, alive = free_port(), free_port()
        daemon = self.with_mail(12, dead, workers=2)
        held = self.changed(daemon, "queue", "hold", "--all")
        self.assertEqual({"held"}, {row["state"] for row in daemon.queued()})
        self.assertEqual(0, daemon.mta("undo", str(held)).returncode)
        self.assertEqual({"queued"}, {row["state"] for row in daemon.queued()})
        dropped = self.changed(daemon, "queue", "discard", "--recipient", "user1@*")
        self.assertEqual(11, len(daemon.queued()))
        self.changed(daemon, "undo", str(dropped))
        sink = self.sink(alive)
        self.changed(daemon, "queue", "reroute", "--recipient", "user1*", "--to", f"smtp://127.0.0.1:{alive}")
        self.changed(daemon, "queue", "retry", "--recipient", "user1*")
        eventually(lambda: len(sink.messages()) == 3, "user1, user10 and user11 at the other next hop")
        self.assertEqual(9, len(daemon.queued()))
        self.changed(daemon, "queue", "bounce", "--site", f"127.0.0.1:{dead}", "--text", "the site has closed")
        eventually(lambda: [row["sender"] for row in daemon.queued()] in ([], [""] * 9), "nothing but reports")
        listed = daemon.rows("undo", "--list")
        expected = ["bounce", "retry", "reroute", "undo", "discard", "undo", "hold"]
        self.assertEqual(expected, [row["command"] for row in listed])

    def test_rules_for_mail_to_come(self) -> None:
        """A rule holds what either worker accepts from the moment that the command returns, until it is removed."""
        daemon = self.with_mail(1, free_port(), workers=2)
        ran = daemon.mta("queue", "hold", "--future", "--recipient", "later*")
        self.assertEqual(0, ran.returncode, ran.stderr)
        for number in range(10):
            daemon.submit("carol@example.org", f"later{number}@sink.test")
        self.assertEqual(10, len(daemon.rows("queue", "list", "--state", "held")))
        (rule,) = daemon.rows("queue", "rules")
        self.assertEqual({"recipient": "later*"}, rule["filter"])
        self.assertEqual(0, daemon.mta("queue", "rules", "remove", str(rule["rule"])).returncode)
        for number in range(10):
            daemon.submit("carol@example.org", f"later{number}@sink.test")
        self.assertEqual(10, len(daemon.rows("queue", "list", "--state", "held")))
        self.assertEqual(66, daemon.mta("queue", "rules", "remove", "7").returncode)
        self.assertEqual(64, daemon.mta("queue", "hold", "--future", "--older", "1h").returncode)


class KilledTests(SurgeryCase):
    def test_killed_in_the_middle(self) -> None:
        """A change of a long queue that is cut off by SIGKILL is completed by the next start, each recipient once."""
        daemon = self.with_mail(1, free_port())
        daemon.stop()
        database = sqlite3.connect(daemon.state / "spool.sqlite")
        database.executemany(
            "INSERT INTO messages (id, arrived, sender, size, body, due) VALUES (?, 1e9, 'a@b.test', 1, '7BIT', 9e9)",
            [(number,) for number in range(1, 30_001)],
        )
        database.executemany(
            "INSERT INTO recipients (message, address, state, due) VALUES (?, 'x@far.test', 'queued', 9e9)",
            [(number,) for number in range(1, 30_001)],
        )
        database.commit()
        database.close()
        daemon.start()
        process = daemon.mta_started("queue", "hold", "--domain", "far.test")
        eventually(lambda: daemon.rows("queue", "count", "--state", "held")[1]["count"] > 0, "the first are held")
        daemon.stop(signal.SIGKILL)
        process.wait()
        daemon.start()
        eventually(lambda: daemon.rows("queue", "count", "--state", "held")[1]["count"] == 30_000, "all are held")
        database = sqlite3.connect(daemon.state / "spool.sqlite")
        self.assertEqual(30_000, database.execute("SELECT count(*) FROM events WHERE kind = 'held'").fetchone()[0])
        database.close()
        (row,) = daemon.rows("undo", "--list")
        self.assertEqual((30_000, True), (row["changed"], row["ended"]))
