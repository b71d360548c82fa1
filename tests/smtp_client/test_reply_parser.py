"""Replies from bytes, however they are cut."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.reply import Reply
from mta.smtp.reply_parser import MAX_LINE, MAX_LINES, ReplyError, ReplyParser


def parse(*pieces: bytes) -> list[Reply | str]:
    """All replies in `pieces`, and "error" where they end in one."""
    parser, seen = ReplyParser(), list[Reply | str]()
    for piece in pieces:
        parser.feed(piece)
        try:
            while (reply := parser.next_reply()) is not None:
                seen.append(reply)
        except ReplyError:
            return [*seen, "error"]
    return seen


GOOD = (
    ("RFC 5321 4.2: a code and text", b"250 Ok\r\n", Reply(250, ("Ok",))),
    ("RFC 5321 4.2: a code alone", b"250\r\n", Reply(250, ("",))),
    ("RFC 5321 4.2: a code and a space", b"354 \r\n", Reply(354, ("",))),
    ("RFC 5321 4.2.1: several lines", b"250-a\r\n250-b\r\n250 c\r\n", Reply(250, ("a", "b", "c"))),
    ("RFC 5321 4.2.1: a last line without text", b"250-a\r\n250\r\n", Reply(250, ("a", ""))),
    ("RFC 2034 4: the enhanced code", b"550 5.1.1 no such user\r\n", Reply(550, ("no such user",), "5.1.1")),
    ("RFC 2034 4: on each line", b"550-5.7.1 go\r\n550 5.7.1 away\r\n", Reply(550, ("go", "away"), "5.7.1")),
    ("RFC 2034 4: of another class, it is text", b"550 4.1.1 odd\r\n", Reply(550, ("4.1.1 odd",))),
    ("a bare LF ends a line", b"250-a\n250 b\n", Reply(250, ("a", "b"))),
    ("more than one CR before the LF", b"250 a\r\r\n", Reply(250, ("a",))),
    ("text in UTF-8", "550 nein, größer\r\n".encode(), Reply(550, ("nein, größer",))),
    ("text in no encoding", b"550 n\xe9\r\n", Reply(550, ("n�",))),
    (
        "controls, escapes and line ends of Unicode",
        "550 a\x00\x1b[2J\rb\u2028c\r\n".encode(),
        Reply(550, ("a??[2J?b?c",)),
    ),
)

BAD = (
    ("no code", b"Hello\r\n"),
    ("an empty line", b"\r\n"),
    ("1yz is no reply of SMTP", b"150 wait\r\n"),
    ("6yz is none either", b"650 what\r\n"),
    ("a code of four digits", b"2500 Ok\r\n"),
    ("digits of another script", "٢٥٠ Ok\r\n".encode()),
    ("a code that changes between lines (RFC 5321 4.2.1)", b"250-a\r\n550 b\r\n"),
    ("a line without end", b"250 " + b"x" * MAX_LINE),
    ("a long line with its end", b"250 " + b"x" * MAX_LINE + b"\r\n"),
    ("too many lines", b"250-x\r\n" * (MAX_LINES + 1)),
    ("too many octets", (b"250-" + b"x" * 10_000 + b"\r\n") * 7),
)


class ReplyParserTests(SynchronousTestCase):
    def test_good(self) -> None:
        """Each well-formed or tolerable reply has its value."""
        for clause, wire, expected in GOOD:
            self.assertEqual([expected], parse(wire), clause)

    def test_bad(self) -> None:
        """What is no reply is an error, and so is what is too long for one."""
        for what, wire in BAD:
            self.assertEqual(["error"], parse(wire), what)

    def test_every_split(self) -> None:
        """However the network cuts the stream, the same replies come out, and the same error behind them."""
        wire = b"".join(wire for _, wire, _ in GOOD) + b"250-a\r\n251 b\r\n"
        expected: list[Reply | str] = [reply for _, _, reply in GOOD]
        expected.append("error")
        for cut in range(len(wire) + 1):
            self.assertEqual(expected, parse(wire[:cut], wire[cut:]), cut)
        self.assertEqual(expected, parse(*(wire[at : at + 1] for at in range(len(wire)))))

    def test_limits_hold_at_every_split(self) -> None:
        """A line one octet shorter than the limit passes and one at it does not, in one piece as in many."""
        for extra, expected in ((0, 1), (1, 0)):
            wire = b"250 " + b"x" * (MAX_LINE - 6 + extra) + b"\r\n"
            for size in (len(wire), 1000, 7):
                pieces = [wire[at : at + size] for at in range(0, len(wire), size)]
                replies = [reply for reply in parse(*pieces) if reply != "error"]
                self.assertEqual(expected, len(replies), (extra, size))

    def test_limits_are_of_one_reply(self) -> None:
        """A connection may carry any number of replies, each within the limits."""
        wire = (b"250-" + b"x" * 9_000 + b"\r\n") * 5 + b"250 end\r\n"
        self.assertEqual(20, len([reply for reply in parse(*[wire] * 20) if reply != "error"]))

    def test_replies_before_an_error_are_not_lost(self) -> None:
        """A good reply in the same bytes as nonsense is still taken first."""
        self.assertEqual([Reply(250, ("Ok",)), "error"], parse(b"250 Ok\r\nnonsense\r\n"))

    def test_error_text_is_short_and_printable(self) -> None:
        """The text of an error can stand in a log whatever the server sent."""
        parser = ReplyParser()
        parser.feed(b"\x1b[2J\n\xff" * 3000 + b"\n")
        error = self.assertRaises(ReplyError, parser.next_reply)
        self.assertTrue(str(error).isascii() and str(error).isprintable())
        self.assertLess(len(str(error)), 400)

    @settings(max_examples=200, derandomize=True, deadline=None)
    @given(st.lists(st.one_of(st.binary(max_size=40), st.sampled_from([b"250 ok\r\n", b"250-", b"\r\n", b"55"]))))
    def test_any_bytes(self, pieces: list[bytes]) -> None:
        """Any bytes give replies or the one error, the same in one piece as in many."""
        self.assertEqual(parse(b"".join(pieces)), parse(*pieces))
