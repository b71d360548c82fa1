"""
DANE against a real validating resolver: Unbound in front of NSD with zones signed here. Needs Debian's unbound and nsd.
"""

from __future__ import annotations

import functools
import os
import random
import shutil
import signal
import tempfile
from pathlib import Path
from typing import Any, cast

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.trial.unittest import TestCase

from mta.dns.cache import Cache
from mta.dns.exchange import IReactorDNS
from mta.dns.question import Question
from mta.dns.resolver import Resolver
from mta.lookup import Answer, Status
from mta.outcome import Deferral
from mta.tls.dane import judge_chain
from mta.tls.dane_lookup import DaneLookup, DaneRecords, Found
from mta.tls_policy import Tlsa
from tests.end_to_end.daemon import Daemon, EndToEndCase, eventually
from tests.peers.certificates import made
from tests.real_peers.signed_dns import SignedDns, forged
from tests.tls.chains import NOW, root, tlsa

# The reactor is many interfaces in one object, and no type says so.
REACTOR = cast(Any, reactor)

ROOT = root()
OLD, NEW = (ROOT.issue("mx", ["mx.secure.test"]) for _ in range(2))


def text(record: Tlsa) -> str:
    """A record as it stands in a zone."""
    return f"TLSA {record.usage} {record.selector} {record.matching} {record.data.hex()}"


RECORD = text(tlsa(3, 1, 1, OLD.certificate))
SECURE = f"""\
@ 0 IN MX 10 mx.secure.test.
mx 0 IN A 127.0.0.1
_25._tcp.mx 0 IN {RECORD}
plain 0 IN A 127.0.0.1
alias 0 IN CNAME mx.secure.test.
out 0 IN CNAME mx.insecure.test.
_25._tcp.out 0 IN {RECORD}
third 0 IN A 127.0.0.1
_25._tcp.third 0 IN CNAME tlsa201.secure.test.
tlsa201 0 IN {text(tlsa(2, 0, 1, ROOT.certificate))}
whole 0 IN A 127.0.0.1
_25._tcp.whole 0 IN {text(tlsa(2, 0, 0, ROOT.certificate))}
other 0 IN CNAME secure.test.
"""
ZONES = {
    "secure.test.": SECURE,
    "insecure.test.": f"@ 0 IN MX 10 mx.secure.test.\nmx 0 IN A 127.0.0.1\n_25._tcp.mx 0 IN {RECORD}\n",
    "bogus.test.": f"@ 0 IN MX 10 mx.bogus.test.\nmx 0 IN A 127.0.0.1\n_25._tcp.mx 0 IN {RECORD}\n",
    "forged.test.": "@ 0 IN MX 10 mx.secure.test.\n",
}


class SignedDnsCase(TestCase):
    def setUp(self) -> None:
        self.top = Path(tempfile.mkdtemp(prefix="mta-"))
        self.addCleanup(shutil.rmtree, self.top, ignore_errors=True)
        self.top.chmod(0o755)
        forge = {
            "bogus.test.": forged("_25._tcp.mx.bogus.test.", "TLSA", "3 1 1 " + "ab" * 32),
            "forged.test.": forged("forged.test.", "MX", "10 mx.insecure.test."),
        }
        self.dns = SignedDns(self.top, ZONES, unsigned=("insecure.test.",), forge=forge)
        self.addCleanup(self.dns.stop)
        self.resolver = Resolver(
            reactor=cast(IReactorDNS, REACTOR),
            servers=[("127.0.0.1", self.dns.port)],
            timeout=5.0,
            rng=random.SystemRandom(),
            cache=Cache[Question, Answer](cast(IReactorTime, REACTOR), 1000),
            trusts_ad=True,
        )
        self.addCleanup(self.resolver.stop)
        self.dane = DaneLookup(self.resolver)


class ValidatedTests(SignedDnsCase):
    async def test_answers(self) -> None:
        """RFC 4035 4.9.3, RFC 7672 2.1: secure, insecure and bogus, for records and for what is not there."""
        for name, kind, status, secure in (
            ("secure.test", "MX", Status.ANSWER, True),
            ("mx.secure.test", "A", Status.ANSWER, True),
            ("mx.secure.test", "AAAA", Status.NODATA, True),
            ("none.secure.test", "A", Status.NXDOMAIN, True),
            ("_25._tcp.mx.secure.test", "TLSA", Status.ANSWER, True),
            ("_25._tcp.plain.secure.test", "TLSA", Status.NXDOMAIN, True),
            ("alias.secure.test", "A", Status.ANSWER, True),
            ("out.secure.test", "A", Status.ANSWER, False),
            ("out.secure.test", "CNAME", Status.ANSWER, True),
            ("insecure.test", "MX", Status.ANSWER, False),
            ("_25._tcp.mx.insecure.test", "TLSA", Status.ANSWER, False),
            ("none.insecure.test", "A", Status.NXDOMAIN, False),
            ("mx.bogus.test", "A", Status.ANSWER, True),
            ("_25._tcp.mx.bogus.test", "TLSA", Status.COULD_NOT_ASK, False),
            ("forged.test", "MX", Status.COULD_NOT_ASK, False),
        ):
            answer = await self.resolver.lookup(name, kind)
            self.assertEqual((status, secure), (answer.status, answer.secure), (name, kind, answer, self.dns.told()))


class DaneTests(SignedDnsCase):
    async def records(self, lookup: Deferred[Found]) -> DaneRecords:
        found = await lookup
        assert isinstance(found, DaneRecords), (found, self.dns.told())
        return found

    async def test_secure(self) -> None:
        """RFC 7672 2.2.1: a secure MX record leads to a host with secure records; its certificate matches them."""
        found = await self.records(self.dane.for_domain("secure.test", "mx.secure.test"))
        self.assertEqual(("mx.secure.test", ("mx.secure.test", "secure.test")), (found.base, found.names))
        self.assertTrue(judge_chain(OLD.chain, found.records, found.names, NOW).accepted)
        self.assertFalse(judge_chain(NEW.chain, found.records, found.names, NOW).accepted)

    async def test_insecure(self) -> None:
        """RFC 7672 2.2.1, 2.2.2: without a secure MX record, secure addresses, or records, there is no DANE."""
        for lookup in (
            self.dane.for_domain("insecure.test", "mx.secure.test"),
            self.dane.for_host("mx.insecure.test", 25, True),
            self.dane.for_host("plain.secure.test", 25, True),
            self.dane.for_host("mx.secure.test", 2525, True),
        ):
            self.assertIsNone(await lookup)

    async def test_bogus(self) -> None:
        """RFC 7672 2.1.2: forged records, of MX or TLSA, put the host off; they neither bounce nor go in clear."""
        for lookup, name in (
            (self.dane.for_host("mx.bogus.test", 25, True), "TLSA of _25._tcp.mx.bogus.test"),
            (self.dane.for_domain("forged.test", "mx.secure.test"), "MX of forged.test"),
        ):
            found = await lookup
            assert isinstance(found, Deferral), found
            self.assertIn(f"cannot look up {name} for DANE", found.reason)
            self.assertIn("SERVFAIL", found.reason)

    async def test_aliases(self) -> None:
        """RFC 7672 2.2.2, 2.2.3, 3.2.2: aliases of host, records and domain, and one that leaves the signed zone."""
        for domain, host, base, names in (
            ("secure.test", "alias.secure.test", "mx.secure.test", ("mx.secure.test", "secure.test")),
            ("secure.test", "out.secure.test", "out.secure.test", ("out.secure.test", "secure.test")),
            ("secure.test", "third.secure.test", "third.secure.test", ("third.secure.test", "secure.test")),
            (
                "other.secure.test",
                "mx.secure.test",
                "mx.secure.test",
                ("mx.secure.test", "other.secure.test", "secure.test"),
            ),
        ):
            found = await self.records(self.dane.for_domain(domain, host))
            self.assertEqual((base, names), (found.base, found.names), host)

    async def test_trust_anchors(self) -> None:
        """RFC 7672 3.1.2, RFC 7671 5.2.2: an authority by its digest; one that stands in the DNS alone, whole."""
        for host, chain in (("third.secure.test", OLD.chain), ("whole.secure.test", OLD.chain[:1])):
            found = await self.records(self.dane.for_host(host, 25, True, ("mx.secure.test",)))
            verdict = judge_chain(chain, found.records, found.names, NOW)
            self.assertTrue(verdict.accepted, verdict.reason)

    async def test_rollover(self) -> None:
        """RFC 7672 4: both records stand while the certificate changes; then the old one goes."""

        async def accepted() -> list[bool]:
            found = await self.records(self.dane.for_domain("secure.test", "mx.secure.test"))
            return [judge_chain(each.chain, found.records, found.names, NOW).accepted for each in (OLD, NEW)]

        self.assertEqual([True, False], await accepted())
        new = f"_25._tcp.mx 0 IN {text(tlsa(3, 1, 1, NEW.certificate))}\n"
        self.dns.publish("secure.test.", SECURE + new)
        self.assertEqual([True, True], await accepted())
        self.dns.publish("secure.test.", SECURE.replace(f"_25._tcp.mx 0 IN {RECORD}\n", new))
        self.assertEqual([False, True], await accepted())


class DaemonTests(EndToEndCase):
    def configured(self, port: int, more: str = "") -> str:
        return f'\n[dns]\nservers = ["127.0.0.1:{port}"]\nvalidated_name = "secure.test"\n{more}'

    def says(self, daemon: Daemon, words: str) -> bool:
        return words in daemon.output.read_text()

    def test_validation(self) -> None:
        """The daemon and `mta check --dns` say that Unbound validates, and that NSD, asked as a resolver, does not."""
        top = self.top / "dns"
        top.mkdir()
        dns = SignedDns(top, ZONES, unsigned=("insecure.test.",), forge={})
        self.addCleanup(dns.stop)
        for port, code, checked, logged in (
            (dns.port, 0, "validates (secure.test)", "DANE is on: 127.0.0.1 port {} validated secure.test"),
            (
                dns.authority,
                os.EX_UNAVAILABLE,
                "does not validate: it did not call secure.test validated (AD), so DANE is off",
                "DANE is off: 127.0.0.1 port {} did not call secure.test validated (AD)",
            ),
        ):
            daemon = self.daemon(self.configured(port))
            ran = daemon.mta("check", "--dns")
            self.assertEqual(code, ran.returncode, ran)
            self.assertIn(f"127.0.0.1 port {port}: {checked}", (ran.stdout + ran.stderr).decode())
            words = logged.format(port)
            eventually(functools.partial(self.says, daemon, words), words)
            daemon.stop()
            daemon.output.unlink()

    def test_delivery(self) -> None:
        """A daemon delivers to one whose key is in the signed zone, and keeps mail for a host with another key."""
        issued = made("anything")
        (self.top / "cert.pem").write_bytes(issued.pem)
        (self.top / "key.pem").write_bytes(issued.key_pem)
        for name in ("peer", "dns"):
            (self.top / name).mkdir()
        files = f'certificate = "{self.top}/cert.pem"\nkey = "{self.top}/key.pem"\n'
        peer = Daemon(self.top / "peer", f"\n[[tls.certificates]]\n{files}")
        peer.config.write_text(peer.config.read_text().replace("local.test", "peer.test"))
        self.addCleanup(peer.stop, signal.SIGKILL)
        peer.start()
        good, wrong = (text(tlsa(3, 1, 1, each)) for each in (issued.certificate, NEW.certificate))
        at = f"_{peer.port}._tcp"
        zone = f"mx 0 IN A 127.0.0.1\n{at}.mx 0 IN {good}\nbad 0 IN A 127.0.0.1\n{at}.bad 0 IN {wrong}\n"
        dns = SignedDns(self.top / "dns", {"secure.test.": zone}, unsigned=(), forge={})
        self.addCleanup(dns.stop)
        routes = "".join(
            f'\n[[route]]\nrecipients = ["{user}@peer.test"]\nnext_hop = "smtp://{host}.secure.test:{peer.port}"\n'
            'tls = "dane"\n'
            for user, host in (("alice", "mx"), ("bob", "bad"))
        )
        daemon = self.daemon(self.configured(dns.port, routes))
        eventually(functools.partial(self.says, daemon, "DANE is on"), "DANE is on")
        for user in ("alice", "bob"):
            daemon.submit("carol@example.org", f"{user}@peer.test")
        eventually(lambda: peer.mailbox("alice"), "the message of alice")
        for words in ("TLSv1.3 verified (route: dane)", "match none of the TLSA records (3 1 1)"):
            eventually(functools.partial(self.says, daemon, words), words)
        self.assertEqual([], peer.mailbox("bob"))
