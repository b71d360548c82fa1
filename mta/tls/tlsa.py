"""
TLSA records (RFC 6698 2.1) as SMTP uses them.

Owns: their reading, which of them are usable (RFC 7672 3.1) and which count among those (RFC 7671 9), and whether one
names a certificate or its key.
Never: looks at chains, names or dates (`mta/tls/dane.py`); asks the DNS (`mta/tls/dane_lookup.py`).
Fails: never; what can't be read is a record that is not usable.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, load_der_public_key

from mta.tls_policy import Tlsa

DANE_TA = 2  # a trust anchor of the domain
DANE_EE = 3  # the certificate of the server itself
CERTIFICATE = 0
KEY = 1
FULL = 0
# RFC 6698 2.1.3 and 7.4; the larger the number, the stronger the digest: both the registry and we order them so.
_DIGESTS = {1: hashlib.sha256, 2: hashlib.sha512}

_SEQUENCE, _VERSION = 0x30, 0xA0


def is_usable(record: Tlsa) -> bool:
    """
    Whether a record can authenticate a mail server at all.

    RFC 7672 3.1.3: the PKIX usages, 0 and 1, are of no use where nobody agrees on authorities. RFC 6698 4.1: unknown
    parameters and malformed data make a record unusable.
    """
    if record.usage not in (DANE_TA, DANE_EE) or record.selector not in (CERTIFICATE, KEY):
        return False
    if record.matching == FULL:
        return _is_readable(record.data, record.selector)
    digest = _DIGESTS.get(record.matching)
    return digest is not None and len(record.data) == digest().digest_size


def is_meant(certificate: x509.Certificate, record: Tlsa) -> bool:
    """Whether it is this certificate, or its key, that a record means."""
    selected = certificate.public_bytes(Encoding.DER) if record.selector == CERTIFICATE else key_of(certificate)
    if record.matching == FULL:
        return selected == record.data
    digest = _DIGESTS.get(record.matching)
    return digest is not None and digest(selected).digest() == record.data


def read_tlsa(rdata: bytes) -> Tlsa:
    """The record in the bytes of its RDATA. What is cut short is unusable, and a record all the same."""
    if len(rdata) < 3:
        return Tlsa(255, 255, 255, rdata)
    return Tlsa(rdata[0], rdata[1], rdata[2], rdata[3:])


def counting(records: Iterable[Tlsa]) -> tuple[Tlsa, ...]:
    """
    The usable records that count.

    RFC 7671 9: for each usage and selector those with full data, and of those with digests the strongest kind alone.
    The others are there for clients that know no better.
    """
    usable = [record for record in records if is_usable(record)]
    strongest: dict[tuple[int, int], int] = {}
    for record in usable:
        kind = record.usage, record.selector
        strongest[kind] = max(record.matching, strongest.get(kind, FULL))
    return tuple(record for record in usable if record.matching in (FULL, strongest[record.usage, record.selector]))


def key_of(certificate: x509.Certificate) -> bytes:
    """
    The SubjectPublicKeyInfo of a certificate, octet for octet as it stands there (RFC 6698 2.1.2); b"" without one.

    Not by way of the key as an object: of unknown algorithms there is none, and another encoding has another digest.
    """
    try:
        fields, _ = _element(certificate.tbs_certificate_bytes, 0)
        start, end = fields
        content = certificate.tbs_certificate_bytes[start:end]
        # RFC 5280 4.1: version (where it is not 1), serial number, signature, issuer, validity, subject, and the key.
        at = _element(content, 0)[1] if content[0] == _VERSION else 0
        for _ in range(5):
            at = _element(content, at)[1]
        return content[at : _element(content, at)[1]] if content[at] == _SEQUENCE else b""
    except (IndexError, ValueError):
        return b""


def _element(octets: bytes, at: int) -> tuple[tuple[int, int], int]:
    """Begin and end of the content of the DER element at `at`, and the begin of the next one. Raises IndexError."""
    length, start = octets[at + 1], at + 2
    if length & 0x80:
        width = length & 0x7F
        length, start = int.from_bytes(octets[start : start + width]), start + width
    if start + length > len(octets):
        raise IndexError
    return (start, start + length), start + length


def _is_readable(data: bytes, selector: int) -> bool:
    """Whether full data is a certificate, or a key."""
    try:
        if selector == CERTIFICATE:
            x509.load_der_x509_certificate(data)
        else:
            load_der_public_key(data)
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion):
        return False
    return True
