"""Certificates for the tests: authorities, what they issue, and TLSA records for either."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mta.tls_policy import Tlsa

NOW = datetime(2026, 11, 24, tzinfo=UTC)
Key = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True)
class Issued:
    """A certificate with its key, and who issued it (itself, for a root)."""

    certificate: x509.Certificate
    key: Key
    issuer: Issued | None = None

    def issue(
        self,
        common_name: str,
        names: Iterable[str] = (),
        *,
        authority: bool = False,
        path_length: int | None = None,
        begins: int = -3,
        ends: int = 30,
        purpose: x509.ObjectIdentifier | None = None,
        key: Key | None = None,
    ) -> Issued:
        """A certificate below this one, valid from `begins` to `ends` in days from `NOW`."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        certificate = _made(common_name, names, authority, path_length, (begins, ends), purpose, key, self)
        return Issued(certificate, key, self)

    @property
    def chain(self) -> list[x509.Certificate]:
        """From this certificate up to its root."""
        return [self.certificate, *(self.issuer.chain if self.issuer else ())]


def root(common_name: str = "Root", *, key: Key | None = None, ends: int = 30, names: Iterable[str] = ()) -> Issued:
    """A self-signed authority; with `names`, a self-signed certificate of a server."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    return Issued(_made(common_name, names, not names, None, (-3, ends), None, key, None), key)


def _made(
    common_name: str,
    names: Iterable[str],
    authority: bool,
    path_length: int | None,
    days: tuple[int, int],
    purpose: x509.ObjectIdentifier | None,
    key: Key,
    issuer: Issued | None,
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW + timedelta(days=days[0]))
        .not_valid_after(NOW + timedelta(days=days[1]))
        .add_extension(x509.BasicConstraints(authority, path_length), critical=True)
    )
    if listed := [x509.DNSName(name) for name in names]:
        builder = builder.add_extension(x509.SubjectAlternativeName(listed), critical=False)
    if purpose:
        builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
    signer = issuer.key if issuer else key
    by_itself = isinstance(signer, ed25519.Ed25519PrivateKey)
    return builder.sign(signer, None if by_itself else hashes.SHA256())


def tlsa(usage: int, selector: int, matching: int, certificate: x509.Certificate) -> Tlsa:
    """The record that names a certificate or its key (RFC 6698 2.1)."""
    data = certificate.public_bytes(Encoding.DER)
    if selector == 1:
        data = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if matching:
        data = (hashlib.sha256 if matching == 1 else hashlib.sha512)(data).digest()
    return Tlsa(usage, selector, matching, data)


def about_key(key: bytes) -> x509.Certificate:
    """A certificate for a public key (SubjectPublicKeyInfo) whose private half nobody here has."""
    public = load_der_public_key(key)
    assert isinstance(public, ec.EllipticCurvePublicKey)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "about")])
    builder = x509.CertificateBuilder(name, name, public, 1, NOW, NOW + timedelta(days=1))
    return builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())


def signed_with_sha1(authority: Issued, certificate: x509.Certificate) -> x509.Certificate:
    """The same certificate with a signature that the library has unlearned to make (PKCS #1 v1.5 with SHA-1)."""
    assert isinstance(authority.key, rsa.RSAPrivateKey)
    numbers = authority.key.private_numbers()
    size = authority.key.key_size // 8
    signed = certificate.tbs_certificate_bytes.replace(_SHA256_WITH_RSA, _SHA1_WITH_RSA)
    digest = _SHA1_DIGEST_INFO + hashlib.sha1(signed, usedforsecurity=False).digest()
    padded = b"\x00\x01" + b"\xff" * (size - len(digest) - 3) + b"\x00" + digest
    signature = pow(int.from_bytes(padded), numbers.d, numbers.public_numbers.n).to_bytes(size)
    algorithm = _element(0x30, _SHA1_WITH_RSA + b"\x05\x00")
    return x509.load_der_x509_certificate(_element(0x30, signed + algorithm + _element(3, b"\x00" + signature)))


def _element(tag: int, content: bytes) -> bytes:
    """DER, for contents of any length below 65,536."""
    if len(content) < 0x80:
        return bytes([tag, len(content)]) + content
    return bytes([tag, 0x82]) + len(content).to_bytes(2) + content


# 1.2.840.113549.1.1.11 and .5 with tag and length; the DigestInfo of RFC 8017 9.2.
_SHA256_WITH_RSA = bytes.fromhex("06092a864886f70d01010b")
_SHA1_WITH_RSA = bytes.fromhex("06092a864886f70d010105")
_SHA1_DIGEST_INFO = bytes.fromhex("3021300906052b0e03021a05000414")
CLIENT = ExtendedKeyUsageOID.CLIENT_AUTH
SERVER = ExtendedKeyUsageOID.SERVER_AUTH
