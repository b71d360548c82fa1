"""TLSA records: reading, which are usable, which count, and what they name."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.tls.tlsa import counting, is_meant, is_usable, key_of, read_tlsa
from mta.tls_policy import Tlsa
from tests.tls.chains import about_key, root, tlsa

ONE, OTHER = root("one"), root("other")

# RFC 7671 9: the three records of one key, as they stand there.
KEY_512 = bytes.fromhex(
    "D4F5AF015B46C5057B841C7E7BAB759CBF029526D29520C5BE6A32C67475439E"
    "54AB3A945D80C743347C9BD4DADC9D8D57FAB78EAA835362F3CA07CCC19A3214"
)
KEY_256 = bytes.fromhex("3FE246A848798236DD2AB78D39F0651D6B6E7CA8E2984012EB0A2E1AC8A87B72")
KEY = bytes.fromhex(
    "3059301306072A8648CE3D020106082A8648CE3D0301070342000471CB1F504F9E4B33971376C005445DACD33CD79A28"
    "81C3DED1981F18E7AAA76609DD0E4EF28265C82703030AD60C5DBA6FB8A9397AC0FCF06D424C885D484887"
)
VECTOR = Tlsa(3, 1, 1, KEY_256), Tlsa(3, 1, 2, KEY_512), Tlsa(3, 1, 0, KEY)


class ReadTests(SynchronousTestCase):
    def test_fields(self) -> None:
        """RFC 6698 2.1: usage, selector, matching type, an octet each, and the data behind them."""
        self.assertEqual(Tlsa(3, 1, 1, b"\xab" * 32), read_tlsa(b"\x03\x01\x01" + b"\xab" * 32))
        self.assertEqual("3 1 1 abababababababababababababababab...", str(read_tlsa(b"\x03\x01\x01" + b"\xab" * 32)))

    @settings(max_examples=200, deadline=None)
    @given(st.binary(max_size=80))
    def test_any_bytes(self, rdata: bytes) -> None:
        """Whatever the RDATA, it is a record that can be asked whether it is usable and printed."""
        record = read_tlsa(rdata)
        self.assertIn(is_usable(record), (True, False))
        self.assertTrue(str(record).isprintable())

    def test_usable(self) -> None:
        """RFC 7672 3.1, RFC 6698 4.1: usages 2 and 3, known selectors, and data of the right form."""
        certificate = ONE.certificate
        for usage in (2, 3):
            for selector in (0, 1):
                for matching in (0, 1, 2):
                    self.assertTrue(is_usable(tlsa(usage, selector, matching, certificate)))
        good = tlsa(3, 1, 1, certificate).data
        for record in (
            tlsa(0, 0, 1, certificate),  # RFC 7672 3.1.3: PKIX-TA
            tlsa(1, 0, 1, certificate),  # RFC 7672 3.1.3: PKIX-EE
            Tlsa(4, 1, 1, good),
            Tlsa(255, 1, 1, good),
            Tlsa(3, 2, 1, good),
            Tlsa(3, 1, 3, good),
            Tlsa(3, 1, 1, good[:-1]),
            Tlsa(3, 1, 2, good),
            Tlsa(3, 1, 1, b""),
            Tlsa(3, 0, 0, good),
            Tlsa(2, 1, 0, b""),
            read_tlsa(b""),
            read_tlsa(b"\x03\x01"),
        ):
            self.assertFalse(is_usable(record), record)


class CountingTests(SynchronousTestCase):
    def test_vector(self) -> None:
        """RFC 7671 9, its example: full data and SHA2-512 count, SHA2-256 beside them does not."""
        self.assertEqual(VECTOR[1:], counting(VECTOR))

    def test_for_each_usage_and_selector(self) -> None:
        """RFC 7671 9: the strongest digest is that of the usable records with the same usage and selector."""
        certificate = ONE.certificate
        key, anchor, broken = tlsa(3, 1, 1, certificate), tlsa(2, 0, 2, certificate), Tlsa(3, 1, 2, b"short")
        self.assertEqual((key, anchor), counting([key, anchor, broken]))

    def test_rollover(self) -> None:
        """RFC 7672 4: records for the old and for the new key count side by side."""
        both = tlsa(3, 1, 1, ONE.certificate), tlsa(3, 1, 1, OTHER.certificate)
        self.assertEqual(both, counting(both))


class NamesTests(SynchronousTestCase):
    def test_table(self) -> None:
        """RFC 6698 2.1: each selector and matching type names what it was made from, and nothing else."""
        for selector in (0, 1):
            for matching in (0, 1, 2):
                record = tlsa(3, selector, matching, ONE.certificate)
                self.assertTrue(is_meant(ONE.certificate, record), record)
                self.assertFalse(is_meant(OTHER.certificate, record), record)

    def test_renewed(self) -> None:
        """RFC 7672 3.1.1: a key outlives the certificates that it gets."""
        renewed = root("one", key=ONE.key)
        self.assertTrue(is_meant(renewed.certificate, tlsa(3, 1, 1, ONE.certificate)))
        self.assertFalse(is_meant(renewed.certificate, tlsa(3, 0, 1, ONE.certificate)))

    def test_vector(self) -> None:
        """RFC 7671 9, its example: each of the three records names a certificate with that key."""
        certificate = about_key(KEY)
        self.assertEqual(KEY, key_of(certificate))
        self.assertEqual([True] * 3, [is_meant(certificate, record) for record in VECTOR])

    def test_keys_of_every_kind(self) -> None:
        """The key is taken out as it stands there, whatever its kind."""
        for key in (ed25519.Ed25519PrivateKey.generate(), rsa.generate_private_key(65537, 2048)):
            certificate = root("any", key=key).certificate
            self.assertEqual(tlsa(3, 1, 0, certificate).data, key_of(certificate))
