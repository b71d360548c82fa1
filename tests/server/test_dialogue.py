"""Dialogues over the whole server: commands, content, answers that have to wait."""

from __future__ import annotations

import unittest
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mta.envelope import Body
from mta.ids import spell
from mta.interfaces import IQueue, IReceiving
from mta.policy.clients import Networks
from tests.policy.limits import limits_for_tests
from tests.server.fakes import STRANGER, TRUSTED, Client, FakeQueue, FakeSpool, FakeSpoolError, Site, codes

ENVELOPE = b"MAIL FROM:<a@b.test>\r\nRCPT TO:<alice@local.test>\r\n"

# What a client sends between two waits for replies, and the codes that it gets. RFC 2920 3.1.
STEPS = [
    (b"EHLO client.test\r\n", ["250"]),
    (
        b"MAIL FROM:<a@b.test> BODY=8BITMIME\r\nRCPT TO:<alice@local.test>\r\nRCPT TO:<carol@local.test>\r\n"
        b"RCPT TO:<bob@local.test>\r\nDATA\r\n",
        ["250", "250", "550", "250", "354"],
    ),
    (
        b"Subject: x\r\n\r\n..dot\r\n.\xe9\r\n\r\n.\r\nRSET\r\nMAIL FROM:<>\r\nRCPT TO:<bob@local.test>\r\nDATA\r\n",
        ["250", "250", "250", "250", "354"],
    ),
    (b"a\r\n" + b"\r\n" * 5 + b".\r\nNOOP\r\nQUIT\r\n", ["250", "250", "221"]),
]
CONTENTS = [b"Subject: x\r\n\r\n.dot\r\n\xe9\r\n\r\n", b"a\r\n" + b"\r\n" * 5]


class DialogueTests(SynchronousTestCase):
    def test_fakes(self) -> None:
        """The fakes keep the contracts of the real things."""
        verifyObject(IReceiving, FakeSpool().receive(1))
        verifyObject(IQueue, FakeQueue())

    def test_greeting(self) -> None:
        """The greeting names the host and ESMTP (RFC 5321 4.2)."""
        self.assertEqual(b"220 mx.example.org ESMTP\r\n", Site().connect().heard())

    def test_every_split(self) -> None:
        """However a dialogue is cut, replies and stored messages are the same (invariant 2), also byte by byte."""
        cuts: list[tuple[int, int]] = [
            (step, cut) for step, (sent, _) in enumerate(STEPS) for cut in range(1, len(sent))
        ]
        for slow in (False, True):
            for where, cut in [(-1, 0), (-2, 0), *cuts]:
                site = Site()
                site.spool.slow = slow
                client = site.connect()
                client.heard()
                for step, (sent, expected) in enumerate(STEPS):
                    if where == -2:
                        pieces = [sent[at : at + 1] for at in range(len(sent))]
                    else:
                        pieces = [sent[:cut], sent[cut:]] if step == where else [sent]
                    heard = b""
                    for piece in pieces:
                        heard += client.say(piece)
                        if slow and site.spool.waiting:
                            self.assertEqual(b"", client.say(b""))
                            site.spool.finish()
                            heard += client.heard()
                    self.assertEqual(expected, codes(heard), (where, cut, heard))
                self.assertEqual(CONTENTS, site.spool.contents, (where, cut))
                self.assertFalse(client.open)

    def test_accepted(self) -> None:
        """The spool gets the envelope, the origin and the trace field; the queue the entry; the peer its id."""
        site = Site()
        client = site.hello()
        client.say(ENVELOPE + b"RCPT TO:<bob@local.test>\r\nDATA\r\n")
        reply = client.say(b"x\r\n.\r\n")
        self.assertEqual(f"250 2.0.0 Ok: queued as {spell(1)}\r\n".encode(), reply)
        ((entry, origin, claim),) = site.spool.committed
        self.assertEqual("a@b.test", str(entry.sender))
        self.assertEqual(["alice@local.test", "bob@local.test"], [str(to.address) for to in entry.recipients])
        self.assertEqual((1, Body.SEVEN_BIT, 1_700_000_000.0), (entry.message, entry.body, entry.arrived))
        self.assertEqual(
            (STRANGER, "client.test", "relay", "ESMTP"),
            (origin.client, origin.helo, origin.listener, origin.protocol),
        )
        self.assertEqual(([(1, True)], True), (site.queue.taken, claim))
        trace, _, _ = (entry.content or b"").partition(b"x\r\n")
        for words in (b"from client.test ([192.0.2.1])", b"by mx.example.org", b"with ESMTP", spell(1).encode()):
            self.assertIn(words, trace)
        self.assertNotIn(b"local.test", trace)  # RFC 5321 7.2

    def test_one_recipient_is_named(self) -> None:
        """The trace field names the recipient where there is one only (RFC 5321 4.4, 7.2)."""
        site = Site()
        client = site.connect()
        client.say(b"HELO c\r\n")
        client.say(b"MAIL FROM:<>\r\n")
        client.say(b"RCPT TO:<alice@local.test>\r\n")
        client.say(b"DATA\r\n")
        client.say(b".\r\n")
        content = site.spool.committed[0][0].content or b""
        self.assertIn(b"for <alice@local.test>", content)
        self.assertIn(b"with SMTP id", content)
        self.assertEqual([b""], site.spool.contents)

    def test_no_room_in_window(self) -> None:
        """Where the queue has no room the message is committed unclaimed, and the queue told so."""
        site = Site()
        site.queue.room = False
        client = site.hello()
        client.say(ENVELOPE + b"DATA\r\n")
        self.assertEqual(["250"], client.codes(b"x\r\n.\r\n"))
        self.assertEqual(([(1, False)], False), (site.queue.taken, site.spool.committed[0][2]))

    def test_relay(self) -> None:
        """Strangers reach local users, trusted clients everyone."""
        for host, expected in ((STRANGER, ["250", "550"]), (TRUSTED, ["250", "250"])):
            client = Site().hello(host)
            self.assertEqual(expected, client.codes(b"MAIL FROM:<a@local.test>\r\nRCPT TO:<x@far.test>\r\n"))

    def test_disk_low(self) -> None:
        """Without room on disk MAIL is answered 452 4.3.1, and taken again when there is room."""
        site = Site()
        client = site.hello()
        site.room = False
        self.assertEqual(b"452 4.3.1", client.say(b"MAIL FROM:<>\r\n")[:9])
        site.room = True
        self.assertEqual(b"250 2.1.0", client.say(b"MAIL FROM:<>\r\n")[:9])

    def test_refused_content(self) -> None:
        """Content that is refused is dropped as soon as that is known, and nothing is committed."""
        for data, reply in (
            (b"x\ny", b"550 5.5.2"),
            (b"x" * 2001, b"500 5.6.0"),
            ((b"x" * 98 + b"\r\n") * 10_001, b"552 5.3.4"),
        ):
            site = Site()
            client = site.hello()
            client.say(ENVELOPE + b"DATA\r\n")
            client.say(data)
            self.assertTrue(site.spool.received[0].aborted)
            size = site.spool.received[0].size
            client.say(data)
            self.assertEqual(size, site.spool.received[0].size)
            self.assertEqual(reply, client.say(b"\r\n.\r\n")[:9])
            self.assertEqual(["250", "250"], client.codes(ENVELOPE))
            self.assertEqual([], site.spool.committed)

    def test_too_many_hops(self) -> None:
        """A message with more Received fields than the limit is refused (RFC 5321 6.3); our own does not count."""
        for hops, expected in ((50, b"250 2.0.0"), (51, b"554 5.4.6")):
            site = Site()
            client = site.hello()
            client.say(ENVELOPE + b"DATA\r\n")
            reply = client.say(b"Received: x\r\n" * hops + b"\r\nReceived: body\r\n.\r\n")
            self.assertEqual(expected, reply[:9])
            self.assertEqual(hops == 51, site.spool.received[0].aborted)

    def test_normalized(self) -> None:
        """Bare newlines from a named network, or from all, are mended."""
        for changed, host, reply in (
            ({"normalize_networks": Networks(["10.0.0.0/8"])}, TRUSTED, b"250"),
            ({"normalize_networks": Networks(["10.0.0.0/8"])}, STRANGER, b"550"),
            ({"bare_newlines": "normalize"}, STRANGER, b"250"),
        ):
            site = Site(**changed)
            client = site.hello(host)
            client.say(ENVELOPE + b"DATA\r\n")
            self.assertEqual(reply, client.say(b"x\ny\r\n.\r\n")[:3])

    def test_smuggling(self) -> None:
        """A second envelope behind a false end of data is content, or refused; never a second message."""
        for end in (b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r.\r\n", b"\r\n.\r", b"\n\n.\r\n", b"\r\n\x00.\r\n"):
            for bare_newlines in ("reject", "normalize"):
                site = Site(bare_newlines=bare_newlines)
                client = site.hello()
                client.say(ENVELOPE + b"DATA\r\n")
                replies = client.codes(b"x" + end + ENVELOPE + b"DATA\r\nsmuggled\r\n.\r\n")
                self.assertEqual(1, len(replies), (end, replies))
                self.assertLessEqual(len(site.spool.committed), 1)


class LongLineTests(SynchronousTestCase):
    def test_every_split(self) -> None:
        """A line of more than 2048 octets gets one 500, and what stands behind it is still read, at every split."""
        for length, expected in ((2046, "250"), (2047, "500"), (5000, "500")):
            wire = b"NOOP ".ljust(length, b"x") + b"\r\nRSET\r\nVRFY x\r\n"
            cuts = {1, 2, 2045, 2046, 2047, 2048, 2049, 2050, *range(length - 2, len(wire))}
            for cut in sorted(cuts):
                client = Site().hello()
                heard = client.say(wire[:cut]) + client.say(wire[cut:])
                self.assertEqual([expected, "250", "252"], codes(heard), (length, cut))
                self.assertEqual(["250"], client.codes(b"NOOP\r\n"))

    def test_chunk_behind_it(self) -> None:
        """Behind a line of BDAT that is too long a chunk follows, no commands: the connection closes."""
        wire = b"BDAT 6".ljust(3000) + b"\r\nNOOP\r\n"
        for cut in (1, 2047, 2048, 2049, 2999, 3001, len(wire)):
            client = Site().hello()
            heard = client.say(wire[:cut]) + client.say(wire[cut:])
            self.assertEqual((["501"], False), (codes(heard), client.open), cut)

    def test_bounded(self) -> None:
        """A line that never ends keeps no memory, and ends at its first CRLF."""
        client = Site().hello()
        for _ in range(1000):
            self.assertEqual(b"", client.say(b"x" * 999 + b"\r"))
            self.assertLess(len(client.server._buffer), 4096)
        self.assertEqual(["500", "250"], client.codes(b"\nNOOP\r\n"))


class WaitingTests(SynchronousTestCase):
    def test_replies_stay_in_order(self) -> None:
        """What comes while the spool commits is answered after it, and the transport is held back meanwhile."""
        site = Site()
        site.spool.slow = True
        client = site.hello()
        client.say(ENVELOPE + b"DATA\r\n")
        self.assertEqual(b"", client.say(b"x\r\n.\r\nNOOP\r\n"))
        self.assertEqual("producing", client.wire.producerState)
        self.assertEqual(b"", client.say(b"VRFY x\r\n"))
        self.assertEqual("paused", client.wire.producerState)
        site.spool.finish()
        self.assertEqual(["250", "250", "252"], codes(client.heard()))
        self.assertEqual("producing", client.wire.producerState)

    def test_full_spool_holds_the_peer(self) -> None:
        """While the spool wants no more, nothing is handed to it, and the end of the data waits too."""
        site = Site()
        client = site.hello()
        client.say(ENVELOPE + b"DATA\r\n")
        site.spool.full = True
        client.say(b"one\r\n")
        client.say(b"two\r\n")
        client.say(b"three\r\n.\r\nNO")
        self.assertEqual("paused", client.wire.producerState)
        self.assertNotIn(b"two", site.spool.received[0].data)
        site.spool.make_room()
        self.assertIn(b"two", site.spool.received[0].data)
        self.assertEqual(b"", client.say(b"OP\r\nVRFY x\r\n"))
        site.spool.make_room()
        self.assertEqual(["250", "250", "252"], codes(client.heard()))
        self.assertEqual([b"one\r\ntwo\r\nthree\r\n"], site.spool.contents)

    def test_deaf_peer(self) -> None:
        """A peer that does not read its replies is not read from either, and can still be got rid of."""
        site = Site()
        client = site.hello()
        client.server.pauseProducing()
        self.assertEqual(b"", client.say(b"NOOP\r\nNOOP\r\n"))
        self.assertEqual("paused", client.wire.producerState)
        client.server.resumeProducing()
        self.assertEqual(["250", "250"], codes(client.heard()))
        client.server.pauseProducing()
        client.wire.closes = False
        site.clock.advance(301)
        self.assertTrue(client.wire.disconnecting)
        self.assertIsNone(client.wire.producer)
        site.clock.advance(11)
        self.assertTrue(client.wire.aborted)

    def test_deaf_while_committing(self) -> None:
        """Both reasons to wait must be over before anything is read."""
        site = Site()
        site.spool.slow = True
        client = site.hello()
        client.say(ENVELOPE + b"DATA\r\n")
        client.say(b"x\r\n.\r\nNOOP\r\n")
        client.server.pauseProducing()
        client.server.resumeProducing()
        self.assertEqual(b"", client.heard())
        client.server.pauseProducing()
        site.spool.finish()
        self.assertEqual(["250"], codes(client.heard()))
        client.server.resumeProducing()
        self.assertEqual(["250"], codes(client.heard()))


class FaultTests(SynchronousTestCase):
    def test_commit_fails(self) -> None:
        """A spool that can't commit is 451 4.3.0; nothing is queued, the log says why, the session goes on."""
        site = Site()
        site.spool.committing = FakeSpoolError("disk on fire")
        client = site.hello()
        client.say(ENVELOPE + b"DATA\r\n")
        self.assertEqual(b"451 4.3.0", client.say(b"x\r\n.\r\n")[:9])
        self.assertEqual([], site.queue.taken)
        self.assertIn("FakeSpoolError: disk on fire", [fields.get("reason") for _, fields in site.log])
        site.spool.committing = None
        client.say(ENVELOPE + b"DATA\r\n")
        self.assertEqual(["250"], client.codes(b"x\r\n.\r\n"))

    def test_write_raises(self) -> None:
        """A fault while content arrives lets it run to its end, then 451."""
        site = Site()
        client = site.hello()
        client.say(ENVELOPE + b"DATA\r\n")
        client.say(b"x\r\n")
        site.spool.writing = FakeSpoolError("no")
        self.assertEqual(b"", client.say(b"y\r\n"))
        self.assertEqual(["451", "250"], client.codes(b"z\r\n.\r\nNOOP\r\n"))
        self.assertTrue(site.spool.received[0].aborted)
        self.assertEqual(1, len(self.flushLoggedErrors(FakeSpoolError)))

    def test_command_raises(self) -> None:
        """A bug of ours behind a command is 451 and in the log; the session goes on."""
        site = Site(storage_room=lambda: 1 / 0)
        client = site.hello()
        self.assertEqual(["451", "503", "250"], client.codes(ENVELOPE + b"NOOP\r\n"))
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))
        self.assertIn("fault", site.kinds)

    def test_receive_raises(self) -> None:
        """Where the spool can't even begin a message, DATA is 451, and what follows is read as commands."""
        site = Site()
        site.spool.receive = lambda _message: 1 / 0  # type: ignore[method-assign, assignment, return-value]
        client = site.hello()
        self.assertEqual(["250", "250", "451"], client.codes(ENVELOPE + b"DATA\r\n"))
        self.assertEqual(["250"], client.codes(b"NOOP\r\n"))
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))

    def test_queue_raises(self) -> None:
        """A message that is safe in the spool is acknowledged, whatever the queue thinks of it."""
        site = Site()
        site.queue.fault = ValueError("no")
        client = site.hello()
        client.say(ENVELOPE + b"DATA\r\n")
        self.assertEqual(["250"], client.codes(b"x\r\n.\r\n"))
        self.assertEqual(1, len(self.flushLoggedErrors(ValueError)))


_chunk = st.one_of(
    st.binary(max_size=30),
    st.sampled_from([step for step, _ in STEPS]),
    st.sampled_from([b"\r\n", b".\r\n", b"\r\n.\r\n", b"\r", b"\n", b"x" * 3000, b"NOOP\r\n", b"RSET\r\n" * 50]),
    st.sampled_from([b"EHLO x\r\n", ENVELOPE, b"DATA\r\n", b"HELO x\r\n", b"QUIT\r\n"]),
)


class FuzzTests(unittest.TestCase):
    @given(st.lists(_chunk, max_size=25), st.booleans(), st.booleans())
    @settings(max_examples=200, deadline=None, derandomize=True)
    def test_any_bytes(self, chunks: list[bytes], trusted: bool, slow: bool) -> None:
        """Any bytes: no exception, replies to no more than what was asked, bounded memory, a clean end."""
        site = Site(limits_for_tests(messages_per_session=5, message_size=5000))
        site.spool.slow = slow
        client = site.connect(TRUSTED if trusted else STRANGER)
        heard = client.heard()
        for chunk in chunks:
            heard += client.say(chunk)
            if site.spool.waiting:
                site.spool.finish()
            site.clock.advance(1)
            heard += client.heard()
            self.assertLess(len(client.server._buffer), 4096)
            self.assertTrue(all(receiving.size < 9000 for receiving in site.spool.received))
        self.assertRegex(heard, rb"\A(?:[2-5][0-9][0-9][ -][ -~]+\r\n)+\Z")
        lines = b"".join(chunks).count(b"\r\n")
        self.assertLessEqual(len(codes(heard)), lines + 2)
        client.vanish()
        self.assertEqual((0, 0, []), (site.factory.sessions, site.connections.total, site.clock.getDelayedCalls()))

    @given(st.lists(st.integers(0, 10_000), max_size=20))
    @settings(max_examples=50, deadline=None, derandomize=True)
    def test_complete_lines_are_answered(self, places: list[int]) -> None:
        """Each complete line gets one reply, however they are cut."""
        wire = b"NOOP\r\nWHAT\r\nVRFY x\r\n\r\nNOOP \xff\r\n" * 2 + b"X" * 2100 + b"\r\nHELP\r\n"
        edges = [0, *sorted(place % len(wire) for place in places), len(wire)]
        site = Site(limits_for_tests(error_delay=0.0))
        client = Client(site)
        site.settle()
        client.say(b"EHLO x\r\n")
        heard = b"".join(client.say(wire[low:high]) for low, high in pairwise(edges))
        self.assertEqual(["250", "500", "252", "500", "500"] * 2 + ["500", "211"], codes(heard))
