"""A client session and a server played by the test: bytes in, bytes and events out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mta.address import Address, parse_address
from mta.envelope import Body, Envelope, Recipient
from mta.login import Login
from mta.outcome import Deferral, Delivered, Outcome
from mta.smtp.client import ClientSession
from mta.smtp.client_events import ClientEvent, Ended, SendContent, TransactionDone
from mta.smtp.client_opening import NO_WISH, TlsWish
from mta.smtp.transaction import Transaction

HOST = "mx.test[192.0.2.1]:25"
SENDER = parse_address("sender@from.test")
ONE, TWO, THREE = (parse_address(f"{name}@to.test") for name in ("one", "two", "three"))
CONTENT = b"Subject: x\r\n\r\n.dot\r\nend\r\n"
ON_THE_WIRE = b"Subject: x\r\n\r\n..dot\r\nend\r\n.\r\n"

GREETING = b"220 mx.test ESMTP\r\n"
PIPELINES = b"250-mx.test\r\n250-PIPELINING\r\n250-SIZE 1000000\r\n250-8BITMIME\r\n250 ENHANCEDSTATUSCODES\r\n"
PLAIN = b"250 mx.test\r\n"


class Dialogue:
    """
    Feeds a session and keeps what it does. Content is sent as soon as it is asked for, unless `hold_content`, and its
    end is allowed at once, unless `hold_end`.
    """

    def __init__(
        self,
        hold_content: bool = False,
        hold_end: bool = False,
        wish: TlsWish = NO_WISH,
        login: Login | None = None,
        nonce: str = "",
        **options: bool,
    ) -> None:
        self.session = ClientSession("client.test", HOST, wish=wish, login=login, nonce=nonce, **options)
        self.events: list[ClientEvent] = []
        self.sent = b""
        self.turn = b""  # what was sent since `hear` was called last
        self._hold_content = hold_content
        self._hold_end = hold_end

    def hear(self, *pieces: bytes) -> Dialogue:
        """The server says this, in these pieces."""
        self.turn = b""
        for piece in pieces:
            self.session.receive(piece)
            self.settle()
        return self

    def begin(
        self,
        recipients: Iterable[Address | Recipient] = (ONE,),
        sender: Address | None = SENDER,
        body: Body = Body.SEVEN_BIT,
        size: int = len(CONTENT),
        **more: Any,
    ) -> Dialogue:
        self.turn = b""
        named = tuple(who if isinstance(who, Recipient) else Recipient(who) for who in recipients)
        self.session.begin(Transaction(Envelope(sender, named, body, **more), size))
        self.settle()
        return self

    def settle(self) -> None:
        """What a shell does after each call."""
        while (event := self.session.next_event()) is not None:
            self.events.append(event)
            if isinstance(event, SendContent) and not self._hold_end:
                self.session.allow_end()
            if isinstance(event, SendContent) and not self._hold_content:
                self.session.send_content(CONTENT)
                self.session.end_content()
        output = self.session.take_output()
        self.sent += output
        self.turn += output

    @property
    def done(self) -> TransactionDone:
        """The one transaction that ended."""
        (found,) = (event for event in self.events if isinstance(event, TransactionDone))
        return found

    @property
    def ended(self) -> Deferral | None:
        """Why the session ended, if it did: it says so at most once."""
        reasons = [event.why for event in self.events if isinstance(event, Ended)]
        assert len(reasons) <= 1, reasons
        return reasons[0] if reasons else None


def greeted(hello: bytes = PIPELINES, hold_content: bool = False, hold_end: bool = False, **options: bool) -> Dialogue:
    """A dialogue whose session is ready; `options` are `lmtp` and `bdat`."""
    return Dialogue(hold_content, hold_end, NO_WISH, None, "", **options).hear(GREETING).hear(hello)


def brief(outcome: Outcome) -> str:
    """An outcome in a word or two: "delivered", "deferral 4.4.2 message", "failure 5.1.1"."""
    if isinstance(outcome, Delivered):
        return "delivered"
    if isinstance(outcome, Deferral):
        return f"deferral {outcome.enhanced} {outcome.scope.value}"
    return f"failure {outcome.enhanced}"
