"""OAUTHBEARER and XOAUTH2 on in-memory connections, with an issuer whose web server the test answers for."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from dataclasses import replace
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, fail, maybeDeferred
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from mta.auth import userfile
from mta.auth.authentication import Authentication
from mta.auth.claims import Claims, Demands
from mta.auth.introspection import Introspection
from mta.auth.tokens import Tokens
from mta.auth.users import UserFile
from mta.identity import Identity
from mta.policy.submitters import NO_LIMITS, Submitters
from mta.web import WebError
from tests.auth.issuer import NOW, USER, FakeWeb
from tests.policy.limits import limits_for_tests
from tests.server.fakes import TRUSTED, Client, Site, codes

LIMITS = replace(NO_LIMITS, failures=3, failure_period=600.0, failure_delay=1.0)
TOKEN = "secret-token-of-alice"
CONFIGURATION = "https://id.test/.well-known/openid-configuration"


def oauthbearer(token: str = TOKEN, user: str = USER) -> bytes:
    return b"AUTH OAUTHBEARER " + b64encode(f"n,a={user},\1host=mx\1auth=Bearer {token}\1\1".encode())


def xoauth2(token: str = TOKEN, user: str = USER) -> bytes:
    return b"AUTH XOAUTH2 " + b64encode(f"user={user}\1auth=Bearer {token}\1\1".encode())


class TokenLoginCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.web = FakeWeb()
        self.checker: Any = None

    def site(self, **changed: Any) -> Site:
        """A listener in clear; `changed` are limits of submitters, or arguments of the factory."""
        named = {name: changed.pop(name) for name in [*changed] if name in LIMITS.__slots__}
        source = changed.pop("source", None) or Introspection(
            self.web,
            url="https://id.test/i",
            client_id="mta",
            client_secret="x",
            keep=0.0,
            seconds=lambda: NOW,
            wall=lambda: NOW,
        )
        tokens = Tokens(
            source,
            Demands(scopes=frozenset(("smtp.send",)), expires=False),
            wall=lambda: NOW,
            openid_configuration=CONFIGURATION,
            known=self.checker.known if self.checker else Identity,
        )
        mechanisms = ("OAUTHBEARER", "XOAUTH2", "PLAIN", "LOGIN")
        arguments: dict[str, Any] = {
            "authentication": Authentication(self.checker, mechanisms=mechanisms, senders={}, tokens=tokens),
            "auth_in_clear": True,
            "submitters": Submitters(replace(LIMITS, **named), frozenset(("example.org",))),
            **changed,
        }
        return Site(limits_for_tests(error_delay=0.0), role="submission", **arguments)

    def say_good(self) -> None:
        self.web.answer({"active": True, "email": USER, "scope": "smtp.send"})

    def say_bad(self) -> None:
        self.web.answer({"active": False})

    def failed(self, site: Site, client: Client, line: bytes) -> bytes:
        """The challenge that tells the client of its failure."""
        self.assertEqual(b"", client.say(line + b"\r\n"))
        self.say_bad()
        self.assertEqual(b"", client.heard())
        site.clock.advance(16)
        return client.heard()


class DialogueTests(TokenLoginCase):
    def test_offered(self) -> None:
        """The mechanisms are offered where tokens are taken, beside those of passwords where there are users."""
        self.assertIn(b"250 AUTH OAUTHBEARER XOAUTH2\r\n", self.reply_to_ehlo())
        path = Path(self.mktemp())
        userfile.write(path, [userfile.user_of("alice", "pencil", [])])
        self.checker = UserFile(path, maybeDeferred)
        self.assertIn(b"250 AUTH OAUTHBEARER XOAUTH2 PLAIN LOGIN\r\n", self.reply_to_ehlo())
        without = Authentication(self.checker, mechanisms=("OAUTHBEARER", "XOAUTH2", "PLAIN"), senders={})
        self.assertEqual(("PLAIN",), without.mechanisms)

    def reply_to_ehlo(self) -> bytes:
        client = self.site().connect()
        client.heard()
        return client.say(b"EHLO x\r\n").replace(b"250-AUTH", b"250 AUTH")

    def test_not_before_tls(self) -> None:
        """In clear they are not offered, and a token that comes all the same is asked about nowhere."""
        client = self.site(auth_in_clear=False).hello()
        for line in (oauthbearer(), xoauth2()):
            self.assertEqual(["538"], client.codes(line + b"\r\n"))
        self.assertEqual([], self.web.asked)

    def test_granted(self) -> None:
        """A good token leads to 235, and its user sends as the address that it is."""
        for lines in (
            [oauthbearer()],
            [xoauth2()],
            oauthbearer().rsplit(b" ", 1),
            xoauth2().rsplit(b" ", 1),
        ):
            site = self.site()
            client = site.hello()
            heard = b"".join(client.say(line + b"\r\n") for line in lines)
            self.assertEqual(b"334 \r\n" * (len(lines) - 1), heard)
            self.say_good()
            self.assertEqual(["235"], codes(client.heard()))
            self.assertEqual(["553"], client.codes(b"MAIL FROM:<bob@example.org>\r\n"))
            self.assertEqual(["250"], client.codes(b"MAIL FROM:<alice@example.org>\r\n"))

    def test_refused(self) -> None:
        """A bad token is told why (RFC 7628 4.4), and whatever the client says then leads to 535."""
        told = {"status": "invalid_token", "scope": "smtp.send", "openid-configuration": CONFIGURATION}
        google = {"status": "401", "schemes": "bearer", "scope": "smtp.send"}
        for line, expected in ((oauthbearer(), told), (xoauth2(), google)):
            for last in (b"AQ==\r\n", b"\r\n", b64encode(b"n,,\1auth=Bearer x\1\1") + b"\r\n"):
                site = self.site()
                client = site.hello()
                code, _, challenge = self.failed(site, client, line).partition(b" ")
                self.assertEqual((b"334", expected), (code, json.loads(b64decode(challenge))))
                self.assertEqual(b"535 5.7.8 ", client.say(last)[:10])
                self.assertEqual([], self.web.asked)
                self.assertEqual(["530"], client.codes(b"MAIL FROM:<alice@example.org>\r\n"))

    def test_counted_once(self) -> None:
        """Each failure is counted, and told in the log, once: when the client hears of it, however it goes on."""
        site = self.site()
        client = site.hello()
        self.failed(site, client, oauthbearer())
        client.vanish()
        client = site.hello()
        self.failed(site, client, xoauth2())
        self.assertEqual(["501"], client.codes(b"*\r\n"))
        self.failed(site, client, oauthbearer())
        self.assertEqual(["535"], client.codes(b"AQ==\r\n"))
        self.assertEqual(3, site.kinds.count("auth-failed"))
        self.assertEqual(["454"], client.codes(oauthbearer() + b"\r\n"))
        self.assertEqual([], self.web.asked)
        self.assertIn("auth-blocked", site.kinds)

    def test_faults(self) -> None:
        """An issuer that does not answer, or not in time, is 454, and no failure of the client's."""
        site = self.site()
        client = site.hello()
        for _ in range(5):
            client.say(oauthbearer() + b"\r\n")
            self.web.answer(b"", 503)
            self.assertEqual(["454"], codes(client.heard()))
            client.say(xoauth2() + b"\r\n")
            self.web.fail(WebError("id.test[192.0.2.7]: cannot connect"))
            self.assertEqual(["454"], codes(client.heard()))
        client.say(oauthbearer() + b"\r\n")
        site.clock.advance(30)
        self.assertEqual(["454"], codes(client.heard()))
        self.web.asked.clear()
        self.assertNotIn("auth-failed", site.kinds)
        client.say(oauthbearer() + b"\r\n")
        self.say_good()
        self.assertEqual(["235"], codes(client.heard()))

    def test_malformed(self) -> None:
        """What is no message of the mechanism is 501, and counts as a failure."""
        site = self.site(failure_delay=0.0)
        client = site.hello()
        for text in (b"\1", b"user=a\1auth=Bearer x\1\1"):
            self.assertEqual(["501"], client.codes(b"AUTH OAUTHBEARER " + b64encode(text) + b"\r\n"))
        self.assertEqual(2, site.kinds.count("auth-failed"))

    def test_users_in_the_file(self) -> None:
        """A user who is in the file sends as what stands there, and one who is disabled there is refused."""
        path = Path(self.mktemp())
        alice = userfile.user_of(USER, "pencil", ["sales@example.org"])
        userfile.write(path, [alice])
        self.checker = UserFile(path, maybeDeferred)
        client = self.site().hello()
        client.say(oauthbearer() + b"\r\n")
        self.say_good()
        self.assertEqual(["235"], codes(client.heard()))
        self.assertEqual(["250"], client.codes(b"MAIL FROM:<sales@example.org>\r\n"))
        userfile.write(path, [replace(alice, enabled=False)])
        client = self.site(failure_delay=0.0).hello()
        client.say(oauthbearer() + b"\r\n")
        self.say_good()
        self.assertEqual(["334"], codes(client.heard()))
        self.assertEqual(["535"], client.codes(b"AQ==\r\n"))


class LineTests(TokenLoginCase):
    def test_every_split(self) -> None:
        """However each line of a failed exchange and a good one behind it is cut in two, the replies are the same."""
        site = self.site(failure_delay=0.0, failures=0)
        for cut in range(len(oauthbearer()) + 2):
            client = site.connect(TRUSTED)
            client.heard()
            heard = b""
            for line, answer in (
                (b"EHLO x", None),
                (xoauth2(), self.say_bad),
                (b"", None),
                (oauthbearer(), self.say_good),
            ):
                whole = line + b"\r\n"
                heard += client.say(whole[:cut]) + client.say(whole[cut:])
                if answer is not None:
                    answer()
                heard += client.heard()
            self.assertEqual(["250", "334", "535", "235"], codes(heard), cut)
            client.vanish()

    def test_long_tokens(self) -> None:
        """A token may fill the 12,288 octets of a line, as an initial response or behind it; one more is 500 5.5.6."""
        site = self.site()
        for begin, octets in ((b"AUTH OAUTHBEARER ", 12_288), (b"", 12_288)):
            client = site.hello()
            if not begin:
                client.say(b"AUTH OAUTHBEARER\r\n")
            response = self.filled(octets - len(begin) - 2)
            self.assertEqual(b"", client.say(begin + response + b"\r\n"))
            self.say_good()
            self.assertEqual(["235"], codes(client.heard()))
            client = site.hello()
            if not begin:
                client.say(b"AUTH OAUTHBEARER\r\n")
            reply = client.say(begin + response + b"AAAA" + b"\r\n")
            self.assertEqual(b"500 5.5.6", reply[:9])
            self.assertEqual([], self.web.asked)

    def filled(self, octets: int) -> bytes:
        """A response of at most so many octets, and no three less."""
        frame = len(f"n,a={USER},\1auth=Bearer \1\1")
        response = b64encode(f"n,a={USER},\1auth=Bearer {'x' * (octets // 4 * 3 - frame)}\1\1".encode())
        assert octets - 3 <= len(response) <= octets
        return response


class SecretTests(TokenLoginCase):
    def test_not_in_logs(self) -> None:
        """No token stands in the log, in a traceback or in a reply, whatever becomes of it."""
        events: list[Any] = []
        observer: Any = events.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

        class Broken:
            def claims(self, token: str) -> Deferred[Claims]:  # noqa: ARG002
                return fail(KeyError("a fault of ours"))

        heard = b""
        for line in (oauthbearer(), xoauth2()):
            site = self.site(failure_delay=0.0)
            client = site.hello()
            client.say(line + b"\r\n")
            self.say_good()
            heard += client.heard()
            client = site.hello()
            client.say(line + b"\r\n")
            self.say_bad()
            heard += client.heard() + client.say(b"AQ==\r\n")
            client.say(line + b"\r\n")
            self.web.fail(WebError("no answer"))
            heard += client.heard() + client.say(b"NOISE\r\n" * 3)
            heard += client.say(line + b"!\r\n")
            told = repr(site.log)
            broken = self.site(source=Broken())
            heard += broken.hello().say(line + b"\r\n")
            told += repr(broken.log)
            self.assertIn("KeyError", told)
            texts = told + "".join(str(formatEvent(event)) + repr(event) for event in events)
            texts += "".join(error.getTraceback() for error in self.flushLoggedErrors(KeyError))
            for secret in (TOKEN, b64encode(TOKEN.encode()).decode(), line.decode().split(" ")[2]):
                self.assertNotIn(secret, texts)
                self.assertNotIn(secret, heard.decode())
