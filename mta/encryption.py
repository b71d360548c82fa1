"""
What a TLS handshake came to.

Owns: the value.
Never: takes part in one (`mta/tls/`).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Encryption:
    """
    `version` and `cipher` are the names that OpenSSL has for them: "TLSv1.3", "TLS_AES_256_GCM_SHA384".

    `certificate` is the SHA-256 fingerprint of the peer's certificate, in lower case hex, "" where it showed none;
    `may_relay` says that it is one whose holder may send anywhere.
    """

    version: str
    cipher: str
    certificate: str = ""
    may_relay: bool = False
