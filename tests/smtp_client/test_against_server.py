"""Our client's session against our server's, without a network: they must agree however the bytes are cut."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address, parse_address
from mta.envelope import Body, Envelope, Recipient
from mta.reply import Reply
from mta.smtp.client import ClientSession
from mta.smtp.client_events import Ended, SendContent, TransactionDone
from mta.smtp.commands import RcptTo
from mta.smtp.server import EndOfData, Question, ServerSession
from mta.smtp.stages import Stage as ServerStage
from mta.smtp.terms import Terms
from mta.smtp.transaction import Transaction
from tests.smtp_client.dialogue import HOST, ONE, SENDER, THREE, TWO, brief

NO_SUCH_USER = Reply(550, ("No such user",), "5.1.1")
TERMS = Terms(
    hostname="mx.test",
    message_size=100_000,
    text_line=2000,
    hops=50,
    recipients=100,
    expanded_recipients=1000,
    messages_per_session=100,
    errors_soft=10,
    errors_hard=20,
    junk_commands=100,
)
BRACKETS = parse_address('"a>b <c"@to.test')


class Server:
    """A shell for the server's session that has no user "two"."""

    def __init__(self) -> None:
        self.session = ServerSession(TERMS, trusted=True)
        self.stored: list[tuple[Envelope, bytes]] = []
        self.output = self.session.greeting()
        self._buffer = b""
        self._content = b""

    def receive(self, data: bytes) -> None:
        self._buffer += data
        while not self.session.closed:
            if self.session.stage is ServerStage.DATA:
                if not self._take_content():
                    return
                continue
            line, end, rest = self._buffer.partition(b"\r\n")
            if not end:
                return
            self._buffer = rest
            self._reply(self.session.line(line, bool(rest)))

    def _take_content(self) -> bool:
        data, self._buffer = self._buffer, b""
        self._content += self.session.content(data)
        if not self.session.ended:
            return False
        self._buffer = self.session.rest
        self._reply(self.session.end_of_data(hops=0))
        self._content = b""
        return True

    def _reply(self, answer: bytes | Question) -> None:
        if isinstance(answer, EndOfData):
            self.stored.append((answer.envelope, self._content))
            answer = self.session.queued("ID")
        elif isinstance(answer, RcptTo):
            answer = self.session.answered(NO_SUCH_USER if answer.recipient == TWO else None)
        elif not isinstance(answer, bytes):
            answer = self.session.answered(None)
        self.output += answer


Message = tuple[tuple[Address, ...], bytes]
Played = tuple[list[tuple[Envelope, bytes]], list[dict[str, str]]]


def play(messages: list[Message], cut: int, helo: bool = False) -> Played:
    """Send all messages over one connection whose bytes come `cut` at a time; what was stored, and all outcomes."""
    server, client = Server(), ClientSession("client.test", HOST)
    outcomes: list[dict[str, str]] = []
    content = b""
    waiting = list(messages)
    to_server = b""
    for _ in range(1_000_000):
        while (event := client.next_event()) is not None:
            assert not isinstance(event, Ended), event
            if isinstance(event, SendContent):
                client.allow_end()
                for at in range(0, len(content), cut):
                    client.send_content(content[at : at + cut])
                client.end_content()
            elif isinstance(event, TransactionDone):
                outcomes.append({str(who): brief(outcome) for who, outcome in event.outcomes.items()})
            if not isinstance(event, SendContent) and waiting:
                recipients, content = waiting.pop(0)
                envelope = Envelope(SENDER, tuple(map(Recipient, recipients)), Body.EIGHT_BIT_MIME)
                client.begin(Transaction(envelope, len(content)))
        to_server += client.take_output()
        if helo:
            to_server = to_server.replace(b"EHLO", b"HELO")
        if server.output:
            piece, server.output = server.output[:cut], server.output[cut:]
            client.receive(piece)
        elif to_server:
            piece, to_server = to_server[:cut], to_server[cut:]
            server.receive(piece)
        else:
            return server.stored, outcomes
    raise AssertionError("it does not end")


MESSAGES: list[Message] = [
    ((ONE, TWO, THREE), b"Subject: x\r\n\r\n.\r\n..\r\n.x\r\nend\r\n"),
    ((TWO,), b"for nobody\r\n"),
    ((BRACKETS,), b""),
    ((ONE,), b"x" * 1998 + b"\r\n"),
    ((ONE,), b"no line end"),
    ((ONE,), b"z" * 100_001),
    ((THREE,), b"last\r\n"),
]


class AgreementTests(SynchronousTestCase):
    def test_outcomes(self) -> None:
        """The server stores what the client delivers, and each side knows the same of each recipient."""
        stored, outcomes = play(MESSAGES, 1 << 20)
        self.assertEqual(
            [
                {"one@to.test": "delivered", "two@to.test": "failure 5.1.1", "three@to.test": "delivered"},
                {"two@to.test": "failure 5.1.1"},
                {str(BRACKETS): "delivered"},
                {"one@to.test": "delivered"},
                {"one@to.test": "delivered"},
                {"one@to.test": "failure 5.3.4"},
                {"three@to.test": "delivered"},
            ],
            outcomes,
        )
        self.assertEqual(
            [MESSAGES[0][1], b"", MESSAGES[3][1], b"no line end\r\n", b"last\r\n"],
            [content for _, content in stored],
        )
        self.assertEqual([ONE, THREE], [recipient.address for recipient in stored[0][0].recipients])
        self.assertEqual((SENDER, Body.EIGHT_BIT_MIME), (stored[0][0].sender, stored[0][0].body))

    def test_every_cut(self) -> None:
        """Pieces of any size, in both directions, change nothing."""
        messages = [MESSAGES[number] for number in (0, 1, 2, 4, 6)]
        expected = play(messages, 1 << 20)
        for cut in range(1, 260):
            self.assertEqual(expected, play(messages, cut), cut)

    def test_one_command_at_a_time(self) -> None:
        """The same messages arrive without extensions, in pieces of any size."""
        messages = [MESSAGES[number] for number in (0, 1, 4, 6)]
        expected = [content for _, content in play(messages, 1 << 20)[0]]
        for cut in (1, 2, 3, 5, 7, 11, 1 << 20):
            stored, outcomes = play(messages, cut, helo=True)
            self.assertEqual(expected, [content for _, content in stored])
            self.assertEqual("failure 5.1.1", outcomes[0]["two@to.test"])

    @settings(max_examples=100, derandomize=True, deadline=None)
    @given(
        st.lists(st.sampled_from([b".", b"..", b"a", b"\r\n", b"\r\n.", b"\r\n.\r\n", b""]), max_size=20),
        st.integers(1, 9),
    )
    def test_any_content(self, pieces: list[bytes], cut: int) -> None:
        """Content made of dots and line ends arrives as it left, but for a last line end that was missing."""
        content = b"".join(pieces)
        ((_, stored),), _ = play([((ONE,), content)], cut)
        self.assertEqual(content if content.endswith(b"\r\n") or not content else content + b"\r\n", stored)
