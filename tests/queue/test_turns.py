"""Whose turn it is: the ring of sites, without spool, agent or clock."""

from __future__ import annotations

from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from mta.destination import Destination, NextHop, Transport
from mta.entry import Entry
from mta.envelope import Body
from mta.queue import turns as turns_module
from mta.queue.sites import SiteLimits
from mta.queue.turns import Ending, SiteQueue, Turns
from mta.queue.window import Active, Job
from tests.queue.world import SILENT

LIMITS = SiteLimits(initial=5, maximum=20, cohort_failures=1, dead_initial=60.0, dead_maximum=3600.0)


def job(site: str) -> Job:
    return Job(Active(Entry(1, 0.0, None, 0, Body.SEVEN_BIT, []), 0.0), Destination(NextHop(Transport.MX), site), [])


class TurnsCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.now = 1000.0
        self.started: list[Job] = []
        self.aside: list[Job] = []
        self.turns = self.make(10)

    def make(self, at_once: int, start: Callable[[Job], None] | None = None) -> Turns:
        return Turns(LIMITS, at_once, lambda: self.now, start or self.started.append, self.set_aside)

    def set_aside(self, _site: SiteQueue, jobs: list[Job]) -> None:
        self.aside += jobs

    def add(self, site: str, number: int = 1) -> list[Job]:
        jobs = [job(site) for _ in range(number)]
        for each in jobs:
            self.turns.add(each)
        return jobs

    def end(self, ending: Ending = Ending.ANSWERED) -> None:
        """The attempt that is under way the longest ends."""
        self.turns.ended(self.started.pop(0), ending, SILENT if ending is Ending.NO_ANSWER else None)

    def end_all(self, ending: Ending = Ending.ANSWERED) -> None:
        for _ in range(len(self.started)):
            self.end(ending)

    def sites(self) -> list[str]:
        return [each.destination.site for each in self.started]


class TurnsTests(TurnsCase):
    def test_sites_take_turns(self) -> None:
        """As places become free three sites get one each in turn, in the order they came, however much one has."""
        self.turns = self.make(1)
        self.add("a", 100)
        self.add("b", 2)
        self.add("c", 3)
        order = []
        for _ in range(9):
            order += self.sites()
            self.end()
        self.assertEqual(list("aabcabcac"), order)

    def test_jobs_of_a_site_keep_their_order(self) -> None:
        """Within a site first come is first served."""
        self.turns = self.make(1)
        jobs = self.add("a", 5)
        order: list[Job] = []
        while self.started:
            order += self.started
            self.end()
        self.assertEqual(list(map(id, jobs)), list(map(id, order)))

    def test_limits_over_all_and_for_each_site(self) -> None:
        """Ten attempts at most run over all sites, and five for one at first."""
        self.add("a", 20)
        self.assertEqual(5, self.turns.running)
        self.add("b", 20)
        self.add("c", 20)
        self.assertEqual((10, 10), (self.turns.running, len(self.started)))
        self.assertEqual(list("aaaaabbbbb"), self.sites())
        for _ in range(30):
            self.end()
            self.assertEqual(10, self.turns.running)
        self.assertEqual(set("abc"), set(self.sites()))

    def test_our_fault_frees_its_place(self) -> None:
        """An attempt that ended by a fault of ours lets the next one start, and the site's window stays."""
        self.add("a", 12)
        self.end_all(Ending.OUR_FAULT)
        self.assertEqual(5, self.turns.running)
        self.end_all(Ending.OUR_FAULT)
        self.end_all(Ending.OUR_FAULT)
        self.assertEqual(([], 0), (self.started, self.turns.running))

    def test_attempts_that_end_at_once_need_no_stack(self) -> None:
        """Fifty thousand jobs, each over before its start has returned, all run, with no recursion."""
        first = job("first")
        done = 0

        def start(each: Job) -> None:
            nonlocal done
            if each is not first:
                done += 1
                self.turns.ended(each, Ending.ANSWERED)

        self.turns = self.make(1, start)
        self.turns.add(first)
        for number in range(50_000):
            self.turns.add(job(f"site{number % 100}"))
        self.assertEqual(0, done)
        self.turns.ended(first, Ending.ANSWERED)
        self.assertEqual((50_000, 0), (done, self.turns.running))

    def test_stopped_turns_start_nothing(self) -> None:
        """After `stop` what runs may end, and nothing else begins."""
        self.add("a", 10)
        self.turns.stop()
        self.end_all()
        self.add("b")
        self.assertEqual(([], 0), (self.started, self.turns.running))

    def test_dead_site_gives_its_jobs_back(self) -> None:
        """A site that dies sets aside what waits and what comes; after its wait one probe goes out, and no more."""
        jobs = self.add("a", 12)
        while not self.aside:
            self.end(Ending.NO_ANSWER)
        self.end_all(Ending.NO_ANSWER)
        late = self.add("a", 2)
        self.assertEqual(0, self.turns.running)
        self.assertEqual(late, self.aside[-2:])
        self.assertLess(len(self.aside), len(jobs) + len(late))
        self.now += 60.0
        self.add("a", 3)
        self.assertEqual(1, self.turns.running)
        self.end()
        self.assertEqual(2, self.turns.running)

    def test_clock_set_back_strands_nothing(self) -> None:
        """A job that waits in the ring when its site's dead time comes round once more is set aside, not forgotten."""
        self.turns = self.make(5)
        self.add("dead", 5)
        self.end_all(Ending.NO_ANSWER)
        self.now = 500.0
        self.add("b", 5)
        (waiting,) = self.add("dead")
        self.now = 1010.0
        self.end_all()
        self.assertEqual([waiting], self.aside)


class ForgettingTests(TurnsCase):
    """Sites with nothing to do are forgotten where there are many: here more than twenty."""

    def setUp(self) -> None:
        self.patch(turns_module, "MAX_SITES", 20)
        super().setUp()

    def known(self, *names: str) -> list[bool]:
        """Whether each site is still the one that it was made."""
        return [self.turns.site(name) is site for name, site in self.before.items() if name in names]

    def remember(self, *names: str) -> None:
        self.before = {name: self.turns.site(name) for name in names}

    def test_living_go_first(self) -> None:
        """A site that waits or runs stays, a dead one too; those that live and are idle are forgotten."""
        self.add("dead", 5)
        self.end_all(Ending.NO_ANSWER)
        self.add("busy", 7)
        self.add("idle")
        self.turns.ended(self.started.pop(), Ending.ANSWERED)
        self.remember("dead", "busy", "idle")
        for number in range(18):
            self.turns.site(f"new{number}")
        self.assertEqual([True, True, False], self.known("dead", "busy", "idle"))

    def test_dead_sites_are_bounded(self) -> None:
        """However many sites are dead, the number that is remembered is bounded; the latest deaths are."""
        for number in range(200):
            self.now += 1.0
            self.add(f"s{number}", 5)
            self.end_all(Ending.NO_ANSWER)
            self.assertLessEqual(len(self.turns._sites), 20)
        self.remember("s199")
        self.assertTrue(self.turns.site("s199").window.is_dead(self.now))
        self.assertFalse(self.turns.site("s0").window.is_dead(self.now))

    def test_sites_with_work_are_never_forgotten(self) -> None:
        """More sites than are remembered may have work; each gets its turn."""
        for number in range(100):
            self.add(f"s{number}")
        seen = set()
        while self.started:
            seen.update(self.sites())
            self.end()
        self.assertEqual(100, len(seen))
