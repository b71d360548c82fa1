"""
A crossing: a test that says which peer, which direction and which extensions it is about.

Owns: that mark, from which `python -m tests.real_peers` makes its table, and what all such tests need: a peer that is
stopped, a wiretap, messages.
"""

from __future__ import annotations

import smtplib
from collections.abc import Callable
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import TypeVar

from tests.end_to_end.daemon import PATIENCE, Daemon, EndToEndCase, eventually, free_port
from tests.real_peers.dovecot import Dovecot
from tests.real_peers.exim import Exim
from tests.real_peers.peer import Peer
from tests.real_peers.postfix import Postfix
from tests.real_peers.wiretap import Place, Wiretap

TO_US, FROM_US, THROUGH_US = "to us", "from us", "through us"
# 8-bit text that is no ASCII in any line, with a line of a dot, one that begins with a dot, and a blank one.
EIGHT_BIT = "Grüße aus Köln\r\n.\r\n.verborgen – ёжик\r\n\r\nEnde\r\n"

# One more listener for the daemon's configuration.
LMTP = '\n[[listener]]\nname = "lmtp"\nendpoint = "tcp:{port}:interface=127.0.0.1"\nrole = "lmtp"\n'

Test = TypeVar("Test", bound=Callable[..., object])
AnyMessage = TypeVar("AnyMessage", str, bytes, Path)
AnyPeer = TypeVar("AnyPeer", bound=Peer)


@dataclass(frozen=True, slots=True)
class Crossing:
    """One line of the table, or one for each extension."""

    peer: str
    direction: str
    extensions: tuple[str, ...]


def crossing(peer: str, direction: str, *extensions: str) -> Callable[[Test], Test]:
    """Mark a test method."""

    def mark(test: Test) -> Test:
        test.crossing = Crossing(peer, direction, extensions)  # type: ignore[attr-defined]
        return test

    return mark


def eight_bit(sender: str, recipient: str, subject: str = "8bit") -> bytes:
    """A message with an 8-bit body that says so."""
    header = (
        f"From: {sender}\r\nTo: {recipient}\r\nSubject: {subject}\r\nMIME-Version: 1.0\r\n"
        "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
    )
    return (header + EIGHT_BIT).encode()


def parsed(content: bytes | str) -> EmailMessage:
    """A message as Python's `email` reads it."""
    raw = content.encode() if isinstance(content, str) else content
    return message_from_bytes(raw, policy=policy.default)


def body(content: bytes | str) -> str:
    """Everything below the header, with LF line ends."""
    text = content if isinstance(content, str) else content.decode()
    return text.replace("\r\n", "\n").partition("\n\n")[2]


class RealPeerCase(EndToEndCase):
    """A test between our daemon and a peer; whatever it starts is stopped."""

    def peer(self, started: AnyPeer) -> AnyPeer:
        """A peer, from now on stopped with the test."""
        self.addCleanup(started.stop)
        return started

    def tap(self, target: Place = 0, path: Path | None = None) -> Wiretap:
        """A wiretap in front of a port or a socket."""
        tap = Wiretap(target, path)
        self.addCleanup(tap.stop)
        return tap

    def postfix(self, next_hop: str = "discard:", more: str = "") -> Postfix:
        return self.peer(Postfix(self.top, next_hop, more))

    def exim(self, next_hop: int = 0, protocol: str = "smtp") -> Exim:
        return self.peer(Exim(self.top, next_hop, protocol))

    def dovecot(self) -> Dovecot:
        return self.peer(Dovecot(self.top))

    def plain_sink(self, *options: str) -> int:
        """The port of a running smtp-sink."""
        port = free_port()
        self.sink(port, *options)
        return port

    def arrived(self, look: Callable[[], list[AnyMessage]], tap: Wiretap, peer: Peer | None = None) -> AnyMessage:
        """The one message that `look` finds; else the failure shows what was said."""
        try:
            found = eventually(look, "the message")
        except AssertionError as late:
            log = peer.told() if peer else ""
            raise AssertionError(f"{late}\n{tap.transcript()}\n{log}") from None
        self.assertEqual(1, len(found), found)
        return found[0]

    def assert_client_said(self, tap: Wiretap, *words: str) -> None:
        """The client said all of these."""
        for word in words:
            self.assertIn(word, tap.client, tap.transcript())

    def assert_client_did_not_say(self, tap: Wiretap, *words: str) -> None:
        """The client said none of these."""
        for word in words:
            self.assertNotIn(word, tap.client, tap.transcript())

    def assert_reported(self, report: str, action: str, recipient: str, envid: str = "") -> None:
        """A delivery status notification says this of the recipient (RFC 3464); arguments are regular expressions."""
        fields = [f"Action: {action}", f"Final-Recipient: rfc822; ?{recipient}"]
        if envid:
            fields.append(f"Original-Envelope-Id: {envid}")
        self.assertIn("multipart/report", parsed(report)["Content-Type"], report)
        for field in fields:
            self.assertRegex(report, f"(?im)^{field}$")

    def mail_in(self, daemon: Daemon, user: str, tap: Wiretap, peer: Peer | None = None) -> str:
        """The one message in a user's Maildir."""
        return self.arrived(lambda: daemon.mailbox(user), tap, peer)

    def client(self, port: int) -> smtplib.SMTP:
        """smtplib, connected."""
        return smtplib.SMTP("127.0.0.1", port, "client.test", timeout=PATIENCE)

    def send(
        self,
        port: int,
        sender: str,
        recipient: str,
        content: bytes,
        *,
        mail: tuple[str, ...] = (),
        rcpt: tuple[str, ...] = (),
    ) -> None:
        """Send a message with smtplib to any server, with these parameters."""
        with self.client(port) as client:
            self.assertEqual({}, client.sendmail(sender, [recipient], content, mail, rcpt))

    def send_binary(self, port: int, sender: str, recipient: str, content: bytes) -> None:
        """Send a message as BODY=BINARYMIME in one chunk (RFC 3030)."""
        with self.client(port) as client:
            client.ehlo()
            client.mail(sender, ["BODY=BINARYMIME"])
            client.rcpt(recipient)
            client.send(b"BDAT %d LAST\r\n" % len(content) + content)
            code, text = client.getreply()
            self.assertEqual(250, code, text)
