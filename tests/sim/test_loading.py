"""From the text of a scenario to its values, or to all that is wrong with it."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mta.config.loading import ConfigError
from mta.sim.loading import load
from tests.sim.material import ROOT, configuration, scenario

HEAD = 'duration = "1d"\n'
SITE = "[[site]]\nname = 'a'\ndomains = ['a.test', 'b.test']\n"

# What stands below HEAD (its first line is line 2), and all that is said of it.
BAD: dict[str, list[str]] = {
    # keys
    "sed = 3": ['2: sed: unknown key; did you mean "seed"?'],
    "[[site]]\nname = 'a'\n[[site.spel]]": ['4: site 1: spel: unknown key; did you mean "spell"?'],
    "[[load]]\nmessages = 1\nrecipents = []": [
        "2: load 1: recipients: is required",
        '4: load 1: recipents: unknown key; did you mean "recipients"?',
    ],
    "[names]\nmessages = 3": ["3: names.messages: unknown key; it belongs to [load]"],
    "[site]": ["2: site: must be written in double brackets: [[site]]"],
    # values
    SITE + "[[site.spell]]\nfrom = '1h'\nto = 2": ["7: site 1: spell 1: to: must be a duration in quotes"],
    SITE + "state = 'upp'": ['5: site 1: state: must be "up", "down" or "refusing", not "upp"; did you mean "up"?'],
    SITE + "[[site.answer]]\nat = 'rcpt'\nreply = 'no'": [
        '7: site 1: answer 1: reply: "no" is not a reply; write it as'
    ],
    "[[fault]]\nkind = 'crash'\nfrom = '1h'": ["2: fault 1: to: is required"],
    "[[load]]\nmessages = 1\nrecipients = []": ["4: load 1: recipients: must not be empty"],
    # one against another
    SITE + "[[site.spell]]\nfrom = '2h'\nto = '1h'": ["7: site 1: spell 1: to: is not after `from`"],
    SITE + "[[site]]\nname = 'a'": ['6: site 2: name: "a" is that of site 1 already'],
    SITE + "[[site]]\nname = 'b'\ndomains = [\n'c.test',\n'B.test']": [
        '9: site 2: domains: "b.test" is that of site 1 already'
    ],
    SITE + "endpoints = ['10.0.0.1', ':25', 'x.test:0', 'y.test:٣']": [
        '5: site 1: endpoints: "10.0.0.1" is not HOST:PORT',
        '5: site 1: endpoints: ":25" is not HOST:PORT',
        '5: site 1: endpoints: "x.test:0" is not HOST:PORT',
        '5: site 1: endpoints: "y.test:٣" is not HOST:PORT',
    ],
    SITE + "[names]\nnull_mx = ['a.test']": ['6: names.null_mx: "a.test" is at the site a; it is one or the other'],
    "[[fault]]\nkind = 'resolver'\nfrom = '2h'\nto = '1h'": ["5: fault 1: to: is before `from`"],
    "[[load]]\nmessages = 1\nrecipients = ['u{n}@a.test', 'u{n}']\nsender = '@'\nlistener = 'relai'": [
        '4: load 1: recipients: "u{n}": ',
        '5: load 1: sender: "@": ',
        '6: load 1: listener: "relai" is no listener of the configuration; did you mean "relay"?',
    ],
    # all at once: what is right is compared although something else is wrong
    "seed = -1\n[[load]]\nmessages = 1\nrecipients = ['x@a.test']\nlistener = 'zz'": [
        "2: seed: must be at least 0, not -1",
        '6: load 1: listener: "zz" is no listener of the configuration; it has relay',
    ],
}


class LoadingTests(SynchronousTestCase):
    def test_every_problem_is_said(self) -> None:
        """Each problem is one line with file, line, key and what is wrong; all of them come at once."""
        for text, wanted in BAD.items():
            error = self.assertRaises(ConfigError, scenario, HEAD + text)
            self.assertEqual(len(wanted), len(error.problems), f"{text}\n{error}")
            for words, problem in zip(wanted, error.problems, strict=True):
                self.assertTrue(problem.startswith(f"s.toml:{words}"), f"{text}\n{problem}\n{words}")

    def test_a_missing_file(self) -> None:
        """A scenario that can't be read is told as what it is."""
        error = self.assertRaises(ConfigError, load, Path("nowhere.toml"), {}, configuration())
        self.assertEqual(("nowhere.toml: cannot read the scenario: No such file or directory",), error.problems)

    def test_values(self) -> None:
        """Durations, sizes and nested tables arrive as values."""
        loaded = scenario(HEAD + SITE + "[[site.spell]]\nfrom = '1h'\nto = '2h'\nstate = 'down'\n")
        (site,) = loaded.sites
        self.assertEqual((86400.0, 3600.0, "down"), (loaded.duration, site.spells[0].begin, site.spells[0].state))

    def test_shipped_scenarios(self) -> None:
        """What etc/scenarios has can be loaded, and says in a sentence what it shows."""
        found = sorted((ROOT / "etc" / "scenarios").glob("*.toml"))
        self.assertTrue(len(found) >= 6)
        for path in found:
            self.assertTrue(load(path, {}, configuration()).about.endswith("."), path)
