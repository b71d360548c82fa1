"""A client of a listener that speaks TLS in memory, with OpenSSL's own client; certificates from a test authority."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import trustme
from OpenSSL import SSL
from twisted.internet.address import IPv4Address

from mta.tls.contexts import Terms
from mta.tls.pairs import Files
from mta.tls.server import ServerTls
from tests.server.fakes import HOSTNAME, STRANGER, Client, Site

CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"


@cache
def authority() -> trustme.CA:
    """Who signs the certificates of a run."""
    return trustme.CA()


def write(folder: Path, issued: trustme.LeafCert, name: str = "mx", names: tuple[str, ...] = ()) -> Files:
    """A pair as two files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = Files(folder / f"{name}.pem", folder / f"{name}.key", names)
    files.certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    files.key.touch(0o600)
    files.key.write_bytes(issued.private_key_pem.bytes())
    return files


def issue(*names: str, kind: trustme.KeyType = trustme.KeyType.ECDSA) -> trustme.LeafCert:
    """A certificate for these names."""
    return authority().issue_cert(*names, key_type=kind)


def tls_site(folder: Path, permitted: frozenset[str] = frozenset(), authorities: bytes = b"", **changed: Any) -> Site:
    """A site with one certificate, whose listener speaks TLS."""
    asks = bool(permitted or authorities)
    tls = ServerTls(
        [write(folder, issue(HOSTNAME))], Terms("1.2", CIPHERS, asks, authorities), permitted, lambda: 1_700_000_000.0
    )
    return Site(tls=tls, **changed)


def context(version: int = SSL.TLS1_3_VERSION, certificate: trustme.LeafCert | None = None) -> SSL.Context:
    """What a client begins TLS with."""
    made = SSL.Context(SSL.TLS_CLIENT_METHOD)
    made.set_max_proto_version(version)
    made.set_verify(SSL.VERIFY_PEER, lambda _connection, _certificate, _error, _depth, good: bool(good))
    authority().configure_trust(made)
    if certificate is not None:
        certificate.configure_cert(made)
    return made


class TlsClient(Client):
    """A `Client` whose `say` is encrypted once `start_tls` was called; `raw` is what went over the wire since."""

    tls: SSL.Connection | None = None
    closed = False  # the server has said that it will send nothing more

    def __init__(self, site: Site, host: str) -> None:
        self._hearing = False
        super().__init__(site, host, IPv4Address("TCP", host, 4000))
        self.wire.lost = self._end

    def _end(self) -> None:
        """As a real transport: the connection is never lost within a call of the one who closes it for what it read."""
        if not self._hearing:
            self.vanish()

    def start_tls(self, wanted: SSL.Context | None = None, name: str = HOSTNAME) -> None:
        """Negotiate TLS; raises `OpenSSL.SSL.Error` where the server's part of it is no good."""
        self.hello(wanted, name)
        for _ in range(10):
            if self.handshake():
                return
        raise AssertionError("the handshake does not end")

    def hello(self, wanted: SSL.Context | None = None, name: str = HOSTNAME) -> None:
        """Make the end of a connection."""
        self.tls = SSL.Connection(wanted or context(), None)
        self.tls.set_tlsext_host_name(name.encode())
        self.tls.set_connect_state()

    def handshake(self) -> bool:
        """One step of the handshake; whether it is over for us."""
        assert self.tls is not None
        try:
            self.tls.do_handshake()
            done = True
        except SSL.WantReadError:
            done = False
        self.server_hears(self.pending())
        self._take()
        return done

    def pending(self) -> bytes:
        """What our end wants to send."""
        assert self.tls is not None
        try:
            return self.tls.bio_read(1 << 20)
        except SSL.WantReadError:
            return b""

    def server_hears(self, data: bytes) -> None:
        if data and self.open:
            self._hearing = True
            self.server.dataReceived(data)
            self._hearing = False
            if self.wire.disconnecting or self.wire.aborted:
                self.vanish()

    def _take(self) -> None:
        assert self.tls is not None
        if data := self.wire.value():
            self.wire.clear()
            self.tls.bio_write(data)

    def say(self, data: bytes) -> bytes:
        if self.tls is None:
            return super().say(data)
        if data:
            self.tls.sendall(data)
        self.server_hears(self.pending())
        return self.heard()

    def close_tls(self) -> None:
        """Say that nothing more will come (close_notify)."""
        assert self.tls is not None
        self.tls.shutdown()
        self.server_hears(self.pending())

    def heard(self) -> bytes:
        if self.tls is None:
            return super().heard()
        self._take()
        found = b""
        while True:
            try:
                found += self.tls.recv(1 << 16)
            except SSL.WantReadError:
                return found
            except SSL.ZeroReturnError:
                self.closed = True
                return found


def connect(site: Site, host: str = STRANGER) -> TlsClient:
    """A client in clear that has heard the greeting, if there is one."""
    client = TlsClient(site, host)
    site.settle()
    return client


def secured(site: Site, wanted: SSL.Context | None = None, host: str = STRANGER) -> TlsClient:
    """A client that has begun TLS with STARTTLS and not yet said EHLO in it."""
    client = connect(site, host)
    client.say(b"EHLO client.test\r\n")
    assert client.say(b"STARTTLS\r\n") == b"220 2.0.0 Ready to start TLS\r\n"
    client.start_tls(wanted)
    return client
