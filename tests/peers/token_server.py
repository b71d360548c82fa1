"""
A web server in a thread: access tokens (RFC 6749) over HTTPS, and over HTTP what they are worth (RFC 7662).
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

import trustme

Form = dict[str, str]


class TokenServer:
    """
    `url` is the token endpoint, `introspection` that of RFC 7662, in clear: for those who don't know our authority.

    Each request is answered by `answer`, which gets the form and gives a status and an object: token 1, 2, 3, ... where
    nobody says otherwise. `requests` are the forms so far, `authorizations` their Authorization fields; `good` are the
    tokens that are worth something.
    """

    def __init__(self, folder: Path, user: str = "us@example.test") -> None:
        self.requests: list[Form] = []
        self.authorizations: list[str | None] = []
        self.good: set[str] = set()
        self.answer: Callable[[Form], tuple[int, object]] = self.granting
        self.user = user
        self.lifetime = 3600
        authority = trustme.CA()
        self.authorities = folder / "token-authorities.pem"
        authority.cert_pem.write_to_path(str(self.authorities))
        self._certificate = folder / "token-server.pem"
        authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(self._certificate))
        self._servers: list[ThreadingHTTPServer] = []
        self.port = self._serve(secure=True)
        self.url = f"https://127.0.0.1:{self.port}/token"
        self.introspection = f"http://127.0.0.1:{self._serve(secure=False)}/introspect"

    def granting(self, _form: Form) -> tuple[int, object]:
        """The next token, from now on a good one."""
        token = f"token-{len(self.requests)}"
        self.good.add(token)
        return 200, {"access_token": token, "token_type": "Bearer", "expires_in": self.lifetime}

    def worth(self, form: Form) -> tuple[int, object]:
        """What a token is worth."""
        if form.get("token") in self.good:
            return 200, {"active": True, "username": self.user, "email": self.user, "scope": "mail"}
        return 200, {"active": False}

    def stop(self) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()
        self._servers.clear()

    def _serve(self, *, secure: bool) -> int:
        outer = self

        class Conversation(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
                form = {key: values[0] for key, values in parse_qs(raw).items()}
                if secure:
                    outer.requests.append(form)
                    outer.authorizations.append(self.headers.get("Authorization"))
                status, found = outer.answer(form) if secure else outer.worth(form)
                body = json.dumps(found).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_words: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Conversation)
        if secure:
            import ssl

            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self._certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        self._servers.append(server)
        port: int = server.server_address[1]
        return port
