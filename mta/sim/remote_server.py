"""
The SMTP server of a remote site.

Owns: one connection: its commands, its replies, and what the site's behaviour makes of them.
Never: shares code with our own server or client: a fault in the transparency of dots must not cancel itself out.
"""

from __future__ import annotations

from twisted.internet import protocol
from twisted.internet.protocol import Factory, connectionDone
from twisted.python.failure import Failure

from mta.sim.message import queue_id_of
from mta.sim.scenario import Place
from mta.sim.site import RemoteSite

_EXTENSIONS = ("PIPELINING", "SIZE 104857600", "8BITMIME", "ENHANCEDSTATUSCODES", "SMTPUTF8", "DSN")
_END = b"\r\n.\r\n"


class RemoteServer(protocol.Protocol):
    """One connection to the host `name` of `site`."""

    def __init__(self, site: RemoteSite, name: str) -> None:
        self._site = site
        self._name = name
        self._buffer = b""
        self._in_content = False
        self._busy = False  # a reply is on its way, and what comes behind it waits
        self._stalled = False
        self._lost = False
        self._counted = False
        self._lmtp = False
        self._reset()

    def _reset(self) -> None:
        self._sender: str | None = None
        self._recipients: list[str] = []
        self._message: int | None = None  # our queue id of what is coming in

    # What Twisted calls

    def connectionMade(self) -> None:
        self._site.figures.connected()
        self._counted = True
        refusal = self._site.greeting()
        self._reply("greeting", refusal or f"220 {self._name} ESMTP")
        if refusal:
            self._stalled = True
            self._site.time.callLater(1, self._close)

    def dataReceived(self, data: bytes) -> None:
        if self._site.is_silent:  # it went down with the connection open
            self._stalled = True
            return
        self._buffer += data
        self._go_on()

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: ARG002
        self._lost = True
        self._leave()
        self._transaction_over()

    def _leave(self) -> None:
        """From QUIT on it counts no more: the client has done its part to close the connection."""
        if self._counted:
            self._counted = False
            self._site.figures.connections -= 1

    # Reading

    def _go_on(self) -> None:
        while not (self._busy or self._stalled or self._lost):
            if self._in_content:
                if not self._read_content():
                    return
            else:
                line, crlf, rest = self._buffer.partition(b"\r\n")
                if not crlf:
                    return
                self._buffer = rest
                self._command(line)

    def _read_content(self) -> bool:
        """Whether the end of the content has come."""
        if self._message is None and len(self._buffer) >= 4096:
            self._look_for_id(self._buffer)
        at = 0 if self._buffer.startswith(b".\r\n") else self._buffer.find(_END)
        if at < 0:
            return False
        stuffed = b"" if self._buffer.startswith(b".\r\n") else self._buffer[: at + 2]
        self._buffer = self._buffer[len(stuffed) + 3 :]
        content = (b"\r\n" + stuffed).replace(b"\r\n.", b"\r\n")[2:]
        self._in_content = False
        self._look_for_id(content)
        self._judge(content)
        return True

    def _look_for_id(self, content: bytes) -> None:
        if self._message is None:
            self._message = queue_id_of(content)
            if self._message is not None:
                self._site.began(self._message, self._recipients)

    def _transaction_over(self) -> None:
        if self._message is not None:
            self._site.ended(self._message, self._recipients)
        self._reset()

    # Answering

    def _command(self, line: bytes) -> None:
        words = line.decode("utf-8", "replace")
        verb = words[:4].upper()
        if verb in ("EHLO", "LHLO"):
            self._lmtp = verb == "LHLO"
            self._transaction_over()
            lines = (self._name, *_EXTENSIONS)
            said = self._site.answer("hello", "*")
            self._reply("hello", said or _joined("250", lines, garbled=self._site.chance(self._garbled)))
        elif verb == "HELO":
            self._transaction_over()
            self._reply("hello", self._site.answer("hello", "*") or f"250 {self._name}")
        elif verb == "MAIL":
            self._mail(words)
        elif verb == "RCPT":
            self._rcpt(words)
        elif verb == "DATA":
            self._data()
        elif verb == "RSET":
            self._transaction_over()
            self._reply("mail", "250 2.0.0 reset")
        elif verb == "QUIT":
            self._leave()
            self._reply("greeting", "221 2.0.0 bye")
            self._close()
        else:
            self._reply("hello", "502 5.5.1 not known here")

    @property
    def _garbled(self) -> float:
        return self._site.behaviour.garbled

    def _mail(self, words: str) -> None:
        self._transaction_over()
        sender = _path(words)
        self._site.figures.asked += 1
        said = self._site.sender_reply()
        if said is None or said.startswith("2"):
            self._sender = sender
            self._reply("mail", said or "250 2.1.0 sender ok")
            return
        self._reply("mail", said)
        # With PIPELINING its recipients come all the same; they are told 503, and only MAIL's reply counts.
        if said.startswith("5"):
            self._site.refused(sender, ("*",), said)
        if said.startswith("421"):
            self._close()

    def _rcpt(self, words: str) -> None:
        if self._sender is None:
            self._reply("rcpt", "503 5.5.1 no sender")
            return
        recipient = _path(words)
        said = self._site.recipient_reply(self._sender, recipient)
        if said is None or said.startswith("2"):
            self._recipients.append(recipient)
            said = said or "250 2.1.5 recipient ok"
        elif said.startswith("5"):
            self._site.refused(self._sender, (recipient,), said)
        self._reply("rcpt", said)

    def _data(self) -> None:
        if not self._recipients:
            self._reply("data", "554 5.5.1 no valid recipients")
            return
        said = self._site.answer("data", "*")
        if said is None or said.startswith("3"):
            self._in_content = True
            self._reply("data", said or "354 go on")
            return
        if said.startswith("5"):
            self._site.refused(self._sender or "", self._recipients, said)
        self._reply("data", said)

    def _judge(self, content: bytes) -> None:
        """The content is here as a whole."""
        site, sender = self._site, self._sender or ""
        figures = site.figures
        figures.transactions += 1
        said = site.answer("end-of-data", "*")
        if said is not None and not said.startswith("2"):
            if said.startswith("5"):
                site.refused(sender, self._recipients, said)
            self._reply("end-of-data", self._for_each(said))
        elif self._breaks("end-of-data"):
            self._close()
        elif site.behaviour.stalls_at == "end-of-data" or site.chance(site.behaviour.drops_after_dot):
            # It has the message, and we shall never hear of it.
            site.took(self._recipients, content, acknowledged=False)
            self._stalled = True
            if site.behaviour.stalls_at != "end-of-data":
                self._close()
        else:
            site.took(self._recipients, content, acknowledged=True)
            # Without a break: it had its chance above.
            self._reply("end-of-data", self._for_each(said or "250 2.0.0 ok, taken"), breaks=False)
        self._transaction_over()

    def _for_each(self, text: str) -> str:
        """RFC 2033 4.2: behind the dot, LMTP has a reply for each recipient."""
        return "\r\n".join([text] * len(self._recipients)) if self._lmtp else text

    def _breaks(self, at: Place) -> bool:
        behaviour = self._site.behaviour
        return behaviour.breaks_at == at and self._site.chance(behaviour.breaks_share)

    def _reply(self, at: Place, text: str, *, breaks: bool = True) -> None:
        """Send a reply, unless the site stalls or breaks off here."""
        behaviour = self._site.behaviour
        if behaviour.stalls_at == at:
            self._stalled = True
        elif breaks and self._breaks(at):
            self._close()
        elif behaviour.reply_delay:
            self._busy = True
            self._site.time.callLater(behaviour.reply_delay, self._reply_late, text)
        else:
            self._write(text)

    def _reply_late(self, text: str) -> None:
        self._busy = False
        self._write(text)
        self._go_on()

    def _write(self, text: str) -> None:
        if not self._lost and self.transport is not None:
            self.transport.write(text.encode() + b"\r\n")

    def _close(self) -> None:
        self._stalled = True
        if not self._lost and self.transport is not None:
            self.transport.loseConnection()


class RemoteFactory(Factory):
    """The connections to one host of a site."""

    noisy = False

    def __init__(self, site: RemoteSite, name: str) -> None:
        self._site = site
        self._name = name

    def buildProtocol(self, _addr: object) -> RemoteServer:
        return RemoteServer(self._site, self._name)


def _joined(code: str, lines: tuple[str, ...], *, garbled: bool) -> str:
    """A reply of several lines; a garbled one changes its code in the middle."""
    marks = [f"{code}-"] * (len(lines) - 1) + [f"{code} "]
    if garbled:
        marks[len(marks) // 2] = "354-"
    return "\r\n".join(mark + line for mark, line in zip(marks, lines, strict=True))


def _path(words: str) -> str:
    """The address in ``MAIL FROM:<...>`` or ``RCPT TO:<...>``."""
    return words.partition("<")[2].partition(">")[0]
