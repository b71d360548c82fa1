"""Content by BDAT: RFC 3030."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.envelope import Body
from mta.outcome import Deferral, Phase
from mta.smtp.client_content import Chunks
from mta.smtp.client_stage import Stage
from tests.smtp_client.dialogue import CONTENT, ONE, PIPELINES, TWO, Dialogue, brief, greeted

OK = b"250 2.0.0 Ok\r\n"
NO = b"550 5.1.1 no such user\r\n"
CHUNKING = PIPELINES.replace(b"250 E", b"250-CHUNKING\r\n250-BINARYMIME\r\n250 E")
UNPIPELINED = CHUNKING.replace(b"250-PIPELINING\r\n", b"")
CLOSES = b"421 4.3.2 closing\r\n"


def chunking(hello: bytes = CHUNKING, *, size: int = 9, body: Body = Body.SEVEN_BIT) -> Dialogue:
    """A dialogue that may send its content: nine octets for ONE and TWO."""
    dialogue = greeted(hello, hold_content=True, bdat=True).begin((ONE, TWO), size=size, body=body)
    for _ in range(1 if hello is CHUNKING else 3):
        dialogue.hear(OK * 3 if hello is CHUNKING else OK)
    return dialogue


def send(dialogue: Dialogue, *pieces: bytes, end: bool = True) -> bytes:
    """What goes out for these pieces."""
    dialogue.turn = b""
    for piece in pieces:
        dialogue.session.send_content(piece)
        dialogue.settle()
    if end:
        dialogue.session.end_content()
        dialogue.settle()
    return dialogue.turn


class CommandTests(SynchronousTestCase):
    def test_whole(self) -> None:
        """A message at hand is one last chunk, without dots, DATA or a wait for an invitation (RFC 3030 2)."""
        dialogue = greeted(CHUNKING, bdat=True).begin()
        self.assertNotIn(b"DATA", dialogue.turn)
        dialogue.hear(OK + OK)
        self.assertEqual(b"BDAT %d LAST\r\n" % len(CONTENT) + CONTENT, dialogue.turn)
        dialogue.hear(OK)
        self.assertEqual("delivered", brief(dialogue.done.outcomes[ONE]))
        self.assertIs(Stage.READY, dialogue.session.stage)

    def test_pieces(self) -> None:
        """Each piece is a chunk, sent without a wait for the reply to the one before (RFC 3030 4.2)."""
        dialogue = chunking()
        self.assertEqual(b"BDAT 3\r\nabcBDAT 4\r\ndefgBDAT 2 LAST\r\nhi", send(dialogue, b"abc", b"defg", b"hi"))
        dialogue.hear(OK).hear(OK + OK)
        self.assertEqual(["delivered"] * 2, [brief(outcome) for outcome in dialogue.done.outcomes.values()])

    def test_empty(self) -> None:
        """A message without an octet is an empty last chunk (RFC 3030 2)."""
        for pieces in ((), (b"",)):
            self.assertEqual(b"BDAT 0 LAST\r\n", send(chunking(size=0), *pieces))

    def test_where_it_is_used(self) -> None:
        """BDAT is for servers that offer it, where we want it; binary content has no other way (RFC 3030 3)."""
        for hello, bdat, body, expected in (
            (CHUNKING, True, Body.SEVEN_BIT, True),
            (CHUNKING, False, Body.SEVEN_BIT, False),
            (PIPELINES, True, Body.SEVEN_BIT, False),
            (UNPIPELINED, True, Body.EIGHT_BIT_MIME, False),  # a wait for each chunk: DATA is quicker
            (CHUNKING, False, Body.BINARY_MIME, True),
            (UNPIPELINED, False, Body.BINARY_MIME, True),
        ):
            dialogue = greeted(hello, bdat=bdat).begin(body=body)
            while b"DATA\r\n" not in dialogue.sent and b"BDAT" not in dialogue.sent:
                dialogue.hear(OK * (2 if b"PIPELINING" in hello else 1))
            self.assertEqual(expected, b"BDAT" in dialogue.sent, (hello, bdat, body))

    def test_binary_without_pipelining(self) -> None:
        """A single chunk then holds all of a binary message, and no reply is awaited in between."""
        dialogue = chunking(UNPIPELINED, body=Body.BINARY_MIME)
        self.assertIn(b"BODY=BINARYMIME", dialogue.sent)
        self.assertEqual(b"BDAT 9 LAST\r\na\nb\rc\0\xff..", send(dialogue, b"a\nb\r", b"c\0\xff.", b"."))
        dialogue.hear(OK)
        self.assertEqual("delivered", brief(dialogue.done.outcomes[ONE]))

    def test_binary_not_offered(self) -> None:
        """Binary content never goes to a server without BINARYMIME: it is returned (RFC 3030 3)."""
        for hello in (PIPELINES, PIPELINES.replace(b"250 E", b"250-BINARYMIME\r\n250 E")):
            dialogue = greeted(hello, bdat=True).begin(body=Body.BINARY_MIME)
            self.assertEqual(b"", dialogue.turn)
            self.assertEqual("failure 5.6.3", brief(dialogue.done.outcomes[ONE]))

    def test_nobody_accepted(self) -> None:
        """Without a recipient no chunk is sent."""
        for replies in (OK + NO + NO, NO + NO + NO):
            dialogue = greeted(CHUNKING, bdat=True).begin((ONE, TWO)).hear(replies)
            self.assertEqual(b"RSET\r\n", dialogue.turn)
            dialogue.hear(OK)
            self.assertEqual(["failure 5.1.1"] * 2, [brief(outcome) for outcome in dialogue.done.outcomes.values()])


# While the replies to "BDAT 3", "BDAT 3" and, where `all` were sent, "BDAT 3 LAST" are due: the server's turns, the
# outcome of ONE, whether another host may be asked at once, and whether the connection ends.
TROUBLE = (
    ("the first chunk refused", (b"552 5.3.4 big\r\n", NO, NO, OK), True, "failure 5.3.4", False, False),
    ("a chunk deferred", (OK, b"452 4.3.1 full\r\n", NO, OK), True, "deferral 4.3.1 message", False, False),
    ("the last chunk refused", (OK, OK, b"554 5.7.1 spam\r\n", OK), True, "failure 5.7.1", False, False),
    ("refused in between", (OK, b"552 5.3.4 big\r\n", OK), False, "failure 5.3.4", False, False),
    ("RSET refused after a chunk", (OK, NO, b"500 what\r\n"), False, "deferral 4.5.0 message", True, True),
    ("taken after a refusal", (OK, NO, OK), True, "deferral 4.5.0 message", False, True),
    ("3xx to a chunk", (b"354 go\r\n",), False, "deferral 4.5.0 message", True, True),
    ("3xx to a chunk, all sent", (b"354 go\r\n",), True, "deferral 4.5.0 message", False, True),
    ("closes in between", (OK,), False, "deferral 4.4.2 message", True, True),
    ("closes, all sent", (OK,), True, "deferral 4.4.2 message", False, True),
    ("closes before the last reply", (OK, OK), True, "deferral 4.4.2 message", False, True),
    ("421 in between", (OK, CLOSES), False, "deferral 4.3.2 site", True, True),
    ("421, all sent", (OK, CLOSES), True, "deferral 4.3.2 site", False, True),
    ("a reply too many in between", (OK, OK, NO), False, "failure 5.1.1", False, True),
    ("a 250 too many in between", (OK, OK, OK), False, "deferral 4.5.0 message", True, True),
)


class TroubleTests(SynchronousTestCase):
    def test_table(self) -> None:
        """A refused chunk is the end of the message but not of the connection; a doubt is a doubt (RFC 3030 2)."""
        for name, turns, complete, expected, elsewhere, ends in TROUBLE:
            dialogue = chunking()
            send(dialogue, b"abc", b"def", *([b"ghi"] if complete else []), end=complete)
            for turn in turns:
                dialogue.hear(turn)
            if ends and not dialogue.session.has_ended:
                dialogue.session.lost("closed the connection")
                dialogue.settle()
            self.assertEqual(expected, brief(dialogue.done.outcomes[ONE]), name)
            self.assertEqual((ONE, TWO) if elsewhere else (), dialogue.done.undecided, name)
            self.assertEqual(ends, dialogue.session.has_ended, name)
            before = dialogue.sent
            send(dialogue, b"xyz")
            self.assertEqual(before, dialogue.sent, name)

    def test_refused_within_a_single_chunk(self) -> None:
        """In the middle of a chunk there is no way back: the refusal counts and the connection ends."""
        for reply, expected in ((b"552 5.3.4 big\r\n", "failure 5.3.4"), (OK, "deferral 4.5.0 message")):
            dialogue = chunking(UNPIPELINED, body=Body.BINARY_MIME)
            send(dialogue, b"abc", end=False)
            dialogue.hear(reply)
            self.assertEqual(expected, brief(dialogue.done.outcomes[ONE]))
            self.assertTrue(dialogue.session.has_ended)

    def test_doubt_is_told(self) -> None:
        """Once the last chunk is out the message may have been taken, whichever reply is due next (RFC 1047)."""
        dialogue = chunking()
        send(dialogue, b"abc", b"defghi")
        dialogue.session.timed_out()
        dialogue.settle()
        outcome = dialogue.done.outcomes[ONE]
        assert isinstance(outcome, Deferral)
        self.assertIn("in doubt", outcome.reason)
        self.assertIs(Phase.CONTENT, outcome.phase)

    def test_every_split(self) -> None:
        """However the replies are cut, the same is sent and the same comes of it."""
        replies = OK + b"452-4.3.1 no\r\n452 4.3.1 room\r\n" + NO
        seen = set()
        for cut in range(len(replies) + 1):
            dialogue = chunking()
            send(dialogue, b"abc", b"def", b"ghi")
            dialogue.hear(replies[:cut], replies[cut:])
            self.assertEqual(b"RSET\r\n", dialogue.turn, cut)
            dialogue.hear(OK)
            seen.add((dialogue.sent, repr(dialogue.events)))
        self.assertEqual(1, len(seen))


def chunks_of(wire: bytes) -> tuple[bytes, int]:
    """What a server makes of BDAT commands: the content, and how many chunks there were up to the last one."""
    content, count = b"", 0
    while True:
        line, _, wire = wire.partition(b"\r\n")
        words = line.split()
        content += wire[: int(words[1])]
        wire = wire[int(words[1]) :]
        count += 1
        if words[2:] == [b"LAST"]:
            assert wire == b"", wire
            return content, count


class ChunksTests(SynchronousTestCase):
    @settings(max_examples=200, derandomize=True, deadline=None)
    @given(
        st.lists(st.sampled_from([b"a", b"\r\n", b"\r", b"\n", b".", b"\r\n.\r\n", b""]), max_size=12), st.booleans()
    )
    def test_any_content(self, pieces: list[bytes], binary: bool) -> None:
        """Binary content arrives octet by octet; other content with each bare CR or LF made a line end."""
        whole = b"".join(pieces)
        chunks = Chunks(len(whole), binary=binary)
        sent = [chunks.feed(piece) for piece in pieces] + [chunks.finish()]
        wire = b"".join(octets for octets, _ in sent)
        due = [stage for _, stage in sent if stage is not None]
        content, count = chunks_of(wire)
        mended = whole.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")
        self.assertEqual(whole if binary else mended, content)
        self.assertEqual([Stage.CHUNK] * (count - 1) + [Stage.LAST_CHUNK], due)

    def test_never_more_than_the_size(self) -> None:
        """Octets behind the size would be read as commands: they are not sent."""
        for at_once in (False, True):
            chunks = Chunks(4, binary=True, at_once=at_once)
            wire = b"".join(chunks.feed(piece)[0] for piece in (b"abcd", b"RSET\r\n")) + chunks.finish()[0]
            self.assertEqual(b"BDAT 4 LAST\r\nabcd", wire)
