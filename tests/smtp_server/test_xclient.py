"""XCLIENT: its grammar, and what a session does with it."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.reply import Reply
from mta.smtp.server import ServerSession
from mta.smtp.stages import Stage
from mta.smtp.xclient import ATTRIBUTES, Xclient, read_xclient
from tests.smtp_server.test_session import TERMS

GOOD = {
    "NAME=spike.example ADDR=168.100.189.2": Xclient(name="spike.example", addr="168.100.189.2"),
    "name=spike.example\taddr=168.100.189.2  ": Xclient(name="spike.example", addr="168.100.189.2"),
    "ADDR=IPV6:2001:DB8:0::7": Xclient(addr="2001:db8::7"),
    "ADDR=ipv6:::ffff:192.0.2.1": Xclient(addr="192.0.2.1"),
    "ADDR=[UNAVAILABLE] NAME=[tempunavail]": Xclient(addr="", name=""),
    "PORT=0 PROTO=smtp": Xclient(port="0", proto="SMTP"),
    "PORT=65535 PROTO=ESMTP HELO=x.example": Xclient(port="65535", proto="ESMTP", helo="x.example"),
    "HELO=[192.0.2.1] PORT=[UNAVAILABLE]": Xclient(helo="[192.0.2.1]", port=""),
    "LOGIN=b+C3+A9a+20c": Xclient(login="béa c"),
    "DESTADDR=192.0.2.25 DESTPORT=25": Xclient(destaddr="192.0.2.25", destport="25"),
    f"NAME={'x' * 255}": Xclient(name="x" * 255),
}
BAD = [
    "",
    "NAME",
    "NAME=",
    "=x",
    "FOO=x",
    "REVERSE_NAME=x.example",
    "NAME=a NAME=b",
    "name=a NAME=a",
    "NAME=a+20b",
    "NAME=a+0D+0Ab",
    "NAME=a)b",
    "NAME=a+b",
    "NAME=a=b",
    f"NAME={'x' * 256}",
    "ADDR=",
    "ADDR=localhost",
    "ADDR=192.0.2.256",
    "ADDR=192.0.2.01",
    "ADDR=[192.0.2.1]",
    "ADDR=2001:db8::7",
    "ADDR=IPV6:192.0.2.1",
    "ADDR=IPV6:fe80::1%eth0",
    "ADDR=IPV6:",
    "PORT=65536",
    "PORT=-1",
    "PORT=+2B1",
    "PROTO=LMTP",
    "PROTO=ESMTPS",
    "HELO=a+20b",
    "HELO=",
    "LOGIN=a+0Ab",
    "LOGIN=+FF",
    "DESTADDR=x",
    "DESTPORT=x",
]


class GrammarTests(SynchronousTestCase):
    def test_good(self) -> None:
        """Attributes in any case and order, decoded; what is not known is told from what is not said."""
        for argument, expected in GOOD.items():
            self.assertEqual(expected, read_xclient(argument), argument)

    def test_bad(self) -> None:
        """What breaks the grammar is 501, and nothing of it counts."""
        for argument in BAD:
            found = read_xclient(argument)
            self.assertTrue(isinstance(found, Reply) and found.code == 501, argument)

    @given(st.lists(st.tuples(st.sampled_from(ATTRIBUTES), st.text(max_size=40)), max_size=4))
    def test_any_text(self, words: list[tuple[str, str]]) -> None:
        """Any text is attributes or 501; nothing that could end a line or a comment gets through."""
        found = read_xclient(" ".join(f"{name}={value}" for name, value in words))
        if isinstance(found, Xclient):
            self.assertTrue(all(value.isprintable() for value in found.known.values()))
        else:
            self.assertEqual(501, found.code)


def session(may: bool = True, offered: bool = True) -> ServerSession:
    made = ServerSession(replace(TERMS, xclient=offered))
    made.may_substitute = may
    return made


def said(made: ServerSession, line: bytes) -> bytes | Xclient:
    asked = made.line(line, False)
    if isinstance(asked, bytes | Xclient):
        return asked
    return made.answered(None)


LINE = b"XCLIENT ADDR=192.0.2.7"


class SessionTests(SynchronousTestCase):
    def test_offered(self) -> None:
        """EHLO lists it, and HELP knows it, for those alone who may use it; HELO lists nothing."""
        for may in (True, False):
            made = session(may)
            ehlo, helo, helped = said(made, b"EHLO x"), said(made, b"HELO x"), said(made, b"HELP")
            assert isinstance(ehlo, bytes)
            assert isinstance(helped, bytes)
            line = b"\r\n250-XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT\r\n"
            self.assertEqual(may, line in ehlo)
            self.assertTrue(ehlo.endswith(b"\r\n250 HELP\r\n"))
            self.assertEqual(b"250 mx.example.org\r\n", helo)
            self.assertEqual(may, b"XCLIENT" in helped)

    def test_others(self) -> None:
        """Others are told 550; where nobody may use it the command is not implemented."""
        for offered, code in ((True, b"550 5.7.1 "), (False, b"502 5.5.1 ")):
            reply = said(session(may=False, offered=offered), LINE)
            assert isinstance(reply, bytes)
            self.assertTrue(reply.startswith(code), reply)

    def test_before_and_behind_a_hello(self) -> None:
        """It is taken at any time outside a transaction."""
        for before in ([], [b"EHLO x"], [b"HELO x"], [b"EHLO x", b"MAIL FROM:<>", b"RSET"]):
            made = session()
            for line in before:
                said(made, line)
            self.assertEqual(Xclient(addr="192.0.2.7"), said(made, LINE))

    def test_within_a_transaction(self) -> None:
        """From MAIL to the end of the message it is 503, which changes nothing."""
        made = session()
        said(made, b"EHLO x")
        for line in (b"MAIL FROM:<>", b"RCPT TO:<a@b.test>"):
            said(made, line)
            reply = said(made, LINE)
            assert isinstance(reply, bytes)
            self.assertEqual(b"503 5.5.1", reply[:9])
        self.assertEqual(Stage.RCPT, made.stage)

    def test_hello_that_comes_along(self) -> None:
        """With HELO the next command may be MAIL; PROTO says what stands in the trace field."""
        for proto, protocol in (("SMTP", "SMTP"), ("ESMTP", "ESMTP"), (None, "SMTP")):
            made = session()
            made.substitute(Xclient(helo="far.example", proto=proto))
            self.assertEqual(b"250", bytes(said(made, b"MAIL FROM:<>"))[:3])  # type: ignore[arg-type]
            self.assertEqual(("far.example", protocol), (made.helo, made.protocol))
        made = session()
        made.substitute(Xclient(proto="ESMTP"))
        self.assertEqual(b"503", bytes(said(made, b"MAIL FROM:<>"))[:3])  # type: ignore[arg-type]
