"""Certificates and keys as files have them, good and bad."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from twisted.trial.unittest import SynchronousTestCase

from mta.tls.pairs import DAY, Files, Pair, PairError, read
from mta.tls.selfsigned import make
from mta.tls.selfsigned import write as write_new
from tests.server.tls_client import issue, write

NOW = 1_800_000_000.0


class PairCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())


class ReadingTests(PairCase):
    def test_good(self) -> None:
        """Names, kind and validity are those of the certificate; the chain goes along."""
        for kind, told in ((trustme.KeyType.RSA, "RSA"), (trustme.KeyType.ECDSA, "ECDSA")):
            pair = read(write(self.folder, issue("MX.example.org", "*.example.org", kind=kind)))
            self.assertEqual((told, ("mx.example.org", "*.example.org")), (pair.kind, pair.names))
            self.assertLess(pair.begins, pair.expires)
            self.assertFalse(pair.is_open)

    def test_names_of_the_configuration(self) -> None:
        """Names that are configured take the place of those in the certificate."""
        self.assertEqual(("b.test",), read(write(self.folder, issue("a.test"), names=("b.test",))).names)

    def test_bad(self) -> None:
        """Each thing that can be wrong is a sentence that names the file."""
        good = write(self.folder, issue("a.test"))
        other = write(self.folder, issue("a.test"), "other")
        empty = self.folder / "empty"
        empty.write_bytes(b"")
        secret = self.folder / "secret"
        key = read(good).key
        secret.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")))
        broken = self.folder / "broken"
        broken.write_bytes(good.certificate.read_bytes()[:200])
        for files, words in (
            (Files(self.folder / "none", good.key), "cannot read"),
            (Files(good.certificate, self.folder / "none"), "cannot read"),
            (Files(self.folder, good.key), "cannot read"),
            (Files(empty, good.key), "holds no certificate"),
            (Files(broken, good.key), "holds no certificate"),
            (Files(good.key, good.key), "holds no certificate"),
            (Files(good.certificate, empty), "holds no private key"),
            (Files(good.certificate, good.certificate), "holds no private key"),
            (Files(good.certificate, secret), "encrypted with a passphrase"),
            (Files(good.certificate, other.key), "is not the key of"),
        ):
            error = self.assertRaises(PairError, read, files)
            self.assertIn(words, str(error))
            self.assertIn(str(self.folder), str(error))

    def test_warnings(self) -> None:
        """What has expired, soon will, or may be read by everybody is told; the pair is good all the same."""
        files = write(self.folder, issue("a.test"))
        os.chmod(files.key, 0o644)
        self.assertIn("can be read by everybody", "".join(read(files).warnings(NOW)))
        files.key.chmod(0o640)
        for days, words in ((30, ""), (13, "expires in 13 days"), (-3, "has expired 3 days ago")):
            certificate, key = make(["a.test"], days + 90, NOW - 90 * DAY)
            files.certificate.write_bytes(certificate)
            files.key.write_bytes(key)
            told = list(read(files).warnings(NOW))
            self.assertEqual([words] if words else [], [line.partition(" ")[2].partition(":")[0] for line in told])
        self.assertIn("not valid before", "".join(read(files).warnings(NOW - 200 * DAY)))


class SelfSignedTests(PairCase):
    def made(self) -> Pair:
        paths = write_new(self.folder / "tls", "a.test", *make(["a.test", "b.test"], 90, NOW))
        return read(Files(*paths))

    def test_form(self) -> None:
        """It is ECDSA on P-256, for all names, for so many days, and no authority."""
        pair = self.made()
        self.assertEqual(("ECDSA", ("a.test", "b.test")), (pair.kind, pair.names))
        certificate = x509.load_pem_x509_certificate(pair.chain)
        key = certificate.public_key()
        self.assertEqual("secp256r1", getattr(key, "curve").name)  # noqa: B009
        self.assertEqual(NOW + 90 * DAY, pair.expires)
        self.assertLess(certificate.not_valid_before_utc, datetime.fromtimestamp(NOW, UTC))
        self.assertFalse(certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca)

    def test_modes(self) -> None:
        """The key is its owner's alone, whatever the umask is, and so is a new folder."""
        before = os.umask(0)
        self.addCleanup(os.umask, before)
        pair = self.made()
        self.assertEqual(0o600, pair.files.key.stat().st_mode & 0o777)
        self.assertEqual(0o700, pair.files.key.parent.stat().st_mode & 0o777)

    def test_nothing_is_replaced(self) -> None:
        """Files that are there stay as they are."""
        pair = self.made()
        self.assertRaises(FileExistsError, self.made)
        self.assertEqual(pair.chain, pair.files.certificate.read_bytes())
