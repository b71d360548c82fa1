"""
Servers that misbehave, and what becomes of the recipients then.

The invariant behind the table: only a 5xx that is surely about our message fails it; all else waits.
"""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address
from mta.outcome import Deferral, Delivered, Failure, Phase, Scope
from mta.smtp.client_events import SendContent, TransactionDone
from mta.smtp.client_stage import Stage
from tests.smtp_client.dialogue import GREETING, ONE, PIPELINES, PLAIN, TWO, Dialogue, brief, greeted

OK = b"250 2.0.0 Ok\r\n"
GO = b"354 go\r\n"
NO = b"550 5.1.1 no such user\r\n"
SERVICE_CLOSES = b"421 4.3.2 closing\r\n"
LOST, SLOW = "lost", "slow"
OUT_OF_STEP = "deferral 4.5.0 message"
GONE = "deferral 4.4.2 message"
CLOSING = "deferral 4.3.2 site"


def happen(dialogue: Dialogue, step: bytes | str) -> None:
    """A turn of the server, or the end of its patience or ours."""
    if isinstance(step, bytes):
        dialogue.hear(step)
        return
    if step == LOST:
        dialogue.session.lost("closed the connection")
    else:
        dialogue.session.timed_out()
    dialogue.settle()


@dataclass(frozen=True)
class Case:
    """A server, what it does after the envelope for ONE and TWO, their outcomes, and who may be tried elsewhere."""

    name: str
    hello: bytes
    steps: tuple[bytes | str, ...]
    outcomes: tuple[str, str]
    undecided: tuple[Address, ...] = ()
    ends: bool = True


BOTH = (ONE, TWO)
LONG = b"550-" + b"why " * 250 + b"\r\n"
LONG = LONG * 10 + b"550 so\r\n"
NO_TEXT = ("failure 5.1.0", "deferral 4.1.0 recipient")
CASES = (
    Case("closes at MAIL", PLAIN, (LOST,), (GONE, GONE), BOTH),
    Case("silent at MAIL", PLAIN, (SLOW,), (GONE, GONE), BOTH),
    Case("421 at MAIL", PLAIN, (SERVICE_CLOSES,), (CLOSING, CLOSING), BOTH),
    Case("nonsense at MAIL", PLAIN, (b"what?\r\n",), (OUT_OF_STEP, OUT_OF_STEP), BOTH),
    Case("3xx to MAIL", PLAIN, (b"354 go\r\n",), (OUT_OF_STEP, OUT_OF_STEP), BOTH),
    Case("two replies to MAIL at once", PLAIN, (OK + OK,), (OUT_OF_STEP, OUT_OF_STEP), BOTH),
    Case("closes after one RCPT", PLAIN, (OK, NO, LOST), ("failure 5.1.1", GONE), (TWO,)),
    Case("421 after one RCPT", PLAIN, (OK, NO, SERVICE_CLOSES), ("failure 5.1.1", CLOSING), (TWO,)),
    Case("421 behind a refusal", PLAIN, (OK, NO + SERVICE_CLOSES), ("failure 5.1.1", CLOSING), (TWO,)),
    Case("an accepted one before 421", PLAIN, (OK, OK, SERVICE_CLOSES), (CLOSING, CLOSING), BOTH),
    Case("3xx to RCPT", PLAIN, (OK, b"354 go\r\n"), (OUT_OF_STEP, OUT_OF_STEP), BOTH),
    Case("codes that change within a reply", PIPELINES, (OK + b"550-a\r\n250 b\r\n",), (OUT_OF_STEP,) * 2, BOTH),
    Case("a refusal before nonsense", PIPELINES, (OK + NO + b"nonsense\r\n",), (OUT_OF_STEP, OUT_OF_STEP), BOTH),
    Case("2xx to DATA", PIPELINES, (OK * 4,), (OUT_OF_STEP, OUT_OF_STEP), BOTH),
    # One reply too many, early: each refusal is read as that of the recipient before. The end of it shows at RSET.
    Case("a reply too many", PIPELINES, (OK + OK + NO + NO, b"503 none\r\n"), (OUT_OF_STEP, OUT_OF_STEP), BOTH),
    Case("a reply too many, at once", PIPELINES, (OK + OK + NO + NO + NO,), (OUT_OF_STEP, OUT_OF_STEP), BOTH),
    Case("RSET refused", PIPELINES, (OK + NO + NO + b"554 no\r\n", b"500 what\r\n"), (OUT_OF_STEP,) * 2, BOTH),
    Case("closes at RSET", PIPELINES, (OK + NO + NO + b"554 no\r\n", LOST), ("failure 5.1.1",) * 2),
    Case("421 at RSET", PIPELINES, (OK + NO + NO + b"554 no\r\n", SERVICE_CLOSES), ("failure 5.1.1",) * 2),
    Case("silent at RSET", PIPELINES, (OK + NO + NO + b"554 no\r\n", SLOW), ("failure 5.1.1",) * 2),
    Case("closes after the lone dot", PIPELINES, (OK + NO + NO + GO, LOST), ("failure 5.1.1",) * 2),
    Case("sender refused, all else accepted", PIPELINES, (b"550 no\r\n" + OK + OK + GO,), (OUT_OF_STEP,) * 2, BOTH),
    Case("closes after DATA", PIPELINES, (OK + NO + OK, LOST), ("failure 5.1.1", GONE), (TWO,)),
    Case("closes within a reply", PIPELINES, (OK + OK + OK + b"35", LOST), (GONE, GONE), BOTH),
    Case("closes after the final dot", PIPELINES, (OK + OK + OK + GO, LOST), (GONE, GONE)),
    Case("silent after the final dot", PIPELINES, (OK + OK + OK + GO, SLOW), (GONE, GONE)),
    Case("421 after the final dot", PIPELINES, (OK + OK + OK + GO, SERVICE_CLOSES), (CLOSING, CLOSING)),
    Case("nonsense after the final dot", PIPELINES, (OK + NO + OK + GO, b"huh\r\n"), (OUT_OF_STEP, OUT_OF_STEP)),
    Case("3xx after the final dot", PIPELINES, (OK + OK + OK + GO, GO), (OUT_OF_STEP, OUT_OF_STEP)),
    Case("one refused, then in doubt", PIPELINES, (OK + NO + OK + GO, LOST), ("failure 5.1.1", GONE)),
    Case("a reply too many after delivery", PIPELINES, (OK + OK + OK + GO, OK + OK), ("delivered", "delivered")),
    Case("421 after delivery", PIPELINES, (OK + OK + OK + GO, OK, SERVICE_CLOSES), ("delivered", "delivered")),
    Case("delivery, then the end", PIPELINES, (OK + OK + OK + GO, OK, LOST), ("delivered", "delivered")),
    Case(
        "codes that change in the reply to the dot", PIPELINES, (OK * 3 + GO, b"250-a\r\n550 b\r\n"), (OUT_OF_STEP,) * 2
    ),
    Case("10 KB of refusal", PIPELINES, (OK + LONG + OK + GO, OK), ("failure 5.1.0", "delivered"), (), False),
    Case("a line of more than that", PIPELINES, (OK + b"550 " + b"x" * 10_240, LOST), (OUT_OF_STEP,) * 2, BOTH),
    Case("refusals without text", PIPELINES, (OK + b"550\r\n450 \r\n554\r\n", OK), NO_TEXT, (), False),
    Case("answers before the end of our group", PLAIN, (OK, OK + OK), (OUT_OF_STEP, OUT_OF_STEP), BOTH),
    Case(
        "bare LFs throughout", PIPELINES, (b"250 a\n250 b\n250 c\n354 d\n", b"250 e\n"), ("delivered",) * 2, (), False
    ),
    Case(
        "codes alone",
        PLAIN,
        (b"250\r\n", b"250\r\n", b"250\r\n", b"354\r\n", b"250\r\n"),
        ("delivered",) * 2,
        (),
        False,
    ),
)

# During the content, which is sent by halves here.
EARLY = (
    ("refused for good", b"552 5.3.4 too big\r\n", "failure 5.3.4", False),
    ("refused for now", b"452 4.3.1 full\r\n", "deferral 4.3.1 message", False),
    ("closing", SERVICE_CLOSES, CLOSING, True),
    ("accepted", OK, OUT_OF_STEP, True),
    ("invited again", GO, OUT_OF_STEP, True),
    ("nonsense", b"?\r\n", OUT_OF_STEP, True),
    ("gone", LOST, GONE, True),
    ("stuck", SLOW, GONE, True),
)


class TransactionTests(SynchronousTestCase):
    def test_table(self) -> None:
        """Each misbehaviour gives these outcomes, and ends the connection where it can't be trusted any more."""
        for case in CASES:
            dialogue = greeted(case.hello).begin(BOTH)
            for step in case.steps:
                happen(dialogue, step)
            self.assertEqual(case.outcomes, tuple(brief(dialogue.done.outcomes[who]) for who in BOTH), case.name)
            self.assertEqual(case.undecided, dialogue.done.undecided, case.name)
            for outcome in dialogue.done.outcomes.values():
                # Where nobody was told anything and no other host may be asked, the message may be there.
                doubted = not case.undecided and brief(outcome) in (GONE, OUT_OF_STEP)
                self.assertEqual(doubted, isinstance(outcome, Deferral) and outcome.in_doubt, case.name)
            self.assertEqual(case.ends, dialogue.session.stage is Stage.ENDED, case.name)
            self.assertEqual(case.ends, dialogue.ended is not None, case.name)

    def test_early_reply_to_the_content(self) -> None:
        """A reply in the middle of the content stops it: no more is sent, above all no final dot."""
        for name, step, expected, elsewhere in EARLY:
            dialogue = greeted(hold_content=True).begin().hear(OK + OK + GO)
            dialogue.session.send_content(b"half")
            dialogue.settle()
            happen(dialogue, step)
            self.assertEqual(expected, brief(dialogue.done.outcomes[ONE]), name)
            self.assertEqual((ONE,) if elsewhere else (), dialogue.done.undecided, name)
            self.assertIs(Stage.ENDED, dialogue.session.stage, name)
            dialogue.session.end_content()
            dialogue.settle()
            self.assertTrue(dialogue.sent.endswith(b"half"), name)

    def test_refusal_right_behind_354(self) -> None:
        """A server that invites and refuses in one breath is heard."""
        dialogue = greeted(hold_content=True).begin().hear(OK + OK + GO + b"552 5.3.4 too big\r\n")
        self.assertEqual("failure 5.3.4", brief(dialogue.done.outcomes[ONE]))
        self.assertIn(SendContent((ONE,)), dialogue.events)

    def test_doubt_is_told(self) -> None:
        """What happened to a message after its final dot is unknown, and the reason says so (RFC 1047)."""
        for step in (LOST, SLOW, b"nonsense\r\n"):
            dialogue = greeted().begin().hear(OK + OK + GO)
            happen(dialogue, step)
            outcome = dialogue.done.outcomes[ONE]
            assert isinstance(outcome, Deferral)
            self.assertIn("in doubt", outcome.reason)
            self.assertIs(Phase.END_OF_DATA, outcome.phase)

    def test_given_up_by_us(self) -> None:
        """A reason of our own defers those who are open, and nobody is tried elsewhere."""
        dialogue = greeted(hold_content=True).begin(BOTH).hear(OK + NO + OK + GO)
        dialogue.session.fail(Deferral("spool unreadable", Phase.CONTENT, Scope.OURSELVES, enhanced="4.3.0"))
        dialogue.settle()
        self.assertEqual(
            ["failure 5.1.1", "deferral 4.3.0 ourselves"], [brief(dialogue.done.outcomes[x]) for x in BOTH]
        )
        self.assertEqual((), dialogue.done.undecided)

    def test_unasked_reply_while_idle(self) -> None:
        """A reply to nothing ends an idle connection: the next message would get the wrong replies."""
        for reply in (OK, NO, SERVICE_CLOSES, b"?\r\n"):
            dialogue = greeted().hear(reply)
            self.assertIs(Stage.ENDED, dialogue.session.stage, reply)
            self.assertEqual([], [event for event in dialogue.events if isinstance(event, TransactionDone)])


class HostTests(SynchronousTestCase):
    """Greetings and hellos that end the session before there is a message; all are deferrals of the site."""

    def test_table(self) -> None:
        """A host that turns all mail away speaks of itself, whatever its code (RFC 5321 3.1, 3.8)."""
        for name, steps, phase, code, quits in (
            ("554 greeting", (b"554 5.3.2 no service\r\n",), Phase.GREETING, "4.3.0", True),
            ("421 greeting", (b"421 4.3.2 busy\r\n",), Phase.GREETING, "4.3.2", False),
            ("450 greeting", (b"450 4.7.1 greylisted\r\n",), Phase.GREETING, "4.7.1", True),
            ("a greeting that is a 250", (OK,), Phase.GREETING, "4.5.0", False),
            ("a greeting of another protocol", (b"SSH-2.0-OpenSSH_9.2\r\n",), Phase.GREETING, "4.5.0", False),
            ("no greeting", (LOST,), Phase.GREETING, "4.4.2", False),
            ("a slow greeting", (SLOW,), Phase.GREETING, "4.4.2", False),
            ("two greetings", (GREETING, GREETING), Phase.HELLO, "4.5.0", False),
            ("two greetings at once", (GREETING + GREETING,), Phase.HELLO, "4.5.0", False),
            ("EHLO deferred", (GREETING, b"450 later\r\n"), Phase.HELLO, "4.5.0", True),
            ("421 to EHLO", (GREETING, SERVICE_CLOSES), Phase.HELLO, "4.3.2", False),
            ("closed at EHLO", (GREETING, LOST), Phase.HELLO, "4.4.2", False),
            ("HELO refused too", (GREETING, b"500 what\r\n", b"550 no\r\n"), Phase.HELLO, "4.5.0", True),
        ):
            dialogue = Dialogue()
            for step in steps:
                happen(dialogue, step)
            self.assertIs(Stage.ENDED, dialogue.session.stage, name)
            why = dialogue.ended
            assert why is not None
            self.assertEqual((phase, Scope.SITE, code), (why.phase, why.scope, why.enhanced), name)
            self.assertEqual(quits, dialogue.sent.endswith(b"QUIT\r\n"), name)


STEPS = st.lists(
    st.one_of(
        st.sampled_from([OK, GO, NO, SERVICE_CLOSES, LOST, SLOW, b"250-", b"\r\n", b"452 no\r\n", GREETING, PIPELINES]),
        st.binary(max_size=8),
    ),
    max_size=12,
)


class AnyServerTests(SynchronousTestCase):
    @settings(max_examples=300, derandomize=True, deadline=None)
    @given(STEPS, st.sampled_from([PLAIN, PIPELINES]))
    def test_any_server(self, steps: list[bytes | str], hello: bytes) -> None:
        """Whatever a server does there is one outcome for each recipient at the end, and a failure only from a 5xx."""
        dialogue = greeted(hello).begin(BOTH)
        for step in [*steps, LOST]:
            happen(dialogue, step)
        outcomes = dialogue.done.outcomes
        self.assertEqual(set(BOTH), set(outcomes))
        for outcome in outcomes.values():
            if isinstance(outcome, Failure):
                assert outcome.reply is not None
                self.assertTrue(outcome.reply.is_permanent)
            if isinstance(outcome, Delivered):
                self.assertIn(b"\r\n.\r\n", dialogue.sent)
        for line in dialogue.sent.split(b"\r\n"):
            self.assertNotIn(b"\n", line)
        self.assertIs(Stage.ENDED, dialogue.session.stage)
