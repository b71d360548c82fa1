"""`mta user`."""

from __future__ import annotations

import json
import os

from mta.auth import passwords, userfile
from tests.auth.issuer import key_set, public
from tests.cli.test_commands import CommandCase


class UserTests(CommandCase):
    def user(self, *arguments: str, content: bytes = b"") -> tuple[int, str]:
        ran = self.run_as("mta", "user", *arguments, content=content)
        return ran.returncode, ran.stdout.decode() + ran.stderr

    def test_life(self) -> None:
        """A user is added, listed, gets another password, is disabled and enabled; the password is never seen."""
        path = self.state / "users"
        added = self.user("add", "Alice", "--sender", "@Example.org", "--sender", "a@b.test", content=b"pencil\n")
        self.assertEqual((os.EX_OK, ""), added)
        there = userfile.read(path)["alice"]
        self.assertTrue(passwords.matches(there.password, "pencil"))
        self.assertEqual(("@example.org", "a@b.test"), there.senders)
        self.assertEqual((os.EX_OK, "alice  enabled   @example.org, a@b.test\n"), self.user("list"))
        self.assertEqual((os.EX_OK, ""), self.user("passwd", "alice", content=b"eraser\n"))
        changed = userfile.read(path)["alice"]
        self.assertTrue(passwords.matches(changed.password, "eraser"))
        self.assertEqual((there.senders, True), (changed.senders, changed.scram != there.scram))
        self.assertEqual((os.EX_OK, ""), self.user("disable", "alice"))
        self.assertEqual("disabled", json.loads(self.user("list", "--json")[1])["state"])
        self.assertEqual((os.EX_OK, ""), self.user("enable", "alice"))
        self.assertTrue(userfile.read(path)["alice"].enabled)

    def test_refused(self) -> None:
        """What can't be done is said in a line, and changes nothing."""
        self.user("add", "alice", content=b"pencil\n")
        before = (self.state / "users").read_text()
        for arguments, content, code in (
            (("add", "alice"), b"x\n", os.EX_DATAERR),
            (("add", "b c"), b"x\n", os.EX_DATAERR),
            (("add", "bob"), b"\n", os.EX_DATAERR),
            (("add", "bob", "--sender", "nobody"), b"x\n", os.EX_DATAERR),
            (("passwd", "bob"), b"x\n", os.EX_NOUSER),
            (("disable", "bob"), b"", os.EX_NOUSER),
        ):
            ran = self.user(*arguments, content=content)
            self.assertEqual((code, 1), (ran[0], ran[1].count("\n")), (arguments, ran))
        self.assertEqual(before, (self.state / "users").read_text())

    def test_check(self) -> None:
        """`mta check` tells of users that can't be read, and of a socket that is not there."""
        self.config.write_text(self.config.read_text() + '[auth]\nbackend = "file"\n')
        self.assertEqual(os.EX_OK, self.run_as("mta", "check").returncode)
        (self.state / "users").write_text("alice\n")
        ran = self.run_as("mta", "check")
        self.assertEqual(os.EX_CONFIG, ran.returncode)
        self.assertIn("auth.users: ", ran.stderr)
        text = self.config.read_text().replace('"file"', '"dovecot"\ndovecot = "/nowhere/auth-client"')
        self.config.write_text(text)
        self.assertIn("/nowhere/auth-client is no socket", self.run_as("mta", "check").stderr)

    def test_check_of_keys(self) -> None:
        """It tells of a file of keys that is missing, or has none that verifies a signature."""
        keys = self.state.parent / "keys.json"
        oauth = f'[auth.oauth]\njwks = "{keys}"\nissuer = "https://id.test"\naudience = ["mail"]\n'
        self.config.write_text(self.config.read_text() + oauth)
        for content, told in (
            (None, "cannot read"),
            (b"{}", "no JWK Set"),
            (key_set(public("RS", use="enc")), "no key"),
        ):
            if content is not None:
                keys.write_bytes(content)
            ran = self.run_as("mta", "check")
            self.assertEqual(os.EX_CONFIG, ran.returncode)
            self.assertIn(f"auth.oauth.jwks: {'cannot read ' if content is None else ''}{keys}", ran.stderr)
            self.assertIn(told, ran.stderr)
        keys.write_bytes(key_set(public("RS")))
        self.assertEqual(os.EX_OK, self.run_as("mta", "check").returncode)
