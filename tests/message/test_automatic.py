"""Which mail nobody waits for."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mta.message.automatic import is_automatic


class AutomaticTests(SynchronousTestCase):
    def test_table(self) -> None:
        """RFC 3834 5, RFC 2919, RFC 2369: fields of programs and lists; a person's mail has none of them."""
        table = {
            b"Subject: hi": False,
            b"Auto-Submitted: no": False,
            b"Auto-Submitted: No (really); x=y": False,
            b"auto-submitted: auto-replied": True,
            b"Auto-Submitted: auto-generated; x=no": True,
            b"Auto-Submitted:": True,
            b"Precedence: first-class": False,
            b"Precedence:\r\n Bulk": True,
            b"PRECEDENCE: list": True,
            b"Precedence: junk": True,
            b"List-Id: <announce.example.org>": True,
            b"List-Post: NO": True,
            b"List-Unsubscribe: <mailto:x@example.org>": True,
            b"X-List-Id: none": False,
            b"": False,
        }
        for line, expected in table.items():
            self.assertEqual(is_automatic(b"From: a@b.test\r\n" + line + b"\r\n"), expected, line)
