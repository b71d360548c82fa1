"""
What the configuration says of TLS, as the rest of this room takes it.

Owns: the paths of pairs, the terms of contexts.
Never: reads a certificate of ours; imports Twisted (`mta check` comes here, too).
"""

from __future__ import annotations

from cryptography.x509 import load_pem_x509_certificates

from mta.config.schema import Config
from mta.tls.contexts import Terms
from mta.tls.pairs import Files, PairError


def files(config: Config) -> list[Files]:
    """The pairs of a configuration."""
    base = config.state_dir
    return [Files(base / each.certificate, base / each.key, each.names) for each in config.tls.certificates]


def terms(config: Config) -> Terms:
    """What is configured of versions, ciphers and client certificates. Raises `PairError`."""
    relay = config.relay
    authorities = b""
    if relay.client_authorities:
        path = config.state_dir / relay.client_authorities
        try:
            authorities = path.read_bytes()
        except OSError as error:
            raise PairError(f"relay.client_authorities: cannot read {path}: {error.strerror}") from None
        try:
            load_pem_x509_certificates(authorities)
        except ValueError:
            raise PairError(f"relay.client_authorities: {path} holds no certificate in PEM") from None
    asks = bool(authorities or relay.client_certificates)
    return Terms(config.tls.minimum, config.tls.ciphers, asks, authorities)
