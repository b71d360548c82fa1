"""
What every `IResolver` promises: the real one and the fake pass these tests.

`ResolverContract` is mixed into a test case that makes a resolver for `ZONES` in `ask`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

from mta.lookup import MX, Answer, Record, Status
from tests.peers.dns_server import Zones

if TYPE_CHECKING:
    from twisted.trial.unittest import SynchronousTestCase as Base
else:
    Base = object

ZONES: Zones = {
    ("example.test", "MX"): ["20 mx2.Example.test.", "10 mx1.example.test."],
    ("example.test", "TXT"): ['"v=spf1 " "-all"'],
    ("mx1.example.test", "A"): ["192.0.2.1", "192.0.2.2"],
    ("mx1.example.test", "AAAA"): ["2001:db8::1"],
    ("_25._tcp.mx1.example.test", "TLSA"): ["3 1 1 " + "ab" * 32],
    ("1.2.0.192.in-addr.arpa", "PTR"): ["mx1.example.test."],
    ("null.test", "MX"): ["0 ."],
    ("alias.test", "CNAME"): ["hop.test."],
    ("hop.test", "CNAME"): ["example.test."],
    ("dangling.test", "CNAME"): ["nowhere.test."],
    ("loop.test", "CNAME"): ["pool.test."],
    ("pool.test", "CNAME"): ["loop.test."],
    ("many.test", "A"): [f"10.0.{number // 256}.{number % 256}" for number in range(200)],
}

# The same as values, for a fake.
RECORDS: dict[tuple[str, str], list[Record]] = {
    ("example.test", "MX"): [MX(20, "mx2.example.test"), MX(10, "mx1.example.test")],
    ("example.test", "TXT"): [b"v=spf1 -all"],
    ("mx1.example.test", "A"): ["192.0.2.1", "192.0.2.2"],
    ("mx1.example.test", "AAAA"): ["2001:db8::1"],
    ("_25._tcp.mx1.example.test", "TLSA"): [b"\x03\x01\x01" + b"\xab" * 32],
    ("1.2.0.192.in-addr.arpa", "PTR"): ["mx1.example.test"],
    ("null.test", "MX"): [MX(0, "")],
    ("alias.test", "CNAME"): ["hop.test"],
    ("hop.test", "CNAME"): ["example.test"],
    ("dangling.test", "CNAME"): ["nowhere.test"],
    ("loop.test", "CNAME"): ["pool.test"],
    ("pool.test", "CNAME"): ["loop.test"],
    ("many.test", "A"): [f"10.0.{number // 256}.{number % 256}" for number in range(200)],
}

# (name, kind) -> status, records
EXPECTED: dict[tuple[str, str], tuple[Status, set[Record]]] = {
    **{asked: (Status.ANSWER, set(records)) for asked, records in RECORDS.items() if asked[0] != "many.test"},
    ("EXAMPLE.Test.", "MX"): (Status.ANSWER, set(RECORDS["example.test", "MX"])),
    ("alias.test", "MX"): (Status.ANSWER, set(RECORDS["example.test", "MX"])),
    ("alias.test", "AAAA"): (Status.NODATA, set()),
    ("mx1.example.test", "MX"): (Status.NODATA, set()),
    ("null.test", "A"): (Status.NODATA, set()),
    ("nowhere.test", "A"): (Status.NXDOMAIN, set()),
    ("dangling.test", "A"): (Status.NXDOMAIN, set()),
    ("loop.test", "A"): (Status.COULD_NOT_ASK, set()),
    ("a" * 64 + ".test", "A"): (Status.NXDOMAIN, set()),
    ("a.." + "test", "A"): (Status.NXDOMAIN, set()),
    ("a." * 127 + "test", "A"): (Status.NXDOMAIN, set()),
    ("", "A"): (Status.COULD_NOT_ASK, set()),
    ("bücher.test", "A"): (Status.COULD_NOT_ASK, set()),
    ("a b.test", "A"): (Status.COULD_NOT_ASK, set()),
    ("a\r\nb.test", "A"): (Status.COULD_NOT_ASK, set()),
    ("example.test", "HINFO"): (Status.COULD_NOT_ASK, set()),
}


class ResolverContract(Base):
    """Mixed into a `twisted.trial.unittest.TestCase`."""

    def ask(self, name: str, kind: str) -> Deferred[Answer]:
        """Ask a resolver that knows `ZONES`."""
        raise NotImplementedError

    async def test_outcomes(self) -> None:
        """Four outcomes (RFC 2308 2, RFC 1034 3.6.2), each with a reason where there are no records."""
        for (name, kind), (status, records) in EXPECTED.items():
            answer = await self.ask(name, kind)
            self.assertEqual((answer.status, set(answer.records)), (status, records), (name, kind))
            self.assertEqual(answer.reason == "", status is Status.ANSWER, answer)

    async def test_canonical_name(self) -> None:
        """An answer says where its aliases ended (RFC 7672 2.2.2 needs that), whether there are records or not."""
        for name, kind, canonical in (
            ("example.test", "MX", ""),
            ("alias.test", "MX", "example.test"),
            ("alias.test", "AAAA", "example.test"),
            ("alias.test", "CNAME", ""),
            ("nowhere.test", "A", ""),
            ("dangling.test", "A", "nowhere.test"),
        ):
            self.assertEqual((await self.ask(name, kind)).canonical, canonical, (name, kind))

    async def test_large_answers(self) -> None:
        """An answer is cut at 100 records, whatever the zone holds."""
        answer = await self.ask("many.test", "A")
        self.assertEqual(len(answer.records), 100)
        self.assertLess(set(answer.records), set(RECORDS["many.test", "A"]))

    async def test_ttl(self) -> None:
        """An answer says how long it holds, in whole seconds."""
        for name in ("example.test", "nowhere.test"):
            answer = await self.ask(name, "MX")
            self.assertIn(answer.ttl, range(59, 301))
