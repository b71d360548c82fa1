"""Replies, outcomes, ids, selections."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mta.entry import State
from mta.events import MEANINGS, TERMINAL, Kind
from mta.ids import MAX_WORKER, QueueIds, parse_id, spell
from mta.outcome import Deferral, Failure, Phase, Scope, judge_exception, judge_reply
from mta.reply import Reply, split_enhanced
from mta.selection import Selection, is_everything, selection_from


class ReplyTests(SynchronousTestCase):
    def test_wire_form(self) -> None:
        """RFC 5321 4.2.1: hyphens on all lines but the last; RFC 2034 4: the enhanced code on every line."""
        self.assertEqual(b"250 Ok\r\n", Reply(250, ("Ok",)).encode())
        self.assertEqual(b"550-5.1.1 no\r\n550 5.1.1 such\r\n", Reply(550, ("no", "such"), "5.1.1").encode())
        self.assertEqual(b"250 \r\n", Reply(250, ("",)).encode())

    def test_text_can_not_forge_a_reply(self) -> None:
        """A line end in a text (from a peer's address) does not become one on the wire."""
        self.assertEqual(b"550 a??250 b\r\n", Reply(550, ("a\r\n250 b",)).encode())

    def test_enhanced_code_must_agree_with_the_code(self) -> None:
        """RFC 2034 4: a code of another class is text."""
        self.assertEqual(("5.1.1", ("No", "such")), split_enhanced(("5.1.1 No", "5.1.1 such"), 550))
        self.assertEqual((None, ("5.1.1 No",)), split_enhanced(("5.1.1 No",), 450))
        self.assertEqual((None, ("5.1 No",)), split_enhanced(("5.1 No",), 550))
        self.assertEqual(("2.0.0", ("",)), split_enhanced(("2.0.0",), 250))


class OutcomeTests(SynchronousTestCase):
    def test_only_a_5xx_of_the_transaction_is_a_failure(self) -> None:
        """A table of replies by phase: everything but a 5xx to the message itself is a deferral."""
        table = [
            (550, Phase.RCPT, Failure, None),
            (554, Phase.END_OF_DATA, Failure, None),
            (501, Phase.MAIL, Failure, None),
            (450, Phase.RCPT, Deferral, Scope.RECIPIENT),
            (451, Phase.MAIL, Deferral, Scope.MESSAGE),
            (421, Phase.RCPT, Deferral, Scope.SITE),
            (554, Phase.GREETING, Deferral, Scope.SITE),
            (550, Phase.HELLO, Deferral, Scope.SITE),
            (250, Phase.DATA, Deferral, Scope.MESSAGE),
            (354, Phase.END_OF_DATA, Deferral, Scope.MESSAGE),
        ]
        for code, phase, kind, scope in table:
            outcome = judge_reply(Reply(code, ("x",)), phase, "mx.test")
            self.assertIsInstance(outcome, kind, (code, phase))
            self.assertEqual(scope, getattr(outcome, "scope", None), (code, phase))
            self.assertEqual(str(code), outcome.reply.text and str(outcome.reply.code))  # type: ignore[union-attr]

    def test_enhanced_code_is_the_peers_or_ours(self) -> None:
        """The peer's enhanced code counts; where it has none, the phase gives one of the right class."""
        self.assertEqual("5.7.1", judge_reply(Reply(550, ("x",), "5.7.1"), Phase.RCPT, "h").enhanced)
        self.assertEqual("5.1.0", judge_reply(Reply(550, ("x",)), Phase.RCPT, "h").enhanced)
        self.assertEqual("4.6.0", judge_reply(Reply(451, ("x",)), Phase.END_OF_DATA, "h").enhanced)

    def test_our_own_exceptions_are_deferrals(self) -> None:
        """An exception of ours says nothing about the peer and never bounces."""
        outcome = judge_exception(KeyError("x"), Phase.STORE)
        self.assertEqual((Scope.OURSELVES, "4.3.0"), (outcome.scope, outcome.enhanced))


class QueueIdTests(SynchronousTestCase):
    def test_ids_grow_whatever_the_clock_does(self) -> None:
        """A clock that stands, jumps ahead or goes back gives ids that only grow, and none twice."""
        ids = QueueIds(worker=3)
        times = [1e9] * 20_000 + [2e9, 2e9, 1e9, 0.0, 2e9]
        made = [ids.next(now) for now in times]
        self.assertEqual(sorted(set(made)), made)

    def test_ids_begin_above_what_the_spool_has_seen(self) -> None:
        """After a restart with the clock set back no id is used again."""
        last = QueueIds().next(2e9)
        self.assertGreater(QueueIds(above=last).next(1e9), last)

    def test_workers_never_share_an_id(self) -> None:
        """Two workers at the same instant make different ids."""
        self.assertNotEqual(QueueIds(0).next(1e9), QueueIds(1).next(1e9))
        self.assertRaises(ValueError, QueueIds, MAX_WORKER + 1)

    def test_spelling_round_trips_and_sorts(self) -> None:
        """An id is 13 characters, read back in either case, and texts sort as the integers do."""
        numbers = [1, 31, 32, QueueIds().next(1.7e9), QueueIds().next(4e9), (1 << 63) - 1]
        texts = [spell(number) for number in numbers]
        self.assertEqual(numbers, [parse_id(text.lower()) for text in texts])
        self.assertEqual(sorted(texts), texts)
        self.assertEqual({13}, {len(text) for text in texts})

    def test_what_is_no_id(self) -> None:
        """Other texts are refused by name."""
        for text in ("", "X", "U" * 13, "Z" * 13, "0" * 14, "é" * 13):
            self.assertIn(repr(text), str(self.assertRaises(ValueError, parse_id, text)))


class SelectionTests(SynchronousTestCase):
    def test_words_become_a_selection(self) -> None:
        """The words of a request are parsed once, and nothing given is everything."""
        self.assertTrue(is_everything(selection_from({})))
        selection = selection_from({"ids": [spell(5)], "sender": "", "domain": "A.Test", "state": "held"})
        self.assertEqual(Selection((5,), "", None, "a.test", State.HELD), selection)
        self.assertFalse(is_everything(selection))
        self.assertFalse(is_everything(Selection(sender="")))

    def test_bad_words_are_named(self) -> None:
        """A word that is none is an error that names it."""
        for words, named in (
            ({"colour": "x"}, "colour"),
            ({"state": "lost"}, "'lost'"),
            ({"ids": "x"}, "ids"),
            ({"ids": ["nonsense"]}, "'nonsense'"),
            ({"sender": 5}, "sender"),
            ({"sender": "\udcff"}, "sender must be text in UTF-8"),  # a byte of a command line that is no UTF-8
            ({"domain": "x.\ud800"}, "domain must be text in UTF-8"),
        ):
            self.assertIn(named, str(self.assertRaises(ValueError, selection_from, words)))


class EventTests(SynchronousTestCase):
    def test_every_kind_has_a_meaning(self) -> None:
        """Each kind of event is documented where it is declared, and the terminal ones are among them."""
        self.assertEqual(set(Kind), set(MEANINGS))
        for text, _fields in MEANINGS.values():
            self.assertTrue(text.endswith("."), text)
        self.assertTrue(set(MEANINGS) >= TERMINAL)
