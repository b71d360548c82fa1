"""
Whether a certificate is for one of the names that a mail server may have, as DANE wants it (RFC 7672 3.2.3).

Owns: names of subjectAltName, the common name where there are none of those, wildcards.
Never: chooses the names (`mta/tls/dane_lookup.py`).
Fails: never; an extension that can't be read holds no names.
"""

from __future__ import annotations

from collections.abc import Iterable

from cryptography import x509
from cryptography.x509.oid import NameOID

# What reading an extension or a name of somebody else's certificate may raise.
UNREADABLE = (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType)


def names_in(certificate: x509.Certificate) -> list[str]:
    """The DNS names that it is for: the common name counts only where subjectAltName has no DNS name."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        names = extension.value.get_values_for_type(x509.DNSName)
    except x509.ExtensionNotFound:
        names = []
    except UNREADABLE:
        return []
    if names:
        return list(names)
    try:
        return [str(each.value) for each in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    except UNREADABLE:
        return []


def is_for(certificate: x509.Certificate, wanted: Iterable[str]) -> bool:
    """Whether one of its names is one of those wanted."""
    names = names_in(certificate)
    return any(_matches(name, reference) for name in names for reference in wanted)


def _matches(name: str, reference: str) -> bool:
    """A name of a certificate against one wanted: "*" is all of the first label and stands for exactly one."""
    name, reference = (each.lower().removesuffix(".") for each in (name, reference))
    if name.startswith("*."):
        first, dot, above = reference.partition(".")
        return bool(first and dot) and name[2:] == above
    return bool(name) and name == reference
