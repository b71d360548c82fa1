"""The real daemon behind a proxy, on real sockets, with one worker and with two."""

from __future__ import annotations

import socket
from contextlib import ExitStack

from tests.end_to_end.daemon import PATIENCE, Daemon, EndToEndCase, eventually, free_port

LISTENER = """
[[listener]]
name = "proxied"
endpoint = "tcp:{port}:interface=127.0.0.1"
role = "mx"
proxies = ["127.0.0.1/32"]

[limits]
connections_per_client = 3
proxy_timeout = "1s"
"""


def said(peer: socket.socket) -> bytes:
    """A reply, or nothing where the connection was closed instead."""
    data = b""
    try:
        while not data.endswith(b"\n"):
            if not (more := peer.recv(4096)):
                break
            data += more
    except ConnectionResetError:
        pass
    return data


class ProxyTests(EndToEndCase):
    def start(self, workers: int) -> tuple[Daemon, int]:
        port = free_port()
        daemon = self.daemon(LISTENER.format(port=port), workers)
        if workers > 1:
            eventually(lambda: f"{workers} workers" in daemon.output.read_text(), "all workers")
        return daemon, port

    def connect(self, open_ones: ExitStack, port: int, *pieces: bytes) -> socket.socket:
        peer = open_ones.enter_context(socket.create_connection(("127.0.0.1", port), PATIENCE))
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            peer.sendall(piece)
        return peer

    def test_message(self) -> None:
        """A message through the proxy is traced to its client, who may not relay because the proxy might."""
        daemon, port = self.start(1)
        with ExitStack() as open_ones:
            peer = self.connect(open_ones, port, b"PROXY TCP4 203.0.113.7 127.0.0.1", b" 4000 25\r", b"\n")
            found = [said(peer)]
            for line in (b"HELO x", b"MAIL FROM:<a@b.test>", b"RCPT TO:<c@far.test>", b"RCPT TO:<alice@local.test>"):
                peer.sendall(line + b"\r\n")
                found.append(said(peer))
            peer.sendall(b"DATA\r\n")
            found.append(said(peer))
            peer.sendall(b"hi\r\n.\r\n")
            found.append(said(peer))
        self.assertEqual([b"220", b"250", b"250", b"550", b"250", b"354", b"250"], [reply[:3] for reply in found])
        eventually(lambda: bool(daemon.mailbox("alice")), "the message")
        self.assertIn("Received: from x ([203.0.113.7])", daemon.mailbox("alice")[0])
        self.assertIn(" accepted client=203.0.113.7 proxy=127.0.0.1 helo=x ", daemon.output.read_text())
        identity = found[-1].split()[-1].decode()
        accepted = daemon.rows("trace", identity)[0]
        self.assertIn("127.0.0.1", str(accepted))

    def test_bad(self) -> None:
        """Without a header, with a bad one, with a late one: not a word, and a line in the log."""
        daemon, port = self.start(1)
        with ExitStack() as open_ones:
            for pieces in (
                (b"EHLO x\r\n",),
                (b"\xff" * 100_000,),
                (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",),
                (b"PROXY TCP4 203.0.113.7 127.0.0.1",),
                (),
            ):
                self.assertEqual(b"", said(self.connect(open_ones, port, *pieces)), pieces)
        told = [line for line in daemon.output.read_text().splitlines() if " proxy-refused " in line]
        self.assertEqual(5, len(told), told)
        self.assertIn('reason="no PROXY header within 1 s"', told[-1])

    def test_workers(self) -> None:
        """A client has as many places as the limit says, whichever workers its proxy reaches; another has its own."""
        _daemon, port = self.start(2)
        with ExitStack() as open_ones:
            greetings = [
                said(self.connect(open_ones, port, b"PROXY TCP4 203.0.113.%d 127.0.0.1 4000 25\r\n" % client))[:3]
                for client in [7] * 8 + [8]
            ]
        self.assertEqual([b"220"] * 3 + [b"421"] * 5 + [b"220"], greetings)
