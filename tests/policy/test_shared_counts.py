"""Counting over several workers, in memory that they share."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.policy.counts import CLIENTS, SITES
from mta.policy.limits import Connections
from mta.policy.shared_counts import SharedCounts, SharedPlaces
from tests.policy.limits import limits_for_tests

ROOT = Path(__file__).parent.parent.parent
WORKERS = 3

# A worker in a process of its own: takes and gives back places of two keys, and counts by a file of marks, one octet
# for each place, how many all of them have.
_TAKER = """
import os, random, sys
from mta.policy.shared_counts import SharedCounts
descriptor, column, limit, rounds, marks = map(int, sys.argv[1:])
places, rng = SharedCounts(descriptor, column).places("sites"), random.Random(column)
held, most = [], 0
for _ in range(rounds):
    if held and rng.random() < 0.5:
        key, slot = held.pop(rng.randrange(len(held)))
        os.pwrite(marks, b"\\0", slot)
        places.leave(key)
        continue
    number = rng.randrange(2)
    if not places.take(str(number), limit):
        continue
    # Each process has marks of its own; all of them are never more than the limit: a mark is set after its place was
    # taken, and wiped before that is given back.
    base = 1000 * number
    most = max(most, sum(os.pread(marks, 3 * limit, base)) + 1)
    mine = base + column * limit
    slot = mine + os.pread(marks, limit, mine).index(0)
    os.pwrite(marks, b"\\1", slot)
    held.append((str(number), slot))
print(most, len(held))
"""


class SharedCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.now = 1000.0
        self.descriptor = SharedCounts.make(WORKERS, 100)
        self.addCleanup(os.close, self.descriptor)
        self.workers = [SharedCounts(self.descriptor, column, lambda: self.now) for column in range(WORKERS)]

    def places(self, kind: str = SITES) -> list[SharedPlaces]:
        return [counts.places(kind) for counts in self.workers]


class PlacesTests(SharedCase):
    def test_one_limit_for_all(self) -> None:
        """What one worker took another can't take, until it is given back."""
        one, two, _three = self.places()
        self.assertEqual([True, True, False], [one.take("a", 3), two.take("a", 3), two.take("a", 2)])
        self.assertTrue(two.take("a", 3))
        self.assertFalse(one.take("a", 3))
        self.assertEqual((3, 0), (one.taken("a"), one.taken("b")))
        two.leave("a")
        self.assertTrue(one.take("a", 3))

    def test_kinds_are_apart(self) -> None:
        """The same text is a client here and a site there."""
        self.assertTrue(self.workers[0].places(SITES).take("192.0.2.1", 1))
        self.assertTrue(self.workers[1].places(CLIENTS).take("192.0.2.1", 1))

    def test_leaving_what_is_not_ours(self) -> None:
        """A place that this worker did not take is not given back: a bug must not lift the limit for the others."""
        one, two, _three = self.places()
        one.take("a", 1)
        self.assertRaises(ValueError, two.leave, "a")
        self.assertRaises(ValueError, two.leave, "never seen")
        self.assertEqual(1, one.taken("a"))

    def test_dead_worker(self) -> None:
        """Wiped, a dead worker's places are free, those of the others are as they were."""
        one, two, _three = self.places()
        for number in range(50):
            one.take(f"key {number}", 9)
            two.take(f"key {number}", 9)
        self.workers[2].wipe(0)
        self.assertEqual({1}, {two.taken(f"key {number}") for number in range(50)})

    def test_two_at_the_last_place(self) -> None:
        """A place that another worker has counted, and may give back, is not there to be taken: never one too many."""
        one, two, _three = self.places()
        self.assertEqual([True, True], [one.take("a", 3), two.take("a", 3)])
        two.take("a", 4)  # as a worker that has counted its place and has not looked at the limit yet
        self.assertFalse(one.take("a", 3))
        two.leave("a")
        self.assertTrue(one.take("a", 3))
        self.assertEqual(3, one.taken("a"))

    def test_rows_are_used_again(self) -> None:
        """Any number of keys may come and go."""
        one, two, _three = self.places()
        for number in range(20_000):
            self.assertTrue(one.take(f"key {number}", 1))
            self.assertFalse(two.take(f"key {number}", 1))
            one.leave(f"key {number}")

    def test_full_memory_refuses(self) -> None:
        """More keys at once than there is room for are refused, never counted as another's."""
        one = self.workers[0].places(SITES)
        taken = [number for number in range(5000) if one.take(f"key {number}", 1)]
        self.assertTrue(800 >= len(taken) >= 700, len(taken))
        self.assertEqual({1}, {one.taken(f"key {number}") for number in taken})

    def test_who_waits_gets_a_share(self) -> None:
        """A worker with more than its share lets a place go to one that waits; nobody waits for more than a share."""
        one, two, _three = self.places()
        for _ in range(6):
            self.assertTrue(one.take("a", 6))
        self.assertFalse(two.take("a", 6))
        two.wait("a")
        for _ in range(3):
            one.leave("a")
            self.assertFalse(one.take("a", 6))
            self.assertTrue(two.take("a", 6))
            two.wait("a")
        # Three each: what one gives back it may take again.
        one.leave("a")
        self.assertTrue(one.take("a", 6))
        self.assertFalse(two.take("a", 6))

    def test_who_waits_for_the_only_place_gets_its_turn(self) -> None:
        """Of a single place the workers take turns."""
        one, two, _three = self.places()
        self.assertTrue(one.take("a", 1))
        two.wait("a")
        one.leave("a")
        self.assertFalse(one.take("a", 1))
        one.wait("a")
        self.assertTrue(two.take("a", 1))
        two.leave("a")
        self.assertEqual([False, True], [two.take("a", 1), one.take("a", 1)])

    def test_who_stopped_waiting_is_not_waited_for(self) -> None:
        """A worker that has not said for a second that it waits holds nobody up, be it dead or served elsewhere."""
        one, two, _three = self.places()
        self.assertTrue(one.take("a", 1))
        two.wait("a")
        one.leave("a")
        self.assertFalse(one.take("a", 1))
        self.now += 1.1
        self.assertTrue(one.take("a", 1))

    @settings(max_examples=60, deadline=None)
    @given(
        st.lists(
            st.tuples(st.integers(0, WORKERS - 1), st.sampled_from(["take", "leave", "wipe"]), st.sampled_from("abc")),
            max_size=60,
        ),
        st.integers(1, 4),
    )
    def test_as_a_dictionary_would(self, steps: list[tuple[int, str, str]], limit: int) -> None:
        """Whatever the workers do, the counts are those of a dictionary with one entry for each worker and key."""
        descriptor = SharedCounts.make(WORKERS, 100)
        try:
            places = [SharedCounts(descriptor, column).places(SITES) for column in range(WORKERS)]
            model: Counter[tuple[int, str]] = Counter()
            for worker, step, key in steps:
                total = sum(model[each, key] for each in range(WORKERS))
                if step == "take":
                    self.assertEqual(total < limit, places[worker].take(key, limit))
                    model[worker, key] += total < limit
                elif step == "leave" and model[worker, key]:
                    places[worker].leave(key)
                    model[worker, key] -= 1
                elif step == "wipe":
                    SharedCounts(descriptor, 0).wipe(worker)
                    model = Counter({pair: count for pair, count in model.items() if pair[0] != worker})
                for each in "abc":
                    self.assertEqual(sum(model[one, each] for one in range(WORKERS)), places[0].taken(each))
        finally:
            os.close(descriptor)

    def test_processes(self) -> None:
        """Processes that take and give back at the same time never have more than the limit, and lose no place."""
        limit, marks = 3, os.memfd_create("marks")
        self.addCleanup(os.close, marks)
        os.ftruncate(marks, 4096)
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", _TAKER, *map(str, (self.descriptor, column, limit, 4000, marks))],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                text=True,
                pass_fds=(self.descriptor, marks),
            )
            for column in range(1, WORKERS)
        ]
        held = 0
        for process in processes:
            said, _ = process.communicate(timeout=60)
            self.assertEqual(0, process.returncode)
            most, left = map(int, said.split())
            self.assertLessEqual(most, limit)
            held += left
        places = self.places()[0]
        self.assertEqual(held, places.taken("0") + places.taken("1"))


class RatesTests(SharedCase):
    def test_one_rate_for_all(self) -> None:
        """A client's minute is the same for all workers, whatever their clocks of the day say."""
        one, two, _three = (counts.rates("messages", 3) for counts in self.workers)
        self.assertEqual(
            [True, True, True, False],
            [one.take("c", 1, 5.0), two.take("c", 2, -5.0), two.take("d", 3, 0.0), one.take("c", 1, 0.0)],
        )
        self.now += 121
        self.assertTrue(two.take("c", 3, 0.0))

    def test_sliding_minute(self) -> None:
        """What was done in the minute before counts by the share of it that is still in the last minute."""
        rates = self.workers[0].rates("messages", 10)
        self.assertTrue(rates.take("c", 10, 0.0))
        self.now += 90  # half of the ten still count
        self.assertEqual([False, True, False], [rates.take("c", count, 0.0) for count in (7, 5, 2)])

    def test_off(self) -> None:
        """0 is any number."""
        self.assertEqual({True}, {self.workers[0].rates("messages", 0).take("c", 99, 0.0) for _ in range(9)})

    def test_the_longest_silent_is_forgotten(self) -> None:
        """More clients than there is room for push out those who were silent longest; who is busy stays known."""
        rates = self.workers[0].rates("messages", 2)
        self.assertTrue(rates.take("busy", 2, 0.0))
        for number in range(200_000):
            if number % 10_000 == 0:
                self.now += 1
                self.assertFalse(rates.take("busy", 1, 0.0), number)
            rates.take(f"client {number}", 1, 0.0)


class ConnectionsTests(SharedCase):
    def test_limits_of_the_server(self) -> None:
        """Two workers share what a client may have, what all may have, and what a client may do in a minute."""
        limits = limits_for_tests(connections=4, connections_per_client=2, connection_rate=3, message_rate=2)
        one, two = (Connections(limits, "mx.example.org", counts) for counts in self.workers[:2])

        def code(counts: Connections, ip: str, trusted: bool = False) -> int:
            reply = counts.admit(ip, trusted, 0.0).reply
            return reply.code if reply else 0

        self.assertEqual([0, 0, 421, 421], [code(counts, "192.0.2.1") for counts in (one, two, one, two)])
        self.assertEqual([0, 0, 421], [code(counts, "192.0.2.2", True) for counts in (one, two, one)])
        self.assertEqual((4, True), (two.total, two.stressed))
        one.leave("192.0.2.1")
        self.assertEqual(0, code(two, "192.0.2.1"))
        two.leave("192.0.2.1")
        self.assertEqual(421, code(one, "192.0.2.1"), "a fourth in a minute")
        self.assertEqual((3, 3), (one.total, two.total))
        accepted = [counts.message("192.0.2.1", False, 0.0).accepts for counts in (one, two, one)]
        self.assertEqual([True, True, False], accepted)
