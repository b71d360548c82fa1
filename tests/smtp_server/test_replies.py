"""The catalog of replies and the page rendered from it."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mta.smtp import message_replies
from mta.smtp.replies import CATALOG, render

PAGE = Path(__file__).parents[2] / "docs" / "replies.md"

# RFC 2034 4: these carry no enhanced code.
PLAIN = {
    "CHALLENGE",
    "CLOSED_GREETING",
    "GREETING",
    "GREETING_LMTP",
    "HELLO",
    "REFUSED_GREETING",
    "START_DATA",
    "SPOKE_EARLY",
}


class ReplyTests(SynchronousTestCase):
    def test_page_is_current(self) -> None:
        """docs/replies.md is what the catalog renders to; `python -m mta.smtp.replies` writes it anew."""
        self.assertEqual(render(), PAGE.read_text(encoding="utf-8"))

    def test_enhanced_codes(self) -> None:
        """Each reply carries an enhanced code of its own class, but greetings, hellos and 354 (RFC 2034 4)."""
        for name, entry in CATALOG.items():
            if name in PLAIN:
                self.assertIsNone(entry.enhanced, name)
            else:
                self.assertEqual(str(entry.code)[0], (entry.enhanced or "")[:1], name)

    def test_codes(self) -> None:
        """Only codes of RFC 5321 4.2.3 are sent, and those of RFC 1985, RFC 3207, RFC 4954 and RFC 7504."""
        base = "211 214 220 221 250 251 252 354 421 450 451 452 455 500 501 502 503 504 550 551 552 553 554 555"
        auth = "235 334 454 530 535 538"
        extensions = {*map(int, auth.split()), 458, 459, 521, 556}
        self.assertLessEqual({entry.code for entry in CATALOG.values()}, {*map(int, base.split()), *extensions})

    def test_length(self) -> None:
        """A reply line has at most 512 octets, also with the longest address in it (RFC 5321 4.5.3.1.5)."""
        longest = "x" * 256
        for name, entry in CATALOG.items():
            fields = dict.fromkeys(re.findall(r"{(\w+)}", entry.text), longest)
            self.assertLessEqual(len(entry.fill(**fields).encode()), 512, name)

    def test_texts_and_meanings(self) -> None:
        """Every entry says what it means in a sentence, and names its source."""
        for name, entry in CATALOG.items():
            self.assertTrue(entry.meaning.endswith("."), name)
            self.assertTrue(entry.source.startswith("RFC "), name)

    def test_wire(self) -> None:
        """A reply without fields is ready for the wire."""
        self.assertEqual(b"250 2.1.5 Ok\r\n", message_replies.RECIPIENT_OK.wire)
        self.assertEqual(b"250 2.0.0 Ok: queued as X\r\n", message_replies.QUEUED.fill(queue_id="X").encode())
