"""The client's session against a server that behaves."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address
from mta.envelope import Body, Envelope, Recipient
from mta.outcome import Delivered, Handover, Phase
from mta.reply import Reply
from mta.smtp.client import ClientSession
from mta.smtp.client_events import Ready, SendContent, TransactionDone
from mta.smtp.client_stage import Stage
from mta.smtp.transaction import Transaction
from tests.smtp_client.dialogue import (
    CONTENT,
    GREETING,
    HOST,
    ON_THE_WIRE,
    ONE,
    PIPELINES,
    PLAIN,
    SENDER,
    THREE,
    TWO,
    Dialogue,
    brief,
    greeted,
)

OK = b"250 2.0.0 Ok\r\n"
GO = b"354 go\r\n"


class HelloTests(SynchronousTestCase):
    def test_waits_for_the_greeting(self) -> None:
        """Nothing is sent before the server's greeting (RFC 5321 3.1)."""
        dialogue = Dialogue()
        dialogue.settle()
        self.assertEqual(b"", dialogue.sent)
        self.assertIs(Stage.GREETING, dialogue.session.stage)

    def test_ehlo(self) -> None:
        """EHLO follows the greeting, and its positive reply makes the session ready (RFC 5321 3.2)."""
        dialogue = Dialogue().hear(GREETING)
        self.assertEqual(b"EHLO client.test\r\n", dialogue.turn)
        dialogue.hear(PIPELINES)
        self.assertEqual([Ready()], dialogue.events)
        self.assertIs(Stage.READY, dialogue.session.stage)

    def test_helo_after_refused_ehlo(self) -> None:
        """A server that refuses EHLO for good is asked with HELO, and offers nothing (RFC 5321 3.2)."""
        for refusal in (b"500 what\r\n", b"502 5.5.1 no\r\n", b"554 no\r\n"):
            dialogue = Dialogue().hear(GREETING).hear(refusal)
            self.assertEqual(b"HELO client.test\r\n", dialogue.turn)
            dialogue.hear(PIPELINES)
            self.assertEqual([Ready()], dialogue.events)
            self.assertFalse(dialogue.session.capabilities.pipelining)

    def test_hello_name_can_not_hold_a_line(self) -> None:
        """A name that would start a second command is a mistake of the caller."""
        self.assertRaises(ValueError, ClientSession, "a\r\nQUIT", HOST)

    def test_begin_out_of_turn(self) -> None:
        """A transaction before the session is ready is a mistake of the caller."""
        transaction = Transaction(Envelope(SENDER, (Recipient(ONE),)), 1)
        self.assertRaises(RuntimeError, Dialogue().session.begin, transaction)
        self.assertRaises(RuntimeError, greeted().begin().session.begin, transaction)


class EnvelopeTests(SynchronousTestCase):
    def test_pipelined(self) -> None:
        """Where it is offered, the whole envelope goes out at once, DATA as its last command (RFC 2920 3.1)."""
        dialogue = greeted().begin((ONE, TWO))
        self.assertEqual(
            b"MAIL FROM:<sender@from.test> SIZE=25\r\nRCPT TO:<one@to.test>\r\nRCPT TO:<two@to.test>\r\nDATA\r\n",
            dialogue.turn,
        )
        self.assertEqual(25, len(CONTENT))
        dialogue.hear(OK + OK + OK + GO)
        self.assertEqual(ON_THE_WIRE, dialogue.turn)
        dialogue.hear(b"250 2.0.0 queued as X\r\n")
        delivered = Delivered(HOST, Reply(250, ("queued as X",), "2.0.0"), Phase.END_OF_DATA, Handover.RELAYED)
        self.assertEqual(TransactionDone({ONE: delivered, TWO: delivered}), dialogue.done)
        self.assertIs(Stage.READY, dialogue.session.stage)

    def test_one_at_a_time(self) -> None:
        """Without PIPELINING each command waits for the reply to the one before (RFC 5321 4.3.1)."""
        dialogue = greeted(PLAIN).begin((ONE, TWO))
        for reply, command in (
            (None, b"MAIL FROM:<sender@from.test>\r\n"),
            (OK, b"RCPT TO:<one@to.test>\r\n"),
            (OK, b"RCPT TO:<two@to.test>\r\n"),
            (OK, b"DATA\r\n"),
            (GO, ON_THE_WIRE),
        ):
            if reply is not None:
                dialogue.hear(reply)
            self.assertEqual(command, dialogue.turn)
        dialogue.hear(OK)
        self.assertEqual(["delivered", "delivered"], [brief(dialogue.done.outcomes[who]) for who in (ONE, TWO)])

    def test_parameters(self) -> None:
        """SIZE and BODY are declared where they are offered, and 8BITMIME only where the sender declared it."""
        for hello, body, expected in (
            (PIPELINES, Body.SEVEN_BIT, b"MAIL FROM:<sender@from.test> SIZE=25\r\n"),  # RFC 1870 6
            (PIPELINES, Body.EIGHT_BIT_MIME, b"MAIL FROM:<sender@from.test> SIZE=25 BODY=8BITMIME\r\n"),  # RFC 6152 3
            (PLAIN, Body.EIGHT_BIT_MIME, b"MAIL FROM:<sender@from.test>\r\n"),
        ):
            turn = greeted(hello).begin(body=body).turn
            self.assertEqual(expected, turn[: turn.index(b"\n") + 1])

    def test_null_sender(self) -> None:
        """The null reverse-path is an empty pair of brackets (RFC 5321 4.5.5)."""
        self.assertTrue(greeted(PLAIN).begin(sender=None).turn.startswith(b"MAIL FROM:<>\r\n"))

    def test_quoted_local_part(self) -> None:
        """A local part that needs quotes gets them (RFC 5321 4.1.2)."""
        turn = greeted().begin((Address('a b"c', "to.test"),)).turn
        self.assertIn(b'RCPT TO:<"a b\\"c"@to.test>\r\n', turn)

    def test_address_with_a_line_end(self) -> None:
        """An address that holds a line end is never sent, and takes no other recipient with it."""
        for bad in (Address("a\r\nRSET", "to.test"), Address("a", "b\nc"), Address("a\0", "to.test")):
            dialogue = greeted().begin((bad, ONE))
            self.assertEqual(3, dialogue.turn.count(b"\r\n"))
            self.assertNotIn(b"RSET", dialogue.turn)
            dialogue.hear(OK + OK + GO).hear(OK)
            self.assertEqual("deferral 4.1.0 recipient", brief(dialogue.done.outcomes[bad]))
            self.assertEqual("delivered", brief(dialogue.done.outcomes[ONE]))

    def test_sender_with_a_line_end(self) -> None:
        """A reverse-path that can't be sent defers the message without a word to the server."""
        dialogue = greeted().begin(sender=Address("a\r\nDATA", "x.test"))
        self.assertEqual(b"", dialogue.turn)
        self.assertEqual("deferral 4.1.0 recipient", brief(dialogue.done.outcomes[ONE]))
        self.assertIs(Stage.READY, dialogue.session.stage)

    def test_too_large(self) -> None:
        """A message above the limit in the server's SIZE fails without being tried (RFC 1870 4, 7)."""
        dialogue = greeted().begin((ONE, TWO), size=1_000_001)
        self.assertEqual(b"", dialogue.turn)
        self.assertEqual(["failure 5.3.4"] * 2, [brief(outcome) for outcome in dialogue.done.outcomes.values()])
        self.assertIs(Stage.READY, dialogue.session.stage)

    def test_as_large_as_allowed(self) -> None:
        """A message of exactly the limit is tried."""
        self.assertIn(b"SIZE=1000000", greeted().begin(size=1_000_000).turn)


class RecipientTests(SynchronousTestCase):
    def test_mixed(self) -> None:
        """Each recipient gets the outcome of its own reply, matched by its place in the group (RFC 2920 3.1)."""
        replies = (OK, b"550 5.1.1 no such user\r\n", OK, b"450 4.2.1 later\r\n", GO)
        for hello, turns in ((PIPELINES, (b"".join(replies),)), (PLAIN, replies)):
            dialogue = greeted(hello).begin((ONE, TWO, THREE))
            for turn in (*turns, OK):
                dialogue.hear(turn)
            outcomes = [brief(dialogue.done.outcomes[who]) for who in (ONE, TWO, THREE)]
            self.assertEqual(["failure 5.1.1", "delivered", "deferral 4.2.1 recipient"], outcomes)

    def test_sender_refused(self) -> None:
        """A refused MAIL is the outcome of everyone, whatever the rest of the group gets."""
        refusal = b"550 5.7.1 not you\r\n"
        rest = b"503 5.5.1 MAIL first\r\n" * 3
        for hello, replies in ((PIPELINES, refusal + rest), (PLAIN, refusal)):
            dialogue = greeted(hello).begin((ONE, TWO)).hear(replies)
            self.assertEqual(b"RSET\r\n", dialogue.turn)
            dialogue.hear(OK)
            self.assertEqual(["failure 5.7.1"] * 2, [brief(outcome) for outcome in dialogue.done.outcomes.values()])
            self.assertIs(Stage.READY, dialogue.session.stage)

    def test_all_refused(self) -> None:
        """When all recipients are refused no content is sent, and RSET clears the way for the next message."""
        for hello, replies in ((PIPELINES, b"550 no\r\n450 no\r\n554 no\r\n"), (PLAIN, b"550 no\r\n450 no\r\n")):
            dialogue = greeted(hello).begin((ONE, TWO)).hear(OK)
            for reply in [replies] if hello is PIPELINES else replies.splitlines(keepends=True):
                dialogue.hear(reply)
            self.assertEqual(b"RSET\r\n", dialogue.turn)
            dialogue.hear(OK)
            outcomes = [brief(dialogue.done.outcomes[who]) for who in (ONE, TWO)]
            self.assertEqual(["failure 5.1.0", "deferral 4.1.0 recipient"], outcomes)

    def test_all_refused_but_data_accepted(self) -> None:
        """A 354 with no recipient left is answered by a lone dot, and nothing was delivered (RFC 2920 3.1)."""
        for answer in (OK, b"554 no valid recipients\r\n"):
            dialogue = greeted().begin().hear(OK + b"550 no\r\n" + GO)
            self.assertEqual(b".\r\n", dialogue.turn)
            self.assertIs(Stage.EMPTY_DOT, dialogue.session.stage)
            dialogue.hear(answer)
            self.assertEqual("failure 5.1.0", brief(dialogue.done.outcomes[ONE]))
            self.assertIs(Stage.READY, dialogue.session.stage)
            self.assertNotIn(SendContent, map(type, dialogue.events))

    def test_too_many_recipients(self) -> None:
        """A 552 behind accepted recipients means 452, unless its enhanced code says else (RFC 5321 4.5.3.1.10)."""
        for first, second, expected in (
            (OK, b"552 too many recipients\r\n", "deferral 4.5.3 recipient"),
            (OK, b"552 5.5.3 too many\r\n", "deferral 4.5.3 recipient"),
            (OK, b"552 5.2.2 mailbox full\r\n", "failure 5.2.2"),
            (b"550 no\r\n", b"552 too much\r\n", "failure 5.1.0"),
        ):
            dialogue = greeted().begin((ONE, TWO, THREE)).hear(OK + first + second + OK + GO).hear(OK)
            self.assertEqual(expected, brief(dialogue.done.outcomes[TWO]), second)

    def test_data_refused(self) -> None:
        """A refused DATA is the outcome of those whose RCPT was accepted, and of no others."""
        dialogue = greeted().begin((ONE, TWO)).hear(OK + OK + b"550 5.1.1 no\r\n" + b"451 4.3.0 busy\r\n").hear(OK)
        outcomes = [brief(dialogue.done.outcomes[who]) for who in (ONE, TWO)]
        self.assertEqual(["deferral 4.3.0 message", "failure 5.1.1"], outcomes)

    def test_content_refused(self) -> None:
        """The reply to the final dot holds for all accepted recipients, and needs no RSET (RFC 5321 4.1.1.4)."""
        for reply, expected in (
            (b"554 5.7.1 spam\r\n", "failure 5.7.1"),
            (b"554 spam\r\n", "failure 5.6.0"),
            (b"452 4.3.1 full\r\n", "deferral 4.3.1 message"),
        ):
            dialogue = greeted().begin().hear(OK + OK + GO).hear(reply)
            self.assertEqual(expected, brief(dialogue.done.outcomes[ONE]))
            self.assertEqual(b"", dialogue.turn)
            self.assertIs(Stage.READY, dialogue.session.stage)
            self.assertEqual((), dialogue.done.undecided)


class ContentTests(SynchronousTestCase):
    def test_pieces(self) -> None:
        """Cut anywhere, the content leaves with the same dots stuffed and the same line ends (RFC 5321 4.5.2)."""
        for cut in range(len(CONTENT) + 1):
            dialogue = greeted(hold_content=True).begin().hear(OK + OK + GO)
            for piece in (CONTENT[:cut], CONTENT[cut:]):
                dialogue.session.send_content(piece)
                dialogue.settle()
            dialogue.session.end_content()
            dialogue.settle()
            self.assertEqual(ON_THE_WIRE, dialogue.turn, cut)

    def test_dots_start_anew_with_each_message(self) -> None:
        """The encoder of one message knows nothing of the one before, however that ended."""
        dialogue = greeted(hold_content=True)
        for content, wire in ((b"no end", b"no end\r\n.\r\n"), (b".x\r\n", b"..x\r\n.\r\n")):
            dialogue.begin().hear(OK + OK + GO)
            dialogue.session.send_content(content)
            dialogue.session.end_content()
            dialogue.settle()
            self.assertEqual(wire, dialogue.turn)
            dialogue.hear(OK)

    def test_bare_newlines_leave_as_line_ends(self) -> None:
        """No bare CR or LF leaves us, whatever the content holds (RFC 5321 2.3.8)."""
        dialogue = greeted(hold_content=True).begin().hear(OK + OK + GO)
        for piece in (b"a\n.\nb\r", b".\r", b"\nc"):
            dialogue.session.send_content(piece)
        dialogue.session.end_content()
        dialogue.settle()
        self.assertEqual(b"a\r\n..\r\nb\r\n..\r\nc\r\n.\r\n", dialogue.turn)

    def test_nothing_is_sent_after_the_end(self) -> None:
        """Pieces that come late, for a session that ended meanwhile, go nowhere: above all no final dot."""
        dialogue = greeted(hold_content=True).begin().hear(OK + OK + GO)
        dialogue.session.lost("closed the connection")
        dialogue.settle()
        dialogue.session.send_content(CONTENT)
        dialogue.session.end_content()
        dialogue.settle()
        self.assertEqual(b"", dialogue.turn)


class ReuseTests(SynchronousTestCase):
    def test_messages_one_after_another(self) -> None:
        """A session takes as many messages as it is given, failed ones between."""
        dialogue = greeted()
        for replies in ((OK + OK + GO, OK), (OK + b"550 no\r\n554 no\r\n", OK), (OK + OK + GO, OK)):
            dialogue.begin()
            for reply in replies:
                dialogue.hear(reply)
        outcomes = [brief(event.outcomes[ONE]) for event in dialogue.events if isinstance(event, TransactionDone)]
        self.assertEqual(["delivered", "failure 5.1.0", "delivered"], outcomes)

    def test_quit(self) -> None:
        """QUIT is sent when the caller wants it, and the session ends with the answer (RFC 5321 4.1.1.10)."""
        dialogue = greeted()
        dialogue.session.quit()
        dialogue.settle()
        self.assertTrue(dialogue.sent.endswith(b"QUIT\r\n"))
        self.assertIsNone(dialogue.ended)
        dialogue.hear(b"221 2.0.0 bye\r\n")
        self.assertIsNotNone(dialogue.ended)

    def test_no_quit_within_a_transaction(self) -> None:
        """QUIT does not break into a transaction."""
        dialogue = greeted().begin()
        dialogue.turn = b""
        dialogue.session.quit()
        dialogue.settle()
        self.assertEqual(b"", dialogue.turn)


class SplitTests(SynchronousTestCase):
    """However the network cuts the replies, the session does the same."""

    # What the server says before each of our turns, for a group with every kind of reply.
    REPLIES = (
        GREETING,
        PIPELINES,
        OK + b"550-5.1.1 no\r\n550 5.1.1 such user\r\n" + OK + b"450 later\n" + GO,
        b"250-2.0.0 Ok\r\n250 2.0.0 queued\r\n",
    )

    def played(self, pieces: list[list[bytes]]) -> tuple[bytes, list[object]]:
        dialogue = Dialogue().hear(*pieces[0]).hear(*pieces[1])
        dialogue.begin((ONE, TWO, THREE)).hear(*pieces[2]).hear(*pieces[3])
        return dialogue.sent, list(dialogue.events)

    def test_every_split(self) -> None:
        """Each of the server's turns, cut at every octet into two, gives the same bytes and events."""
        whole = [[turn] for turn in self.REPLIES]
        expected = self.played(whole)
        self.assertEqual(3, len(expected[1]))
        for number, turn in enumerate(self.REPLIES):
            for cut in range(len(turn) + 1):
                pieces = [*whole[:number], [turn[:cut], turn[cut:]], *whole[number + 1 :]]
                self.assertEqual(expected, self.played(pieces), (number, cut))

    def test_octet_by_octet(self) -> None:
        """The same, one octet at a time."""
        single = [[turn[at : at + 1] for at in range(len(turn))] for turn in self.REPLIES]
        self.assertEqual(self.played([[turn] for turn in self.REPLIES]), self.played(single))
