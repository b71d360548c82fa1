"""Past findings of the fuzzer, and the seeds of its corpus, through their targets once more."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from twisted.trial.unittest import SynchronousTestCase

from fuzz.finding import CORPUS, TooSlow, bounded, failure, find, keep, names, smaller
from fuzz.input import STRETCHED, cut, segmentations, text


class CorpusTests(SynchronousTestCase):
    def test_each_input_holds(self) -> None:
        """No input that once broke a property, or took too long, does so again."""
        for name in names():
            target = find(name)
            for path in sorted((CORPUS / name).iterdir()):
                error = failure(target, path.read_bytes())
                self.assertIsNone(error, f"python -m fuzz replay {path.relative_to(CORPUS.parent.parent)}: {error!r}")

    def test_each_folder_has_its_target(self) -> None:
        """A folder without a target would never be replayed, a target without seeds starts from nothing."""
        self.assertEqual(names(), sorted(path.name for path in CORPUS.iterdir()))
        for name in names():
            self.assertTrue(any((CORPUS / name).iterdir()), name)

    def test_inputs_are_small(self) -> None:
        """Each file is one that a person can read."""
        for path in CORPUS.rglob("*"):
            self.assertTrue(path.is_dir() or path.stat().st_size <= 4096, path)


def fragile(data: bytes) -> None:
    """Fails for two octets, in this order, anywhere."""
    first = data.find(b"A")
    if first >= 0 and data.find(b"B", first) >= 0:
        raise ValueError("A and B")


class FindingTests(SynchronousTestCase):
    def test_smaller(self) -> None:
        """Of a finding only that is kept which it takes."""
        self.assertEqual(b"AB", smaller(fragile, b"xxBxxxAyyyyyyyByBBzzAz"))

    def test_failure(self) -> None:
        """Any exception is a failure."""
        self.assertIsInstance(failure(fragile, b"AB"), ValueError)
        self.assertIsNone(failure(fragile, b"BA"))

    def test_bound_of_time(self) -> None:
        """What does not end is stopped, by the time of the processor and not by that of the clock."""

        def endless() -> None:
            with bounded(0.02):
                while True:
                    pass

        self.assertRaises(TooSlow, endless)

    def test_kept_by_content(self) -> None:
        """The same finding has the same file, below the name of its target."""
        with TemporaryDirectory() as folder:
            paths = [keep("dots", b"\x00harmless", Path(folder)) for _ in range(2)]
            self.assertEqual(paths[0], paths[1])
            self.assertEqual("dots", paths[0].parent.name)
            self.assertEqual(b"\x00harmless", paths[0].read_bytes())


class InputTests(SynchronousTestCase):
    def test_pieces_are_the_whole(self) -> None:
        """However an input is cut, nothing of it is lost."""
        for size in (0, 1, 100, 5000):
            data = bytes(number % 251 for number in range(size))
            for seed in range(20):
                self.assertEqual(data, b"".join(cut(data, seed)))
            for pieces in segmentations(data, 1):
                self.assertEqual(data, b"".join(pieces))

    def test_plain_and_stretched(self) -> None:
        """Text stands for itself, or for a long one with a unit of it repeated."""
        self.assertEqual(b"abc", text(b"0abc"))
        long = text(b"\xff\x01\x02xabz")
        self.assertEqual(b"xab", long[:3])
        self.assertEqual(b"abz", long[-3:])
        self.assertTrue(STRETCHED - 2 <= len(long) <= STRETCHED)
        for short in (b"", b"\xff", b"\xff\x01\x02", b"\xff\x09\x02abc"):
            self.assertLessEqual(len(text(short)), 3)
