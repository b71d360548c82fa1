"""
Send mail over many sessions, with STARTTLS or in clear: `smtp-source`, which has no TLS, for the row `tls`.

Owns: one process whose sessions are threads; OpenSSL and the sockets run beside Python's lock. Each handshake is a full
one. When it begins is printed, on the machine's monotonic clock.
Never: verifies anything: it is the server that is measured.
Fails: with one line and exit code 1 at the first reply that is not the one that is due.
"""

from __future__ import annotations

import argparse
import itertools
import socket
import ssl
import sys
import threading
import time

# As `smtp-source -d` does, but no more than any MTA takes over one connection.
MESSAGES_PER_CONNECTION = 50
_SECONDS = 60


class Refused(Exception):  # noqa: N818
    """A reply that is not the one that is due."""


class Session:
    """One connection, up to its EHLO, within TLS where there is a `context`."""

    def __init__(self, port: int, context: ssl.SSLContext | None) -> None:
        self._socket: socket.socket = socket.create_connection(("127.0.0.1", port), _SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._read = b""
        self._reply(b"220")
        self.say(b"250", b"EHLO client.bench.test\r\n")
        if context is not None:
            self.say(b"220", b"STARTTLS\r\n")
            self._socket = context.wrap_socket(self._socket)
            self.say(b"250", b"EHLO client.bench.test\r\n")

    def send(self, content: bytes) -> None:
        """A message with one recipient; its commands in one piece (RFC 2920)."""
        self._socket.sendall(b"MAIL FROM:<sender@bench.test>\r\nRCPT TO:<recipient@sink.test>\r\nDATA\r\n")
        for code in (b"250", b"250", b"354"):
            self._reply(code)
        self.say(b"250", content)

    def quit(self) -> None:
        self.say(b"221", b"QUIT\r\n")
        self._socket.close()

    def say(self, code: bytes, data: bytes) -> None:
        self._socket.sendall(data)
        self._reply(code)

    def _reply(self, code: bytes) -> None:
        while True:
            line, end, rest = self._read.partition(b"\n")
            if not end:
                more = self._socket.recv(16_384)
                if not more:
                    raise Refused("the connection has ended")
                self._read += more
                continue
            self._read = rest
            if line[3:4] != b"-":
                break
        if not line.startswith(code):
            raise Refused(f"{code.decode()} was expected, and the MTA said: {line.decode(errors='replace').strip()}")


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _work(port: int, content: bytes, turns: itertools.count[int], messages: int, each: int, tls: bool) -> None:
    context = _context() if tls else None
    session, sent = None, 0
    while next(turns) < messages:
        if session is None:
            session, sent = Session(port, context), 0
        session.send(content)
        sent += 1
        if sent == each:
            session.quit()
            session = None
    if session is not None:
        session.quit()


def main() -> int:
    """Send; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.tls_source")
    parser.add_argument("port", type=int)
    parser.add_argument("--messages", type=int, default=100)
    parser.add_argument("--size", type=int, default=4096, help="octets of the content")
    parser.add_argument("--sessions", type=int, default=20)
    parser.add_argument("--reuse", action="store_true", help=f"up to {MESSAGES_PER_CONNECTION} messages a connection")
    parser.add_argument("--clear", action="store_true", help="without TLS")
    options = parser.parse_args()
    head, line = b"Subject: bench\r\n\r\n", b"x" * 76 + b"\r\n"
    content = (head + line * (options.size // len(line) + 1))[: options.size - 2] + b"\r\n.\r\n"
    turns = itertools.count()  # each `next` is one step of the interpreter
    each = MESSAGES_PER_CONNECTION if options.reuse else 1
    faults: list[Exception] = []

    def work() -> None:
        try:
            _work(options.port, content, turns, options.messages, each, not options.clear)
        except (OSError, Refused) as error:
            faults.append(error)

    print(time.monotonic(), flush=True)
    threads = [threading.Thread(target=work) for _ in range(options.sessions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if faults:
        print(f"{len(faults)} sessions failed: {faults[0]}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
