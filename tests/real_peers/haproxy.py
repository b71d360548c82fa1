"""HAProxy in front of a port, which it tells by the PROXY protocol who its clients are. Needs Debian's haproxy."""

from __future__ import annotations

from pathlib import Path

from tests.end_to_end.daemon import free_port
from tests.real_peers.peer import Peer, program

_CONFIG = """\
global
    log stdout format raw local0

defaults
    mode tcp
    log global
    timeout connect 5s
    timeout client 30s
    timeout server 30s

frontend mail
    bind 127.0.0.1:{port}
    default_backend mx

backend mx
    option smtpchk EHLO lb.test
    option log-health-checks
    server mx1 127.0.0.1:{behind} {option} check inter 100ms
"""
_SECURE = """
frontend submissions
    bind 127.0.0.1:{port}
    default_backend secure

backend secure
    server mx2 127.0.0.1:{behind} {option}
"""


class HAProxy(Peer):
    """
    HAProxy in front of port `behind`; `option` is that of its server line: send-proxy, send-proxy-v2.

    Its `secure_port` leads to `secure`, which speaks TLS from the first octet; HAProxy only passes that on.
    """

    name = "haproxy"

    def __init__(self, top: Path, behind: int, option: str, secure: int | None = None) -> None:
        self._behind = behind
        self._option = option
        self._secure = secure
        self.secure_port = free_port()
        super().__init__(top)

    def configured(self) -> list[str]:
        config = self.top / "haproxy.cfg"
        text = _CONFIG.format(port=self.port, behind=self._behind, option=self._option)
        if self._secure is not None:
            text += _SECURE.format(port=self.secure_port, behind=self._secure, option=self._option)
        config.write_text(text)
        return [program("haproxy", "haproxy"), "-db", "-f", str(config)]
