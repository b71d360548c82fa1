"""
Make a first certificate, which signs itself.

Owns: its form, and writing it with its key so that nobody else can read that.
Never: replaces a file.
Fails: `FileExistsError`, and other OSErrors.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

# Clocks differ.
_EARLIER = timedelta(hours=1)
# RFC 5280, ub-common-name.
_LONGEST_COMMON_NAME = 64


def make(names: Sequence[str], days: float, now: float) -> tuple[bytes, bytes]:
    """A certificate for these hosts and its key (ECDSA, P-256), both in PEM; `now` in seconds since 1970."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:_LONGEST_COMMON_NAME])])
    at = datetime.fromtimestamp(now, UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(at - _EARLIER)
        .not_valid_after(at + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    )
    certificate = builder.sign(key, SHA256())
    return (
        certificate.public_bytes(Encoding.PEM),
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    )


def write(folder: Path, name: str, certificate: bytes, key: bytes) -> tuple[Path, Path]:
    """Both as files below a folder, which only their owner can enter: their paths."""
    if not folder.exists():
        folder.mkdir(mode=0o700, parents=True)
        if os.geteuid() == 0:
            owner = folder.parent.stat()
            os.chown(folder, owner.st_uid, owner.st_gid)
    paths = folder / f"{name}.pem", folder / f"{name}.key"
    for path in paths:
        if path.exists():
            raise FileExistsError(f"{path} is there already")
    for path, content, mode in zip(paths, (certificate, key), (0o644, 0o600), strict=True):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            if os.geteuid() == 0:  # whose daemon it is has to read it
                owner = folder.parent.stat()
                os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
    return paths
