"""Mechanisms: the vectors of the RFCs, and what is no message of theirs."""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.trial.unittest import SynchronousTestCase

from mta.auth import userfile
from mta.auth.authentication import Authentication
from mta.auth.function import FunctionUsers
from mta.auth.passwords import read_scram_keys, scram_keys
from mta.auth.users import UserFile
from mta.identity import Challenge, Granted, Identity, Malformed, Refused, Step, Unavailable
from mta.saslprep import prepared

# RFC 7677 3
SALT = b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
CLIENT_FIRST = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
SERVER_NONCE = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
SERVER_FIRST = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
UNPROVED = b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
CLIENT_FINAL = UNPROVED + b",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
SERVER_FINAL = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="

ALL = ("SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "PLAIN", "LOGIN")


def scram_proof(password: str, first: bytes, server_first: bytes, unproved: bytes) -> bytes:
    """The client's last message."""
    salt, iterations = server_first.split(b",")[1:]
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), b64decode(salt[2:]), int(iterations[2:]))
    client = hmac.digest(salted, b"Client Key", "sha256")
    message = first[first.index(b"n=") :] + b"," + server_first + b"," + unproved
    signature = hmac.digest(hashlib.sha256(client).digest(), message, "sha256")
    return unproved + b",p=" + b64encode(bytes(a ^ b for a, b in zip(client, signature, strict=True)))


class Case(SynchronousTestCase):
    """Users in a file: "user" with the keys of the RFC, "off", who is disabled."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        user = userfile.user_of("user", "pencil", ["@example.org"])
        user = userfile.User(user.name, user.password, scram_keys("pencil", SALT), user.senders)
        off = userfile.User("off", user.password, user.scram, (), enabled=False)
        userfile.write(self.path, (user, off))
        self.ran = 0
        self.authentication = Authentication(
            UserFile(self.path, self.in_thread),
            mechanisms=ALL,
            senders={"user": ["b@b.test"]},
            nonce=lambda: SERVER_NONCE,
        )

    def in_thread(self, work: Any, *arguments: Any) -> Deferred[Any]:
        self.ran += 1
        return maybeDeferred(work, *arguments)

    def talk(self, mechanism: str, *said: bytes | None, binding: bytes | None = None) -> list[Step]:
        """The steps that follow; None is no initial response."""
        conversation = self.authentication.begin(mechanism, "192.0.2.1", binding)
        return [
            self.successResultOf(conversation.start() if each is None else conversation.respond(each)) for each in said
        ]


GRANTED = Granted(Identity("user", frozenset(("@example.org", "b@b.test"))))


class ScramTests(Case):
    def test_rfc_7677(self) -> None:
        """The conversation of RFC 7677 3 goes octet for octet as it stands there, and ends with an empty response."""
        steps = self.talk("SCRAM-SHA-256", None, CLIENT_FIRST, CLIENT_FINAL, b"")
        self.assertEqual([Challenge(), Challenge(SERVER_FIRST), Challenge(SERVER_FINAL), GRANTED], steps)

    def test_wrong(self) -> None:
        """A wrong password, an unknown and a disabled user are refused at the same point of the conversation."""
        for name, password in ((b"user", "pencils"), (b"nobody", "pencil"), (b"off", "pencil")):
            first = b"n,,n=" + name + b",r=abc"
            conversation = self.authentication.begin("SCRAM-SHA-256", "", None)
            challenge = self.successResultOf(conversation.respond(first))
            assert isinstance(challenge, Challenge)
            nonce = challenge.data.split(b",")[0]
            final = scram_proof(password, first, challenge.data, b"c=biws," + nonce)
            step = self.successResultOf(conversation.respond(final))
            self.assertIsInstance(step, Refused)
            self.assertIn(name.decode(), repr(step))

    def test_unknown_user_has_a_salt(self) -> None:
        """The salt of an unknown user looks like any other, and is the same each time (RFC 5802 9)."""
        first = [self.talk("SCRAM-SHA-256", b"n,,n=" + name + b",r=abc")[0] for name in (b"x", b"x", b"y")]
        self.assertEqual(first[0], first[1])
        self.assertNotEqual(first[0], first[2])
        self.assertRegex(str(first[0]), r"s=[A-Za-z0-9+/]{22}==,i=4096")

    def test_channel_binding(self) -> None:
        """With -PLUS the binding of the connection is part of the proof; that of another connection is refused."""
        first = b"p=tls-exporter,,n=user,r=abc"
        for bound, expected in ((b"B" * 32, Challenge), (b"C" * 32, Refused), (b"", Refused)):
            conversation = self.authentication.begin("SCRAM-SHA-256-PLUS", "", b"B" * 32)
            challenge = self.successResultOf(conversation.respond(first))
            assert isinstance(challenge, Challenge)
            channel = b64encode(b"p=tls-exporter,," + bound)
            unproved = b"c=" + channel + b"," + challenge.data.split(b",")[0]
            step = self.successResultOf(conversation.respond(scram_proof("pencil", first, challenge.data, unproved)))
            self.assertIsInstance(step, expected)

    def test_downgrade(self) -> None:
        """A client that was not told of -PLUS where we offer it has been lied to (RFC 5802 6)."""
        first = b"y,,n=user,r=abc"
        self.assertIsInstance(self.talk("SCRAM-SHA-256", first, binding=b"B" * 32)[0], Refused)
        self.assertIsInstance(self.talk("SCRAM-SHA-256", first)[0], Challenge)
        self.assertIsInstance(self.talk("SCRAM-SHA-256", b"n,,n=user,r=abc", binding=b"B" * 32)[0], Challenge)

    def test_malformed(self) -> None:
        """What is no message of SCRAM, or speaks of another exchange, is told apart from a wrong password."""
        for mechanism, said, expected in (
            ("SCRAM-SHA-256", (b"",), Malformed),
            ("SCRAM-SHA-256", (b"\xff",), Malformed),
            ("SCRAM-SHA-256", (b"n,,m=x,n=user,r=abc",), Malformed),
            ("SCRAM-SHA-256", (b"n,,n=us=er,r=abc",), Malformed),
            ("SCRAM-SHA-256", (b"p=tls-exporter,,n=user,r=abc",), Malformed),
            ("SCRAM-SHA-256-PLUS", (b"n,,n=user,r=abc",), Malformed),
            ("SCRAM-SHA-256-PLUS", (b"p=tls-unique,,n=user,r=abc",), Refused),
            ("SCRAM-SHA-256", (b"n,a=root,n=user,r=abc",), Refused),
            ("SCRAM-SHA-256", (CLIENT_FIRST, b"c=biws"), Malformed),
            ("SCRAM-SHA-256", (CLIENT_FIRST, CLIENT_FINAL.replace(b"hNlF", b"hNlG")), Refused),
            ("SCRAM-SHA-256", (CLIENT_FIRST, CLIENT_FINAL.replace(b"biws", b"eSws")), Refused),
            ("SCRAM-SHA-256", (CLIENT_FIRST, UNPROVED + b",p=YQ=="), Refused),
            ("SCRAM-SHA-256", (CLIENT_FIRST, CLIENT_FINAL, b"x"), Malformed),
        ):
            steps = self.talk(mechanism, *said, binding=b"B" * 32 if mechanism.endswith("S") else None)
            self.assertIsInstance(steps[-1], expected, said)

    @given(st.lists(st.binary(max_size=60), min_size=1, max_size=3), st.sampled_from(ALL))
    def test_anything(self, said: list[bytes], mechanism: str) -> None:
        """Any octets lead to a step, never to an exception."""
        for step in self.talk(mechanism, *said):
            self.assertNotIsInstance(step, Unavailable)


class PlainTests(Case):
    def test_plain(self) -> None:
        """PLAIN is the three parts of RFC 4616 2, and nobody acts as another."""
        for said, expected in (
            (b"\0user\0pencil", GRANTED),
            (b"user\0user\0pencil", GRANTED),
            (b"\0USER\0pencil", GRANTED),
            (b"\0user\0pencils", Refused("wrong password", "user")),
            (b"\0nobody\0pencil", Refused("unknown user", "nobody")),
            (b"\0off\0pencil", Refused("disabled user", "off")),
            (b"root\0user\0pencil", Refused("nobody may act as another", "user")),
        ):
            self.assertEqual([expected], self.talk("PLAIN", said), said)
        for said in (b"", b"\0", b"\0\0pencil", b"\0user\0", b"\0user\0pencil\0", b"\0\xff\0x"):
            self.assertIsInstance(self.talk("PLAIN", said)[0], Malformed, said)

    def test_login(self) -> None:
        """LOGIN asks for the name and the password; an initial response is the name."""
        steps = self.talk("LOGIN", None, b"user", b"pencil")
        self.assertEqual([Challenge(b"Username:"), Challenge(b"Password:"), GRANTED], steps)
        self.assertEqual(GRANTED, self.talk("LOGIN", b"user", b"pencil")[-1])
        self.assertIsInstance(self.talk("LOGIN", b"")[0], Malformed)

    def test_unknown_user_costs_a_hash(self) -> None:
        """For an unknown user a hash is computed as for a known one: time tells nothing."""
        for name in (b"user", b"nobody", b"off"):
            before = self.ran
            self.talk("PLAIN", b"\0" + name + b"\0wrong")
            self.assertEqual(before + 1, self.ran, name)


class UserFileTests(Case):
    def test_read_again(self) -> None:
        """A file that has changed counts at the next login."""
        with userfile.changing(self.path) as users:
            users["new"] = userfile.user_of("New", "secret")
            del users["user"]
        self.assertEqual([Granted(Identity("new"))], self.talk("PLAIN", b"\0new\0secret"))
        self.assertIsInstance(self.talk("PLAIN", b"\0user\0pencil")[0], Refused)

    def test_damaged(self) -> None:
        """A file that can't be read is our trouble, not a wrong password."""
        self.path.write_text("user\n")
        self.assertIsInstance(self.talk("PLAIN", b"\0user\0pencil")[0], Unavailable)
        self.assertEqual(1, len(self.flushLoggedErrors()))

    def test_round_trip(self) -> None:
        """What is written is read back, and only its owner may read it."""
        users = userfile.read(self.path)
        self.assertEqual(["user", "off"], list(users))
        self.assertEqual((("@example.org",), False), (users["user"].senders, users["off"].enabled))
        self.assertEqual(scram_keys("pencil", SALT), users["user"].scram)
        self.assertEqual(0o600, self.path.stat().st_mode & 0o777)
        self.assertNotIn("pencil", self.path.read_text())

    def test_failed_change(self) -> None:
        """Where a change fails, the file stays as it was."""
        before = self.path.read_text()
        with self.assertRaises(RuntimeError), userfile.changing(self.path) as users:
            users.clear()
            raise RuntimeError
        self.assertEqual(before, self.path.read_text())

    def test_bad_lines(self) -> None:
        """A line that is none of a user is named."""
        for line in ("a", "a on x - -", "A enabled x - -", "a enabled x SCRAM-SHA-256$1:YQ==$YQ==:YQ== -"):
            self.path.write_text(f"# users\n{line}\n")
            self.assertIn(":2: ", str(self.assertRaises(userfile.UserFileError, userfile.read, self.path)))

    def test_saslprep(self) -> None:
        """Names and passwords are prepared as the examples of RFC 4013 3 are."""
        for text, expected in (
            ("I\u00adX", "IX"),
            ("user", "user"),
            ("USER", "USER"),
            ("\u00aa", "a"),
            ("\u2168", "IX"),
        ):
            self.assertEqual(expected, prepared(text))
        for text in ("\u0007", "\u06271"):
            self.assertRaises(ValueError, prepared, text)

    def test_keys_read_back(self) -> None:
        """Keys of SCRAM are written as PostgreSQL does, and read back."""
        keys = scram_keys("pencil", SALT)
        self.assertTrue(str(keys).startswith("SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$"))
        self.assertEqual(keys, read_scram_keys(str(keys)))


class FunctionTests(SynchronousTestCase):
    def ask(self, function: Any) -> Step:
        authentication = Authentication(FunctionUsers(function), mechanisms=ALL, senders={})
        self.assertEqual(("PLAIN", "LOGIN"), authentication.mechanisms)
        return self.successResultOf(authentication.begin("PLAIN", "192.0.2.1", None).respond(b"\0a\0b"))

    def test_answers(self) -> None:
        """It says yes, yes with addresses, or no, at once or later."""

        async def later(*_asked: str) -> bool:
            return True

        self.assertEqual(Granted(Identity("a")), self.ask(lambda *asked: asked == ("a", "b", "192.0.2.1")))
        self.assertEqual(Granted(Identity("a", frozenset(("x@y",)))), self.ask(lambda *_: ["x@y"]))
        self.assertEqual(Granted(Identity("a")), self.ask(later))
        self.assertIsInstance(self.ask(lambda *_: False), Refused)
        self.assertIsInstance(self.ask(lambda *_: None), Refused)

    def test_raises(self) -> None:
        """What it raises is trouble of ours, logged, and never a yes or a no."""
        self.assertIsInstance(self.ask(lambda *_: 1 / 0), Unavailable)
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))
