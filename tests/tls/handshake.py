"""Both ends of a handshake in memory."""

from __future__ import annotations

import contextlib

from OpenSSL import SSL

from mta.tls.server import ServerTls
from tests.server.tls_client import context


def agreed(
    tls: ServerTls, wanted: SSL.Context | None = None, name: str = "mx.example.org"
) -> tuple[SSL.Connection, SSL.Connection]:
    """The server's and the client's end, once they have agreed. Raises `OpenSSL.SSL.Error`."""
    server = tls.connection(lambda: None)
    assert server is not None
    client = SSL.Connection(wanted or context(), None)
    if name:
        client.set_tlsext_host_name(name.encode())
    client.set_connect_state()
    for _ in range(10):
        if all([step(client, server), step(server, client)]):
            return server, client
    raise AssertionError("the handshake does not end")


def step(end: SSL.Connection, other: SSL.Connection) -> bool:
    """Go on with the handshake at one end; whether it is over there."""
    try:
        end.do_handshake()
        done = True
    except SSL.WantReadError:
        done = False
    with contextlib.suppress(SSL.WantReadError):
        other.bio_write(end.bio_read(1 << 20))
    return done
