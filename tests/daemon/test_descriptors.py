"""How many files may be open."""

from __future__ import annotations

import resource

from twisted.trial.unittest import SynchronousTestCase

from mta.config.loading import parse
from mta.daemon.descriptors import RESERVE, raise_limit, shortage
from tests.config.test_loading import HEAD


class DescriptorTests(SynchronousTestCase):
    def test_raised_to_the_hard_limit(self) -> None:
        """The soft limit becomes the hard one."""
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, before)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, before[1]), before[1]))
        self.assertEqual(before[1], raise_limit())
        self.assertEqual((before[1], before[1]), resource.getrlimit(resource.RLIMIT_NOFILE))

    def test_shortage(self) -> None:
        """A limit too low for the connections of both directions is told, with the number that is needed."""
        config = parse(HEAD + "\n[limits]\nconnections = 3000\n[queue]\ndeliveries = 500\n", "f", {})
        enough = 3500 + RESERVE
        self.assertEqual("", shortage(config, enough))
        self.assertEqual("", shortage(config, resource.RLIM_INFINITY))
        self.assertIn(f"only {enough - 1} files may be open", shortage(config, enough - 1))
        self.assertIn(str(enough), shortage(config, 1024))
