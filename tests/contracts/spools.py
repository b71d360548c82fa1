"""
What every spool must do, whatever it is made of.

A test case mixes `SpoolContract` in and says how to open a spool, and how to wait for a Deferred of it.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from zope.interface.verify import verifyObject

from mta.address import parse_address
from mta.entry import Entry, NewMessage, Report, Result, State
from mta.envelope import Body, Envelope, Notify, Origin, Recipient, RequireTls, Ret
from mta.events import Event, Kind
from mta.interfaces import IContent, IReceiving, ISpool
from mta.selection import Selection
from mta.spool.reading import QueueRow

ALICE = parse_address("alice@example.org")
BOB = parse_address("bob@example.net")
CAROL = parse_address('"carol c"@example.net')
ORIGIN = Origin("192.0.2.1", "client.example.org", "relay", "ESMTP")
EVERYTHING = Selection()


def envelope(*recipients: Any, sender: Any = ALICE, body: Body = Body.SEVEN_BIT) -> Envelope:
    return Envelope(sender, tuple(Recipient(address) for address in recipients or (BOB,)), body)


class SpoolContract:
    """Mixed into a `TestCase` that provides `open`, `reopen`, `wait`, `rows`, `events`, `pages` and `corrupt`."""

    def open(self) -> ISpool:
        """A fresh spool."""
        raise NotImplementedError

    def reopen(self, **options: Any) -> ISpool:
        """What a new process finds after the last one was killed; `options` as `open_spool` takes them."""
        raise NotImplementedError

    def wait(self, waiting: Deferred[Any]) -> Any:
        """The result of a Deferred of the spool."""
        raise NotImplementedError

    def rows(self, state: State) -> list[QueueRow]:
        """The recipients in a state, as an operator sees them."""
        raise NotImplementedError

    def events(self, message: int) -> list[tuple[str, str | None]]:
        """The (kind, recipient) pairs of a message in the event log, in order."""
        raise NotImplementedError

    def corrupt(self, message: int, address: str) -> None:
        """Make the recipient rows of a message unreadable: `address` is the SQL of the value that stands there then."""
        raise NotImplementedError

    def store(
        self,
        spool: ISpool,
        message: int,
        *recipients: Any,
        content: bytes = b"Subject: x\r\n\r\nhello\r\n",
        now: float = 100.0,
        claim: bool = False,
        sender: Any = ALICE,
    ) -> Entry:
        receiving = spool.receive(message)
        receiving.write(content)
        entry = self.wait(receiving.commit(envelope(*recipients, sender=sender), ORIGIN, now, claim))
        assert isinstance(entry, Entry)
        return entry

    def read(self, spool: ISpool, entry: Entry) -> bytes:
        content = spool.content(entry)
        pieces: list[bytes] = []
        while piece := self.wait(content.chunk(len(pieces))):
            pieces.append(piece)
        return b"".join(pieces)

    def test_provides_its_interfaces(self: Any) -> None:
        """The spool and what it hands out provide their interfaces."""
        spool = self.open()
        verifyObject(ISpool, spool)
        verifyObject(IReceiving, spool.receive(1))
        verifyObject(IContent, spool.content(self.store(spool, 2)))

    def test_committed_message_is_claimed_once(self: Any) -> None:
        """What was committed is handed out when due, whole, and to one claimer only."""
        spool = self.open()
        self.store(spool, 7, BOB, CAROL)
        self.assertEqual([], self.wait(spool.claim(99.0, 10)))
        (entry,) = self.wait(spool.claim(100.0, 10))
        self.assertEqual((7, ALICE, 100.0, Body.SEVEN_BIT), (entry.message, entry.sender, entry.arrived, entry.body))
        self.assertEqual({BOB, CAROL}, {recipient.address for recipient in entry.recipients})
        self.assertEqual(b"Subject: x\r\n\r\nhello\r\n", self.read(spool, entry))
        self.assertEqual([], self.wait(spool.claim(1e9, 10)))

    def test_null_reverse_path_survives(self: Any) -> None:
        """The null reverse-path (RFC 5321 4.5.5) comes back as None."""
        spool = self.open()
        self.store(spool, 1, sender=None)
        (entry,) = self.wait(spool.claim(100.0, 1))
        self.assertIsNone(entry.sender)

    def test_what_the_sender_said_survives(self: Any) -> None:
        """RFC 3461 4, RFC 6531 3.4: RET, ENVID, NOTIFY, ORCPT and SMTPUTF8 come back, at once and after a restart."""
        spool = self.open()
        josé = Recipient(parse_address("josé@example.net", utf8=True), frozenset(Notify), "utf-8;José ☎@example.net")
        never = Recipient(CAROL, frozenset((Notify.NEVER,)))
        bob = Recipient(BOB, named="postmaster@example.net")
        sent = Envelope(
            parse_address("ålice@example.org", utf8=True),
            (josé, never, bob),
            Body.BINARY_MIME,
            True,
            Ret.HDRS,
            'QQ3"14=☎',
        )
        receiving = spool.receive(1)
        receiving.write(b"x")
        entries = [self.wait(receiving.commit(sent, ORIGIN, 100.0, True))]
        entries += self.wait(self.reopen().claim(100.0, 1))
        for entry in entries:
            envelope = entry.envelope(sorted(entry.recipients, key=lambda item: (-len(item.orcpt), str(item.address))))
            self.assertEqual(
                (sent.sender, sent.body, sent.utf8, sent.ret, sent.envid, sent.require_tls),
                (envelope.sender, envelope.body, envelope.utf8, envelope.ret, envelope.envid, envelope.require_tls),
            )
            self.assertEqual({josé, never, bob}, set(envelope.recipients))
        self.assertEqual(2, len(entries))

    def test_what_the_sender_said_of_tls_survives(self: Any) -> None:
        """RFC 8689 4.1: the tag comes back at once, after a restart and of a report, and the first event has it."""
        spool = self.open()
        asked = {1: RequireTls.YES, 2: RequireTls.NO, 3: None}
        for message, tag in asked.items():
            receiving = spool.receive(message)
            receiving.write(b"x")
            sent = Envelope(ALICE, (Recipient(BOB),), require_tls=tag)
            entry = self.wait(receiving.commit(sent, ORIGIN, 100.0, True))
            self.assertIs(tag, entry.envelope(entry.recipients).require_tls)
        bounce = NewMessage(
            4, 105.0, Envelope(None, (Recipient(ALICE),), require_tls=RequireTls.YES), Origin(""), b"report"
        )
        self.assertIs(RequireTls.YES, bounce.entry().require_tls)
        self.wait(spool.record(Report(3, (Result(BOB, State.QUEUED, 200.0),), (), bounce=bounce)))
        found = {item.message: item.require_tls for item in self.wait(self.reopen().claim(200.0, 10))}
        self.assertEqual({**asked, 4: RequireTls.YES}, found)

    def test_delay_is_told_once(self: Any) -> None:
        """That a sender was told of the delay is remembered in the transaction that stores the report."""
        spool = self.open()
        bob = Recipient(BOB, frozenset((Notify.DELAY,)), "rfc822;bob@old.example")
        receiving = spool.receive(3)
        receiving.write(b"x")
        sent = Envelope(ALICE, (bob, Recipient(CAROL), Recipient(ALICE)))
        self.wait(receiving.commit(sent, ORIGIN, 100.0, True))
        bounce = NewMessage(4, 105.0, envelope(ALICE, sender=None), Origin("", protocol="bounce"), b"report")
        results = (
            Result(BOB, State.QUEUED, 200.0, delay_told=True),
            Result(CAROL, State.QUEUED, 200.0, delay_told=True),
            Result(ALICE, State.QUEUED, 200.0),
        )
        self.wait(spool.record(Report(3, results, (), bounce=bounce)))
        found = {item.message: item for item in self.wait(self.reopen().claim(200.0, 10))}
        self.assertEqual({3, 4}, set(found))
        self.assertEqual(
            {BOB: True, CAROL: True, ALICE: False},
            {item.address: item.delay_told for item in found[3].recipients},
        )
        self.assertIn(bob, [item.recipient for item in found[3].recipients])

    def test_expansion_is_told_once(self: Any) -> None:
        """RFC 3461 5.2.7.3: aliases come back with the message until a report on them is stored, and then no more."""
        spool = self.open()
        team = Recipient(CAROL, frozenset((Notify.SUCCESS,)), "rfc822;Team@example.net")
        josé = Recipient(parse_address("josé@example.net", utf8=True), frozenset(Notify), "")
        for message, envid in ((1, "QQ1"), (2, "")):
            receiving = spool.receive(message)
            receiving.write(b"x")
            sent = Envelope(ALICE, (Recipient(BOB),), envid=envid, expanded=(team, josé))
            entry = self.wait(receiving.commit(sent, ORIGIN, 100.0, True))
            self.assertEqual((team, josé), entry.expanded)
        spool = self.reopen()
        entries = self.wait(spool.claim(100.0, 2))
        self.assertEqual([(1, (team, josé)), (2, (team, josé))], [(item.message, item.expanded) for item in entries])
        bounce = NewMessage(3, 105.0, envelope(ALICE, sender=None), Origin("", protocol="bounce"), b"report")
        self.wait(spool.record(Report(1, (), (), keep_claim=True, bounce=bounce, expansion_told=True)))
        self.wait(spool.record(Report(2, (Result(BOB, State.QUEUED, 100.0),), ())))
        found = {item.message: item for item in self.wait(self.reopen().claim(200.0, 3))}
        self.assertEqual({1: (), 2: (team, josé), 3: ()}, {each: item.expanded for each, item in found.items()})
        self.assertEqual(["QQ1", ""], [found[message].envid for message in (1, 2)])

    def test_claimed_on_commit_is_not_claimed_again(self: Any) -> None:
        """A message committed with a claim is nobody else's, and a small one has its content at hand."""
        spool = self.open()
        entry = self.store(spool, 1, claim=True)
        self.assertEqual(b"Subject: x\r\n\r\nhello\r\n", spool.content(entry).whole())
        self.assertEqual([], self.wait(spool.claim(1e9, 10)))

    def test_uncommitted_message_is_invisible(self: Any) -> None:
        """What was written but not committed is never handed out, also after a crash; abort may be called twice."""
        spool = self.open()
        left = spool.receive(1)
        left.write(bytes(600_000))
        dropped = spool.receive(2)
        dropped.write(bytes(600_000))
        dropped.abort()
        dropped.abort()
        self.assertEqual([], self.wait(spool.claim(1e9, 10)))
        again = self.reopen()
        self.assertEqual([], self.wait(again.claim(1e9, 10)))
        self.assertEqual(0, again.largest_id)

    def test_large_content_comes_back_whole(self: Any) -> None:
        """Content of many chunks, written in odd pieces, is read back byte for byte, in bounded chunks."""
        spool = self.open()
        content = bytes(range(256)) * 3001
        receiving = spool.receive(5)
        for start in range(0, len(content), 70_001):
            pause = receiving.write(content[start : start + 70_001])
            if pause is not None:
                self.wait(pause)
        self.assertEqual(len(content), receiving.size)
        entry = self.wait(receiving.commit(envelope(), ORIGIN, 1.0, True))
        self.assertIsNone(entry.content)
        self.assertIsNone(spool.content(entry).whole())
        self.assertEqual(content, self.read(spool, entry))
        self.assertLessEqual(len(self.wait(spool.content(entry).chunk(0))), 256 * 1024)

    def test_content_of_every_size_around_a_chunk(self: Any) -> None:
        """Content that ends at, before or after a chunk's end is read back as it was; empty content too."""
        spool = self.open()
        for number, size in enumerate((0, 1, 262_143, 262_144, 262_145, 524_288)):
            content = b"x" * size
            entry = self.store(spool, number + 1, content=content, claim=True)
            entry.content = None
            self.assertEqual(content, self.read(spool, entry), size)

    def test_delivered_message_is_gone_and_its_events_stay(self: Any) -> None:
        """When the last recipient is finished the message leaves the queue; the log keeps its story."""
        spool = self.open()
        self.store(spool, 3, BOB, CAROL, claim=True)
        delivered = Event(3, 101.0, Kind.DELIVERED, str(BOB), {"host": "mx"})
        self.wait(spool.record(Report(3, (Result(BOB, State.DELIVERED),), (delivered,), keep_claim=True)))
        failed = Event(3, 102.0, Kind.BOUNCED, str(CAROL), {"reason": "no"})
        self.wait(spool.record(Report(3, (Result(CAROL, State.BOUNCED),), (failed,))))
        self.assertEqual([], self.wait(self.reopen().claim(1e9, 10)))
        self.assertEqual(
            [("accepted", None), ("delivered", str(BOB)), ("bounced", str(CAROL))],
            self.events(3),
        )

    def test_deferred_recipient_comes_back_alone(self: Any) -> None:
        """Outcomes are kept by address: what was delivered never comes again, what was deferred does when due."""
        spool = self.open()
        self.store(spool, 3, BOB, CAROL, claim=True)
        results = (Result(CAROL, State.QUEUED, 500.0, "450 later"), Result(BOB, State.DELIVERED))
        self.wait(spool.record(Report(3, results, ())))
        self.assertEqual(500.0, self.wait(spool.next_due()))
        self.assertEqual([], self.wait(spool.claim(499.9, 10)))
        (entry,) = self.wait(spool.claim(500.0, 10))
        self.assertEqual([(CAROL, 1)], [(item.address, item.attempts) for item in entry.recipients])

    def test_postponing_counts_no_attempt(self: Any) -> None:
        """A recipient that waits for a dead site keeps its count of attempts."""
        spool = self.open()
        self.store(spool, 3, claim=True)
        self.wait(spool.record(Report(3, (Result(BOB, State.QUEUED, 200.0, counts=False),), ())))
        (entry,) = self.wait(spool.claim(200.0, 1))
        self.assertEqual(0, entry.recipients[0].attempts)

    def test_what_waits_for_a_site_is_woken_when_it_answers(self: Any) -> None:
        """The oldest that wait for a site are due at once, as many as asked for; other sites' wait on."""
        spool = self.open()
        for message, site in ((1, "b.test"), (4, "a.test"), (3, "a.test"), (2, "a.test"), (5, None)):
            self.store(spool, message, claim=True)
            result = Result(BOB, State.QUEUED, 900.0 - message, counts=False)
            self.wait(spool.record(Report(message, (result,), (), waits_for=site)))
        self.assertEqual(2, self.wait(spool.wake("a.test", 200.0, 2)))
        self.assertEqual([2, 3], [entry.message for entry in self.wait(spool.claim(200.0, 9))])
        self.assertEqual(1, self.wait(spool.wake("a.test", 200.0, 2)))
        self.assertEqual(0, self.wait(spool.wake("a.test", 200.0, 2)))  # it is due, and nobody has claimed it yet
        self.assertEqual([4], [entry.message for entry in self.wait(spool.claim(200.0, 9))])
        self.assertEqual([], self.wait(spool.claim(894.0, 9)))
        self.assertEqual([5, 1], [entry.message for entry in self.wait(spool.claim(900.0, 9))])

    def test_who_was_tried_since_waits_for_no_site(self: Any) -> None:
        """A message that was claimed waits for the site no longer: the answer of that is nothing to its next wait."""
        spool = self.open()
        self.store(spool, 3, claim=True)
        self.wait(spool.record(Report(3, (Result(BOB, State.QUEUED, 500.0, counts=False),), (), waits_for="a.test")))
        self.wait(spool.claim(500.0, 1))
        self.wait(spool.record(Report(3, (Result(BOB, State.QUEUED, 900.0, "450 later"),), ())))
        self.assertEqual(0, self.wait(spool.wake("a.test", 600.0, 9)))
        self.assertEqual(900.0, self.wait(spool.next_due()))

    def test_only_who_waits_for_the_site_is_woken(self: Any) -> None:
        """Of a message whose recipients wait for different times none is woken, and none that an operator holds."""
        spool = self.open()
        self.store(spool, 3, BOB, CAROL, claim=True)
        results = (Result(BOB, State.QUEUED, 500.0, counts=False), Result(CAROL, State.QUEUED, 900.0, "450 later"))
        self.wait(spool.record(Report(3, results, (), waits_for="a.test")))
        self.assertEqual(0, self.wait(spool.wake("a.test", 200.0, 9)))
        self.store(spool, 4, BOB, CAROL, claim=True)
        results = (Result(BOB, State.QUEUED, 500.0), Result(CAROL, State.QUEUED, 500.0))
        self.wait(spool.record(Report(4, results, (), waits_for="a.test")))
        self.wait(spool.hold(Selection(recipient=str(BOB), messages=(4,)), "root", 150.0))
        self.assertEqual(1, self.wait(spool.wake("a.test", 200.0, 9)))
        (entry,) = self.wait(spool.claim(200.0, 9))
        self.assertEqual((4, [CAROL]), (entry.message, [item.address for item in entry.recipients]))

    def test_claims_come_by_due_time(self: Any) -> None:
        """The earliest due come first, whatever their ids, as many as asked for."""
        spool = self.open()
        for message, now in ((1, 30.0), (2, 10.0), (3, 20.0)):
            self.store(spool, message, now=now)
        self.assertEqual([2, 3], [entry.message for entry in self.wait(spool.claim(100.0, 2))])
        self.assertEqual([1], [entry.message for entry in self.wait(spool.claim(100.0, 2))])

    def test_bounce_is_stored_with_its_cause(self: Any) -> None:
        """A bounce becomes a message in the transaction that ends the recipient."""
        spool = self.open()
        self.store(spool, 3, claim=True)
        bounce = NewMessage(4, 105.0, envelope(ALICE, sender=None), Origin("", protocol="bounce"), b"report")
        self.wait(spool.record(Report(3, (Result(BOB, State.BOUNCED),), (), bounce=bounce)))
        (entry,) = self.wait(self.reopen().claim(105.0, 10))
        self.assertEqual((4, None, ALICE), (entry.message, entry.sender, entry.recipients[0].address))

    def test_claimed_bounce(self: Any) -> None:
        """A bounce claimed with its report is nobody else's, is not due for anybody, and comes back after a crash."""
        spool = self.open()
        self.store(spool, 3, BOB, CAROL, claim=True)
        sent = Envelope(None, (Recipient(ALICE, frozenset((Notify.NEVER,))),), Body.EIGHT_BIT_MIME)
        bounce = NewMessage(4, 105.0, sent, Origin("", protocol="bounce"), b"report")
        results = (Result(BOB, State.BOUNCED), Result(CAROL, State.QUEUED, 300.0))
        self.assertEqual(300.0, self.wait(spool.record(Report(3, results, (), bounce=bounce, claims_bounce=True))))
        self.assertEqual([], self.wait(spool.claim(200.0, 10)))
        self.assertEqual([("accepted", None)], self.events(4))
        handed = bounce.entry()
        self.assertEqual(b"report", self.read(spool, handed))
        (entry,) = self.wait(self.reopen().claim(200.0, 10))
        self.assertEqual(b"report", handed.content)
        handed.content = None
        self.assertEqual(handed, entry)

    def test_large_bounce_is_cut_into_chunks(self: Any) -> None:
        """A report on a thousand recipients is larger than a chunk, and is read back as any other content."""
        spool = self.open()
        self.store(spool, 3, claim=True)
        text = bytes(range(256)) * 3001
        bounce = NewMessage(4, 105.0, envelope(ALICE, sender=None), Origin("", protocol="bounce"), text)
        self.wait(spool.record(Report(3, (Result(BOB, State.BOUNCED),), (), bounce=bounce)))
        (entry,) = self.wait(spool.claim(105.0, 10))
        self.assertEqual(text, self.read(spool, entry))
        self.assertLessEqual(len(self.wait(spool.content(entry).chunk(0))), 256 * 1024)

    def test_record_says_when_something_is_due(self: Any) -> None:
        """The answer to a report is the earliest due time of the whole message, known once its claim is given back."""
        spool = self.open()
        self.store(spool, 1, BOB, CAROL, claim=True)
        first = Report(1, (Result(BOB, State.QUEUED, 300.0),), (), keep_claim=True)
        self.assertIsNone(self.wait(spool.record(first)))
        self.assertEqual(300.0, self.wait(spool.record(Report(1, (Result(CAROL, State.QUEUED, 400.0),), ()))))
        self.wait(spool.claim(300.0, 10))
        self.assertEqual(400.0, self.wait(spool.record(Report(1, (Result(BOB, State.DELIVERED),), ()))))
        self.wait(spool.claim(400.0, 10))
        bounce = NewMessage(4, 401.0, envelope(ALICE, sender=None), Origin("", protocol="bounce"), b"report")
        self.assertEqual(401.0, self.wait(spool.record(Report(1, (Result(CAROL, State.BOUNCED),), (), bounce=bounce))))
        self.store(spool, 5, claim=True)
        self.assertIsNone(self.wait(spool.record(Report(5, (Result(BOB, State.DELIVERED),), ()))))

    def test_text_that_is_no_unicode_is_recorded(self: Any) -> None:
        """The name of a file in an exception may hold lone surrogates: what happened is written down all the same."""
        spool = self.open()
        self.store(spool, 1, claim=True)
        event = Event(1, 101.0, Kind.DEFERRED, str(BOB), {"reason": "mail/\udcff: no"})
        report = Report(1, (Result(BOB, State.QUEUED, 200.0, "mail/\udcff: no"),), (event,), keep_claim=True)
        self.wait(spool.record(report))
        self.wait(spool.crashed(1, "mail/\udcff: no", 102.0, 200.0))
        self.assertEqual(["accepted", "deferred", "crashed"], [kind for kind, _recipient in self.events(1)])

    def test_killed_worker_loses_its_claims(self: Any) -> None:
        """What a killed process had claimed is due for the next one, with everything recorded so far."""
        spool = self.open()
        self.store(spool, 1, BOB, CAROL, claim=True)
        self.store(spool, 2, now=50.0)
        self.wait(spool.claim(60.0, 1))
        self.wait(spool.record(Report(1, (Result(BOB, State.DELIVERED),), (), keep_claim=True)))
        found = self.wait(self.reopen().claim(1000.0, 10))
        self.assertEqual(
            [(2, [BOB]), (1, [CAROL])],
            [(entry.message, [item.address for item in entry.recipients]) for entry in found],
        )

    def test_closing_gives_claims_back(self: Any) -> None:
        """A clean stop releases what was claimed, and a closed spool says that it is closed."""
        spool = self.open()
        self.store(spool, 1, claim=True)
        self.wait(spool.close())
        self.assertEqual([1], [entry.message for entry in self.wait(self.reopen().claim(1000.0, 10))])

    def test_claim_behind_the_close_is_taken_over(self: Any) -> None:
        """A message that is committed with a claim while the spool closes is due for the next process."""
        spool = self.open()
        closed = spool.close()
        self.store(spool, 1, claim=True)
        self.wait(closed)
        self.assertEqual([1], [entry.message for entry in self.wait(self.reopen().claim(1000.0, 10))])

    def test_unreadable_row_is_quarantined(self: Any) -> None:
        """A row that can't be read, or is no text, is put aside with the reason, deletes nothing and delays nobody."""
        spool = self.open()
        for message in (1, 2, 3, 4):
            self.store(spool, message)
        self.corrupt(1, "'not an address'")
        self.corrupt(2, "CAST(x'FF' AS TEXT) || '@example.net'")
        self.corrupt(3, "'bob@' || CAST(x'FF' AS TEXT)")
        self.assertEqual([4], [entry.message for entry in self.wait(spool.claim(1000.0, 10))])
        for message in (1, 2, 3):
            self.assertEqual([("accepted", None), ("quarantined", None)], self.events(message))
        self.assertEqual([], self.wait(spool.claim(1e9, 10)))

    def test_three_crashes_quarantine(self: Any) -> None:
        """A message whose handling raises is put off twice and quarantined at the third time; release forgives it."""
        spool = self.open()
        self.store(spool, 1, claim=True)
        for attempt in (1, 2):
            due = self.wait(spool.crashed(1, "KeyError", 200.0 * attempt - 100, 200.0 * attempt))
            self.assertEqual(200.0 * attempt, due)
            self.assertEqual([], self.wait(spool.claim(200.0 * attempt - 1, 10)))
            self.assertEqual(1, len(self.wait(spool.claim(200.0 * attempt, 10))))
        self.assertIsNone(self.wait(spool.crashed(1, "KeyError", 900.0, 1000.0)))
        self.assertEqual([], self.wait(spool.claim(1e9, 10)))
        self.assertEqual([(1, str(BOB))], self.wait(spool.unhold(EVERYTHING, "root", 2000.0)))
        self.assertEqual(1, len(self.wait(spool.claim(2000.0, 10))))
        self.assertEqual(2100.0, self.wait(spool.crashed(1, "KeyError", 2000.0, 2100.0)))

    def test_held_recipient_stays_until_released(self: Any) -> None:
        """Hold stops what is queued, only what is selected; release makes it due at once; both are in the log."""
        spool = self.open()
        self.store(spool, 1, BOB, CAROL)
        self.assertEqual([(1, str(CAROL))], self.wait(spool.hold(Selection(recipient="*carol*"), "root", 110.0)))
        (entry,) = self.wait(spool.claim(200.0, 10))
        self.assertEqual([BOB], [item.address for item in entry.recipients])
        self.wait(spool.record(Report(1, (Result(BOB, State.DELIVERED),), ())))
        self.assertIsNone(self.wait(spool.next_due()))
        self.assertEqual([(1, str(CAROL))], self.wait(spool.unhold(EVERYTHING, "root", 300.0)))
        self.assertEqual(1, len(self.wait(spool.claim(300.0, 10))))
        self.assertIn(("held", str(CAROL)), self.events(1))
        self.assertIn(("released", str(CAROL)), self.events(1))

    def test_retry_makes_deferred_due(self: Any) -> None:
        """Retry moves the due time of what waits, and of nothing else."""
        spool = self.open()
        self.store(spool, 1, claim=True)
        self.wait(spool.record(Report(1, (Result(BOB, State.QUEUED, 9000.0),), ())))
        self.assertEqual([(1, str(BOB))], self.wait(spool.retry(EVERYTHING, "root", 200.0)))
        self.assertEqual([], self.wait(spool.retry(EVERYTHING, "root", 200.0)))
        self.assertEqual(1, len(self.wait(spool.claim(200.0, 1))))

    def test_discarded_recipient_ends_once(self: Any) -> None:
        """Discard ends a recipient at once with its terminal event; the message goes with its last one."""
        spool = self.open()
        self.store(spool, 1)
        self.assertEqual([(1, str(BOB))], self.wait(spool.discard(EVERYTHING, "root", 200.0)))
        self.assertEqual([], self.wait(spool.claim(1e9, 10)))
        self.assertEqual([("accepted", None), ("discarded", str(BOB))], self.events(1))

    def test_discard_during_an_attempt_waits_for_its_end(self: Any) -> None:
        """Discarded under way and deferred: it ends as discarded. Delivered meanwhile: that is a fact, and the end."""
        spool = self.open()
        for message in (1, 2):
            self.store(spool, message, claim=True)
        self.assertEqual(2, len(self.wait(spool.discard(EVERYTHING, "root", 200.0))))
        self.assertEqual([("accepted", None)], self.events(1))
        self.wait(spool.record(Report(1, (Result(BOB, State.QUEUED, 500.0),), ())))
        delivered = Event(2, 201.0, Kind.DELIVERED, str(BOB))
        self.wait(spool.record(Report(2, (Result(BOB, State.DELIVERED),), (delivered,))))
        self.assertEqual([("accepted", None), ("discarded", str(BOB))], self.events(1))
        self.assertEqual([("accepted", None), ("delivered", str(BOB))], self.events(2))
        self.assertEqual([], self.wait(self.reopen().claim(1e9, 10)))

    def test_changes_of_many_reach_all(self: Any) -> None:
        """A change of more rows than one transaction takes reaches every one of them."""
        spool = self.open()
        many = [parse_address(f"user{number}@example.net") for number in range(2500)]
        self.store(spool, 1, *many)
        self.assertEqual(2500, len(self.wait(spool.hold(EVERYTHING, "root", 1.0))))
        self.assertEqual([], self.wait(spool.claim(1e9, 10)))

    def test_largest_id_outlives_the_message(self: Any) -> None:
        """The largest id is known from the log also when its message is gone: ids are never used twice."""
        spool = self.open()
        self.store(spool, 41)
        self.wait(spool.discard(EVERYTHING, "root", 1.0))
        self.assertEqual(41, self.reopen().largest_id)

    def test_pruning_spares_what_is_queued(self: Any) -> None:
        """Old events of finished messages go; those of a message in the queue stay, whatever their age."""
        spool = self.open()
        self.store(spool, 1)
        self.store(spool, 2)
        self.wait(spool.discard(Selection(messages=(1,)), "root", 150.0))
        self.assertEqual(2, self.wait(spool.prune(1000.0)))
        self.assertEqual([], self.events(1))
        self.assertEqual([("accepted", None)], self.events(2))

    def test_pruning_keeps_up(self: Any) -> None:
        """One call forgets all that is old enough, however much it is."""
        spool = self.open()
        self.store(spool, 1, claim=True)
        self.wait(spool.record(Report(1, (Result(BOB, State.DELIVERED),), (Event(1, 101.0, Kind.DELIVERED),) * 12_000)))
        self.assertEqual(12_001, self.wait(spool.prune(1000.0)))

    def test_pruning_gives_room_back(self: Any) -> None:
        """A queue that was long leaves a file that shrinks: at least half of what is free goes back to the disk."""
        spool = self.open()
        for message in range(1, 201):
            self.store(spool, message, content=bytes(1 << 18))
        before = self.pages()
        self.wait(spool.discard(EVERYTHING, "root", 150.0))
        self.wait(spool.prune(0.0))
        self.assertLess(self.pages(), before * 0.75)

    def test_one_broken_request_harms_no_other(self: Any) -> None:
        """Two messages with one id in a batch: one is stored, the other fails, neighbours are stored."""
        spool = self.open()
        waiting = []
        for message in (1, 1, 2):
            receiving = spool.receive(message)
            receiving.write(b"x")
            waiting.append(receiving.commit(envelope(), ORIGIN, 1.0, False))
        results = [self.wait(item.addErrback(lambda fault: fault.type.__name__)) for item in waiting]
        self.assertEqual(1, results.count("SpoolError"))
        self.assertEqual([1, 2], sorted(entry.message for entry in self.wait(self.reopen().claim(10.0, 10))))
