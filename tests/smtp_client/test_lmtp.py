"""The client's session with an LMTP server: RFC 2033."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mta.envelope import Notify, Recipient
from mta.outcome import Delivered, Handover, Phase, Scope
from mta.smtp.client_stage import Stage
from tests.smtp_client.dialogue import GREETING, ONE, PIPELINES, PLAIN, THREE, TWO, Dialogue, brief, greeted

OK = b"250 2.0.0 Ok\r\n"
NO = b"550 5.1.1 no such user\r\n"
GO = b"354 go\r\n"
FULL = b"452 4.2.2 mailbox full\r\n"
CHUNKING = PIPELINES.replace(b"250 E", b"250-CHUNKING\r\n250 E")
ALL = (ONE, TWO, THREE)


def briefs(dialogue: Dialogue) -> list[str]:
    return [brief(dialogue.done.outcomes[who]) for who in ALL]


class HelloTests(SynchronousTestCase):
    def test_lhlo(self) -> None:
        """The hello is LHLO (RFC 2033 4.1)."""
        self.assertEqual(b"LHLO client.test\r\n", Dialogue(lmtp=True).hear(GREETING).turn)

    def test_refused(self) -> None:
        """A refused LHLO is not followed by HELO, which LMTP does not have; it speaks of the server alone."""
        dialogue = Dialogue(lmtp=True).hear(GREETING).hear(b"500 what\r\n")
        self.assertEqual(b"QUIT\r\n", dialogue.turn)
        why = dialogue.ended
        assert why is not None
        self.assertEqual((Phase.HELLO, Scope.SITE), (why.phase, why.scope))


class ReplyTests(SynchronousTestCase):
    def test_one_for_each(self) -> None:
        """Each accepted recipient has its own reply after the dot, in the order of RCPT (RFC 2033 4.2)."""
        for hello in (PIPELINES, PLAIN):
            dialogue = greeted(hello, lmtp=True).begin(ALL)
            replies = (OK, OK, NO, OK, GO)
            for turn in (b"".join(replies),) if hello is PIPELINES else replies:
                dialogue.hear(turn)
            dialogue.hear(FULL)
            self.assertIs(Stage.FINAL_DOT, dialogue.session.stage)
            dialogue.hear(b"250 2.1.5 stored\r\n")
            self.assertEqual(["deferral 4.2.2 recipient", "failure 5.1.1", "delivered"], briefs(dialogue))
            self.assertIs(Stage.READY, dialogue.session.stage)

    def test_every_split(self) -> None:
        """However the replies to the dot are cut, each recipient gets its own."""
        replies = b"250-2.1.5 a\r\n250 2.1.5 b\r\n" + NO + FULL
        for cut in range(len(replies) + 1):
            dialogue = greeted(lmtp=True).begin(ALL).hear(OK * 4 + GO).hear(replies[:cut], replies[cut:])
            self.assertEqual(["delivered", "failure 5.1.1", "deferral 4.2.2 recipient"], briefs(dialogue), cut)

    def test_chunks(self) -> None:
        """The last chunk is answered as the dot is, for each recipient (RFC 2033 4.3)."""
        dialogue = greeted(CHUNKING, lmtp=True, bdat=True).begin(ALL).hear(OK * 4).hear(OK + NO + OK)
        self.assertEqual(["delivered", "failure 5.1.1", "delivered"], briefs(dialogue))
        self.assertIs(Stage.READY, dialogue.session.stage)

    def test_taken_after_a_refused_chunk(self) -> None:
        """A server that takes what it has refused in part is out of step: nobody is failed on its word."""
        dialogue = greeted(CHUNKING, hold_content=True, lmtp=True, bdat=True).begin(ALL, size=2).hear(OK * 4)
        for octet in (b"a", b"b"):
            dialogue.session.send_content(octet)
            dialogue.settle()
        dialogue.hear(NO + NO + OK)
        self.assertEqual(["deferral 4.5.0 message"] * 3, briefs(dialogue))
        self.assertEqual((), dialogue.done.undecided)

    def test_final(self) -> None:
        """An LMTP server delivers to mailboxes: nothing is passed on, whatever it offers (RFC 3461 5.2.3)."""
        hello = PIPELINES.replace(b"250 E", b"250-DSN\r\n250 E")
        dialogue = greeted(hello, lmtp=True).begin((Recipient(ONE, frozenset((Notify.SUCCESS,))),))
        self.assertNotIn(b"NOTIFY", dialogue.turn)
        outcome = dialogue.hear(OK + OK + GO).hear(OK).done.outcomes[ONE]
        assert isinstance(outcome, Delivered)
        self.assertIs(Handover.FINAL, outcome.kind)


class TroubleTests(SynchronousTestCase):
    def test_lost_between_the_replies(self) -> None:
        """Who was answered for is settled, the others are in doubt and asked again later, nowhere else."""
        dialogue = greeted(lmtp=True).begin(ALL).hear(OK * 4 + GO).hear(OK)
        dialogue.session.lost("closed the connection")
        dialogue.settle()
        self.assertEqual(["delivered", "deferral 4.4.2 message", "deferral 4.4.2 message"], briefs(dialogue))
        self.assertEqual((), dialogue.done.undecided)

    def test_421_between_the_replies(self) -> None:
        """The same where the server says that it closes."""
        dialogue = greeted(lmtp=True).begin(ALL).hear(OK * 4 + GO).hear(NO + b"421 4.3.2 closing\r\n")
        self.assertEqual(["failure 5.1.1", "deferral 4.3.2 site", "deferral 4.3.2 site"], briefs(dialogue))

    def test_nonsense_between_the_replies(self) -> None:
        """Out of step, nothing that was said is believed."""
        dialogue = greeted(lmtp=True).begin(ALL).hear(OK * 4 + GO).hear(NO + GO)
        self.assertEqual(["deferral 4.5.0 message"] * 3, briefs(dialogue))
        self.assertEqual((), dialogue.done.undecided)

    def test_invited_without_recipients(self) -> None:
        """354 with nobody accepted has no way on, for no reply would follow the dot (RFC 2033 4.2)."""
        dialogue = greeted(lmtp=True).begin(ALL).hear(OK + NO * 3 + GO)
        self.assertEqual(b"", dialogue.turn)
        self.assertTrue(dialogue.session.has_ended)

    def test_data_refused(self) -> None:
        """A refused DATA has one reply, and it holds for all."""
        dialogue = greeted(lmtp=True).begin(ALL).hear(OK * 4 + b"451 4.3.0 busy\r\n").hear(OK)
        self.assertEqual(["deferral 4.3.0 message"] * 3, briefs(dialogue))
