"""
A remote site that misbehaves: it refuses for now at each phase, cuts the connection behind the final dot, is slow.

Owns: its port of 127.0.0.1, and a note of each message it took in the ledger.
Never: refuses for good: what is acknowledged has to arrive in the end.
"""

from __future__ import annotations

import random
import re
import socketserver
import time
from contextlib import suppress
from dataclasses import dataclass
from threading import Lock
from typing import Any

from tests.campaigns.crash.ledger import Arrival, Ledger, Reply, Side, token_and_digest
from tests.peers.threaded_site import ThreadedSite

_PATH = re.compile(rb"<([^<>]*)>")


@dataclass(frozen=True, slots=True)
class Temper:
    """Chances, each from 0 to 1, and the longest wait before the last reply in seconds."""

    refuses_greeting: float = 0.02
    refuses_sender: float = 0.03
    refuses_recipient: float = 0.05
    refuses_data: float = 0.03
    refuses_content: float = 0.03
    drops_untaken: float = 0.02  # cuts the connection behind the dot, and has not kept the message
    drops_taken: float = 0.02  # the same, and has kept it: nobody but the site can know
    slow: float = 0.05
    longest_wait: float = 1.0


CALM = Temper(0, 0, 0, 0, 0, 0, 0, 0, 0)


class Site(ThreadedSite):
    """A running site; `temper` may be changed at any time."""

    def __init__(self, ledger: Ledger, seed: int, temper: Temper) -> None:
        self.ledger = ledger
        self.temper = temper
        self.refusals = 0
        self._rng = random.Random(seed)
        self._lock = Lock()
        super().__init__(_Session)

    def happens(self, chance: float) -> bool:
        """One throw of the dice."""
        with self._lock:
            return self._rng.random() < chance

    def wait(self) -> float:
        """How long the next message has to wait for its reply, in seconds."""
        if not self.happens(self.temper.slow):
            return 0.0
        with self._lock:
            return self._rng.uniform(0, self.temper.longest_wait)


class _Session(socketserver.StreamRequestHandler):
    server: Any  # it has the `Site`
    disable_nagle_algorithm = True
    timeout = 60

    def handle(self) -> None:
        site, self.began = self.server.site, time.time()
        self.asked = self.began
        if site.happens(site.temper.refuses_greeting):
            self._say(b"421 4.3.2 not now")
            return
        self._say(b"220 site.test ESMTP")
        self._recipients: list[str] = []
        with suppress(OSError):
            while (line := self.rfile.readline(4096)) and self._obeyed(line.rstrip(b"\r\n")):
                pass

    def _say(self, line: bytes) -> None:
        self.wfile.write(line + b"\r\n")

    def _refuses(self, chance: float, line: bytes) -> bool:
        if self.server.site.happens(chance):
            self.server.site.refusals += 1
            self._say(line)
            return True
        return False

    def _obeyed(self, line: bytes) -> bool:
        """Do as the command says; whether the connection goes on."""
        temper, verb = self.server.site.temper, line[:4].upper()
        if verb == b"EHLO":
            self._say(b"250-site.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 ENHANCEDSTATUSCODES")
        elif verb == b"MAIL":
            self._recipients, self.asked = [], time.time()
            if not self._refuses(temper.refuses_sender, b"451 4.7.1 not this sender now"):
                self._say(b"250 2.1.0 ok")
        elif verb == b"RCPT":
            if not self._refuses(temper.refuses_recipient, b"450 4.2.1 not this mailbox now"):
                found = _PATH.search(line)
                self._recipients.append(found[1].decode("ascii") if found else "")
                self._say(b"250 2.1.5 ok")
        elif verb == b"DATA":
            return self._take_content()
        elif verb == b"QUIT":
            self._say(b"221 2.0.0 bye")
            return False
        else:
            self._say(b"250 2.0.0 ok")
        return True

    def _take_content(self) -> bool:
        temper = self.server.site.temper
        if not self._recipients:
            self._say(b"503 5.5.1 no recipients")
            return True
        if self._refuses(temper.refuses_data, b"451 4.3.0 no content now"):
            return True
        self._say(b"354 go on")
        lines: list[bytes] = []
        while (line := self.rfile.readline()) != b".\r\n":
            if not line:
                return False
            lines.append(line[1:] if line.startswith(b".") else line)
        return self._judge(b"".join(lines))

    def _judge(self, content: bytes) -> bool:
        site, temper = self.server.site, self.server.site.temper
        time.sleep(site.wait())
        if site.happens(temper.drops_untaken):
            return False
        if self._refuses(temper.refuses_content, b"452 4.3.1 no room now"):
            return True
        lost = site.happens(temper.drops_taken)
        token, digest = token_and_digest(content)
        reply = Reply.LOST if lost else Reply.SENT
        now = time.time()
        site.ledger.arrive(
            Arrival(token, each, digest, self.began, self.asked, now, reply) for each in self._recipients
        )
        if lost:
            return False
        self._say(b"250 2.0.0 taken")
        site.ledger.spring(Side.SITE)
        return True
