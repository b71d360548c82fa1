"""A remote site in threads of its own: one for each connection."""

from __future__ import annotations

import socketserver
from threading import Thread
from typing import Any


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    site: Any  # the `ThreadedSite`, of a kind that its sessions know

    def handle_error(self, request: object, client_address: object) -> None:
        """A daemon or a worker was killed in the middle of a dialogue: the connection is gone, and that is all."""


class ThreadedSite:
    """Listens on `port` of 127.0.0.1 until `stop`; a `session` finds the site as ``self.server.site``."""

    def __init__(self, session: type[socketserver.StreamRequestHandler]) -> None:
        self._server = _Server(("127.0.0.1", 0), session)
        self._server.site = self
        self.port: int = self._server.server_address[1]
        self._thread = Thread(target=self._server.serve_forever, args=(0.05,), name="site", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
