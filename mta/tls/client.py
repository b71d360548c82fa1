"""
TLS with the servers that mail goes to.

Owns: the contexts of our client, the name it asks for, and whether the server is who the policy says.
Never: decides a policy, or what becomes of a message.

A handshake always goes to its end, and the certificate is judged then: nothing of the message has been sent, and the
reason can be told in words.
"""

from __future__ import annotations

from collections.abc import Callable

from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from zope.interface import implementer

from mta.address import is_ip_address
from mta.interfaces import IClientTls, IHandshake
from mta.tls.peer_certificate import Findings, name_trouble
from mta.tls_policy import TlsLevel, TlsPolicy
from mta.tls_report import FINE, Finding, Result

# Why the server's certificate matches none of the policy's TLSA records, "" where it does.
Dane = Callable[[SSL.Connection, TlsPolicy], str]

# RFC 9266 2
_BINDING_LABEL = b"EXPORTER-Channel-Binding"
_BINDING_LENGTH = 32

_REACHED = {TlsLevel.VERIFY: "verified", TlsLevel.DANE: "verified"}


@implementer(IClientTls)
class ClientTls:
    """
    Makes handshakes; `ca_file` are the authorities that are trusted, "" for the system's; `dane` compares with TLSA.

    Authorities are read once, at the first handshake that needs them. Raises `OpenSSL.SSL.Error` there where they
    can't be read: that message is deferred as for any fault of our own.
    """

    def __init__(self, ca_file: str = "", dane: Dane | None = None) -> None:
        self._ca_file = ca_file
        self._dane = dane
        self._any: SSL.Context | None = None
        self._trusting: SSL.Context | None = None
        self._testing: SSL.Context | None = None

    def handshake(self, policy: TlsPolicy, host: str) -> Handshake:
        if policy.level is TlsLevel.VERIFY:
            if self._trusting is None:
                self._trusting = _trusting(self._ca_file)
            return Handshake(self._trusting, policy, host, self._dane)
        if policy.tested:
            # What fails is only told: this context must refuse no more than the other one.
            if self._testing is None:
                self._testing = _with_authorities(_any_certificate(), self._ca_file)
            return Handshake(self._testing, policy, host, self._dane)
        if self._any is None:
            self._any = _any_certificate()
        return Handshake(self._any, policy, host, self._dane)


@implementer(IHandshake, IOpenSSLClientConnectionCreator)
class Handshake:
    """One handshake with `host`."""

    def __init__(self, context: SSL.Context, policy: TlsPolicy, host: str, dane: Dane | None) -> None:
        self._context = context
        self._policy = policy
        self._host = host
        self._dane = dane
        self._findings = Findings()
        self._connection: SSL.Connection | None = None

    def clientConnectionForTLS(self, _protocol: object) -> SSL.Connection:
        connection = self._connection = SSL.Connection(self._context, None)
        connection.set_connect_state()
        name = self._policy.base or self._host  # RFC 7672 8.1: with DANE the base domain
        if not is_ip_address(name):  # RFC 6066 3: no literal addresses
            connection.set_tlsext_host_name(name.encode("ascii"))
        if self._policy.level is TlsLevel.VERIFY or self._policy.tested:
            connection.set_verify(SSL.VERIFY_PEER, self._findings.note)
        return connection

    def trouble(self) -> str:
        connection, policy = self._connection, self._policy
        assert connection is not None  # the transport has made it
        if policy.level is TlsLevel.VERIFY:
            return str(self._findings) or name_trouble(connection, policy.names or (self._host,))
        if policy.level is TlsLevel.DANE:
            if self._dane is None or not policy.tlsa:
                return "there are no TLSA records to compare its certificate with"
            return self._dane(connection, policy)
        return ""

    def finding(self) -> Finding:
        connection, policy = self._connection, self._policy
        assert connection is not None
        if policy.level is TlsLevel.DANE:
            trouble = self.trouble()
            return Finding(Result.VALIDATION_FAILURE, trouble) if trouble else FINE
        if policy.level is TlsLevel.VERIFY or policy.tested:
            found = self._findings.finding()
            if found.result is None and (mismatch := name_trouble(connection, policy.names or (self._host,))):
                return Finding(Result.HOST_MISMATCH, mismatch)
            return found
        if policy.tlsa:  # RFC 7672 2.2: it was encrypted, and none of its records could say to whom
            return Finding(Result.TLSA_INVALID, "none of the TLSA records is usable")
        return FINE

    def words(self) -> str:
        assert self._connection is not None
        reached = _REACHED.get(self._policy.level, "unverified")
        return f"{self._connection.get_protocol_version_name()} {reached} ({self._policy.why})"

    def binding(self) -> bytes | None:
        connection = self._connection
        # RFC 9266 4.2: with TLS 1.2 only where both ends have the extended master secret, and nobody tells us.
        if connection is None or connection.get_protocol_version_name() != "TLSv1.3":
            return None
        return bytes(connection.export_keying_material(_BINDING_LABEL, _BINDING_LENGTH, b""))


def _context() -> SSL.Context:
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)  # RFC 8996
    # RFC 9325 3.3, 3.5: neither is of any use here.
    context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    return context


def _any_certificate() -> SSL.Context:
    context = _context()
    # RFC 7435 3: where any certificate will do, a short key is better than none at all.
    context.set_cipher_list(b"DEFAULT:@SECLEVEL=0")
    context.set_verify(SSL.VERIFY_NONE)
    return context


def _trusting(ca_file: str) -> SSL.Context:
    return _with_authorities(_context(), ca_file)


def _with_authorities(context: SSL.Context, ca_file: str) -> SSL.Context:
    if ca_file:
        context.load_verify_locations(ca_file)
    else:
        context.set_default_verify_paths()
    return context
