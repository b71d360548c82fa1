"""Starting, stopping and looking after the real daemon."""

from __future__ import annotations

import os
import signal
import smtplib
import sqlite3
from pathlib import Path

from tests.end_to_end.daemon import PATIENCE, Daemon, EndToEndCase, eventually, free_port, route


class StopTests(EndToEndCase):
    def test_sigkill(self) -> None:
        """What was acknowledged survives SIGKILL at once, and a restart delivers it (RFC 5321 6.1)."""
        port = free_port()
        daemon = self.daemon(route("*@sink.test", port))
        identities = [daemon.submit("carol@example.org", f"user{number}@sink.test") for number in range(5)]
        daemon.stop(signal.SIGKILL)
        self.assertEqual(sorted(identities), sorted(row["id"] for row in daemon.queued()))
        sink = self.sink(port)
        daemon.start()
        eventually(lambda: len(sink.messages()) == 5 and not daemon.queued(), "all messages at the sink")

    def test_sigterm(self) -> None:
        """SIGTERM tells idle peers 421 and closes in order (RFC 5321 3.8); twistd then ends as the signal has it."""
        daemon = self.daemon()
        client = smtplib.SMTP("127.0.0.1", daemon.port, timeout=PATIENCE)
        self.addCleanup(client.close)
        client.ehlo()
        self.assertIn(daemon.stop(), (0, -signal.SIGTERM))
        self.assertEqual(421, client.getreply()[0])
        said = daemon.output.read_text()
        self.assertIn("reactor class: mta.reactor.EagerReactor", said)
        self.assertIn("Server Shut Down", said)
        self.assertNotIn("Traceback", said)

    def test_reading_a_stopped_daemons_queue(self) -> None:
        """Listing and tracing work without the daemon; changing says that it is needed (EX_UNAVAILABLE)."""
        daemon = self.daemon(route("*@sink.test", free_port()))
        identity = daemon.submit("carol@example.org", "dave@sink.test")
        daemon.stop()
        (row,) = daemon.queued()
        self.assertEqual((identity, "dave@sink.test"), (row["id"], row["recipient"]))
        self.assertEqual("accepted", daemon.kinds(identity)[0])
        self.assertEqual({"state": "queued", "count": 1}, daemon.rows("queue", "count")[0])
        for arguments, code in ((("queue", "discard", "--all"), 69), (("send", "alice@local.test"), 75)):
            ran = daemon.mta(*arguments)
            self.assertEqual((code, 1), (ran.returncode, ran.stderr.count(b"\n")), ran.stderr)


class OperatorTests(EndToEndCase):
    def test_hold_release_discard(self) -> None:
        """A held message waits until it is released; a discarded one is gone, and its trace says by whom."""
        port = free_port()
        daemon = self.daemon(route("*@sink.test", port))
        first = daemon.submit("carol@example.org", "one@sink.test")
        second = daemon.submit("carol@example.org", "two@sink.test")
        self.assertEqual(0, daemon.mta("queue", "hold", "--sender", "carol@*").returncode)
        self.assertEqual({"held"}, {row["state"] for row in daemon.queued()})
        self.assertEqual(64, daemon.mta("queue", "discard").returncode)
        self.assertEqual(0, daemon.mta("queue", "discard", second).returncode)
        self.assertEqual("discarded", daemon.kinds(second)[-1])
        sink = self.sink(port)
        self.assertEqual(0, daemon.mta("queue", "release", first).returncode)
        eventually(sink.messages, "the released message at the sink")
        eventually(lambda: not daemon.queued(), "an empty queue")
        self.assertEqual(66, daemon.mta("queue", "hold", first).returncode)

    def test_control_socket_is_private(self) -> None:
        """The control socket has the configured mode: others can neither read the queue nor change it."""
        daemon = self.daemon()
        self.assertEqual(0o600, (daemon.state / "control").stat().st_mode & 0o777)


class RefusedStartTests(EndToEndCase):
    def refused(self, daemon: Daemon, code: int, *words: str) -> None:
        """The daemon does not start: one line of ours that holds `words`, and the exit code."""
        daemon.output.unlink(missing_ok=True)
        process = daemon.spawn()
        self.assertEqual(code, process.wait(PATIENCE), daemon.output.read_text())
        daemon.process = None
        said = daemon.output.read_text()
        ours = [line for line in said.splitlines() if line.startswith("mta: ")]
        self.assertEqual(1, len(ours), said)
        for word in words:
            self.assertIn(word, ours[0])
        self.assertNotIn("Traceback", said)

    def test_port_in_use(self) -> None:
        """A port that somebody has is named (EX_UNAVAILABLE)."""
        daemon = self.daemon()
        other = Daemon(self._folder("other"), "")
        other.config.write_text(other.config.read_text().replace(str(other.port), str(daemon.port)))
        self.refused(other, os.EX_UNAVAILABLE, str(daemon.port), "in use")

    def test_impossible_endpoints(self) -> None:
        """What Twisted can't make an endpoint of is one line with the listener's name (EX_CONFIG)."""
        for number, endpoint in enumerate(("nosuch:25", "systemd:domain=INET:index=0")):
            daemon = Daemon(self._folder(f"endpoint{number}"), "")
            text = daemon.config.read_text().replace(f"tcp:{daemon.port}:interface=127.0.0.1", endpoint)
            daemon.config.write_text(text)
            self.refused(daemon, os.EX_CONFIG, "'relay'", endpoint)

    def test_authorities_for_policies(self) -> None:
        """Without the authorities that MTA-STS is to trust nothing starts, and they are named (EX_CONFIG)."""
        daemon = Daemon(self._folder("sts"), '\n[sts]\nca_file = "/nowhere/authorities.pem"\n')
        self.refused(daemon, os.EX_CONFIG, "sts.ca_file: /nowhere/authorities.pem")

    def test_second_instance(self) -> None:
        """A second daemon on the same state does not start, and the first goes on (EX_TEMPFAIL)."""
        daemon = self.daemon()
        second = Daemon(self._folder("second"), "")
        second.config.write_text(second.config.read_text().replace(str(second.state), str(daemon.state)))
        self.refused(second, os.EX_TEMPFAIL, str(daemon.state))
        daemon.submit("carol@example.org", "alice@local.test")

    def test_newer_spool(self) -> None:
        """A spool of a newer version is refused, and not a byte of it is changed."""
        daemon = self.daemon()
        daemon.stop()
        path = daemon.state / "spool.sqlite"
        with sqlite3.connect(path) as database:
            database.execute("PRAGMA user_version = 99")
        database.close()
        before = path.read_bytes()
        self.refused(daemon, os.EX_DATAERR, str(path), "version 99")
        self.assertEqual(before, path.read_bytes())

    def test_state_directory_cannot_be_made(self) -> None:
        """A state directory that can't be is named, with the reason."""
        daemon = Daemon(self._folder("blocked"), "")
        daemon.state.write_text("a file is in the way")
        self.refused(daemon, os.EX_CANTCREAT, str(daemon.state))

    def test_unwritable_state_directory(self) -> None:
        """A state directory where nothing can be written, not even by root, is named."""
        daemon = Daemon(self.top)
        daemon.config.write_text(daemon.config.read_text().replace(str(daemon.state), "/proc/mta-state"))
        self.refused(daemon, os.EX_CANTCREAT, "/proc/mta-state")

    def test_bad_configuration(self) -> None:
        """Every error of the configuration at once, with file and line; the exit code is 78 from both commands."""
        daemon = Daemon(self.top, '\n[limits]\nmesage_size = "1MiB"\nrecipients = "many"\n')
        process = daemon.spawn()
        self.assertEqual(os.EX_CONFIG, process.wait(PATIENCE))
        daemon.process = None
        ran = daemon.mta("check")
        self.assertEqual(os.EX_CONFIG, ran.returncode)
        for said in (daemon.output.read_text(), ran.stderr.decode()):
            self.assertIn(f"{daemon.config}:", said)
            self.assertIn("message_size", said)
            self.assertIn("limits.recipients", said)
            self.assertNotIn("Traceback", said)

    def test_check(self) -> None:
        """A good configuration is OK."""
        ran = Daemon(self.top).mta("check")
        self.assertEqual(0, ran.returncode, ran.stderr)
        self.assertIn(b"OK", ran.stdout)

    def _folder(self, name: str) -> Path:
        folder = self.top / name
        folder.mkdir()
        return folder
