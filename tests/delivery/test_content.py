"""Reading content piece by piece."""

from __future__ import annotations

from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from mta.delivery.content import PIECE, ContentError, ContentProducer, ContentReader
from tests.delivery.material import Content


class ReaderTests(SynchronousTestCase):
    def test_all_chunks(self) -> None:
        """All chunks come in order, then nothing; and nothing is asked for behind the last one."""
        content = Content(b"abcdefg", 3)
        reader = ContentReader(content)
        chunks = [self.successResultOf(reader.next_chunk()) for _ in range(5)]
        self.assertEqual([b"abc", b"def", b"g", b"", b""], chunks)
        self.assertEqual([0, 1, 2], content.read)

    def test_cut_short(self) -> None:
        """Content that ends before its size is an error: it must not pass for a whole message."""
        content = Content(b"abc", 3)
        content.size = 4
        reader = ContentReader(content)
        self.successResultOf(reader.next_chunk())
        self.failureResultOf(reader.next_chunk(), ContentError)


class ProducerTests(SynchronousTestCase):
    def produce(self, content: Content) -> ContentProducer:
        self.sent: list[bytes] = []
        self.ends: list[str | Failure] = []
        return ContentProducer(content, self.sent.append, lambda: self.ends.append("ended"), self.ends.append)

    def test_pieces(self) -> None:
        """Each request gives one piece, never more than a piece's size, and the end comes once."""
        data = bytes(range(256)) * 1000
        producer = self.produce(Content(data, 100_000))
        for _ in range(20):
            before = len(self.sent)
            producer.resumeProducing()
            self.assertLessEqual(len(self.sent), before + 1)
        self.assertEqual(data, b"".join(self.sent))
        self.assertLessEqual(max(map(len, self.sent)), PIECE)
        self.assertEqual(["ended"], self.ends)

    def test_stopped(self) -> None:
        """A chunk that arrives after the end goes nowhere, whether it could be read or not."""
        for broken in (None, 0):
            content = Content(b"abc", 3, broken)
            content.held = []
            producer = self.produce(content)
            if broken is None:
                producer.resumeProducing()
                producer.stopProducing()
                content.release()
            else:
                producer.stopProducing()
                producer.resumeProducing()
            self.assertEqual(([], []), (self.sent, self.ends))

    def test_a_bug_in_sending(self) -> None:
        """An exception while a piece is sent is reported once, and ends it."""
        ends: list[object] = []

        def send(data: bytes) -> None:
            raise KeyError(data)

        producer = ContentProducer(Content(b"abc", 3), send, lambda: ends.append("ended"), ends.append)
        producer.resumeProducing()
        producer.resumeProducing()
        (fault,) = ends
        assert isinstance(fault, Failure)
        self.assertTrue(fault.check(KeyError))
