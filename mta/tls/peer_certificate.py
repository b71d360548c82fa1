"""
What is wrong with a server's certificate, in words for people.

Owns: the words for OpenSSL's findings about a chain, whether a certificate is for one of the names wanted, and what
that is called in a report (RFC 8460 4.3.1).
Never: trusts anybody (the context says whom), decides what becomes of the connection.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from cryptography import x509
from OpenSSL import SSL, crypto
from service_identity import CertificateError, VerificationError
from service_identity.pyopenssl import verify_hostname, verify_ip_address

from mta.address import is_ip_address
from mta.tls_report import FINE, Finding, Result

# x509_vfy.h, X509_V_ERR_*: the findings that happen, each by the leaf and by an authority above it.
_NOT_YET, _EXPIRED, _SELF_SIGNED, _SELF_SIGNED_ROOT = 9, 10, 18, 19
_NO_ISSUER = (2, 20, 21)
# Names of a certificate that a reason lists; some have hundreds.
_NAMES_TOLD = 4
_NOT_A_NAME = re.compile(r"[^-A-Za-z0-9.*_:]")


class Findings:
    """What OpenSSL finds while it verifies a chain. It goes on all the same: the words are for after the handshake."""

    def __init__(self) -> None:
        self._found: list[str] = []
        self._first = 0

    def note(self, _connection: SSL.Connection, certificate: crypto.X509, error: int, depth: int, fine: int) -> bool:
        """What pyOpenSSL calls for each certificate."""
        if not fine:
            self._first = self._first or error
            words = _words(certificate.to_cryptography(), error, depth)
            if words not in self._found:
                self._found.append(words)
        return True

    def __str__(self) -> str:
        """ "" where nothing is wrong."""
        return ", and ".join(self._found[:2])

    def finding(self) -> Finding:
        """The same for a report."""
        if not self._found:
            return FINE
        return Finding(Result.EXPIRED if self._first == _EXPIRED else Result.NOT_TRUSTED, str(self))


def _words(certificate: x509.Certificate, error: int, depth: int) -> str:
    whose = "its certificate" if depth == 0 else "a certificate of its chain"
    if error == _EXPIRED:
        return f"{whose} expired on {certificate.not_valid_after_utc:%Y-%m-%d}"
    if error == _NOT_YET:
        return f"{whose} is not valid before {certificate.not_valid_before_utc:%Y-%m-%d}"
    if error == _SELF_SIGNED:
        return "its certificate is self-signed"
    if error == _SELF_SIGNED_ROOT:
        return "its chain ends at an authority that is not trusted"
    if error in _NO_ISSUER:
        return f"the issuer of {whose} is neither in the chain that it sent nor an authority that is trusted"
    return f"{whose} is not good: OpenSSL's error {error}"


def name_trouble(connection: SSL.Connection, names: Sequence[str]) -> str:
    """Why the server's certificate is for none of these names (host names or IP addresses); "" where it is."""
    certificate = connection.get_peer_certificate(as_cryptography=True)
    if certificate is None:
        return "it has no certificate"
    for name in names:
        try:
            _verify_name(connection, name)
        except (VerificationError, CertificateError):
            continue
        except ValueError:  # what stands in it is no name at all
            continue
        return ""
    return f"its certificate is for {_told(names_of(certificate))}, not for {_told(names)}"


def _verify_name(connection: SSL.Connection, name: str) -> None:
    if is_ip_address(name):
        verify_ip_address(connection, name)
    else:
        verify_hostname(connection, name)  # RFC 9525: names of subjectAltName alone, wildcards for one label


def names_of(certificate: x509.Certificate) -> list[str]:
    """The names and addresses that a certificate is for, fit for a log: a peer wrote them."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (x509.ExtensionNotFound, ValueError):
        return []
    names = extension.value.get_values_for_type(x509.DNSName)
    addresses = extension.value.get_values_for_type(x509.IPAddress)
    return [_NOT_A_NAME.sub("?", str(name))[:253] for name in (*names, *addresses)]


def _told(names: Iterable[str]) -> str:
    listed = list(names)
    if not listed:
        return "no name"
    more = len(listed) - _NAMES_TOLD
    return ", ".join(listed[:_NAMES_TOLD]) + (f" and {more} more" if more > 0 else "")
