"""
Certificates for tests: an authority of our own, and what it issues, good or broken in one way.

Keys are P-256, made anew in each run; times are real ones, for OpenSSL looks at the machine's clock.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL, crypto

DAY = timedelta(days=1)


@dataclass(frozen=True)
class Issued:
    """A certificate, its key, and the certificates between it and the root."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    chain: tuple[x509.Certificate, ...] = ()

    def context(self) -> SSL.Context:
        """A server's context that presents it."""
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.use_certificate(crypto.X509.from_cryptography(self.certificate))
        context.use_privatekey(crypto.PKey.from_cryptography_key(self.key))
        for above in self.chain:
            context.add_extra_chain_cert(crypto.X509.from_cryptography(above))
        return context

    @property
    def pem(self) -> bytes:
        """The certificate and its chain."""
        every = (self.certificate, *self.chain)
        return b"".join(each.public_bytes(serialization.Encoding.PEM) for each in every)

    @property
    def key_pem(self) -> bytes:
        """The key, without a passphrase."""
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )


def made(
    name: str,
    issuer: Issued | None = None,
    *,
    names: tuple[str, ...] = (),
    is_authority: bool = False,
    since: timedelta = -DAY,
    until: timedelta = 30 * DAY,
) -> Issued:
    """
    A certificate for `names` (host names or addresses), signed by `issuer` or by itself.

    Valid from `since` to `until`, both from now; its chain is what stands between it and the root.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + since)
        .not_valid_after(now + until)
        .add_extension(x509.BasicConstraints(is_authority, None), critical=True)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([_general(each) for each in names]), critical=False)
    certificate = builder.sign(issuer.key if issuer else key, hashes.SHA256())
    between = () if issuer is None or _is_root(issuer.certificate) else (issuer.certificate, *issuer.chain)
    return Issued(certificate, key, between)


def _is_root(certificate: x509.Certificate) -> bool:
    return certificate.issuer == certificate.subject


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
