"""The session of the server, without I/O (RFC 5321)."""

from __future__ import annotations

import unittest
from dataclasses import replace

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address
from mta.envelope import Body, Envelope, Recipient
from mta.reply import Reply
from mta.smtp import replies
from mta.smtp.commands import Etrn, Expand, Hello, MailFrom, RcptTo, Verify
from mta.smtp.questions import EndOfData, StartChunk, StartData
from mta.smtp.server import ServerSession
from mta.smtp.stages import Stage
from mta.smtp.terms import Terms

TERMS = Terms(
    hostname="mx.example.org",
    message_size=10_000,
    text_line=2000,
    hops=50,
    recipients=3,
    expanded_recipients=5,
    messages_per_session=2,
    errors_soft=10,
    errors_hard=20,
    junk_commands=100,
)


class Peer:
    """Talks to a session and says yes to its questions, but to recipients called "nobody"."""

    def __init__(self, terms: Terms = TERMS, trusted: bool = False, normalize: bool = False) -> None:
        self.session = ServerSession(terms, trusted, normalize)
        self.committed: list[Envelope] = []
        self.content = b""

    def say(self, line: bytes, more: bool = False) -> bytes:
        answer = self.session.line(line, more)
        if isinstance(answer, bytes):
            return answer
        refusal: Reply | None = None
        if isinstance(answer, StartChunk):
            raise AssertionError("use `chunk` for BDAT")
        if isinstance(answer, RcptTo) and answer.recipient.local == "nobody":
            refusal = Reply(550, ("no",), "5.1.1")
        if isinstance(answer, Verify | Expand | Etrn):  # there is no usual yes to these
            return self.session.answered(replies.CANNOT_VERIFY.reply)
        return self.session.answered(refusal)

    def code(self, line: bytes, more: bool = False) -> str:
        """The code and the enhanced code of the reply."""
        return " ".join(self.say(line, more).decode().split(" ")[:2])

    def ready(self, *lines: bytes) -> Peer:
        for line in (b"EHLO client.example", *lines):
            assert self.say(line)[:1] in b"23", line
        return self

    def send(self, data: bytes, hops: int = 0) -> bytes:
        """The reply to content that ends in `data`."""
        self.content += self.session.content(data)
        assert self.session.ended
        answer = self.session.end_of_data(hops)
        if isinstance(answer, bytes):
            return answer
        self.committed.append(answer.envelope)
        return self.session.queued("0123456789ABC")


IN_MAIL = (b"MAIL FROM:<a@b.test>",)
IN_RCPT = (*IN_MAIL, b"RCPT TO:<c@d.test>")
IN_DATA = (*IN_RCPT, b"DATA")

# What went before, the command, codes of the reply.
COMMANDS = [
    # RFC 5321 4.1.1.1, 4.1.4
    ((), b"EHLO [192.0.2.1]", "250-mx.example.org\r\n250-PIPELINING\r\n250-SIZE"),
    ((), b"ehlo x", "250-mx.example.org\r\n250-PIPELINING\r\n250-SIZE"),
    ((), b"HELO x", "250 mx.example.org\r\n"),
    ((), b"EHLO under_score.example", "250-mx.example.org\r\n250-PIPELINING\r\n250-SIZE"),
    ((), b"EHLO", "501 5.5.4"),
    ((), b"EHLO  ", "501 5.5.4"),
    ((), b"HELO a b", "501 5.5.4"),
    ((), b"EHLO (evil)", "501 5.5.4"),
    ((), b"EHLO " + b"x" * 256, "501 5.5.4"),
    # RFC 5321 4.1.1.2: MAIL
    ((), b"MAIL FROM:<>", "250 2.1.0"),
    ((), b"mail from:<a@b.test>", "250 2.1.0"),
    ((), b"MAIL FROM: <a@b.test>", "250 2.1.0"),
    ((), b"MAIL  FROM:<a@b.test>", "250 2.1.0"),
    ((), b"MAIL FROM:<a@b.test> ", "250 2.1.0"),
    ((), b"MAIL FROM:<@x.test,@y.test:a@b.test>", "250 2.1.0"),
    ((), b'MAIL FROM:<"a b"@b.test>', "250 2.1.0"),
    ((), b"MAIL FROM:<a@[192.0.2.1]>", "250 2.1.0"),
    ((), b"MAIL FROM:<a@b.test> SIZE=10000", "250 2.1.0"),
    ((), b"MAIL FROM:<a@b.test> BODY=8BITMIME SIZE=1", "250 2.1.0"),
    ((), b"MAIL FROM:<a@b.test> body=7bit", "250 2.1.0"),
    ((), b"MAIL", "501 5.5.4"),
    ((), b"MAIL FROM", "501 5.5.4"),
    ((), b"MAIL FROM <a@b.test>", "501 5.5.4"),
    ((), b"MAIL TO:<a@b.test>", "501 5.5.4"),
    ((), b"MAIL FROM:a@b.test", "501 5.1.7"),
    ((), b"MAIL FROM:<a@b.test", "501 5.1.7"),
    ((), b"MAIL FROM:<a>", "501 5.1.7"),
    ((), b"MAIL FROM:<a@b..test>", "501 5.1.7"),
    ((), b"MAIL FROM:<a b@c.test>", "501 5.1.7"),
    ((), b"MAIL FROM:<" + b"x" * 65 + b"@b.test>", "501 5.1.7"),
    ((), b"MAIL FROM:<\xc3\xa9@b.test>", "550 5.6.7"),
    ((), b"MAIL FROM:<a@b.test>SIZE=1", "501 5.5.4"),
    ((), b"MAIL FROM:<a@b.test> SIZE=10001", "552 5.3.4"),
    ((), b"MAIL FROM:<a@b.test> SIZE=99999999999999999999", "552 5.3.4"),
    ((), b"MAIL FROM:<a@b.test> SIZE=999999999999999999999", "501 5.5.4"),
    ((), b"MAIL FROM:<a@b.test> SIZE=", "501 5.5.4"),
    ((), b"MAIL FROM:<a@b.test> SIZE", "501 5.5.4"),
    ((), b"MAIL FROM:<a@b.test> SIZE=1k", "501 5.5.4"),
    ((), b"MAIL FROM:<a@b.test> SIZE=-1", "501 5.5.4"),
    ((), b"MAIL FROM:<a@b.test> SIZE=1 SIZE=1", "501 5.5.4"),
    ((), b"MAIL FROM:<a@b.test> BODY=BINARYMIME", "250 2.1.0"),
    ((), b"MAIL FROM:<a@b.test> BODY=9BIT", "501 5.5.4"),
    ((), b"MAIL FROM:<a@b.test> BODY", "501 5.5.4"),
    ((), b"MAIL FROM:<a@b.test> AUTH=<>", "555 5.5.4"),
    # RFC 3461 4.3, 4.4
    ((), b"MAIL FROM:<a@b.test> RET=HDRS", "250 2.1.0"),
    ((), b"MAIL FROM:<a@b.test> ret=full envid=QQ314159", "250 2.1.0"),
    ((), b"MAIL FROM:<a@b.test> RET=ALL", "501 5.5.4"),
    ((), b"MAIL FROM:<a@b.test> RET", "501 5.5.4"),
    ((), b"MAIL FROM:<a@b.test> RET=FULL RET=FULL", "501 5.5.4"),
    ((), b"MAIL FROM:<a@b.test> ENVID=a+2Bb", "250 2.1.0"),
    ((), b"MAIL FROM:<a@b.test> ENVID=" + b"x" * 100, "250 2.1.0"),
    ((), b"MAIL FROM:<a@b.test> ENVID=" + b"x" * 101, "501 5.5.4"),
    ((), b"MAIL FROM:<a@b.test> ENVID=a+2b", "501 5.5.4"),
    ((), b"MAIL FROM:<a@b.test> ENVID=a+0Db", "501 5.5.4"),
    ((), b"MAIL FROM:<a@b.test> ENVID", "501 5.5.4"),
    # RFC 6531 3.4, 3.5
    ((), b"MAIL FROM:<a@b.test> SMTPUTF8", "250 2.1.0"),
    ((), b"MAIL FROM:<\xc3\xa9@b.test> SMTPUTF8", "250 2.1.0"),
    ((), b"MAIL FROM:<a@b\xc3\xbc.test> BODY=8BITMIME smtputf8", "250 2.1.0"),
    ((), b"MAIL FROM:<a@b.test> SMTPUTF8=yes", "501 5.5.4"),
    ((), b"MAIL FROM:<a@b.test> SMTPUTF8 SMTPUTF8", "501 5.5.4"),
    ((), b"MAIL FROM:<\xff@b.test> SMTPUTF8", "501 5.1.7"),
    ((), b"MAIL FROM:<a@\xe2\x98\x83.net> SMTPUTF8", "501 5.1.7"),
    ((), b"MAIL FROM:<SMTPUTF8\xc3\xa9@b.test>", "550 5.6.7"),
    ((), b"MAIL FROM:<a@b.test> SMTPUTF8 \xc3\xa9", "501 5.5.4"),
    ((b"MAIL FROM:<> SMTPUTF8",), b"RCPT TO:<\xc3\xa9@d.test>", "250 2.1.5"),
    ((b"MAIL FROM:<> SMTPUTF8",), b"RCPT TO:<\xff@d.test>", "501 5.1.3"),
    (IN_MAIL, b"RCPT TO:<\xc3\xa9@d.test>", "553 5.6.7"),
    (IN_MAIL, b"RCPT TO:<c@d\xc3\xbc.test>", "553 5.6.7"),
    ((), b"MAIL FROM:<a@b.test> =1", "501 5.5.4"),
    ((), b"MAIL FROM:<a@b.test> X=a=b", "501 5.5.4"),
    (IN_MAIL, b"MAIL FROM:<a@b.test>", "503 5.5.1"),
    (IN_RCPT, b"MAIL FROM:<a@b.test>", "503 5.5.1"),
    # RFC 5321 4.1.1.3: RCPT
    (IN_MAIL, b"RCPT TO:<c@d.test>", "250 2.1.5"),
    (IN_MAIL, b"rcpt to: <c@d.test>", "250 2.1.5"),
    (IN_MAIL, b"RCPT TO:<postmaster>", "250 2.1.5"),
    (IN_MAIL, b"RCPT TO:<PostMaster>", "250 2.1.5"),
    (IN_MAIL, b"RCPT TO:<@x.test:c@d.test>", "250 2.1.5"),
    (IN_MAIL, b'RCPT TO:<"a>b"@d.test>', "250 2.1.5"),
    (IN_RCPT, b"RCPT TO:<c@d.test>", "250 2.1.5"),
    (IN_MAIL, b"RCPT TO:<nobody@d.test>", "550 5.1.1"),
    (IN_MAIL, b"RCPT TO:<>", "501 5.1.3"),
    (IN_MAIL, b"RCPT TO:<c>", "501 5.1.3"),
    (IN_MAIL, b"RCPT TO:c@d.test", "501 5.1.3"),
    (IN_MAIL, b"RCPT FROM:<c@d.test>", "501 5.5.4"),
    (IN_MAIL, b"RCPT TO:<c@d.test> SIZE=1", "555 5.5.4"),
    # RFC 3461 4.1, 4.2
    (IN_MAIL, b"RCPT TO:<c@d.test> NOTIFY=NEVER", "250 2.1.5"),
    (IN_MAIL, b"RCPT TO:<c@d.test> notify=success,Failure,DELAY", "250 2.1.5"),
    (IN_MAIL, b"RCPT TO:<c@d.test> NOTIFY=NEVER,DELAY", "501 5.5.4"),
    (IN_MAIL, b"RCPT TO:<c@d.test> NOTIFY=DELAY,DELAY", "501 5.5.4"),
    (IN_MAIL, b"RCPT TO:<c@d.test> NOTIFY=DELAY,", "501 5.5.4"),
    (IN_MAIL, b"RCPT TO:<c@d.test> NOTIFY", "501 5.5.4"),
    (IN_MAIL, b"RCPT TO:<c@d.test> NOTIFY=DELAY NOTIFY=DELAY", "501 5.5.4"),
    (IN_MAIL, b"RCPT TO:<c@d.test> ORCPT=rfc822;c+2Bd@d.test", "250 2.1.5"),
    (IN_MAIL, b"RCPT TO:<c@d.test> ORCPT=utf-8;\\x{E9}@d.test", "250 2.1.5"),
    (IN_MAIL, b"RCPT TO:<c@d.test> ORCPT=utf-8;\xc3\xa9@d.test", "553 5.6.7"),
    ((b"MAIL FROM:<> SMTPUTF8",), b"RCPT TO:<c@d.test> ORCPT=utf-8;\xc3\xa9@d.test", "250 2.1.5"),
    (IN_MAIL, b"RCPT TO:<c@d.test> ORCPT=c@d.test", "501 5.5.4"),
    (IN_MAIL, b"RCPT TO:<c@d.test> ORCPT=rfc822;", "501 5.5.4"),
    (IN_MAIL, b"RCPT TO:<c@d.test> ORCPT=;c@d.test", "501 5.5.4"),
    (IN_MAIL, b"RCPT TO:<c@d.test> ORCPT=rfc822;c+0A@d.test", "501 5.5.4"),
    (IN_MAIL, b"RCPT TO:<c@d.test> ORCPT=rfc822;" + b"x" * 493, "250 2.1.5"),
    (IN_MAIL, b"RCPT TO:<c@d.test> ORCPT=rfc822;" + b"x" * 494, "501 5.5.4"),
    (IN_MAIL, b"RCPT TO:<c@d.test> ?", "501 5.5.4"),
    (IN_MAIL, b"RCPT TO:<\xff@d.test>", "553 5.6.7"),
    ((), b"RCPT TO:<c@d.test>", "503 5.5.1"),
    # RFC 5321 4.1.1.4: DATA
    (IN_RCPT, b"DATA", "354 Send"),
    (IN_RCPT, b"data  ", "354 Send"),
    (IN_RCPT, b"DATA now", "501 5.5.4"),
    (IN_MAIL, b"DATA", "554 5.5.1"),
    ((), b"DATA", "503 5.5.1"),
    # RFC 5321 4.1.1.5 to 4.1.1.10
    (IN_RCPT, b"RSET", "250 2.0.0"),
    ((), b"RSET x", "501 5.5.4"),
    (IN_RCPT, b"NOOP", "250 2.0.0"),
    ((), b"NOOP ignored words", "250 2.0.0"),
    ((), b"HELP", "211-2.0.0 mx.example.org takes these commands:\r\n211-2.0.0 EHLO HELO MAIL "),
    ((), b"HELP mail", "214-2.0.0 Syntax: MAIL FROM:<address> "),
    ((), b"HELP LHLO", "504 5.5.4"),
    (IN_RCPT, b"VRFY alice", "252 2.0.0"),
    ((), b"VRFY", "501 5.5.4"),
    ((), b"VRFY \xe9", "550 5.6.8"),  # RFC 6531 3.7.4.2
    ((), b"VRFY \xc3\xa9", "550 5.6.8"),
    ((), b"VRFY \xc3\xa9 SMTPUTF8", "252 2.0.0"),
    ((), b"VRFY SMTPUTF8", "252 2.0.0"),
    (IN_RCPT, b"EXPN list", "252 2.0.0"),
    ((), b"EXPN", "501 5.5.4"),
    ((), b"EXPN \xc3\xa9", "550 5.6.8"),
    ((), b"NOOP \xe9", "500 5.5.2"),
    ((), b"QUIT", "221 2.0.0"),
    ((), b"QUIT now", "501 5.5.4"),
    ((), b"QUIT ", "221 2.0.0"),
    # RFC 5321 4.2.4: 502 for what is known but not offered, 500 for what is not known
    ((), b"ETRN example.org", "502 5.5.1"),
    # RFC 5321 F.1, F.6
    ((), b"TURN", "502 5.5.1 Command obsolete"),
    ((), b"SEND FROM:<a@b.test>", "502 5.5.1 Command obsolete"),
    ((), b"SOML FROM:<a@b.test>", "502 5.5.1 Command obsolete"),
    ((), b"SAML FROM:<a@b.test>", "502 5.5.1 Command obsolete"),
    ((), b"STARTTLS", "502 5.5.1"),
    ((), b"AUTH PLAIN AGEAYg==", "502 5.5.1"),
    ((), b"BDAT", "501 5.5.4"),
    ((), b"BDAT ten", "501 5.5.4"),
    ((), b"BDAT -1", "501 5.5.4"),
    ((), b"BDAT 10 FIRST", "501 5.5.4"),
    ((), b"LHLO x", "500 5.5.1 This is SMTP"),  # RFC 2033 4.1
    ((), b"GET / HTTP/1.1", "500 5.5.1"),
    ((), b"MAILFROM:<a@b.test>", "500 5.5.2"),
    ((), b"", "500 5.5.2"),
    ((), b" NOOP", "500 5.5.2"),
    ((), b"\xff\xfe", "500 5.5.2"),
    ((), b"\x16\x03\x01\x00", "500 5.5.2"),
    # RFC 5321 2.3.8, 4.1.2: no bare CR, no bare LF, no NUL
    ((), b"NOOP\nNOOP", "500 5.5.2"),
    ((), b"NOOP\r", "500 5.5.2"),
    ((), b"NOOP \x00", "500 5.5.2"),
    ((), b"MAIL FROM:<a@b.test>\nRCPT TO:<c@d.test>", "500 5.5.2"),
]

WITHOUT_EHLO = [
    (b"MAIL FROM:<a@b.test>", "503 5.5.1"),
    (b"RCPT TO:<a@b.test>", "503 5.5.1"),
    (b"DATA", "503 5.5.1"),
    (b"NOOP", "250 2.0.0"),
    (b"RSET", "250 2.0.0"),
    (b"VRFY a", "252 2.0.0"),
    (b"QUIT", "221 2.0.0"),
]


class CommandTests(SynchronousTestCase):
    def test_table(self) -> None:
        """Each command, good or bad, gets the reply of the clause that it keeps or breaks."""
        for before, line, codes in COMMANDS:
            reply = Peer().ready(*before).say(line).decode()
            self.assertTrue(reply.startswith(codes), (before, line, reply))
            self.assertTrue(reply.endswith("\r\n"))

    def test_before_hello(self) -> None:
        """Without a hello there is no mail, but everything else (RFC 5321 4.1.4)."""
        for line, codes in WITHOUT_EHLO:
            self.assertEqual(codes, Peer().code(line), line)

    def test_parameters_after_helo(self) -> None:
        """After HELO, MAIL has no parameters (RFC 5321 4.1.1.11)."""
        for line, codes in (
            (b"MAIL FROM:<a@b.test>", "250 2.1.0"),
            (b"MAIL FROM:<a@b.test> SIZE=1", "555 5.5.4"),
            (b"MAIL FROM:<\xc3\xa9@b.test> SMTPUTF8", "555 5.5.4"),
            (b"MAIL FROM:<a@b.test> S!ZE", "501 5.5.4"),
        ):
            peer = Peer()
            peer.say(b"HELO x")
            self.assertEqual(codes, peer.code(line), line)

    def test_ehlo_reply(self) -> None:
        """EHLO lists the extensions without enhanced codes (RFC 2034 4)."""
        self.assertEqual(
            b"250-mx.example.org\r\n250-PIPELINING\r\n250-SIZE 10000\r\n250-8BITMIME\r\n250-BINARYMIME\r\n"
            b"250-CHUNKING\r\n250-SMTPUTF8\r\n250-DSN\r\n250-ENHANCEDSTATUSCODES\r\n"
            b"250-LIMITS MAILMAX=2 RCPTMAX=3\r\n250 HELP\r\n",
            Peer().say(b"EHLO x"),
        )

    def test_limits_beyond_telling(self) -> None:
        """A limit of more than six digits has no place in LIMITS (RFC 9422 3): it is not told, nor is an empty list."""
        for recipients, messages, told in (
            (999_999, 1_000_000, ["250-LIMITS RCPTMAX=999999"]),
            (1_000_000, 999_999, ["250-LIMITS MAILMAX=999999"]),
            (1_000_000, 1_000_000, []),
        ):
            terms = replace(TERMS, recipients=recipients, messages_per_session=messages)
            lines = Peer(terms).say(b"EHLO x").decode().split("\r\n")
            self.assertEqual(told, [line for line in lines if "LIMITS" in line])

    def test_ehlo_reply_to_trusted(self) -> None:
        """Trusted clients have no MAILMAX (RFC 9422 3), and are offered VRFY and EXPN (RFC 5321 3.5.2)."""
        lines = Peer(trusted=True).say(b"EHLO x").decode().split("\r\n")
        self.assertIn("250-LIMITS RCPTMAX=3", lines)
        self.assertEqual(["250-VRFY", "250-EXPN"], lines[3:5])

    def test_questions(self) -> None:
        """What the session asks holds the command's values."""
        session = ServerSession(TERMS)
        alice = Address("alice", "d.test")
        envelope = Envelope(Address("a", "b.test"), (Recipient(alice),), Body.EIGHT_BIT_MIME)
        for line, question in (
            (b"EHLO me.test", Hello("me.test", True)),
            (b"MAIL FROM:<a@B.test> SIZE=5 BODY=8BITMIME", MailFrom(envelope.sender, 5, Body.EIGHT_BIT_MIME)),
            (b"RCPT TO:<alice@d.test>", RcptTo(alice)),
            (b"DATA", StartData(envelope)),
        ):
            self.assertEqual(question, session.line(line, False))
            session.answered(None)
        session.content(b"x\r\n.\r\n")
        self.assertEqual(EndOfData(envelope), session.end_of_data(0))

    def test_failed_hello_changes_nothing(self) -> None:
        """A hello that is refused leaves the transaction as it is, one that is accepted ends it (RFC 5321 4.1.4)."""
        peer = Peer().ready(*IN_RCPT)
        self.assertEqual("501 5.5.4", peer.code(b"EHLO ?"))
        self.assertEqual(Stage.RCPT, peer.session.stage)
        peer.say(b"EHLO again")
        self.assertEqual(Stage.READY, peer.session.stage)
        self.assertFalse(peer.session.in_transaction)

    def test_rset_forgets(self) -> None:
        """RSET forgets the sender and the recipients (RFC 5321 4.1.1.5)."""
        peer = Peer().ready(*IN_RCPT, b"RSET")
        self.assertEqual("503 5.5.1", peer.code(b"DATA"))
        peer.ready(b"MAIL FROM:<>", b"RCPT TO:<z@d.test>", b"DATA").send(b".\r\n")
        self.assertEqual([Envelope(None, (Recipient(Address("z", "d.test")),))], peer.committed)


class EnvelopeTests(SynchronousTestCase):
    def test_duplicates(self) -> None:
        """A recipient given twice is accepted twice and stored once; local parts keep their case."""
        lines = [b"RCPT TO:<c@D.test>", b"RCPT TO:<c@d.test>", b"RCPT TO:<C@d.test>"]
        peer = Peer().ready(*IN_MAIL, *lines, b"DATA")
        peer.send(b".\r\n")
        self.assertEqual(["c@d.test", "C@d.test"], [str(to.address) for to in peer.committed[0].recipients])

    def test_too_many_recipients(self) -> None:
        """Beyond the limit 452 4.5.3, which is no error; those before stay accepted (RFC 5321 4.5.3.1.10)."""
        peer = Peer().ready(*IN_MAIL, *(b"RCPT TO:<%d@d.test>" % number for number in range(3)))
        for number in range(100):
            self.assertEqual("452 4.5.3", peer.code(b"RCPT TO:<x%d@d.test>" % number))
        self.assertFalse(peer.session.slow)
        self.assertEqual("250 2.1.5", peer.code(b"RCPT TO:<0@d.test>"))
        peer.ready(*IN_MAIL, b"RCPT TO:<c@d.test>", b"DATA")

    def test_new_address_beyond_ascii(self) -> None:
        """Who did not say SMTPUTF8 is not told a new address in UTF-8: 250 for 251, 550 for 551 (RFC 6531 3.7.4.1)."""
        moved = {
            251: Reply(251, ("will forward to <\u00f1@far.test>",), "2.1.5"),
            551: Reply(551, ("please try <\u00f1@far.test>",), "5.1.6"),
        }
        for mail, told, wire in (
            (b"MAIL FROM:<>", 251, b"250 2.1.5 Ok\r\n"),
            (b"MAIL FROM:<>", 551, b"550 5.1.1 <c@d.test>: no such user here\r\n"),
            (b"MAIL FROM:<> SMTPUTF8", 251, moved[251].encode()),
            (b"MAIL FROM:<> SMTPUTF8", 551, moved[551].encode()),
        ):
            peer = Peer().ready(mail)
            self.assertIsInstance(peer.session.line(b"RCPT TO:<c@d.test>", False), RcptTo)
            self.assertEqual(wire, peer.session.answered(moved[told]))

    def test_ascii_refusals(self) -> None:
        """No other refusal holds UTF-8, whatever it speaks of (RFC 6531 3.7.4.1)."""
        peer = Peer().ready(b"MAIL FROM:<> SMTPUTF8")
        peer.session.line(b"RCPT TO:<\xc3\xb1@d.test>", False)
        self.assertEqual(b"550 5.1.1 <\\xf1>\r\n", peer.session.answered(Reply(550, ("<\u00f1>",), "5.1.1")))

    def test_members_do_not_count_as_named(self) -> None:
        """RFC 9422 4.2: RCPTMAX counts commands; an alias takes one place, and its members those of the expansion."""
        members = tuple(Address(name, "d.test") for name in "abc")
        peer = Peer().ready(*IN_MAIL)
        for path, instead, code in (
            (b"team@d.test", members, b"250 2.1.5"),
            (b"x@d.test", (), b"250 2.1.5"),
            (b"y@d.test", (), b"250 2.1.5"),
        ):
            self.assertIsInstance(peer.session.line(b"RCPT TO:<" + path + b">", False), RcptTo)
            self.assertEqual(code, peer.session.answered(None, instead, bool(instead))[:9])
        self.assertEqual("452 4.5.3", peer.code(b"RCPT TO:<z@d.test>"))

    def test_too_many_members(self) -> None:
        """What an alias stands for has room in this message, in the next (452), or in none (550)."""
        names = [Address(name, "d.test") for name in "abcdefg"]
        for before, members, reply in (
            (3, names[3:5], b"250 2.1.5 "),
            (3, names[:5], b"250 2.1.5 "),  # those that are there already take no room
            (3, names[3:6], b"452 4.5.3 "),
            (1, names[1:6], b"452 4.5.3 "),
            (3, names[:6], b"550 5.2.4 <big@d.test> "),
            (0, names[:5], b"250 2.1.5 "),
            (0, names[:6], b"550 5.2.4 <big@d.test> "),
        ):
            session = Peer().ready(*IN_MAIL).session
            if before:
                session.line(b"RCPT TO:<first@d.test>", False)
                session.answered(None, tuple(names[:before]), True)
            session.line(b"RCPT TO:<big@d.test>", False)
            answer = session.answered(None, tuple(members), True)
            self.assertEqual(reply, answer[: len(reply)], (before, members))
            named = {*names[:before], *(members if reply.startswith(b"250") else ())}
            if named:
                self.assertEqual(named, {each.address for each in session.envelope.recipients})
            self.assertEqual(bool(named), isinstance(session.line(b"DATA", False), StartData))

    def test_messages_per_session(self) -> None:
        """After the last message of a session MAIL is answered 421, but for trusted clients."""
        for trusted in (False, True):
            peer = Peer(trusted=trusted)
            for _ in range(2):
                peer.ready(*IN_DATA).send(b"x\r\n.\r\n")
            self.assertEqual("250 2.1.0" if trusted else "421 4.7.0", peer.code(b"MAIL FROM:<>"))
            self.assertEqual(not trusted, peer.session.closed)

    def test_refused_sender(self) -> None:
        """A policy's refusal of MAIL leaves no transaction."""
        session = ServerSession(TERMS)
        session.line(b"EHLO x", False)
        session.answered(None)
        session.line(b"MAIL FROM:<>", False)
        self.assertEqual(b"452 4.3.1 full\r\n", session.answered(Reply(452, ("full",), "4.3.1")))
        self.assertFalse(session.in_transaction)
        self.assertEqual(Stage.READY, session.stage)


class ContentTests(SynchronousTestCase):
    def test_verdicts(self) -> None:
        """Content is refused for what it is, with one reply at every chunk size, and the session goes on."""
        long_line = b"x" * 2000 + b"\r\n"
        for data, hops, codes in (
            (b"Subject: x\r\n\r\n..\r\n.\r\n", 50, b"250 2.0.0 Ok: queued as 0123456789ABC\r\n"),
            (b"x" * 98 + b"\r\n.\r\n", 51, b"554 5.4.6 "),  # RFC 5321 6.3
            ((b"x" * 98 + b"\r\n") * 100 + b".\r\n", 0, b"250 2.0.0 "),
            ((b"x" * 98 + b"\r\n") * 100 + b"\r\n.\r\n", 0, b"552 5.3.4 "),  # RFC 1870 6
            (b"a\nb\r\n.\r\n", 0, b"550 5.5.2 "),  # RFC 5321 2.3.8
            (b"a\rb\r\n.\r\n", 0, b"550 5.5.2 "),
            (long_line + b".\r\n", 0, b"500 5.6.0 "),  # RFC 5321 4.5.3.1.6
            (long_line + b"a\nb\r\n.\r\n", 99, b"550 5.5.2 "),
            (b"a\nb\r\n" + long_line * 6 + b".\r\n", 99, b"552 5.3.4 "),
        ):
            for size in (1, 3, 1000, 100_000):
                peer = Peer().ready(*IN_DATA)
                for at in range(0, len(data) - 1, size):
                    peer.content += peer.session.content(data[at : min(at + size, len(data) - 1)])
                reply = peer.send(data[-1:], hops)
                self.assertEqual(codes, reply[: len(codes)], (data[:9], size))
                self.assertEqual(Stage.READY, peer.session.stage)
                self.assertLessEqual(len(peer.content), TERMS.message_size)

    def test_too_deep(self) -> None:
        """RFC 2046 5.1: parts nested too deep are refused, after faults of the lines or the header, before a loop."""
        for data, large, hops, codes in (
            (b"x\r\n.\r\n", False, 0, b"554 5.6.0 "),
            (b"x\r\n.\r\n", False, 51, b"554 5.6.0 "),
            (b"x\r\n.\r\n", True, 0, b"552 5.3.4 "),
            (b"a\nb\r\n.\r\n", False, 0, b"550 5.5.2 "),
        ):
            peer = Peer().ready(*IN_DATA)
            peer.session.content(data)
            reply = peer.session.end_of_data(hops, large, True)
            assert isinstance(reply, bytes)
            self.assertEqual(codes, reply[: len(codes)])
            self.assertEqual(Stage.READY, peer.session.stage)

    def test_normalized(self) -> None:
        """For a named network bare newlines become line ends, and no refusal."""
        peer = Peer(normalize=True).ready(*IN_DATA)
        self.assertEqual(b"250", peer.send(b"a\nb\rc\r\n.\r\n")[:3])
        self.assertEqual(b"a\r\nb\r\nc\r\n", peer.content)

    def test_spoiled(self) -> None:
        """After a fault of ours the content is read to its end, and the reply is 451, whatever the content was."""
        peer = Peer().ready(*IN_DATA)
        peer.session.spoil()
        self.assertEqual(b"", peer.session.content(b"a\n"))
        self.assertEqual(b"451 4.3.0", peer.send(b"b\r\n.\r\n")[:9])
        self.assertEqual("250 2.1.0", peer.code(b"MAIL FROM:<>"))

    def test_fault(self) -> None:
        """After a fault of ours a command is answered 451 and the message forgotten."""
        for before, stage in (((), Stage.READY), (IN_MAIL, Stage.READY), (IN_DATA, Stage.READY)):
            peer = Peer().ready(*before)
            self.assertEqual(b"451 4.3.0", peer.session.failed()[:9])
            self.assertEqual((stage, False), (peer.session.stage, peer.session.in_transaction))
        fresh = Peer()
        fresh.session.failed()
        self.assertEqual("503 5.5.1", fresh.code(b"MAIL FROM:<>"))

    def test_commit_refused(self) -> None:
        """A refusal in place of the commit ends the transaction."""
        peer = Peer().ready(*IN_DATA)
        peer.session.content(b".\r\n")
        self.assertIsInstance(peer.session.end_of_data(0), EndOfData)
        self.assertEqual(b"451 4.3.0 no\r\n", peer.session.answered(Reply(451, ("no",), "4.3.0")))
        self.assertEqual("250 2.1.0", peer.code(b"MAIL FROM:<>"))


class PipeliningTests(SynchronousTestCase):
    def test_out_of_turn(self) -> None:
        """Bytes behind HELO, EHLO or DATA, or behind anything without EHLO, end the session (RFC 2920 3.1)."""
        for before, line, trusted, refused in (
            ((), b"EHLO x", False, True),
            ((), b"HELO x", False, True),
            ((), b"NOOP", False, True),
            ((), b"GET / HTTP/1.1", False, True),
            ((), b"QUIT", False, False),
            ((b"HELO x",), b"MAIL FROM:<>", False, True),
            ((b"EHLO x",), b"MAIL FROM:<>", False, False),
            ((b"EHLO x",), b"NOOP", False, False),
            ((b"EHLO x",), b"EHLO x", False, True),
            ((b"EHLO x", *IN_RCPT), b"DATA", False, True),
            ((), b"EHLO x", True, False),
            ((b"HELO x",), b"MAIL FROM:<>", True, False),
            ((b"EHLO x", *IN_RCPT), b"DATA", True, True),
        ):
            peer = Peer(trusted=trusted)
            for early in before:
                peer.say(early)
            reply = peer.code(line, more=True)
            self.assertEqual(refused, reply == "554 5.5.0", (line, reply))
            self.assertEqual(refused or line == b"QUIT", peer.session.closed)


class ErrorTests(SynchronousTestCase):
    def test_soft_and_hard(self) -> None:
        """Errors above the soft limit call for a delay; at the hard limit the next command is answered 421."""
        peer = Peer().ready()
        for number in range(1, 21):
            self.assertEqual("500 5.5.1", peer.code(b"WHAT"))
            self.assertEqual(number > 10, peer.session.slow)
        self.assertEqual("250 2.0.0", Peer().ready().code(b"NOOP"))
        self.assertEqual("421 4.7.0", peer.code(b"NOOP"))
        self.assertTrue(peer.session.closed)

    def test_long_lines_count(self) -> None:
        """Lines that are too long are errors too."""
        peer = Peer().ready()
        for _ in range(20):
            self.assertEqual(b"500 5.5.2", peer.session.line_too_long(b"NOOP x")[:9])
        self.assertEqual(b"421 4.7.0", peer.session.line_too_long(b"NOOP x")[:9])

    def test_good_commands_are_not_delayed(self) -> None:
        """Only replies to errors are delayed."""
        peer = Peer().ready()
        for _ in range(15):
            peer.say(b"WHAT")
        peer.say(b"MAIL FROM:<>")
        self.assertFalse(peer.session.slow)

    def test_junk(self) -> None:
        """Commands that lead to no mail are free up to the limit, then each counts as an error."""
        peer = Peer(replace(TERMS, junk_commands=5)).ready()
        for _ in range(5):
            peer.say(b"NOOP")
        self.assertFalse(peer.session.slow)
        for line in (b"NOOP", b"RSET", b"VRFY a", b"HELP", b"EHLO x") * 4:
            self.assertEqual(b"2", peer.say(line)[:1])
        self.assertTrue(peer.session.slow)
        self.assertEqual("421 4.7.0", peer.code(b"NOOP"))

    def test_message_wipes_the_slate(self) -> None:
        """A message that is delivered takes errors and junk off the record."""
        peer = Peer().ready()
        for _ in range(19):
            peer.say(b"WHAT")
        peer.ready(*IN_DATA).send(b".\r\n")
        for _ in range(10):
            peer.say(b"WHAT")
            self.assertFalse(peer.session.slow)

    def test_refusal_is_known(self) -> None:
        """The refusal given last is there to be logged, and gone after a reply that is none."""
        peer = Peer().ready()
        peer.say(b"WHAT")
        self.assertEqual(500, peer.session.refusal.code if peer.session.refusal else None)
        peer.say(b"NOOP")
        self.assertIsNone(peer.session.refusal)


_line = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([line for _, line, _ in COMMANDS]),
    st.builds(lambda head, tail: head + tail, st.sampled_from([b"MAIL FROM:", b"RCPT TO:<", b"EHLO "]), st.binary()),
)


class FuzzTests(unittest.TestCase):
    @example([(b"VRFY \x01", False), (b"EXPN x", False)], True)
    @given(st.lists(st.tuples(_line, st.booleans()), max_size=30), st.booleans())
    @settings(max_examples=300, deadline=None, derandomize=True)
    def test_any_line_is_answered(self, lines: list[tuple[bytes, bool]], trusted: bool) -> None:
        """Whatever a line holds, there is one reply, well formed, and no exception (invariant 1)."""
        peer = Peer(trusted=trusted)
        for line, more in lines:
            if peer.session.closed:
                break
            if peer.session.stage is Stage.DATA:
                reply = peer.send(line + b"\r\n.\r\n")
            elif line[:4].upper() == b"BDAT":
                continue  # test_bdat.py
            else:
                reply = peer.say(line, more)
            *first, last, end = reply.split(b"\r\n")
            self.assertEqual(b"", end)
            self.assertRegex(last, rb"^[2-5][0-9][0-9] [ -~]+$")
            for part in first:
                self.assertRegex(part, rb"^2[15][014]-[ -~]+$")
