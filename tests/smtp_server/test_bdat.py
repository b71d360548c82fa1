"""Content in chunks (RFC 3030)."""

from __future__ import annotations

import unittest

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.envelope import Body
from mta.smtp.bdat import ChunkDecoder
from mta.smtp.questions import StartChunk
from mta.smtp.server import ServerSession
from mta.smtp.stages import Stage
from tests.smtp_server.test_session import IN_RCPT, TERMS, Peer


def decoded(chunks: list[bytes], size: int, binary: bool = False, normalize: bool = False) -> tuple[bytes, bool, bool]:
    """The content, and whether it has bare newlines and long lines, fed in pieces of `size` with a command behind."""
    decoder = ChunkDecoder(binary, normalize)
    content = b""
    for number, chunk in enumerate(chunks):
        decoder.begin(len(chunk), number == len(chunks) - 1)
        wire = chunk + b"NOOP\r\n"
        at = 0
        while not decoder.finished:
            content += decoder.feed(wire[at : at + size])
            at += size
        assert (decoder.rest + wire[at:]) == b"NOOP\r\n", (chunk, size)
    return content, decoder.bare_newlines, decoder.long_line


def chunk(peer: Peer, command: bytes, data: bytes, hops: int = 0) -> bytes:
    """The reply to a chunk."""
    asked = peer.session.line(command, bool(data))
    if isinstance(asked, bytes):
        return asked
    assert isinstance(asked, StartChunk)
    if data:
        peer.content += peer.session.content(data)
    assert peer.session.ended, command
    answer = peer.session.end_of_data(hops)
    if isinstance(answer, bytes):
        return answer
    peer.committed.append(answer.envelope)
    return peer.session.queued("0123456789ABC")


class DecoderTests(unittest.TestCase):
    @given(st.lists(st.binary(min_size=1, max_size=30), min_size=1, max_size=5), st.integers(1, 40))
    @settings(max_examples=300, deadline=None, derandomize=True)
    def test_binary(self, chunks: list[bytes], size: int) -> None:
        """Binary content passes byte for byte, however chunks and pieces are cut (RFC 3030 3)."""
        self.assertEqual((b"".join(chunks), False, False), decoded(chunks, size, binary=True))

    @given(
        st.lists(st.text("ab\r\n.", min_size=1, max_size=12).map(str.encode), min_size=1, max_size=5),
        st.integers(1, 15),
        st.booleans(),
    )
    @settings(max_examples=500, deadline=None, derandomize=True)
    def test_text(self, chunks: list[bytes], size: int, normalize: bool) -> None:
        """Of text, what is a line end does not depend on how it was cut into chunks or pieces."""
        whole = b"".join(chunks)
        self.assertEqual(decoded([whole], len(whole), normalize=normalize), decoded(chunks, size, normalize=normalize))

    def test_verdicts(self) -> None:
        """Text keeps its bytes; bare newlines, one at the very end too, and long lines are noted."""
        for content, bare, long_line in (
            (b"a\r\n.\r\nb", False, False),
            (b"a\rb", True, False),
            (b"a\nb", True, False),
            (b"a\r", True, False),
            (b"x" * 1998 + b"\r\n", False, False),
            (b"x" * 1999 + b"\r\n", False, True),
        ):
            for cut in range(1, len(content)):
                self.assertEqual((content, bare, long_line), decoded([content[:cut], content[cut:]], 7), content[:9])


class SessionTests(SynchronousTestCase):
    def test_message(self) -> None:
        """Chunks are taken one by one, dots and all, and the last one ends the message (RFC 3030 2, 4.1)."""
        peer = Peer().ready(*IN_RCPT)
        self.assertEqual(b"250 2.0.0 5 octets received\r\n", chunk(peer, b"BDAT 5", b"..\r\n."))
        self.assertEqual(Stage.CHUNKS, peer.session.stage)
        self.assertEqual(b"250 2.0.0 0 octets", chunk(peer, b"bdat  0", b"")[:18])
        self.assertEqual(b"250 2.0.0 Ok: queued", chunk(peer, b"BDAT 4 last", b"\r\n\r\n")[:20])
        self.assertEqual(b"..\r\n.\r\n\r\n", peer.content)
        self.assertEqual("250 2.1.0", peer.code(b"MAIL FROM:<>"))

    def test_empty_last_chunk(self) -> None:
        """BDAT 0 LAST ends a message, an empty one too (RFC 3030 2)."""
        for before in ((), ((b"BDAT 2", b"\r\n"),)):
            peer = Peer().ready(*IN_RCPT)
            for command, data in before:
                chunk(peer, command, data)
            self.assertEqual(b"250 2.0.0 Ok: queued", chunk(peer, b"BDAT 0 LAST", b"")[:20])

    def test_misplaced(self) -> None:
        """A chunk that can't be taken is read all the same, refused, and ends the transaction (RFC 3030 2)."""
        for before, code, after in (
            ((), b"503 5.5.1", "250 2.1.0"),
            ((b"MAIL FROM:<>",), b"554 5.5.1", "250 2.1.0"),
        ):
            peer = Peer().ready(*before)
            self.assertEqual(code, chunk(peer, b"BDAT 6", b"QUIT\r\n")[:9])
            self.assertEqual(b"503 5.5.1", chunk(peer, b"BDAT 6 LAST", b"QUIT\r\n")[:9])
            self.assertEqual(after, peer.code(b"MAIL FROM:<>"))
            self.assertEqual(b"", peer.content)
        fresh = Peer()
        self.assertEqual(b"503 5.5.1 Send EHLO", chunk(fresh, b"BDAT 0 LAST", b"")[:19])
        self.assertEqual("503 5.5.1", fresh.code(b"MAIL FROM:<>"))

    def test_between_chunks(self) -> None:
        """Between chunks only what does not touch the envelope is taken; RSET and EHLO drop the message."""
        for line, code, stage in (
            (b"MAIL FROM:<>", "503 5.5.1", Stage.CHUNKS),
            (b"RCPT TO:<c@d.test>", "503 5.5.1", Stage.CHUNKS),
            (b"DATA", "503 5.5.1", Stage.CHUNKS),  # RFC 3030 2
            (b"NOOP", "250 2.0.0", Stage.CHUNKS),
            (b"RSET", "250 2.0.0", Stage.READY),
            (b"QUIT", "221 2.0.0", Stage.CLOSED),
        ):
            peer = Peer().ready(*IN_RCPT)
            chunk(peer, b"BDAT 1", b"x")
            self.assertEqual(code, peer.code(line), line)
            self.assertEqual(stage, peer.session.stage, line)
            self.assertEqual(stage is Stage.CHUNKS, peer.session.in_transaction)

    def test_binary_with_data(self) -> None:
        """BODY=BINARYMIME can't go with DATA; the transaction stays, for BDAT (RFC 3030 3)."""
        peer = Peer().ready(b"MAIL FROM:<> BODY=BINARYMIME", b"RCPT TO:<c@d.test>")
        self.assertEqual("503 5.5.1", peer.code(b"DATA"))
        self.assertEqual(b"250", chunk(peer, b"BDAT 7 LAST", b"\x00\r\n\n\r\xff.")[:3])
        self.assertEqual((b"\x00\r\n\n\r\xff.", Body.BINARY_MIME), (peer.content, peer.committed[0].body))

    def test_refused_content(self) -> None:
        """Text is held to the same as behind DATA, and the reply comes behind the chunk that shows what is wrong."""
        for command, data, hops, code in (
            (b"BDAT 3", b"a\nb", 0, b"550 5.5.2"),
            (b"BDAT 1 LAST", b"\r", 0, b"550 5.5.2"),
            (b"BDAT 2001", b"x" * 2001, 0, b"500 5.6.0"),
            (b"BDAT 10001", b"x\r\n" * 3333 + b"\r\n", 0, b"552 5.3.4"),
            (b"BDAT 1 LAST", b"x", 51, b"554 5.4.6"),
        ):
            peer = Peer().ready(*IN_RCPT)
            self.assertEqual(code, chunk(peer, command, data, hops)[:9], command)
            self.assertFalse(peer.session.in_transaction)
            self.assertEqual(b"503 5.5.1", chunk(peer, b"BDAT 0 LAST", b"")[:9])

    def test_too_large(self) -> None:
        """A chunk that makes the message too large is not kept, from its first octet on; sizes add up."""
        peer = Peer().ready(*IN_RCPT)
        half = TERMS.message_size // 2
        chunk(peer, b"BDAT %d" % half, (b"x" * 98 + b"\r\n") * (half // 100))
        peer.session.line(b"BDAT 99999999999999999999", False)
        self.assertTrue(peer.session.condemned)
        self.assertEqual(b"", peer.session.content(b"x"))
        self.assertFalse(peer.session.ended)

    def test_malformed(self) -> None:
        """Where a chunk ends can't be known, the connection is closed: nothing behind it is a command."""
        wellformed = (b"BDAT", b"BDAT x", b"BDAT 1 2", b"BDAT 1 LAST x", b"BDAT " + b"9" * 21)
        for line in (*wellformed, b"BDAT 1 \xe9", b"bdat\t1\x00", b"BDAT 1\nLAST", b"BDAT\x001"):
            peer = Peer().ready(*IN_RCPT)
            self.assertEqual("501 5.5.4", peer.code(line))
            self.assertTrue(peer.session.closed)
        peer = Peer().ready(*IN_RCPT)
        self.assertEqual(b"501 5.5.4", peer.session.line_too_long(b"BDAT 1" + b" " * 3000)[:9])
        self.assertTrue(peer.session.closed)

    def test_unwanted(self) -> None:
        """A client that may only quit loses its connection with a chunk: nothing in it is a command."""
        session = ServerSession(TERMS, unwanted=True)
        reply = session.line(b"BDAT 6 LAST", False)
        assert isinstance(reply, bytes)
        self.assertEqual((b"503 5.7.1", True), (reply[:9], session.closed))

    def test_not_bdat(self) -> None:
        """A line that only begins like it is any bad line."""
        for line in (b"BDATA \xe9", b"BDAT9\x00"):
            peer = Peer().ready(*IN_RCPT)
            self.assertEqual("500", peer.code(line)[:3])
            self.assertFalse(peer.session.closed)
