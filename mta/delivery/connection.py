"""
An SMTP connection to one address of a host: the shell around `mta.smtp.client.ClientSession`.

Owns: the transport, the timeout of each stage, the flow of content from the spool to the network.
Never: chooses a host, decides an outcome.
Fails: a Deferred that is cancelled fails with CancelledError and its connection is aborted; all else is a value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import TYPE_CHECKING, Any

from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionClosed, ConnectionDone
from twisted.internet.interfaces import (
    IDelayedCall,
    IHandshakeListener,
    IReactorTime,
    ITCPTransport,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from mta.address import Address
from mta.delivery.content import ContentProducer
from mta.delivery.openssl_words import openssl_words
from mta.entry import Mark
from mta.interfaces import IContent, IHandshake
from mta.login import Login
from mta.outcome import Deferral, Phase, Scope, judge_exception
from mta.smtp.capabilities import Capabilities
from mta.smtp.client import ClientSession
from mta.smtp.client_events import Ended, Ready, SendContent, StartTls, TransactionDone
from mta.smtp.client_stage import Stage
from mta.smtp.transaction import Transaction
from mta.tls_policy import DEFAULT_POLICY, TlsPolicy
from mta.tls_report import Finding

if TYPE_CHECKING:
    from mta.delivery.tls_sessions import TlsWatch

Opened = Deferred["ClientConnection | Deferral"]


@implementer(IHandshakeListener)
class ClientConnection(Protocol):
    """
    One connection.

    `opened` fires when the server is ready for the first transaction, or with the reason why it will not be. `freed`
    is called whenever a transaction has left the connection ready for another, `gone` once, when it is lost. `policy`
    is what it was made for, `handshake` what its TLS begins with, where the session may want any. `watch` is told what
    becomes of TLS: `finding` is what the certificate is worth, None where none was seen, `tls_trouble` what broke TLS.
    """

    transport: Any  # an ITCPTransport that is an IConsumer as well; no type says both

    def __init__(
        self,
        session: ClientSession,
        site: str,
        clock: IReactorTime,
        seconds: Mapping[Stage, float],
        opened: Opened,
        freed: Callable[[ClientConnection], None],
        gone: Callable[[ClientConnection], None],
        policy: TlsPolicy = DEFAULT_POLICY,
        handshake: IHandshake | None = None,
        login: Login | None = None,
        watch: TlsWatch | None = None,
    ) -> None:
        self.watch = watch
        self.finding: Finding | None = None
        self.tls_trouble = ""
        self.local_ip = ""  # known where there is a watch
        self.site = site
        self.place = ("", 0)  # the name and the port of its server, where they are known
        self._policy = policy
        self._handshake = handshake
        self._login = login
        self.transactions = 0
        self.since = 0.0  # when it was made, on the clock
        self._session = session
        self._clock = clock
        self._seconds = seconds
        self._opened: Opened | None = opened
        self._freed = freed
        self._gone = gone
        self._content: IContent | None = None
        self._mark: Mark | None = None
        self._mark_is_asked = False
        self._mark_stands = False
        self._producer: ContentProducer | None = None
        self._done: Deferred[TransactionDone] | None = None
        self._timer: IDelayedCall | None = None
        self._deadline = inf

    @property
    def is_ready(self) -> bool:
        """Whether `transact` may be called."""
        return self._session.stage is Stage.READY

    @property
    def host(self) -> str:
        """The server, as outcomes name it."""
        return self._session.host

    @property
    def offers(self) -> Capabilities:
        """What the server offered."""
        return self._session.capabilities

    @property
    def tls_refused(self) -> str:
        """Why the server took back its offer of TLS, "" where it did not."""
        return self._session.tls_refused

    @property
    def greeted_as(self) -> str:
        """What the server called itself, "" before its greeting."""
        return self._session.greeted_as

    def meets(self, policy: TlsPolicy, login: Login | None) -> bool:
        """Whether mail with this policy may go over it, as from who we are there."""
        good_enough = policy is self._policy or policy.is_met_by(self._policy, encrypted=self._session.is_encrypted)
        return good_enough and login == self._login

    def transact(
        self, transaction: Transaction, content: IContent, mark: Mark, *, early: bool = False
    ) -> Deferred[TransactionDone]:
        """
        Send one message. The connection must be ready. The end of the content waits for `mark`.

        `early`: the mark may be asked for before the server has invited the content. Where its commands take one round
        trip and small content would wait behind it, the disk and the server are waited for at the same time.

        Fires when the connection is ready again or closes, so that whoever counts transactions counts connections.
        """
        done: Deferred[TransactionDone] = Deferred(lambda _: self.abort())
        self._session.begin(transaction)
        self.transactions += 1
        self._content = content
        self._mark = mark
        self._mark_is_asked = self._mark_stands = False
        self._done = done
        self._go_on()
        if early and self._content is not None and content.whole() is not None and self.offers.pipelining:
            self._ask_mark([recipient.address for recipient in transaction.envelope.recipients])
        return done

    def quit(self) -> None:
        """Take leave of the server, where the connection is ready, and close; it does not wait long for the answer."""
        self._session.quit()
        self._go_on()

    def abort(self) -> None:
        """Drop the connection at once. Nobody is told but `gone`."""
        self._opened = self._done = None
        self._session.fail(Deferral("given up", self._session.phase, Scope.OURSELVES))
        self._go_on()
        self.transport.abortConnection()

    # -- What Twisted calls

    def connectionMade(self) -> None:
        # Our writes are whole groups of commands and whole pieces of content: waiting to join them only adds delay.
        if ITCPTransport.providedBy(self.transport):
            self.transport.setTcpNoDelay(True)
        if self.watch is not None:
            self.local_ip = getattr(self.transport.getHost(), "host", "")
        self.since = self._clock.seconds()
        self._go_on()

    def handshakeCompleted(self) -> None:
        assert self._handshake is not None  # it began with one
        trouble = self._handshake.trouble()
        if self.watch is not None:
            self.finding = self._handshake.finding()
        if trouble:
            self._session.tls_failed(trouble, judged=True)
        else:
            self._session.secured(self._handshake.words(), self._handshake.binding())
        self._go_on()

    def dataReceived(self, data: bytes) -> None:
        replies = self._session.replies
        self._session.receive(data)
        # A part of a reply changes nothing, the timeout included: a server can't hold us by sending an octet at a time.
        if self._session.replies != replies or self._session.has_ended:
            self._go_on()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if reason.check(ConnectionDone):
            self._session.lost("closed the connection")
        elif reason.check(ConnectionClosed):
            self._session.lost("broke the connection off")
        elif reason.check(SSL.Error):
            self.tls_trouble = openssl_words(reason.value)
            self._session.tls_failed(self.tls_trouble)
        else:  # Twisted ends a connection whose protocol raised, and passes the exception
            self._session.fail(judge_exception(exception_in(reason), self._session.phase, self._session.host))
        self._go_on()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._gone(self)

    # -- Steps

    def _go_on(self) -> None:
        """Act on what happened in the session. Others are told last, for they may call us again."""
        ready = False
        done: TransactionDone | None = None
        ended: Ended | None = None
        while (event := self._session.next_event()) is not None:
            if isinstance(event, SendContent):
                self._send_content(event.recipients)
            elif isinstance(event, TransactionDone):
                done = event
            elif isinstance(event, Ready):
                ready = True
            elif isinstance(event, StartTls):
                self._start_tls()
            else:
                ended = event
        self._flush()
        if not self._session.wants_content:
            self._stop_content()
        if done is not None:
            self._content = self._mark = None
        if ended is not None:
            self.transport.loseConnection()
        self._tell(ready, done, ended)

    def _start_tls(self) -> None:
        assert self._handshake is not None  # the session wants TLS where it has one alone
        try:
            self.transport.startTLS(self._handshake)
        except Exception as error:
            self._session.fail(judge_exception(error, self._session.phase, self._session.host))

    def _tell(self, ready: bool, done: TransactionDone | None, ended: Ended | None) -> None:
        if (ready or ended is not None) and self._opened is not None:
            opened, self._opened = self._opened, None
            if self.watch is not None:
                self.watch.opened(self, None if ended is None else ended.why)
            opened.callback(self if ended is None else ended.why)
        if done is not None:
            waiting, self._done = self._done, None
            if self.is_ready:
                self._freed(self)
            if waiting is not None:
                waiting.callback(done)

    def _flush(self) -> bool:
        """Send what waits, in one write, and give the server its time from now; whether there was anything."""
        output = self._session.take_output()
        if output:
            self.transport.write(output)
        self._watch()
        return bool(output)

    def _send_content(self, recipients: Sequence[Address]) -> None:
        if self._mark_stands:
            self._allow_end()
            return
        if not self._mark_is_asked:
            self._ask_mark(recipients)
        content = self._content
        if content is not None and content.whole() is None:
            # What is large goes on its way meanwhile, and its end alone waits.
            self._producer = ContentProducer(content, self._send_piece, self._content_ended, self._content_failed)
            self.transport.registerProducer(self._producer, False)

    def _ask_mark(self, recipients: Sequence[Address]) -> None:
        assert self._mark is not None  # within `transact` only
        self._mark_is_asked = True
        number = self.transactions
        marked = self._mark(recipients, self.host)
        marked.addCallbacks(self._marked, self._mark_failed, (number,), errbackArgs=(number,))

    def _marked(self, _done: None, number: int) -> None:
        if number != self.transactions or self._content is None:
            return  # the server did not wait
        self._mark_stands = True
        if self._session.wants_content:
            self._allow_end()

    def _allow_end(self) -> None:
        assert self._content is not None
        self._session.allow_end()
        whole = self._content.whole()
        if whole is not None:
            # With the final dot in the same write: a small one behind it would wait for a delayed ACK.
            self._session.send_content(whole)
            self._session.end_content()
        self._flush()

    def _mark_failed(self, fault: Failure, number: int) -> None:
        if number == self.transactions and self._content is not None:
            self._give_up(f"cannot note in the queue that the message is being sent: {fault.getErrorMessage()}")

    def _send_piece(self, data: bytes) -> None:
        self._session.send_content(data)
        if not self._flush() and self._producer is not None and self._session.wants_content:
            self._producer.resumeProducing()  # a lone CR was kept back: the transport has nothing to ask more after

    def _content_ended(self) -> None:
        self._stop_content()
        self._session.end_content()
        self._flush()

    def _content_failed(self, fault: Failure) -> None:
        self._stop_content()
        self._give_up(f"cannot read the message: {fault.getErrorMessage()}")

    def _give_up(self, reason: str) -> None:
        """Close without the end of the content, for a reason of our own."""
        self._session.fail(Deferral(reason, Phase.CONTENT, Scope.OURSELVES, enhanced="4.3.0"))
        self._go_on()

    def _stop_content(self) -> None:
        if self._producer is not None:
            self._producer.stopProducing()
            self._producer = None
            self.transport.unregisterProducer()

    # -- Time

    def _watch(self) -> None:
        """
        Set the time by which the current stage must end.

        The one timer is moved only where it would come too late; early, it looks at the deadline and sleeps on. Most
        stages have the same few minutes, so most connections set a timer once and not for every command.
        """
        seconds = self._seconds.get(self._session.stage, inf)
        self._deadline = self._clock.seconds() + seconds
        if seconds == inf:
            return
        if self._timer is not None:
            if self._timer.getTime() <= self._deadline:
                return
            self._timer.cancel()
        self._timer = self._clock.callLater(seconds, self._timer_fired)

    def _timer_fired(self) -> None:
        self._timer = None
        left = self._deadline - self._clock.seconds()
        if left == inf:
            return
        if left > 0:
            self._timer = self._clock.callLater(left, self._timer_fired)
            return
        self._session.timed_out()
        self._go_on()
        self.transport.abortConnection()


def exception_in(fault: Failure) -> BaseException:
    """The exception in a Failure, whose type allows for none."""
    return fault.value if fault.value is not None else RuntimeError(fault.getErrorMessage())
