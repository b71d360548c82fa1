"""Mail that comes from another queue, in the spool."""

from __future__ import annotations

from typing import Any

from mta.entry import State
from mta.history import History, history_from
from mta.ids import spell
from mta.selection import Selection
from mta.spool import SpoolError, answering, moving, reading
from mta.spool.errors import AlreadyHereError
from tests.contracts.spools import BOB, CAROL, ORIGIN
from tests.spool.test_surgery import SurgeryCase

WORDS: dict[str, Any] = {
    "id": spell(7),
    "arrived": 55.25,
    "sender": "alice@example.org",
    "body": "8BITMIME",
    "details": {"envid": "QQ", "ret": "HDRS", "utf8": False, "of_a_later_version": 1},
    "recipients": [
        {
            "address": str(BOB),
            "state": "queued",
            "due": 2000.125,
            "attempts": 3,
            "last_reply": "450 later",
            "code": "450 4.2.1",
            "in_doubt": False,
            "details": {"notify": ["NEVER"], "orcpt": "rfc822;b@x.test"},
        },
        {
            "address": str(CAROL),
            "state": "held",
            "due": 1.0,
            "attempts": 0,
            "last_reply": "",
            "code": "",
            "in_doubt": True,
            "details": {},
        },
    ],
}


class ImportTests(SurgeryCase):
    def bring(self, message: int, words: dict[str, Any] = WORDS, archive: str = "abc") -> Any:
        history: History = history_from(archive, words, "root", 1000.0)
        receiving = self.spool.receive_again(message, history)
        receiving.write(b"Subject: x\r\n\r\nhello\r\n")
        return receiving.commit(history.envelope(), ORIGIN, history.arrived, False)

    def test_comes_with_its_past(self) -> None:
        """Age, attempts, states, what its sender said: all is as it was, under a new id, and no rule holds it."""
        self.wait(self.spool.surgery.add_rule(Selection(), "root", 1.0))
        self.wait(self.bring(70))
        self.assertEqual(["accepted", "imported"], self.kinds(70))
        self.assertEqual(2000.125, self.wait(self.spool.next_due()))
        (entry,) = self.wait(self.spool.claim(3000.0, 10))
        self.assertEqual((70, 55.25, "QQ"), (entry.message, entry.arrived, entry.envid))
        (bob,) = entry.recipients
        self.assertEqual((BOB, 3, "rfc822;b@x.test"), (bob.address, bob.attempts, bob.orcpt))
        doubts = list(reading.list_queue(self.database, Selection(state=State.IN_DOUBT)))
        self.assertEqual([str(CAROL)], [row.recipient for row in doubts])

    def test_once(self) -> None:
        """A message of an archive comes in once, also after it has left; that of another archive is another."""
        self.wait(self.bring(70))
        self.failureResultOf(self.settled(self.bring(71)), AlreadyHereError)
        self.wait(self.bring(72, archive="other"))
        self.wait(self.spool.discard(Selection(), "root", 1.0))
        self.failureResultOf(self.settled(self.bring(73)), AlreadyHereError)
        self.assertEqual({}, self.rows())

    def test_memory_and_mail_are_one_transaction(self) -> None:
        """Where the message can't be stored it is not remembered as imported either."""
        self.store(70, BOB)
        self.failureResultOf(self.settled(self.bring(70)), SpoolError)
        self.wait(self.bring(71))

    def settled(self, waiting: Any) -> Any:
        for _ in range(5):
            self.clock.advance(0)
        return waiting

    def test_words_come_back(self) -> None:
        """What one queue exports another takes in, and exports again as the same words."""
        self.wait(self.bring(70))
        rows = list(answering._archive(self.database, answering.Asked({})))
        expected = {**WORDS, "id": spell(70), "recipients": WORDS["recipients"][::-1]}
        self.assertEqual(expected, rows[0]["message"])
        self.assertEqual(["message", "content", "whole"], [next(iter(row)) for row in rows])

    def test_what_cannot_be_read_is_named(self) -> None:
        """A message without its content is told as gone, and those behind it follow."""
        self.store(1, BOB)
        self.store(2, BOB)
        self.database.execute("DELETE FROM chunks WHERE message = 1")
        rows = list(moving.messages(self.database, Selection(), 0.0))
        self.assertEqual([spell(1)], [row["gone"] for row in rows if "gone" in row])
        self.assertEqual([spell(2)], [row["whole"] for row in rows if "whole" in row])
