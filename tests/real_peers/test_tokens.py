"""OAUTHBEARER and XOAUTH2 with real clients: curl and msmtp. Needs Debian's curl and msmtp."""

from __future__ import annotations

import subprocess
import time

from tests.auth.issuer import USER
from tests.end_to_end.daemon import PATIENCE, Daemon, eventually
from tests.end_to_end.test_tokens import TokenDaemonCase
from tests.real_peers.crossing import TO_US, crossing
from tests.real_peers.peer import program

_MESSAGE = b"Subject: hi\r\n\r\nhello\r\n"
# CURLE_LOGIN_DENIED, whatever the reason is.
_DENIED = 67
# EX_NOPERM
_NO_PERMISSION = 77


class ClientCase(TokenDaemonCase):
    def arrived(self, daemon: Daemon, count: int) -> None:
        """So many messages of the user's are there, each of somebody who has logged in."""
        found = eventually(lambda: len(daemon.mailbox("bob")) >= count and daemon.mailbox("bob"), "the messages")
        self.assertEqual(count, len(found or ()))
        for message in found or ():
            self.assertIn("with ESMTPA id", " ".join(message.split()))


class CurlTests(ClientCase):
    """curl takes OAUTHBEARER wherever that is offered, whatever --login-options says (7.88)."""

    def curl(self, port: int, token: str, user: str = USER) -> tuple[int, str]:
        """Its exit code, and the dialogue."""
        message = self.top / "message"
        message.write_bytes(_MESSAGE)
        command = [program("curl", "curl"), "--silent", "--verbose", "--max-time", "20", f"smtp://127.0.0.1:{port}/x"]
        command += ["--user", user, "--oauth2-bearer", token]
        command += ["--mail-from", USER, "--mail-rcpt", "bob@local.test", "--upload-file", str(message)]
        ran = subprocess.run(command, capture_output=True, timeout=PATIENCE, check=False, text=True)
        return ran.returncode, ran.stderr

    def check(self, mechanism: str) -> None:
        daemon, port = self.submission(self.by_keys(), mechanism, clear=True)
        code, dialogue = self.curl(port, self.jwt())
        self.assertEqual(0, code, dialogue)
        self.assertIn(f"AUTH {mechanism}", dialogue)
        for token, user in ((self.jwt(exp=time.time() - 1), USER), (self.jwt(), "bob@local.test")):
            code, dialogue = self.curl(port, token, user)
            self.assertEqual(_DENIED, code, dialogue)
            self.assertIn("< 334 ey", dialogue)
            # It answers the challenge of OAUTHBEARER, and goes away at that of XOAUTH2.
            self.assertEqual(mechanism == "OAUTHBEARER", "< 535 5.7.8" in dialogue)
        self.arrived(daemon, 1)
        self.assertEqual(2, daemon.output.read_text().count(" auth-failed "))

    @crossing("curl", TO_US, "AUTH OAUTHBEARER")
    def test_oauthbearer(self) -> None:
        """curl logs in with a JWT; with an expired one, or as somebody else, it does not."""
        self.check("OAUTHBEARER")

    @crossing("curl", TO_US, "AUTH XOAUTH2")
    def test_xoauth2(self) -> None:
        """The same with XOAUTH2."""
        self.check("XOAUTH2")

    @crossing("curl", TO_US, "AUTH OAUTHBEARER by introspection")
    def test_introspection(self) -> None:
        """curl logs in with a token that the issuer knows; while that is broken it hears 454."""
        daemon, port = self.submission(self.by_introspection(), clear=True)
        self.issuer.tokens["opaque"] = {"active": True, "email": USER, "scope": "smtp.send"}
        self.assertEqual(0, self.curl(port, "opaque")[0])
        self.assertEqual(_DENIED, self.curl(port, "unknown")[0])
        self.issuer.status = 500
        code, dialogue = self.curl(port, "other")
        self.assertEqual(_DENIED, code)
        self.assertIn("< 454 4.7.0", dialogue)
        self.arrived(daemon, 1)


class MsmtpTests(ClientCase):
    @crossing("msmtp", TO_US, "AUTH OAUTHBEARER", "AUTH XOAUTH2")
    def test_keys(self) -> None:
        """msmtp logs in with a JWT by either mechanism; with one for another audience it does not."""
        daemon, port = self.submission(self.by_keys(), clear=True)
        for mechanism in ("oauthbearer", "xoauth2"):
            for token, code in ((self.jwt(), 0), (self.jwt(aud="web"), _NO_PERMISSION)):
                command = [program("msmtp", "msmtp"), "--file=/dev/null", "--host=127.0.0.1", f"--port={port}"]
                command += [f"--auth={mechanism}", f"--user={USER}", f"--passwordeval=echo {token}", "--tls=off"]
                command += ["--timeout=20", f"--from={USER}", "--", "bob@local.test"]
                ran = subprocess.run(command, input=_MESSAGE, capture_output=True, timeout=PATIENCE, check=False)
                self.assertEqual(code, ran.returncode, (mechanism, ran.stderr))
        self.arrived(daemon, 2)
