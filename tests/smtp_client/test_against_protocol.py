"""Our client's session against our server's protocol: they agree on every extension, however the bytes are cut."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address
from mta.entry import Entry
from mta.envelope import Body, Envelope, Notify, Recipient, Ret
from mta.outcome import Delivered, Handover
from mta.smtp.client import ClientSession
from mta.smtp.client_events import Ended, SendContent, TransactionDone
from mta.smtp.transaction import Transaction
from tests.server.fakes import TRUSTED, Site
from tests.smtp_client.dialogue import HOST, ONE, SENDER, THREE, TWO, brief

TEXT = b"Subject: x\r\n\r\n.\r\n..\r\nBDAT 5\r\n.x\r\nend\r\n"
BINARY = b"Subject: x\r\n\r\n.\na\rb\0\xff\r\n.\r\nno line end"
INTERNATIONAL = Address("jörg", "to.test")
WHOLE = 1 << 20
CUTS = (*range(1, 40), 61, 64, 97, 128, 199, WHOLE)


def envelope(*recipients: Address | Recipient, **more: Any) -> Envelope:
    named = tuple(who if isinstance(who, Recipient) else Recipient(who) for who in recipients)
    return Envelope(more.pop("sender", SENDER), named, **more)


Message = tuple[Envelope, bytes]
Played = tuple[list[Entry], list[TransactionDone], bytes]


def play(messages: list[Message], cut: int, *, role: str = "mx", bdat: bool = False, without: bytes = b"") -> Played:
    """
    Send all messages over one connection whose bytes, and contents, come `cut` at a time.

    The server's offer `without` is lost on the way. Gives what was stored, what the client knows, and what it said.
    """
    site = Site(role=role)
    server = site.connect(TRUSTED)
    client = ClientSession("client.test", HOST, lmtp=role == "lmtp", bdat=bdat)
    done: list[TransactionDone] = []
    waiting = list(messages)
    content, said, to_server, to_client = b"", b"", b"", server.heard()
    for _ in range(100_000):
        while (event := client.next_event()) is not None:
            assert not isinstance(event, Ended), event
            if isinstance(event, SendContent):
                client.allow_end()
                for at in range(0, len(content), cut):
                    client.send_content(content[at : at + cut])
                client.end_content()
                continue
            if isinstance(event, TransactionDone):
                done.append(event)
            if waiting:
                wanted, content = waiting.pop(0)
                client.begin(Transaction(wanted, len(content)))
        output = client.take_output()
        said += output
        to_server += output
        if to_client:
            piece, to_client = to_client[:cut], to_client[cut:]
            client.receive(piece)
        elif to_server:
            piece, to_server = to_server[:cut], to_server[cut:]
            reply = server.say(piece)
            site.settle()
            reply += server.heard()
            to_client += reply.replace(b"250-" + without + b"\r\n", b"") if without else reply
        else:
            return [entry for entry, _, _ in site.spool.committed], done, said
    raise AssertionError("it does not end")


def seen(played: Played) -> object:
    """What must not depend on the cuts: what was stored, without trace, and what the client believes."""
    stored, done, _ = played
    return [
        [
            (entry.sender, entry.recipients, entry.body, entry.utf8, entry.ret, entry.envid, after_trace(entry))
            for entry in stored
        ],
        [[(str(who), brief(outcome)) for who, outcome in each.outcomes.items()] for each in done],
    ]


def after_trace(entry: Entry) -> bytes:
    return (entry.content or b"").partition(b"Subject: ")[2]


class AgreementTests(SynchronousTestCase):
    def agree(self, messages: list[Message], **how: Any) -> Played:
        """All cuts give the same; one of them in full."""
        expected = play(messages, WHOLE, **how)
        for cut in CUTS:
            self.assertEqual(seen(expected), seen(play(messages, cut, **how)), cut)
        for each in expected[1]:
            for outcome in each.outcomes.values():
                self.assertEqual("delivered", brief(outcome))
        self.assertEqual(len(messages), len(expected[0]))
        for entry, (wanted, content) in zip(expected[0], messages, strict=True):
            self.assertEqual(wanted.recipients, tuple(item.recipient for item in entry.recipients))
            self.assertEqual(content.partition(b"Subject: ")[2], after_trace(entry))
        return expected

    def test_plain(self) -> None:
        """Command by command (RFC 5321)."""
        _, _, said = self.agree([(envelope(ONE, TWO), TEXT), (envelope(THREE), TEXT)], without=b"PIPELINING")
        self.assertEqual(2, said.count(b"\r\nDATA\r\n"))

    def test_pipelined(self) -> None:
        """In groups (RFC 2920)."""
        self.agree([(envelope(ONE, TWO), TEXT), (envelope(THREE, sender=None), TEXT)])

    def test_chunks(self) -> None:
        """By BDAT, several messages over a connection (RFC 3030)."""
        _, _, said = self.agree([(envelope(ONE, TWO), TEXT), (envelope(THREE), TEXT)], bdat=True)
        self.assertNotIn(b"DATA\r\n", said)
        self.assertEqual(2, said.count(b"BDAT %d LAST\r\n" % len(TEXT)))

    def test_binary(self) -> None:
        """Binary content arrives octet by octet, in chunks or in a single one (RFC 3030 3)."""
        for without in (b"", b"PIPELINING"):
            stored, _, said = self.agree([(envelope(ONE, body=Body.BINARY_MIME), BINARY)], without=without)
            self.assertIn(b"BODY=BINARYMIME", said)
            self.assertIs(Body.BINARY_MIME, stored[0].body)

    def test_international_with_reports(self) -> None:
        """SMTPUTF8 and all of DSN arrive as they left (RFC 6531, RFC 3461)."""
        wanted = frozenset((Notify.SUCCESS, Notify.DELAY))
        message = envelope(
            Recipient(INTERNATIONAL, wanted, "utf-8;jörg@there.test"),
            Recipient(ONE, frozenset((Notify.NEVER,)), "rfc822;o+ne@x.test"),
            Recipient(TWO),
            sender=Address("størst", "from.test"),
            utf8=True,
            ret=Ret.HDRS,
            envid="A+B = 1",
        )
        for bdat in (False, True):
            stored, done, _ = self.agree([(message, "Subject: Größe\r\n\r\nx\r\n".encode())], bdat=bdat)
            self.assertEqual((True, Ret.HDRS, "A+B = 1"), (stored[0].utf8, stored[0].ret, stored[0].envid))
            outcome = done[0].outcomes[ONE]
            assert isinstance(outcome, Delivered)
            self.assertIs(Handover.PASSED_ON, outcome.kind)

    def test_lmtp(self) -> None:
        """LMTP, behind the dot and by BDAT (RFC 2033)."""
        for bdat in (False, True):
            _, done, said = self.agree(
                [(envelope(ONE, TWO, THREE), TEXT), (envelope(ONE), TEXT)], role="lmtp", bdat=bdat
            )
            self.assertTrue(said.startswith(b"LHLO client.test\r\n"))
            self.assertEqual(3, len(done[0].outcomes))
