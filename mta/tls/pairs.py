"""
A certificate with its key, as two files have them.

Owns: reading both, whether they belong together, the names and the end of a certificate.
Never: speaks TLS, keeps anything; knows Twisted (`mta check` reads pairs, too).
Fails: `PairError` with a sentence that names the file.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from cryptography.x509.oid import ExtensionOID, NameOID

DAY = 86_400.0
# Days: Let's Encrypt renews 30 days before the end. Two weeks later somebody should look.
SOON = 14

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey
_KINDS = {
    rsa.RSAPrivateKey: "RSA",
    ec.EllipticCurvePrivateKey: "ECDSA",
    ed25519.Ed25519PrivateKey: "Ed25519",
    ed448.Ed448PrivateKey: "Ed448",
}


class PairError(Exception):
    """A pair that can't be used."""


@dataclass(frozen=True, slots=True)
class Files:
    """
    Where a pair stands. `names` are those of the hosts that it is for, where that is not to be read in the certificate.
    """

    certificate: Path
    key: Path
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Pair:
    """
    `chain` is the certificate with those of the authorities that go along, in PEM.

    `names` are those that clients get it for, `certified` those in it, in lower case; `kind` is "RSA", "ECDSA"...;
    `begins` and `expires` are seconds since 1970. `is_open` says that everybody may read the key's file.
    """

    files: Files
    chain: bytes = field(repr=False)
    key: Key = field(repr=False)
    kind: str
    names: tuple[str, ...]
    certified: tuple[str, ...]
    begins: float
    expires: float
    is_open: bool

    def is_for(self, host: str) -> bool:
        """Whether it certifies a host; a wildcard stands for the leftmost label alone (RFC 9525 6.3)."""
        return not {host.lower(), f"*.{host.lower().partition('.')[2]}"}.isdisjoint(self.certified)

    def warnings(self, now: float) -> Iterator[str]:
        """What somebody should look at, though the pair can be used."""
        days = (self.expires - now) / DAY
        if days <= 0:
            yield f"{self.files.certificate} has expired {-days:.0f} days ago: who verifies it will not send"
        elif days < SOON:
            yield f"{self.files.certificate} expires in {days:.0f} days"
        if now < self.begins:
            yield f"{self.files.certificate} is not valid before {(self.begins - now) / DAY:.0f} days from now"
        if self.is_open:
            yield f"{self.files.key} can be read by everybody; chmod it to 0600 or 0640"


def read(files: Files) -> Pair:
    """The pair in two files. Raises `PairError`."""
    chain, _ = _content(files.certificate)
    text, mode = _content(files.key)
    try:
        certificate, *_others = x509.load_pem_x509_certificates(chain)
    except ValueError:
        raise PairError(f"{files.certificate} holds no certificate in PEM") from None
    key = _key(files.key, text)
    kind = next((name for form, name in _KINDS.items() if isinstance(key, form)), "")
    if not kind:
        raise PairError(f"{files.key} holds a key of a kind that TLS has no use for")
    assert isinstance(key, Key)
    certified = tuple(name.lower() for name in _names(certificate))
    form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    if certificate.public_key().public_bytes(*form) != key.public_key().public_bytes(*form):
        raise PairError(f"{files.key} is not the key of {files.certificate}")
    return Pair(
        files=files,
        chain=chain,
        key=key,
        kind=kind,
        names=tuple(name.lower() for name in files.names) or certified,
        certified=certified,
        begins=certificate.not_valid_before_utc.timestamp(),
        expires=certificate.not_valid_after_utc.timestamp(),
        is_open=bool(mode & stat.S_IROTH),
    )


def _content(path: Path) -> tuple[bytes, int]:
    """What is in a file, and its mode."""
    try:
        with path.open("rb") as file:
            return file.read(), path.stat().st_mode
    except OSError as error:
        raise PairError(f"cannot read {path}: {error.strerror}") from None


def _key(path: Path, text: bytes) -> object:
    try:
        return load_pem_private_key(text, None)
    except TypeError:  # so says `cryptography`
        raise PairError(f"{path} is encrypted with a passphrase, which nobody is there to type") from None
    except Exception:  # ValueError, and UnsupportedAlgorithm, which is none
        raise PairError(f"{path} holds no private key in PEM") from None


def _names(certificate: x509.Certificate) -> list[str]:
    """The host names of a certificate; those without the extension for them have one in their subject."""
    try:
        found = certificate.extensions.get_extension_for_oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME).value
    except (x509.ExtensionNotFound, ValueError):
        return [str(name.value) for name in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    assert isinstance(found, x509.SubjectAlternativeName)
    return found.get_values_for_type(x509.DNSName)
