"""AUTH and submission on in-memory connections, with the file of users behind them."""

from __future__ import annotations

from base64 import b64decode, b64encode
from dataclasses import replace
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.trial.unittest import SynchronousTestCase

from mta.auth import userfile
from mta.auth.authentication import Authentication
from mta.auth.function import FunctionUsers
from mta.auth.users import UserFile
from mta.policy.directory import Directory
from mta.policy.relay import RelayPolicy
from mta.policy.submitters import NO_LIMITS, Submitters
from mta.server.login import channel_binding
from tests.auth.test_mechanisms import scram_proof
from tests.policy.limits import limits_for_tests
from tests.server.fakes import HOSTNAME, STRANGER, TRUSTED, Client, Site, codes

MECHANISMS = ("SCRAM-SHA-256", "PLAIN", "LOGIN")
GOOD = b"AUTH PLAIN " + b64encode(b"\0alice\0pencil") + b"\r\n"
BAD = b"AUTH PLAIN " + b64encode(b"\0alice\0wrong") + b"\r\n"
LIMITS = replace(NO_LIMITS, failures=3, failure_period=600.0, failure_delay=1.0)


class LoginCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.users = Path(self.mktemp())
        userfile.write(self.users, [userfile.user_of("alice", "pencil", ["sales@example.org", "@wide.test"])])

    def site(self, role: str = "submission", **changed: Any) -> Site:
        """A listener in clear; `changed` are limits of submitters, or arguments of the factory."""
        named = {name: changed.pop(name) for name in [*changed] if name in LIMITS.__slots__}
        users = UserFile(self.users, lambda work, *arguments: maybeDeferred(work, *arguments))
        arguments: dict[str, Any] = {
            "authentication": Authentication(users, mechanisms=MECHANISMS, senders={}),
            "auth_in_clear": True,
            "submitters": Submitters(replace(LIMITS, **named), frozenset(("local.test",))),
            **changed,
        }
        return Site(limits_for_tests(error_delay=0.0), role=role, **arguments)

    def failure(self, site: Site, client: Client, line: bytes = BAD) -> list[str]:
        """The codes of the reply to a failure, once it has come."""
        found = codes(client.say(line))
        self.assertEqual([], found)
        site.clock.advance(16)
        return codes(client.heard())


class ConversationTests(LoginCase):
    def test_mechanisms(self) -> None:
        """Each mechanism leads to 235, and the message that follows is the user's, with ESMTPA in its trace field."""
        site = self.site()
        first = b"n,,n=alice,r=abc"
        plain = [b"AUTH PLAIN", b64encode(b"\0alice\0pencil")]
        login = [b"AUTH LOGIN", b64encode(b"alice"), b64encode(b"pencil")]
        for number, lines in enumerate((plain, login, [b"AUTH LOGIN " + b64encode(b"alice"), b64encode(b"pencil")])):
            client = site.hello()
            replies = [client.codes(line + b"\r\n") for line in lines]
            self.assertEqual([*[["334"]] * (len(lines) - 1), ["235"]], replies)
            self.send(client)
            entry, origin, _claim = site.spool.committed[number]
            self.assertEqual(("ESMTPA", {"user": "alice"}), (origin.protocol, origin.details))
            self.assertIn(b"with ESMTPA id", (entry.content or b"").replace(b"\r\n\t", b" "))
        client = site.hello()
        challenge = client.say(b"AUTH SCRAM-SHA-256 " + b64encode(first) + b"\r\n")
        server_first = b64decode(challenge[4:])
        final = scram_proof("pencil", first, server_first, b"c=biws," + server_first.split(b",")[0])
        self.assertTrue(client.say(b64encode(final) + b"\r\n").startswith(b"334 dj"))
        self.assertEqual(["235"], client.codes(b"\r\n"))

    def send(self, client: Client) -> None:
        dialogue = b"MAIL FROM:<alice@local.test>\r\nRCPT TO:<x@far.test>\r\nDATA\r\n"
        self.assertEqual(["250", "250", "354"], client.codes(dialogue))
        self.assertEqual(["250"], client.codes(b"Subject: x\r\n\r\nx\r\n.\r\n"))

    def test_every_split(self) -> None:
        """However each line of the exchange is cut in two, the replies are the same."""
        lines = [b"EHLO x", b"AUTH LOGIN", b"*", b"AUTH LOGIN", b64encode(b"alice"), b64encode(b"pencil"), b"NOOP"]
        site = self.site(failure_delay=0.0, failures=0)
        for cut in range(max(map(len, lines)) + 3):
            client = site.connect(TRUSTED)
            client.heard()
            heard = b"".join(client.say(line[:cut]) + client.say(line[cut:] + b"\r\n") for line in lines)
            self.assertEqual(["250", "334", "501", "334", "334", "235", "250"], codes(heard), cut)
            client.vanish()

    def test_octet_by_octet(self) -> None:
        """One octet at a time, the whole exchange goes the same way."""
        client = self.site().connect()
        client.heard()
        heard = b""
        for octet in b"EHLO x\r\nAUTH LOGIN\r\n" + b64encode(b"alice") + b"\r\n" + b64encode(b"pencil") + b"\r\n":
            heard += client.say(bytes((octet,)))
        self.assertEqual(["250", "334", "334", "235"], codes(heard))

    def test_long_lines(self) -> None:
        """A response may have 12,288 octets with its CRLF, and one more is 500 5.5.6; other commands as before."""
        site = self.site(failure_delay=0.0)
        client = site.hello()
        client.say(b"AUTH PLAIN\r\n")
        self.assertEqual(["535"], client.codes(self.padded(12_284) + b"\r\n"))
        client.say(b"AUTH PLAIN\r\n")
        self.assertIn(b"500 5.5.6 ", client.say(b"A" * 12_287 + b"\r\n"))
        self.assertEqual(["500"], client.codes(b"NOOP " + b"x" * 3000 + b"\r\n"))
        self.assertEqual(["535"], client.codes(b"AUTH PLAIN " + self.padded(12_000) + b"\r\n"))
        self.assertEqual(["235"], client.codes(GOOD))
        self.assertEqual(["500"], client.codes(b"AUTH PLAIN " + self.padded(12_000) + b"\r\n"))

    def padded(self, octets: int) -> bytes:
        text = b"\0alice\0"
        return b64encode(text + b"x" * (octets // 4 * 3 - len(text)))

    def test_slow_answer(self) -> None:
        """While the users are asked nothing is read, and no answer in time is 454."""
        asked: list[Deferred[bool]] = []

        def later(*_credentials: str) -> Deferred[bool]:
            asked.append(Deferred())
            return asked[-1]

        site = self.site(authentication=Authentication(FunctionUsers(later), mechanisms=MECHANISMS, senders={}))
        client = site.hello()
        self.assertEqual([], client.codes(GOOD + b"NOOP\r\n"))
        asked[0].callback(True)
        self.assertEqual(["235", "250"], codes(client.heard()))
        client = site.hello()
        client.say(GOOD)
        site.clock.advance(30)
        self.assertEqual(["454"], codes(client.heard()))
        self.assertIn("auth-failed-temporarily", site.kinds)

    def test_lost_meanwhile(self) -> None:
        """A client that goes away while it is being looked at leaves no error behind."""
        asked: Deferred[bool] = Deferred()
        checker = FunctionUsers(lambda *_credentials: asked)
        site = self.site(authentication=Authentication(checker, mechanisms=MECHANISMS, senders={}))
        client = site.hello()
        client.say(GOOD)
        client.vanish()
        asked.callback(True)
        self.assertEqual([], self.flushLoggedErrors())

    def test_not_before_tls(self) -> None:
        """Without TLS nothing is offered, and a password that comes all the same is not looked at."""
        site = self.site(auth_in_clear=False)
        client = site.connect()
        self.assertNotIn(b"AUTH", client.say(b"EHLO x\r\n"))
        self.assertEqual(["538"], client.codes(GOOD))
        self.assertEqual(["530"], client.codes(b"MAIL FROM:<alice@local.test>\r\n"))

    def test_channel_binding(self) -> None:
        """The binding is exported from a connection of TLS 1.3, and from nothing else."""

        class Connection:
            def __init__(self, version: str) -> None:
                self.version = version

            def getHandle(self) -> Connection:
                return self

            def get_protocol_version_name(self) -> str:
                return self.version

            def export_keying_material(self, label: bytes, length: int, context: bytes) -> bytes:
                assert (label, context) == (b"EXPORTER-Channel-Binding", b"")
                return b"B" * length

        self.assertEqual(b"B" * 32, channel_binding(Connection("TLSv1.3")))
        self.assertIsNone(channel_binding(Connection("TLSv1.2")))
        self.assertIsNone(channel_binding(object()))


class FailureTests(LoginCase):
    def test_slows_down_and_blocks(self) -> None:
        """Each failure is answered later than the one before; past the limit 454 comes at once, until it releases."""
        site = self.site()
        client = site.hello()
        for delay in (1, 2, 4):
            self.assertEqual([], client.codes(BAD))
            site.clock.advance(delay - 0.1)
            self.assertEqual(b"", client.heard())
            site.clock.advance(0.1)
            self.assertEqual(["535"], codes(client.heard()))
        self.assertEqual(["454"], client.codes(GOOD))
        self.assertEqual(["454"], site.hello().codes(GOOD))
        self.assertEqual(["235"], site.hello("198.51.100.9").codes(GOOD))
        site.clock.advance(1200)
        self.assertEqual(["235"], site.hello().codes(GOOD))

    def test_trusted_is_not_blocked(self) -> None:
        """A client in relay.networks, a webmail say, is slowed down and not blocked: it is many people."""
        site = self.site()
        client = site.hello(TRUSTED)
        for _ in range(4):
            self.assertEqual(["535"], self.failure(site, client))
        self.assertEqual(["235"], client.codes(GOOD))

    def test_log(self) -> None:
        """One line tells each failure, with the client's address; nothing tells a password."""
        site = self.site()
        client = site.hello()
        self.failure(site, client)
        client.say(GOOD)
        logged = [fields for kind, fields in site.log if kind == "auth-failed"]
        self.assertEqual(
            [
                {
                    "listener": "relay",
                    "client": STRANGER,
                    "helo": "client.test",
                    "mechanism": "PLAIN",
                    "user": "alice",
                    "reason": "wrong password",
                }
            ],
            logged,
        )
        self.assertIn("auth-ok", site.kinds)
        self.assertNotIn(BAD.split()[2].decode(), repr(site.log))

    def test_transcript(self) -> None:
        """What is told of a session that was closed for its errors holds no response."""
        site = self.site(failure_delay=0.0, failures=0)
        client = site.hello()
        for _ in range(22):
            client.say(b"AUTH LOGIN\r\n")
            client.say(b64encode(b"alice") + b"\r\n")
            client.say(b64encode(b"secret") + b"\r\n")
        self.assertIn("session-transcript", site.kinds)
        self.assertNotIn(b64encode(b"secret").decode(), repr(site.log))


class SubmissionTests(LoginCase):
    def test_required(self) -> None:
        """Role submission wants AUTH (530) of all but trusted networks (RFC 6409 4.3)."""
        site = self.site()
        self.assertEqual(["530"], site.hello().codes(b"MAIL FROM:<alice@local.test>\r\n"))
        self.assertEqual(["250"], site.hello(TRUSTED).codes(b"MAIL FROM:<anyone@far.test>\r\n"))

    def test_sender(self) -> None:
        """The sender must be the user's own address, or one that it was given (RFC 6409 6.1)."""
        client = self.site().hello()
        client.say(GOOD)
        for sender, code in (
            (b"alice@local.test", "250"),
            (b"ALICE@local.test", "250"),
            (b"sales@example.org", "250"),
            (b"anyone@wide.test", "250"),
            (b"", "250"),
            (b"bob@local.test", "553"),
            (b"alice@far.test", "553"),
            (b"x@sub.wide.test", "553"),
        ):
            self.assertEqual([code], client.codes(b"MAIL FROM:<" + sender + b">\r\n"), sender)
            client.say(b"RSET\r\n")

    def test_relay(self) -> None:
        """Who has authenticated may relay, also at a listener that serves strangers; they may not."""
        site = self.site(role="mx")
        stranger, user = site.hello(), site.hello()
        user.say(GOOD)
        for client, code in ((stranger, "550"), (user, "250")):
            client.say(b"MAIL FROM:<alice@local.test>\r\n")
            self.assertEqual([code], client.codes(b"RCPT TO:<x@far.test>\r\n"))

    def test_limits(self) -> None:
        """A user has so many messages and recipients an hour, wherever it comes from, and they release."""
        site = self.site(messages_per_hour=2, recipients_per_day=3)
        for expected in (["250"], ["250"], ["450"]):
            client = site.hello()
            client.say(GOOD)
            self.assertEqual(expected, client.codes(b"MAIL FROM:<alice@local.test>\r\n"))
        site.clock.advance(7200)
        client = site.hello("198.51.100.9")
        client.say(GOOD)
        self.assertEqual(["250"], client.codes(b"MAIL FROM:<alice@local.test>\r\n"))
        said = b"".join(b"RCPT TO:<%d@far.test>\r\n" % number for number in range(4))
        self.assertEqual(["250", "250", "250", "450"], client.codes(said))

    def test_hidden(self) -> None:
        """Where configured, neither the address nor the name of the user's machine stands in the trace field."""
        for hide in (True, False):
            site = self.site(hide_submitter=hide)
            client = site.hello()
            client.say(GOOD)
            client.say(b"MAIL FROM:<alice@local.test>\r\nRCPT TO:<x@far.test>\r\n")
            client.say(b"DATA\r\n")
            client.say(b"Subject: x\r\n\r\nx\r\n.\r\n")
            content = site.spool.committed[0][0].content or b""
            for word in (STRANGER.encode(), b"client.test"):
                self.assertEqual(not hide, word in content, content)
            self.assertEqual(STRANGER, site.spool.committed[0][1].client)

    def test_own_policy_is_asked(self) -> None:
        """An unknown local recipient is refused to users as to all others."""
        policy = RelayPolicy(
            Directory(domains=["local.test"], users=["alice"], hostname=HOSTNAME), networks=[], relay_domains=[]
        )
        client = self.site(policy=policy).hello()
        client.say(GOOD)
        client.say(b"MAIL FROM:<alice@local.test>\r\n")
        self.assertEqual(["550"], client.codes(b"RCPT TO:<nobody@local.test>\r\n"))
