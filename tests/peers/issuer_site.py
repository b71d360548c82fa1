"""The web server of an issuer in threads of its own: keys and introspection, with a certificate of a test CA."""

from __future__ import annotations

import json
import ssl
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs

import trustme


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    site: IssuerSite


class _Request(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(self.server.site.keys)

    def do_POST(self) -> None:
        site = self.server.site
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        token = parse_qs(body)["token"][0]
        site.asked.append((self.headers["Authorization"], token))
        self._answer(json.dumps(site.tokens.get(token, {"active": False})).encode())

    def _answer(self, body: bytes) -> None:
        self.server.site.requests += 1
        self.send_response(self.server.site.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_words: Any) -> None:
        """Nobody reads it."""


class IssuerSite:
    """
    Listens on `port` of 127.0.0.1 until `stop`.

    `keys` is what it says to GET, `tokens` what to each token of a POST; `asked` are those, with their Authorization.
    """

    def __init__(self, authority: trustme.CA) -> None:
        self.keys = b""
        self.tokens: dict[str, Any] = {}
        self.asked: list[tuple[str, str]] = []
        self.status = 200
        self.requests = 0
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        self._server = _Server(("127.0.0.1", 0), _Request)
        self._server.site = self
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port: int = self._server.server_address[1]
        self.url = f"https://127.0.0.1:{self.port}"
        self._thread = Thread(target=self._server.serve_forever, args=(0.05,), name="issuer", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
