"""The file that a queue moves in."""

from __future__ import annotations

import io
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.archive import ArchiveError, ArchiveWriter, Stored, read
from mta.history import history_from
from mta.ids import spell

MESSAGES: list[tuple[dict[str, Any], bytes]] = [
    ({"id": "A", "recipients": ["é"]}, b"Subject: x\r\n\r\nhello\r\n"),
    ({"id": "B"}, b""),
    ({}, b"\n{}\n" * 9),
]
PAST: dict[str, Any] = {
    "address": "bob@x.test",
    "state": "queued",
    "due": 5.5,
    "attempts": 2,
    "last_reply": "450 later",
    "code": "450 4.0.0",
    "in_doubt": False,
    "details": {"notify": ["NEVER"]},
}
WORDS: dict[str, Any] = {
    "id": spell(7),
    "arrived": 1.5,
    "sender": "",
    "body": "8BITMIME",
    "details": {},
    "recipients": [PAST],
}


def written(messages: list[tuple[dict[str, Any], bytes]]) -> bytes:
    file = io.BytesIO()
    writer = ArchiveWriter(file)
    writer.begin("abc", {"hostname": "mx.test"})
    for words, content in messages:
        writer.message(words, len(content))
        writer.content(content[:3])
        writer.content(content[3:])
        writer.message_ended()
    writer.end()
    return file.getvalue()


def read_back(data: bytes) -> list[tuple[dict[str, Any], bytes]]:
    _head, *stored = read(io.BytesIO(data))
    found = [item for item in stored if isinstance(item, Stored)]
    return [(dict(item.words), data[item.offset : item.offset + item.size]) for item in found]


class ArchiveTests(SynchronousTestCase):
    def test_comes_back(self) -> None:
        """What was written is read back, whatever the content holds; an empty archive as well."""
        for messages in ([], MESSAGES):
            self.assertEqual(messages, read_back(written(messages)))

    def test_torn_anywhere(self) -> None:
        """However an archive is cut, it is refused with the place, and never with another error."""
        whole = written(MESSAGES)
        for end in range(len(whole)):
            self.assertIn("octet", str(self.assertRaises(ArchiveError, read_back, whole[:end])))
        self.assertRaises(ArchiveError, read_back, whole + b"x")

    @settings(deadline=None, max_examples=200, derandomize=True)
    @given(st.integers(0, 10_000), st.integers(1, 255))
    def test_changed_anywhere(self, place: int, change: int) -> None:
        """An octet that is another is refused, but for the words in the head that are for people."""
        whole = bytearray(written(MESSAGES))
        place %= len(whole)
        whole[place] ^= change
        try:
            found = read_back(bytes(whole))
        except ArchiveError:
            return
        self.assertEqual(MESSAGES, found)
        self.assertLess(place, bytes(whole).index(b"\n"))

    def test_dropped(self) -> None:
        """A message that went away while it was written leaves nothing behind."""
        file = io.BytesIO()
        writer = ArchiveWriter(file)
        writer.begin("abc", {})
        writer.message({"id": "gone"}, 10)
        writer.content(b"half")
        writer.message_dropped()
        writer.message({"id": "B"}, 1)
        writer.content(b"x")
        writer.message_ended()
        writer.end()
        self.assertEqual([({"id": "B"}, b"x")], read_back(file.getvalue()))

    def test_other_files(self) -> None:
        """What is no archive, or of a newer version, is said to be so."""
        for data, words in (
            (b"", "ends"),
            (b"From me\n", "not a line"),
            (b'{"format": "tar", "version": 1}\n', "no archive"),
            (written([]).replace(b'"version": 1', b'"version": 2'), "version 2"),
        ):
            self.assertIn(words, str(self.assertRaises(ArchiveError, read_back, data)))


class HistoryTests(SynchronousTestCase):
    def test_words_become_a_history(self) -> None:
        """The words of an archive give back what the recipient was."""
        history = history_from("abc", WORDS, "root", 9.0)
        (past,) = history.recipients
        self.assertEqual((7, 1.5, None), (history.message, history.arrived, history.sender))
        self.assertEqual(
            (5.5, 2, "450 later", {"notify": ["NEVER"]}), (past.due, past.attempts, past.last_reply, past.details)
        )

    def test_bad_words(self) -> None:
        """Whatever is missing or of another kind is one error."""
        for name in WORDS:
            for value in (None, 5, "?", [], [5]):
                if (name, value) != ("arrived", 5):
                    self.assertRaises(ValueError, history_from, "abc", {**WORDS, name: value}, "root", 9.0)
        for name in ("address", "state", "due", "attempts", "details"):
            self.assertRaises(
                ValueError, history_from, "abc", {**WORDS, "recipients": [{**PAST, name: "?"}]}, "root", 9.0
            )
        self.assertRaises(ValueError, history_from, "abc", {**WORDS, "recipients": [PAST, PAST]}, "root", 9.0)
        self.assertRaises(ValueError, history_from, "", WORDS, "root", 9.0)
