"""AUTH with real clients (swaks, msmtp) and a real Dovecot behind it. Needs Debian's swaks, msmtp and dovecot-lmtpd."""

from __future__ import annotations

import subprocess

from twisted.internet import reactor
from twisted.internet.defer import Deferred

from mta.auth.authentication import Authentication
from mta.auth.dovecot import DovecotUsers
from mta.identity import Granted, Identity, Refused, Step, Unavailable
from tests.end_to_end.daemon import PATIENCE, Daemon, eventually, free_port
from tests.real_peers.crossing import TO_US, RealPeerCase, crossing
from tests.real_peers.dovecot import Dovecot
from tests.real_peers.peer import program

_SUBMISSION = """
[[listener]]
name = "submission"
endpoint = "tcp:{port}:interface=127.0.0.1"
role = "submission"
auth_without_tls = true

[auth]
backend = "{backend}"
dovecot = "{socket}"
failure_delay = "0s"
"""


class PasswordDovecot(Dovecot):
    """A Dovecot that knows the password of dave: "secret"."""

    def configured(self) -> list[str]:
        command = super().configured()
        passwords = self.top / "passwords"
        passwords.write_text("dave:{PLAIN}secret\n")
        config = self.top / "dovecot.conf"
        static = "driver = static\n  args = nopassword=y\n"
        config.write_text(config.read_text().replace(static, f"driver = passwd-file\n  args = {passwords}\n"))
        return command


class AuthCase(RealPeerCase):
    def submission(self, backend: str = "file", socket: str = "") -> tuple[Daemon, int]:
        """A daemon and the port of its submission; nobody is trusted but for a password."""
        port = free_port()
        daemon = Daemon(self.top, _SUBMISSION.format(port=port, backend=backend, socket=socket))
        text = daemon.config.read_text().replace('networks = ["127.0.0.0/8"]', "networks = []")
        daemon.config.write_text(text)
        self.addCleanup(daemon.stop, 9)
        daemon.start()
        if backend == "file":
            added = daemon.mta("user", "add", "alice", "--sender", "carol@example.org", content=b"pencil\n")
            self.assertEqual(b"", added.stderr)
        return daemon, port

    def swaks(self, port: int, mechanism: str, user: str, password: str, code: int = 0) -> str:
        command = [program("swaks", "swaks"), "--server", f"127.0.0.1:{port}", "--helo", "client.test"]
        command += ["--from", f"{user}@local.test", "--to", "bob@local.test", "--auth", mechanism]
        command += ["--auth-user", user, "--auth-password", password]
        ran = subprocess.run(command, capture_output=True, timeout=PATIENCE, check=False, text=True)
        self.assertEqual(code, ran.returncode, ran.stdout + ran.stderr)
        return ran.stdout


class ClientTests(AuthCase):
    @crossing("swaks", TO_US, "AUTH PLAIN", "AUTH LOGIN")
    def test_swaks(self) -> None:
        """swaks logs in with PLAIN and with LOGIN, and with a wrong password it does not."""
        daemon, port = self.submission()
        for mechanism in ("PLAIN", "LOGIN"):
            self.assertIn("235 2.7.0", self.swaks(port, mechanism, "alice", "pencil"))
            # swaks ends with 28 where it can't log in.
            self.assertIn("535 5.7.8", self.swaks(port, mechanism, "alice", "wrong", code=28))
        self.assertIn("auth-failed", daemon.output.read_text())

    @crossing("msmtp", TO_US, "AUTH SCRAM-SHA-256", "AUTH PLAIN", "AUTH LOGIN")
    def test_msmtp(self) -> None:
        """msmtp logs in with each mechanism, and mail of a user is delivered with ESMTPA in its trace field."""
        daemon, port = self.submission()
        tap = self.tap(port)
        for mechanism in ("scram-sha-256", "plain", "login"):
            for password, code in (("pencil", 0), ("wrong", 77)):  # EX_NOPERM
                command = [program("msmtp", "msmtp"), "--file=/dev/null", "--host=127.0.0.1", f"--port={tap.port}"]
                command += [f"--auth={mechanism}", "--user=alice", f"--passwordeval=echo {password}", "--tls=off"]
                command += ["--timeout=20", "--from=carol@example.org", "--", "bob@local.test"]
                ran = subprocess.run(
                    command, input=b"Subject: hi\n\nhello\n", capture_output=True, timeout=PATIENCE, check=False
                )
                self.assertEqual(code, ran.returncode, (mechanism, ran.stderr, tap.transcript()))
        delivered = eventually(lambda: len(daemon.mailbox("bob")) == 3 and daemon.mailbox("bob"), "three messages")
        for message in delivered or ():
            self.assertIn("with ESMTPA id", message.replace("\n\t", " "))


class DovecotTests(AuthCase):
    @crossing("dovecot", TO_US, "auth socket")
    async def test_checker(self) -> None:
        """Dovecot's auth service says yes, no, and nothing where it is gone; then it is asked again."""
        dovecot = self.peer(PasswordDovecot(self.top))
        path = dovecot.top / "run" / "auth-client"
        users = DovecotUsers(path, reactor)
        authentication = Authentication(users, mechanisms=("SCRAM-SHA-256", "PLAIN", "LOGIN"), senders={})
        self.assertEqual(("PLAIN", "LOGIN"), authentication.mechanisms)

        def ask(user: bytes, password: bytes) -> Deferred[Step]:
            return authentication.begin("PLAIN", "127.0.0.1", None).respond(b"\0" + user + b"\0" + password)

        both = [ask(b"dave", b"secret"), ask(b"dave", b"wrong")]
        self.assertEqual(Granted(Identity("dave")), await both[0])
        self.assertEqual(Refused("refused by Dovecot", "dave"), await both[1])
        self.assertIsInstance(await ask(b"nobody", b"x"), Refused)
        dovecot.stop()
        path.unlink(missing_ok=True)
        self.assertIsInstance(await ask(b"dave", b"secret"), Unavailable)
        self.assertGreaterEqual(len(self.flushLoggedErrors()), 1)

    @crossing("swaks", TO_US, "AUTH by Dovecot")
    def test_swaks(self) -> None:
        """A client logs in to a daemon that asks Dovecot."""
        dovecot = self.peer(PasswordDovecot(self.top))
        _daemon, port = self.submission("dovecot", str(dovecot.top / "run" / "auth-client"))
        self.assertIn("235 2.7.0", self.swaks(port, "PLAIN", "dave", "secret"))
        self.assertIn("535 5.7.8", self.swaks(port, "LOGIN", "dave", "wrong", code=28))
