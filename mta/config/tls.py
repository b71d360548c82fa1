"""
Options of TLS.

Owns: the tables [tls] and [[tls.certificates]]; [tls.reports] is of `tls_reports.py`.
Never: opens a file (`mta/tls/`); says who may relay (`mta/config/receiving.py`).
"""

from __future__ import annotations

from typing import Literal

from mta.config.fields import CipherList, FilePath, PositiveDuration, TlsName
from mta.config.option import REQUIRED, Table, option
from mta.config.tls_reports import TlsReports


class Certificate(Table):
    """A certificate with its key. Without one there is no TLS for those who send to us; RSA and ECDSA go together."""

    certificate: FilePath = option(
        REQUIRED,
        "The file with the certificate and, behind it, those of the authorities in between, in PEM: an absolute path,"
        " or one below state_dir. Changed files are read again within seconds of the next handshake.",
        unit="path",
        sample="/etc/letsencrypt/live/mx.example.org/fullchain.pem",
    )
    key: FilePath = option(
        REQUIRED,
        "The file with its private key, in PEM and without a passphrase; nobody else should be able to read it.",
        unit="path",
        sample="/etc/letsencrypt/live/mx.example.org/privkey.pem",
    )
    names: tuple[TlsName, ...] = option(
        (),
        'The host names that clients get it for (SNI), "*.example.org" for all one level below; empty means those in'
        " the certificate. Who names no host, or another one, gets the first certificate.",
        unit="list of host names",
        source="RFC 6066 3",
    )


class Tls(Table):
    """TLS with those who send to us. `mta tls selfsigned` makes a first certificate."""

    minimum: Literal["1.2", "1.3"] = option(
        "1.2", "The oldest version that is spoken.", unit='"1.2", "1.3"', source="RFC 9325 3.1.1, RFC 8996"
    )
    ciphers: CipherList = option(
        "ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+AES",
        "The ciphers of TLS 1.2, best first, as OpenSSL's ciphers(1) has them; those of TLS 1.3 are all good.",
        unit="list of ciphers",
        source="RFC 9325 4.2; CBC comes last, for hosts that would send in clear without",
    )
    handshake_timeout: PositiveDuration = option(
        "120s", "How long a handshake may take.", unit="duration", source="between Stalwart, 180 s, and KumoMTA, 5 s"
    )
    requiretls: bool = option(
        True,
        "Whether REQUIRETLS is offered within TLS: mail with it goes on over verified TLS to hosts that offer it too,"
        ' or comes back. Never where client.tls.default is "none".',
        unit="true, false",
        source="RFC 8689",
    )
    reports: TlsReports = option({})
    certificates: tuple[Certificate, ...] = option(())
