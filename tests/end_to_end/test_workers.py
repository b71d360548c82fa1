"""The real daemon with two worker processes: one MTA to clients, sites and operators."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import smtplib
import socket
import socketserver
import ssl
import subprocess
import time
from contextlib import ExitStack
from threading import Lock, Thread
from typing import Any

from mta.ids import parse_id, worker_of
from tests.end_to_end.daemon import PATIENCE, Daemon, EndToEndCase, eventually, free_port, gone, greeted, route, tool
from tests.peers.threaded_site import ThreadedSite


class CountingSite(ThreadedSite):
    """A server that takes a while for each message, and counts how many connections it has at once."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.open = self.most = self.taken = 0
        self.lock = Lock()
        super().__init__(_Session)


class _Session(socketserver.StreamRequestHandler):
    server: Any  # it has the `CountingSite`

    def handle(self) -> None:
        site: CountingSite = self.server.site
        with site.lock:
            site.open += 1
            site.most = max(site.most, site.open)
        try:
            self._converse(site)
        finally:
            with site.lock:
                site.open -= 1

    def _converse(self, site: CountingSite) -> None:
        self.wfile.write(b"220 site.test ESMTP\r\n")
        while line := self.rfile.readline():
            if line.upper().startswith(b"DATA"):
                self.wfile.write(b"354 go on\r\n")
                while self.rfile.readline() not in (b".\r\n", b""):
                    pass
                time.sleep(site.seconds)
                with site.lock:
                    site.taken += 1
            self.wfile.write(b"250 ok\r\n")
            if line.upper().startswith(b"QUIT"):
                return


class WorkersCase(EndToEndCase):
    def two(self, more: str = "", change: tuple[str, str] = ("", "")) -> Daemon:
        """A daemon with two workers, both of them at work."""
        daemon = Daemon(self.top, more, workers=2)
        daemon.config.write_text(daemon.config.read_text().replace(*change) if change[0] else daemon.config.read_text())
        self.addCleanup(daemon.stop, signal.SIGKILL)
        daemon.start()
        eventually(lambda: "2 workers" in daemon.output.read_text(), "both workers")
        return daemon

    def site(self, seconds: float) -> CountingSite:
        site = CountingSite(seconds)
        self.addCleanup(site.stop)
        return site


class WorkTests(WorkersCase):
    def test_both_work(self) -> None:
        """Both workers take and deliver mail, the status tells of both, and the log has whole lines of both."""
        daemon = self.two()
        identities = [daemon.submit("carol@example.org", "alice@local.test") for _ in range(40)]
        eventually(lambda: len(daemon.mailbox("alice")) == 40 and not daemon.queued(), "all messages in the mailbox")
        self.assertEqual({1, 2}, {worker_of(parse_id(identity)) for identity in identities})
        status = daemon.status()
        self.assertEqual(daemon.process.pid if daemon.process else 0, status["pid"])
        self.assertEqual(set(daemon.workers()), {worker["pid"] for worker in status["workers"]})
        lines = [
            line for line in daemon.output.read_text().splitlines() if " accepted " in line or " delivered " in line
        ]
        self.assertEqual(80, len([line for line in lines if re.match(r"\S+Z [0-9A-Z]{13} \w+ ", line)]))

    def test_operators(self) -> None:
        """Listing, holding, retrying, discarding and sending reach what either worker has."""
        port = free_port()
        daemon = self.two(route("*@sink.test", port), ('retry = ["1s"]', 'retry = ["1h"]'))
        identities = [daemon.submit("carol@example.org", f"user{number}@sink.test") for number in range(12)]
        self.assertEqual({1, 2}, {worker_of(parse_id(identity)) for identity in identities})
        eventually(lambda: {row["attempts"] for row in daemon.queued()} == {1}, "a first attempt of each")
        self.assertEqual(0, daemon.mta("queue", "hold", "--all").returncode)
        self.assertEqual({"held"}, {row["state"] for row in daemon.queued()})
        self.assertEqual(0, daemon.mta("queue", "discard", identities[0]).returncode)
        sink = self.sink(port)
        self.assertEqual(0, daemon.mta("queue", "release", "--all").returncode)
        eventually(lambda: len(sink.messages()) == 11 and not daemon.queued(), "the released messages at the sink")
        sink.stop()
        identity = daemon.submit("carol@example.org", "last@sink.test")
        eventually(lambda: daemon.queued()[0]["attempts"] == 1, "an attempt")
        self.sink(port)
        self.assertEqual(0, daemon.mta("queue", "retry", identity).returncode)
        eventually(lambda: not daemon.queued(), "the delivery of what is retried")
        ran = daemon.mta("send", "bob@local.test", content=b"Subject: hi\n\nhello\n")
        self.assertEqual(0, ran.returncode, ran.stderr)
        eventually(lambda: len(daemon.mailbox("bob")) == 1, "what was sent in the mailbox")

    def test_stop(self) -> None:
        """SIGTERM tells the clients of all workers 421, lets what is under way end, and leaves no process."""
        site = self.site(1.0)
        daemon = self.two(route("*@slow.test", site.port))
        with ExitStack() as stack:
            clients = [stack.enter_context(socket.create_connection(("127.0.0.1", daemon.port))) for _ in range(8)]
            files = [stack.enter_context(client.makefile("rb")) for client in clients]
            self.assertEqual({b"220"}, {file.readline()[:3] for file in files})
            for number in range(4):
                daemon.submit("carol@example.org", f"user{number}@slow.test")
            eventually(lambda: daemon.status()["deliveries"] == 4, "the attempts")
            workers = daemon.workers()
            self.assertIn(daemon.stop(), (0, -signal.SIGTERM))
            self.assertEqual({b"421"}, {file.readline()[:3] for file in files})
        self.assertEqual(4, site.taken)
        self.assertEqual([], daemon.queued())
        self.assertTrue(all(map(gone, workers)))
        self.assertNotIn("Traceback", daemon.output.read_text())

    def test_supervisor_dies(self) -> None:
        """Workers do not outlive their supervisor, and the next daemon starts as soon as they are gone."""
        daemon = self.two()
        workers = daemon.workers()
        daemon.stop(signal.SIGKILL)
        daemon.start()
        self.assertTrue(all(map(gone, workers)))
        daemon.submit("carol@example.org", "alice@local.test")

    def test_port_in_use(self) -> None:
        """Two daemons never share a port, though each of them shares its own among its workers."""
        daemon = self.two()
        other_top = self.top / "other"
        other_top.mkdir()
        other = Daemon(other_top, workers=2)
        other.config.write_text(other.config.read_text().replace(f"tcp:{other.port}", f"tcp:{daemon.port}"))
        self.assertEqual(os.EX_UNAVAILABLE, other.spawn().wait(PATIENCE))
        self.assertIn("in use", other.output.read_text())


class DeathTests(WorkersCase):
    def test_killed_worker(self) -> None:
        """Killed under load a worker loses nothing: the other goes on with its messages, and it comes back."""
        site = self.site(0.05)
        daemon = self.two(route("*@slow.test", site.port))
        acknowledged: list[str] = []
        ending = False

        def send() -> None:
            while not ending:
                with contextlib.suppress(smtplib.SMTPException, OSError):
                    acknowledged.append(daemon.submit("carol@example.org", "dave@slow.test", "alice@local.test"))

        threads = [Thread(target=send) for _ in range(3)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(2):
                before = len(acknowledged)
                eventually(lambda before=before: len(acknowledged) > before + 30, "some load")  # type: ignore[misc]
                killed = eventually(daemon.workers, "a worker")[0]
                os.kill(killed, signal.SIGKILL)
                eventually(lambda killed=killed: gone(killed), "its end")  # type: ignore[misc]
                eventually(
                    lambda killed=killed: len(daemon.workers()) == 2 and killed not in daemon.workers(),  # type: ignore[misc]
                    "the next worker",
                )
        finally:
            ending = True
            for thread in threads:
                thread.join()
        eventually(lambda: not daemon.queued(), "an empty queue")
        ended = {
            identity: [kind for kind in daemon.kinds(identity) if kind == "delivered"]
            for identity in acknowledged[-20:]
        }
        self.assertEqual({2}, {len(kinds) for kinds in ended.values()})
        self.assertGreaterEqual(len(daemon.mailbox("alice")), len(acknowledged))
        self.assertGreaterEqual(site.taken, len(acknowledged))
        self.assertIn("has died", daemon.output.read_text())

    def test_clients_of_a_dead_worker(self) -> None:
        """While a worker is away, here for four seconds, the other accepts the clients that the kernel has for it."""
        daemon = self.two()
        for _ in range(3):
            eventually(lambda: all("pid" in worker for worker in daemon.status()["workers"]), "both workers")
            dead = daemon.status()["workers"][0]["pid"]
            os.kill(dead, signal.SIGKILL)
            eventually(lambda: gone(dead), "its end")  # noqa: B023 (it is called at once)
        eventually(lambda: "again in 4 s" in daemon.output.read_text(), "the third death")
        began = time.monotonic()
        identities = [daemon.submit("carol@example.org", "alice@local.test") for _ in range(20)]
        self.assertLess(time.monotonic() - began, 3)
        self.assertEqual({2}, {worker_of(parse_id(identity)) for identity in identities})
        eventually(lambda: all("pid" in worker for worker in daemon.status()["workers"]), "the worker's return")
        again = [daemon.submit("carol@example.org", "alice@local.test") for _ in range(40)]
        self.assertEqual({1, 2}, {worker_of(parse_id(identity)) for identity in again})

    def test_what_a_dead_worker_had_in_memory(self) -> None:
        """With one worker dead for good, all that it had claimed goes out by the other, at once."""
        site = self.site(0.3)
        daemon = self.two(
            route("*@slow.test", site.port), ("[queue]", "[queue]\nsite_connections_initial = 1\nsite_connections = 1")
        )
        for number in range(12):
            daemon.submit("carol@example.org", f"user{number}@slow.test")
        os.kill(daemon.workers()[0], signal.SIGKILL)
        began = time.monotonic()
        eventually(lambda: site.taken >= 12 and not daemon.queued(), "the delivery of all")
        self.assertLess(time.monotonic() - began, 12 * 0.3 + 8)
        self.assertLessEqual(site.most, 2, "the connection of the dead one, which the site has yet to notice")


class LimitTests(WorkersCase):
    def test_connections_of_a_client(self) -> None:
        """A client gets as many connections as the limit says, whichever workers they come to."""
        daemon = self.two("\n[limits]\nconnections_per_client = 6\n", ('["127.0.0.0/8"]', '["192.0.2.1"]'))
        for _ in range(2):
            with ExitStack() as stack:
                said = []
                for _ in range(20):
                    client = stack.enter_context(socket.create_connection(("127.0.0.1", daemon.port)))
                    said.append(stack.enter_context(client.makefile("rb")).readline()[:3])
                self.assertEqual((6, 14), (said.count(b"220"), said.count(b"421")))
                self.assertEqual(6, daemon.status()["sessions"])
            eventually(lambda: daemon.status()["sessions"] == 0, "the end of the sessions")

    def test_connections_of_a_client_after_a_death(self) -> None:
        """What a dead worker's clients had is given back to them."""
        daemon = self.two("\n[limits]\nconnections_per_client = 6\n", ('["127.0.0.0/8"]', '["192.0.2.1"]'))
        with ExitStack() as stack:
            for _ in range(20):
                client = stack.enter_context(socket.create_connection(("127.0.0.1", daemon.port)))
                stack.enter_context(client.makefile("rb")).readline()
            for worker in daemon.workers():
                os.kill(worker, signal.SIGKILL)
                eventually(lambda worker=worker: gone(worker), "its end")  # type: ignore[misc]
        eventually(lambda: greeted(daemon.port), "a connection that is welcome again")

    def test_connections_of_a_site(self) -> None:
        """A site never sees more connections than its limit, idle ones included, and both workers get their share."""
        site = self.site(0.02)
        daemon = self.two(
            route("*@slow.test", site.port), ("[queue]", "[queue]\nsite_connections_initial = 3\nsite_connections = 3")
        )
        identities = [daemon.submit("carol@example.org", f"user{number}@slow.test") for number in range(120)]
        self.assertEqual({1, 2}, {worker_of(parse_id(identity)) for identity in identities})
        eventually(lambda: site.taken >= 120 and not daemon.queued(), "the delivery of all")
        self.assertEqual((120, 3), (site.taken, site.most))


class ReloadTests(EndToEndCase):
    def reload(self, daemon: Daemon) -> None:
        said = daemon.output.read_text().count("was read again")
        assert daemon.process is not None
        daemon.process.send_signal(signal.SIGHUP)
        eventually(
            lambda: daemon.output.read_text().count("was read again") > said, "the word of the new configuration"
        )

    def submit_anew(self, daemon: Daemon) -> None:
        """A message to eve; workers read the configuration after the word of it, and end idle sessions with 421."""

        def taken() -> bool:
            try:
                daemon.submit("carol@example.org", "eve@local.test")
            except (smtplib.SMTPException, AssertionError):
                return False
            return True

        eventually(taken, "that eve's mail is taken")

    def check_reload(self, workers: int) -> None:
        port = free_port()
        daemon = self.daemon(route("*@sink.test", free_port()), workers)
        pids = daemon.workers()
        waiting = daemon.submit("carol@example.org", "dave@sink.test")
        sink = self.sink(port)
        client = smtplib.SMTP("127.0.0.1", daemon.port, timeout=PATIENCE)
        self.addCleanup(client.close)
        client.ehlo("client.test")
        client.mail("carol@example.org")
        client.rcpt("alice@local.test")
        text = daemon.config.read_text()
        daemon.config.write_text(
            re.sub(r"smtp://127.0.0.1:\d+", f"smtp://127.0.0.1:{port}", text).replace('"bob"', '"bob", "eve"')
        )
        self.reload(daemon)
        self.submit_anew(daemon)
        eventually(lambda: len(sink.messages()) == 1 and not daemon.queued(), "what waited, by the new route")
        self.assertIn("delivered", daemon.kinds(waiting))
        # The transaction that was under way ends in peace, and then its connection.
        self.assertEqual(250, client.data(b"Subject: hi\r\n\r\nhello\r\n")[0])
        self.assertEqual(421, client.getreply()[0])
        eventually(lambda: len(daemon.mailbox("alice")) == 1, "its message")
        self.assertEqual(pids, daemon.workers())
        # What can't be used changes nothing.
        daemon.config.write_text(daemon.config.read_text().replace('"eve"', '"eve", 7'))
        assert daemon.process is not None
        daemon.process.send_signal(signal.SIGHUP)
        eventually(lambda: "local.users" in daemon.output.read_text(), "the errors of the configuration")
        self.submit_anew(daemon)
        daemon.config.write_text(
            daemon.config.read_text().replace(", 7", "").replace(str(daemon.port), str(free_port()))
        )
        self.reload(daemon)
        self.assertIn("endpoints of the listeners have changed: that takes a restart", daemon.output.read_text())
        self.submit_anew(daemon)
        self.assertIn(daemon.stop(), (0, -signal.SIGTERM))
        self.assertNotIn("Traceback", daemon.output.read_text())

    def check_reload_under_load(self, workers: int) -> None:
        site = CountingSite(0.02)
        self.addCleanup(site.stop)
        daemon = self.daemon(route("*@slow.test", site.port), workers)
        acknowledged: list[str] = []
        troubles: list[Exception] = []
        ending = False

        def send() -> None:
            while not ending:
                try:
                    acknowledged.append(daemon.submit("carol@example.org", "dave@slow.test", "alice@local.test"))
                except (smtplib.SMTPException, OSError, AssertionError) as error:
                    troubles.append(error)

        threads = [Thread(target=send) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(5):
                before = len(acknowledged)
                eventually(lambda before=before: len(acknowledged) > before + 20, "some load")  # type: ignore[misc]
                self.reload(daemon)
        finally:
            ending = True
            for thread in threads:
                thread.join()
        eventually(lambda: not daemon.queued(), "an empty queue")
        # A session that the change meets between two commands is told 421, to QUIT as well, and nobody is refused.
        self.assertEqual([], [trouble for trouble in troubles if isinstance(trouble, ConnectionRefusedError)])
        self.assertLess(len(troubles), 5 * 5)
        arrived = [found[1] for text in daemon.mailbox("alice") if (found := re.search(r"\bid (\w{13})", text))]
        self.assertEqual((site.taken, len(arrived)), (len(arrived), len(set(arrived))), "each of them once")
        self.assertEqual(set(), set(acknowledged) - set(arrived))
        self.assertLessEqual(site.most, 20)
        self.assertNotIn("Traceback", daemon.output.read_text())

    def test_one_process_under_load(self) -> None:
        """Under load the configuration is changed again and again, and each message is delivered once."""
        self.check_reload_under_load(1)

    def test_two_workers_under_load(self) -> None:
        """The same with two workers."""
        self.check_reload_under_load(2)

    def test_one_process(self) -> None:
        """SIGHUP has one process go on by the new configuration, on its ports, with no session or message lost."""
        self.check_reload(1)

    def test_two_workers(self) -> None:
        """SIGHUP has all workers go on by the new configuration."""
        self.check_reload(2)


class EndpointTests(WorkersCase):
    def test_tls(self) -> None:
        """A listener with TLS has it in all workers."""
        certificate = self.top / "certificate.pem"
        openssl = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=mx.test"
        command = [tool("openssl"), *openssl.split(), "-keyout", str(certificate), "-out", str(certificate) + ".crt"]
        subprocess.run(command, check=True, capture_output=True)
        port = free_port()
        listener = f'\n[[listener]]\nname = "tls"\nendpoint = "tcp:{port}:interface=127.0.0.1"\nrole = "mx"\n'
        pair = f'certificate = "{certificate}.crt"\nkey = "{certificate}"\n'
        daemon = self.two(f'{listener}tls = "implicit"\n\n[[tls.certificates]]\n{pair}')
        context = ssl.create_default_context(cafile=f"{certificate}.crt")
        context.check_hostname = False
        with ExitStack() as stack:
            for _ in range(12):
                plain = stack.enter_context(socket.create_connection(("127.0.0.1", port), PATIENCE))
                client = stack.enter_context(context.wrap_socket(plain))
                self.assertEqual(b"220", client.recv(3))
            status = daemon.status()
            self.assertEqual(12, status["sessions"])
            self.assertTrue(all(worker["sessions"] for worker in status["workers"]), status)

    def test_unix_socket(self) -> None:
        """What several workers can't listen on is said at the start, with the exit code of a wrong configuration."""
        daemon = Daemon(self.top, workers=2)
        text = daemon.config.read_text().replace(f"tcp:{daemon.port}:interface=127.0.0.1", f"unix:{self.top}/socket")
        daemon.config.write_text(text)
        self.assertEqual(os.EX_CONFIG, daemon.spawn().wait(PATIENCE))
        self.assertIn("set workers to 1", daemon.output.read_text())
        self.assertNotIn("Traceback", daemon.output.read_text())
