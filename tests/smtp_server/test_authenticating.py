"""AUTH in a session of the server, without I/O (RFC 4954)."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.identity import Challenge, Granted, Identity, Malformed, Refused, Step, Unavailable
from mta.smtp.questions import Authenticate, Respond
from mta.smtp.server import ServerSession
from tests.smtp_server.test_session import TERMS

OPEN = replace(TERMS, mechanisms=("SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "PLAIN", "LOGIN"), auth_in_clear=True)
CLOSED = replace(OPEN, auth_in_clear=False)
ALICE = Identity("alice")


class Talk:
    """A session after EHLO, and a server behind it that takes `steps` one after the other."""

    def __init__(self, *steps: Step, terms: object = OPEN, hello: bytes = b"EHLO x") -> None:
        assert isinstance(terms, type(TERMS))
        self.session = ServerSession(terms)
        self.steps = [*steps]
        self.asked: list[object] = []
        self.hello = self.say(hello) if hello else b""

    def say(self, line: bytes) -> bytes:
        answer = self.session.line(line, False)
        if isinstance(answer, bytes):
            return answer
        if isinstance(answer, Authenticate | Respond):
            self.asked.append(answer)
            return self.session.authenticated(self.steps.pop(0))
        return self.session.answered(None)

    def code(self, line: bytes) -> str:
        return " ".join(self.say(line).decode().split(" ")[:2]).strip()


class OfferTests(SynchronousTestCase):
    def test_only_where_allowed(self) -> None:
        """EHLO lists mechanisms under TLS or where clear text is allowed, -PLUS only with a channel binding."""
        self.assertIn(b"250-AUTH SCRAM-SHA-256 PLAIN LOGIN\r\n", Talk().hello)
        self.assertNotIn(b"AUTH", Talk(terms=CLOSED).hello)
        self.assertNotIn(b"AUTH", Talk(terms=TERMS).hello)
        secure = Talk(terms=CLOSED)
        secure.session.secured()
        self.assertIn(b"250-AUTH SCRAM-SHA-256 PLAIN LOGIN\r\n", secure.say(b"EHLO x"))
        secure.session.binding = b"x" * 32
        hello = secure.say(b"EHLO x")
        self.assertIn(b"250-AUTH SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN LOGIN\r\n", hello)
        self.assertTrue(hello.startswith(b"250-mx.example.org\r\n") and hello.endswith(b"\r\n250 HELP\r\n"), hello)

    def test_refused(self) -> None:
        """Each way to say AUTH at the wrong time or in the wrong form has the reply of RFC 4954."""
        for terms, before, line, code in (
            (TERMS, (), b"AUTH PLAIN", "502 5.5.1"),
            (CLOSED, (), b"AUTH PLAIN", "538 5.7.11"),
            (OPEN, (), b"AUTH", "501 5.5.4"),
            (OPEN, (), b"AUTH CRAM-MD5", "504 5.5.4"),
            (OPEN, (), b"AUTH SCRAM-SHA-256-PLUS", "504 5.5.4"),
            (OPEN, (), b"AUTH PLAIN AGE", "501 5.5.2"),
            (OPEN, (), b"AUTH PLAIN !", "501 5.5.2"),
            (OPEN, (), b"AUTH PLAIN AGEAYQ== x", "501 5.5.2"),
            (OPEN, (b"MAIL FROM:<a@b.test>",), b"AUTH PLAIN", "503 5.5.1"),
            (OPEN, (b"HELO x",), b"AUTH PLAIN", "503 5.5.1"),
        ):
            talk = Talk(terms=terms)
            for said in before:
                talk.say(said)
            self.assertEqual(code, talk.code(line), line)
            self.assertEqual([], talk.asked)
            self.assertFalse(talk.session.exchanging)
        self.assertEqual("503 5.5.1", Talk(hello=b"").code(b"AUTH PLAIN"))

    def test_auth_parameter(self) -> None:
        """MAIL may say AUTH= where AUTH is offered, in xtext, and nowhere else (RFC 4954 5)."""
        for value, code in (
            (b"<>", "250 2.1.0"),
            (b"e+3Dmc2@example.com", "250 2.1.0"),
            (b"nobody", "501 5.5.4"),
            (b"a+zz@b", "501 5.5.4"),
        ):
            self.assertEqual(code, Talk().code(b"MAIL FROM:<a@b.test> AUTH=" + value), value)
        self.assertEqual("555 5.5.4", Talk(terms=CLOSED).code(b"MAIL FROM:<a@b.test> AUTH=<>"))

    def test_protocol(self) -> None:
        """The keyword of the trace field tells of TLS and of authentication (RFC 3848, RFC 6531 4.3)."""
        talk = Talk(Granted(ALICE))
        talk.say(b"AUTH PLAIN =")
        self.assertEqual("ESMTPA", talk.session.protocol)
        talk.say(b"MAIL FROM:<a@b.test> SMTPUTF8")
        self.assertEqual("UTF8SMTPA", talk.session.protocol)
        talk.session.secured()
        talk.say(b"EHLO x")
        self.assertEqual("ESMTPS", talk.session.protocol)
        talk.steps.append(Granted(ALICE))
        talk.say(b"AUTH PLAIN =")
        self.assertEqual("ESMTPSA", talk.session.protocol)


class ExchangeTests(SynchronousTestCase):
    def test_initial_response(self) -> None:
        """An initial response is decoded, "=" is one of no octets, none is None."""
        for line, initial in (
            (b"auth plain AGEAYg==", b"\0a\0b"),
            (b"AUTH PLAIN =", b""),
            (b"AUTH PLAIN", None),
        ):
            talk = Talk(Granted(ALICE))
            self.assertEqual("235 2.7.0", talk.code(line))
            self.assertEqual([Authenticate("PLAIN", initial)], talk.asked)
            self.assertEqual(ALICE, talk.session.identity)

    def test_challenges(self) -> None:
        """Challenges go out in base64, responses come back decoded, and a command within the exchange is none."""
        talk = Talk(Challenge(b"Username:"), Challenge(), Granted(ALICE))
        self.assertEqual(b"334 VXNlcm5hbWU6\r\n", talk.say(b"AUTH LOGIN"))
        self.assertEqual(b"334 \r\n", talk.say(b"YQ=="))
        self.assertEqual("235 2.7.0", talk.code(b"QUIT"))
        self.assertEqual(Respond(b"AB\x13"), talk.asked[-1])

    def test_ends(self) -> None:
        """However an exchange ends without success, its reply is the RFC's, and the next line is a command again."""
        for last, code in (
            (b"*", "501 5.7.0"),
            (b"YQ", "501 5.5.2"),
            (b"YR==", "501 5.5.2"),
            (b"caf\xe9", "501 5.5.2"),
            (b"bad\0", "501 5.5.2"),
        ):
            talk = Talk(Challenge())
            talk.say(b"AUTH PLAIN")
            self.assertEqual(code, talk.code(last))
            self.assertEqual("250 2.0.0", talk.code(b"NOOP"))
        for step, code in (
            (Refused("wrong password", "alice"), "535 5.7.8"),
            (Malformed("no NUL"), "501 5.5.2"),
            (Unavailable("no answer"), "454 4.7.0"),
        ):
            talk = Talk(Challenge(), step)
            talk.say(b"AUTH PLAIN")
            self.assertEqual(code, talk.code(b"YQ=="))
            self.assertIsNone(talk.session.identity)
            self.assertEqual("250 2.0.0", talk.code(b"NOOP"))

    def test_too_long(self) -> None:
        """A response that is too long ends the exchange with 500 5.5.6 (RFC 4954 4)."""
        talk = Talk(Challenge())
        talk.say(b"AUTH PLAIN")
        self.assertIn(b"500 5.5.6 ", talk.session.line_too_long(b"QUFB"))
        self.assertEqual("250 2.0.0", talk.code(b"NOOP"))

    def test_once(self) -> None:
        """After success AUTH is 503, and neither RSET nor EHLO takes the identity away (RFC 4954 4)."""
        talk = Talk(Granted(ALICE))
        talk.say(b"AUTH PLAIN =")
        for line in (b"RSET", b"EHLO x"):
            talk.say(line)
            self.assertEqual("503 5.5.1", talk.code(b"AUTH PLAIN ="))
            self.assertEqual(ALICE, talk.session.identity)

    def test_tls_forgets(self) -> None:
        """Who authenticated in clear is nobody once TLS begins (RFC 3207 4.2)."""
        talk = Talk(Granted(ALICE))
        talk.say(b"AUTH PLAIN =")
        talk.session.secured()
        self.assertIsNone(talk.session.identity)
        self.assertEqual("503 5.5.1", talk.code(b"AUTH PLAIN ="))

    def test_fault(self) -> None:
        """A fault of ours is 451 and ends the exchange."""
        session = Talk().session
        session.line(b"AUTH PLAIN", False)
        self.assertTrue(session.failed().startswith(b"451 4.3.0 "))
        self.assertFalse(session.exchanging)

    @given(st.binary(max_size=80))
    def test_any_response(self, line: bytes) -> None:
        """Whatever octets stand in a response, there is one reply and no exception."""
        talk = Talk(Challenge(), Refused("no"))
        talk.say(b"AUTH PLAIN")
        self.assertEqual(1, talk.say(line).count(b"\r\n"))
