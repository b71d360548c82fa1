"""`mta check --dns` asks the resolvers."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mta.cli.resolvers import findings
from mta.config.sending import Dns
from tests.peers.dns_server import DNSServer, Entry, Fault, free_port

OFF = "does not validate: it did not call org validated (AD), so DANE is off"


class FindingsTests(SynchronousTestCase):
    def found(self, fault: Fault | None, **keys: str) -> tuple[list[str], list[str]]:
        """What is said of a server with this fault, and of it alone; its place is "HERE"."""
        with DNSServer({("org", "A"): Entry(fault=fault)}) as server:
            config = Dns.model_validate({"servers": (f"127.0.0.1:{server.port}",), "timeout": "300ms", **keys})
            good, bad = findings(config)
            place = f"127.0.0.1 port {server.port}"
        return [line.replace(place, "HERE") for line in good], [line.replace(place, "HERE") for line in bad]

    def test_table(self) -> None:
        """A server validates, does not, or can't be asked: each is told apart, with the reason."""
        for fault, good, bad in (
            (Fault.SECURE, ["HERE: validates (org)"], []),
            (None, [], [f"HERE: {OFF}"]),
            (Fault.SERVFAIL, [], ["HERE: cannot be asked: the server failed (SERVFAIL)"]),
            (Fault.SILENCE, [], ["HERE: cannot be asked: timed out"]),
            (Fault.GARBAGE, [], ["HERE: sent something that is no answer"]),
        ):
            self.assertEqual((good, bad), self.found(fault), fault)

    def test_nobody_listens(self) -> None:
        """A closed port is a line, not a traceback."""
        _, bad = findings(Dns.model_validate({"servers": (f"127.0.0.1:{free_port()}",)}))
        self.assertIn("Connection refused", bad[0])

    def test_no_trust(self) -> None:
        """Where the configuration trusts nobody, that is why DANE is off."""
        good, bad = self.found(Fault.SECURE, trust_ad="none")
        self.assertEqual(['DANE is off: dns.trust_ad = "none" does not trust these resolvers'], good[1:])
        self.assertEqual([], bad)
