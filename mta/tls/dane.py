"""
Judge the certificates of a mail server by the TLSA records of its host (RFC 7672 3).

Owns: DANE-EE (the server's own certificate or key) and DANE-TA (a trust anchor, from the chain or from the DNS).
Never: asks the DNS (`mta/tls/dane_lookup.py`), closes a connection, or decides what becomes of a message.
Fails: never; whatever a peer presents, there is a verdict, with the reason in words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key
from cryptography.x509.oid import ExtendedKeyUsageOID
from OpenSSL import SSL, crypto

from mta.tls.reference_ids import UNREADABLE, is_for, names_in
from mta.tls.tlsa import CERTIFICATE, DANE_EE, DANE_TA, FULL, KEY, counting, is_meant
from mta.tls_policy import Tlsa

# Chains have two to four certificates. A hostile one with more would have each compared with each record.
MAX_CHAIN = 10
_NAMES_TOLD = 4
_ANY_SERVER = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE)
# OpenSSL's default security level refuses them below a trust anchor, too: collisions can be had for money.
_BROKEN = (hashes.MD5, hashes.SHA1)


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    What the records say of a server.

    `accepted`: mail may go over the connection. `record` is the one that matched; None where none did, or where there
    was nothing to match. `reason` says in words which it is.
    """

    accepted: bool
    reason: str
    record: Tlsa | None = None


def judge_connection(
    connection: SSL.Connection, records: Sequence[Tlsa], names: Sequence[str], now: datetime
) -> Verdict:
    """`judge_chain` for what the peer of a finished handshake has presented."""
    try:
        chain = connection.get_peer_cert_chain(as_cryptography=True) or []
    except Exception as error:  # the libraries meet hostile bytes with whatever their parts raise
        return Verdict(False, f"the server's certificate cannot be read: {error}")
    return judge_chain(chain, records, names, now)


def judge_chain(
    chain: Sequence[x509.Certificate], records: Sequence[Tlsa], names: Sequence[str], now: datetime
) -> Verdict:
    """
    Whether a server with this chain (its own certificate first) is the one that the TLSA records mean.

    `records` are all those of its host, `names` the reference identifiers, the TLSA base domain first
    (`mta/tls/dane_lookup.py`), `now` a time in UTC. One record that matches is enough, so that certificates can be
    exchanged (RFC 7672 4); without a usable record the encryption alone counts (RFC 7672 2.2).
    """
    usable = counting(records)
    if not usable:
        return Verdict(True, "no TLSA record is usable, so the certificate was not checked")
    if not chain:
        return Verdict(False, "the server has no certificate")
    chain = chain[:MAX_CHAIN]
    for record in usable:
        if record.usage == DANE_EE and is_meant(chain[0], record):
            # RFC 7672 3.1.1, 3.2.1: neither names nor dates matter. The record says that this is the server.
            return Verdict(True, f"the server's certificate matches TLSA {record}", record)
    anchors = [record for record in usable if record.usage == DANE_TA]
    troubles = []
    for record in anchors:
        trouble = _anchor_trouble(chain, record, names, now)
        if not trouble:
            return Verdict(True, f"the server's chain matches TLSA {record}", record)
        troubles.append(trouble)
    return Verdict(False, _told(usable, troubles))


def _told(usable: Sequence[Tlsa], troubles: Sequence[str]) -> str:
    """Why nothing matched: what came nearest says most."""
    near = [trouble for trouble in troubles if trouble != _NO_ANCHOR]
    if near:
        return "; ".join(dict.fromkeys(near))
    listed = ", ".join(f"{record.usage} {record.selector} {record.matching}" for record in usable[:_NAMES_TOLD])
    more = f" and {len(usable) - _NAMES_TOLD} more" if len(usable) > _NAMES_TOLD else ""
    return f"the server's certificates match none of the TLSA records ({listed}{more})"


_NO_ANCHOR = "the trust anchor is not in the server's chain"


def _anchor_trouble(chain: Sequence[x509.Certificate], record: Tlsa, names: Sequence[str], now: datetime) -> str:
    """Why a DANE-TA record does not authenticate the server; "" where it does (RFC 7672 3.1.2, 3.2.2)."""
    anchors = _anchors(chain, record)
    if not anchors:
        return _NO_ANCHOR
    troubles = [_chain_trouble(chain, anchor, now) for anchor in anchors]
    if all(troubles):
        return f"TLSA {record} names its trust anchor, but {troubles[0]}"
    if not is_for(chain[0], names):
        found = ", ".join(_printable(name) for name in names_in(chain[0])[:_NAMES_TOLD]) or "no name"
        return f"TLSA {record} names its trust anchor, but the certificate is for {found}, not for {', '.join(names)}"
    return ""


def _anchors(chain: Sequence[x509.Certificate], record: Tlsa) -> list[x509.Certificate]:
    """The certificates that a DANE-TA record lets us trust."""
    # Not the server's own: an anchor is what issued it. DANE-EE is for the other (as OpenSSL has it).
    anchors = [certificate for certificate in chain[1:] if is_meant(certificate, record)]
    if not anchors and record.matching == FULL:
        if record.selector == CERTIFICATE:
            # RFC 7671 5.2.2: the one kind of anchor that the server need not send.
            anchors = [x509.load_der_x509_certificate(record.data)]
        elif record.selector == KEY:
            # RFC 7671 5.2.3: with a bare key, what it has signed is as good as trusted.
            anchors = [certificate for certificate in chain if _is_signed_by(certificate, record.data)]
    return anchors


def _chain_trouble(chain: Sequence[x509.Certificate], anchor: x509.Certificate, now: datetime) -> str:
    """Why no valid chain leads from the server's certificate to the anchor; "" where one does. OpenSSL builds it."""
    store = crypto.X509Store()
    # The anchor may be an intermediate authority, which nobody vouches for but the record.
    store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)
    store.set_time(now)
    try:
        store.add_cert(crypto.X509.from_cryptography(anchor))
        given = [crypto.X509.from_cryptography(certificate) for certificate in chain]
        context = crypto.X509StoreContext(store, given[0], given[1:])
        path = [each.to_cryptography() for each in context.get_verified_chain()]
    except crypto.X509StoreContextError as error:
        return f"the chain to it is not valid: {error}"
    except (crypto.Error, ValueError) as error:
        return f"the chain to it cannot be read: {error}"
    return _weakness(path) or _purpose_trouble(path[0])


def _weakness(path: Sequence[x509.Certificate]) -> str:
    """A signature below the anchor that proves nothing; the anchor's own is not looked at."""
    for certificate in path[:-1]:
        try:
            algorithm = certificate.signature_hash_algorithm
        except UnsupportedAlgorithm:
            continue  # OpenSSL has verified it
        if isinstance(algorithm, _BROKEN):
            return f"the chain to it is signed with {algorithm.name}"
    return ""


def _purpose_trouble(leaf: x509.Certificate) -> str:
    """RFC 5280 4.2.1.12: a certificate that says what it is for must be for servers."""
    try:
        purposes = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return ""
    except UNREADABLE as error:
        return f"the certificate has an extension that cannot be read: {error}"
    return "" if any(purpose in purposes for purpose in _ANY_SERVER) else "the certificate is not one for servers"


def _is_signed_by(certificate: x509.Certificate, key: bytes) -> bool:
    """Whether the holder of a key (SubjectPublicKeyInfo) has signed a certificate."""
    try:
        public, algorithm = load_der_public_key(key), certificate.signature_hash_algorithm
        signature, signed = certificate.signature, certificate.tbs_certificate_bytes
        if isinstance(public, rsa.RSAPublicKey):
            parameters = certificate.signature_algorithm_parameters
            if not isinstance(parameters, padding.PKCS1v15 | padding.PSS) or algorithm is None:
                return False
            public.verify(signature, signed, parameters, algorithm)
        elif isinstance(public, ec.EllipticCurvePublicKey) and algorithm is not None:
            public.verify(signature, signed, ec.ECDSA(algorithm))
        elif isinstance(public, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
            public.verify(signature, signed)
        else:
            return False
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
        return False
    return True


def _printable(name: str) -> str:
    """A name that a peer wrote, fit for a log."""
    return name.encode("unicode_escape").decode("ascii")[:253]
