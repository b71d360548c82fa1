"""The swarm: worlds from seeds, what is told of them, and faults that it must find."""

from __future__ import annotations

import tomllib

from twisted.trial.unittest import SynchronousTestCase

from tests.campaigns.swarm.mutants import MUTANTS
from tests.campaigns.swarm.run import find, run, run_seed
from tests.campaigns.swarm.shrinking import shrunk
from tests.campaigns.swarm.toml_text import toml
from tests.campaigns.swarm.worlds import CLASSES, World, world_of


class SwarmTests(SynchronousTestCase):
    def test_one_world_of_each_class(self) -> None:
        """A world of each class breaks nothing, and mail comes through in it."""
        for seed in range(len(CLASSES)):
            done = run_seed(seed)
            self.assertEqual([], [f"seed {seed}: {each}" for each in done.violations])
            self.assertGreater(done.deliveries, 0, done.world.name)

    def test_seed_is_all(self) -> None:
        """One seed is one world and one course of it."""
        first, second = run_seed(4), run_seed(4)
        self.assertEqual(first.world, second.world)
        self.assertEqual((first.deliveries, first.crashes), (second.deliveries, second.crashes))

    def test_world_is_written_as_it_is(self) -> None:
        """A world as TOML is the same world."""
        for seed in range(2 * len(CLASSES)):
            world = world_of(seed)
            self.assertEqual(world.scenario, tomllib.loads(toml(world.scenario)))
            self.assertEqual(world.config, tomllib.loads(toml(world.config)))


class ShrinkingTests(SynchronousTestCase):
    def test_leaves_what_matters(self) -> None:
        """What has nothing to do with the violation is left out; what remains still breaks the same."""
        name = "bounce on servfail"

        def still_breaks(world: World) -> bool:
            return any(each.rule == "6 bounces" for each in run(world).violations)

        with MUTANTS[name].at_work():
            small = shrunk(world_of(6), still_breaks, 100)
            self.assertTrue(still_breaks(small))
        (load,) = small.scenario["load"]
        self.assertEqual((1, 1), (load["messages"], len(load["recipients"])))
        self.assertNotIn("site", small.scenario)
        self.flushLoggedErrors()

    def test_as_many_tries_as_it_gets(self) -> None:
        """It stops when its tries are used up, with the smallest world so far."""
        asked: list[World] = []

        def still_breaks(world: World) -> bool:
            asked.append(world)
            return len(asked) == 5

        small = shrunk(world_of(10), still_breaks, 5)
        self.assertEqual(5, len(asked))
        self.assertEqual(asked[-1], small)


class MutantTests(SynchronousTestCase):
    """`make mutants` looks for all of them; here are those that are found at once, of each kind."""

    def assert_found(self, name: str, seed: int) -> None:
        with MUTANTS[name].at_work():
            found = find((seed, *range(len(CLASSES))))
        self.flushLoggedErrors()
        self.assertIsNotNone(found, f'the swarm has not found "{name}"')

    def test_outcomes(self) -> None:
        """An outcome that is forgotten or goes to another recipient."""
        self.assert_found("a recipients outcome is forgotten", 1)
        self.assert_found("outcome by position", 8)

    def test_claims_and_times(self) -> None:
        """A claim that is kept, a time that is forgotten."""
        self.assert_found("claim not released", 1)
        self.assert_found("retry clock not persisted", 4)

    def test_bounces(self) -> None:
        """A bounce of a bounce, a bounce for want of an answer of the DNS, a failure that nobody is told of."""
        self.assert_found("bounce of a bounce", 8)
        self.assert_found("bounce on servfail", 6)
        self.assert_found("the sender is not told", 2)

    def test_strangers(self) -> None:
        """Mail of strangers is relayed."""
        self.assert_found("relay for strangers who write percent signs", 7)

    def test_mutants_leave_nothing_behind(self) -> None:
        """When a mutant has been at work the program is what it was."""
        for mutant in MUTANTS.values():
            with mutant.at_work():
                pass
        self.assertEqual([], run_seed(1).violations)
