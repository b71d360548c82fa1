"""Which certificate a client gets, what becomes of it when its files change, and what a client's own is good for."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from unittest.mock import ANY

import trustme
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from OpenSSL import SSL
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from mta.config.loading import parse
from mta.encryption import Encryption
from mta.tls.contexts import Terms
from mta.tls.pairs import Files, PairError
from mta.tls.selfsigned import make
from mta.tls.server import ServerTls, server_tls
from tests.server.tls_client import CIPHERS, authority, context, issue, write
from tests.tls.handshake import agreed, step

NOBODY: frozenset[str] = frozenset()
ECDSA, RSA = trustme.KeyType.ECDSA, trustme.KeyType.RSA


class TlsCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.clock = Clock()
        self.clock.advance(1_800_000_000)

    def tls(self, *files: Files, terms: Terms | None = None, permitted: frozenset[str] = NOBODY) -> ServerTls:
        return ServerTls(list(files), terms or Terms("1.2", CIPHERS), permitted, self.clock.seconds)

    def shown(
        self, tls: ServerTls, wanted: SSL.Context | None = None, name: str = "mx.example.org"
    ) -> x509.Certificate:
        """The certificate that a client gets."""
        _, client = agreed(tls, wanted or anybody(), name)
        certificate = client.get_peer_certificate(as_cryptography=True)
        assert certificate is not None
        return certificate


def anybody(ciphers: bytes = b"", version: int = SSL.TLS1_3_VERSION) -> SSL.Context:
    """A client that looks at no certificate."""
    made = SSL.Context(SSL.TLS_CLIENT_METHOD)
    made.set_max_proto_version(version)
    if ciphers:
        made.set_cipher_list(ciphers)
    return made


def names(certificate: x509.Certificate) -> list[str]:
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return found.get_values_for_type(x509.DNSName)


class ChoiceTests(TlsCase):
    def test_rsa_and_ecdsa(self) -> None:
        """With both on one listener, a client that reads RSA alone gets that, and others what is cheaper."""
        pairs = [write(self.folder, issue("mx.example.org", kind=kind), str(kind)) for kind in (RSA, ECDSA)]
        for order in (pairs, pairs[::-1]):
            tls = self.tls(*order)
            old = anybody(b"aRSA", SSL.TLS1_2_VERSION)
            self.assertIsInstance(self.shown(tls, old).public_key(), rsa.RSAPublicKey)
            new = anybody(b"aECDSA", SSL.TLS1_2_VERSION)
            self.assertNotIsInstance(self.shown(tls, new).public_key(), rsa.RSAPublicKey)

    def test_names(self) -> None:
        """Each host has its certificate, an exact name before a wildcard; who names another gets the first (SNI)."""
        tls = self.tls(
            write(self.folder, issue("mx.example.org"), "first"),
            write(self.folder, issue("*.example.net"), "wild"),
            write(self.folder, issue("mail.example.com"), "listed", ("mx.example.com",)),
            write(self.folder, issue("a.example.net", "b.example.net"), "exact"),
        )
        for name, expected in (
            ("mx.example.org", "mx.example.org"),
            ("MX.Example.Org", "mx.example.org"),
            ("", "mx.example.org"),
            ("unknown.test", "mx.example.org"),
            ("c.example.net", "*.example.net"),
            ("a.b.example.net", "mx.example.org"),
            ("b.example.net", "a.example.net"),
            ("mx.example.com", "mail.example.com"),
            ("mail.example.com", "mx.example.org"),
        ):
            self.assertIn(expected, names(self.shown(tls, None, name)), name)

    def test_chain(self) -> None:
        """The authorities in between go along, each certificate with its own."""
        child = authority().create_child_ca(key_type=ECDSA)
        other = authority().create_child_ca(key_type=RSA)
        tls = self.tls(
            write(self.folder, child.issue_cert("mx.example.org", key_type=ECDSA), "ecdsa"),
            write(self.folder, other.issue_cert("mx.example.org", key_type=RSA), "rsa"),
        )
        for kind in (b"aRSA", b"aECDSA"):
            wanted = context(SSL.TLS1_2_VERSION)
            wanted.set_cipher_list(kind)
            agreed(tls, wanted)  # it verifies: without the chain it would not

    def test_versions_and_ciphers(self) -> None:
        """`minimum` and `ciphers` hold; impossible ones are said when it is made."""
        files = write(self.folder, issue("mx.example.org"))
        strict = self.tls(files, terms=Terms("1.3", CIPHERS))
        self.assertRaises(SSL.Error, agreed, strict, anybody(version=SSL.TLS1_2_VERSION))
        tls = self.tls(files, terms=Terms("1.2", "ECDHE+AES256"))
        self.assertRaises(SSL.Error, agreed, tls, anybody(b"AES128-SHA", SSL.TLS1_2_VERSION))
        server, _ = agreed(tls, anybody(version=SSL.TLS1_2_VERSION))
        self.assertEqual(Encryption("TLSv1.2", "ECDHE-ECDSA-AES256-GCM-SHA384"), tls.outcome(server))
        error = self.assertRaises(PairError, self.tls, files, terms=Terms("1.2", "NOSUCH"))
        self.assertIn("no cipher match", str(error))

    def test_no_renegotiation(self) -> None:
        """A client can't have us calculate again and again (CVE-2011-1473)."""
        tls = self.tls(write(self.folder, issue("mx.example.org")))
        server, client = agreed(tls, anybody(version=SSL.TLS1_2_VERSION))
        self.assertTrue(client.renegotiate())
        self.assertRaises(SSL.WantReadError, client.do_handshake)
        server.bio_write(client.bio_read(1 << 16))
        self.assertRaises(SSL.WantReadError, server.recv, 100)
        client.bio_write(server.bio_read(1 << 16))
        self.assertRaises(SSL.Error, client.do_handshake)


class ReloadingTests(TlsCase):
    def setUp(self) -> None:
        super().setUp()
        self.files = write(self.folder, issue("first.test"))
        self.server = self.tls(self.files)

    def name(self) -> str:
        return names(self.shown(self.server))[0]

    def test_changed(self) -> None:
        """Changed files are read at the next handshake, but looked at every few seconds at most."""
        self.assertEqual("first.test", self.name())
        write(self.folder, issue("second.test"))
        self.assertEqual("first.test", self.name())
        self.clock.advance(5)
        self.assertEqual("second.test", self.name())

    def test_renewed_by_links(self) -> None:
        """Links that point elsewhere by now (certbot renews so) count as changed."""
        second = write(self.folder, issue("second.test"), "second")
        for old, new in ((self.files.certificate, second.certificate), (self.files.key, second.key)):
            old.unlink()
            old.symlink_to(new.resolve())
        self.clock.advance(5)
        self.assertEqual("second.test", self.name())

    def test_bad(self) -> None:
        """A new pair that can't be used is told once, and the old one is kept until there is a good one."""
        spoilings = {
            "cannot read": lambda: self.files.key.unlink(),
            "holds no certificate": lambda: self.files.certificate.write_bytes(b"garbage"),
            "is not the key of": lambda: shutil.copy(
                write(self.folder, issue("x.test"), "x").certificate, self.files.certificate
            ),
        }
        for words, spoil in spoilings.items():
            spoil()
            with capturedLogs() as logs:
                self.clock.advance(5)
                self.assertEqual("first.test", self.name())
                self.clock.advance(5)
                self.assertEqual("first.test", self.name())
            (event,) = (event for event in logs if event["log_level"] is LogLevel.error)
            self.assertIn(words, str(event["why"]))
            self.assertIn("kept", event["kept"])
            write(self.folder, issue("first.test"))
            self.clock.advance(5)
            self.name()

    def test_expired(self) -> None:
        """A new pair that has expired is used: who does not verify can still encrypt."""
        certificate, key = make(["old.test"], 1, self.clock.seconds() - 5 * 86_400)
        self.files.certificate.write_bytes(certificate)
        self.files.key.write_bytes(key)
        self.clock.advance(5)
        self.assertEqual("old.test", self.name())

    def test_next_configuration(self) -> None:
        """What a running daemon has stays where the next configuration finds a bad pair in the same files."""
        self.files.key.write_bytes(b"")
        after = ServerTls([self.files], Terms("1.2", CIPHERS), NOBODY, self.clock.seconds, self.server)
        self.assertEqual("first.test", names(self.shown(after))[0])
        self.assertEqual(1, len(after.certificates.pairs))

    def test_never_good(self) -> None:
        """Without one good pair there is no connection; with the first good one there is."""
        os.truncate(self.files.key, 0)
        tls = self.tls(self.files)
        self.assertIsNone(tls.connection(lambda: None))
        write(self.folder, issue("late.test"))
        self.clock.advance(5)
        self.assertEqual("late.test", names(self.shown(tls))[0])

    def test_one_of_two(self) -> None:
        """A bad pair does not keep a good one from its work."""
        tls = self.tls(Files(self.folder / "none", self.folder / "none"), self.files)
        self.assertEqual("first.test", names(self.shown(tls))[0])


class ClientCertificateTests(TlsCase):
    def outcome(self, tls: ServerTls, certificate: trustme.LeafCert | None) -> Encryption:
        wanted = context(certificate=certificate)
        server, _ = agreed(tls, wanted)
        return tls.outcome(server)

    def fingerprint(self, leaf: trustme.LeafCert) -> str:
        return x509.load_pem_x509_certificate(leaf.cert_chain_pems[0].bytes()).fingerprint(SHA256()).hex()

    def test_fingerprint(self) -> None:
        """The certificate of a listed fingerprint permits to relay, whoever has signed it; others go without."""
        files = write(self.folder, issue("mx.example.org"))
        friend, stranger = trustme.CA().issue_cert("friend.test"), issue("stranger.test")
        tls = self.tls(files, terms=Terms("1.2", CIPHERS, True), permitted=frozenset([self.fingerprint(friend)]))
        for leaf, may in ((friend, True), (stranger, False)):
            found = self.outcome(tls, leaf)
            self.assertEqual(Encryption("TLSv1.3", ANY, self.fingerprint(leaf), may), found)
        self.assertEqual(Encryption("TLSv1.3", ANY, "", False), self.outcome(tls, None))

    def test_authority(self) -> None:
        """A certificate of a listed authority permits to relay, one of another or of itself does not."""
        clients = trustme.CA()
        pem = clients.cert_pem.bytes()
        tls = self.tls(write(self.folder, issue("mx.example.org")), terms=Terms("1.2", CIPHERS, True, pem))
        impostor = trustme.CA()
        for leaf, may in (
            (clients.issue_cert("a.test"), True),
            (clients.create_child_ca().issue_cert("b.test"), True),
            (impostor.issue_cert("a.test"), False),
            (issue("c.test"), False),
        ):
            self.assertEqual(may, self.outcome(tls, leaf).may_relay, leaf)
        self.assertFalse(self.outcome(tls, None).may_relay)

    def test_not_asked(self) -> None:
        """Where no certificate permits anything, clients are not asked for one."""
        tls = self.tls(write(self.folder, issue("mx.example.org")))
        self.assertEqual("", self.outcome(tls, issue("a.test")).certificate)

    def test_nobody_comes_back_by_an_old_session(self) -> None:
        """A session is not resumed where a certificate may permit something: it is looked at each time."""
        tls = self.tls(write(self.folder, issue("mx.example.org")), terms=Terms("1.2", CIPHERS, True))
        wanted = anybody(version=SSL.TLS1_2_VERSION)
        _, client = agreed(tls, wanted)
        session = client.get_session()
        assert session is not None
        server = tls.connection(lambda: None)
        assert server is not None
        again = SSL.Connection(wanted, None)
        again.set_session(session)
        again.set_connect_state()
        for _ in range(3):
            step(again, server)
            step(server, again)
        self.assertNotEqual(client.master_key(), again.master_key())  # that of a resumed session is the same


class ConfiguredTests(TlsCase):
    TEXT = 'hostname = "mx.test"\nstate_dir = "{0}"\n[[listener]]\nname = "a"\nendpoint = "tcp:0"\nrole = "mx"\n'

    def test_from_the_configuration(self) -> None:
        """Paths are below state_dir, fingerprints as OpenSSL writes them; without certificates there is no TLS."""
        text = self.TEXT.format(self.folder)
        self.assertIsNone(server_tls(parse(text, "f", {}), self.clock.seconds))
        leaf = issue("client.test")
        write(self.folder / "tls", issue("mx.test"))
        der = x509.load_pem_x509_certificate(leaf.cert_chain_pems[0].bytes()).fingerprint(SHA256())
        text += f'[relay]\nclient_certificates = ["{der.hex(":").upper()}"]\n'
        text += '[[tls.certificates]]\ncertificate = "tls/mx.pem"\nkey = "tls/mx.key"\n'
        tls = server_tls(parse(text, "f", {}), self.clock.seconds)
        assert tls is not None
        server, _ = agreed(tls, context(certificate=leaf), "mx.test")
        self.assertTrue(tls.outcome(server).may_relay)

    def test_bad_authorities(self) -> None:
        """A file of authorities that is missing or holds none is said when it is made."""
        write(self.folder, issue("mx.test"))
        (self.folder / "empty").write_bytes(b"")
        for path in ("none", "empty"):
            text = f'{self.TEXT.format(self.folder)}[relay]\nclient_authorities = "{path}"\n'
            text += '[[tls.certificates]]\ncertificate = "mx.pem"\nkey = "mx.key"\n'
            self.assertRaises(PairError, server_tls, parse(text, "f", {}), self.clock.seconds)
