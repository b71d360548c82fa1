"""Chunks over the whole server: every split, answers that have to wait, faults (RFC 3030)."""

from __future__ import annotations

import sqlite3

from twisted.trial.unittest import SynchronousTestCase

from mta.spool.errors import SpoolError
from tests.server.fakes import Site, codes

ENVELOPE = b"MAIL FROM:<a@b.test>\r\nRCPT TO:<alice@local.test>\r\n"

WIRE = (
    ENVELOPE + b"BDAT 6\r\nQUIT\r\nBDAT 0\r\nBDAT 5 LAST\r\n.\r\n\r\n"  # one message
    b"MAIL FROM:<>\r\nBDAT 6\r\nRSET\r\n"  # no recipient
     + ENVELOPE + b"BDAT 2\r\nx\r"  # a line end between two chunks
    b"BDAT 1\r\n\nRSET\r\n" + ENVELOPE + b"BDAT 3 LAST\r\na\nb" + ENVELOPE + b"BDAT 2 LAST\r\n\r\nQUIT\r\n"
)
CODES = [*["250"] * 6, "554", *["250"] * 7, "550", *["250"] * 3, "221"]
CONTENTS = [b"QUIT\r\n.\r\n\r\n", b"\r\n"]


class ChunkTests(SynchronousTestCase):
    def test_every_split(self) -> None:
        """However the stream is cut, and however slow the spool, replies and messages are the same (invariant 2)."""
        for slow in (False, True):
            for cut in range(-1, len(WIRE)):
                site = Site()
                site.spool.slow = slow
                client = site.hello()
                pieces = [WIRE[at : at + 1] for at in range(len(WIRE))] if cut < 0 else [WIRE[:cut], WIRE[cut:]]
                heard = b""
                for piece in pieces:
                    heard += client.say(piece)
                    while site.spool.waiting:
                        site.spool.finish()
                        heard += client.heard()
                self.assertEqual(CODES, codes(heard), (slow, cut, heard))
                self.assertEqual(CONTENTS, site.spool.contents, (slow, cut))
                self.assertFalse(client.open)

    def test_full_spool_holds_the_peer(self) -> None:
        """While the spool wants no more, nothing is read and nothing is answered, also behind a chunk."""
        site = Site()
        site.spool.full = True
        client = site.hello()
        self.assertEqual(["250", "250"], client.codes(ENVELOPE + b"BDAT 1\r\nxBDAT 1 LAST\r\ny"))
        site.spool.make_room()
        self.assertEqual(["250"], client.codes(b""))
        site.spool.make_room()
        self.assertEqual(["250"], client.codes(b""))
        self.assertEqual([b"xy"], site.spool.contents)

    def test_dropped(self) -> None:
        """RSET, EHLO, QUIT and a lost connection between two chunks leave nothing in the spool."""
        for end in (b"RSET\r\n", b"EHLO x\r\n", b"QUIT\r\n", b""):
            site = Site()
            client = site.hello()
            client.say(ENVELOPE + b"BDAT 4\r\nhalf")
            client.say(end)
            if not end:
                client.vanish()
            self.assertTrue(site.spool.received[0].aborted, end)
            self.assertEqual([], site.spool.committed)

    def test_refused_chunks_are_not_kept(self) -> None:
        """Nothing of a chunk that is refused is written, however large it says to be."""
        site = Site()
        client = site.hello()
        client.say(b"BDAT 99999999999999999999\r\n")
        for _ in range(10):
            self.assertEqual(b"", client.say(b"QUIT\r\n" * 1000))
        self.assertTrue(client.open)
        self.assertEqual([], site.spool.received)

    def test_faults(self) -> None:
        """When the spool can't make a place, the chunk is read all the same, and answered 451."""
        site = Site()
        client = site.hello()

        def broken(_message: int) -> None:
            raise RuntimeError("broken")

        site.spool.receive = broken  # type: ignore[method-assign, assignment]
        self.assertEqual(["250", "250", "451", "250"], client.codes(ENVELOPE + b"BDAT 6 LAST\r\nQUIT\r\nNOOP\r\n"))
        self.assertEqual(1, len(self.flushLoggedErrors(RuntimeError)))


class DiskFullTests(SynchronousTestCase):
    def test_commit(self) -> None:
        """A commit that fails for want of room is 452 4.3.1, for any other reason 451 4.3.0 (RFC 3463 3.4)."""
        full = SpoolError("spool: the batch failed")
        full.__cause__ = sqlite3.OperationalError("database or disk is full")
        out_of_space = SpoolError("spool: cannot write")
        out_of_space.__cause__ = OSError(28, "No space left on device")
        for fault, reply in (
            (SpoolError("spool: database or disk is full"), b"452 4.3.1"),
            (full, b"452 4.3.1"),
            (out_of_space, b"452 4.3.1"),
            (SpoolError("spool: it is closed"), b"451 4.3.0"),
        ):
            site = Site()
            site.spool.committing = fault
            client = site.hello()
            client.say(ENVELOPE)
            self.assertEqual(reply, client.say(b"BDAT 2 LAST\r\n\r\n")[:9])
            self.assertEqual(["250"], client.codes(b"MAIL FROM:<>\r\n"))

    def test_lmtp(self) -> None:
        """In LMTP each recipient hears of it (RFC 2033 4.2)."""
        site = Site(role="lmtp")
        site.spool.committing = SpoolError("spool: database or disk is full")
        client = site.connect()
        client.say(b"LHLO x\r\n")
        client.say(ENVELOPE + b"RCPT TO:<bob@local.test>\r\nDATA\r\n")
        self.assertEqual(["452", "452"], client.codes(b".\r\n"))
