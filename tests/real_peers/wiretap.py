"""
A wiretap between a client and a server: passes every octet on, and remembers what each side said.

Owns: a listening socket and a thread for each direction of each connection.
Never: changes (`Meddler` does), delays or understands what passes.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path

from tests.end_to_end.daemon import PATIENCE

Place = int | Path  # a port of 127.0.0.1, or the path of a UNIX socket


def _family(place: Place) -> socket.AddressFamily:
    return socket.AF_UNIX if isinstance(place, Path) else socket.AF_INET


def _address(place: Place) -> str | tuple[str, int]:
    return str(place) if isinstance(place, Path) else ("127.0.0.1", place)


class Wiretap:
    """
    Clients connect to `port`, or to the UNIX socket `path`; what they say goes on to `target`, and the answers back.

    `target` may be set later: of two systems that send to each other, one starts without knowing the other's port.
    """

    def __init__(self, target: Place = 0, path: Path | None = None) -> None:
        self.target = target
        self._listening = socket.socket(_family(path or 0), socket.SOCK_STREAM)
        self._listening.bind(_address(path or 0))
        self._listening.listen()
        self._client, self._server = bytearray(), bytearray()
        self._transcript: list[tuple[str, bytes]] = []
        self._connected: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()
        if path:
            path.chmod(0o666)

    @property
    def port(self) -> int:
        """Where clients connect over TCP."""
        port: int = self._listening.getsockname()[1]
        return port

    @property
    def client(self) -> str:
        """All that clients said so far."""
        return self._client.decode(errors="backslashreplace")

    @property
    def server(self) -> str:
        """All that the server said so far."""
        return self._server.decode(errors="backslashreplace")

    def parts(self, who: str) -> list[bytes]:
        """What one side, "C:" or "S:", said, as it came off the network."""
        return [said for speaker, said in list(self._transcript) if speaker == who]

    def transcript(self) -> str:
        """Both sides in their order, for the message of a test that fails."""
        return "".join(f"{who} {said.decode(errors='backslashreplace')}\n" for who, said in list(self._transcript))

    def stop(self) -> None:
        """Take no more clients, and hang up on those that are there."""
        # close() alone would leave accept() waiting.
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join(PATIENCE)
        for connected in self._connected:
            # As with the listening socket, and an end may be gone already.
            with contextlib.suppress(OSError):
                connected.shutdown(socket.SHUT_RDWR)
            connected.close()

    def passed(self, who: str, data: bytes) -> bytes:  # noqa: ARG002
        """What goes on of what one side said."""
        return data

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                server = socket.socket(_family(self.target), socket.SOCK_STREAM)
                self._connected += client, server
                try:
                    server.connect(_address(self.target))
                except OSError:
                    client.close()
                    continue
                for ends in ((client, server, "C:", self._client), (server, client, "S:", self._server)):
                    threading.Thread(target=self._pump, args=ends, daemon=True).start()

    def _pump(self, source: socket.socket, drain: socket.socket, who: str, heard: bytearray) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                heard += data
                self._transcript.append((who, data))
                drain.sendall(self.passed(who, data))
        # The other direction still has its last words; each pump ends what it writes to.
        with contextlib.suppress(OSError):
            drain.shutdown(socket.SHUT_WR)


class Meddler(Wiretap):
    """One that changes what the server says in clear: `swaps` are old and new words. Who listens in can do so, too."""

    def __init__(self, target: Place = 0, *swaps: tuple[bytes, bytes]) -> None:
        self._swaps = swaps
        super().__init__(target)

    def passed(self, who: str, data: bytes) -> bytes:
        for old, new in self._swaps if who == "S:" else ():
            data = data.replace(old, new)
        return data
