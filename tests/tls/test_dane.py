"""Chains against TLSA records: DANE-EE, DANE-TA, rollover, and what is wrong in words."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL import SSL, crypto
from twisted.trial.unittest import SynchronousTestCase

from mta.tls.dane import Verdict, judge_chain, judge_connection
from mta.tls_policy import Tlsa
from tests.tls.chains import CLIENT, NOW, SERVER, Issued, root, signed_with_sha1, tlsa

ROOT = root()
MIDDLE = ROOT.issue("Middle", authority=True)
LEAF = MIDDLE.issue("mx", ["mx.example.com"])
STRANGER = root("Stranger")
NAMES = ("mx.example.com", "example.com")


class DaneCase(SynchronousTestCase):
    def judged(self, chain: Sequence[x509.Certificate], *records: Tlsa, names: Sequence[str] = NAMES) -> Verdict:
        return judge_chain(chain, records, names, NOW)

    def accepts(self, chain: Sequence[x509.Certificate], *records: Tlsa, names: Sequence[str] = NAMES) -> None:
        verdict = self.judged(chain, *records, names=names)
        self.assertTrue(verdict.accepted, verdict.reason)
        self.assertIn(verdict.record, records)

    def refuses(
        self, words: str, chain: Sequence[x509.Certificate], *records: Tlsa, names: Sequence[str] = NAMES
    ) -> None:
        verdict = self.judged(chain, *records, names=names)
        self.assertEqual((False, None), (verdict.accepted, verdict.record))
        self.assertIn(words, verdict.reason)


class EndEntityTests(DaneCase):
    def test_all_kinds(self) -> None:
        """RFC 7672 3.1.1: each selector and matching type names the server's certificate."""
        for selector in (0, 1):
            for matching in (0, 1, 2):
                self.accepts(LEAF.chain, tlsa(3, selector, matching, LEAF.certificate))

    def test_names_and_dates_do_not_matter(self) -> None:
        """RFC 7672 3.1.1, 3.2.1: an expired, self-signed certificate for another name is the server's all the same."""
        old = root("x", names=["elsewhere.test"], ends=-1)
        self.accepts(old.chain, tlsa(3, 1, 1, old.certificate), names=["mx.test"])

    def test_only_the_first(self) -> None:
        """RFC 7672 3.1.1: it is the server's own certificate that matters, not one of its authorities."""
        self.refuses("match none of the TLSA records (3 0 1)", LEAF.chain, tlsa(3, 0, 1, MIDDLE.certificate))

    def test_rollover(self) -> None:
        """RFC 7672 4: with records for both, the old certificate is taken, and the new one."""
        new = MIDDLE.issue("mx", ["mx.example.com"])
        both = tlsa(3, 1, 1, LEAF.certificate), tlsa(3, 1, 1, new.certificate)
        self.accepts(LEAF.chain, *both)
        self.accepts(new.chain, *both)
        self.refuses("match none", STRANGER.chain, *both)

    def test_stronger_digest(self) -> None:
        """RFC 7671 9: with SHA2-512 published, a match of SHA2-256 alone is none."""
        weak, strong = tlsa(3, 1, 1, LEAF.certificate), tlsa(3, 1, 2, STRANGER.certificate)
        self.refuses("match none of the TLSA records (3 1 2)", LEAF.chain, weak, strong)
        self.accepts(LEAF.chain, weak)


class UnusableTests(DaneCase):
    def test_encryption_alone(self) -> None:
        """RFC 7672 2.2: where no record is usable, any certificate will do, and the words say so."""
        for records in (
            [tlsa(1, 1, 1, STRANGER.certificate)],
            [Tlsa(3, 1, 1, b"cut"), tlsa(0, 0, 1, ROOT.certificate)],
        ):
            verdict = self.judged(LEAF.chain, *records)
            reason = "no TLSA record is usable, so the certificate was not checked"
            self.assertEqual(Verdict(True, reason), verdict)

    def test_one_usable(self) -> None:
        """RFC 7672 2.2: one usable record beside others must match."""
        unusable = tlsa(1, 1, 1, LEAF.certificate)
        self.refuses("match none", LEAF.chain, unusable, tlsa(3, 1, 1, STRANGER.certificate))

    def test_no_certificate(self) -> None:
        """RFC 7672 8.2: without a certificate there is nothing to match."""
        self.refuses("the server has no certificate", [], tlsa(3, 1, 1, LEAF.certificate))


class TrustAnchorTests(DaneCase):
    def test_all_kinds(self) -> None:
        """RFC 7672 3.1.2: root or intermediate authority, by certificate or key, as it comes or by digest."""
        for anchor in (ROOT, MIDDLE):
            for selector in (0, 1):
                for matching in (0, 1, 2):
                    self.accepts(LEAF.chain, tlsa(2, selector, matching, anchor.certificate))

    def test_intermediate_without_root(self) -> None:
        """RFC 7672 3.1.2: an intermediate authority that is named needs nobody above it."""
        self.accepts(LEAF.chain[:2], tlsa(2, 0, 1, MIDDLE.certificate))

    def test_order_of_the_chain(self) -> None:
        """What stands behind the server's certificate may come in any order (RFC 8446 4.4.2)."""
        self.accepts([LEAF.certificate, ROOT.certificate, MIDDLE.certificate], tlsa(2, 0, 1, ROOT.certificate))

    def test_anchor_not_sent(self) -> None:
        """RFC 7671 5.2.2: a digest of an authority that the server does not send is no use; a whole certificate is."""
        self.refuses("match none", LEAF.chain[:2], tlsa(2, 0, 1, ROOT.certificate))
        self.accepts(LEAF.chain[:2], tlsa(2, 0, 0, ROOT.certificate))
        self.refuses("match none", LEAF.chain[:1], tlsa(2, 0, 1, MIDDLE.certificate))
        self.accepts(LEAF.chain[:1], tlsa(2, 0, 0, MIDDLE.certificate))

    def test_gap_in_the_chain(self) -> None:
        """A chain that does not lead up to the anchor proves nothing."""
        self.refuses("the chain to it is not valid", LEAF.chain[:1], tlsa(2, 0, 0, ROOT.certificate))
        both = [STRANGER.issue("mx", ["mx.example.com"]).certificate, ROOT.certificate]
        self.refuses("the chain to it is not valid", both, tlsa(2, 0, 1, ROOT.certificate))

    def test_bare_key(self) -> None:
        """RFC 7671 5.2.3: with a bare key, what it signed is trusted: the authority below it, or the server itself."""
        for key in (ROOT.key, ed25519.Ed25519PrivateKey.generate(), rsa.generate_private_key(65537, 2048)):
            above = root("Above", key=key)
            leaf = above.issue("Below", authority=True).issue("mx", ["mx.example.com"])
            self.accepts(leaf.chain[:2], tlsa(2, 1, 0, above.certificate))
            self.accepts(above.issue("mx", ["mx.example.com"]).chain[:1], tlsa(2, 1, 0, above.certificate))
            self.refuses("match none", leaf.chain[:2], tlsa(2, 1, 0, STRANGER.certificate))
        self.refuses("match none", LEAF.chain[:2], tlsa(2, 1, 1, ROOT.certificate))

    def test_dates(self) -> None:
        """RFC 7672 3.1.2: dates count, those of the anchor included."""
        for old in (
            MIDDLE.issue("mx", ["mx.example.com"], ends=-1),
            MIDDLE.issue("mx", ["mx.example.com"], begins=1),
            ROOT.issue("Old", authority=True, ends=-1).issue("mx", ["mx.example.com"]),
            root("Old root", ends=-1).issue("mx", ["mx.example.com"]),
        ):
            for record in (tlsa(2, 0, 1, old.chain[-1]), tlsa(2, 1, 0, old.chain[-1])):
                verdict = self.judged(old.chain, record)
                self.assertFalse(verdict.accepted)
                self.assertRegex(verdict.reason, "expired|not yet valid")

    def test_bare_key_and_dates(self) -> None:
        """RFC 7671 5.2.3: what the key has signed must not have expired."""
        old = ROOT.issue("Old", authority=True, ends=-1).issue("mx", ["mx.example.com"])
        self.refuses("expired", old.chain[:2], tlsa(2, 1, 0, ROOT.certificate))

    def test_names(self) -> None:
        """RFC 7672 3.2.2: base domain, next-hop domain and what that is an alias of; nothing else."""
        record = tlsa(2, 0, 1, ROOT.certificate)
        names = ("mx15.example.com", "exchange.example.org", "example.com")
        for name in names:
            self.accepts(ROOT.issue("x", [name]).chain, record, names=names)
        words = "the certificate is for mail.example.org, not for mx15.example.com, exchange.example.org, example.com"
        self.refuses(words, ROOT.issue("x", ["mail.example.org"]).chain, record, names=names)

    def test_hostile_names(self) -> None:
        """A name that a peer wrote comes into the words harmlessly."""
        verdict = self.judged(ROOT.issue("a\r\nb\x1b[31m").chain, tlsa(2, 0, 1, ROOT.certificate))
        self.assertTrue(verdict.reason.isprintable(), verdict.reason)

    def test_authorities(self) -> None:
        """RFC 7672 3.1.2: who is no authority, or has too many below, can't vouch for a server."""
        no_authority = ROOT.issue("Customer", ["customer.test"])
        forged = no_authority.issue("mx", ["mx.example.com"])
        narrow = ROOT.issue("Narrow", authority=True, path_length=0)
        deep = narrow.issue("Deep", authority=True).issue("mx", ["mx.example.com"])
        for chain in (forged.chain, deep.chain):
            self.refuses("the chain to it is not valid", chain, tlsa(2, 0, 1, ROOT.certificate))
        self.refuses("the chain to it is not valid", deep.chain, tlsa(2, 0, 1, narrow.certificate))
        self.refuses("the chain to it is not valid", forged.chain[:2], tlsa(2, 1, 0, ROOT.certificate))

    def test_purpose(self) -> None:
        """RFC 5280 4.2.1.12: a certificate for clients is none for a server."""
        record = tlsa(2, 0, 1, ROOT.certificate)
        self.accepts(ROOT.issue("x", ["example.com"], purpose=SERVER).chain, record)
        chain = ROOT.issue("x", ["example.com"], purpose=CLIENT).chain
        self.refuses("the certificate is not one for servers", chain, record)
        self.accepts(chain, tlsa(3, 1, 1, chain[0]))

    def test_not_the_server_itself(self) -> None:
        """An anchor is what issued the server's certificate; to name that itself is DANE-EE's office."""
        alone = root("x", names=["mx.example.com"])
        self.refuses("match none", alone.chain, tlsa(2, 0, 1, alone.certificate))

    def test_either(self) -> None:
        """RFC 7672 4, RFC 7671 8.2: an authority's record beside one for a certificate; either will do."""
        records = tlsa(3, 1, 1, STRANGER.certificate), tlsa(2, 0, 1, ROOT.certificate)
        self.accepts(LEAF.chain, *records)
        self.accepts(STRANGER.chain, *records)


class AnyCertificateTests(SynchronousTestCase):
    @settings(max_examples=300, deadline=None)
    @given(st.integers(0, len(LEAF.certificate.public_bytes(Encoding.DER)) - 1), st.integers(1, 255))
    def test_damaged(self, place: int, change: int) -> None:
        """A certificate with a damaged octet gets a verdict, never an exception, and never a false match."""
        wire = bytearray(LEAF.certificate.public_bytes(Encoding.DER))
        wire[place] ^= change
        try:
            leaf = x509.load_der_x509_certificate(bytes(wire))
        except (ValueError, x509.InvalidVersion):
            return
        chain = [leaf, *LEAF.chain[1:]]
        full = tlsa(3, 0, 1, LEAF.certificate)
        for record in (full, tlsa(2, 0, 1, ROOT.certificate), tlsa(2, 1, 0, MIDDLE.certificate)):
            verdict = judge_chain(chain, [record], NAMES, NOW)
            self.assertFalse(verdict.accepted, verdict.reason)
        judge_chain(chain, [tlsa(3, 1, 1, LEAF.certificate)], NAMES, NOW)


class ConnectionTests(SynchronousTestCase):
    """A handshake in memory."""

    def shaken(self, issued: Issued) -> SSL.Connection:
        """The client's connection to a server with this chain."""
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.use_certificate(issued.certificate)
        context.use_privatekey(crypto.PKey.from_cryptography_key(issued.key))
        for certificate in issued.chain[1:]:
            context.add_extra_chain_cert(certificate)
        server, client = SSL.Connection(context), SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD))
        server.set_accept_state()
        client.set_connect_state()
        for _ in range(4):
            for side, other in ((client, server), (server, client)):
                with contextlib.suppress(SSL.WantReadError):
                    side.do_handshake()
                with contextlib.suppress(SSL.WantReadError):
                    other.bio_write(side.bio_read(65_536))
        return client

    def test_presented(self) -> None:
        """What the peer presents in the handshake is what is judged, its whole chain included."""
        client = self.shaken(LEAF)
        for record in (tlsa(3, 1, 1, LEAF.certificate), tlsa(2, 0, 1, ROOT.certificate)):
            self.assertEqual(record, judge_connection(client, [record], NAMES, NOW).record)
        self.assertFalse(judge_connection(client, [tlsa(3, 1, 1, STRANGER.certificate)], NAMES, NOW).accepted)

    def test_before_the_handshake(self) -> None:
        """Without a handshake there is no certificate."""
        client = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD))
        verdict = judge_connection(client, [tlsa(3, 1, 1, LEAF.certificate)], NAMES, NOW)
        self.assertEqual((False, "the server has no certificate"), (verdict.accepted, verdict.reason))


class WeakSignatureTests(DaneCase):
    def test_sha1(self) -> None:
        """A signature with SHA-1 below the anchor proves nothing; DANE-EE asks for none."""
        authority = root("Old school", key=rsa.generate_private_key(65537, 2048))
        weak = signed_with_sha1(authority, authority.issue("mx", ["mx.example.com"]).certificate)
        chain = [weak, authority.certificate]
        self.refuses("signed with sha1", chain, tlsa(2, 0, 1, authority.certificate))
        self.accepts(chain, tlsa(3, 0, 1, weak))
