"""
Clients that send without a pause, and note what they were told.

Owns: one thread and one connection each; messages of all sizes, by DATA and by BDAT.
Never: sends a message again: what was not acknowledged may arrive or not, and counts as neither.
"""

from __future__ import annotations

import hashlib
import random
import re
import smtplib
import time
from contextlib import suppress
from dataclasses import replace
from threading import Event, Thread

from tests.campaigns.crash.ledger import MARK, Ledger, Sent, Side

# Octets of a body, and how often: a row, several rows of the spool's 256 KiB, and what lies between.
_SIZES = (200, 200, 2_000, 2_000, 2_000, 30_000, 120_000, 262_144, 700_000)
_LINES = (b"plain words", b".", b"..", b".dot at the start", b"", b"caf\xc3\xa9", b"x" * 900)

# Seconds a client waits for any reply: a stopped daemon cuts the connection, so this is for the worst.
_PATIENCE = 30.0
# Seconds between two messages of a client: the machine has other work, and the campaign is about order, not speed.
_PAUSE = 0.01


def content(rng: random.Random, token: str) -> bytes:
    """A message: the mark, and lines that test the dots."""
    lines = [MARK + token.encode(), b"Subject: campaign", b""]
    size, left = 0, rng.choice(_SIZES)
    while size < left:
        lines.append(rng.choice(_LINES))
        size += len(lines[-1]) + 2
    return b"\r\n".join([*lines, b"end", b""])


class Client(Thread):
    """Sends to `recipients` (one to three of them for each message) until `ending` is set."""

    def __init__(self, number: int, port: int, recipients: tuple[str, ...], ledger: Ledger, seed: int) -> None:
        super().__init__(name=f"client {number}", daemon=True)
        self.ending = Event()
        self._number = number
        self._port = port
        self._recipients = recipients
        self._ledger = ledger
        self._rng = random.Random(seed * 1000 + number)
        self._count = 0

    def run(self) -> None:
        while not self.ending.is_set():
            with suppress(OSError, smtplib.SMTPException):
                self._converse()
            self.ending.wait(0.05)

    def _converse(self) -> None:
        """A connection, until it breaks, says 421 or has had its messages."""
        with smtplib.SMTP("127.0.0.1", self._port, "client.test", timeout=_PATIENCE) as peer:
            peer.ehlo()
            for _ in range(self._rng.randint(1, 50)):
                if self.ending.is_set():
                    return
                self._send(peer)
                time.sleep(_PAUSE)

    def _send(self, peer: smtplib.SMTP) -> None:
        self._count += 1
        token = f"c{self._number}-{self._count}"
        data = content(self._rng, token)
        recipients = tuple(self._rng.sample(self._recipients, self._rng.randint(1, 3)))
        chunked = self._rng.random() < 0.3
        code, _said = peer.mail(f"client{self._number}@client.test", ["BODY=8BITMIME"])
        if code != 250:
            peer.rset()
            return
        taken = tuple(each for each in recipients if peer.rcpt(each)[0] == 250)
        sent = Sent(hashlib.sha256(data).hexdigest(), taken, acknowledged=False)
        self._ledger.send(token, sent)
        code, said = _by_bdat(peer, data) if chunked else peer.data(data)
        if code == 250:
            self._ledger.spring(Side.CLIENT)
            found = re.search(rb"queued as (\w+)", said)
            self._ledger.send(token, replace(sent, acknowledged=True, queue_id=found[1].decode() if found else ""))


def _by_bdat(peer: smtplib.SMTP, data: bytes) -> tuple[int, bytes]:
    """The content in two chunks."""
    half = len(data) // 2
    for chunk, last in ((data[:half], ""), (data[half:], " LAST")):
        peer.send(f"BDAT {len(chunk)}{last}\r\n".encode() + chunk)
        code, said = peer.getreply()
        if code != 250:
            break
    return code, said
