"""What of a new configuration a running daemon takes."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mta.config.changing import take
from mta.config.loading import parse
from mta.config.schema import Config

_TEXT = """\
hostname = "mx.test"
workers = 2

[[listener]]
name = "relay"
endpoint = "tcp:2525"
role = "mx"

[[listener]]
name = "inside"
endpoint = "tcp:2526"
role = "relay"

[queue]
lifetime = "5d"
"""


class TakeTests(SynchronousTestCase):
    def taken(self, *changes: tuple[str, str]) -> tuple[Config, list[str]]:
        text = _TEXT
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        return take(parse(_TEXT, "f", {}), parse(text, "f", {}))

    def test_most_is_taken(self) -> None:
        """Options, names and roles hold at once, and nothing is said."""
        config, notes = self.taken(('"5d"', '"2d"'), ('"inside"', '"intern"'), ('role = "relay"', 'role = "closed"'))
        self.assertEqual(([], 172_800.0), (notes, config.queue.lifetime))
        self.assertEqual([("relay", "mx"), ("intern", "closed")], [(each.name, each.role) for each in config.listeners])

    def test_what_takes_a_restart(self) -> None:
        """Workers, the state directory, the control socket and the log's file stay as they are, and that is said."""
        config, notes = self.taken(
            ("workers = 2", 'workers = 3\nstate_dir = "elsewhere"'),
            ("[queue]", '[control]\nsocket = "c"\n[log]\nfile = "l"\nformat = "json"\n[queue]'),
        )
        self.assertEqual(["state_dir", "workers", "control", "log.file"], [note.split()[0] for note in notes])
        self.assertEqual((2, "control", "-"), (config.workers, config.control.socket, config.log.file))
        self.assertEqual("json", config.log.format)

    def test_policy_site(self) -> None:
        """The port of the policy's web server waits for a restart; the policy itself does not."""
        site = (
            "[queue]",
            '[local]\ndomains = ["a.test"]\n[[tls.certificates]]\ncertificate = "a"\nkey = "b"\n'
            '[sts.policy]\nserve = "tcp:443"\nmode = "none"\n[queue]',
        )
        config, notes = self.taken(site)
        self.assertEqual(["sts.policy.serve has changed: that takes a restart"], notes)
        self.assertEqual(("", "none"), (config.sts.policy.serve, config.sts.policy.mode))

    def test_ports(self) -> None:
        """A listener with another endpoint waits for a restart; the one it replaces goes on as it was."""
        config, notes = self.taken(('"tcp:2526"', '"tcp:2527"'), ('name = "relay"', 'name = "outside"'))
        self.assertEqual(1, len(notes))
        self.assertEqual(
            [("outside", "tcp:2525"), ("inside", "tcp:2526")], [(each.name, each.endpoint) for each in config.listeners]
        )
