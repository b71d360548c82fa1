"""
A whole session of the client, with any bytes from the server.

No exception; every recipient gets one outcome. A recipient fails for nothing but a well-formed 5xx, or for what the
server's EHLO said it can't take; it is delivered by nothing but a 2xx behind the end of its content. What the client
says is lines that end in CRLF, and the same command once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from fuzz.input import STRETCHED, options, text
from mta.address import Address, parse_address
from mta.envelope import Body, Envelope, Notify, Recipient, Ret
from mta.outcome import DOUBT, Deferral, Delivered, Failure, Outcome
from mta.smtp.client import ClientSession
from mta.smtp.client_events import Ended, Ready, SendContent, TransactionDone
from mta.smtp.reply_parser import MAX_LINE
from mta.smtp.transaction import Transaction

SENDER = parse_address("sender@from.test")
RECIPIENTS = (
    Recipient(parse_address("one@to.test"), frozenset((Notify.FAILURE,)), "rfc822;one+2B@to.test"),
    Recipient(parse_address("two@other.test")),
    Recipient(parse_address("\u00fc@to.test", utf8=True)),
)
CONTENT = b"Subject: x\r\n\r\n.dot\r\nend\r\n"
# What the client does next is up to the server; in the server's bytes this stands for the end of a turn, and this for
# the end of the connection, or of the client's patience.
TURN, LOST, TIMEOUT = b"\x00", b"\x01", b"\x02"
_TURNS = re.compile(rb"[^\x00\x01\x02]+|[\x01\x02]")
_COMMAND = re.compile(rb"(EHLO|LHLO|HELO|MAIL|RCPT|DATA|BDAT|RSET|QUIT)( [^\r\n]*)?\r\n")

# What bytes of this kind are made of; the fuzzer puts them in.
WORDS = (
    b"220 x\r\n\x00",
    b"250-x\r\n250-PIPELINING\r\n250 x\r\n\x00",
    b"250-SIZE 10\r\n",
    b"250-CHUNKING\r\n",
    b"250-BINARYMIME\r\n",
    b"250-8BITMIME\r\n",
    b"250-SMTPUTF8\r\n",
    b"250-DSN\r\n",
    b"250-LIMITS RCPTMAX=1 RCPTDOMAINMAX=1\r\n",
    b"250 ok\r\n",
    b"354 go\r\n\x00",
    b"550 5.1.1 no\r\n",
    b"452 4.5.3 many\r\n",
    b"552 5.5.3 many\r\n",
    b"421 4.3.2 bye\r\n",
    b"503 no\r\n",
    b"\x00",
    b"\x01",
    b"\x02",
)


def _says(outcome: Outcome, why: Deferral) -> bool:
    """Whether it is that deferral, with or without the doubt of those for whom all was sent."""
    if not isinstance(outcome, Deferral):
        return False
    plain, same = (replace(each, reason=each.reason.removesuffix(DOUBT), in_doubt=False) for each in (outcome, why))
    return plain == same


class _Shell:
    """Does what `mta/delivery/connection.py` does, and checks what it sees."""

    def __init__(self, chosen: int) -> None:
        self.session = ClientSession(
            "client.test", "mx.test[192.0.2.1]:25", lmtp=bool(chosen & 1), bdat=bool(chosen & 2)
        )
        body = (Body.SEVEN_BIT, Body.EIGHT_BIT_MIME, Body.BINARY_MIME, Body.SEVEN_BIT)[chosen >> 2 & 3]
        people = RECIPIENTS[: 1 + (chosen >> 4) % 3]
        self.transaction = Transaction(Envelope(SENDER, people, body, False, Ret.FULL, "id"), len(CONTENT))
        self.marked_early = bool(chosen & 64)  # whether the mark is there before the content is read
        self.said = b""  # by the server
        self.transactions = 0
        self.outcomes: Mapping[Address, Outcome] = {}  # of the last one
        self.open = False
        self.ended = 0
        self.content_ended = False

    def hear(self, data: bytes) -> None:
        self.said += data
        self.session.receive(data)
        self.settle()

    def settle(self) -> None:
        ready = False
        while (event := self.session.next_event()) is not None:
            match event:
                case Ready():
                    ready = True
                case SendContent():
                    self.session.send_content(CONTENT[:10])
                    if self.marked_early:
                        self.session.allow_end()
                    self.session.send_content(CONTENT[10:])
                    self.session.end_content()
                    if not self.marked_early:
                        self.session.allow_end()
                    self.content_ended = True
                case TransactionDone(outcomes, undecided, left):
                    self._judge(outcomes, undecided, left)
                    ready = True
                case Ended(why):
                    self.ended += 1
                    # Out of step: nothing that the server seemed to say of this message is believed.
                    judged = self.outcomes.values()
                    if "is out of step" in why.reason and any(outcome is why for outcome in judged):
                        assert all(_says(outcome, why) for outcome in judged), self.outcomes
        self._look_at(self.session.take_output())
        assert self.ended <= 1
        assert self.session.has_ended == bool(self.ended)
        assert len(self.session._due) <= 8, self.session._due
        assert self.session.has_ended or len(self.session._parser._buffer) < MAX_LINE
        if ready and not self.session.has_ended:
            self._begin()
            self.settle()

    def _begin(self) -> None:
        if self.transactions < 3:
            self.transactions += 1
            self.open = True
            self.content_ended = False
            self.session.begin(self.transaction)
        else:
            self.session.quit()

    def _judge(
        self, outcomes: Mapping[Address, Outcome], undecided: tuple[Address, ...], left: tuple[Address, ...]
    ) -> None:
        assert self.open
        self.open = False
        self.outcomes = outcomes
        wanted = {recipient.address for recipient in self.transaction.envelope.recipients}
        assert set(outcomes) == wanted, outcomes
        assert wanted.issuperset((*undecided, *left))
        for address, outcome in outcomes.items():
            if isinstance(outcome, Failure):
                assert address not in undecided, outcome
                if outcome.reply is None:
                    assert outcome.enhanced in ("5.3.4", "5.6.3", "5.6.7"), outcome
                    assert b"250" in self.said, outcome
                else:
                    assert 500 <= outcome.reply.code <= 599, outcome
                    assert re.search(rb"(?:^|\n)%d(?:[ \r\n])" % outcome.reply.code, self.said), outcome
            elif isinstance(outcome, Delivered):
                assert self.content_ended, "delivered without its content"
                assert outcome.reply is not None
                assert 200 <= outcome.reply.code <= 299, outcome

    def _look_at(self, output: bytes) -> None:
        """Nothing goes out but commands, and content as it is to be."""
        rest = output
        while rest:
            if found := _COMMAND.match(rest):
                rest = rest[found.end() :]
                if found[1] == b"BDAT":
                    size = int(found[0].split()[1])
                    rest = rest[size:]
            elif rest.startswith(b".\r\n"):
                rest = rest[3:]
            else:
                wire = b"Subject: x\r\n\r\n..dot\r\nend\r\n.\r\n"
                assert rest.startswith(wire), output
                rest = rest[len(wire) :]


def target(data: bytes) -> None:
    """The first octet chooses the message and the client; NUL in the server's bytes ends one of its turns."""
    chosen, rest = options(data)
    shell = _Shell(chosen)
    for turn in _TURNS.findall(text(rest)[:STRETCHED]):
        if turn == LOST:
            shell.session.lost("closed the connection")
        elif turn == TIMEOUT:
            shell.session.timed_out()
        else:
            shell.hear(turn)
        shell.settle()
    shell.session.lost("closed the connection")
    shell.settle()
    assert shell.ended == 1
    assert not shell.open
