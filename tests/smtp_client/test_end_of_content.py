"""The end of the content goes out when the caller allows it, and what is known of the message from there on."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mta.envelope import Body
from mta.outcome import Deferral, Phase, Scope
from mta.smtp.client_events import SendContent
from mta.smtp.client_stage import Stage
from tests.smtp_client.dialogue import CONTENT, ON_THE_WIRE, ONE, PIPELINES, TWO, Dialogue, brief, greeted
from tests.smtp_client.test_bdat import CHUNKING, UNPIPELINED, chunks_of

OK = b"250 2.0.0 Ok\r\n"
NO = b"550 5.1.1 no such user\r\n"
GO = b"354 go\r\n"


def invited(hello: bytes = PIPELINES, body: Body = Body.SEVEN_BIT, **options: bool) -> Dialogue:
    """A dialogue that may send content to ONE, whose end is not allowed yet."""
    dialogue = greeted(hello, hold_content=True, hold_end=True, **options).begin(body=body)
    while not any(isinstance(event, SendContent) for event in dialogue.events):
        dialogue.hear(GO if dialogue.session.stage is Stage.DATA else OK)
    dialogue.turn = b""
    return dialogue


# How content goes: by DATA, by chunks, and as the single chunk of binary content for a server without PIPELINING.
WAYS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("DATA", {}),
    ("BDAT", {"hello": CHUNKING, "bdat": True}),
    ("binary", {"hello": CHUNKING, "body": Body.BINARY_MIME}),
    ("one chunk", {"hello": UNPIPELINED, "body": Body.BINARY_MIME}),
)


def is_whole(wire: bytes, way: str) -> bool:
    """Whether a server that has read this has the message."""
    if way == "DATA":
        return wire.endswith(b"\r\n.\r\n")
    try:
        return len(chunks_of(wire)[0]) == len(CONTENT)
    except (IndexError, ValueError):
        return False


class GateTests(SynchronousTestCase):
    def test_every_split(self) -> None:
        """Wherever the content is cut and whenever its end is allowed, no server has it before, and has it then."""
        for way, options in WAYS:
            for cut in range(len(CONTENT) + 1):
                pieces = (CONTENT[:cut], CONTENT[cut:])
                for allowed in range(4):
                    dialogue = invited(**options)
                    session = dialogue.session
                    for step in range(4):
                        if step == allowed:
                            self.assertFalse(is_whole(dialogue.turn, way), (way, cut, allowed))
                            self.assertTrue(session.wants_content)
                            session.allow_end()
                            dialogue.settle()
                        if step < 2:
                            session.send_content(pieces[step])
                        elif step == 2:
                            session.end_content()
                        dialogue.settle()
                    self.assertTrue(is_whole(dialogue.turn, way), (way, cut, allowed, dialogue.turn))
                    self.assertFalse(session.wants_content)
                    if way == "DATA":
                        self.assertEqual(ON_THE_WIRE, dialogue.turn)
                    dialogue.hear(OK * (dialogue.turn.count(b"BDAT") or 1))
                    self.assertEqual("delivered", brief(dialogue.done.outcomes[ONE]))

    def test_who_is_told(self) -> None:
        """The invitation names those who were accepted, and nobody else."""
        dialogue = greeted(hold_end=True).begin((ONE, TWO)).hear(OK + NO + OK + GO)
        self.assertIn(SendContent((TWO,)), dialogue.events)

    def test_before_the_end(self) -> None:
        """A connection that is lost while the end waits has delivered nothing: another host may be asked at once."""
        for way, options in WAYS:
            for happens in ("lost", "slow"):
                dialogue = invited(**options)
                dialogue.session.send_content(CONTENT)
                dialogue.session.end_content()
                dialogue.settle()
                if happens == "lost":
                    dialogue.session.lost("closed the connection")
                else:
                    dialogue.session.timed_out()
                dialogue.settle()
                outcome = dialogue.done.outcomes[ONE]
                assert isinstance(outcome, Deferral)
                self.assertEqual(((ONE,), False), (dialogue.done.undecided, outcome.in_doubt), way)
                self.assertNotIn("in doubt", outcome.reason)

    def test_behind_the_end(self) -> None:
        """Once it is out, no reply means doubt, and a reply does not: 4xx, 5xx and 421 say what became of it."""
        for way, options in WAYS:
            for answer, in_doubt in (
                (b"", True),
                (b"?\r\n", True),
                (b"451 4.3.0 later\r\n", False),
                (b"421 4.3.2 closing\r\n", False),
            ):
                dialogue = invited(**options)
                dialogue.session.allow_end()
                dialogue.session.send_content(CONTENT)
                dialogue.session.end_content()
                dialogue.settle()
                dialogue.hear(answer)
                dialogue.session.lost("closed the connection")
                dialogue.settle()
                outcome = dialogue.done.outcomes[ONE]
                assert isinstance(outcome, Deferral)
                self.assertEqual(((), in_doubt), (dialogue.done.undecided, outcome.in_doubt), (way, answer))
                self.assertEqual(in_doubt, "in doubt" in outcome.reason)

    def test_lmtp(self) -> None:
        """LMTP answers for each recipient: only those it has not come to are in doubt (RFC 2033 4.2)."""
        dialogue = greeted(lmtp=True).begin((ONE, TWO)).hear(OK * 3 + GO).hear(OK)
        dialogue.session.lost("closed the connection")
        dialogue.settle()
        outcomes = dialogue.done.outcomes
        self.assertEqual("delivered", brief(outcomes[ONE]))
        self.assertTrue(getattr(outcomes[TWO], "in_doubt", False))

    def test_our_own_fault(self) -> None:
        """An exception of ours behind the end leaves the doubt; before it there is none."""
        ours = Deferral("internal error", Phase.CONTENT, Scope.OURSELVES, enhanced="4.3.0")
        for allowed in (False, True):
            dialogue = invited()
            if allowed:
                dialogue.session.allow_end()
            dialogue.session.send_content(CONTENT)
            dialogue.session.end_content()
            dialogue.session.fail(ours)
            dialogue.settle()
            self.assertEqual(ours.doubted() if allowed else ours, dialogue.done.outcomes[ONE])

    def test_left_for_another_transaction(self) -> None:
        """Who was not asked for is in no doubt, even where nothing is believed any more."""
        hello = PIPELINES.replace(b"250 E", b"250-LIMITS RCPTMAX=1\r\n250 E")
        dialogue = greeted(hello).begin((ONE, TWO)).hear(OK + OK + GO).hear(b"?\r\n")
        one, two = (dialogue.done.outcomes[who] for who in (ONE, TWO))
        assert isinstance(one, Deferral)
        assert isinstance(two, Deferral)
        self.assertEqual((True, False), (one.in_doubt, two.in_doubt))
        self.assertNotIn("in doubt", two.reason)

    def test_refused_while_it_waits(self) -> None:
        """A server that refuses meanwhile gets no end, whenever that is allowed: not by DATA, nor by chunks."""
        for way, options in WAYS[:2]:
            dialogue = invited(**options)
            dialogue.session.send_content(CONTENT[:9])
            dialogue.settle()
            dialogue.session.send_content(CONTENT[9:])
            dialogue.session.end_content()
            dialogue.settle()
            dialogue.hear(b"552 5.3.4 too big\r\n")
            sent = dialogue.sent
            dialogue.session.allow_end()
            dialogue.settle()
            self.assertEqual(sent, dialogue.sent, way)
            if way == "BDAT":
                dialogue.hear(OK)  # to RSET
            self.assertEqual("failure 5.3.4", brief(dialogue.done.outcomes[ONE]))
            self.assertIs(Stage.READY if way == "BDAT" else Stage.ENDED, dialogue.session.stage)
