"""Which hosts have DANE, by which records, under which names (RFC 7672 2.2)."""

from __future__ import annotations

from collections.abc import Iterable

from twisted.trial.unittest import SynchronousTestCase

from mta.dns.fake import FakeResolver, Zones
from mta.lookup import MX, Answer, Record, Status
from mta.outcome import Deferral, Phase, Scope
from mta.tls.dane_lookup import DaneLookup, DaneRecords, Found
from mta.tls_policy import Tlsa

RDATA = b"\x03\x01\x01" + b"\xab" * 32
TLSA = Tlsa(3, 1, 1, b"\xab" * 32)
# RFC 7672 3.2.2: its example, with addresses for all.
EXAMPLE: dict[tuple[str, str], list[Record]] = {
    ("exchange.example.org", "CNAME"): ["mail.example.org"],
    ("mail.example.org", "CNAME"): ["example.com"],
    ("example.com", "MX"): [MX(10, "mx10.example.com"), MX(15, "mx15.example.com"), MX(20, "mx20.example.com")],
    ("mx10.example.com", "A"): ["192.0.2.10"],
    ("_25._tcp.mx10.example.com", "TLSA"): [RDATA],
    ("mx15.example.com", "CNAME"): ["mxbackup.example.com"],
    ("mxbackup.example.com", "A"): ["192.0.2.15"],
    ("_25._tcp.mx15.example.com", "TLSA"): [RDATA],
    ("mx20.example.com", "CNAME"): ["mxbackup.example.net"],
    ("mxbackup.example.net", "A"): ["198.51.100.20"],
    ("_25._tcp.mxbackup.example.net", "TLSA"): [RDATA],
}
ALL = ("example.com", "example.org", "example.net")

ALIASES: Zones = {
    ("mx.a.test", "CNAME"): ["way.b.test"],
    ("way.b.test", "CNAME"): ["host.c.test"],
    ("host.c.test", "A"): ["192.0.2.1"],
    ("_25._tcp.mx.a.test", "TLSA"): [RDATA],
    ("_25._tcp.way.b.test", "TLSA"): [RDATA],
    ("_25._tcp.host.c.test", "TLSA"): [RDATA],
}


class DaneLookupCase(SynchronousTestCase):
    def begin(self, zones: Zones, signed: Iterable[str]) -> None:
        self.resolver = FakeResolver(zones, signed=signed)
        self.dane = DaneLookup(self.resolver)

    def found(self, host: str, port: int = 25, *, mx_secure: bool = True) -> Found:
        return self.successResultOf(self.dane.for_host(host, port, mx_secure))

    def asked(self, kind: str) -> list[str]:
        return [name for name, asked in self.resolver.asked if asked == kind]


class DomainTests(DaneLookupCase):
    def test_example(self) -> None:
        """RFC 7672 3.2.2: base domain and reference identifiers of the three hosts in its example."""
        self.begin(EXAMPLE, ALL)
        for host, base in (
            ("mx10.example.com", "mx10.example.com"),
            ("mx15.example.com", "mx15.example.com"),
            ("mx20.example.com", "mxbackup.example.net"),
        ):
            found = self.successResultOf(self.dane.for_domain("exchange.example.org", host))
            self.assertEqual(DaneRecords(base, (TLSA,), (base, "exchange.example.org", "example.com")), found)

    def test_insecure_mx(self) -> None:
        """RFC 7672 2.2.1: where the MX records may be forged, or an alias on the way to them, DANE does not apply."""
        for signed in (("example.com",), ("example.org",), ()):
            self.begin(EXAMPLE, signed)
            found = self.successResultOf(self.dane.for_domain("exchange.example.org", "mx10.example.com"))
            self.assertIsNone(found)
            self.assertEqual([], self.asked("TLSA"))

    def test_domain_without_mx(self) -> None:
        """RFC 7672 2.2.2: a domain without MX records is its own host."""
        self.begin({("x.test", "A"): ["192.0.2.1"], ("_25._tcp.x.test", "TLSA"): [RDATA]}, ["x.test"])
        found = self.successResultOf(self.dane.for_domain("x.test", "x.test"))
        self.assertEqual(DaneRecords("x.test", (TLSA,), ("x.test",)), found)

    def test_domain_without_mx_that_is_an_alias(self) -> None:
        """RFC 7672 3.2.2: at the name that it is an alias of, its own name counts as well."""
        zones: Zones = {
            ("x.test", "CNAME"): ["y.test"],
            ("y.test", "A"): ["192.0.2.1"],
            ("_25._tcp.y.test", "TLSA"): [RDATA],
        }
        self.begin(zones, ["test"])
        found = self.successResultOf(self.dane.for_domain("x.test", "x.test"))
        self.assertEqual(DaneRecords("y.test", (TLSA,), ("y.test", "x.test")), found)

    def test_no_answer(self) -> None:
        """RFC 7672 2.1.2: when the MX records can't be had, the host must wait."""
        self.begin(EXAMPLE, ALL)
        self.resolver.fail("example.com", "MX")
        found = self.successResultOf(self.dane.for_domain("example.com", "mx10.example.com"))
        self.assertIsInstance(found, Deferral)


class HostTests(DaneLookupCase):
    def test_port(self) -> None:
        """RFC 7672 2.2.3: the port is that of the connection."""
        self.begin({("mx.test", "AAAA"): ["2001:db8::1"], ("_2525._tcp.mx.test", "TLSA"): [RDATA]}, ["test"])
        self.assertEqual(DaneRecords("mx.test", (TLSA,), ("mx.test",)), self.found("mx.test", 2525))
        self.assertIsNone(self.found("mx.test"))

    def test_addresses(self) -> None:
        """RFC 7672 2.2: an IP address has no TLSA records."""
        self.begin({}, [])
        for address in ("192.0.2.1", "2001:db8::1"):
            self.assertIsNone(self.found(address))
        self.assertEqual([], self.resolver.asked)

    def test_insecure_host(self) -> None:
        """RFC 7672 2.2.2: in an unsigned zone nobody is asked for TLSA, whose servers are known to fail at that."""
        self.begin({("mx.test", "A"): ["192.0.2.1"]}, [])
        self.resolver.fail("_25._tcp.mx.test", "TLSA")
        self.assertIsNone(self.found("mx.test"))
        self.assertEqual([], self.asked("TLSA"))

    def test_insecure_records(self) -> None:
        """RFC 7672 2.2: TLSA records that may be forged are none, those behind an insecure alias included."""
        zones: Zones = {
            ("mx.signed.test", "A"): ["192.0.2.1"],
            ("_25._tcp.mx.signed.test", "CNAME"): ["tlsa.open.test"],
            ("tlsa.open.test", "TLSA"): [RDATA],
        }
        self.begin(zones, ["signed.test"])
        self.assertIsNone(self.found("mx.signed.test"))
        self.begin(zones, ["test"])
        # RFC 7672 2.2.3: the alias of the TLSA name is no base domain.
        self.assertEqual(DaneRecords("mx.signed.test", (TLSA,), ("mx.signed.test",)), self.found("mx.signed.test"))

    def test_no_records(self) -> None:
        """RFC 7672 2.2: a secure denial means no DANE; so does a host that has no address."""
        self.begin({("mx.test", "A"): ["192.0.2.1"]}, ["test"])
        self.assertIsNone(self.found("mx.test"))
        self.assertIsNone(self.found("none.test"))
        self.assertEqual(["_25._tcp.mx.test"], self.asked("TLSA"))

    def test_name_too_long_for_the_prefix(self) -> None:
        """A host whose TLSA name would be longer than the DNS allows has no records."""
        host = ".".join(["a" * 62] * 3 + ["b" * 56, "test"])
        self.begin({(host, "A"): ["192.0.2.1"]}, ["test"])
        self.assertIsNone(self.found(host))

    def test_unusable(self) -> None:
        """RFC 7672 2.2: records of which none is usable still demand TLS, even those cut short."""
        for rdata in (b"\x01\x01\x01" + b"\xab" * 32, b"\x03\x01"):
            self.begin({("mx.test", "A"): ["192.0.2.1"], ("_25._tcp.mx.test", "TLSA"): [rdata]}, ["test"])
            found = self.found("mx.test")
            assert isinstance(found, DaneRecords)
            self.assertFalse(found.authenticates)
        self.begin({("mx.test", "A"): ["192.0.2.1"], ("_25._tcp.mx.test", "TLSA"): [rdata, RDATA]}, ["test"])
        found = self.found("mx.test")
        assert isinstance(found, DaneRecords)
        self.assertTrue(found.authenticates)


class AliasTests(DaneLookupCase):
    def base(self, *signed: str, without: Iterable[str] = ()) -> str | None:
        zones = {key: value for key, value in ALIASES.items() if key[0] not in without}
        self.begin(zones, signed)
        found = self.found("mx.a.test")
        assert not isinstance(found, Deferral)
        return found.base if found else None

    def test_secure(self) -> None:
        """RFC 7672 2.2.2: the name at the end comes first, then the one at the beginning, those between never."""
        end, begin = "_25._tcp.host.c.test", "_25._tcp.mx.a.test"
        self.assertEqual("host.c.test", self.base("test"))
        self.assertEqual([end], self.asked("TLSA"))
        self.assertEqual("mx.a.test", self.base("test", without=[end]))
        self.assertEqual([end, begin], self.asked("TLSA"))
        self.assertIsNone(self.base("test", without=[end, begin]))

    def test_insecure_end(self) -> None:
        """RFC 7672 2.2.2, 2.1.3: an alias out of a signed zone into an unsigned one has its records at its own name."""
        for signed in (("a.test",), ("a.test", "b.test"), ("a.test", "c.test")):
            self.assertEqual("mx.a.test", self.base(*signed))
            self.assertEqual(["mx.a.test"], self.asked("CNAME"))

    def test_insecure_begin(self) -> None:
        """RFC 7672 2.2.2: an alias in an unsigned zone makes all that follows insecure."""
        self.assertIsNone(self.base("b.test", "c.test"))
        self.assertEqual([], self.asked("TLSA"))


class TroubleTests(DaneLookupCase):
    def test_deferrals(self) -> None:
        """RFC 7672 2.1.2: whichever question has no answer (bogus included), the host must not be used without it."""
        for name, kind, signed in (
            ("_25._tcp.host.c.test", "TLSA", ["test"]),
            ("_25._tcp.mx.a.test", "TLSA", ["a.test"]),
            ("mx.a.test", "CNAME", ["a.test"]),
        ):
            self.begin(ALIASES, signed)
            question = (name, kind)
            if kind == "CNAME":
                # The addresses come by way of the alias, and then the alias itself can't be had.
                address = Answer(Status.ANSWER, ("192.0.2.1",), 60, secure=False, canonical="host.c.test")
                self.resolver.set("mx.a.test", "A", address)
            self.resolver.fail(*question)
            found = self.found("mx.a.test")
            assert isinstance(found, Deferral), question
            reason = f"cannot look up {kind} of {name} for DANE: the server failed (SERVFAIL)"
            self.assertEqual(Deferral(reason, Phase.DNS, Scope.OURSELVES, "mx.a.test", enhanced="4.4.3"), found)

    def test_first_name_bogus(self) -> None:
        """RFC 7672 2.2.3: the second name is for where the first has no records, not for where it can't be asked."""
        self.begin(ALIASES, ["test"])
        self.resolver.fail("_25._tcp.host.c.test", "TLSA")
        self.found("mx.a.test")
        self.assertEqual(["_25._tcp.host.c.test"], self.asked("TLSA"))

    def test_one_family(self) -> None:
        """RFC 7672 2.1.2: addresses of one family are enough to go on with; without any, the host must wait."""
        self.begin({("mx.test", "A"): ["192.0.2.1"], ("_25._tcp.mx.test", "TLSA"): [RDATA]}, ["test"])
        self.resolver.fail("mx.test", "AAAA")
        self.assertIsInstance(self.found("mx.test"), DaneRecords)
        self.resolver.fail("mx.test", "A")
        self.assertIsInstance(self.found("mx.test"), Deferral)
